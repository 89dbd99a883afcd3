//! Every bound of the domain, with its unit and its reason (INV-5).
//!
//! What an operator may want to move is configuration, and its default stands here.

/// Bytes of a document id. Milvus' VARCHAR fields have a byte limit that must be declared;
/// 1,024 holds any path or URL people use as a key.
pub const MAX_DOCUMENT_ID_BYTES: usize = 1024;

/// Bytes of a tenant name: a name or a UUID, with room.
pub const MAX_TENANT_BYTES: usize = 256;

/// Bytes of a title, as stored beside every chunk.
pub const MAX_TITLE_BYTES: usize = 4096;

/// Bytes of a URL, as stored beside every chunk.
pub const MAX_URL_BYTES: usize = 4096;

/// Bytes of a version string.
pub const MAX_VERSION_BYTES: usize = 256;

/// Bytes of a document's metadata as JSON. Milvus' JSON field takes 65,536.
pub const MAX_METADATA_BYTES: usize = 32 * 1024;

/// Keys of a document's metadata.
pub const MAX_METADATA_KEYS: usize = 64;

/// Bytes of one key of a document's metadata.
pub const MAX_METADATA_KEY_BYTES: usize = 256;

/// Bytes of one chunk's text. Milvus' VARCHAR limit is 65,535.
pub const MAX_CHUNK_TEXT_BYTES: usize = 65_535;

/// Bytes of a chunk's heading path; longer ones are cut at a character.
pub const MAX_HEADING_BYTES: usize = 1024;

/// Bytes of one record's value by default. Beyond it the record becomes a dead letter. Kafka's
/// own default for a topic is 1 MiB; 10 MiB is what people raise it to.
pub const DEFAULT_MAX_DOCUMENT_BYTES: usize = 10 * 1024 * 1024;

/// Chunks of one document. 16,384 is Milvus' limit for one query's result window, which the
/// diff query of a document must fit.
pub const MAX_CHUNKS_PER_DOCUMENT: usize = 16_384;

/// Tokens of one chunk by default: long enough for a paragraph, short enough that a
/// cross-encoder with 256 positions reads query and chunk whole.
pub const DEFAULT_CHUNK_TOKENS: usize = 200;

/// The least tokens of one chunk: half of it must hold any one character (a byte-level tokenizer
/// makes up to four tokens of one, some normalisations eighteen characters).
pub const MIN_CHUNK_TOKENS: usize = 48;

/// Tokens that two neighbouring chunks share by default.
pub const DEFAULT_CHUNK_OVERLAP_TOKENS: usize = 0;

/// Levels of elements in an HTML page. Real pages have some 30, browsers stop at 512; walking them
/// takes stack.
pub const MAX_HTML_DEPTH: usize = 200;

/// Rows of one Milvus upsert.
pub const MAX_UPSERT_ROWS: usize = 1000;

/// Bytes of one Milvus upsert. The RPC limit is 64 MiB; maintainers advise far less
/// (milvus discussion #32754).
pub const MAX_UPSERT_BYTES: usize = 8 * 1024 * 1024;

/// Rows of a wave that are embedded and written at once: their vectors are held in memory. The
/// document that crosses it is still taken, so that there are less than this and
/// [`MAX_CHUNKS_PER_DOCUMENT`]. A wave of 8 MiB of prose has some 10,000 and is not cut.
pub const MAX_WAVE_ROWS: usize = 16_384;

/// Documents of one diff query: a wave by default. Their ids, 256 KiB at the longest, stay far below
/// the RPC limit; and a query costs Milvus Lite a look at every unflushed row, whatever it asks for.
pub const MAX_DIFF_DOCUMENTS: usize = 256;

/// Bytes of a query's text.
pub const MAX_QUERY_BYTES: usize = 16 * 1024;

/// Bytes of an instruction.
pub const MAX_INSTRUCTION_BYTES: usize = 4 * 1024;

/// Hits of one reply.
pub const MAX_TOP_K: usize = 100;

/// Hits of a reply by default.
pub const DEFAULT_TOP_K: usize = 10;

/// Candidates of one query: each costs a forward pass of the cross-encoder.
pub const MAX_CANDIDATES: usize = 500;

/// Texts of one query, each of them a search of its own in stage 1.
pub const MAX_QUERIES: usize = 8;

/// Chunks on each side of a hit that come with it.
pub const MAX_NEIGHBOURS: usize = 5;

/// Other chunks of a document that are shown below its best one.
pub const MAX_PASSAGES: usize = 20;

/// Records that a query waits for: a producer's last batch over all partitions of a wide topic.
pub const MAX_AFTER: usize = 64;

/// Bytes of a topic's name: Kafka's own limit.
pub const MAX_TOPIC_BYTES: usize = 249;

/// Bytes of a collection's name: Milvus' own limit.
pub const MAX_COLLECTION_BYTES: usize = 255;

/// Texts that one request has scored: as many as candidates of a query.
pub const MAX_RERANK_DOCUMENTS: usize = MAX_CANDIDATES;

/// Texts that one request has embedded. As JSON a vector of 1,024 numbers has some 11 kB, so that far
/// more would not fit a NATS message of 1 MiB.
pub const MAX_EMBED_TEXTS: usize = 64;

/// Chunks of a document in one reply.
pub const MAX_PAGE_CHUNKS: usize = 1000;

/// Candidates of a query by default.
pub const DEFAULT_CANDIDATES: usize = 50;

/// Nodes of a filter tree.
pub const MAX_FILTER_NODES: usize = 64;

/// Depth of a filter tree, the root being 1.
pub const MAX_FILTER_DEPTH: usize = 8;

/// Values of one `in` list.
pub const MAX_FILTER_VALUES: usize = 256;

/// Bytes of one string in a filter.
pub const MAX_FILTER_STRING_BYTES: usize = 1024;
