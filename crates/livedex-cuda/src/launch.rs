//! The kernels, over candle's tensors on a GPU.
//!
//! Every function gives its work to the device's stream and returns; nothing waits. What it reads
//! must stay as it is until then, which candle's tensors do: they are freed in the same stream.

use std::collections::HashMap;

use candle_core::{
    Result, Tensor, bail,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{CudaFunction, LaunchConfig, PushKernelArg, sys},
    },
};
use half::bf16;

mod attention;
mod rows;

pub use attention::Attended;
use attention::attention_name;

use crate::{
    device::{Gpu, OpenError},
    plan,
    tensors::empty,
};

/// Each file of `kernels/`, compiled: its name and PTX.
const MODULES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// What begins a kernel in PTX.
const ENTRY: &str = ".visible .entry ";

/// The kernels, ready on a GPU.
#[derive(Debug)]
pub struct Kernels {
    gpu: Gpu,
    functions: HashMap<&'static str, CudaFunction>,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
enum Argument {
    At(u64),
    Count(u32),
    Real(f32),
}

use Argument::{At, Count, Real};

impl Kernels {
    /// Gives the kernels to the driver, which compiles them for the GPU (and keeps the result for
    /// the next time).
    pub fn load(gpu: &Gpu) -> std::result::Result<Self, OpenError> {
        let mut functions = HashMap::new();
        for (file, ptx) in MODULES {
            let refused = |error| {
                OpenError::Failed(format!("the driver refused the kernels of {file}: {error}"))
            };
            let module = gpu.context().load_module((*ptx).into()).map_err(refused)?;
            for name in ptx.split(ENTRY).skip(1).filter_map(|rest| rest.split('(').next()) {
                let function = module.load_function(name).map_err(refused)?;
                functions.insert(name, function);
            }
        }
        for d in plan::HEAD_DIMS {
            let name = attention_name(d as usize).unwrap_or_default();
            let Some(function) = functions.get(name) else { continue };
            // Above 48 KiB only for those who ask.
            let bytes = i32::try_from(plan::shared_bytes(d)).unwrap_or(i32::MAX);
            let attribute =
                sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, bytes)?;
        }
        Ok(Self { gpu: gpu.clone(), functions })
    }

    fn empty(&self, rows: usize, width: u32) -> Result<Tensor> {
        empty::<bf16>(self.gpu.cuda(), rows, width as usize)
    }

    /// One thread block for each row.
    fn launch(&self, name: &str, rows: u32, threads: u32, arguments: &[Argument]) -> Result<()> {
        let config = LaunchConfig {
            grid_dim: (rows, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        };
        self.start(name, config, arguments)
    }

    fn start(&self, name: &str, config: LaunchConfig, arguments: &[Argument]) -> Result<()> {
        let Some(function) = self.functions.get(name) else {
            bail!("the kernel {name} is not in this build");
        };
        if config.grid_dim.0 == 0 {
            return Ok(());
        }
        let stream = self.gpu.cuda().cuda_stream();
        let mut launch = stream.launch_builder(function);
        for argument in arguments {
            match argument {
                At(address) => launch.arg(address),
                Count(number) => launch.arg(number),
                Real(number) => launch.arg(number),
            };
        }
        // SAFETY: the arguments are those of the kernel's signature, in order (the tests run each one
        // through here), and every matrix was checked above to be as large as the kernel will read
        // or write.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }
}
