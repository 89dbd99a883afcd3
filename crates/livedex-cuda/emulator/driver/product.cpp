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
constexpr size_t A = 2, B = 4;

FOR_EACH_PROCESSOR
void products(float *out, const float *a, size_t rows, const float *b, size_t columns, size_t k) {
    for (size_t j = 0; j < columns; j += B) {
        for (size_t i = 0; i < rows; i += A) {
            // At an edge the last row is multiplied again.
            const float *left[A], *right[B];
            for (size_t x = 0; x < A; x++) {
                left[x] = a + (i + x < rows ? i + x : rows - 1) * k;
            }
            for (size_t y = 0; y < B; y++) {
                right[y] = b + (j + y < columns ? j + y : columns - 1) * k;
            }
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
            for (size_t x = 0; x < A && i + x < rows; x++) {
                for (size_t y = 0; y < B && j + y < columns; y++) {
                    float sum = 0;
                    for (size_t lane = 0; lane < LANES; lane++) {
                        sum += sums[x][y][lane];
                    }
                    out[(j + y) * rows + i + x] = sum;
                }
            }
        }
    }
}

} // namespace emulator
