//! Models from a hub, with a stand-in that speaks the three requests that matter.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use livedex_model::{ModelSource, ModelSpec, load_embedder};

use crate::common::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub that holds one repository, `tiny/embedder`, readable with a token.
struct Hub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, seen) = (folder.clone(), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &folder, &seen));
            }
        });
        Self { endpoint, requests }
    }

    fn source(&self, repo: &str, cache: &std::path::Path) -> ModelSource {
        ModelSource::Hub {
            repo: repo.into(),
            revision: None,
            endpoint: Some(self.endpoint.clone()),
            token: Some("hf_secret".into()),
            cache_dir: Some(cache.into()),
        }
    }
}

/// Answers one request and closes.
fn serve(mut stream: TcpStream, folder: &std::path::Path, seen: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else {
        return;
    };
    let headers: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_ascii_lowercase())
        .collect();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(path.clone());
    let (status, extra, body) = if !headers.contains(&"authorization: bearer hf_secret".to_owned())
    {
        ("401 Unauthorized", String::new(), Vec::new())
    } else if path == "/api/models/tiny/embedder/revision/main" {
        let mut names = vec!["README.md".to_owned(), "pytorch_model.bin".to_owned()];
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            names.push(match name.as_str() {
                "1_Pooling" => "1_Pooling/config.json".into(),
                _ => name,
            });
        }
        let siblings: Vec<_> = names.iter().map(|n| serde_json::json!({"rfilename": n})).collect();
        let info = serde_json::json!({"sha": COMMIT, "siblings": siblings});
        ("200 OK", String::new(), info.to_string().into_bytes())
    } else if let Some(name) = path.strip_prefix(&format!("/tiny/embedder/resolve/{COMMIT}/")) {
        let content = std::fs::read(folder.join(name)).unwrap();
        let range = headers.iter().find_map(|h| h.strip_prefix("range: bytes=")).unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        let to = to.parse().map_or(content.len(), |to: usize| to + 1);
        let etag = name.replace('/', "-");
        let extra = format!(
            "etag: \"{etag}\"\r\nx-repo-commit: {COMMIT}\r\ncontent-range: bytes {from}-{}/{}\r\n",
            to - 1,
            content.len()
        );
        ("206 Partial Content", extra, content[from..to].to_vec())
    } else {
        ("404 Not Found", String::new(), Vec::new())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{extra}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

#[test]
fn a_model_is_downloaded_once_and_then_used_offline() {
    let hub = Hub::start(fixture("bert-embed"));
    let cache = tempfile::tempdir().unwrap();
    let spec = ModelSpec::new(hub.source("tiny/embedder", cache.path()));
    let first = embedder(spec.clone());
    assert_eq!(first.info().name, "tiny/embedder");
    let local = embedder(ModelSpec::dir(fixture("bert-embed")));
    assert_eq!(first.info().fingerprint, local.info().fingerprint);
    let requests = std::mem::take(&mut *hub.requests.lock().unwrap());
    assert!(requests.iter().any(|r| r.ends_with("1_Pooling/config.json")));
    assert!(
        !requests.iter().any(|r| r.contains("golden") || r.contains(".bin")),
        "only what is needed: {requests:?}"
    );

    // Again: the hub is asked for the commit, and for no file.
    embedder(spec.clone());
    let requests = std::mem::take(&mut *hub.requests.lock().unwrap());
    assert_eq!(requests, ["/api/models/tiny/embedder/revision/main"]);

    // Without the hub: the cached commit.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let ModelSource::Hub { repo, revision, token, cache_dir, .. } = spec.source.clone() else {
        unreachable!()
    };
    let offline = ModelSpec::new(ModelSource::Hub {
        repo,
        revision,
        endpoint: Some(format!("http://{}", closed.unwrap())),
        token,
        cache_dir,
    });
    assert_eq!(embedder(offline).info().fingerprint, first.info().fingerprint);
}

#[test]
fn a_hub_that_has_no_such_model_or_is_away_is_one_clear_line() {
    let hub = Hub::start(fixture("bert-embed"));
    let cache = tempfile::tempdir().unwrap();
    let check = |source: ModelSource, parts: &[&str]| {
        let error = load_embedder(&ModelSpec::new(source)).err().unwrap();
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains("hf_secret"), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    };
    check(
        hub.source("tiny/nothing", cache.path()),
        &["tiny/nothing", &hub.endpoint, "404", "name their folder"],
    );
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let endpoint = format!("http://{}", closed.unwrap());
    let away = Hub { endpoint: endpoint.clone(), requests: Arc::default() };
    check(away.source("tiny/embedder", cache.path()), &["tiny/embedder", &endpoint, "network"]);
    let source = hub.source("tiny/embedder", cache.path());
    assert!(!format!("{source:?}").contains("hf_secret"));
}
