//! One peer's connection: a push or a piece of a state goes out, its answer comes back, or the reason why not.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use reqwest::Client;
use rustls::ClientConfig;

use super::calls::Calls;
use super::connector::Connector;
use super::failure::Failure;
use super::wire::{Progress, Wire};
use super::{CALL, STATE_CALL, SenderOptions};
use crate::format::state::{self, StateAnswer};
use crate::format::{FormatError, message};
use crate::replica::Answer;

/// How often a peer's network is asked whether it is there, while the peer works on an answer.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Reaches one peer over one connection at a time.
pub(super) struct Transport {
    url: String,
    calls: Calls,
    progress_timeout: Duration,
    adopt_timeout: Duration,
    #[cfg(target_os = "linux")]
    unacknowledged_timeout: Duration,
    connector: Connector,
    /// Holds the connection, and by what it was made. Thrown away after every failure: a cut network sends no reset, and the
    /// address may belong to another node by now.
    client: Option<(Client, Arc<ClientConfig>)>,
}

impl Transport {
    pub(super) fn new(url: &str, options: &SenderOptions, calls: Calls, connector: Connector) -> Self {
        Self {
            url: url.to_owned(),
            calls,
            progress_timeout: options.progress_timeout,
            adopt_timeout: options.adopt_timeout,
            #[cfg(target_os = "linux")]
            unacknowledged_timeout: options.unacknowledged_timeout,
            connector,
            client: None,
        }
    }

    /// Sends one push and waits for its answer.
    pub(super) async fn push(&mut self, body: Vec<u8>) -> Result<Answer, Failure> {
        self.exchange(CALL, body.into(), self.progress_timeout, message::decode_answer).await
    }

    /// Sends one piece of a state and waits for its answer.
    pub(super) async fn piece(&mut self, body: Bytes, is_last: bool) -> Result<StateAnswer, Failure> {
        let patience = if is_last { self.adopt_timeout } else { self.progress_timeout };
        match self.exchange(STATE_CALL, body, patience, state::decode_answer).await {
            Err(Failure::Unexpected(StatusCode::NOT_FOUND, _)) => Err(Failure::TakesNoState),
            other => other,
        }
    }

    /// `patience`: how long nothing may move.
    async fn exchange<T>(
        &mut self,
        path: &str,
        body: Bytes,
        patience: Duration,
        decode: fn(&[u8]) -> Result<T, FormatError>,
    ) -> Result<T, Failure> {
        let tls = self.connector.tls();
        let client = match self.client.take() {
            // Who was believed, and what was shown, may not count any more.
            Some((client, by)) if Arc::ptr_eq(&by, &tls) => client,
            _ => self.connect(&tls)?,
        };
        let progress = Arc::new(Progress::new());
        let (url, connect_timeout) = (self.url.as_str(), self.connector.timeout(&self.url));
        let wire = Wire { client: &client, url, connect_timeout, progress: progress.clone() };
        let reply = progress.or_stalled(patience, self.calls.call(&wire, path, body)).await?;
        let answer = decode(&reply.accepted()?)?;
        self.client = Some((client, tls));
        Ok(answer)
    }

    fn connect(&self, tls: &ClientConfig) -> Result<Client, Failure> {
        let client = self.connector.client(&self.url, tls);
        // A peer that is slow still acknowledges what it gets; a network that was cut does not.
        #[cfg(target_os = "linux")]
        let client = client.tcp_user_timeout(self.unacknowledged_timeout);
        // Also while it is the peer's turn, which after a last piece may be for long.
        let client = client.tcp_keepalive(KEEPALIVE).tcp_keepalive_interval(KEEPALIVE).tcp_keepalive_retries(3);
        client.tcp_nodelay(true).build().map_err(|error| Failure::Connect(error.to_string()))
    }
}
