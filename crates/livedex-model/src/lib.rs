//! The models: text to token ids, token ids to vectors and probabilities.
//!
//! - [`spec`]: what a configuration says about a model
//! - [`choice`]: where models compute, as a configuration says it
//! - [`device`]: the CPU or a GPU, open
//! - [`backend`]: the seam between forward passes and the runtime
//! - [`runtime`]: loaded models in, `Embedder` and `Reranker` out
//! - [`scheduler`]: the device thread, its two lanes and its bounds
//! - [`precision`]: in which numbers it computes, and who multiplies
//! - [`describe`]: what a model is, for people
//! - [`speed`]: how fast it is
//! - [`error`]: why a model did not load
//!
//! Not public: `load` goes from a spec to a model, by way of `hub` (downloads), `settings`
//! (pooling, prompts, maximum length), `checkpoint` (safetensors), `adapter` (LoRA), `weights`
//! (both under the names the code asks for) and `fingerprint`. `tokenize` makes token ids (with
//! `judge`, Qwen3-Reranker's prompt, and `parts`, what of a long document is scored), `packed` puts
//! sequences end to end (prefixes that `groups` found to be shared only once), `bert` (and
//! XLM-RoBERTa), `modernbert` and `qwen3` are the forward passes over `linear` (and its `matrix`)
//! and `kernels` (what each device does in its own way), `embed` and `rerank` the backends.

pub mod backend;
pub mod choice;
pub mod describe;
pub mod device;
pub mod error;
pub mod precision;
pub mod runtime;
pub mod scheduler;
pub mod spec;
pub mod speed;

mod adapter;
mod bert;
mod checkpoint;
mod embed;
mod fingerprint;
mod groups;
mod hub;
mod judge;
mod kernels;
mod linear;
mod load;
mod matrix;
mod modernbert;
mod packed;
mod parts;
mod qwen3;
mod rerank;
mod settings;
mod tokenize;
mod weights;

pub use backend::{LoadedEmbedder, LoadedReranker};
pub use choice::{Attention, DeviceChoice};
pub use describe::{Description, Model, Role, inspect};
pub use device::Device;
pub use error::LoadError;
pub use load::{load_embedder, load_reranker};
pub use precision::{Matmul, Precision};
pub use spec::{LongDocuments, ModelSource, ModelSpec, PromptForm};
