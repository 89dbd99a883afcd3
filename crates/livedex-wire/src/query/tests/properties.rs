//! Any request comes through unchanged.

use super::*;

fn filters() -> impl Strategy<Value = Filter> {
    let key = "[a-z.\"\\\\ \u{4e00}]{1,12}";
    let value = prop_oneof![
        any::<bool>().prop_map(FilterValue::Bool),
        any::<i64>().prop_map(FilterValue::Int),
        (-1e9..1e9).prop_map(FilterValue::Float),
        "\\PC{0,20}".prop_map(FilterValue::String),
    ];
    let comparison = prop::sample::select(vec![
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Lte,
        Comparison::Gt,
        Comparison::Gte,
    ]);
    let leaf = prop_oneof![
        (key, comparison.clone(), value.clone()).prop_map(|(key, how, value)| Filter::Compare(
            Field::Metadata(key),
            how,
            value
        )),
        (comparison.clone(), -60_000_000_000_000_i64..200_000_000_000_000)
            .prop_map(|(how, ms)| Filter::Compare(Field::UpdatedAt, how, FilterValue::Int(ms))),
        (comparison, "\\PC{0,20}").prop_map(|(how, id)| Filter::Compare(
            Field::DocumentId,
            how,
            FilterValue::String(id)
        )),
        (key, prop::collection::vec(value, 1..4))
            .prop_map(|(key, values)| Filter::In(Field::Metadata(key), values)),
        (key, "\\PC{0,20}").prop_map(|(key, text)| Filter::Contains(key, text)),
        "\\PC{0,20}".prop_map(|text| Filter::Prefix(Field::DocumentId, text)),
        "\\PC{0,20}".prop_map(|name| Filter::In(Field::Tenant, vec![FilterValue::String(name)])),
        key.prop_map(Filter::Exists),
    ];
    leaf.prop_recursive(4, 20, 4, |below| {
        prop_oneof![
            prop::collection::vec(below.clone(), 1..4).prop_map(Filter::And),
            prop::collection::vec(below.clone(), 1..4).prop_map(Filter::Or),
            below.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn positions() -> impl Strategy<Value = Vec<SourcePosition>> {
    let position =
        ("[a-z.]{1,20}", 0..=i32::MAX, 0..=i64::MAX).prop_map(|(topic, partition, offset)| {
            SourcePosition { topic: topic.into(), partition, offset }
        });
    prop::collection::vec(position, 0..4)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        query in "\\PC{0,40}x",
        also in prop::collection::vec("\\PC{0,40}x", 0..MAX_QUERIES),
        filter in prop::option::of(filters()),
        sizes in (prop::option::of(1_usize..=100), prop::option::of(100_usize..=500), 0..=MAX_NEIGHBOURS),
        names in (prop::option::of("[a-z_]{1,9}"), prop::option::of("[a-z]{0,9}")),
        instruction in prop::option::of("\\PC{0,40}x"),
        flags in any::<([bool; 3], [bool; 3])>(),
        consistency in prop::option::of(prop::sample::select(vec![Consistency::Strong, Consistency::Bounded, Consistency::Eventually])),
        mode in prop::option::of(prop::sample::select(MODES.to_vec())),
        min_score in prop::option::of(0.0_f32..=1.0),
        after in positions(),
    ) {
        let ([rerank, group_by_document, explain], include) = flags;
        let request = QueryRequest {
            collection: names.0,
            query,
            also,
            mode,
            top_k: sizes.0,
            candidates: sizes.1,
            filter,
            tenant: names.1.map(|name| Tenant::new(name).unwrap()),
            instruction,
            rerank,
            consistency: consistency.filter(|level| after.is_empty() || *level == Consistency::Strong),
            after,
            group_by_document,
            min_score,
            neighbours: sizes.2,
            explain,
            include_text: include[0],
            include_metadata: include[1],
            include_vectors: include[2],
        };
        prop_assert_eq!(decode(&encode(&request)), Ok(request));
    }
}
