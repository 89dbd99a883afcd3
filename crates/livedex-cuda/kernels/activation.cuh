// The functions between two linear layers, in f32.

#pragma once

#include "bf16.cuh"

static __device__ __forceinline__ float silu(float x) {
    return x / (1.0f + expf(-x));
}

static __device__ __forceinline__ float gelu(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

static __device__ __forceinline__ float gelu_tanh(float x) {
    return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}

static __device__ __forceinline__ float activation(float x, u32 kind) {
    switch (kind) {
    case 1:
        return gelu(x);
    case 2:
        return gelu_tanh(x);
    case 3:
        // Not fmaxf, which would turn NaN into 0.
        return x < 0 ? 0 : x;
    case 4:
        return tanhf(x);
    default:
        return x;
    }
}
