//! A client of nodes: which of them is asked, and what went wrong, in words.
//!
//! Promises: an answer is bounded in bytes and time. Goes on to the next node only where no request was sent, so that
//! nothing is done twice.

use std::env;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::{Failure, NoAnswer};
use super::nodes::{Nodes, OwnNode, shown};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Streams are silent for no longer than this; whoever is, is taken to be gone.
const SILENCE: Duration = Duration::from_secs(60);

/// How long an answer may take that waits for nothing.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// More than the largest answer of a node with the largest limits.
pub(super) const MAX_ANSWER_BYTES: usize = 256 << 20;

/// The content of a stream of events.
pub(super) const EVENTS: &str = "text/event-stream";

/// A request that any node can be asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    path: &'static str,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
    timeout: Duration,
}

impl Ask {
    pub(super) fn new(method: Method, path: &'static str) -> Self {
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: None, timeout: TIMEOUT }
    }

    pub(super) fn get(path: &'static str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn json(mut self, body: String) -> Self {
        self.body = Some(body);
        self.header("content-type", "application/json")
    }

    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn url(&self, node: &Url) -> Url {
        let mut url = node.clone();
        url.set_path(&format!("{}/{}", node.path().trim_end_matches('/'), self.path));
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// What was asked, without its query.
    url: String,
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A body that is JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| no_node(&self.url, error))
    }

    /// The causal context, which every node's answer to a read or a write has.
    pub(super) fn context(&self) -> Result<&str, Failure> {
        self.header("causal-context").ok_or_else(|| no_node(&self.url, "it has no Causal-Context"))
    }

    /// What of a refusal is for programs, if it has such.
    pub(super) fn problem<T: DeserializeOwned>(&self) -> Option<T> {
        if self.status.is_success() { None } else { self.json().ok() }
    }

    /// It as a refusal.
    pub(super) fn refused(self) -> Failure {
        Failure::Refused { why: why_refused(&self.body), url: self.url, status: self.status }
    }

    /// Itself, unless it is a refusal.
    pub(super) fn taken(self) -> Result<Self, Failure> {
        if self.status.is_success() { Ok(self) } else { Err(self.refused()) }
    }
}

/// Something else than a node answered.
fn no_node(url: &str, why: impl fmt::Display) -> Failure {
    Failure::NotDone(format!("{url}: not the answer of a node: {why}"))
}

/// What a refusal says: of a problem its title and detail, else the text.
fn why_refused(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        title: String,
        detail: String,
    }
    match serde_json::from_slice(body) {
        Ok(Problem { title, detail }) => format!("{title}: {detail}"),
        Err(_) => String::from_utf8_lossy(body).chars().take(200).collect::<String>().trim().to_owned(),
    }
}

/// Asks nodes.
pub(super) struct Client {
    http: reqwest::Client,
    nodes: Vec<Url>,
}

impl Client {
    pub(super) fn new(nodes: &Nodes, own: OwnNode) -> Result<Self, Failure> {
        let (nodes, tls) = nodes.resolve(own)?;
        // Nodes are reached directly: a proxy of the environment is for what is further away.
        let http =
            reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).tls_backend_preconfigured(tls);
        let http = http.default_headers(token()?.into_iter().map(|token| (AUTHORIZATION, token)).collect()).build();
        let http = http.map_err(|error| Failure::NotDone(format!("can't make requests: {}", innermost(&error))))?;
        Ok(Self { http, nodes })
    }

    pub(super) fn nodes(&self) -> &[Url] {
        &self.nodes
    }

    /// Asks the first node that can be reached.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer, Failure> {
        let (node, response) = self.open(&self.nodes, ask, Some(ask.timeout)).await?;
        read(&node, ask, response).await
    }

    /// Asks one node.
    pub(super) async fn ask_node(&self, node: &Url, ask: &Ask) -> Result<Answer, Failure> {
        let (node, response) = self.open(std::slice::from_ref(node), ask, Some(ask.timeout)).await?;
        read(&node, ask, response).await
    }

    /// Asks for a stream of such content, of the first of these nodes that can be reached; says which that is.
    pub(super) async fn stream(
        &self,
        nodes: &[Url],
        ask: &Ask,
        content_type: &str,
    ) -> Result<(Url, Response), Failure> {
        let (node, response) = self.open(nodes, ask, None).await?;
        if !response.status().is_success() {
            return Err(read(&node, ask, response).await?.refused());
        }
        match response.headers().get(CONTENT_TYPE) {
            Some(kind) if kind.as_bytes().starts_with(content_type.as_bytes()) => Ok((node, response)),
            _ => Err(no_node(&bare(ask.url(&node)), format_args!("it is no {content_type}"))),
        }
    }

    async fn open(&self, nodes: &[Url], ask: &Ask, timeout: Option<Duration>) -> Result<(Url, Response), NoAnswer> {
        let mut tried = Vec::new();
        for node in nodes {
            let mut request = self.http.request(ask.method.clone(), ask.url(node));
            request = timeout.into_iter().fold(request, |request, timeout| request.timeout(timeout));
            request = ask.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
            request = ask.body.iter().fold(request, |request, body| request.body(body.clone()));
            // Also a stream begins at once.
            let sent = tokio::time::timeout(timeout.unwrap_or(TIMEOUT), request.send()).await;
            let asked = match sent {
                Ok(Ok(response)) => return Ok((node.clone(), response)),
                Ok(Err(error)) => {
                    tried.push(format!("{}: {}", shown(node), why(&error, ask.timeout)));
                    !error.is_connect()
                }
                Err(_) => {
                    tried.push(format!("{}: {}", shown(node), silent(ask.timeout)));
                    true
                }
            };
            if asked {
                return Err(NoAnswer { tried: tried.join(", "), asked });
            }
        }
        Err(NoAnswer { tried: tried.join(", "), asked: false })
    }
}

/// What lets this environment in at nodes that ask for a token.
fn token() -> Result<Option<HeaderValue>, Failure> {
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let token = match (given("CAUSEWAY_TOKEN"), given("CAUSEWAY_TOKEN_FILE").map(PathBuf::from)) {
        (Some(token), _) => token.into_string().unwrap_or_default(),
        (None, Some(path)) => fs::read_to_string(&path).map_err(|source| Failure::File { path, source })?,
        (None, None) => return Ok(None),
    };
    // What it is is not said.
    let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| Failure::Usage("the token of CAUSEWAY_TOKEN, or of CAUSEWAY_TOKEN_FILE, is none".to_owned()))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

/// Without its query.
fn bare(mut url: Url) -> String {
    url.set_query(None);
    url.into()
}

async fn read(node: &Url, ask: &Ask, mut response: Response) -> Result<Answer, Failure> {
    let url = bare(ask.url(node));
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| cut_off(node, &error, ask.timeout))? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(Failure::NotDone(format!("{url}: the answer has more than {MAX_ANSWER_BYTES} bytes")));
        }
    }
    Ok(Answer { url, status, headers, body })
}

fn cut_off(node: &Url, error: &reqwest::Error, timeout: Duration) -> NoAnswer {
    NoAnswer { tried: format!("{}: {}", shown(node), why(error, timeout)), asked: true }
}

/// The next piece of a stream; `None` when it ended or broke off.
pub(super) async fn next_piece(response: &mut Response) -> Option<Vec<u8>> {
    let piece = tokio::time::timeout(SILENCE, response.chunk()).await;
    piece.ok()?.ok()?.map(Into::into)
}

/// The same of a stream that has an end: `None`. One that broke off is a failure.
pub(super) async fn next_bytes(node: &Url, response: &mut Response) -> Result<Option<Vec<u8>>, Failure> {
    let broke_off = |why: String| Failure::NotDone(format!("{}: the answer broke off: {why}", shown(node)));
    match tokio::time::timeout(SILENCE, response.chunk()).await {
        Ok(Ok(piece)) => Ok(piece.map(Into::into)),
        Ok(Err(error)) => Err(broke_off(innermost(&error))),
        Err(_) => Err(broke_off(silent(SILENCE))),
    }
}

/// Why there was no answer.
pub(super) fn why(error: &reqwest::Error, timeout: Duration) -> String {
    match error.is_timeout() {
        true if error.is_connect() => silent(CONNECT_TIMEOUT),
        true => silent(timeout),
        false => innermost(error),
    }
}

fn silent(timeout: Duration) -> String {
    format!("no answer within {} s", timeout.as_secs())
}

/// The cause that says most: reqwest's own messages only say that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_key_reaches_the_query_as_it_is() {
        let ask = Ask::get("read").query("key", "a b&c=d+é%");
        let url = ask.url(&Url::parse("http://node/base").unwrap());
        assert_eq!(url.as_str(), "http://node/base/read?key=a+b%26c%3Dd%2B%C3%A9%25");
    }
}
