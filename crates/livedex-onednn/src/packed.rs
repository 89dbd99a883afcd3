//! Packed weights, and the product with them.

use std::{ops::Range, sync::Arc};

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use crate::{
    Error, Library, Precision,
    abi::{self, Api, Arg, Ptr},
    room::{Aligned, with_thread},
    shape::{BLOCK, Key, STEP, Shape},
};

/// Outputs of one piece: what one task multiplies a block of rows with.
const PIECE: usize = 512;

/// Numbers that one task converts.
const CONVERTED: usize = 64 * 1024;

/// The weights of linear layers of one input, stacked by output and packed for `x W^T`.
pub struct Packed {
    api: &'static Api,
    inputs: usize,
    outputs: usize,
    precision: Precision,
    pieces: Vec<Piece>,
}

/// Some outputs of one layer.
struct Piece {
    outputs: Range<usize>,
    shape: Arc<Shape>,
    weights: Memory,
    _data: Aligned,
}

/// A matrix that oneDNN knows of.
struct Memory(Ptr, &'static Api);

// SAFETY: packed weights are only read.
unsafe impl Send for Memory {}
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        self.1.release(self.0);
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}

impl Packed {
    /// Packs layers of `inputs` numbers each, given row by row: a row is an output.
    ///
    /// # Panics
    /// When a layer is empty or not a whole number of rows.
    pub fn new(
        library: &'static Library,
        layers: &[&[f32]],
        inputs: usize,
        precision: Precision,
    ) -> Result<Self, Error> {
        let api = &library.api;
        // Primitives are made for the threads there are at that moment.
        api.one_thread();
        let mut pieces = Vec::new();
        let mut outputs = 0;
        for layer in layers {
            assert!(inputs > 0 && !layer.is_empty(), "an empty layer");
            assert!(layer.len().is_multiple_of(inputs), "not a whole number of rows");
            for rows in layer.chunks(PIECE * inputs) {
                let n = rows.len() / inputs;
                let shape = library.shapes.get(api, Key { inputs, outputs: n, precision })?;
                let (weights, data) = pack(api, rows, &shape)?;
                let range = outputs..outputs + n;
                pieces.push(Piece { outputs: range, shape, weights, _data: data });
                outputs += n;
            }
        }
        Ok(Self { api, inputs, outputs, precision, pieces })
    }

    /// Numbers of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers of an output row, of all layers together.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `x W^T` for the outputs `wanted`, which begin and end where a layer does: rows of
    /// [`inputs`](Self::inputs) numbers to rows of `wanted.len()`.
    ///
    /// `finish` gets each tile of the result while it is in the cache, and may change it: whole
    /// rows of some of the outputs, with those outputs' range.
    ///
    /// # Panics
    /// When `x` is not a whole number of rows or `wanted` cuts a layer.
    pub fn multiply(
        &self,
        x: &[f32],
        wanted: Range<usize>,
        finish: &(dyn Fn(&mut [f32], Range<usize>) + Sync),
    ) -> Result<Vec<f32>, Error> {
        assert!(x.len().is_multiple_of(self.inputs), "not a whole number of rows");
        let rows = x.len() / self.inputs;
        let pieces: Vec<&Piece> = self
            .pieces
            .iter()
            .filter(|p| p.outputs.start >= wanted.start && p.outputs.end <= wanted.end)
            .collect();
        let found: usize = pieces.iter().map(|p| p.outputs.len()).sum();
        assert_eq!(found, wanted.len(), "outputs {wanted:?} cut a layer");

        let narrowed;
        let source: Ptr = match self.precision {
            Precision::F32 => x.as_ptr().cast_mut().cast(),
            Precision::Bf16 => {
                narrowed = to_bf16(x);
                narrowed.as_ptr().cast_mut().cast()
            }
        };
        let numbers = rows * wanted.len();
        let mut out: Vec<f32> = Vec::with_capacity(numbers);
        let shared =
            Shared { source, out: out.as_mut_ptr(), first: wanted.start, stride: wanted.len() };
        let block = block_rows(rows, pieces.len());
        let blocks = rows.div_ceil(block);
        // One piece after the other, so that its weights stay in a thread's cache for its blocks.
        (0..pieces.len() * blocks).into_par_iter().try_for_each(|task| {
            let (piece, first) = (pieces[task / blocks], task % blocks * block);
            self.block(piece, first..rows.min(first + block), &shared, finish)
        })?;
        // SAFETY: the tasks have written all columns of all rows.
        unsafe { out.set_len(numbers) };
        Ok(out)
    }

    /// One block of rows by one piece.
    fn block(
        &self,
        piece: &Piece,
        mut rows: Range<usize>,
        shared: &Shared,
        finish: &(dyn Fn(&mut [f32], Range<usize>) + Sync),
    ) -> Result<(), Error> {
        let api = self.api;
        let width = piece.outputs.len();
        let row_bytes = self.inputs * self.precision.bytes();
        let column = piece.outputs.start - shared.first;
        with_thread(api, |thread| {
            while !rows.is_empty() {
                let multiply = piece.shape.multiply(rows.len())?;
                let n = multiply.rows;
                // SAFETY: the rows lie within `x` and `out`.
                let (src, into) = unsafe {
                    (
                        shared.source.byte_add(rows.start * row_bytes),
                        shared.out.add(rows.start * shared.stride + column),
                    )
                };
                // oneDNN 2 is fast for contiguous results only. They are where they belong if
                // the piece is all that is wanted.
                let direct = width == shared.stride;
                let (scratchpad, bytes) = multiply.scratchpad;
                let (room, tile) = thread.rooms(bytes, if direct { 0 } else { n * width });
                let tile: *mut f32 = if direct { into } else { tile };
                let src = Memory(api.memory(multiply.src.as_ptr(), src)?, api);
                let dst = Memory(api.memory(multiply.dst.as_ptr(), tile.cast())?, api);
                let pad = Memory(api.memory(scratchpad, room)?, api);
                let args = [
                    Arg { arg: abi::SRC, memory: src.0 },
                    Arg { arg: abi::WEIGHTS, memory: piece.weights.0 },
                    Arg { arg: abi::DST, memory: dst.0 },
                    Arg { arg: abi::SCRATCHPAD, memory: pad.0 },
                ];
                // SAFETY: the scratchpad and the tile are this thread's own, and no other task
                // writes these columns of these rows.
                unsafe {
                    api.execute(multiply.primitive, thread.stream, &args)?;
                    let tile = std::slice::from_raw_parts_mut(tile, n * width);
                    finish(tile, piece.outputs.clone());
                    if !direct {
                        for (i, row) in tile.chunks_exact(width).enumerate() {
                            into.add(i * shared.stride)
                                .copy_from_nonoverlapping(row.as_ptr(), width);
                        }
                    }
                }
                rows.start += n;
            }
            Ok(())
        })
    }
}

/// Rows of one task: a block, or less where there would be fewer tasks than threads.
fn block_rows(rows: usize, pieces: usize) -> usize {
    let tasks = rayon::current_num_threads().div_ceil(pieces.max(1));
    rows.div_ceil(tasks).next_multiple_of(STEP).clamp(STEP, BLOCK)
}

/// What the tasks of one product share.
struct Shared {
    source: Ptr,
    out: *mut f32,
    /// The first output that is wanted, and how many are.
    first: usize,
    stride: usize,
}

// SAFETY: the source is only read, and each task writes a part of its own.
unsafe impl Sync for Shared {}

/// Brings weights into the layout of `shape`.
fn pack(api: &'static Api, rows: &[f32], shape: &Shape) -> Result<(Memory, Aligned), Error> {
    let layout = shape.weights();
    let mut data = Aligned::new(api.size(layout));
    let packed = Memory(api.memory(layout, data.as_mut_ptr())?, api);
    let pack = &shape.pack;
    let source = Memory(api.memory(pack.src.as_ptr(), rows.as_ptr().cast_mut().cast())?, api);
    with_thread(api, |thread| {
        let (scratchpad, bytes) = pack.scratchpad;
        let (room, _) = thread.rooms(bytes, 0);
        let pad = Memory(api.memory(scratchpad, room)?, api);
        let args = [
            Arg { arg: abi::SRC, memory: source.0 },
            Arg { arg: abi::DST, memory: packed.0 },
            Arg { arg: abi::SCRATCHPAD, memory: pad.0 },
        ];
        // SAFETY: `rows` and `data` are as large as their descriptors say, and `data` is ours.
        unsafe { api.execute(pack.primitive, thread.stream, &args) }
    })?;
    Ok((packed, data))
}

/// Rounds to nearest, ties to even. NaN stays NaN.
fn to_bf16(x: &[f32]) -> Vec<u16> {
    let arch = Arch::new();
    let mut out = vec![0u16; x.len()];
    out.par_chunks_mut(CONVERTED)
        .zip(x.par_chunks(CONVERTED))
        .for_each(|(out, x)| arch.dispatch(Round { x, out }));
    out
}

/// A type and not a closure, which would not be inlined for certain and so be compiled for the
/// lowest instruction set.
struct Round<'a> {
    x: &'a [f32],
    out: &'a mut [u16],
}

impl NullaryFnOnce for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (o, x) in self.out.iter_mut().zip(self.x) {
            let bits = x.to_bits();
            let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
            *o = if x.is_nan() { 0x7fc0 } else { rounded };
        }
    }
}
