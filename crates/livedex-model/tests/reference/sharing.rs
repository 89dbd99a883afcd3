//! A prefix that candidates share is computed once: the scores are those of every pair alone.

use livedex_model::{LoadedReranker, ModelSpec, backend::PairTokens};
use proptest::prelude::*;

use crate::common::*;

fn plain(pairs: &[PairTokens]) -> Vec<PairTokens> {
    pairs.iter().map(|pair| PairTokens { shared_prefix: 0, ..pair.clone() }).collect()
}

#[track_caller]
fn check(model: &mut LoadedReranker, pairs: &[PairTokens]) -> f32 {
    let shared = model.forward(pairs).unwrap();
    let expected = model.forward(&plain(pairs)).unwrap();
    assert_close(&shared, &expected, bounds().batch, "shared against plain")
}

#[test]
fn sharing_does_not_change_the_scores() {
    for name in ["qwen3-rerank", "qwen3-rerank-untied"] {
        let mut model = reranker(ModelSpec::dir(fixture(name)));
        let tokenizer = model.tokenizer();
        let cases = golden::<PairCase>(name).cases;
        let pairs: Vec<PairTokens> = cases
            .iter()
            .map(|c| one(&*tokenizer, &c.query, c.instruction.as_deref(), &c.document))
            .collect();
        // Several queries with several candidates each, and queries with one.
        let mut worst = check(&mut model, &pairs);
        let queries = ["What is a vector", "Where is the capital of China?", "yes"];
        let batch: Vec<PairTokens> = queries
            .iter()
            .flat_map(|query| cases.iter().map(|c| one(&*tokenizer, query, None, &c.document)))
            .collect();
        worst = worst.max(check(&mut model, &batch));
        // One shares less than the others of its query.
        let mut less = batch;
        less[3].shared_prefix -= 1;
        worst = worst.max(check(&mut model, &less));
        println!("{name}: |p shared - p plain| at most {worst:.1e}");
    }
}

#[derive(Debug, Clone)]
struct Query {
    prefix: Vec<u32>,
    /// The rest of each pair, and how many ids of the prefix it does not admit to share.
    rests: Vec<(Vec<u32>, usize)>,
}

fn queries() -> impl Strategy<Value = Vec<(Query, prop::sample::Index)>> {
    let ids = |range| prop::collection::vec(0u32..384, range);
    let rests =
        prop::collection::vec((ids(1..40), prop_oneof![8 => 0usize..1, 1 => 0usize..9]), 1..6);
    let query = (ids(0..60), rests).prop_map(|(prefix, rests)| Query { prefix, rests });
    prop::collection::vec((query, any::<prop::sample::Index>()), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_grouping_gives_the_same_scores(queries in queries(), mixed: bool) {
        let mut pairs = Vec::new();
        for (query, at) in queries {
            for (rest, less) in query.rests {
                let ids: Vec<u32> = query.prefix.iter().copied().chain(rest).collect();
                let shared_prefix = query.prefix.len().saturating_sub(less);
                let pair = PairTokens { type_ids: vec![0; ids.len()], ids, shared_prefix };
                // Queries one after the other, or all over each other.
                let place = if mixed { at.index(pairs.len() + 1) } else { pairs.len() };
                pairs.insert(place, pair);
            }
        }
        for name in ["qwen3-rerank", "qwen3-rerank-untied"] {
            check(&mut reranker(ModelSpec::dir(fixture(name))), &pairs);
        }
    }
}

#[test]
fn pairs_that_cannot_be_run_are_refused_before_they_share() {
    let mut model = reranker(ModelSpec::dir(fixture("qwen3-rerank")));
    let pair = |ids: Vec<u32>, shared_prefix| PairTokens {
        type_ids: vec![0; ids.len()],
        ids,
        shared_prefix,
    };
    assert_input_error(model.forward(&[pair(vec![], 3), pair(vec![1], 0)]), "0 tokens");
    assert_input_error(model.forward(&[pair(vec![1; 513], 500)]), "513 tokens");
    assert_input_error(model.forward(&[pair(vec![1, 384], 1)]), "384 is beyond");
    // Nothing of its own but the last token, whatever it says.
    check(&mut model, &[pair(vec![1, 2], 2), pair(vec![1, 2], 9), pair(vec![1], 1)]);
}
