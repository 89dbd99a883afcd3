// Rows of bf16 numbers, eight at a time, and sums over the threads of a block.
//
// A thread loads and stores 16 bytes at once: fewer instructions for the same memory traffic, which is what bounds all
// kernels but attention. So pointers are 16-byte aligned, and widths and row strides multiples of eight.

#pragma once

#include <cuda_bf16.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;
typedef uint32_t u32;

// Numbers of one load.
constexpr u32 WIDE = 8;
constexpr u32 WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;

struct Eight {
    float at[WIDE];
};

static __device__ __forceinline__ Eight load(const bf16 *from) {
    const uint4 bits = *reinterpret_cast<const uint4 *>(from);
    const u32 words[4] = {bits.x, bits.y, bits.z, bits.w};
    Eight numbers;
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        // bf16 is the upper half of f32.
        numbers.at[2 * i] = __uint_as_float(words[i] << 16);
        numbers.at[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
    return numbers;
}

// Two numbers rounded to nearest even, the first one in the lower half.
static __device__ __forceinline__ u32 pack(float low, float high) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return (u32)__bfloat16_as_ushort(both.x) | (u32)__bfloat16_as_ushort(both.y) << 16;
}

static __device__ __forceinline__ void store(bf16 *to, const Eight &numbers) {
    const float *at = numbers.at;
    *reinterpret_cast<uint4 *>(to) =
        make_uint4(pack(at[0], at[1]), pack(at[2], at[3]), pack(at[4], at[5]), pack(at[6], at[7]));
}

// What is left of a number that was stored as bf16.
static __device__ __forceinline__ float rounded(float x) {
    return __bfloat162float(__float2bfloat16(x));
}

// A row's place in a packed matrix: more elements than 32 bits can count.
static __device__ __forceinline__ size_t at_row(u32 row, u32 stride) {
    return (size_t)row * stride;
}

// The sum over `lanes` neighbouring lanes, a power of two. All lanes of the warp take part.
static __device__ __forceinline__ float sum_of_lanes(float x, u32 lanes) {
    for (u32 step = lanes / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, step);
    }
    return x;
}

// The sum over the block, for all its threads and in the same order each time.
static __device__ float sum_of_block(float x) {
    __shared__ float partial[WARP];
    x = sum_of_lanes(x, WARP);
    // The previous call's numbers may still be read.
    __syncthreads();
    if (threadIdx.x % WARP == 0) {
        partial[threadIdx.x / WARP] = x;
    }
    __syncthreads();
    float sum = 0;
    for (u32 warp = 0; warp < blockDim.x / WARP; warp++) {
        sum += partial[warp];
    }
    return sum;
}
