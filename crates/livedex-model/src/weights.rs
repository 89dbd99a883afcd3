//! A model's weights under the names its code asks for.
//!
//! Checkpoints differ in a prefix: a bare model's tensors begin at `layers.` or `encoder.`, a
//! task model's at `model.layers.` or `bert.encoder.`. Both are known by the bare name here.

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Result as CandleResult, Shape, Tensor};

use crate::{
    adapter::Adapter, checkpoint::Checkpoint, device::Device, error::LoadError, precision::Products,
};

/// A checkpoint with an adapter over it.
#[derive(Debug)]
pub(crate) struct Weights {
    checkpoint: Checkpoint,
    /// Canonical name to the name in the file.
    names: BTreeMap<String, String>,
    adapter: Option<Adapter>,
    products: Products,
    device: Device,
}

impl Weights {
    /// Opens a folder's weights. `prefix` is the task model's name for the bare model, with its
    /// dot.
    pub(crate) fn open(
        folder: &Path,
        prefix: &str,
        adapter: Option<&Path>,
        products: Products,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let canonical = |name: &str| {
            let name = name.strip_prefix(prefix).unwrap_or(name);
            // What TensorFlow called them; old BERT checkpoints still do.
            name.replace("LayerNorm.gamma", "LayerNorm.weight")
                .replace("LayerNorm.beta", "LayerNorm.bias")
        };
        let checkpoint = Checkpoint::in_folder(folder)?;
        let names = checkpoint.names().map(|name| (canonical(name), name.to_owned())).collect();
        let adapter = adapter.map(|folder| Adapter::open(folder, canonical)).transpose()?;
        Ok(Self { checkpoint, names, adapter, products, device: device.clone() })
    }

    /// How the linear layers made of them are to be computed.
    pub(crate) fn products(&self) -> Products {
        self.products
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    pub(crate) fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// The shape of a tensor, the adapter's before the checkpoint's.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.adapter
            .as_ref()
            .and_then(|adapter| adapter.shape(name))
            .or_else(|| self.checkpoint.shape(self.names.get(name)?))
            .map(<[usize]>::to_vec)
    }

    /// Every tensor's name and shape, with those that only the adapter brings.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let stored = self.names.iter().filter_map(|(name, stored)| {
            self.checkpoint.shape(stored).map(|shape| (name.as_str(), shape))
        });
        let brought = self.adapter.iter().flat_map(Adapter::brought);
        stored.chain(brought.filter(|(name, _)| !self.names.contains_key(*name)))
    }

    /// A tensor where the model computes, in the numbers that it computes with; otherwise as
    /// [`Self::read`].
    pub(crate) fn get(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor, LoadError> {
        let tensor = self.read_for_place(name, shape)?;
        self.place(&tensor).map_err(|source| {
            let model = self.checkpoint.files()[0].display().to_string();
            LoadError::Device { model, source }
        })
    }

    /// A tensor to where the model computes, in the numbers that it computes with.
    pub(crate) fn place(&self, tensor: &Tensor) -> CandleResult<Tensor> {
        let dtype = if self.device.is_asynchronous() { DType::BF16 } else { DType::F32 };
        tensor.to_dtype(dtype)?.to_device(self.device.candle())
    }

    /// As [`Self::read`], but that bf16 stays what it is if [`Self::place`] would make it bf16 again.
    pub(crate) fn read_for_place(
        &self,
        name: &str,
        shape: impl Into<Shape>,
    ) -> Result<Tensor, LoadError> {
        let changes = self.adapter.as_ref().is_some_and(|adapter| adapter.changes(name));
        let stored = match self.names.get(name) {
            Some(stored) if self.device.is_asynchronous() && !changes => {
                self.checkpoint.bf16(stored)?
            }
            _ => None,
        };
        match stored {
            Some(tensor) => self.shaped(name, tensor, &shape.into()),
            None => self.read(name, shape),
        }
    }

    /// A tensor in f32 in main memory, the adapter merged in, of exactly this shape.
    pub(crate) fn read(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor, LoadError> {
        let base = match self.names.get(name) {
            Some(stored) => self.checkpoint.read(stored)?,
            None => None,
        };
        let tensor = match &self.adapter {
            Some(adapter) => adapter.apply(name, base)?,
            None => base,
        };
        let path = &self.checkpoint.files()[0];
        let tensor =
            tensor.ok_or_else(|| LoadError::invalid(path, format!("it has no tensor {name}")))?;
        self.shaped(name, tensor, &shape.into())
    }

    fn shaped(&self, name: &str, tensor: Tensor, shape: &Shape) -> Result<Tensor, LoadError> {
        let path = &self.checkpoint.files()[0];
        if tensor.shape() != shape {
            return Err(LoadError::invalid(
                path,
                format!(
                    "{name} has shape {:?}, config.json makes it {:?}",
                    tensor.dims(),
                    shape.dims()
                ),
            ));
        }
        Ok(tensor)
    }

    /// To be called when a model has taken what it needs.
    pub(crate) fn finish(&self) -> Result<(), LoadError> {
        self.adapter.as_ref().map_or(Ok(()), Adapter::check_used)
    }
}
