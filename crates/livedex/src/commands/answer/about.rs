//! What stands below the hits: the time of each step, how far the collection is, how the answer came
//! about, and what it lacks.

use livedex_wire::reply::{Degraded, Explain, Model, ReplyV1, Watermark};

/// All of it, a line each.
pub(super) fn render(reply: &ReplyV1) -> String {
    let mut lines = vec![steps(reply), freshness(reply)];
    if let Some(explain) = &reply.explain {
        lines.extend(explained(explain));
        lines.extend(reply.watermarks.iter().map(watermark));
        lines.push(format!("  embedder {}", model(&reply.models.embedder)));
        lines.extend(reply.models.reranker.as_ref().map(|it| format!("  reranker {}", model(it))));
    }
    // Last, where the eye is when the table has scrolled by.
    lines.extend(reply.degraded.as_ref().map(|why| degraded(why, reply.n_candidates)));
    lines.join("\n")
}

fn steps(reply: &ReplyV1) -> String {
    let t = &reply.timings_ms;
    let steps = [
        ("wait", t.wait),
        ("embed", t.embed),
        ("search", Some(t.search)),
        ("rerank", t.rerank),
        ("neighbours", t.neighbours),
    ];
    let steps: Vec<String> = steps
        .iter()
        .filter_map(|(step, took)| took.map(|took| format!("{step} {took:.0} ms")))
        .collect();
    format!("{} candidates in {:.0} ms ({})", reply.n_candidates, t.total, steps.join(", "))
}

/// How far the collection is, as it was said before the search.
fn freshness(reply: &ReplyV1) -> String {
    let heard = reply.watermarks.iter().map(|watermark| watermark.age_ms).max();
    let heard = heard.map_or_else(String::new, |ms| format!(" ({} ago)", ago(ms)));
    let lag = match reply.lag {
        Some(0) => format!("everything is ingested{heard}"),
        Some(1) => format!("1 record is still to be ingested{heard}"),
        Some(lag) => format!("{lag} records are still to be ingested{heard}"),
        None => "how far ingestion is, is not known".to_owned(),
    };
    format!("collection {}, read {}; {lag}", reply.collection, reply.consistency)
}

fn ago(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format!("{} min", ms / 60_000),
    }
}

fn explained(explain: &Explain) -> Vec<String> {
    let mut lines = vec![format!("explain: mode {}, fusion {}", explain.mode, explain.fusion)];
    lines.push(format!("  the score is {}", explain.score));
    lines.extend(explain.routes.iter().map(|route| {
        let query = match route.query {
            0 => "the question".to_owned(),
            query => format!("the same in other words ({query})"),
        };
        format!("  {} for {query}: {} candidates", route.kind, route.found)
    }));
    lines.push(format!(
        "  reranked: {} candidates, {} of them remembered; embeddings remembered: {}",
        explain.reranked, explain.rerank_cached, explain.embed_cached
    ));
    lines
}

fn watermark(at: &Watermark) -> String {
    let end = match (at.end, at.lag) {
        // The end is asked for less often, and may be behind.
        (Some(end), Some(lag)) => format!(" of {}, {lag} to come", end.max(at.watermark)),
        _ => String::new(),
    };
    let Watermark { topic, partition, watermark, age_ms, .. } = at;
    format!("  {topic}[{partition}]: ingested up to {watermark}{end}, said {} ago", ago(*age_ms))
}

/// Its name, and as much of its fingerprint as tells two apart.
fn model(model: &Model) -> String {
    let print = model.fingerprint.get(..12).unwrap_or(&model.fingerprint);
    format!("{} ({print})", model.name)
}

/// What the answer lacks, and what helps.
fn degraded(why: &Degraded, n_candidates: usize) -> String {
    let Degraded { reason, reranked } = why;
    let lacks = match (*reranked, reason.as_str()) {
        (0, _) => "nothing was reranked, the order is stage 1's".to_owned(),
        (reranked, "deadline") if reranked >= n_candidates => {
            "the chunks around the hits were not read".to_owned()
        }
        (reranked, _) => format!("{reranked} of {n_candidates} candidates were reranked"),
    };
    // The list of reasons may grow: one that is not known is shown without advice.
    let advice = match reason.as_str() {
        "deadline" => ": allow more time (--timeout-ms), or fewer --candidates",
        "no_reranker" => ": the service runs without a reranker; --no-rerank asks for none",
        "reranker_overloaded" => ": the service is busy, ask again later",
        "reranker_failed" => ": the service's log says why",
        _ => "",
    };
    format!("DEGRADED ({reason}): {lacks}{advice}")
}
