// Stand-ins for those of candle's own kernels that a forward pass calls beside ours: casts, and what attention
// without our kernel is made of. They do what candle's do; candle's source is not compiled here, so nothing here proves
// it. Where a kernel has `info`, it is the tensor's sizes, then its strides; without, the tensor is contiguous.

#pragma once

#include "device.h"

#include <cuda_bf16.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

using bf16 = __nv_bfloat16;

__device__ inline float real(float x) { return x; }
__device__ inline float real(bf16 x) { return __bfloat162float(x); }
__device__ inline void store(float *to, float x) { *to = x; }
__device__ inline void store(bf16 *to, float x) { *to = __float2bfloat16(x); }

// Where the i-th element of a tensor lies.
__device__ inline size_t place(size_t i, size_t dims, const size_t *sizes, const size_t *strides) {
    if (!sizes) {
        return i;
    }
    size_t at = 0;
    for (size_t d = dims; d-- > 0;) {
        at += i % sizes[d] * strides[d];
        i /= sizes[d];
    }
    return at;
}

#define EACH(i, count) for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += blockDim.x * gridDim.x)

// out = in, in other numbers or another order.
#define COPY(name, From, To)                                                                                            \
    extern "C" __global__ void name(size_t count, size_t dims, const size_t *info, const From *in, To *out) {            \
        EACH(i, count) { store(out + i, real(in[place(i, dims, info, info + dims)])); }                                  \
    }
COPY(ucopy_bf16, bf16, bf16)
COPY(cast_bf16_f32, bf16, float)
COPY(cast_f32_bf16, float, bf16)

extern "C" __global__ void affine_f32(size_t count, size_t dims, const size_t *info, const float *in, float *out,
                                      float mul, float add) {
    EACH(i, count) { out[i] = in[place(i, dims, info, info + dims)] * mul + add; }
}

// out = chosen ? yes : no; `info` has the strides of all three.
extern "C" __global__ void where_u8_f32(size_t count, size_t dims, const size_t *info, const uint8_t *chosen,
                                        const float *yes, const float *no, float *out) {
    EACH(i, count) {
        const auto at = [&](size_t operand) { return place(i, dims, info, info + (1 + operand) * dims); };
        out[i] = chosen[at(0)] ? yes[at(1)] : no[at(2)];
    }
}

// Rows of a contiguous matrix by their numbers.
extern "C" __global__ void is_u32_bf16(size_t count, size_t, const size_t *, const uint32_t *ids, const bf16 *in, bf16 *out,
                                       size_t, size_t rows, size_t wanted, size_t width) {
    EACH(i, count) {
        const size_t left = i / (wanted * width), id = ids[i / width % wanted];
        out[i] = in[(left * rows + id) * width + i % width];
    }
}

// Rows of `width` numbers from one matrix into another.
extern "C" __global__ void copy2d_bf16(const bf16 *in, bf16 *out, uint32_t rows, uint32_t width, uint32_t in_stride,
                                       uint32_t out_stride) {
    EACH(i, size_t(rows) * width) { out[i / width * out_stride + i % width] = in[i / width * in_stride + i % width]; }
}

// A row for each block in x; here by one of its threads.
extern "C" __global__ void softmax_f32(const float *in, float *out, int width) {
    if (threadIdx.y) {
        return;
    }
    const size_t start = size_t(blockDim.x * blockIdx.x + threadIdx.x) * width;
    float most = -INFINITY, sum = 0;
    for (int i = 0; i < width; ++i) {
        most = fmaxf(most, in[start + i]);
    }
    for (int i = 0; i < width; ++i) {
        sum += out[start + i] = expf(in[start + i] - most);
    }
    for (int i = 0; i < width; ++i) {
        out[start + i] /= sum;
    }
}

#undef EACH
#undef COPY
