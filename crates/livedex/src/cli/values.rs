//! Values of flags that have a form of their own.

use std::str::FromStr;

use clap::ValueEnum;
use livedex_core::{
    query::{Consistency, Mode},
    record::SourcePosition,
    requests::TextKind,
};

/// How stage 1 searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// By the nearness of embeddings.
    Dense,
    /// By the words.
    Bm25,
    /// Both, fused by their ranks.
    Hybrid,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Dense => Self::Dense,
            ModeArg::Bm25 => Self::Bm25,
            ModeArg::Hybrid => Self::Hybrid,
        }
    }
}

/// How fresh the data must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConsistencyArg {
    /// Everything written before the request.
    Strong,
    /// A few seconds old at most.
    Bounded,
    /// Whatever is there.
    Eventually,
}

impl From<ConsistencyArg> for Consistency {
    fn from(level: ConsistencyArg) -> Self {
        match level {
            ConsistencyArg::Strong => Self::Strong,
            ConsistencyArg::Bounded => Self::Bounded,
            ConsistencyArg::Eventually => Self::Eventually,
        }
    }
}

/// What hits are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupByArg {
    /// A document is one hit, by its best chunk.
    Document,
}

/// What comes beside ids and scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IncludeArg {
    /// The chunks' texts.
    Text,
    /// The documents' metadata.
    Metadata,
    /// The chunks' embeddings.
    Vectors,
    /// Nothing.
    None,
}

/// What texts to embed are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// What is looked for.
    Query,
    /// What is found.
    Document,
}

impl From<KindArg> for TextKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Query => Self::Query,
            KindArg::Document => Self::Document,
        }
    }
}

/// A record, as `TOPIC[PARTITION]@OFFSET`: how Livedex prints it everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AfterArg(pub(crate) SourcePosition);

impl FromStr for AfterArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = || {
            let (place, offset) = text.rsplit_once('@')?;
            let (topic, partition) = place.strip_suffix(']')?.rsplit_once('[')?;
            // A sign is no part of a number here.
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            (!topic.is_empty() && digits(partition) && digits(offset)).then_some(())?;
            let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
            Some(Self(SourcePosition { topic: topic.into(), partition, offset }))
        };
        position().ok_or_else(|| {
            "expected TOPIC[PARTITION]@OFFSET, such as livedex.documents[0]@17".to_owned()
        })
    }
}

/// A score: any number, but a number. JSON has no other, and would say nothing at all.
pub(crate) fn score(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number: &f32| number.is_finite());
    number.ok_or_else(|| "expected a number, such as 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_a_number() {
        assert_eq!(score("0.25"), Ok(0.25));
        for text in ["", "half", "nan", "inf", "-inf", "1e99"] {
            assert!(score(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_record_is_a_topic_a_partition_and_an_offset() {
        let parsed = "a.b[3]@17".parse();
        let position = SourcePosition { topic: "a.b".into(), partition: 3, offset: 17 };
        assert_eq!(parsed, Ok(AfterArg(position)));
        let wrong = ["", "t", "t[0]", "t@1", "[0]@1", "t[a]@1", "t[0]@x", "t[-1]@1", "t[0]@+1"];
        for text in wrong {
            let error = text.parse::<AfterArg>();
            assert!(error.is_err_and(|error| error.contains("TOPIC[PARTITION]@OFFSET")), "{text}");
        }
        let too_large = format!("t[{}]@1", i64::MAX);
        assert!(too_large.parse::<AfterArg>().is_err());
    }
}
