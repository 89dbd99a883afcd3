//! ModernBERT (Warner et al. 2024, <https://arxiv.org/abs/2412.13663>) over packed sequences, as
//! transformers' `ModernBertModel` computes it: norms before each block, rotary positions, GeGLU,
//! and layers that see their neighbourhood only between layers that see everything.

use std::{path::Path, sync::Arc};

use candle_core::{Device, Result, Tensor};

use crate::{
    error::LoadError,
    kernels::{self, Activation, Heads, Kernels, Mask, Norm, Rope, Spans},
    linear::Linear,
    packed::{Packed, Wanted},
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
    kernels: Arc<dyn Kernels>,
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
            kernels: kernels::for_device(device).map_err(prepared)?,
        })
    }

    pub(crate) fn kernels(&self) -> &dyn Kernels {
        &*self.kernels
    }

    /// The last hidden states of `batch`.
    pub(crate) fn forward(&self, batch: &Packed, wanted: Wanted) -> Result<Tensor> {
        let kernels = self.kernels();
        let words = self.words.index_select(&batch.ids, 0)?;
        let mut x = kernels.layer_norm(&words, &self.norm)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            x = self.layer(layer, x, batch, last && wanted == Wanted::Firsts)?;
        }
        kernels.layer_norm(&x, &self.final_norm)
    }

    /// One layer; of its output all rows, or each sequence's first one.
    fn layer(&self, layer: &Layer, x: Tensor, batch: &Packed, firsts: bool) -> Result<Tensor> {
        let kernels = self.kernels();
        let (_, hidden) = x.dims2()?;
        let normed = match &layer.attention_norm {
            Some(norm) => kernels.layer_norm(&x, norm)?,
            None => x.clone(),
        };
        let linear = |linear: &Linear, x: &Tensor| linear.forward(x, kernels, Activation::Identity);
        let keys = (batch.positions.as_slice(), batch.lengths.as_slice());
        let (x, attended) = if firsts {
            let rows = Tensor::new(batch.firsts(), x.device())?;
            let n = batch.lengths.len();
            let q = linear(&layer.qkv.part(0, hidden)?, &normed.index_select(&rows, 0)?)?;
            let kv = linear(&layer.qkv.part(hidden, 2 * hidden)?, &normed)?;
            let parts = [(&q, 0), (&kv, 0), (&kv, 1)];
            let queries = (vec![0; n], vec![1; n]);
            let attended = self.attention(layer, parts, (&queries.0, &queries.1), keys)?;
            (x.index_select(&rows, 0)?, attended)
        } else {
            let qkv = linear(&layer.qkv, &normed)?;
            (x, self.attention(layer, [(&qkv, 0), (&qkv, 1), (&qkv, 2)], keys, keys)?)
        };
        let x = (x + linear(&layer.output, &attended)?)?;
        let normed = kernels.layer_norm(&x, &layer.mlp_norm)?;
        let up = kernels.gelu_mul(&linear(&layer.gate_up, &normed)?)?;
        x + linear(&layer.down, &up)?
    }

    /// Rotates queries and keys, then attends. Queries, keys and values are each the n-th part of
    /// a matrix's columns; queries and keys come with their positions and how many of them each
    /// sequence has.
    fn attention(
        &self,
        layer: &Layer,
        parts: [(&Tensor, usize); 3],
        (q_positions, queries): (&[u32], &[usize]),
        (k_positions, keys): (&[u32], &[usize]),
    ) -> Result<Tensor> {
        let hidden = self.norm.weight.elem_count();
        let [q, k, v] = parts.map(|(t, part)| t.narrow(1, part * hidden, hidden));
        let (q, k, v) = (q?, k?, v?);
        let heads = |rows| Heads { rows, count: self.heads };
        let rope = &self.ropes[usize::from(layer.local)];
        let q = self.kernels.norm_rope(heads(&q), None, rope, q_positions)?;
        let k = self.kernels.norm_rope(heads(&k), None, rope, k_positions)?;
        let mask = if layer.local { Mask::Near(self.reach) } else { Mask::Full };
        let scale = 1.0 / ((hidden / self.heads) as f32).sqrt();
        let spans = Spans { queries, keys, prefixes: &[] };
        self.kernels.attention(heads(&q), heads(&k), heads(&v), spans, mask, scale)
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
