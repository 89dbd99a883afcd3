//! Copies between main memory and a GPU that nobody waits for.
//!
//! A copy runs beside other work only from memory that the system may not move ("pinned"). Asking
//! for such memory stops the device, so what was used is kept for the next batch.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{
    CudaStorage, DType, Result, Storage, Tensor, bail,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{CudaEvent, DriverError, PinnedHostSlice, result, sys::CUevent_flags},
    },
    op::BackpropOp,
};
use half::bf16;

use crate::{device::Gpu, tensors::address};

/// Buffers have this many words of 32 bits at least, and a power of two: so a few fit every batch.
const LEAST: usize = 1 << 14;

/// Pinned memory, and when the device is done with it.
#[derive(Debug)]
struct Buffer {
    memory: PinnedHostSlice<u32>,
    /// cudarc's own event in `memory` is not recorded without event tracking.
    done: CudaEvent,
}

impl Buffer {
    /// Waits for the device, then lends the memory.
    fn words(&mut self) -> std::result::Result<&mut [u32], DriverError> {
        self.done.synchronize()?;
        self.memory.as_mut_slice()
    }
}

/// The way in and out. Clones share their buffers.
#[derive(Debug, Clone)]
pub struct Transfer {
    gpu: Gpu,
    /// Two batches are under way at a time, with a buffer each way: so there are never more than a
    /// handful.
    free: Arc<Mutex<Vec<Buffer>>>,
}

/// A matrix on its way to main memory.
#[derive(Debug)]
pub struct Landing {
    lent: Lent,
    dtype: DType,
    rows: usize,
    width: usize,
}

/// A buffer that goes back when it is dropped.
#[derive(Debug)]
struct Lent {
    buffer: Option<Buffer>,
    to: Transfer,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.to.give_back(buffer);
        }
    }
}

impl Transfer {
    /// For this GPU.
    pub fn new(gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), free: Arc::default() }
    }

    fn buffer(&self, words: usize) -> Result<Buffer> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // One that the device is still busy with would have to be waited for.
        let fits = |buffer: &Buffer| buffer.memory.len() >= words && buffer.done.is_complete();
        if let Some(index) = free.iter().position(fits) {
            return Ok(free.swap_remove(index));
        }
        drop(free);
        let (context, words) = (self.gpu.context(), words.next_power_of_two().max(LEAST));
        // Without flags: write-combined memory would be slow to read.
        // SAFETY: what is read of it was written before, here or by a copy.
        let memory = unsafe { context.alloc_pinned_with_flags(words, 0) }.w()?;
        // A thread that waits for it sleeps.
        let done = context.new_event(Some(CUevent_flags::CU_EVENT_BLOCKING_SYNC)).w()?;
        Ok(Buffer { memory, done })
    }

    /// The device may still be busy with it: [`Self::buffer`] passes over it until it is done.
    fn give_back(&self, buffer: Buffer) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }

    /// Numbers as a tensor on the GPU.
    pub fn upload(&self, numbers: &[u32]) -> Result<Tensor> {
        let device = self.gpu.cuda();
        let stream = device.cuda_stream();
        let mut buffer = self.buffer(numbers.len())?;
        // SAFETY: all of it is copied into below.
        let slice = unsafe { device.alloc::<u32>(numbers.len().max(1))? };
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
        let tensor = Tensor::from_storage(storage, numbers.len(), BackpropOp::none(), false);
        let at = address::<u32>(&tensor)?;
        let words = &mut buffer.words().w()?[..numbers.len()];
        words.copy_from_slice(numbers);
        // SAFETY: both sides are as long, and the buffer is left alone until `done`.
        unsafe { result::memcpy_htod_async(at, words, stream.cu_stream()) }.w()?;
        buffer.done.record(&stream).w()?;
        self.give_back(buffer);
        Ok(tensor)
    }

    /// Begins to copy a matrix of f32 or bf16 to main memory, behind everything that was started so
    /// far.
    pub fn land(&self, matrix: &Tensor) -> Result<Landing> {
        let (rows, width) = matrix.dims2()?;
        let (dtype, stream) = (matrix.dtype(), self.gpu.cuda().cuda_stream());
        let at = match dtype {
            DType::F32 => address::<f32>(matrix)?,
            DType::BF16 => address::<bf16>(matrix)?,
            other => bail!("no copies of {other:?}"),
        };
        if !matrix.is_contiguous() {
            bail!("a contiguous matrix is needed");
        }
        let bytes = rows * width * dtype.size_in_bytes();
        let mut buffer = self.buffer(bytes.div_ceil(4))?;
        let words = buffer.words().w()?;
        // SAFETY: any bytes are words and the words are as many bytes or more; they are left alone
        // until `done`.
        let out = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), bytes) };
        // SAFETY: as above; the matrix is freed in the same stream, so not before it is copied.
        unsafe { result::memcpy_dtoh_async(out, at, stream.cu_stream()) }.w()?;
        buffer.done.record(&stream).w()?;
        let lent = Lent { buffer: Some(buffer), to: self.clone() };
        Ok(Landing { lent, dtype, rows, width })
    }
}

impl Landing {
    /// Waits until the device is done, and gives the rows. From any thread.
    pub fn wait(mut self) -> Result<Vec<Vec<f32>>> {
        let (rows, width) = (self.rows, self.width);
        let Some(buffer) = &mut self.lent.buffer else { return Ok(Vec::new()) };
        let words = &*buffer.words().w()?;
        let numbers: Vec<f32> = match self.dtype {
            DType::F32 => {
                words.iter().take(rows * width).map(|word| f32::from_bits(*word)).collect()
            }
            _ => {
                // Little-endian, as the GPU is: the lower half comes first.
                let halves = words.iter().flat_map(|word| [*word as u16, (*word >> 16) as u16]);
                halves.take(rows * width).map(|half| bf16::from_bits(half).to_f32()).collect()
            }
        };
        Ok(numbers.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
    }
}
