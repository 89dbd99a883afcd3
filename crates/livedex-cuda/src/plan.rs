//! How kernels are launched: blocks, threads, shared memory.
//!
//! Kernels that take a row each have one block a row; attention has one for [`BLOCK_ROWS`] query
//! rows of a sequence and each query head.

/// Query rows of one block of attention.
pub const BLOCK_ROWS: u32 = 64;

/// Threads of a block of `attention_32`, `attention_64` and `attention_128`, exactly.
pub const ATTENTION_THREADS: u32 = 128;

/// Head dimensions that attention is compiled for.
pub const HEAD_DIMS: [u32; 3] = [32, 64, 128];

/// Threads of a block of `dots`: a warp for each of the few rows that are multiplied.
pub const DOTS_THREADS: u32 = 64;

/// Numbers that a thread loads at once.
pub(crate) const WIDE: u32 = 8;
/// Threads that run in step.
const WARP: u32 = 32;
/// More threads than this would wait for each other at every sum.
const MOST_THREADS: u32 = 256;

/// One sequence of a packed batch: where its rows stand in the matrices of queries, and of keys
/// and values. In number and order what the kernel `attention_*` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Span {
    /// First query row, and output row.
    pub q_start: u32,
    /// Query rows. None: the sequence is only read by others.
    pub q_len: u32,
    /// First row of its own keys and values.
    pub k_start: u32,
    /// Own keys.
    pub k_len: u32,
    /// First row of the prefix that it continues.
    pub p_start: u32,
    /// Keys of the prefix; 0: none.
    pub p_len: u32,
}

impl Span {
    /// As the kernel reads it.
    pub fn words(&self) -> [u32; 6] {
        [self.q_start, self.q_len, self.k_start, self.k_len, self.p_start, self.p_len]
    }
}

/// Blocks of attention for one head: the sequence, and its first query row. Those with most keys
/// come first: started last, they would keep the device waiting.
pub fn blocks(spans: &[Span]) -> Vec<[u32; 2]> {
    let mut sequences: Vec<u32> = (0..).take(spans.len()).collect();
    let keys = |sequence: &u32| {
        let span = &spans[*sequence as usize];
        u64::from(span.p_len) + u64::from(span.k_len)
    };
    sequences.sort_by_key(|sequence| std::cmp::Reverse(keys(sequence)));
    // Of a sequence the last rows first: by a causal mask they see most.
    let of_one = |sequence: u32| {
        let rows = (0..spans[sequence as usize].q_len).step_by(BLOCK_ROWS as usize);
        rows.rev().map(move |row| [sequence, row])
    };
    sequences.into_iter().flat_map(of_one).collect()
}

/// Dynamic shared memory of a block of attention, in bytes: two tiles of keys and two of values in
/// bf16. More than 48 KiB have to be asked for (`CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`).
pub fn shared_bytes(head_dim: u32) -> u32 {
    let tile = BLOCK_ROWS * head_dim * 2;
    4 * tile
}

/// Threads of a block that has a row of `width` numbers: `gather_rows`, `add_rms_norm`, `gated`,
/// `bias_activation`, `layer_norm`, and `pool` by its dimension.
pub fn row_threads(width: u32) -> u32 {
    width.div_ceil(WIDE).next_multiple_of(WARP).clamp(WARP, MOST_THREADS)
}

/// Threads of a block of `norm_rope`.
pub fn rope_threads(heads: u32, head_dim: u32) -> u32 {
    // A thread has eight numbers of each half of a head; a head has a power of two of them.
    let lanes = (head_dim / 2).div_ceil(WIDE).next_power_of_two();
    heads.saturating_mul(lanes).next_multiple_of(WARP).clamp(WARP, MOST_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(q_len: u32, k_len: u32, p_len: u32) -> Span {
        Span { q_len, k_len, p_len, ..Span::default() }
    }

    #[test]
    fn every_query_row_has_one_block_and_long_sequences_come_first() {
        let spans =
            [span(1, 1, 0), span(130, 130, 0), span(0, 90, 0), span(64, 64, 90), span(65, 80, 0)];
        let blocks = blocks(&spans);
        assert_eq!(blocks, [[3, 0], [1, 128], [1, 64], [1, 0], [4, 64], [4, 0], [0, 0]]);
        for (sequence, span) in (0u32..).zip(&spans) {
            for row in 0..span.q_len {
                let has = |block: &&[u32; 2]| {
                    block[0] == sequence && (block[1]..block[1] + BLOCK_ROWS).contains(&row)
                };
                assert_eq!(blocks.iter().filter(has).count(), 1, "row {row} of {sequence}");
            }
        }
    }

    #[test]
    fn nothing_to_compute_has_no_blocks() {
        assert_eq!(blocks(&[]), <[[u32; 2]; 0]>::default());
        assert_eq!(blocks(&[span(0, 7, 0)]), <[[u32; 2]; 0]>::default());
    }

    #[test]
    fn only_the_widest_heads_have_to_ask_for_shared_memory() {
        assert_eq!(HEAD_DIMS.map(shared_bytes), [16 << 10, 32 << 10, 64 << 10]);
    }

    #[test]
    fn threads_are_whole_warps() {
        assert_eq!(
            [8, 256, 264, 384, 1024, 2048, 8192].map(row_threads),
            [32, 32, 64, 64, 128, 256, 256]
        );
        // 16 heads of 128: eight threads each. 96 takes as many, two of them idle.
        assert_eq!(rope_threads(16, 128), 128);
        assert_eq!(rope_threads(8, 96), 64);
        assert_eq!(rope_threads(1, 16), 32);
        assert_eq!(rope_threads(64, 256), 256);
    }

    #[test]
    fn a_span_is_six_words_in_the_order_of_its_fields() {
        let span = Span { q_start: 1, q_len: 2, k_start: 3, k_len: 4, p_start: 5, p_len: 6 };
        assert_eq!(span.words(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(size_of::<Span>(), 24);
    }
}
