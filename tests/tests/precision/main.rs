//! The precisions and the libraries that multiply: oneDNN's products against plain loops, and whole
//! models in bf16 and 8 bits against the same models in f32, which other tests compare with
//! transformers.

mod models;
mod products;

use std::process::ExitCode;

use livedex_testkit::{Need, Suite};

fn main() -> ExitCode {
    Suite::new()
        .parallel()
        .test("products_equal_plain_loops", &[Need::OneDnn], products::equal_plain_loops)
        .test("bf16_products_are_rounded_inputs", &[Need::OneDnn, Need::Bf16], products::bf16)
        .test("threads_share_packed_weights", &[Need::OneDnn], products::threads)
        .test("f32_by_onednn_equals_f32_by_candle", &[Need::OneDnn], models::f32_by_either)
        .test("bf16_is_close_to_f32", &[Need::OneDnn, Need::Bf16], models::bf16)
        .test("q8_0_is_close_to_f32", &[], models::q8_0)
        .test("what_is_not_possible_is_refused", &[], models::refusals)
        .run()
}
