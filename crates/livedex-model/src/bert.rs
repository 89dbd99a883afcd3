//! BERT (Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>) over packed sequences, as
//! transformers' `BertModel` computes it, and RoBERTa and XLM-RoBERTa
//! (<https://arxiv.org/abs/1911.02116>), which are the same arithmetic: their positions begin
//! behind the padding token's id, and their classifier has other names.

use std::path::Path;

use candle_core::{Result, Tensor};
use serde::Deserialize;

use crate::{
    device::Device,
    error::LoadError,
    kernels::{Activation, Heads, Kernels, Mask, Norm, Spans},
    linear::Linear,
    packed::Packed,
    weights::Weights,
};

/// The parts of `config.json` that decide the arithmetic.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    model_type: String,
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    pad_token_id: Option<usize>,
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
    /// Whether it is RoBERTa or XLM-RoBERTa.
    pub(crate) fn is_roberta(&self) -> bool {
        self.model_type != "bert"
    }

    /// What people call it.
    pub(crate) fn family(&self) -> &'static str {
        match self.model_type.as_str() {
            "bert" => "BERT",
            "roberta" => "RoBERTa",
            _ => "XLM-RoBERTa",
        }
    }

    /// What task models call the bare model.
    pub(crate) fn prefix(&self) -> &'static str {
        if self.is_roberta() { "roberta." } else { "bert." }
    }

    /// The layers between the first token's vector and the labels: hidden to hidden, hidden to
    /// labels.
    pub(crate) fn head(&self) -> &'static [&'static str; 2] {
        if self.is_roberta() {
            &["classifier.dense", "classifier.out_proj"]
        } else {
            &["pooler.dense", "classifier"]
        }
    }

    /// The row of the first token in the table of positions.
    fn first_position(&self) -> usize {
        if self.is_roberta() { self.pad_token_id.unwrap_or(1) + 1 } else { 0 }
    }

    /// Tokens that it has positions for.
    pub(crate) fn positions(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

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
    /// What a position and a segment add: for each segment every position, from the first token's on.
    places: Tensor,
    /// How many positions that are, and segments.
    positions: usize,
    types: usize,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
    activation: Activation,
    device: Device,
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
        let named = |name: &str| format!("embeddings.{name}_embeddings.weight");
        let table = |name: &str, rows| weights.get(&named(name), (rows, hidden));
        let cpu_table = |name: &str, rows| weights.read(&named(name), (rows, hidden));
        let position_table = cpu_table("position", config.max_position_embeddings)?;
        let type_table = cpu_table("token_type", config.type_vocab_size)?;
        let prepared =
            |source| LoadError::Device { model: config_path.display().to_string(), source };
        // Summed once, in f32, so that a forward pass looks up one row and adds once.
        let places = || -> Result<Tensor> {
            let positions =
                position_table.narrow(0, config.first_position(), config.positions())?;
            type_table.unsqueeze(1)?.broadcast_add(&positions.unsqueeze(0)?)?.flatten_to(1)
        };
        let places = places().and_then(|places| weights.place(&places)).map_err(prepared)?;
        Ok(Self {
            words: table("word", config.vocab_size)?,
            places,
            positions: config.positions(),
            types: config.type_vocab_size,
            norm: norm("embeddings.LayerNorm".into())?,
            layers,
            heads: config.num_attention_heads,
            activation: config.activation(config_path)?,
            device: device.clone(),
        })
    }

    pub(crate) fn kernels(&self) -> &dyn Kernels {
        self.device.kernels()
    }

    fn width(&self) -> usize {
        self.norm.weight.elem_count()
    }

    /// The last hidden states of what is wanted of `batch`. Its segments are all 0 where it has none,
    /// and in a model that has one segment only.
    pub(crate) fn forward(&self, batch: &Packed) -> Result<Tensor> {
        let kernels = self.kernels();
        let x = kernels.rows(&self.words, &batch.ids.device)?;
        let places = match batch.types.as_ref().filter(|_| self.types > 1) {
            None => kernels.rows(&self.places, &batch.all.positions.device)?,
            Some(types) => {
                let places: Vec<u32> = (types.iter().zip(&batch.all.positions.host))
                    .map(|(kind, position)| kind * self.positions as u32 + position)
                    .collect();
                kernels.rows(&self.places, &kernels.place(&places)?)?
            }
        };
        kernels.add_layer_norm(&x, None, &places, &self.norm)?;
        let mut x = x;
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            let wanted = batch.wanted.as_ref().filter(|_| last);
            let spans = batch.spans(wanted.unwrap_or(&batch.all));
            x = self.layer(layer, &x, wanted.map(|queries| &queries.rows.device), spans)?;
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
                let picked = kernels.rows(x, rows)?;
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
        let hidden = self.width();
        let scale = 1.0 / ((hidden / self.heads) as f32).sqrt();
        let [q, k, v] = parts.map(|(t, part)| t.narrow(1, part * hidden, hidden));
        let (q, k, v) = (q?, k?, v?);
        let [q, k, v] = [&q, &k, &v].map(|rows| Heads { rows, count: self.heads });
        self.kernels().attention(q, k, v, spans, Mask::Full, scale)
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

/// The pooler and classifier of `BertForSequenceClassification` and of
/// `XLMRobertaForSequenceClassification`.
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
        let [pooler, classifier] = config.head().map(str::to_owned);
        Ok(Self {
            pooler: Linear::load(weights, &[(pooler, hidden)], hidden, true)?,
            classifier: Linear::load(weights, &[(classifier, labels)], hidden, true)?,
        })
    }

    /// `[sequences, hidden]` of the first tokens to `[sequences, labels]`.
    pub(crate) fn logits(&self, firsts: &Tensor, kernels: &dyn Kernels) -> Result<Tensor> {
        let pooled = self.pooler.forward(firsts, kernels, Activation::Tanh)?;
        self.classifier.forward(&pooled, kernels, Activation::Identity)
    }
}
