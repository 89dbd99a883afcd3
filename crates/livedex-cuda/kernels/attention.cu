// Attention over packed sequences of any lengths, in one pass: scores are never written to memory.
//
// A block computes 64 query rows of one sequence for one head, a warp 16 of them. Keys and values come by in tiles of
// 64; the next tile is on its way while one is worked on. Of each row the warp keeps the largest score, the sum of
// weights and the weighted values so far, and scales the latter two when a larger score comes (online softmax, as in
// FlashAttention-2). A sequence that continues a prefix reads the prefix's tiles first, then its own.

#include "tensor_cores.cuh"
#include "tiles.cuh"

// As `Mask` of livedex-model: all keys; those up to the query's own, the last query seeing the last key; those at most
// `window` positions away.
enum { FULL = 0, CAUSAL = 1, NEAR = 2 };

struct Span {
    u32 q_start, q_len, k_start, k_len, p_start, p_len;
};

// The own keys that a query sees, as signed numbers: first, and one past the last.
struct Seen {
    int first, end;
};

static __device__ __forceinline__ Seen seen_by(const Span &span, u32 row, u32 mask, u32 window) {
    // A window may say that it has no end.
    const int keys = span.k_len, own = row, reach = min(window, span.k_len);
    if (mask == CAUSAL) {
        return {0, min(keys, keys - (int)span.q_len + own + 1)};
    }
    if (mask == NEAR) {
        return {max(0, own - reach), min(keys, own + reach + 1)};
    }
    return {0, keys};
}

template <int D>
static __device__ __forceinline__ void attend(bf16 *out, u32 out_ld, const bf16 *q, u32 q_ld, const bf16 *k, u32 k_ld,
                                              const bf16 *v, u32 v_ld, const u32 *spans, const u32 *blocks, u32 group,
                                              float scale, u32 mask, u32 window) {
    // Products along the head dimension, and along a tile's keys.
    constexpr int STEPS = D / 16;
    constexpr int KEY_STEPS = TILE / 16;
    constexpr float MINUS_INFINITY = -INFINITY;

    // Two tiles of keys, then two of values.
    bf16 *const key_tiles = shared_memory();
    bf16 *const value_tiles = key_tiles + 2 * TILE * D;

    const u32 *const lengths = spans + 6 * blocks[2 * blockIdx.x];
    const Span span = {lengths[0], lengths[1], lengths[2], lengths[3], lengths[4], lengths[5]};
    const u32 first_row = blocks[2 * blockIdx.x + 1];
    const u32 rows = min((u32)TILE, span.q_len - first_row);
    const u32 head = blockIdx.y;

    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    // A lane has elements of two rows, eight apart.
    const u32 warp_row = 16 * warp;
    const u32 lane_row = warp_row + lane / 4;
    // Warps without a row only load.
    const bool has_rows = warp_row < rows;

    const bf16 *const key_column = k + head / group * D;
    const bf16 *const value_column = v + head / group * D;
    // Tiles that some row of the block sees: the prefix's, then its own from the first row's first key to the last
    // row's last one.
    const int prefix_tiles = (span.p_len + TILE - 1) / TILE;
    const Seen seen_first = seen_by(span, first_row, mask, window);
    const Seen seen_last = seen_by(span, first_row + rows - 1, mask, window);
    const int first_own = seen_first.first / TILE;
    const int tiles = prefix_tiles + max(0, (seen_last.end + TILE - 1) / TILE - first_own);

    const auto start_tile = [&](int tile) {
        const bool own = tile >= prefix_tiles;
        const u32 start = own ? span.k_start : span.p_start;
        const u32 length = own ? span.k_len : span.p_len;
        const u32 first = (own ? first_own + tile - prefix_tiles : tile) * TILE;
        const int at = tile % 2 * TILE * D;
        start_rows<D>(key_tiles + at, key_column + at_row(start + first, k_ld), k_ld, length - first);
        start_rows<D>(value_tiles + at, value_column + at_row(start + first, v_ld), v_ld, length - first);
        end_copy_group();
    };

    // The queries wait in the second tile of values until they are in registers.
    bf16 *const query_tile = value_tiles + TILE * D;
    start_rows<D>(query_tile, q + at_row(span.q_start + first_row, q_ld) + head * D, q_ld, rows);
    end_copy_group();
    if (tiles > 0) {
        start_tile(0);
    }
    wait_for_copies<0>();
    __syncthreads();
    u32 query[STEPS][4];
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        load_matrices(query[step], left_operand<D>(query_tile, warp_row, step));
    }

    float sums[2] = {0, 0};
    float most[2] = {MINUS_INFINITY, MINUS_INFINITY};
    float result[2 * STEPS][4] = {};
    // Softmax by powers of two.
    const float factor = scale * 1.4426950408889634f;

    for (int tile = 0; tile < tiles; tile++) {
        // This tile is there for all warps, and all are done with the one before it, whose place the next one takes.
        wait_for_copies<0>();
        __syncthreads();
        if (tile + 1 < tiles) {
            start_tile(tile + 1);
        }
        if (!has_rows) {
            continue;
        }
        const bf16 *const keys = key_tiles + tile % 2 * TILE * D;
        const bf16 *const values = value_tiles + tile % 2 * TILE * D;

        float scores[2 * KEY_STEPS][4] = {};
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
#pragma unroll
            for (int i = 0; i < KEY_STEPS; i++) {
                u32 pair[4];
                load_matrices(pair, right_operand<D>(keys, i, step));
                multiply_add(scores[2 * i], query[step], pair[0], pair[1]);
                multiply_add(scores[2 * i + 1], query[step], pair[2], pair[3]);
            }
        }

        // The warp's first row has the earliest end, its last one the latest beginning.
        const bool own = tile >= prefix_tiles;
        const int first_key = (own ? first_own + tile - prefix_tiles : tile) * TILE;
        const auto seen_of_segment = [&](u32 row) {
            const Seen all = {0, (int)span.p_len};
            return own ? seen_by(span, first_row + row, mask, window) : all;
        };
        // The same for all lanes, so that they stay together.
        const bool has_hidden = seen_of_segment(warp_row + 15).first > first_key ||
                                seen_of_segment(warp_row).end < first_key + TILE;
        if (has_hidden) {
            const Seen seen[2] = {seen_of_segment(lane_row), seen_of_segment(lane_row + 8)};
#pragma unroll
            for (int i = 0; i < 2 * KEY_STEPS; i++) {
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    const int key = first_key + 8 * i + lane % 4 * 2 + c % 2;
                    if (key < seen[c / 2].first || key >= seen[c / 2].end) {
                        scores[i][c] = MINUS_INFINITY;
                    }
                }
            }
        }

#pragma unroll
        for (int half = 0; half < 2; half++) {
            float largest = most[half];
#pragma unroll
            for (int i = 0; i < 2 * KEY_STEPS; i++) {
                largest = fmaxf(largest, fmaxf(scores[i][2 * half], scores[i][2 * half + 1]));
            }
            // Four lanes share a row.
            largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 1));
            largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 2));
            // A row that has seen no key yet: infinity less infinity would be NaN.
            const float offset = largest == MINUS_INFINITY ? 0 : largest * factor;
            const float shrink = power_of_two(most[half] * factor - offset);
            most[half] = largest;
            sums[half] *= shrink;
#pragma unroll
            for (int i = 0; i < 2 * KEY_STEPS; i++) {
#pragma unroll
                for (int c = 2 * half; c < 2 * half + 2; c++) {
                    scores[i][c] = power_of_two(scores[i][c] * factor - offset);
                    sums[half] += scores[i][c];
                }
            }
#pragma unroll
            for (int i = 0; i < 2 * STEPS; i++) {
                result[i][2 * half] *= shrink;
                result[i][2 * half + 1] *= shrink;
            }
        }

#pragma unroll
        for (int i = 0; i < KEY_STEPS; i++) {
            // Where a lane's sums of one product stand is where the next one wants its left operand.
            const float *const low = scores[2 * i], *const high = scores[2 * i + 1];
            const u32 weights[4] = {pack(low[0], low[1]), pack(low[2], low[3]), pack(high[0], high[1]),
                                    pack(high[2], high[3])};
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                u32 pair[4];
                load_matrices_transposed(pair, left_operand<D>(values, 16 * i, step));
                multiply_add(result[2 * step], weights, pair[0], pair[1]);
                multiply_add(result[2 * step + 1], weights, pair[2], pair[3]);
            }
        }
    }

    // Through shared memory, from where whole rows are written: a lane alone has four bytes of each.
    __syncthreads();
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = sums[half];
        sum += __shfl_xor_sync(ALL_LANES, sum, 1);
        sum += __shfl_xor_sync(ALL_LANES, sum, 2);
        // A row without any key gives zeros.
        const float inverse = sum > 0 ? 1 / sum : 0;
#pragma unroll
        for (int i = 0; i < 2 * STEPS; i++) {
            bf16 *const to = in_tile<D>(key_tiles, lane_row + 8 * half, i) + lane % 4 * 2;
            *reinterpret_cast<u32 *>(to) = pack(result[i][2 * half] * inverse, result[i][2 * half + 1] * inverse);
        }
    }
    __syncthreads();
    write_rows<D>(out + at_row(span.q_start + first_row, out_ld) + head * D, out_ld, key_tiles, rows);
}

// Grid: blocks, query heads. `spans`: six numbers a sequence, `blocks`: sequence and first query row of each block.
// Query head h reads the keys and values of head h / group. The scale is positive. Near masks have no prefixes.
#define ATTENTION(D, AT_ONCE)                                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, AT_ONCE) attention_##D(                                      \
        bf16 *out, u32 out_ld, const bf16 *q, u32 q_ld, const bf16 *k, u32 k_ld, const bf16 *v, u32 v_ld,              \
        const u32 *spans, const u32 *blocks, u32 group, float scale, u32 mask, u32 window) {                           \
        attend<D>(out, out_ld, q, q_ld, k, k_ld, v, v_ld, spans, blocks, group, scale, mask, window);                  \
    }

// The second number: blocks that a multiprocessor has at once, which bounds the registers of a thread.
ATTENTION(32, 4)
ATTENTION(64, 3)
ATTENTION(128, 2)
