//! Log lines and metrics of the process.

use std::{
    io::{self, IsTerminal, Write},
    sync::LazyLock,
};

use anyhow::Context;
use indicatif::MultiProgress;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::LogFormat;

/// What is logged when `RUST_LOG` says nothing: our own progress, others' warnings.
const WORKER_FILTER: &str = "warn,livedex=info,livedex_ingest=info,livedex_query=info,\
    livedex_kafka=info,livedex_milvus=info,livedex_model=info";

/// For commands that answer and end, only what is wrong.
const CLIENT_FILTER: &str = "error";

/// Starts logging to standard error; standard output is for answers.
pub(crate) fn init_logs(format: LogFormat, is_worker: bool) {
    let fallback = if is_worker { WORKER_FILTER } else { CLIENT_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(fallback));
    let lines = fmt().with_env_filter(filter).with_writer(|| AboveBars);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).compact().init(),
        LogFormat::Json => lines.json().init(),
    }
}

/// The bars of this process, if standard error is a terminal; else they are not shown.
pub(crate) fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
    &BARS
}

/// Standard error, with the bars out of the way while a line is written.
struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Seconds, from a query step to a slow wave.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0,
];

/// Seconds, from a record that is read at once to one that waited out an hour.
const FRESHNESS: [f64; 16] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
];

/// Tokens of a micro-batch.
const TOKENS: [f64; 12] =
    [16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0];

/// A micro-batch over its budget; above 1 for a single text that is longer.
const FILL: [f64; 10] = [0.05, 0.1, 0.25, 0.4, 0.5, 0.75, 0.9, 0.95, 1.0, 2.0];

/// Installs the recorder behind every `metrics` macro and describes what the crates record.
pub(crate) fn init_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| {
            let name = livedex_ingest::metrics::FRESHNESS_SECONDS;
            builder.set_buckets_for_metric(Matcher::Full(name.into()), &FRESHNESS)
        })
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_batch_tokens".into()), &TOKENS)
        })
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_batch_fill".into()), &FILL)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .context("cannot start the metrics recorder")?;
    livedex_ingest::metrics::describe();
    livedex_kafka::metrics::describe();
    livedex_milvus::names::describe();
    livedex_query::metrics::describe();
    Ok(handle)
}
