//! A schema registry for tests: the two calls that a consumer makes, as Confluent's answers them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A running registry; dropping it ends it.
#[derive(Debug)]
pub struct SchemaRegistry {
    address: SocketAddr,
    known: Arc<Known>,
    // Dropped, it ends the server.
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: Mutex<HashMap<u32, Value>>,
    by_subject: Mutex<HashMap<(String, u32), Value>>,
    requests: AtomicUsize,
    /// Not 0: what every call is answered with.
    failure: AtomicU16,
}

impl SchemaRegistry {
    /// Starts it with no schemas.
    pub fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let known = Arc::new(Known::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new()
            .route("/schemas/ids/{id}", get(schema))
            .route("/subjects", get(subjects))
            .route("/subjects/{subject}/versions/{version}", get(version))
            .with_state(known.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("schema-registry".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let serve = axum::serve(listener, router);
                // Either end is the end.
                let _ = tokio::select! {
                    ended = serve => ended.context("serving"),
                    _ = stopped => Ok(()),
                };
            });
        })?;
        Ok(Self { address, known, _stop: stop })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a schema of type AVRO, PROTOBUF or JSON under a number. `references`: name in the
    /// schema, subject and version.
    pub fn add(&self, id: u32, schema_type: &str, schema: &str, references: &[(&str, &str, u32)]) {
        lock(&self.known.by_id).insert(id, answer(id, schema_type, schema, references));
    }

    /// Adds a schema that others refer to.
    pub fn add_subject(
        &self,
        subject: &str,
        version: u32,
        schema_type: &str,
        schema: &str,
        references: &[(&str, &str, u32)],
    ) {
        let answer = answer(1000 + version, schema_type, schema, references);
        lock(&self.known.by_subject).insert((subject.to_owned(), version), answer);
    }

    /// Answers every call with this status from now on; 0 ends it.
    pub fn fail(&self, status: u16) {
        self.known.failure.store(status, Ordering::SeqCst);
    }

    /// Calls so far.
    pub fn requests(&self) -> usize {
        self.known.requests.load(Ordering::SeqCst)
    }
}

fn answer(id: u32, schema_type: &str, schema: &str, references: &[(&str, &str, u32)]) -> Value {
    let references: Vec<Value> = references
        .iter()
        .map(|(name, subject, version)| json!({"name": name, "subject": subject, "version": version}))
        .collect();
    json!({"id": id, "schemaType": schema_type, "schema": schema, "references": references})
}

async fn schema(State(known): State<Arc<Known>>, Path(id): Path<u32>) -> Response {
    let found = lock(&known.by_id).get(&id).cloned();
    reply(&known, found, 40403, "Schema not found")
}

async fn subjects(State(known): State<Arc<Known>>) -> Response {
    let names: Vec<String> =
        lock(&known.by_subject).keys().map(|(subject, _)| subject.clone()).collect();
    reply(&known, Some(json!(names)), 0, "")
}

async fn version(
    State(known): State<Arc<Known>>,
    Path((subject, version)): Path<(String, u32)>,
) -> Response {
    let found = lock(&known.by_subject).get(&(subject, version)).cloned();
    reply(&known, found, 40402, "Version not found")
}

fn reply(known: &Known, found: Option<Value>, missing: u32, message: &str) -> Response {
    known.requests.fetch_add(1, Ordering::SeqCst);
    let failure = known.failure.load(Ordering::SeqCst);
    let (status, body) = match (StatusCode::from_u16(failure), found) {
        (Ok(status), _) => {
            let code = u32::from(failure) * 100;
            (status, json!({"error_code": code, "message": "told to fail"}))
        }
        (Err(_), Some(found)) => (StatusCode::OK, found),
        (Err(_), None) => {
            (StatusCode::NOT_FOUND, json!({"error_code": missing, "message": message}))
        }
    };
    let content_type = [(CONTENT_TYPE, "application/vnd.schemaregistry.v1+json")];
    (status, content_type, body.to_string()).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
