// The emulator's versions of what kernels/tensor_cores.cuh says in PTX, by the PTX ISA: "Matrix fragments for
// mma.m16n8k16", "ldmatrix", "cp.async".

#pragma once

#include <cuda_bf16.h>

static inline __nv_bfloat16 *shared_memory() {
    return reinterpret_cast<__nv_bfloat16 *>(emulator::dynamic_shared());
}

static inline void copy_async(__nv_bfloat16 *to, const __nv_bfloat16 *from, bool present) {
    emulator::check_shared(to, 16);
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0) {
        emulator::fail("cp.async reads from %p, which is not 16-byte aligned", static_cast<const void *>(from));
    }
    emulator::start_copy(to, present ? from : nullptr);
}

static inline void end_copy_group() {
    emulator::end_copy_group();
}

template <int under_way> static inline void wait_for_copies() {
    emulator::wait_for_copies(under_way);
}

struct EmulatedMatrices {
    u32 words[4];
};

template <bool transposed>
static void load_four(const void *const *operands, void *const *results) {
    for (u32 matrix = 0; matrix < 4; matrix++) {
        const void *rows[8];
        for (u32 row = 0; row < 8; row++) {
            rows[row] = *static_cast<const void *const *>(operands[8 * matrix + row]);
        }
        emulator::count_bank_conflicts(rows);
    }
    for (u32 lane = 0; lane < 32; lane++) {
        auto *mine = static_cast<EmulatedMatrices *>(results[lane]);
        for (u32 matrix = 0; matrix < 4; matrix++) {
            uint16_t pair[2];
            for (u32 k = 0; k < 2; k++) {
                // A lane gets two neighbours of a row, of a column if transposed.
                const u32 across = lane / 4, along = lane % 4 * 2 + k;
                const u32 row = transposed ? along : across, column = transposed ? across : along;
                pair[k] = (*static_cast<const uint16_t *const *>(operands[8 * matrix + row]))[column];
            }
            mine->words[matrix] = pair[0] | (u32)pair[1] << 16;
        }
    }
}

template <bool transposed>
static inline void load_matrices_as(u32 (&to)[4], const __nv_bfloat16 *row) {
    emulator::check_shared(row, 16);
    EmulatedMatrices result;
    emulator::meet_warp(load_four<transposed>, &row, &result);
    memcpy(to, result.words, sizeof to);
}

static inline void load_matrices(u32 (&to)[4], const __nv_bfloat16 *row) {
    load_matrices_as<false>(to, row);
}

static inline void load_matrices_transposed(u32 (&to)[4], const __nv_bfloat16 *row) {
    load_matrices_as<true>(to, row);
}

struct EmulatedProduct {
    float sum[4];
    u32 a[4], b[2];
};

static inline float half_of(u32 word, u32 upper) {
    return __uint_as_float(upper ? word & 0xffff0000u : word << 16);
}

static void multiply_warp(const void *const *operands, void *const *results) {
    float a[16][16], b[16][8], sum[16][8];
    for (u32 lane = 0; lane < 32; lane++) {
        const auto *mine = static_cast<const EmulatedProduct *>(operands[lane]);
        const u32 group = lane / 4, at = lane % 4 * 2;
        for (u32 k = 0; k < 2; k++) {
            for (u32 i = 0; i < 4; i++) {
                a[group + i % 2 * 8][at + k + i / 2 * 8] = half_of(mine->a[i], k);
            }
            for (u32 i = 0; i < 2; i++) {
                b[at + k + i * 8][group] = half_of(mine->b[i], k);
                sum[group + i * 8][at + k] = mine->sum[2 * i + k];
            }
        }
    }
    for (u32 row = 0; row < 16; row++) {
        for (u32 k = 0; k < 16; k++) {
            for (u32 column = 0; column < 8; column++) {
                sum[row][column] += a[row][k] * b[k][column];
            }
        }
    }
    for (u32 lane = 0; lane < 32; lane++) {
        auto *to = static_cast<float *>(results[lane]);
        for (u32 i = 0; i < 4; i++) {
            to[i] = sum[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
        }
    }
}

static inline void multiply_add(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    EmulatedProduct mine = {{sum[0], sum[1], sum[2], sum[3]}, {a[0], a[1], a[2], a[3]}, {b0, b1}};
    emulator::meet_warp(multiply_warp, &mine, sum);
}

static inline float power_of_two(float x) {
    const float y = exp2f(x);
    // Denormal numbers become zeros.
    return y < 1.17549435e-38f ? 0 : y;
}
