//! Performs steps with reqwest, and says what its errors mean.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use reqwest::redirect::Policy;
use reqwest::{Body, ClientBuilder, Method, Response};
use tokio::time::{timeout, timeout_at};

use crate::error::Error;
use crate::logic::steps::{Answer, Failure, Outcome, Request};

/// A node ends a connection on which nothing is asked for 30 seconds.
const KEPT: Duration = Duration::from_secs(20);

/// What is trusted: what the system does, unless certificates are given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    #[cfg(feature = "rustls")]
    pub(crate) roots: Option<Vec<u8>>,
}

impl Tls {
    /// Where no node is called over it, nothing of the system is looked at: there may be no certificates.
    #[cfg(feature = "rustls")]
    fn apply(&self, builder: ClientBuilder, is_spoken: bool) -> Result<ClientBuilder, Error> {
        use reqwest::Certificate;
        use rustls::crypto::{CryptoProvider, ring};
        // An error means that the program has chosen one meanwhile, which is as good.
        if CryptoProvider::get_default().is_none() {
            let _ = ring::default_provider().install_default();
        }
        let Some(pem) = &self.roots else {
            return Ok(if is_spoken { builder } else { builder.tls_certs_only([]) });
        };
        match Certificate::from_pem_bundle(pem) {
            Ok(roots) if !roots.is_empty() => Ok(builder.tls_certs_only(roots)),
            _ => Err(Error::Unusable("the root certificates are not in PEM".to_owned())),
        }
    }

    #[cfg(not(feature = "rustls"))]
    fn apply(&self, builder: ClientBuilder, _: bool) -> Result<ClientBuilder, Error> {
        Ok(builder)
    }
}

/// What asks nodes.
#[derive(Clone, Debug)]
pub(crate) struct Wire(reqwest::Client);

impl Wire {
    /// Proxies of the environment are not used: nodes are asked one by one. And nothing is sent again that this crate does
    /// not know of.
    pub(crate) fn new(connect_timeout: Duration, tls: &Tls, is_tls_spoken: bool) -> Result<Self, Error> {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(KEPT);
        tls.apply(builder, is_tls_spoken)?
            .build()
            .map(Self)
            .map_err(|error| Error::Unusable(format!("no HTTP client: {}", cause(&error))))
    }

    /// Makes a request and reads its whole answer.
    pub(crate) async fn send(&self, request: Request) -> Outcome {
        let deadline = request.deadline;
        let response = self.open(request).await?;
        whole(response, deadline).await
    }

    /// Makes a request and reads the head of its answer; of an answer that is not good, all.
    pub(crate) async fn open_good(&self, request: Request) -> Result<(Answer, Option<Response>), Failure> {
        let deadline = request.deadline;
        let response = self.open(request).await?;
        match response.status().is_success() {
            true => Ok((head(&response), Some(response))),
            false => Ok((whole(response, deadline).await?, None)),
        }
    }

    async fn open(&self, request: Request) -> Result<Response, Failure> {
        let method = Method::from_bytes(request.method.as_bytes()).unwrap_or_default();
        let is_taken = Arc::new(AtomicBool::new(request.body.is_empty()));
        let body = Sending { body: request.body.into(), is_taken: is_taken.clone() };
        let mut building = self.0.request(method, request.url).body(Body::wrap(body));
        for (name, text) in request.headers {
            building = building.header(name, text);
        }
        match timeout(request.answer_within, building.send()).await {
            Ok(sent) => sent.map_err(|error| failure(&error)),
            Err(_) => {
                let sent = is_taken.load(Ordering::SeqCst);
                let lacking = if sent { "answer" } else { "connection" };
                Err(Failure { sent, reason: format!("no {lacking} in time") })
            }
        }
    }
}

/// The body of a request, which knows whether any of it was taken to be sent: that happens when there is a connection.
struct Sending {
    body: Bytes,
    is_taken: Arc<AtomicBool>,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_taken.store(true, Ordering::SeqCst);
        let body = std::mem::take(&mut self.body);
        Poll::Ready((!body.is_empty()).then(|| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.len() as u64)
    }
}

async fn whole(mut response: Response, deadline: Instant) -> Outcome {
    let mut answer = head(&response);
    loop {
        match timeout_at(deadline.into(), response.chunk()).await {
            Ok(Ok(Some(piece))) => answer.body.extend_from_slice(&piece),
            Ok(Ok(None)) => return Ok(answer),
            Ok(Err(error)) => return Err(failure(&error)),
            Err(_) => return Err(Failure { sent: true, reason: "the answer did not come whole in time".to_owned() }),
        }
    }
}

fn head(response: &Response) -> Answer {
    let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: BTreeMap<_, _> =
        response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Answer { status: response.status().as_u16(), headers, body: Vec::new() }
}

/// A request without a connection, or one that could not be made at all, was not sent.
fn failure(error: &reqwest::Error) -> Failure {
    Failure { sent: !error.is_connect() && !error.is_builder(), reason: cause(error) }
}

/// The cause that says most: reqwest's own messages only say that a request failed.
fn cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut told = error.to_string();
    while let Some(error) = cause {
        told = error.to_string();
        cause = error.source();
    }
    told
}
