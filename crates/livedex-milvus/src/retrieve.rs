//! The `Retriever`: stage 1 of a query.

use async_trait::async_trait;
use livedex_core::{
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
    schema::{all_but_vector, field},
};

#[async_trait]
impl Retriever for Collection {
    async fn rows(&self) -> Result<Option<u64>, ServiceError> {
        self.count().await.map(Some)
    }

    /// Candidates by cosine similarity, best first; equal ones by key.
    async fn search(&self, request: &SearchRequest) -> Result<Vec<Candidate>, ServiceError> {
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        let Route::Dense(vector) = &request.route else {
            return Err(ServiceError::Reject("no BM25".to_owned()));
        };
        if vector.len() != self.dimension() {
            return Err(ServiceError::Reject(format!(
                "the query's vector has {} numbers, the collection has {}",
                vector.len(),
                self.dimension()
            )));
        }
        let filter = render(request.filter.as_ref(), request.tenant.as_ref())
            .map_err(|error| ServiceError::Reject(error.to_string()))?;
        let mut candidates = match self.ask(request, vector, &filter, &all_but_vector()).await {
            Ok(response) => response.results().iter().next().map_or(Ok(Vec::new()), whole)?,
            // Long texts: keys first, then their rows in pages. The key is named because to Milvus
            // Lite no field at all means every field.
            Err(failure) if failure.kind == Kind::ReplyTooLarge => {
                let response = self.ask(request, vector, &filter, &[field::ID]).await?;
                match response.results().iter().next() {
                    Some(found) => self.fetch(found, request.consistency).await?,
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
        ""
    }

    fn has_bm25(&self) -> bool {
        false
    }

    async fn passages(&self, _request: &PassageRequest) -> Result<Vec<Passage>, ServiceError> {
        Err(ServiceError::Reject("no passages".to_owned()))
    }
}

impl Collection {
    async fn ask(
        &self,
        request: &SearchRequest,
        vector: &[f32],
        filter: &str,
        fields: &[&str],
    ) -> Result<SearchResponse, Failure> {
        let _reading = self.milvus.reading().await;
        let attempt = || async {
            let search = Search::builder()
                .collection_name(self.name())
                .vector_field(field::VECTOR)
                .vectors(SearchVectors::Float(vec![vector.to_vec()]))
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
        consistency: Consistency,
    ) -> Result<Vec<Candidate>, ServiceError> {
        let ids = keys(found)?;
        let keys: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut rows = self.fields_by_key(&keys, level(consistency)).await?;
        let scored = ids.iter().zip(found.get_scores());
        Ok(scored
            .filter_map(|(id, score)| {
                let fields = rows.remove(&ChunkId::from_stored(id))?;
                Some(Candidate { fields, score: cosine(*score), vector: None })
            })
            .collect())
    }
}

/// The candidates of a search with fields.
fn whole(found: &SingleResult) -> Result<Vec<Candidate>, ServiceError> {
    let ids = keys(found)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = Columns::new(found.get_output_fields(), ids.len()).chunk_fields(ids)?;
    let scored = rows.into_iter().zip(found.get_scores());
    Ok(scored
        .map(|(fields, score)| Candidate { fields, score: cosine(*score), vector: None })
        .collect())
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

/// Both servers answer with the cosine itself, off by rounding.
fn cosine(score: f32) -> f32 {
    score.clamp(-1.0, 1.0)
}

fn level(consistency: Consistency) -> ConsistencyLevel {
    match consistency {
        Consistency::Strong => ConsistencyLevel::Strong,
        Consistency::Bounded => ConsistencyLevel::Bounded,
        Consistency::Eventually => ConsistencyLevel::Eventually,
    }
}
