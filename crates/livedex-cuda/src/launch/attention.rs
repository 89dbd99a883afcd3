//! Attention over packed sequences.

use candle_core::{Result, Tensor, bail, cuda_backend::cudarc::driver::LaunchConfig};

use super::{
    Argument::{At, Count, Real},
    Kernels,
};
use crate::{
    plan,
    tensors::{address, number, rows},
};

/// What attention attends to.
#[derive(Debug, Clone, Copy)]
pub struct Attended<'a> {
    /// `[sequences * 6]`, u32: a [`plan::Span`] each.
    pub spans: &'a Tensor,
    /// `[blocks * 2]`, u32, by [`plan::blocks`].
    pub blocks: &'a Tensor,
    /// Which keys a query sees: 0 all, 1 those up to its own, 2 those within `window`.
    pub mask: u32,
    /// Of mask 2, in positions on either side.
    pub window: u32,
    /// What products are multiplied by.
    pub scale: f32,
}

impl Kernels {
    /// Whether there is an attention kernel for heads of so many numbers.
    pub fn attends(&self, head_dim: usize) -> bool {
        attention_name(head_dim).is_some_and(|name| self.functions.contains_key(name))
    }

    /// Attention over packed sequences. Each of queries, keys and values comes with its heads; those of
    /// the queries are a multiple of the others.
    pub fn attention(
        &self,
        (q, q_heads): (&Tensor, usize),
        (k, v, kv_heads): (&Tensor, &Tensor, usize),
        what: Attended<'_>,
    ) -> Result<Tensor> {
        let [q, k, v] = [rows(q)?, rows(k)?, rows(v)?];
        let heads = number(q_heads)?;
        let d = q.width / heads.max(1);
        let fits = heads > 0
            && kv_heads > 0
            && q_heads.is_multiple_of(kv_heads)
            && k.width as usize == kv_heads * d as usize
            && (k.width, k.count) == (v.width, v.count);
        let Some(name) = attention_name(d as usize).filter(|_| fits) else {
            bail!("no attention of {q_heads} heads over {kv_heads} of {d} numbers");
        };
        let out = self.empty(q.count as usize, q.width)?;
        let to = rows(&out)?;
        let spans = address::<u32>(what.spans)?;
        let blocks = address::<u32>(what.blocks)?;
        let group = number(q_heads / kv_heads)?;
        let count = number(what.blocks.elem_count() / 2)?;
        let config = LaunchConfig {
            grid_dim: (count, heads, 1),
            block_dim: (plan::ATTENTION_THREADS, 1, 1),
            shared_mem_bytes: plan::shared_bytes(d),
        };
        self.start(
            name,
            config,
            &[
                At(to.at),
                Count(to.stride),
                At(q.at),
                Count(q.stride),
                At(k.at),
                Count(k.stride),
                At(v.at),
                Count(v.stride),
                At(spans),
                At(blocks),
                Count(group),
                Real(what.scale),
                Count(what.mask),
                Count(what.window),
            ],
        )?;
        Ok(out)
    }
}

/// The kernel for heads of so many numbers.
pub(super) fn attention_name(head_dim: usize) -> Option<&'static str> {
    match head_dim {
        32 => Some("attention_32"),
        64 => Some("attention_64"),
        128 => Some("attention_128"),
        _ => None,
    }
}
