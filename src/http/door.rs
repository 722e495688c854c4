//! The door of the client API: what has to be right of a request before anything of its body is read, whatever it asks for.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{self, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use tower::layer::layer_fn;
use tower::{Layer, Service};

use super::access;
use super::hosts::Hosts;
use super::metrics::Metrics;
use crate::auth::Clients;

/// Refuses what must not get in before anything of its body is read.
pub(super) fn layer<S>(
    hosts: Hosts,
    clients: Clients,
    metrics: Metrics,
) -> impl Layer<S, Service = Checked<S>> + Clone {
    layer_fn(move |inner| Checked { inner, hosts: hosts.clone(), clients: clients.clone(), metrics: metrics.clone() })
}

/// Answers the requests that get in.
#[derive(Clone)]
pub(super) struct Checked<S> {
    inner: S,
    hosts: Hosts,
    clients: Clients,
    metrics: Metrics,
}

impl<S> Service<Request> for Checked<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let known = self.hosts.check(&request);
        match known.and_then(|()| access::admit(&self.clients, &self.metrics, &mut request)) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(problem) => {
                self.metrics.turned_away(problem.kind());
                Either::Left(ready(Ok(problem.into_response())))
            }
        }
    }
}
