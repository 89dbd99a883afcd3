//! The scheduler's bounds, with unit and reason. What an operator may want to move is in
//! [`RuntimeConfig`](crate::runtime::RuntimeConfig), and its default stands here.

use std::{ops::RangeInclusive, time::Duration};

/// Tokens of one query batch by default: what a reranking computes before a query to embed can
/// overtake it. A smaller one would compute the prefix that candidates share more often.
pub const DEFAULT_TOKEN_BUDGET: usize = 4096;

/// Tokens of one ingest batch by default. On two CPU cores the small default model needs 70 ms for
/// it, which is what a query waits at most before it overtakes; a batch four times as large
/// gains nothing there, since matrix products are at full speed from a few hundred rows on.
pub const DEFAULT_INGEST_TOKEN_BUDGET: usize = 1024;

/// Token budgets that are measured on an asynchronous device: below the first no GPU is at full speed,
/// and above the last none gains, while attention and activations take gigabytes.
pub const MEASURED_TOKENS: RangeInclusive<usize> = 2048..=65_536;

/// The smallest budget that is measured where the first of those does not fit, or takes too long.
pub const MEASURED_TOKENS_AT_LEAST: usize = 256;

/// Tokens of a sequence in those batches, or as many as the model reads: long enough for attention to
/// show, and as long as a large chunk.
pub const MEASURED_SEQUENCE: usize = 512;

/// How long an ingest batch may take at most where its budget is measured: a query waits for it.
pub const MEASURED_INGEST_TIME: Duration = Duration::from_millis(25);

/// What a configured token budget may be, in tokens. Below 64 hardly a sentence fits; at
/// 1,048,576 the activations of one layer of an 8B model alone take 16 GiB.
pub const TOKEN_BUDGET_RANGE: RangeInclusive<usize> = MIN_TOKEN_BUDGET..=1 << 20;

/// Tokens below which running out of memory does not halve the budget any further: a batch
/// this small costs as much as one of a single token, so a smaller one gains nothing.
pub const MIN_TOKEN_BUDGET: usize = 64;

/// How long the first text of an incomplete ingest batch waits for company by default. Far
/// below the time of a batch, and enough for texts that are tokenized one after the other.
pub const DEFAULT_LINGER: Duration = Duration::from_millis(5);

/// The longest linger that can be configured: a longer one only delays the last texts of a
/// quiet stream.
pub const MAX_LINGER: Duration = Duration::from_secs(1);

/// Requests in the query lane by default, running ones included. Twice what the query service
/// admits by default: a request whose caller has gone keeps its slot until the running batch
/// ends.
pub const DEFAULT_QUERY_QUEUE: usize = 128;

/// Texts in the ingest lane by default, running ones included: dozens of batches of ordinary
/// chunks, so that the device never waits for a tokenizer; 32 MiB of ids at 8,192 tokens each.
pub const DEFAULT_INGEST_QUEUE: usize = 1024;

/// What either queue may be, in requests or texts. The channel to the device thread is
/// allocated for both queues at start, at some hundred bytes an entry.
pub const QUEUE_RANGE: RangeInclusive<usize> = 1..=65_536;

/// Threads that can be configured: more than any machine's cores is a typing error.
pub const MAX_THREADS: usize = 1024;

/// Texts that are tokenized in one go off the async runtime: some milliseconds of work, so the
/// hop between threads does not show, and the first batch need not wait for the last text.
pub const TOKENIZE_PIECE: usize = 64;

/// Parts of a long document at most, where the best one's score is the document's; what is behind
/// them is cut and counted. It bounds what one candidate costs: 16 parts are some 7,000 tokens
/// for a model of 512, 130,000 for one of 8,192, and a candidate is a chunk of a few hundred.
pub const MAX_PARTS: usize = 16;

/// Tokens that neighbouring parts of a long document have in common, at most an eighth of a part:
/// about two sentences, so that what is cut in one is whole in the other.
pub const PART_OVERLAP: usize = 64;

/// How many ingest batches' worth of work the query lane may do while texts wait before one ingest
/// batch goes first. So ingest keeps at least a fifth of a saturated device and slows
/// queries by a quarter at most.
///
/// Counted in tokens, not in batches: a batch may be one query of ten tokens, and ingest would
/// take nearly all of the device after every few of them. Not in time either: how long a
/// batch takes differs by 1,000 between a small CPU and a large GPU, and no duration is
/// right for both.
pub const AGEING_BUDGETS: usize = 4;

/// How long after a query ingest still forms the smaller batches that it has beside queries, on a device
/// with a queue of its own. Long enough for a person's next question, so that all but the
/// first query after a pause find the shorter wait; and since batches of half the budget are nearly
/// as efficient, a longer one than needed costs ingest little.
pub const QUERIES_ACTIVE: Duration = Duration::from_secs(10);

/// Batches that are on an asynchronous device at most: one runs and one lies behind it, so that the
/// device has the next one when it ends one. More would add to what a query waits for, and to
/// the memory that is taken, and gain nothing as long as a batch takes longer than its submission.
pub const BATCHES_IN_FLIGHT: usize = 2;

/// How long a batch may be on an asynchronous device by default before the device counts as
/// dead: a thousand times what a batch takes, and room for what a driver compiles at first use.
pub const DEFAULT_WATCHDOG: Duration = Duration::from_secs(60);

/// The longest watchdog that can be configured: a longer one is none.
pub const MAX_WATCHDOG: Duration = Duration::from_secs(3600);

/// How long a process has by default to end after its device was found hanging, before it is aborted.
pub const DEFAULT_ABORT_AFTER: Duration = Duration::from_secs(30);

/// How often the device's memory is looked at, at most: it is a call to the driver.
pub const MEMORY_INTERVAL: Duration = Duration::from_secs(1);

/// The least that a query batch counts for ageing, as a part of the ingest budget (one
/// eighth): a batch of few tokens costs more time than its tokens say, because the
/// weights are read once for it too.
pub const AGEING_MIN_CHARGE: usize = 8;

/// How far an embedding's L2 norm may be from 1. Normalising in bf16 is off by up to
/// 2^-8; anything beyond this is not rounding.
pub const NORM_TOLERANCE: f64 = 1e-2;
