//! A client of one node.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, ClientBuilder, Method, RequestBuilder};
use serde_json::{Value, json};

use super::until;

/// What a node answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What speaks HTTP, and TLS with whom one of these authorities has issued a certificate, and nobody else.
pub(crate) fn client(authorities: &[String]) -> ClientBuilder {
    // It is there already from the second time on.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = authorities.iter().map(|pem| Certificate::from_pem(pem.as_bytes()).unwrap());
    Client::builder().no_proxy().tls_certs_only(authorities)
}

/// A client of one node.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    base: String,
    client: Client,
}

impl Api {
    /// For the node at this port of this machine.
    pub(crate) fn new(port: u16) -> Self {
        Self::at(format!("http://127.0.0.1:{port}"), client(&[]))
    }

    /// For one that speaks TLS, known by one of these authorities.
    pub(crate) fn over_tls(port: u16, authorities: &[String]) -> Self {
        Self::at(format!("https://127.0.0.1:{port}"), client(authorities))
    }

    /// At an address, by a client of its own kind.
    pub(crate) fn at(base: String, client: ClientBuilder) -> Self {
        Self { base, client: client.timeout(Duration::from_secs(10)).build().unwrap() }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A request that is not sent yet.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// `PATCH /set` with these values, not sent yet. `query` starts with `?` or is empty.
    pub(crate) fn patch(&self, query: &str, values: &Value) -> RequestBuilder {
        let body = json!({ "values": values }).to_string();
        self.request(Method::PATCH, &format!("/set{query}")).header("content-type", "application/json").body(body)
    }

    /// `GET`; any status will do.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await.unwrap()
    }

    /// What the node shows of a series: a metric's name, with its labels as they stand there; `None`: nothing.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        reading(&self.get("/metrics").await.body, series)
    }

    /// Waits until the log is no longer than it may be, about: what was written long before has left it.
    pub(crate) async fn until_trimmed(&self, max_bytes: u64) {
        let log_bytes = async || self.metric("causeway_log_bytes").await.unwrap();
        let trimmed = async || (log_bytes().await <= 1.25 * max_bytes as f64).then_some(());
        until(trimmed, async || format!("the log has {} bytes", log_bytes().await)).await;
    }

    /// Writes one key; must answer `200`.
    pub(crate) async fn set(&self, key: &str, value: &str) -> Answer {
        let answer = send(self.patch("", &json!({ key: value }))).await.unwrap();
        assert_eq!(answer.status, 200, "PATCH /set on {}: {}", self.base, answer.body);
        answer
    }

    /// A plain read: the body of `200`, or `None` for `404`.
    pub(crate) async fn read(&self, key: &str) -> Option<String> {
        let answer = self.get(&format!("/read?key={key}")).await;
        match answer.status {
            200 => Some(answer.body),
            404 => None,
            other => panic!("GET /read?key={key} on {}: {other} {}", self.base, answer.body),
        }
    }

    /// All siblings of a key, each as (value, dot).
    pub(crate) async fn siblings(&self, key: &str) -> BTreeSet<(String, String)> {
        let body = self.get(&format!("/read?key={key}&resolve=all")).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let siblings = body["siblings"].as_array().into_iter().flatten();
        siblings.map(|sibling| (text(&sibling["value"]), text(&sibling["dot"]))).collect()
    }

    /// `GET /status`.
    pub(crate) async fn status(&self) -> Value {
        self.get("/status").await.json()
    }

    /// Whether it answers and takes requests.
    pub(crate) async fn is_ready(&self) -> bool {
        send(self.request(Method::GET, "/readyz")).await.is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until a plain read shows `value`.
    pub(crate) async fn until_reads(&self, key: &str, value: &str) {
        let reads = async || (self.read(key).await.as_deref() == Some(value)).then_some(());
        let describe = async || format!("{key} on {} reads {:?}, not {value}", self.base, self.read(key).await);
        until(reads, describe).await;
    }
}

/// What is shown of a series in what `/metrics` answered.
pub(crate) fn reading(shown: &str, series: &str) -> Option<f64> {
    let value = shown.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: response.text().await? })
}
