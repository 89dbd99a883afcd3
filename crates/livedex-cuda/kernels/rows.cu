// Steps that take a row and give a row: looking embeddings up, and what stands between two matrix products.
//
// A block has one row; any number of whole warps will do.

#include "activation.cuh"
#include "bf16.cuh"

// out[row] = table[ids[row]], rows of `table` being `ld` apart.
extern "C" __global__ void gather_rows(bf16 *out, const bf16 *table, u32 ld, const u32 *ids, u32 width) {
    const bf16 *from = table + at_row(ids[blockIdx.x], ld);
    bf16 *to = out + at_row(blockIdx.x, width);
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        *reinterpret_cast<uint4 *>(to + i) = *reinterpret_cast<const uint4 *>(from + i);
    }
}

// out = f(gate) * up of rows that are gate, then up. Kind 0: silu; 1: gelu.
extern "C" __global__ void gated(bf16 *out, const bf16 *gate_up, u32 width, u32 kind) {
    const bf16 *gate = gate_up + at_row(blockIdx.x, 2 * width);
    const bf16 *up = gate + width;
    bf16 *to = out + at_row(blockIdx.x, width);
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        Eight x = load(gate + i);
        const Eight y = load(up + i);
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            x.at[k] = (kind == 0 ? silu(x.at[k]) : gelu(x.at[k])) * y.at[k];
        }
        store(to + i, x);
    }
}

// x += delta.
extern "C" __global__ void add(bf16 *x, const bf16 *delta, u32 width) {
    const size_t start = at_row(blockIdx.x, width);
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        Eight numbers = load(x + start + i);
        const Eight more = load(delta + start + i);
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            numbers.at[k] += more.at[k];
        }
        store(x + start + i, numbers);
    }
}

// x = f(x + bias). Kind 0: identity; 1: gelu; 2: gelu by tanh; 3: relu; 4: tanh.
extern "C" __global__ void bias_activation(bf16 *x, const bf16 *bias, u32 width, u32 kind) {
    bf16 *row = x + at_row(blockIdx.x, width);
    // A classifier's rows have a number or two.
    if (width % WIDE != 0) {
        for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
            const float sum = __bfloat162float(row[i]) + __bfloat162float(bias[i]);
            row[i] = __float2bfloat16(activation(sum, kind));
        }
        return;
    }
    for (u32 i = threadIdx.x * WIDE; i < width; i += blockDim.x * WIDE) {
        Eight numbers = load(row + i);
        const Eight shift = load(bias + i);
#pragma unroll
        for (u32 k = 0; k < WIDE; k++) {
            numbers.at[k] = activation(numbers.at[k] + shift.at[k], kind);
        }
        store(row + i, numbers);
    }
}
