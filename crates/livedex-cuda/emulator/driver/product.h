// Matrix products of f32 on the CPU.

#pragma once

#include <stddef.h>

namespace emulator {

// Numbers of a row are summed this many at a time; rows are filled up with zeros.
constexpr size_t LANES = 16;

// out[i, j] = a[i] . b[j], for rows of `k` numbers, a multiple of LANES. Row j of `out` begins at j * rows: columns of
// the result are contiguous, as BLAS has them.
void products(float *out, const float *a, size_t rows, const float *b, size_t columns, size_t k);

} // namespace emulator
