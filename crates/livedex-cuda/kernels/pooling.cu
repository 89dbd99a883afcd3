// The end of a forward pass: a sequence's vector, and scores. Both are f32.

#include "bf16.cuh"

// The mean of rows firsts[s] .. firsts[s] + counts[s], its leading `dimension` numbers; scaled to length 1 if `unit`.
// A block has one sequence. Rows are `width` long, vectors `dimension`. A vector of length 0 has no direction and
// becomes NaN, which the reader of the numbers has to look for anyway.
extern "C" __global__ void pool(float *out, const bf16 *x, const u32 *firsts, const u32 *counts, u32 width,
                                u32 dimension, u32 unit) {
    const bf16 *rows = x + at_row(firsts[blockIdx.x], width);
    const u32 count = counts[blockIdx.x];
    float *to = out + at_row(blockIdx.x, dimension);
    float squares = 0;
    for (u32 i = threadIdx.x * WIDE; i < dimension; i += blockDim.x * WIDE) {
        Eight sum = {};
        // Several loads under way at a time.
#pragma unroll 4
        for (u32 row = 0; row < count; row++) {
            const Eight numbers = load(rows + at_row(row, width) + i);
#pragma unroll
            for (u32 k = 0; k < WIDE; k++) {
                sum.at[k] += numbers.at[k];
            }
        }
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            if (i + k < dimension) {
                const float mean = sum.at[k] / count;
                squares += mean * mean;
                to[i + k] = mean;
            }
        }
    }
    if (!unit) {
        return;
    }
    const float length = sqrtf(sum_of_block(squares));
    for (u32 i = threadIdx.x * WIDE; i < dimension; i += blockDim.x * WIDE) {
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            // A thread reads what it wrote itself.
            if (i + k < dimension) {
                to[i + k] /= length;
            }
        }
    }
}

// out[r, j] = x[r] . rows[j], for `count` rows of `width` numbers. A block has one row of `x`, a warp one product at a
// time.
extern "C" __global__ void dots(float *out, const bf16 *x, const bf16 *rows, u32 count, u32 width) {
    const bf16 *left = x + at_row(blockIdx.x, width);
    const u32 lane = threadIdx.x % WARP;
    for (u32 j = threadIdx.x / WARP; j < count; j += blockDim.x / WARP) {
        const bf16 *right = rows + at_row(j, width);
        float sum = 0;
        for (u32 i = lane * WIDE; i < width; i += WARP * WIDE) {
            const Eight a = load(left + i), b = load(right + i);
#pragma unroll
            for (u32 k = 0; k < WIDE; k++) {
                sum += a.at[k] * b.at[k];
            }
        }
        sum = sum_of_lanes(sum, WARP);
        if (lane == 0) {
            out[at_row(blockIdx.x, count) + j] = sum;
        }
    }
}
