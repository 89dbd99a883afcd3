//! The command line of `livedex dlq`.

use std::str::FromStr;

use clap::{Args, Subcommand};

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters, and count them by class
    ///
    /// Reads the dead-letter topic (kafka.dead_letter_topic) up to its end as it is at the start,
    /// in no group. No document's text is printed.
    List(DlqListArgs),
    /// Show one dead letter whole: reason, headers, key, and what its value is
    Show(DlqShowArgs),
    /// Send records back to the topics they came from, once the cause is gone
    #[command(after_long_help = REPLAY_HELP)]
    Replay(DlqReplayArgs),
}

const REPLAY_HELP: &str = "\
What is sent: key, value and headers as they came, and the header livedex-replayed-from with the \
position where the record stood first. Ingestion goes by that position: a record that is replayed \
after a newer version of its document came does not take its place, and one that is replayed twice \
changes nothing. Every other consumer of the topic sees the record again.

Where it goes on: each replay begins at the mark, which stands behind the last letter that was \
replayed (the committed offset of the group <kafka.group>.dlq-replay); --all begins at the first \
letter. The mark moves as letters are replayed, and only where nothing narrows or redirects the \
replay: filters, named letters, --to and --dry-run leave it alone. A replay that is killed sends \
some letters twice when it is started again, and leaves none out.

What is skipped: a letter without its value (too large for the dead-letter topic), and a record that \
is no dead letter; the mark passes both. A letter whose topic does not exist or refuses its size is \
skipped, too, and the mark stays before it. Each is counted with its reason.

Exit codes:
  0  everything that was meant was replayed, which may be nothing
  1  the replay ended early; what was sent until then is printed
  2  the command line is wrong
  3  letters were skipped";

/// Which dead letters are meant; all of them if nothing is given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct DlqFilterArgs {
    /// Of this class, such as DecodeError.Json, or of all classes below it, such as DecodeError
    #[arg(long, value_name = "CLASS")]
    pub(crate) reason: Option<String>,
    /// Refused at this step: decode, chunk, embed or write
    #[arg(long)]
    pub(crate) stage: Option<String>,
    /// Written at this time or later: 2h (ago), 1d, 2026-05-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Written before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Of records that came from this topic
    #[arg(long, value_name = "TOPIC")]
    pub(crate) source_topic: Option<String>,
    /// Of records with this key
    #[arg(long)]
    pub(crate) key: Option<String>,
}

/// Arguments of `dlq list`.
#[derive(Debug, Args)]
pub(crate) struct DlqListArgs {
    /// The stream whose dead letters they are [default: the only one, or the one of kafka.topic]
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// List so many at most
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Print one dead_letter.v1 object a line
    #[arg(long)]
    pub(crate) json: bool,
    // Last: its heading would be that of what follows.
    #[command(flatten)]
    pub(crate) filter: DlqFilterArgs,
}

/// Arguments of `dlq show`.
#[derive(Debug, Args)]
pub(crate) struct DlqShowArgs {
    /// Where it lies in the dead-letter topic: the first column of the list
    #[arg(value_name = "PARTITION:OFFSET")]
    pub(crate) letter: Place,
    /// The stream whose dead letters they are [default: the only one, or the one of kafka.topic]
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Print the record's value, byte for byte, and nothing else
    #[arg(long)]
    pub(crate) value: bool,
}

/// Arguments of `dlq replay`.
#[derive(Debug, Args)]
pub(crate) struct DlqReplayArgs {
    /// Only these letters, wherever the mark is
    #[arg(value_name = "PARTITION:OFFSET")]
    pub(crate) letters: Vec<Place>,
    /// The stream whose dead letters they are [default: the only one, or the one of kafka.topic]
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Begin at the first letter: also those that were replayed before
    #[arg(long, conflicts_with = "letters")]
    pub(crate) all: bool,
    /// Take so many letters at most
    #[arg(long, value_name = "N", conflicts_with = "letters")]
    pub(crate) limit: Option<u64>,
    /// Send all of them to this topic instead of their own
    #[arg(long, value_name = "TOPIC")]
    pub(crate) to: Option<String>,
    /// Send nothing, and print what would be sent and what skipped
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) filter: DlqFilterArgs,
}

/// A place in the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The partition.
    pub(crate) partition: i32,
    /// The offset.
    pub(crate) offset: i64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.split_once(':').and_then(|(partition, offset)| {
            let place = Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? };
            (place.partition >= 0 && place.offset >= 0).then_some(place)
        });
        place.ok_or_else(|| "expected PARTITION:OFFSET, such as 0:17".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_partition_and_an_offset() {
        assert_eq!("3:17".parse(), Ok(Place { partition: 3, offset: 17 }));
        for text in ["", "17", ":17", "3:", "a:b", "-1:0", "0:-1", "0:1:2"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
