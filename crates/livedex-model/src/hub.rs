//! Models from a hub: downloaded once, into the cache that Hugging Face's own tools share.
//!
//! The commit is asked for first and every file is taken from that commit, so that an update on
//! the hub never mixes two versions. The branch's entry in the cache is written last: it means
//! that the snapshot is whole, and it is what an offline start uses.

use std::{path::PathBuf, sync::mpsc, time::Duration};

use hf_hub::{
    Cache, Repo, RepoType,
    api::{
        RepoInfo,
        sync::{ApiBuilder, ApiError, ApiRepo},
    },
};

use crate::{error::LoadError, spec::ModelSource};

const ENDPOINT: &str = "https://huggingface.co";

/// How long the hub may take to say what a repository holds. hf-hub sets no deadline of its own.
const INFO_TIMEOUT: Duration = Duration::from_secs(20);

/// The folder with a hub model's files; downloads what the cache lacks. Blocking.
pub(crate) fn fetch(source: &ModelSource) -> Result<PathBuf, LoadError> {
    let ModelSource::Hub { repo, revision, endpoint, token, cache_dir } = source else {
        unreachable!("only hub sources are fetched");
    };
    let endpoint =
        endpoint.as_deref().filter(|e| !e.is_empty()).unwrap_or(ENDPOINT).trim_end_matches('/');
    let revision = revision.as_deref().unwrap_or("main");
    let cache = match cache_dir {
        Some(dir) => Cache::new(dir.clone()),
        None => Cache::from_env(),
    };
    let failed =
        |what: String| LoadError::Hub { repo: repo.clone(), endpoint: endpoint.to_owned(), what };
    let at =
        |revision: &str| Repo::with_revision(repo.clone(), RepoType::Model, revision.to_owned());
    let cached = |revision: &str| {
        cache
            .repo(at(revision))
            .get("config.json")
            .and_then(|path| path.parent().map(PathBuf::from))
    };
    // A commit never changes: nothing to ask.
    let is_commit = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
    if is_commit && let Some(folder) = cached(revision) {
        return Ok(folder);
    }

    let mut builder = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(endpoint.to_owned())
        .with_progress(false)
        .with_retries(3)
        .with_user_agent("livedex", env!("CARGO_PKG_VERSION"));
    if token.is_some() {
        builder = builder.with_token(token.clone());
    }
    let api = builder.build().map_err(|e| failed(e.to_string()))?;
    let info = match info_in_time(api.repo(at(revision))) {
        Ok(info) => info,
        Err(why) => {
            if let Some(folder) = cached(revision) {
                tracing::warn!(%repo, endpoint, %why, "the hub does not answer; using the cached model");
                return Ok(folder);
            }
            return Err(failed(format!(
                "{why}; check the name, the network and the token, or download the model's files and name their folder instead"
            )));
        }
    };
    if info.sha.len() < 7 || !info.sha.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(failed(format!("its commit {:?} is none", info.sha)));
    }
    let commit = api.repo(at(&info.sha));
    let mut folder = None;
    for name in wanted(&info) {
        tracing::info!(%repo, file = name, "getting model file");
        let path = commit.get(name).map_err(|e| failed(format!("{name}: {}", explain(&e))))?;
        if name == "config.json" {
            folder = path.parent().map(PathBuf::from);
        }
    }
    let folder =
        folder.ok_or_else(|| failed("it has no config.json, so it holds no model".into()))?;
    cache
        .repo(at(revision))
        .create_ref(&info.sha)
        .map_err(|e| failed(format!("cannot write the cache: {e}")))?;
    Ok(folder)
}

/// The files of a repository that a model is loaded from, weights last.
fn wanted(info: &RepoInfo) -> Vec<&str> {
    const SMALL: [&str; 7] = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "model.safetensors.index.json",
    ];
    let names = || info.siblings.iter().map(|s| s.rfilename.as_str());
    // Settings of a module: 1_Pooling/config.json and its like.
    let is_module = |name: &str| {
        name.strip_suffix("/config.json")
            .is_some_and(|dir| dir.starts_with(|c: char| c.is_ascii_digit()) && !dir.contains('/'))
    };
    let whole = names().any(|name| name == "model.safetensors");
    let is_weights = |name: &str| {
        name == "model.safetensors"
            || !whole && name.starts_with("model-") && name.ends_with(".safetensors")
    };
    names()
        .filter(|name| SMALL.contains(name) || is_module(name))
        .chain(names().filter(|name| is_weights(name)))
        .collect()
}

/// Asks what a repository holds, on a thread of its own so that a silent hub cannot hold up a
/// start for ever. (The thread ends with its connection.)
fn info_in_time(repo: ApiRepo) -> Result<RepoInfo, String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(repo.info()));
    match receive.recv_timeout(INFO_TIMEOUT) {
        Ok(answer) => answer.map_err(|e| explain(&e)),
        Err(_) => Err(format!("no answer within {} s", INFO_TIMEOUT.as_secs())),
    }
}

fn explain(error: &ApiError) -> String {
    match error {
        ApiError::RequestError(e) => e.to_string(),
        ApiError::LockAcquisition(path) => {
            format!("another process is downloading it ({})", path.display())
        }
        other => other.to_string(),
    }
}
