// What the kernels use of CUDA's header of this name.

#pragma once

#include "device.h"

struct __nv_bfloat16 {
    uint16_t bits;
};

struct __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

inline float __bfloat162float(__nv_bfloat16 x) {
    return __uint_as_float((uint32_t)x.bits << 16);
}

// To nearest, ties to even; NaN as the hardware gives it.
inline __nv_bfloat16 __float2bfloat16(float x) {
    const uint32_t bits = __float_as_uint(x);
    if (x != x) {
        return {0x7fff};
    }
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__float2bfloat16(x), __float2bfloat16(y)};
}

inline uint16_t __bfloat16_as_ushort(__nv_bfloat16 x) {
    return x.bits;
}
