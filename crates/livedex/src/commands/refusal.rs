//! Why a request got no answer, for people: what was wrong, where, and what to do.

use livedex_query::ClientError;
use livedex_wire::error::{ErrorBody, ErrorCode, Missing};

/// Missing records that are listed.
const SHOWN_MISSING: usize = 10;

/// The error with what to do. What the service says stands on the first line, the rest below it.
pub(super) fn explain(error: ClientError) -> anyhow::Error {
    match &error {
        ClientError::Service(body) => {
            let mut lines = vec![error.to_string()];
            lines.extend(missing(&body.missing));
            lines.extend(advice(body));
            anyhow::Error::msg(lines.join("\n  "))
        }
        ClientError::Timeout { .. } => anyhow::Error::msg(format!(
            "{error}\n  allow more time (--timeout-ms); `livedex status` shows whether the service lives"
        )),
        _ => error.into(),
    }
}

fn missing(missing: &[Missing]) -> Vec<String> {
    let mut lines: Vec<String> = missing.iter().take(SHOWN_MISSING).map(one_missing).collect();
    if missing.len() > SHOWN_MISSING {
        lines.push(format!("and {} more", missing.len() - SHOWN_MISSING));
    }
    lines
}

fn one_missing(record: &Missing) -> String {
    let Missing { topic, partition, offset, watermark } = record;
    match watermark {
        Some(mark) => format!("{topic}[{partition}]@{offset}: ingested up to {mark}"),
        None => format!("{topic}[{partition}]@{offset}: no ingester has said how far it is"),
    }
}

/// What to do, by the kind of the error.
fn advice(body: &ErrorBody) -> Option<String> {
    let field = body.field.as_deref().map(|field| format!("`{field}`"));
    let limit = body.limit.map_or_else(String::new, |limit| format!(", limit {limit}"));
    let retry = body.retry_after_ms.map(|ms| format!("in {ms} ms")).unwrap_or("later".to_owned());
    Some(match body.code {
        ErrorCode::BadRequest => {
            let field = field.unwrap_or("the request".to_owned());
            format!("it will fail again as it is: correct {field}{limit}")
        }
        ErrorCode::TooLarge => {
            let field = field.unwrap_or("the request".to_owned());
            format!("it will fail again as it is: make {field} smaller{limit}")
        }
        ErrorCode::NotFound => {
            "look at --tenant and --collection; it may also have been deleted".to_owned()
        }
        ErrorCode::NotYet => format!(
            "try again {retry}, or allow more time (--timeout-ms); `livedex status` shows whether \
             an ingester runs"
        ),
        ErrorCode::Overloaded => {
            format!("try again {retry}; more instances (`livedex serve`) share the load")
        }
        ErrorCode::Unavailable => {
            format!("try again {retry}; `livedex check` shows what is away")
        }
        ErrorCode::DeadlineExceeded => {
            "allow more time (--timeout-ms), or ask for fewer --candidates".to_owned()
        }
        ErrorCode::Internal => "the service's log says more".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_records_are_listed_with_how_far_ingestion_is() {
        let at =
            |offset, watermark| Missing { topic: "t".to_owned(), partition: 0, offset, watermark };
        let mut body = ErrorBody::new(ErrorCode::NotYet, "2 records are missing");
        body.missing = vec![at(7, Some(5)), at(8, None)];
        body.missing.extend((0..12).map(|offset| at(offset, None)));
        body.retry_after_ms = Some(1000);
        let text = explain(ClientError::Service(body)).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("425 (not_yet): 2 records are missing"), "{text}");
        assert_eq!(lines[1], "  t[0]@7: ingested up to 5");
        assert_eq!(lines[2], "  t[0]@8: no ingester has said how far it is");
        assert_eq!(lines[11], "  and 4 more");
        assert!(lines[12].contains("try again in 1000 ms"), "{text}");
        assert_eq!(lines.len(), 13);
    }

    #[test]
    fn every_kind_of_error_says_what_to_do() {
        for code in ErrorCode::ALL {
            let mut body = ErrorBody::new(code, "what happened");
            body.field = Some("top_k".to_owned());
            body.limit = Some(100);
            let text = explain(ClientError::Service(body)).to_string();
            let (first, second) = text.split_once("\n  ").unwrap_or_default();
            assert!(first.contains("what happened") && !second.is_empty(), "{text}");
            if matches!(code, ErrorCode::BadRequest | ErrorCode::TooLarge) {
                assert!(second.contains("`top_k`") && second.contains("limit 100"), "{text}");
            }
        }
    }
}
