//! Sessions: a request that carries a causal context is answered from a state that includes it.

use std::time::Duration;

use axum::http::header::ToStrError;
use axum::http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::headers::CAUSAL_CONTEXT;
use super::problem::{Kind, Problem};
use super::{App, HttpOptions};
use crate::causality::CausalContext;
use crate::format::token;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a session can be refused for.
pub(super) const REFUSALS: &[Kind] = &[Kind::BadContext, Kind::BadHeader, Kind::ContextNotReached];

/// What a request says of its session.
pub(super) struct Session {
    /// What the client has seen, if it says so.
    pub(super) context: Option<CausalContext>,
    deadline: Instant,
}

impl Session {
    /// Reads the headers `Causal-Context` and `Prefer`.
    pub(super) fn of(headers: &HeaderMap, options: &HttpOptions) -> Result<Self, Problem> {
        let context = context(headers)?;
        Ok(Self { context, deadline: Instant::now() + wait(headers, options)? })
    }

    /// How long the client is still willing to wait.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits until the node includes what the client has seen. Whatever is read must be read after this.
    pub(super) async fn reached(&self, app: &App) -> Result<(), Problem> {
        match &self.context {
            Some(context) => Ok(app.node.reached(&context.wait, self.left()).await?),
            None => Ok(()),
        }
    }
}

/// The context that the client passes back.
fn context(headers: &HeaderMap) -> Result<Option<CausalContext>, Problem> {
    let bad = |why: &str| Problem::new(Kind::BadContext, format!("the header Causal-Context {why}"));
    let mut values = headers.get_all(CAUSAL_CONTEXT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("is given more than once"));
    }
    let text = value.to_str().map_err(|_: ToStrError| bad("is not ASCII"))?;
    match token::decode(text) {
        Ok(context) => Ok(Some(context)),
        Err(error) => Err(bad(&format!("is not a token of this service: {error}"))),
    }
}

/// How long the client is willing to wait: `Prefer: wait=SECONDS` (RFC 7240), here also with a fraction.
pub(super) fn wait(headers: &HeaderMap, options: &HttpOptions) -> Result<Duration, Problem> {
    let bad = |why: &str| Problem::new(Kind::BadHeader, format!("the header Prefer {why}")).with("header", "Prefer");
    for value in headers.get_all(PREFER) {
        let text = value.to_str().map_err(|_: ToStrError| bad("is not ASCII"))?;
        for preference in text.split(',') {
            // A preference may have parameters of its own after a semicolon; `wait` has none that are known.
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, wish) = preference.split_once('=').unwrap_or((preference, ""));
            if name.trim().eq_ignore_ascii_case("wait") {
                let wish = wish.trim().trim_matches('"');
                let wait = seconds(wish).ok_or_else(|| bad("has a wait that is not a number of seconds"))?;
                return Ok(wait.min(options.max_wait));
            }
        }
    }
    Ok(options.default_wait)
}

fn seconds(text: &str) -> Option<Duration> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // Digits and dots only: no sign, exponent, infinity. A number beyond what a Duration holds is just long.
    let seconds: f64 = text.parse().ok().filter(|_| plain)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
