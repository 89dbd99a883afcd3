//! The `Retriever`: stage 1 of a query, by embeddings or by words.

use async_trait::async_trait;
use livedex_core::{
    filter::Filter,
    ids::ChunkId,
    ports::{Retriever, ServiceError},
    query::{Candidate, Consistency, Passage, PassageRequest, Route, SearchRequest},
};
use milvus::v2::{
    request::dql::SearchRequest as Search,
    response::dql::SearchResponse,
    types::{ConsistencyLevel, Ids, SearchVectors, SingleResult},
};

use crate::{
    classify::{Failure, Kind},
    collection::Collection,
    columns::Columns,
    filter::render,
    schema::{field, row_fields},
    words,
};

#[async_trait]
impl Retriever for Collection {
    async fn rows(&self) -> Result<Option<u64>, ServiceError> {
        self.count().await.map(Some)
    }

    /// Candidates by cosine similarity or by BM25, best first; equal ones by key.
    async fn search(&self, request: &SearchRequest) -> Result<Vec<Candidate>, ServiceError> {
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        self.check(&request.route)?;
        let filter = render(request.filter.as_ref(), request.tenant.as_ref())
            .map_err(|error| ServiceError::Reject(error.to_string()))?;
        if matches!(&request.route, Route::Bm25(text) if !words::has_word(text)) {
            return Ok(Vec::new());
        }
        let fields = row_fields(request.with_vectors);
        let mut candidates = match self.ask(request, &filter, &fields).await {
            Ok(response) => match response.results().iter().next() {
                Some(found) => whole(found, request)?,
                None => Vec::new(),
            },
            // Long texts or vectors: keys first, then their rows in pages. The key is named because
            // to Milvus Lite no field at all means every field.
            Err(failure) if failure.kind == Kind::ReplyTooLarge => {
                let response = self.ask(request, &filter, &[field::ID]).await?;
                match response.results().iter().next() {
                    Some(found) => self.fetch(found, request).await?,
                    None => Vec::new(),
                }
            }
            Err(failure) => return Err(failure.into()),
        };
        candidates.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then_with(|| a.fields.id.cmp(&b.fields.id))
        });
        Ok(candidates)
    }

    fn identity(&self) -> &str {
        &self.info().identity
    }

    fn check(&self, filter: &Filter) -> Result<(), String> {
        render(Some(filter), None).map(drop).map_err(|error| error.to_string())
    }

    fn has_bm25(&self) -> bool {
        self.info().has_bm25
    }

    async fn passages(&self, request: &PassageRequest) -> Result<Vec<Passage>, ServiceError> {
        self.read_passages(request).await
    }
}

impl Collection {
    /// Whether the collection can be searched like this.
    fn check(&self, route: &Route) -> Result<(), ServiceError> {
        match route {
            Route::Dense(vector) if vector.len() != self.dimension() => {
                Err(ServiceError::Reject(format!(
                    "the query's vector has {} numbers, the collection has {}",
                    vector.len(),
                    self.dimension()
                )))
            }
            Route::Bm25(_) if !self.info().has_bm25 => Err(ServiceError::Reject(format!(
                "collection `{}` cannot be searched by words: it was made with milvus.analyzer \
                 \"none\" or before there was BM25; index into another collection to have it",
                self.name()
            ))),
            Route::Dense(_) | Route::Bm25(_) => Ok(()),
        }
    }

    async fn ask(
        &self,
        request: &SearchRequest,
        filter: &str,
        fields: &[&str],
    ) -> Result<SearchResponse, Failure> {
        let _reading = self.milvus.reading().await;
        let attempt = || async {
            let (field, query) = match &request.route {
                Route::Dense(vector) => (field::VECTOR, SearchVectors::Float(vec![vector.clone()])),
                Route::Bm25(text) => {
                    (words::WORDS, SearchVectors::EmbeddedText(vec![text.clone()]))
                }
            };
            let search = Search::builder()
                .collection_name(self.name())
                .vector_field(field)
                .vectors(query)
                .filter(filter)
                .output_fields(fields.iter().copied())
                .limit(i64::try_from(request.limit).unwrap_or(i64::MAX))
                .consistency_level(level(request.consistency))
                .build()?;
            self.milvus.client().search(search).await
        };
        match self.milvus.read("search", attempt).await {
            Err(failure) if self.reload(&failure).await => {
                self.milvus.read("search", attempt).await
            }
            outcome => outcome,
        }
    }

    /// The candidates of a search without fields. A row that was deleted in between is left out.
    async fn fetch(
        &self,
        found: &SingleResult,
        request: &SearchRequest,
    ) -> Result<Vec<Candidate>, ServiceError> {
        let ids = keys(found)?;
        let keys: Vec<&str> = ids.iter().map(String::as_str).collect();
        let level = level(request.consistency);
        let mut rows = self.rows_by_key(&keys, request.with_vectors, level).await?;
        let scored = ids.iter().zip(found.get_scores());
        Ok(scored
            .filter_map(|(id, score)| {
                let row = rows.remove(&ChunkId::from_stored(id))?;
                Some(candidate(row, *score, &request.route))
            })
            .collect())
    }
}

/// The candidates of a search with fields.
fn whole(found: &SingleResult, request: &SearchRequest) -> Result<Vec<Candidate>, ServiceError> {
    let ids = keys(found)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::new(found.get_output_fields(), ids.len());
    let rows = columns.passages(ids, request.with_vectors)?;
    let scored = rows.into_iter().zip(found.get_scores());
    Ok(scored.map(|(row, score)| candidate(row, *score, &request.route)).collect())
}

fn keys(found: &SingleResult) -> Result<&[String], ServiceError> {
    match found.get_ids() {
        Ids::VarChar(ids) if ids.len() == found.get_scores().len() => Ok(ids),
        ids if ids.is_empty() => Ok(&[]),
        _ => Err(ServiceError::Retry(
            "milvus answered a search with keys that cannot be read".to_owned(),
        )),
    }
}

/// Both servers answer with the cosine itself, off by rounding, and Milvus with the BM25 score;
/// Milvus Lite negates that (`_internal_distance_to_milvus_distance` of milvus_lite 3.2.2).
fn candidate(row: Passage, score: f32, route: &Route) -> Candidate {
    let score = match route {
        Route::Dense(_) => score.clamp(-1.0, 1.0),
        Route::Bm25(_) => score.abs(),
    };
    Candidate { fields: row.fields, score, vector: row.vector }
}

pub(crate) fn level(consistency: Consistency) -> ConsistencyLevel {
    match consistency {
        Consistency::Strong => ConsistencyLevel::Strong,
        Consistency::Bounded => ConsistencyLevel::Bounded,
        Consistency::Eventually => ConsistencyLevel::Eventually,
    }
}
