#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::limits::MAX_FILTER_VALUES;
use proptest::prelude::*;

use super::*;
use crate::literal::tests::read_lite;

fn meta(key: &str) -> Field {
    Field::Metadata(key.to_owned())
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn check(filter: &Filter, expected: &str) {
    assert_eq!(render(Some(filter), None).unwrap(), expected);
}

#[test]
fn every_kind() {
    check(
        &Filter::Compare(Field::DocumentId, Comparison::Eq, text("a\"b")),
        r#"(document_id == "a\"b")"#,
    );
    check(&Filter::Compare(Field::Tenant, Comparison::Ne, text("it's")), r#"(tenant != "it's")"#);
    check(&Filter::In(Field::Tenant, vec![text("a"), text("")]), r#"(tenant in ["a", ""])"#);
    check(&Filter::Prefix(Field::Tenant, "a".into()), r#"(tenant >= "a" and tenant < "b")"#);
    check(
        &Filter::Compare(Field::UpdatedAt, Comparison::Gte, Value::Int(-5)),
        "(updated_at >= -5)",
    );
    check(
        &Filter::Compare(meta("year"), Comparison::Ne, Value::Float(1e300)),
        r#"(exists metadata["year"] and metadata["year"] != 1e300)"#,
    );
    check(
        &Filter::In(Field::DocumentId, vec![text("a"), text("b")]),
        r#"(document_id in ["a", "b"])"#,
    );
    check(
        &Filter::In(meta("k"), vec![Value::Int(1), Value::Bool(true)]),
        r#"(exists metadata["k"] and (metadata["k"] == 1 or metadata["k"] == true))"#,
    );
    check(
        &Filter::Contains("tags".into(), "x".into()),
        r#"(exists metadata["tags"] and json_contains(metadata["tags"], "x"))"#,
    );
    check(
        &Filter::Prefix(Field::DocumentId, "a%_".into()),
        r#"(document_id >= "a%_" and document_id < "a%`")"#,
    );
    check(&Filter::Prefix(Field::DocumentId, String::new()), r#"(document_id >= "")"#);
    check(&Filter::Exists("k".into()), r#"(exists metadata["k"])"#);
    check(
        &Filter::And(vec![
            Filter::Exists("a".into()),
            Filter::Or(vec![
                Filter::Exists("b".into()),
                Filter::Not(Box::new(Filter::Exists("c".into()))),
            ]),
        ]),
        r#"((exists metadata["a"]) and ((exists metadata["b"]) or (not (exists metadata["c"]))))"#,
    );
}

#[test]
fn the_tenant_is_added_last_and_outside() {
    let tenant = Tenant::new("t\") or true or (\"").unwrap();
    let filter = Filter::Or(vec![Filter::Exists("a".into()), Filter::Exists("b".into())]);
    assert_eq!(
        render(Some(&filter), Some(&tenant)).unwrap(),
        r#"(((exists metadata["a"]) or (exists metadata["b"]))) and (tenant == "t\") or true or (\"")"#,
    );
    assert_eq!(render(None, Some(&Tenant::default())).unwrap(), r#"(tenant == "")"#);
    assert_eq!(render(None, None).unwrap(), "");
}

/// How filters of other services were left: by a value that ends its literal (mem0 #5744), by a
/// metadata key that does (langchain4j #6333), and by an `or` beside the tenant's `and`
/// (openrag #466).
#[test]
fn what_reached_around_a_tenant_elsewhere_does_not_here() {
    let mine = Tenant::new("mine").unwrap();
    let rendered = |filter: &Filter| render(Some(filter), Some(&mine));
    let value = Filter::Compare(Field::Tenant, Comparison::Eq, text("\") or true or (\""));
    assert_eq!(
        rendered(&value).unwrap(),
        r#"((tenant == "\") or true or (\"")) and (tenant == "mine")"#
    );
    let other = Filter::Compare(Field::Tenant, Comparison::Eq, text("other"));
    let either = Filter::Or(vec![Filter::Exists("a".into()), other]);
    assert_eq!(
        rendered(&either).unwrap(),
        r#"(((exists metadata["a"]) or (tenant == "other"))) and (tenant == "mine")"#
    );
    let key = Filter::Compare(meta("x\"] == \"\" or tenant != \""), Comparison::Eq, text(""));
    assert!(matches!(rendered(&key), Err(RenderError::Key { .. })));
    // What no quote can leave is looked up as it is.
    let key = Filter::Exists("x'] or true or ['".into());
    assert_eq!(
        rendered(&key).unwrap(),
        r#"((exists metadata["x'] or true or ['"])) and (tenant == "mine")"#
    );
}

#[test]
fn what_cannot_be_asked_is_refused() {
    for key in ["", "a\"b", "a\\b", "a][b", "a\nb", "a\u{0}"] {
        let error = render(Some(&Filter::Exists(key.to_owned())), None).unwrap_err();
        assert!(matches!(error, RenderError::Key { .. }), "{key:?}: {error}");
    }
    let order = Filter::Compare(meta("k"), Comparison::Lt, Value::Bool(true));
    assert_eq!(render(Some(&order), None), Err(RenderError::BoolOrder));
    let low = Filter::Compare(meta("k"), Comparison::Eq, Value::Int(i64::MIN));
    assert!(matches!(render(Some(&low), None), Err(RenderError::TooLow { .. })));
    let long = Filter::In(meta("k"), vec![Value::Int(1); MAX_FILTER_VALUES + 1]);
    assert!(matches!(render(Some(&long), None), Err(RenderError::Invalid(_))));
}

fn any_comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{Eq, Gt, Gte, Lt, Lte, Ne};
    prop::sample::select(vec![Eq, Ne, Lt, Lte, Gt, Gte])
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let nasty = "[a\"'\\\\() =\n\u{1F600}]{0,12}";
    let key = "[a-z()' =\u{1F600}]{1,12}";
    let value = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        (-1_000_000_i64..1_000_000).prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::Float),
        nasty.prop_map(Value::String),
    ];
    let own = || prop_oneof![Just(Field::DocumentId), Just(Field::Tenant)];
    let leaf = prop_oneof![
        (key, value.clone()).prop_map(|(k, v)| Filter::Compare(
            Field::Metadata(k),
            Comparison::Eq,
            v
        )),
        (key, prop::collection::vec(value, 1..4))
            .prop_map(|(k, v)| Filter::In(Field::Metadata(k), v)),
        (own(), any_comparison(), nasty).prop_map(|(field, comparison, t)| {
            Filter::Compare(field, comparison, Value::String(t))
        }),
        (own(), prop::collection::vec(nasty.prop_map(Value::String), 1..4))
            .prop_map(|(field, values)| Filter::In(field, values)),
        (key, nasty).prop_map(|(k, t)| Filter::Contains(k, t)),
        (own(), nasty).prop_map(|(field, t)| Filter::Prefix(field, t)),
        key.prop_map(Filter::Exists),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::Or),
            inner.prop_map(|f| Filter::Not(Box::new(f))),
        ]
    })
}

proptest! {
    /// Outside of string literals only our own words are left, and the last parenthesis
    /// group of the top level is the tenant's.
    #[test]
    fn no_value_leaves_its_literal(filter in any_filter(), tenant in "[a\"\\\\() ]{0,10}") {
        let rendered = render(Some(&filter), Some(&Tenant::new(tenant.clone()).unwrap())).unwrap();
        let (mut skeleton, mut strings) = (String::new(), Vec::new());
        let mut rest = rendered.as_str();
        while let Some(c) = rest.chars().next() {
            if c == '"' {
                let (string, len) = read_lite(rest).unwrap();
                strings.push(string);
                skeleton.push('S');
                rest = &rest[len..];
            } else {
                skeleton.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        prop_assert!(skeleton.ends_with(") and (tenant == S)"), "{}", skeleton);
        prop_assert_eq!(strings.last(), Some(&tenant));
        let head = skeleton.strip_suffix(" and (tenant == S)").unwrap();
        // The rest of the text is one single group.
        let mut depth = 0_i32;
        for (i, c) in head.char_indices() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            prop_assert!(depth > 0 || i == head.len() - 1, "{}", skeleton);
        }
        prop_assert_eq!(depth, 0);
        let words = head.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words {
            let known = ["", "S", "and", "or", "not", "exists", "metadata", "document_id", "tenant",
                "in", "json_contains", "true", "false"];
            let number = word.starts_with(|c: char| c.is_ascii_digit());
            prop_assert!(number || known.contains(&word), "{} in {}", word, skeleton);
        }
    }
}
