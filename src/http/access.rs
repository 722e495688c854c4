//! Who may do what, by the token that comes with a request (docs/security.md).
//!
//! Promises: nothing of a request's body is read before its token is known to be good for the call; a call that nobody
//! thought of needs a token too; tokens are shown nowhere. Must not know where tokens come from.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap};

use super::metrics::Metrics;
use super::problem::{Kind, Problem, shown};
use super::routes;
use crate::auth::{Clients, Grant, Scope};

/// What a call needs where tokens are asked for.
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// Any token.
    Token,
    /// One with this scope; the call looks at keys and prefixes itself, by [`Access`].
    ForSome(Scope),
    /// One with this scope that is for all keys.
    ForAll(Scope),
}

/// What who sent a request may see and write of the keys.
#[derive(Clone)]
pub(super) struct Access(Option<(Arc<Grant>, Metrics)>);

impl Access {
    /// Of a request that was let in.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or(Self(None))
    }

    /// Whether its token is still as good as it was then.
    pub(super) fn stands(&self, clients: &Clients) -> bool {
        self.0.as_ref().is_none_or(|(grant, _)| clients.stands(grant))
    }

    /// Refuses a key that the token is not for.
    pub(super) fn to_key(&self, key: &str) -> Result<(), Problem> {
        self.check(key, "the key").map_err(|problem| problem.about(key))
    }

    /// Refuses to list keys that begin so, unless the token is for all of them.
    pub(super) fn to_prefix(&self, prefix: &str) -> Result<(), Problem> {
        self.check(prefix, "all keys with the prefix").map_err(|problem| problem.with("prefix", shown(prefix)))
    }

    fn check(&self, text: &str, what: &str) -> Result<(), Problem> {
        match &self.0 {
            Some((grant, metrics)) if !grant.is_for(text) => {
                metrics.turned_away(Kind::NotAllowed);
                let detail = format!("the token '{}' is not for {what} '{}'", grant.name(), shown(text));
                Err(Problem::new(Kind::NotAllowed, detail))
            }
            _ => Ok(()),
        }
    }
}

/// Lets a request in, or says why not, by its head.
pub(super) fn admit(clients: &Clients, metrics: &Metrics, request: &mut Request) -> Result<(), Problem> {
    let Some(tokens) = clients.tokens() else { return Ok(()) };
    let needs = routes::needs(request.method(), request.uri().path());
    if matches!(needs, Needs::Nothing) {
        return Ok(());
    }
    let unknown = || Problem::new(Kind::NotAuthenticated, "the token is none that this node knows");
    let grant = tokens.find(token(request.headers())?).ok_or_else(unknown)?;
    let (scope, for_all) = match needs {
        Needs::Nothing | Needs::Token => (None, false),
        Needs::ForSome(scope) => (Some(scope), false),
        Needs::ForAll(scope) => (Some(scope), true),
    };
    if let Some(scope) = scope.filter(|scope| !grant.has(*scope)) {
        let detail = format!("the token '{}' has not the scope '{}'", grant.name(), scope.name());
        return Err(Problem::new(Kind::NotAllowed, detail).with("scope", scope.name()));
    }
    if for_all && !grant.is_for_all() {
        let detail = format!("the token '{}' is for some keys only, and this is about all", grant.name());
        return Err(Problem::new(Kind::NotAllowed, detail));
    }
    request.extensions_mut().insert(Access(Some((grant, metrics.clone()))));
    Ok(())
}

fn token(headers: &HeaderMap) -> Result<&str, Problem> {
    let wanted = |why: &str| {
        let detail = format!("{why}: this node wants 'Authorization: Bearer TOKEN'");
        Problem::new(Kind::NotAuthenticated, detail)
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| wanted("there is no token"))?;
    if values.next().is_some() {
        return Err(wanted("Authorization is given more than once"));
    }
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(wanted("Authorization is of another scheme"))
    }
}
