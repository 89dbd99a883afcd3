//! `livedex dlq list`: dead letters a line each, and how many there are of each class.

use std::{collections::BTreeMap, process::ExitCode};

use livedex_core::{
    dead_letter::{DeadLetter, ForeignRecord},
    record::SourcePosition,
};
use livedex_kafka::{DeadLetterReader, KafkaConfig, Start};
use livedex_wire::dead_letter::DeadLetterV1;

use super::{page::Page, place, selection, visible};
use crate::{
    cli::DlqListArgs,
    commands::{note, print, write},
};

/// Classes that are counted by name. Livedex has a few dozen; a header may hold anything.
const MAX_CLASSES: usize = 1000;

/// Where those beyond are counted.
const OTHER_CLASSES: &str = "other classes";

/// Lists, and fails only if the topic cannot be read.
pub(super) async fn run(kafka: &KafkaConfig, args: &DlqListArgs) -> anyhow::Result<ExitCode> {
    let selection = selection(&args.filter)?;
    let start = Start { since_ms: selection.since_ms, ..Start::default() };
    let mut reader = DeadLetterReader::open(kafka, start).await?;
    let limit = args.limit.unwrap_or(u64::MAX);
    let (mut tally, mut page) = (Tally::default(), Page::default());
    let (mut is_read, mut ended) = (true, Ok(()));
    while is_read && tally.n_letters < limit {
        let records = match reader.next().await {
            None => break,
            Some(Ok(records)) => records,
            Some(Err(error)) => {
                ended = Err(error);
                break;
            }
        };
        let mut lines = Vec::new();
        for record in records {
            let position = record.position.clone();
            match DeadLetter::read(record) {
                Err(foreign) => tally.foreign(position, foreign),
                Ok(letter) if !selection.has(&letter) => {}
                Ok(_) if tally.n_letters == limit => break,
                Ok(letter) => {
                    tally.letter(&letter.class);
                    if args.json {
                        lines.extend(DeadLetterV1::new(&letter).to_json());
                        lines.push(b'\n');
                    } else if let Some(text) = page.add(&letter) {
                        lines.extend(text.into_bytes());
                        lines.push(b'\n');
                    }
                }
            }
        }
        // `livedex dlq list | head`: nobody reads the rest.
        is_read = write(&lines);
    }
    // Also before an error: what was read is listed.
    page.take().iter().for_each(|text| print(text));
    ended?;
    match args.json {
        // Standard output is for the objects.
        true => tally.foreign_line().iter().for_each(|line| note(line)),
        false => print(&tally.lines().join("\n")),
    }
    Ok(ExitCode::SUCCESS)
}

/// What was found.
#[derive(Default)]
struct Tally {
    n_letters: u64,
    classes: BTreeMap<String, u64>,
    n_foreign: u64,
    first_foreign: Option<(SourcePosition, ForeignRecord)>,
}

impl Tally {
    fn letter(&mut self, class: &str) {
        self.n_letters += 1;
        let is_counted = self.classes.len() < MAX_CLASSES || self.classes.contains_key(class);
        let name = if is_counted { class } else { OTHER_CLASSES };
        *self.classes.entry(name.to_owned()).or_default() += 1;
    }

    fn foreign(&mut self, position: SourcePosition, foreign: ForeignRecord) {
        self.n_foreign += 1;
        self.first_foreign.get_or_insert((position, foreign));
    }

    fn lines(&self) -> Vec<String> {
        let total = match self.n_letters {
            0 => "no dead letters".to_owned(),
            1 => "1 dead letter".to_owned(),
            n => format!("{n} dead letters"),
        };
        // The most frequent first.
        let mut classes: Vec<(&String, &u64)> = self.classes.iter().collect();
        classes.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let mut lines = vec![total];
        lines.extend(classes.into_iter().map(|(class, n)| format!("{n:>8} {}", visible(class))));
        lines.extend(self.foreign_line());
        lines
    }

    fn foreign_line(&self) -> Option<String> {
        let (position, foreign) = self.first_foreign.as_ref()?;
        Some(format!(
            "not listed: {} that no dead letter is, the first at {} ({foreign})",
            match self.n_foreign {
                1 => "1 record".to_owned(),
                n => format!("{n} records"),
            },
            place(position)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_the_most_frequent_first() {
        let mut tally = Tally::default();
        assert_eq!(tally.lines(), ["no dead letters"]);
        for class in ["DecodeError.Key", "StoreError.Read", "DecodeError.Json", "StoreError.Read"] {
            tally.letter(class);
        }
        let position = SourcePosition { topic: "dlq".into(), partition: 2, offset: 5 };
        tally.foreign(position.clone(), ForeignRecord::Missing("x"));
        tally.foreign(SourcePosition { offset: 6, ..position }, ForeignRecord::Malformed("y"));
        assert_eq!(
            tally.lines(),
            [
                "4 dead letters",
                "       2 StoreError.Read",
                "       1 DecodeError.Json",
                "       1 DecodeError.Key",
                "not listed: 2 records that no dead letter is, the first at 2:5 (it has no header x)",
            ]
        );
    }

    #[test]
    fn no_end_of_classes_takes_no_end_of_memory() {
        let mut tally = Tally::default();
        for n in 0..MAX_CLASSES + 5 {
            tally.letter(&format!("class {n}"));
        }
        tally.letter("class 0");
        assert_eq!((tally.classes.len(), tally.classes[OTHER_CLASSES]), (MAX_CLASSES + 1, 5));
        assert_eq!(tally.classes["class 0"], 2);
    }
}
