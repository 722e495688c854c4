//! Questions for people: asks peers for their facts, and answers those of others. Over connections of their own, so that
//! nobody's curiosity holds up a push.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::FACTS_CALL;
use super::calls::Calls;
use super::connector::Connector;
use super::wire::{Progress, Wire};
use crate::causality::NodeId;
use crate::format::facts::{self, Facts, Question};
use crate::format::message;
use crate::node::{Asked, NodeHandle};
use crate::replica::Rejection;

/// Questions are a name and a few numbers.
const MAX_QUESTION_BYTES: usize = 4 << 10;

/// How long an answer may take altogether. Whoever asks waits less.
const PATIENCE: Duration = Duration::from_secs(2);

/// Questions to one peer that are under way at a time.
const MAX_ASKING: usize = 4;

/// Asks one peer, until the node has ended.
pub(super) async fn ask(url: String, mut questions: mpsc::Receiver<Asked>, calls: Calls, connector: Connector) {
    let url: Arc<str> = url.into();
    let calls = Arc::new(calls);
    let mut asking = JoinSet::new();
    while let Some(asked) = questions.recv().await {
        while asking.len() >= MAX_ASKING {
            asking.join_next().await;
        }
        // While the peer did not answer, questions gathered whose askers have given up.
        if !asked.is_wanted() {
            continue;
        }
        let (url, calls, connector) = (url.clone(), calls.clone(), connector.clone());
        asking.spawn(async move {
            // That there is no answer is all that anybody wants to know: the pushes say what is wrong with the way.
            if let Some(facts) = fetch(&url, &calls, &asked.question, &connector).await {
                asked.answer(facts);
            }
        });
    }
}

async fn fetch(url: &str, calls: &Calls, question: &Question, connector: &Connector) -> Option<Facts> {
    // A connection a question: the address may be another node's by the next.
    let client = connector.client(url, &connector.tls()).timeout(PATIENCE).build().ok()?;
    let connect_timeout = connector.timeout(url);
    let wire = Wire { client: &client, url, connect_timeout, progress: Arc::new(Progress::new()) };
    let reply = calls.call(&wire, FACTS_CALL, facts::encode_question(question).into()).await.ok()?;
    let facts = facts::decode_facts(&reply.accepted().ok()?).ok()?;
    question.to.is_none_or(|to| to == facts.node).then_some(facts)
}

/// How often peers are asked although nobody looks, and how soon for the first time.
const EVERY: Duration = Duration::from_secs(15);
const FIRST: Duration = Duration::from_secs(1);

/// Asks all peers from time to time until the node has ended: who looks during a cut sees what was so not long before it.
pub(super) async fn stay_told(node: NodeHandle) {
    let mut pause = FIRST;
    loop {
        tokio::select! {
            // It never gets there.
            _ = node.advanced(u64::MAX) => return,
            () = sleep(pause) => {}
        }
        node.ask(None, PATIENCE).await;
        pause = EVERY;
    }
}

/// Questions of all peers that are answered at a time.
const MAX_ANSWERING: usize = 32;

/// Where questions come in.
#[derive(Clone)]
pub(super) struct Questions {
    node: NodeHandle,
    room: Arc<Semaphore>,
}

impl Questions {
    pub(super) fn new(node: NodeHandle) -> Self {
        Self { node, room: Arc::new(Semaphore::new(MAX_ANSWERING)) }
    }
}

/// Answers a peer's question.
pub(super) async fn answer(State(Questions { node, room }): State<Questions>, request: Request) -> Response {
    let Ok(_place) = room.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many questions at once").into_response();
    };
    match take(node, request).await {
        Ok(facts) => ([(CONTENT_TYPE, message::CONTENT_TYPE)], facts::encode_facts(&facts)).into_response(),
        Err((status, why)) => (status, why).into_response(),
    }
}

async fn take(node: NodeHandle, request: Request) -> Result<Facts, (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    if request.headers().get(CONTENT_TYPE).is_none_or(|found| found != message::CONTENT_TYPE) {
        let expected = format!("expected content of type {}", message::CONTENT_TYPE);
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, expected));
    }
    let body: Body = request.into_body();
    let bytes = tokio::time::timeout(PATIENCE, to_bytes(body, MAX_QUESTION_BYTES)).await;
    let bytes = bytes.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the rest did not come".to_owned()))?;
    let bytes = bytes.map_err(|error| bad(format!("the question is incomplete or too long: {error}")))?;
    let question = facts::decode_question(&bytes).map_err(|error| bad(error.to_string()))?;
    let (own, cluster) = (node.members().own, node.members().cluster.clone());
    if question.cluster != *cluster {
        return Err((StatusCode::FORBIDDEN, Rejection::WrongCluster { actual: cluster }.to_string()));
    }
    if question.from.is_some_and(|from| node.members().removed.contains(&NodeId(from))) {
        return Err((StatusCode::FORBIDDEN, Rejection::Removed { by: own }.to_string()));
    }
    if question.to.is_some_and(|to| NodeId(to) != own) {
        return Err((StatusCode::MISDIRECTED_REQUEST, Rejection::Misdirected { actual: own }.to_string()));
    }
    let facts = tokio::task::spawn_blocking(move || node.facts(question.about)).await;
    let failed = |why: String| (StatusCode::INTERNAL_SERVER_ERROR, why);
    facts.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}
