//! Qwen3 (<https://arxiv.org/abs/2505.09388>) over packed sequences, as transformers' `Qwen3Model`
//! computes it: grouped-query attention with RMS norms on queries and keys, rotary positions,
//! SwiGLU. The result is the normalised last token of each sequence, which embedder and reranker
//! both start from; the last layer computes nothing else. A prefix that several sequences share is
//! a sequence of the batch that they continue: it is computed once, and of it the last layer
//! computes keys and values only.

use std::path::Path;

use candle_core::{Result, Tensor};
use serde::Deserialize;

use crate::{
    device::Device,
    error::LoadError,
    kernels::{Heads, Mask, Norm, Rope},
    linear::Linear,
    packed::{Packed, Queries},
    weights::Weights,
};

/// What task models call the bare model.
pub(crate) const PREFIX: &str = "model.";

/// The parts of `config.json` that decide the arithmetic.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: Option<usize>,
    pub(crate) max_position_embeddings: usize,
    rms_norm_eps: f64,
    hidden_act: String,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    // transformers 5 writes this one instead of the two above.
    rope_parameters: Option<RopeParameters>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default)]
    pub(crate) tie_word_embeddings: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

impl Config {
    fn theta(&self, path: &Path) -> std::result::Result<f64, LoadError> {
        let unsupported = |what: &str| LoadError::Unsupported {
            path: path.to_owned(),
            what: what.to_owned(),
            supported: "silu, full attention without bias, rotary positions without scaling",
        };
        for rope in [&self.rope_scaling, &self.rope_parameters].into_iter().flatten() {
            if let Some(kind) = rope.rope_type.as_deref().filter(|k| *k != "default") {
                return Err(unsupported(&format!("rope_type {kind:?}")));
            }
        }
        if self.attention_bias {
            return Err(unsupported("attention_bias = true"));
        }
        if self.use_sliding_window {
            return Err(unsupported("use_sliding_window = true"));
        }
        if self.hidden_act != "silu" {
            return Err(unsupported(&format!("hidden_act {:?}", self.hidden_act)));
        }
        if self.num_key_value_heads == 0
            || !self.num_attention_heads.is_multiple_of(self.num_key_value_heads)
        {
            return Err(LoadError::invalid(
                path,
                "num_attention_heads is no multiple of num_key_value_heads",
            ));
        }
        self.rope_theta
            .or_else(|| self.rope_parameters.as_ref()?.rope_theta)
            .ok_or_else(|| LoadError::invalid(path, "it has no rope_theta"))
    }
}

/// The bare model.
pub(crate) struct Qwen3 {
    embeddings: Tensor,
    layers: Vec<Layer>,
    norm: Norm,
    rope: Rope,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    device: Device,
}

struct Layer {
    attention_norm: Norm,
    /// Queries, keys and values in one.
    qkv: Linear,
    q_norm: Norm,
    k_norm: Norm,
    output: Linear,
    mlp_norm: Norm,
    /// Gate and up in one.
    gate_up: Linear,
    down: Linear,
}

impl Qwen3 {
    /// Loads the model for inputs of up to `max_tokens`.
    pub(crate) fn load(
        config: &Config,
        config_path: &Path,
        weights: &Weights,
        max_tokens: usize,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let theta = config.theta(config_path)?;
        let hidden = config.hidden_size;
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let head_dim = config.head_dim.unwrap_or(hidden / heads);
        let norm = |name: &str, width: usize| -> std::result::Result<Norm, LoadError> {
            Ok(Norm {
                weight: weights.get(&format!("{name}.weight"), width)?,
                bias: None,
                eps: config.rms_norm_eps as f32,
            })
        };
        let layers = (0..config.num_hidden_layers)
            .map(|i| {
                let at = |name: &str| format!("layers.{i}.{name}");
                let linear = |parts: &[(&str, usize)], inputs| {
                    let parts: Vec<_> = parts.iter().map(|(n, out)| (at(n), *out)).collect();
                    Linear::load(weights, &parts, inputs, false)
                };
                Ok(Layer {
                    attention_norm: norm(&at("input_layernorm"), hidden)?,
                    qkv: linear(
                        &[
                            ("self_attn.q_proj", heads * head_dim),
                            ("self_attn.k_proj", kv_heads * head_dim),
                            ("self_attn.v_proj", kv_heads * head_dim),
                        ],
                        hidden,
                    )?,
                    q_norm: norm(&at("self_attn.q_norm"), head_dim)?,
                    k_norm: norm(&at("self_attn.k_norm"), head_dim)?,
                    output: linear(&[("self_attn.o_proj", hidden)], heads * head_dim)?,
                    mlp_norm: norm(&at("post_attention_layernorm"), hidden)?,
                    gate_up: linear(
                        &[
                            ("mlp.gate_proj", config.intermediate_size),
                            ("mlp.up_proj", config.intermediate_size),
                        ],
                        hidden,
                    )?,
                    down: linear(&[("mlp.down_proj", hidden)], config.intermediate_size)?,
                })
            })
            .collect::<std::result::Result<_, LoadError>>()?;
        let prepared =
            |source| LoadError::Device { model: config_path.display().to_string(), source };
        Ok(Self {
            embeddings: weights.get("embed_tokens.weight", (config.vocab_size, hidden))?,
            layers,
            norm: norm("norm", hidden)?,
            rope: rope(theta, head_dim, max_tokens, device).map_err(prepared)?,
            heads,
            kv_heads,
            head_dim,
            device: device.clone(),
        })
    }

    /// Rows of the token embeddings: `[ids, hidden]`. With tied weights, the head's.
    pub(crate) fn embedding_rows(&self, ids: &[u32]) -> Result<Tensor> {
        let kernels = self.device.kernels();
        kernels.rows(&self.embeddings, &kernels.place(ids)?)
    }

    /// The final hidden state of those tokens that are wanted, usually each sequence's last one:
    /// `[wanted, hidden]`.
    pub(crate) fn forward(&self, batch: &Packed) -> Result<Tensor> {
        let kernels = self.device.kernels();
        let mut x = kernels.rows(&self.embeddings, &batch.ids.device)?;
        // What the layer before has to add to `x` yet: it is done together with the norm.
        let mut delta = None;
        for (i, layer) in self.layers.iter().enumerate() {
            let normed = kernels.add_rms_norm(&x, delta.as_ref(), &layer.attention_norm)?;
            let last = i + 1 == self.layers.len();
            let attended = match batch.wanted.as_ref().filter(|_| last) {
                None => self.attend_all(layer, &normed, batch)?,
                Some(wanted) => {
                    x = kernels.rows(&x, &wanted.rows.device)?;
                    self.attend(layer, &normed, batch, wanted)?
                }
            };
            let attended = layer.output.product(&attended, kernels)?;
            let normed = kernels.add_rms_norm(&x, Some(&attended), &layer.mlp_norm)?;
            let up = kernels.silu_mul(&layer.gate_up.product(&normed, kernels)?)?;
            delta = Some(layer.down.product(&up, kernels)?);
        }
        kernels.add_rms_norm(&x, delta.as_ref(), &self.norm)
    }

    fn widths(&self) -> (usize, usize) {
        (self.heads * self.head_dim, self.kv_heads * self.head_dim)
    }

    /// Attention of every token.
    fn attend_all(&self, layer: &Layer, normed: &Tensor, batch: &Packed) -> Result<Tensor> {
        let (q_width, kv_width) = self.widths();
        let qkv = layer.qkv.product(normed, self.device.kernels())?;
        let k = qkv.narrow(1, q_width, kv_width)?;
        let v = qkv.narrow(1, q_width + kv_width, kv_width)?;
        self.attention(layer, &qkv.narrow(1, 0, q_width)?, (&k, &v), batch, &batch.all)
    }

    /// Attention of some tokens over all.
    fn attend(
        &self,
        layer: &Layer,
        normed: &Tensor,
        batch: &Packed,
        wanted: &Queries,
    ) -> Result<Tensor> {
        let kernels = self.device.kernels();
        let (q_width, kv_width) = self.widths();
        let picked = kernels.rows(normed, &wanted.rows.device)?;
        let q = layer.qkv.part(0, q_width)?.product(&picked, kernels)?;
        let kv = layer.qkv.part(q_width, 2 * kv_width)?.product(normed, kernels)?;
        let (k, v) = (kv.narrow(1, 0, kv_width)?, kv.narrow(1, kv_width, kv_width)?);
        self.attention(layer, &q, (&k, &v), batch, wanted)
    }

    /// Normalises and rotates queries and keys, then attends. Keys and values are there for every
    /// token.
    fn attention(
        &self,
        layer: &Layer,
        q: &Tensor,
        (k, v): (&Tensor, &Tensor),
        batch: &Packed,
        queries: &Queries,
    ) -> Result<Tensor> {
        let kernels = self.device.kernels();
        let heads = |rows, count| Heads { rows, count };
        let rotated = |x, norm, positions| kernels.norm_rope(x, Some(norm), &self.rope, positions);
        let q = rotated(heads(q, self.heads), &layer.q_norm, &queries.positions)?;
        let k = rotated(heads(k, self.kv_heads), &layer.k_norm, &batch.all.positions)?;
        kernels.attention(
            heads(&q, self.heads),
            heads(&k, self.kv_heads),
            heads(v, self.kv_heads),
            batch.spans(queries),
            Mask::Causal,
            1.0 / (self.head_dim as f32).sqrt(),
        )
    }
}

/// Cosine and sine of every position's angles, in f32 as the reference computes them.
pub(crate) fn rope(theta: f64, head_dim: usize, positions: usize, device: &Device) -> Result<Rope> {
    let half = head_dim / 2;
    let frequencies: Vec<f32> =
        (0..half).map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / head_dim as f32)).collect();
    let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.cos(), a.sin())).unzip();
    Ok(Rope {
        cos: Tensor::from_vec(cos, (positions, half), device.candle())?,
        sin: Tensor::from_vec(sin, (positions, half), device.candle())?,
    })
}

/// The head's rows for "no" and "yes": `[2, hidden]`.
pub(crate) struct Verdict {
    rows: Tensor,
}

impl Verdict {
    pub(crate) fn load(
        config: &Config,
        weights: &Weights,
        model: &Qwen3,
        no: u32,
        yes: u32,
    ) -> std::result::Result<Self, LoadError> {
        let path = &weights.checkpoint().files()[0];
        let prepared = |e: candle_core::Error| LoadError::invalid(path, e);
        let rows = if config.tie_word_embeddings {
            model.embedding_rows(&[no, yes]).map_err(prepared)?
        } else {
            let head = weights.get("lm_head.weight", (config.vocab_size, config.hidden_size))?;
            let kernels = model.device.kernels();
            kernels.place(&[no, yes]).and_then(|ids| kernels.rows(&head, &ids)).map_err(prepared)?
        };
        Ok(Self { rows })
    }

    /// The logits of "no" and "yes", of `[sequences, hidden]`: `[sequences, 2]`.
    pub(crate) fn logits(&self, model: &Qwen3, hidden: &Tensor) -> Result<Tensor> {
        model.device.kernels().dots(hidden, &self.rows)
    }
}

/// `softmax(row)[1]` of two logits.
pub(crate) fn second_of_two(row: &[f32]) -> f32 {
    1.0 / (1.0 + (row[0] - row[1]).exp())
}
