//! ModernBERT (Warner et al. 2024, <https://arxiv.org/abs/2412.13663>) over packed sequences, as
//! transformers' `ModernBertModel` computes it: norms before each block, rotary positions, GeGLU,
//! and layers that see their neighbourhood only between layers that see everything.

use std::path::Path;

use candle_core::{Result, Tensor};

use crate::{
    device::Device,
    error::LoadError,
    kernels::{Activation, Heads, Kernels, Mask, Norm, Rope},
    linear::Linear,
    packed::{Packed, Queries},
    qwen3::rope,
    weights::Weights,
};

mod config;
mod head;

pub(crate) use config::Config;
pub(crate) use head::Head;

/// What task models call the bare model.
pub(crate) const PREFIX: &str = "model.";

/// The bare model.
pub(crate) struct ModernBert {
    words: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
    final_norm: Norm,
    /// Of the layers that see everything, and of the others.
    ropes: [Rope; 2],
    reach: usize,
    heads: usize,
    device: Device,
}

struct Layer {
    /// Sees its neighbourhood only.
    local: bool,
    /// The first layer has none: the embeddings come normalised.
    attention_norm: Option<Norm>,
    /// Queries, keys and values in one.
    qkv: Linear,
    output: Linear,
    mlp_norm: Norm,
    /// Gate and up in one.
    gate_up: Linear,
    down: Linear,
}

impl ModernBert {
    /// Loads the model for inputs of up to `max_tokens`.
    pub(crate) fn load(
        config: &Config,
        config_path: &Path,
        weights: &Weights,
        max_tokens: usize,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let shape = config.shape(config_path)?;
        let hidden = config.hidden_size;
        let norm = |name: &str| load_norm(config, weights, name);
        let layers = shape
            .local
            .iter()
            .enumerate()
            .map(|(i, &local)| {
                let at = |name: &str| format!("layers.{i}.{name}");
                let linear = |name: &str, inputs, outputs, bias| {
                    Linear::load(weights, &[(at(name), outputs)], inputs, bias)
                };
                let (inner, bias) = (config.intermediate_size, config.mlp_bias);
                Ok(Layer {
                    local,
                    attention_norm: match i {
                        0 => None,
                        _ => Some(norm(&at("attn_norm"))?),
                    },
                    qkv: Linear::load_stacked(
                        weights,
                        &at("attn.Wqkv"),
                        (3, hidden),
                        hidden,
                        config.attention_bias,
                    )?,
                    output: linear("attn.Wo", hidden, hidden, config.attention_bias)?,
                    mlp_norm: norm(&at("mlp_norm"))?,
                    gate_up: linear("mlp.Wi", hidden, 2 * inner, bias)?,
                    down: linear("mlp.Wo", inner, hidden, bias)?,
                })
            })
            .collect::<std::result::Result<_, LoadError>>()?;
        let prepared =
            |source| LoadError::Device { model: config_path.display().to_string(), source };
        let head_dim = hidden / config.num_attention_heads;
        let tables = |theta| rope(theta, head_dim, max_tokens, device).map_err(prepared);
        let [global, local] = shape.thetas;
        Ok(Self {
            words: weights.get("embeddings.tok_embeddings.weight", (config.vocab_size, hidden))?,
            norm: norm("embeddings.norm")?,
            layers,
            final_norm: norm("final_norm")?,
            ropes: [tables(global)?, tables(local)?],
            reach: shape.reach,
            heads: config.num_attention_heads,
            device: device.clone(),
        })
    }

    pub(crate) fn kernels(&self) -> &dyn Kernels {
        self.device.kernels()
    }

    /// The last hidden states of what is wanted of `batch`.
    pub(crate) fn forward(&self, batch: &Packed) -> Result<Tensor> {
        let kernels = self.kernels();
        let words = kernels.rows(&self.words, &batch.ids.device)?;
        let mut x = kernels.layer_norm(&words, &self.norm)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            x = self.layer(layer, x, batch, batch.wanted.as_ref().filter(|_| last))?;
        }
        kernels.layer_norm(&x, &self.final_norm)
    }

    /// One layer; of its output all rows, or those that are wanted.
    fn layer(
        &self,
        layer: &Layer,
        x: Tensor,
        batch: &Packed,
        wanted: Option<&Queries>,
    ) -> Result<Tensor> {
        let kernels = self.kernels();
        let (_, hidden) = x.dims2()?;
        let normed = match &layer.attention_norm {
            Some(norm) => kernels.layer_norm(&x, norm)?,
            None => x.clone(),
        };
        let linear = |linear: &Linear, x: &Tensor| linear.forward(x, kernels, Activation::Identity);
        let (x, attended) = match wanted {
            None => {
                let qkv = linear(&layer.qkv, &normed)?;
                let parts = [(&qkv, 0), (&qkv, 1), (&qkv, 2)];
                (x, self.attention(layer, parts, batch, &batch.all)?)
            }
            Some(wanted) => {
                let rows = &wanted.rows.device;
                let q = linear(&layer.qkv.part(0, hidden)?, &kernels.rows(&normed, rows)?)?;
                let kv = linear(&layer.qkv.part(hidden, 2 * hidden)?, &normed)?;
                let parts = [(&q, 0), (&kv, 0), (&kv, 1)];
                (kernels.rows(&x, rows)?, self.attention(layer, parts, batch, wanted)?)
            }
        };
        kernels.add(&x, &linear(&layer.output, &attended)?)?;
        let normed = kernels.layer_norm(&x, &layer.mlp_norm)?;
        let up = kernels.gelu_mul(&linear(&layer.gate_up, &normed)?)?;
        kernels.add(&x, &linear(&layer.down, &up)?)?;
        Ok(x)
    }

    /// Rotates queries and keys, then attends. Queries, keys and values are each the n-th part of
    /// a matrix's columns; keys and values are there for every token.
    fn attention(
        &self,
        layer: &Layer,
        parts: [(&Tensor, usize); 3],
        batch: &Packed,
        queries: &Queries,
    ) -> Result<Tensor> {
        let (kernels, hidden) = (self.kernels(), self.norm.weight.elem_count());
        let [q, k, v] = parts.map(|(t, part)| t.narrow(1, part * hidden, hidden));
        let (q, k, v) = (q?, k?, v?);
        let heads = |rows| Heads { rows, count: self.heads };
        let rope = &self.ropes[usize::from(layer.local)];
        let q = kernels.norm_rope(heads(&q), None, rope, &queries.positions)?;
        let k = kernels.norm_rope(heads(&k), None, rope, &batch.all.positions)?;
        let mask = if layer.local { Mask::Near(self.reach) } else { Mask::Full };
        let scale = 1.0 / ((hidden / self.heads) as f32).sqrt();
        kernels.attention(heads(&q), heads(&k), heads(&v), batch.spans(queries), mask, scale)
    }
}

fn load_norm(
    config: &Config,
    weights: &Weights,
    name: &str,
) -> std::result::Result<Norm, LoadError> {
    let bias = match config.norm_bias {
        true => Some(weights.get(&format!("{name}.bias"), config.hidden_size)?),
        false => None,
    };
    Ok(Norm {
        weight: weights.get(&format!("{name}.weight"), config.hidden_size)?,
        bias,
        eps: config.norm_eps as f32,
    })
}
