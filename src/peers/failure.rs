//! Why a try to reach a peer failed.

use std::error::Error;
use std::time::Duration;

use axum::http::StatusCode;

use crate::auth::NotProven;
use crate::format::FormatError;
use crate::replica::Rejection;

/// A try that failed. Whether the peer took the push is not always known: it may have, and lost the way back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("what was to be sent can't be read: {0}")]
    Unreadable(String),
    #[error("its name can't be looked up: {0}")]
    Lookup(String),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no connection within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    #[error("no progress for {} ms", .0.as_millis())]
    Stalled(Duration),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("{0}")]
    Rejected(Rejection),
    #[error("it takes nothing at the moment: {0}")]
    Unavailable(String),
    #[error("it does not go on with the state: it has all up to where the piece began, and took nothing")]
    NotTaken,
    #[error("it answered {0}: {1}")]
    Unexpected(StatusCode, String),
    #[error("it lacks ops that are in no log any more, and runs a version that can't take a whole state: upgrade it")]
    TakesNoState,
    #[error("{0}")]
    NotAdmitted(String),
    #[error("its answer {0}: it is by nobody who knows the cluster's secret, or was altered on the way")]
    NotProven(NotProven),
    #[error("this node has a secret, and it runs a version that can't check any: upgrade it first")]
    KnowsNoSecrets,
    #[error("its answer can't be read: {0}")]
    Undecodable(#[from] FormatError),
    #[error("its answer has more than {0} bytes")]
    AnswerTooLarge(usize),
}

impl Failure {
    /// What became of a request that got no answer.
    pub(super) fn of_request(error: reqwest::Error, connect_timeout: Duration) -> Self {
        if error.is_dns() {
            Self::Lookup(root_cause(&error))
        } else if error.is_connect() && error.is_timeout() {
            Self::ConnectTimeout(connect_timeout)
        } else if error.is_connect() {
            Self::Connect(root_cause(&error))
        } else {
            Self::Lost(root_cause(&error))
        }
    }

    /// What became of an answer that broke off.
    pub(super) fn of_answer(error: reqwest::Error) -> Self {
        Self::Lost(root_cause(&error))
    }

    /// The `error.type` of spans: a short word that stays the same.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Lookup(_) => "lookup",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout(_) => "connect-timeout",
            Self::Stalled(_) => "timeout",
            Self::Lost(_) => "connection-lost",
            Self::Rejected(Rejection::Misdirected { .. }) => "misdirected",
            Self::Rejected(Rejection::WrongCluster { .. }) => "wrong-cluster",
            Self::Rejected(Rejection::Removed { .. }) => "removed",
            Self::Rejected(Rejection::ReadOnly) => "peer-read-only",
            Self::Rejected(Rejection::Malformed { .. }) => "malformed",
            Self::Rejected(Rejection::Unreadable(_)) => "peer-unreadable",
            Self::Unavailable(_) | Self::NotTaken => "unavailable",
            Self::TakesNoState => "takes-no-state",
            Self::NotAdmitted(_) | Self::KnowsNoSecrets => "not-authenticated",
            Self::NotProven(_) => "answer-not-authenticated",
            Self::Unexpected(..) | Self::Undecodable(_) | Self::AnswerTooLarge(_) => "unexpected-answer",
        }
    }

    /// The peer's own reason, if it gave one.
    pub(super) fn rejection(self) -> Option<Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }
}

/// The innermost error: those around it only repeat where it happened.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
