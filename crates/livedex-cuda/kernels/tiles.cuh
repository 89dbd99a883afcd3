// Tiles of 64 rows in shared memory.
//
// A row is cut into chunks of 16 bytes, what one copy moves and one row of an 8 x 8 matrix is. Eight rows' chunks that
// are loaded together would lie in the same banks, so chunks change places within their row by the row's number.

#pragma once

#include "tensor_cores.cuh"

// Query rows of a block, and keys of a step.
constexpr int TILE = 64;
// Four warps of 16 rows.
constexpr int THREADS = 128;

// Where a chunk of a row of D numbers is.
template <int D>
static __device__ __forceinline__ bf16 *in_tile(bf16 *tile, u32 row, u32 chunk) {
    // Rows of 64 bytes lie two in all the banks.
    const u32 turn = D == 32 ? row / 2 % 4 : row % 8;
    return tile + row * D + (chunk ^ turn) * WIDE;
}

template <int D>
static __device__ __forceinline__ const bf16 *in_tile(const bf16 *tile, u32 row, u32 chunk) {
    return in_tile<D>(const_cast<bf16 *>(tile), row, chunk);
}

// A thread's part of a tile that is copied: one chunk of every so many rows, which is at the same place of each of them.
template <int D> struct Column {
    static constexpr u32 CHUNKS = D / WIDE;
    static constexpr u32 STEP = THREADS / CHUNKS;
    static_assert(STEP % (D == 32 ? 16 : 8) == 0, "chunks would change places from step to step");
    const u32 row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
};

// Starts to copy a tile's rows; those from `present` on are zeros.
template <int D>
static __device__ __forceinline__ void start_rows(bf16 *tile, const bf16 *from, u32 ld, u32 present) {
    const Column<D> column;
    bf16 *const to = in_tile<D>(tile, column.row, column.chunk);
    const bf16 *at = from + at_row(column.row, ld) + column.chunk * WIDE;
    const size_t step = at_row(column.STEP, ld);
#pragma unroll
    for (u32 row = 0; row < TILE; row += column.STEP) {
        const bool there = row + column.row < present;
        copy_async(to + row * D, there ? at : from, there);
        at += step;
    }
}

// Writes the first `rows` rows of a tile.
template <int D>
static __device__ __forceinline__ void write_rows(bf16 *to, u32 ld, const bf16 *tile, u32 rows) {
    const Column<D> column;
    const bf16 *const from = in_tile<D>(tile, column.row, column.chunk);
    bf16 *at = to + at_row(column.row, ld) + column.chunk * WIDE;
    const size_t step = at_row(column.STEP, ld);
#pragma unroll
    for (u32 row = 0; row < TILE; row += column.STEP) {
        if (row + column.row < rows) {
            *reinterpret_cast<uint4 *>(at) = *reinterpret_cast<const uint4 *>(from + row * D);
        }
        at += step;
    }
}

// The row that this lane names when 16 rows from `row` on and 16 columns are loaded: the upper left matrix, the lower
// left one, then the right ones. It is the order of a left operand, and, transposed, of two right operands whose rows
// are the tile's columns.
template <int D>
static __device__ __forceinline__ const bf16 *left_operand(const bf16 *tile, u32 row, u32 step) {
    const u32 lane = threadIdx.x % WARP;
    return in_tile<D>(tile, row + lane % 16, 2 * step + lane / 16);
}

// The same for two right operands whose columns are the tile's rows 16 i .. 16 i + 16.
template <int D>
static __device__ __forceinline__ const bf16 *right_operand(const bf16 *tile, u32 i, u32 step) {
    const u32 lane = threadIdx.x % WARP;
    return in_tile<D>(tile, 16 * i + lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2);
}
