//! The proxy between a gRPC client and a server that counts what it applies.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use tonic::client::Grpc;
use tonic::codec::ProstCodec;

use super::answer::{MilvusStatus, MutationResult};
use super::*;

/// Any request: a text.
#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// A server, how many requests it has applied, and a proxy with a client.
struct Setting {
    applied: Arc<AtomicU64>,
    proxy: MilvusProxy,
    client: Grpc<Channel>,
}

impl Setting {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let applied = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&applied);
        tokio::spawn(serve(listener, move |request, _| {
            let applied = Arc::clone(&counted);
            async move {
                request.into_body().collect().await?;
                applied.fetch_add(1, Ordering::Relaxed);
                Ok(mutation(0, 0, ""))
            }
        }));
        let proxy = MilvusProxy::start(&uri).unwrap();
        let client = Grpc::new(Endpoint::from_shared(proxy.uri()).unwrap().connect_lazy());
        Self { applied, proxy, client }
    }

    async fn call(&mut self, rpc: &str, text: &str) -> Result<MilvusStatus, Status> {
        self.client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = format!("/milvus.proto.milvus.MilvusService/{rpc}").parse().unwrap();
        let request = tonic::Request::new(Text { text: text.to_owned() });
        let codec = ProstCodec::<Text, MutationResult>::default();
        let answer = self.client.unary(request, path, codec).await?;
        Ok(answer.into_inner().status.unwrap())
    }

    fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn writes_are_refused_and_reads_are_not() {
    let mut setting = Setting::new().await;
    setting.proxy.set(Rule::Refuse(Answer::RateLimit));
    let limited = setting.call("Upsert", "row").await.unwrap();
    assert_eq!((limited.code, limited.error_code, limited.retriable), (8, 49, true));
    setting.proxy.set(Rule::Refuse(Answer::WritesDenied));
    let denied = setting.call("Delete", "row").await.unwrap();
    assert_eq!((denied.code, denied.error_code, denied.retriable), (9, 54, false));
    for code in [Code::ResourceExhausted, Code::Unavailable] {
        setting.proxy.set(Rule::Refuse(Answer::Grpc(code)));
        assert_eq!(setting.call("Upsert", "row").await.unwrap_err().code(), code);
    }
    assert_eq!(setting.applied(), 0);
    assert_eq!(setting.call("Query", "row").await.unwrap().code, 0);
    assert_eq!(setting.applied(), 1);
    setting.proxy.set(Rule::Forward);
    assert_eq!(setting.call("Upsert", "row").await.unwrap().code, 0);
    assert_eq!(setting.applied(), 2);
    let counts = Counts { answered: 1, refused: 3, ..Counts::default() };
    assert_eq!(setting.proxy.counts(Rpc::Upsert), counts);
    assert_eq!(setting.proxy.counts(Rpc::Delete), Counts { refused: 1, ..Counts::default() });
}

#[tokio::test]
async fn only_the_marked_are_rejected() {
    let mut setting = Setting::new().await;
    setting.proxy.set(Rule::Reject("BAD".to_owned()));
    assert_eq!(setting.call("Upsert", "one BAD row").await.unwrap().code, 1100);
    assert_eq!(setting.call("Upsert", "a good row").await.unwrap().code, 0);
    assert_eq!(setting.applied(), 1);
    let counts = Counts { answered: 1, rejected: 1, ..Counts::default() };
    assert_eq!(setting.proxy.counts(Rpc::Upsert), counts);
}

#[tokio::test]
async fn answers_are_lost_and_what_they_answer_is_done() {
    let mut setting = Setting::new().await;
    setting.proxy.set(Rule::LoseAnswers(2));
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(
            setting.call("Delete", "row").await.map_or_else(|status| status.code(), |_| Code::Ok),
        );
    }
    assert_eq!(
        (codes[0], codes[1], codes[2], codes[4]),
        (Code::Ok, Code::DeadlineExceeded, Code::Ok, Code::Ok)
    );
    // What a client makes of a reset.
    assert!([Code::Unknown, Code::Unavailable, Code::Internal].contains(&codes[3]), "{codes:?}");
    assert_eq!(setting.applied(), 5);
    let counts =
        Counts { answered: 3, lost_to_deadline: 1, lost_with_connection: 1, ..Counts::default() };
    assert_eq!(setting.proxy.counts(Rpc::Delete), counts);
    assert_eq!(setting.call("Upsert", "row").await.unwrap().code, 0, "each RPC is counted alone");
}
