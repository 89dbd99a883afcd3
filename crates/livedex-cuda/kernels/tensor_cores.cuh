// What only PTX can say: products on tensor cores, how their operands are loaded, and copies that go on by themselves.
//
// All is of sm_80, and so runs on every later architecture. Where lanes and their elements stand is described in the
// PTX ISA, "Matrix fragments for mma.m16n8k16". The emulator has its own version of each function, and this file is
// all that differs there.

#pragma once

#include "bf16.cuh"

#ifdef LIVEDEX_EMULATOR
#include "tensor_cores.h"
#else

// The block's dynamic shared memory.
static __device__ __forceinline__ bf16 *shared_memory() {
    extern __shared__ uint4 dynamic[];
    return reinterpret_cast<bf16 *>(dynamic);
}

static __device__ __forceinline__ u32 shared_address(const bf16 *at) {
    return (u32)__cvta_generic_to_shared(at);
}

// Starts to copy 16 bytes into shared memory; zeros if not `present`, when `from` is not read.
static __device__ __forceinline__ void copy_async(bf16 *to, const bf16 *from, bool present) {
    const u32 bytes = present ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

// Ends a group of copies: those that this thread has started since the last one.
static __device__ __forceinline__ void end_copy_group() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until all of this thread's groups but the last `under_way` are there. Others see them after a barrier.
template <int under_way>
static __device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(under_way) : "memory");
}

// Loads four 8 x 8 matrices, one to a register; the lanes 8 i .. 8 i + 8 say where the rows of matrix i are.
static __device__ __forceinline__ void load_matrices(u32 (&to)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same, each matrix transposed.
static __device__ __forceinline__ void load_matrices_transposed(u32 (&to)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// sum += a b: 16 x 16 numbers of bf16 by 16 x 8, summed in f32.
static __device__ __forceinline__ void multiply_add(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 2^x by the special function unit, to two units in the last place; 0 for minus infinity.
static __device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
