//! The JSON Schemas of all contracts, as they stand in `schemas/`.

/// Name (`document.v1`) and text of every schema.
pub fn all() -> &'static [(&'static str, &'static str)] {
    &[
        ("document.v1", include_str!("../../../schemas/document.v1.json")),
        ("query.v1", include_str!("../../../schemas/query.v1.json")),
        ("reply.v1", include_str!("../../../schemas/reply.v1.json")),
        ("rerank.v1", include_str!("../../../schemas/rerank.v1.json")),
        ("rerank_reply.v1", include_str!("../../../schemas/rerank_reply.v1.json")),
        ("embed.v1", include_str!("../../../schemas/embed.v1.json")),
        ("embed_reply.v1", include_str!("../../../schemas/embed_reply.v1.json")),
        ("documents_get.v1", include_str!("../../../schemas/documents_get.v1.json")),
        ("documents_reply.v1", include_str!("../../../schemas/documents_reply.v1.json")),
        ("error.v1", include_str!("../../../schemas/error.v1.json")),
        ("status.v1", include_str!("../../../schemas/status.v1.json")),
        ("worker_status.v1", include_str!("../../../schemas/worker_status.v1.json")),
        ("dead_letter.v1", include_str!("../../../schemas/dead_letter.v1.json")),
        ("watermarks.v1", include_str!("../../../schemas/watermarks.v1.json")),
        ("room.v1", include_str!("../../../schemas/room.v1.json")),
    ]
}
