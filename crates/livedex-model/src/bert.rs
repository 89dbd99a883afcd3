//! BERT (Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>) over packed sequences, as
//! transformers' `BertModel` computes it.

use std::{path::Path, sync::Arc};

use candle_core::{Device, Result, Tensor};
use serde::Deserialize;

use crate::{
    error::LoadError,
    kernels::{self, Activation, Heads, Kernels, Norm, Spans},
    linear::Linear,
    packed::Packed,
    weights::Weights,
};

/// What task models call the bare model.
pub(crate) const PREFIX: &str = "bert.";

/// The parts of `config.json` that decide the arithmetic.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "default_eps")]
    layer_norm_eps: f64,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

fn two() -> usize {
    2
}

fn default_eps() -> f64 {
    1e-12
}

impl Config {
    fn activation(&self, path: &Path) -> std::result::Result<Activation, LoadError> {
        let unsupported = |what: String| LoadError::Unsupported {
            path: path.to_owned(),
            what,
            supported: "encoders with absolute positions and gelu, gelu_new, gelu_pytorch_tanh or relu",
        };
        match &self.position_embedding_type {
            Some(kind) if kind != "absolute" => {
                return Err(unsupported(format!("position_embedding_type {kind:?}")));
            }
            _ if self.is_decoder => return Err(unsupported("is_decoder = true".into())),
            _ => {}
        }
        if self.num_attention_heads == 0
            || !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            return Err(LoadError::invalid(
                path,
                format!(
                    "hidden_size {} is no multiple of num_attention_heads {}",
                    self.hidden_size, self.num_attention_heads
                ),
            ));
        }
        match self.hidden_act.as_str() {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            other => Err(unsupported(format!("hidden_act {other:?}"))),
        }
    }
}

/// The bare model.
pub(crate) struct Bert {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
    activation: Activation,
    kernels: Arc<dyn Kernels>,
}

struct Layer {
    /// Queries, keys and values in one.
    qkv: Linear,
    output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
}

/// Which rows of the last layer are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every token's: `[tokens, hidden]`.
    All,
    /// Each sequence's first token's: `[sequences, hidden]`.
    Firsts,
}

impl Bert {
    pub(crate) fn load(
        config: &Config,
        config_path: &Path,
        weights: &Weights,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let hidden = config.hidden_size;
        let norm = |name: String| load_norm(weights, &name, hidden, config.layer_norm_eps);
        let layers = (0..config.num_hidden_layers)
            .map(|i| {
                let at = |name: &str| format!("encoder.layer.{i}.{name}");
                let linear = |name: &str, inputs, outputs| {
                    Linear::load(weights, &[(at(name), outputs)], inputs, true)
                };
                Ok(Layer {
                    qkv: Linear::load(
                        weights,
                        &["query", "key", "value"]
                            .map(|n| (at(&format!("attention.self.{n}")), hidden)),
                        hidden,
                        true,
                    )?,
                    output: linear("attention.output.dense", hidden, hidden)?,
                    attention_norm: norm(at("attention.output.LayerNorm"))?,
                    up: linear("intermediate.dense", hidden, config.intermediate_size)?,
                    down: linear("output.dense", config.intermediate_size, hidden)?,
                    norm: norm(at("output.LayerNorm"))?,
                })
            })
            .collect::<std::result::Result<_, LoadError>>()?;
        let table = |name: &str, rows| {
            weights.get(&format!("embeddings.{name}_embeddings.weight"), (rows, hidden))
        };
        Ok(Self {
            words: table("word", config.vocab_size)?,
            positions: table("position", config.max_position_embeddings)?,
            types: table("token_type", config.type_vocab_size)?,
            norm: norm("embeddings.LayerNorm".into())?,
            layers,
            heads: config.num_attention_heads,
            activation: config.activation(config_path)?,
            kernels: kernels::for_device(device).map_err(|source| LoadError::Device {
                model: config_path.display().to_string(),
                source,
            })?,
        })
    }

    pub(crate) fn kernels(&self) -> &dyn Kernels {
        &*self.kernels
    }

    /// The last hidden states of `batch`; `types` are its tokens' segments, all 0 if `None`.
    pub(crate) fn forward(
        &self,
        batch: &Packed,
        types: Option<&[u32]>,
        wanted: Wanted,
    ) -> Result<Tensor> {
        let device = batch.ids.device();
        let kernels = self.kernels();
        let positions = Tensor::new(batch.positions.as_slice(), device)?;
        let zeros;
        let types = match types {
            Some(types) => types,
            None => {
                zeros = vec![0; batch.positions.len()];
                &zeros
            }
        };
        let types = Tensor::new(types, device)?;
        let mut x = self.words.index_select(&batch.ids, 0)?;
        let rest =
            (self.positions.index_select(&positions, 0)? + self.types.index_select(&types, 0)?)?;
        kernels.add_layer_norm(&x, None, &rest, &self.norm)?;

        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            x = if last && wanted == Wanted::Firsts {
                let rows = Tensor::new(batch.firsts(), device)?;
                let ones = vec![1; batch.lengths.len()];
                let spans = Spans { queries: &ones, keys: &batch.lengths };
                self.layer(layer, &x, Some(&rows), spans)?
            } else {
                let spans = Spans { queries: &batch.lengths, keys: &batch.lengths };
                self.layer(layer, &x, None, spans)?
            };
        }
        Ok(x)
    }

    /// One layer; with `rows`, only those rows of its output.
    fn layer(
        &self,
        layer: &Layer,
        x: &Tensor,
        rows: Option<&Tensor>,
        spans: Spans<'_>,
    ) -> Result<Tensor> {
        let kernels = self.kernels();
        let (_, hidden) = x.dims2()?;
        let (residual, attended) = match rows {
            None => {
                let qkv = layer.qkv.forward(x, kernels, Activation::Identity)?;
                (x.clone(), self.attention([(&qkv, 0), (&qkv, 1), (&qkv, 2)], spans)?)
            }
            Some(rows) => {
                let picked = x.index_select(rows, 0)?;
                let q = layer.qkv.part(0, hidden)?;
                let q = q.forward(&picked, kernels, Activation::Identity)?;
                let kv = layer.qkv.part(hidden, 2 * hidden)?;
                let kv = kv.forward(x, kernels, Activation::Identity)?;
                (picked, self.attention([(&q, 0), (&kv, 0), (&kv, 1)], spans)?)
            }
        };
        let out = layer.output.product(&attended, kernels)?;
        kernels.add_layer_norm(&out, layer.output.bias(), &residual, &layer.attention_norm)?;
        let up = layer.up.forward(&out, kernels, self.activation)?;
        let down = layer.down.product(&up, kernels)?;
        kernels.add_layer_norm(&down, layer.down.bias(), &out, &layer.norm)?;
        Ok(down)
    }
}

impl Bert {
    /// Attention of queries, keys and values, each the n-th part of a matrix's columns.
    fn attention(&self, parts: [(&Tensor, usize); 3], spans: Spans<'_>) -> Result<Tensor> {
        let hidden = self.norm.weight.elem_count();
        let scale = 1.0 / ((hidden / self.heads) as f32).sqrt();
        let [q, k, v] = parts.map(|(t, part)| t.narrow(1, part * hidden, hidden));
        let (q, k, v) = (q?, k?, v?);
        let [q, k, v] = [&q, &k, &v].map(|rows| Heads { rows, count: self.heads });
        self.kernels.attention(q, k, v, spans, false, scale)
    }
}

fn load_norm(
    weights: &Weights,
    name: &str,
    width: usize,
    eps: f64,
) -> std::result::Result<Norm, LoadError> {
    Ok(Norm {
        weight: weights.get(&format!("{name}.weight"), width)?,
        bias: Some(weights.get(&format!("{name}.bias"), width)?),
        eps: eps as f32,
    })
}

/// The pooler and classifier of `BertForSequenceClassification`.
pub(crate) struct Classifier {
    pooler: Linear,
    classifier: Linear,
}

impl Classifier {
    /// With one label (sigmoid) or two (softmax, the second is "relevant").
    pub(crate) fn load(
        config: &Config,
        labels: usize,
        weights: &Weights,
    ) -> std::result::Result<Self, LoadError> {
        let hidden = config.hidden_size;
        Ok(Self {
            pooler: Linear::load(weights, &[("pooler.dense".into(), hidden)], hidden, true)?,
            classifier: Linear::load(weights, &[("classifier".into(), labels)], hidden, true)?,
        })
    }

    /// `[sequences, hidden]` of the first tokens to `[sequences, labels]`.
    pub(crate) fn logits(&self, firsts: &Tensor, kernels: &dyn Kernels) -> Result<Tensor> {
        let pooled = self.pooler.forward(firsts, kernels, Activation::Tanh)?;
        self.classifier.forward(&pooled, kernels, Activation::Identity)
    }
}
