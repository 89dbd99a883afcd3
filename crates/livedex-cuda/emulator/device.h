// CUDA C++ as far as the kernels use it, for a C++ compiler: keywords, vector types, built-in variables and functions.

#pragma once

#include "block.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define __global__ __attribute__((visibility("hidden")))
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
// All of a kind stands in one section, so that it can be poisoned before each block. Blocks run one at a time.
#define __shared__ static __attribute__((section(EMULATED_SHARED)))

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
    return {x, y, z, w};
}

#define threadIdx emulator::thread_index
#define blockIdx emulator::block_index
#define blockDim emulator::block_size
#define gridDim emulator::grid_size

inline void __syncthreads() {
    emulator::meet_block();
}

inline float __shfl_xor_sync(uint32_t mask, float x, uint32_t step) {
    if (mask != 0xffffffffu || step == 0 || step >= 32) {
        emulator::fail("__shfl_xor_sync: mask %x, step %u", mask, step);
    }
    struct Operands {
        float x;
        uint32_t step;
    };
    const Operands mine = {x, step};
    float result = 0;
    emulator::meet_warp(
        [](const void *const *operands, void *const *results) {
            for (uint32_t lane = 0; lane < 32; lane++) {
                const auto *own = static_cast<const Operands *>(operands[lane]);
                const auto *other = static_cast<const Operands *>(operands[lane ^ own->step]);
                *static_cast<float *>(results[lane]) = other->x;
            }
        },
        &mine, &result);
    return result;
}

inline float __uint_as_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

inline uint32_t __float_as_uint(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}

inline uint32_t min(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

inline int min(int a, int b) {
    return a < b ? a : b;
}

inline int max(int a, int b) {
    return a > b ? a : b;
}
