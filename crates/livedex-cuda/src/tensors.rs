//! What a kernel is told of a tensor: where it lies, and how its rows follow each other.

use candle_core::{
    CudaDevice, CudaStorage, Result, Storage, Tensor, bail,
    cuda_backend::{
        CudaDType,
        cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr},
    },
    op::BackpropOp,
};
use half::bf16;

/// Rows of a matrix in a GPU's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// Address of the first number.
    pub(crate) at: u64,
    pub(crate) count: u32,
    /// Numbers of a row.
    pub(crate) width: u32,
    /// From a row to the next, in numbers.
    pub(crate) stride: u32,
}

/// Bytes that a kernel reads at once: rows begin at a multiple of it.
const ALIGNMENT: u64 = 16;

/// A matrix of bf16; may be some columns of a wider one.
pub(crate) fn rows(tensor: &Tensor) -> Result<Rows> {
    let (count, width) = tensor.dims2()?;
    let [stride, 1] = *tensor.stride() else {
        bail!("rows one after the other are needed, these have strides {:?}", tensor.stride());
    };
    let at = address::<bf16>(tensor)?;
    // One row may have any stride.
    let stride = if count < 2 { width } else { stride };
    let bytes = size_of::<bf16>();
    if !at.is_multiple_of(ALIGNMENT)
        || !((stride * bytes) as u64).is_multiple_of(ALIGNMENT)
        || !((width * bytes) as u64).is_multiple_of(ALIGNMENT)
    {
        bail!(
            "rows of {width} numbers, {stride} apart, do not begin at multiples of {ALIGNMENT} bytes"
        );
    }
    Ok(Rows { at, count: number(count)?, width: number(width)?, stride: number(stride)? })
}

/// As [`rows`], of rows without gaps.
pub(crate) fn dense(tensor: &Tensor) -> Result<Rows> {
    let rows = rows(tensor)?;
    if rows.stride != rows.width {
        bail!("a contiguous matrix is needed");
    }
    Ok(rows)
}

/// The address of a contiguous vector of `len` numbers, or 0 for none.
pub(crate) fn vector<T: CudaDType + DeviceRepr>(
    tensor: Option<&Tensor>,
    len: usize,
) -> Result<u64> {
    let Some(tensor) = tensor else { return Ok(0) };
    if tensor.elem_count() != len || !tensor.is_contiguous() {
        bail!("a vector of {len} numbers is needed, this is {:?}", tensor.shape());
    }
    address::<T>(tensor)
}

/// The address of a tensor's first number.
pub(crate) fn address<T: CudaDType + DeviceRepr>(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else { bail!("a tensor on the GPU is needed") };
    let slice = storage.as_cuda_slice::<T>()?;
    // The guard orders streams, of which there is one.
    let (base, _guard) = slice.device_ptr(slice.stream());
    Ok(base + (layout.start_offset() * size_of::<T>()) as u64)
}

/// A matrix that nothing is written into yet.
pub(crate) fn empty<T: CudaDType + DeviceRepr>(
    device: &CudaDevice,
    rows: usize,
    width: usize,
) -> Result<Tensor> {
    // SAFETY: the kernel that it is made for writes every number.
    let slice = unsafe { device.alloc::<T>((rows * width).max(1))? };
    Ok(wrap(slice, device, rows, width))
}

fn wrap<T: CudaDType>(
    slice: CudaSlice<T>,
    device: &CudaDevice,
    rows: usize,
    width: usize,
) -> Tensor {
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
    Tensor::from_storage(storage, (rows, width), BackpropOp::none(), false)
}

/// A number of rows or columns, as the kernels count.
pub(crate) fn number(n: usize) -> Result<u32> {
    u32::try_from(n)
        .map_err(|_| candle_core::Error::Msg(format!("{n} is more than a kernel counts")))
}
