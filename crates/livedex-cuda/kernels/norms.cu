// Normalisations, with the additions and the rotation that stand next to them.
//
// A block has one row; any number of whole warps will do. A row is read again for each pass: it is in the first-level
// cache by then.

#include "bf16.cuh"

// One number of an RMS norm, rounded where transformers rounds in bf16: the normalised number, then its product.
static __device__ __forceinline__ float scaled(float x, float factor, float weight) {
    return rounded(rounded(x * factor) * weight);
}

// x += delta, unless that is null, then out = x / rms(x) * weight. The sum is rounded to bf16, and the norm is that of
// the rounded numbers: they are what the next layer adds to.
extern "C" __global__ void add_rms_norm(bf16 *out, bf16 *x, const bf16 *delta, const bf16 *weight, u32 width,
                                        float eps) {
    const size_t start = at_row(blockIdx.x, width);
    float squares = 0;
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        Eight numbers = load(x + start + i);
        if (delta) {
            const Eight more = load(delta + start + i);
#pragma unroll
            for (u32 k = 0; k < WIDE; k++) {
                numbers.at[k] = rounded(numbers.at[k] + more.at[k]);
            }
            store(x + start + i, numbers);
        }
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            squares += numbers.at[k] * numbers.at[k];
        }
    }
    const float factor = rsqrtf(sum_of_block(squares) / width + eps);
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        // A thread reads what it wrote itself.
        Eight numbers = load(x + start + i);
        const Eight scale = load(weight + i);
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            numbers.at[k] = scaled(numbers.at[k], factor, scale.at[k]);
        }
        store(out + start + i, numbers);
    }
}

// The RMS norm of each head, unless `weight` is null, then its rotation by the row's position: halves against each
// other, by tables of [positions, head_dim / 2]. `out` may be `x`. Head dimensions are 16 to 256, multiples of 16.
extern "C" __global__ void norm_rope(bf16 *out, u32 out_ld, const bf16 *x, u32 x_ld, const bf16 *weight,
                                     const float *cos, const float *sin, const u32 *positions, u32 heads,
                                     u32 head_dim, float eps) {
    const u32 half = head_dim / 2;
    // Neighbouring lanes share a head, eight numbers of each half a lane; a power of two, so that they can be summed.
    u32 lanes = 1;
    while (lanes * WIDE < half) {
        lanes *= 2;
    }
    const u32 at_once = blockDim.x / lanes;
    const u32 i = threadIdx.x % lanes * WIDE;
    const size_t angle = at_row(positions[blockIdx.x], half) + i;
    // All lanes go round as often, since the sum is a matter of the whole warp.
    for (u32 first = 0; first < heads; first += at_once) {
        const u32 head = first + threadIdx.x / lanes;
        const bool in_use = head < heads && i < half;
        Eight low = {}, high = {};
        if (in_use) {
            const bf16 *from = x + at_row(blockIdx.x, x_ld) + head * head_dim + i;
            low = load(from);
            high = load(from + half);
        }
        if (weight) {
            float squares = 0;
#pragma unroll
            for (u32 k = 0; k < WIDE; k++) {
                squares += low.at[k] * low.at[k] + high.at[k] * high.at[k];
            }
            const float factor = rsqrtf(sum_of_lanes(squares, lanes) / head_dim + eps);
            if (in_use) {
                const Eight low_scale = load(weight + i), high_scale = load(weight + half + i);
#pragma unroll
                for (u32 k = 0; k < WIDE; k++) {
                    low.at[k] = scaled(low.at[k], factor, low_scale.at[k]);
                    high.at[k] = scaled(high.at[k], factor, high_scale.at[k]);
                }
            }
        }
        if (in_use) {
            Eight left, right;
#pragma unroll
            for (u32 k = 0; k < WIDE; k++) {
                const float c = cos[angle + k], s = sin[angle + k];
                left.at[k] = low.at[k] * c - high.at[k] * s;
                right.at[k] = high.at[k] * c + low.at[k] * s;
            }
            bf16 *to = out + at_row(blockIdx.x, out_ld) + head * head_dim + i;
            store(to, left);
            store(to + half, right);
        }
    }
}

// Eight numbers of x + bias + residual, either of which may be null; not rounded in between.
static __device__ __forceinline__ Eight added(const bf16 *x, const bf16 *bias, const bf16 *residual, size_t start,
                                              u32 i) {
    Eight sum = load(x + start + i);
    if (bias) {
        const Eight more = load(bias + i);
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            sum.at[k] += more.at[k];
        }
    }
    if (residual) {
        const Eight more = load(residual + start + i);
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            sum.at[k] += more.at[k];
        }
    }
    return sum;
}

// out = norm(x + bias + residual) * weight + shift, mean and variance over the row; bias, residual and shift may be
// null. `out` may be `x` or `residual`.
extern "C" __global__ void layer_norm(bf16 *out, const bf16 *x, const bf16 *bias, const bf16 *residual,
                                      const bf16 *weight, const bf16 *shift, u32 width, float eps) {
    const size_t start = at_row(blockIdx.x, width);
    float sum = 0;
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        const Eight numbers = added(x, bias, residual, start, i);
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            sum += numbers.at[k];
        }
    }
    const float mean = sum_of_block(sum) / width;
    // Not by the squares' mean, which loses its digits where the mean is large.
    float squares = 0;
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        const Eight numbers = added(x, bias, residual, start, i);
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            squares += (numbers.at[k] - mean) * (numbers.at[k] - mean);
        }
    }
    const float factor = rsqrtf(sum_of_block(squares) / width + eps);
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        Eight numbers = added(x, bias, residual, start, i);
        const Eight scale = load(weight + i);
        Eight offset = {};
        if (shift) {
            offset = load(shift + i);
        }
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            numbers.at[k] = (numbers.at[k] - mean) * factor * scale.at[k] + offset.at[k];
        }
        store(out + start + i, numbers);
    }
}
