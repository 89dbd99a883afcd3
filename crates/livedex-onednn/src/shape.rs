//! The primitives for one shape of weights.
//!
//! oneDNN compiles a primitive for a fixed number of rows. Batches have any number, so a block of
//! rows is cut into a multiple of [`STEP`] and a rest below it: each shape needs few primitives,
//! made when they are first needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crate::{
    Error, Precision,
    abi::{self, Api, Layout, Ptr},
};

/// Rows of the largest primitive: enough for full speed, little enough that a block's input stays
/// in the second-level cache beside the weights.
pub(crate) const BLOCK: usize = 256;
/// Larger row counts are multiples of it.
pub(crate) const STEP: usize = 16;

/// What the weights' layout depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) precision: Precision,
}

/// All shapes in use.
#[derive(Default)]
pub(crate) struct Shapes(Mutex<HashMap<Key, Arc<Shape>>>);

impl Shapes {
    pub(crate) fn get(&self, api: &'static Api, key: Key) -> Result<Arc<Shape>, Error> {
        let mut shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shape) = shapes.get(&key) {
            return Ok(shape.clone());
        }
        let shape = Arc::new(Shape::new(api, key)?);
        shapes.insert(key, shape.clone());
        Ok(shape)
    }
}

/// The weights' layout and the primitives made so far.
pub(crate) struct Shape {
    api: &'static Api,
    key: Key,
    /// The primitive for whole blocks; it chose the layout.
    whole: Arc<Multiply>,
    /// The one that brings weights into that layout.
    pub(crate) pack: Pack,
    /// The others, by their rows.
    made: RwLock<HashMap<usize, Arc<Multiply>>>,
}

/// The primitive that packs `[outputs, inputs]`. Never freed, as [`Multiply`].
pub(crate) struct Pack {
    pub(crate) primitive: Ptr,
    pub(crate) src: abi::Descriptor,
    /// As in [`Multiply`].
    pub(crate) scratchpad: (Ptr, usize),
}

/// A primitive. Never freed: there are few, and they are needed as long as the process runs.
pub(crate) struct Multiply {
    how: Ptr,
    pub(crate) primitive: Ptr,
    /// Rows it takes.
    pub(crate) rows: usize,
    pub(crate) src: abi::Descriptor,
    pub(crate) dst: abi::Descriptor,
    /// The scratchpad's descriptor, null if there is none, and its bytes.
    pub(crate) scratchpad: (Ptr, usize),
}

// SAFETY: oneDNN's primitives and descriptors may be used from several threads at once, given that
// each brings its own scratchpad.
unsafe impl Send for Multiply {}
unsafe impl Sync for Multiply {}
unsafe impl Send for Pack {}
unsafe impl Sync for Pack {}

impl Shape {
    fn new(api: &'static Api, key: Key) -> Result<Self, Error> {
        let any = api.describe(key.inputs, key.outputs, key.precision.kind(), Layout::Any)?;
        let whole = Multiply::new(api, key, BLOCK, any.as_ptr());
        api.forget(any);
        let whole = whole?;
        let pack = Pack::new(api, key, api.descriptor_of(whole.how, abi::WEIGHTS_MD))?;
        Ok(Self { api, key, whole: Arc::new(whole), pack, made: RwLock::default() })
    }

    /// The layout of the weights; it lives as long as the shape.
    pub(crate) fn weights(&self) -> Ptr {
        self.api.descriptor_of(self.whole.how, abi::WEIGHTS_MD)
    }

    /// The largest primitive for at most `rows` rows.
    pub(crate) fn multiply(&self, rows: usize) -> Result<Arc<Multiply>, Error> {
        let rows = match rows {
            BLOCK.. => return Ok(self.whole.clone()),
            STEP.. => rows / STEP * STEP,
            _ => rows,
        };
        let known = self.made.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(multiply) = known.get(&rows) {
            return Ok(multiply.clone());
        }
        drop(known);
        // Two threads may make the same one; one of the two is kept.
        let made = Multiply::new(self.api, self.key, rows, self.weights())?;
        let mut known = self.made.write().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(rows).or_insert_with(|| Arc::new(made)).clone())
    }
}

impl Pack {
    fn new(api: &Api, key: Key, packed: Ptr) -> Result<Self, Error> {
        let plain = Layout::Strides(1, key.inputs);
        let src = api.describe(key.inputs, key.outputs, abi::F32, plain)?;
        let how = api.reorder(src.as_ptr(), packed)?;
        let scratchpad = api.descriptor_of(how, abi::SCRATCHPAD_MD);
        let scratchpad = (scratchpad, api.size(scratchpad));
        Ok(Self { primitive: api.primitive(how)?, src, scratchpad })
    }
}

impl Multiply {
    fn new(api: &Api, key: Key, rows: usize, weights: Ptr) -> Result<Self, Error> {
        let kind = key.precision.kind();
        let src = api.describe(rows, key.inputs, kind, Layout::Strides(key.inputs, 1))?;
        let dst = api.describe(rows, key.outputs, abi::F32, Layout::Strides(key.outputs, 1))?;
        let how = api.matmul(src.as_ptr(), weights, dst.as_ptr())?;
        let primitive = api.primitive(how)?;
        let scratchpad = api.descriptor_of(how, abi::SCRATCHPAD_MD);
        let bytes = api.size(scratchpad);
        Ok(Self { how, primitive, rows, src, dst, scratchpad: (scratchpad, bytes) })
    }
}

impl Precision {
    /// The `dnnl_data_type_t`.
    pub(crate) fn kind(self) -> i32 {
        match self {
            Self::F32 => abi::F32,
            Self::Bf16 => abi::BF16,
        }
    }

    /// Bytes of a number.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}
