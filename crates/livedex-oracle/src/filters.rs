//! Any filter tree, as filter text.

use arbitrary::{Arbitrary, Result, Unstructured};
use livedex_core::{
    filter::{Comparison, Field, Filter, Value},
    ids::Tenant,
};
use livedex_milvus::filter::render;

use crate::expression::{Expression, Literal, Path, read};

/// Levels of a tree, one more than the limit.
const DEPTH: usize = 9;

/// Parts of a node.
const WIDTH: usize = 4;

/// What left filters of other services: ends of literals, escapes that only look like such, and
/// words of the language. Random bytes hardly ever make one.
const TEXTS: [&str; 10] = [
    "\") or true or (\"",
    "x\"] == \"\" or tenant != \"",
    "' or 1 == 1 or '",
    "\\",
    "\\\" or true or \\\"",
    "\\u0022) or (\\x22",
    "line\nbreak\r",
    "{tenant}",
    "tenant",
    "",
];

/// Renders the tree that the bytes describe, with a tenant, and reads the text by Milvus' grammar:
/// what comes out is the same tree, and the tenant's predicate is one side of an `and` at its root,
/// so no value has left its literal and nothing has reached around the tenant.
///
/// # Panics
/// If it is not.
pub fn filtering(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let (Ok(tenant), Ok(filter)) = (text(&mut data), filter(&mut data, DEPTH)) else {
        return;
    };
    let Ok(tenant) = Tenant::new(tenant) else { return };
    // What is refused does no harm.
    let Ok(text) = render(Some(&filter), Some(&tenant)) else { return };
    let tenants = compare(Path("tenant".to_owned(), None), "==", text_of(tenant.as_str()));
    let expected = Expression::And(vec![meaning(&filter), tenants]);
    assert_eq!(read(&text), Some(expected), "{filter:?} as {text}");
}

fn filter(data: &mut Unstructured<'_>, depth: usize) -> Result<Filter> {
    let kinds = if depth > 1 { 8 } else { 5 };
    Ok(match data.int_in_range(0..=kinds - 1)? {
        0 => {
            let comparison = *data.choose(&[
                Comparison::Eq,
                Comparison::Ne,
                Comparison::Lt,
                Comparison::Lte,
                Comparison::Gt,
                Comparison::Gte,
            ])?;
            Filter::Compare(field(data)?, comparison, value(data)?)
        }
        1 => Filter::In(field(data)?, parts(data, value)?),
        2 => Filter::Contains(text(data)?, text(data)?),
        3 => Filter::Prefix(field(data)?, text(data)?),
        4 => Filter::Exists(text(data)?),
        5 => Filter::And(parts(data, |data| filter(data, depth - 1))?),
        6 => Filter::Or(parts(data, |data| filter(data, depth - 1))?),
        _ => Filter::Not(Box::new(filter(data, depth - 1)?)),
    })
}

fn parts<T>(
    data: &mut Unstructured<'_>,
    part: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..data.int_in_range(0..=WIDTH)?).map(|_| part(data)).collect()
}

fn field(data: &mut Unstructured<'_>) -> Result<Field> {
    Ok(match data.int_in_range(0..=3)? {
        0 => Field::DocumentId,
        1 => Field::UpdatedAt,
        2 => Field::Tenant,
        _ => Field::Metadata(text(data)?),
    })
}

fn value(data: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match data.int_in_range(0..=4)? {
        0 => Value::Bool(bool::arbitrary(data)?),
        1 => Value::Int(i64::arbitrary(data)?),
        2 => Value::Float(f64::arbitrary(data)?),
        _ => Value::String(text(data)?),
    })
}

/// Any text, and every fourth one that hurt somebody.
fn text(data: &mut Unstructured<'_>) -> Result<String> {
    match data.ratio(1, 4)? {
        true => Ok((*data.choose(&TEXTS)?).to_owned()),
        false => String::arbitrary(data),
    }
}

/// What a tree means, in the words of the grammar. A metadata key that is absent matches nothing,
/// hence `exists`.
fn meaning(filter: &Filter) -> Expression {
    match filter {
        Filter::Compare(field, comparison, value) => {
            let operator = match comparison {
                Comparison::Eq => "==",
                Comparison::Ne => "!=",
                Comparison::Lt => "<",
                Comparison::Lte => "<=",
                Comparison::Gt => ">",
                Comparison::Gte => ">=",
            };
            guarded(field, vec![compare(path(field), operator, literal(value))])
        }
        Filter::In(field @ Field::Metadata(_), values) => {
            let equals = |value| compare(path(field), "==", literal(value));
            guarded(field, vec![any(values.iter().map(equals).collect())])
        }
        Filter::In(field, values) => {
            Expression::In(path(field), values.iter().map(literal).collect())
        }
        Filter::Contains(key, text) => {
            let field = Field::Metadata(key.clone());
            guarded(&field, vec![Expression::Contains(path(&field), text_of(text))])
        }
        Filter::Prefix(field, prefix) => {
            let mut bounds = vec![compare(path(field), ">=", text_of(prefix))];
            if let Some(end) = end_of(prefix) {
                bounds.push(compare(path(field), "<", text_of(&end)));
            }
            guarded(field, bounds)
        }
        Filter::Exists(key) => Expression::Exists(path(&Field::Metadata(key.clone()))),
        Filter::And(parts) => all(parts.iter().map(meaning).collect()),
        Filter::Or(parts) => any(parts.iter().map(meaning).collect()),
        Filter::Not(part) => Expression::Not(Box::new(meaning(part))),
    }
}

fn guarded(field: &Field, mut conditions: Vec<Expression>) -> Expression {
    if matches!(field, Field::Metadata(_)) {
        conditions.insert(0, Expression::Exists(path(field)));
    }
    all(conditions)
}

/// One part needs no `and`.
fn all(mut parts: Vec<Expression>) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { Expression::And(parts) }
}

fn any(mut parts: Vec<Expression>) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { Expression::Or(parts) }
}

fn compare(path: Path, operator: &str, value: Literal) -> Expression {
    Expression::Compare(path, operator.to_owned(), value)
}

fn path(field: &Field) -> Path {
    match field {
        Field::DocumentId => Path("document_id".to_owned(), None),
        Field::Tenant => Path("tenant".to_owned(), None),
        Field::UpdatedAt => Path("updated_at".to_owned(), None),
        Field::Metadata(key) => Path("metadata".to_owned(), Some(key.clone())),
    }
}

fn literal(value: &Value) -> Literal {
    match value {
        Value::Bool(value) => Literal::Bool(*value),
        Value::Int(value) => Literal::Int(*value),
        Value::Float(value) => Literal::Float(*value),
        Value::String(text) => text_of(text),
    }
}

fn text_of(text: &str) -> Literal {
    Literal::String(text.to_owned())
}

/// The first text behind all that start with `prefix`: its last character that has one behind it
/// gives way to that, and what follows is cut.
fn end_of(prefix: &str) -> Option<String> {
    let (at, last) = prefix.char_indices().rev().find(|(_, c)| *c < char::MAX)?;
    // Ranges of characters leave out what is none.
    let next = (last..=char::MAX).nth(1)?;
    Some(format!("{}{next}", &prefix[..at]))
}
