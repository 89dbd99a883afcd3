#include "product.h"

#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

namespace emulator {

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));

// Rows of either side that are multiplied at once, so that what is loaded is used more than once.
constexpr size_t A = 4, B = 4;
// Rows of `a` that stay in the cache while all of `b` goes by.
constexpr size_t BLOCK = 32;

FOR_EACH_PROCESSOR
static void tile(float *out, size_t stride, const float *const (&left)[A], const float *const (&right)[B], size_t k,
                 size_t n_left, size_t n_right) {
    Lanes sums[A][B] = {};
    for (size_t at = 0; at < k; at += LANES) {
        Lanes l[A], r;
        for (size_t x = 0; x < A; x++) {
            memcpy(&l[x], left[x] + at, sizeof r);
        }
        for (size_t y = 0; y < B; y++) {
            memcpy(&r, right[y] + at, sizeof r);
            for (size_t x = 0; x < A; x++) {
                sums[x][y] += l[x] * r;
            }
        }
    }
    for (size_t y = 0; y < n_right; y++) {
        for (size_t x = 0; x < n_left; x++) {
            float sum = 0;
            for (size_t lane = 0; lane < LANES; lane++) {
                sum += sums[x][y][lane];
            }
            out[y * stride + x] = sum;
        }
    }
}

void products(float *out, const float *a, size_t rows, const float *b, size_t columns, size_t k) {
    for (size_t block = 0; block < rows; block += BLOCK) {
        const size_t end = block + BLOCK < rows ? block + BLOCK : rows;
        for (size_t j = 0; j < columns; j += B) {
            const size_t n_right = columns - j < B ? columns - j : B;
            for (size_t i = block; i < end; i += A) {
                const size_t n_left = end - i < A ? end - i : A;
                // At an edge the last row is multiplied again.
                const float *left[A], *right[B];
                for (size_t x = 0; x < A; x++) {
                    left[x] = a + (i + (x < n_left ? x : n_left - 1)) * k;
                }
                for (size_t y = 0; y < B; y++) {
                    right[y] = b + (j + (y < n_right ? y : n_right - 1)) * k;
                }
                tile(out + j * rows + i, rows, left, right, k, n_left, n_right);
            }
        }
    }
}

} // namespace emulator
