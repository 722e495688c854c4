//! `PATCH /set`: one op, all or nothing.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Access;
use super::body::Arriving;
use super::openapi::refusals::refusals;
use super::openapi::{Acks, IdempotencyKey, SessionHeaders};
use super::problem::{self, Kind, Problem};
use super::session::{self, Session};
use super::{Shared, body, headers, json, query, spans, view};
use crate::causality::CausalContext;
use crate::format::token;
use crate::replica::{Once, Replaces, Write};

/// A write that is on this node's disk.
#[derive(Serialize, ToSchema)]
#[schema(as = Written)]
struct Answer<'a> {
    /// The op's name.
    dot: String,
    context: &'a str,
    /// The nodes that are known to have it on disk, in order.
    durable_on: Vec<u32>,
}

refusals!(
    Refusals: query::REFUSALS, session::REFUSALS, body::REFUSALS, json::REFUSALS, problem::OF_WRITE,
    &[
        Kind::NotSupported,
        Kind::BadParameter,
        Kind::ContextNeeded,
        Kind::TooManyAcks,
        Kind::KeyTooLong,
        Kind::ValueTooLong,
    ];
    "Accept-Patch" on Kind::UnsupportedContentType
);

/// What a write replaces.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document")]
#[schema(rename_all = "lowercase")]
enum ReplacesName {
    Held,
    Seen,
}

/// Write and delete, all or nothing
///
/// All entries are one op. `If-Match`, `If-None-Match` and `If-Unmodified-Since` are refused.
#[utoipa::path(
    patch, path = "/set", operation_id = "set", tag = "data",
    params(
        (
            "replaces" = inline(Option<ReplacesName>), Query,
            description = "`held`: all that this node holds for these keys; the default without `Causal-Context`. \
                `seen`: only what the client has seen; the default with one, refused without",
        ),
        IdempotencyKey,
        Acks,
        SessionHeaders,
    ),
    request_body(content = ref("#/components/schemas/SetRequest"), content_type = "application/json"),
    responses(
        (
            status = 200,
            description = "It is on as many disks as asked for, and will reach every node",
            headers(
                ("Causal-Context" = String, description = "What the client has seen with this answer"),
                ("Idempotency-Replayed" = String, description = "`true`: it was made before, under the same key"),
            ),
            body = Answer,
        ),
        (
            status = 202,
            description = "It is stored here and goes on replicating, but fewer nodes than asked for had it in time",
            headers(
                ("Causal-Context" = String, description = "What the client has seen with this answer"),
                ("Idempotency-Replayed" = String, description = "`true`: it was made before, under the same key"),
            ),
            body = Answer,
        ),
        Refusals,
    ),
)]
pub(super) async fn set(State(app): Shared, request: Request) -> Result<Response, Problem> {
    headers::no_conditions(request.headers())?;
    let key = headers::idempotency_key(request.headers())?;
    let session = Session::of(request.headers(), &app.options)?;
    let [replaces, acks] = query::params(request.uri().query(), ["replaces", "acks"])?;
    let replaces = replaces_of(replaces.as_deref(), session.context.as_ref())?;
    let acks = acks.map(|acks| acks_of(&acks, app.node.members().count)).transpose()?;
    let trace = spans::of_write(request.headers(), app.options.tracer.is_some());

    let access = Access::of(request.extensions());

    // What can't be taken is told before it is sent, or before anything is made of it.
    let arriving = body::large_write(&app, request.headers()).map_err(Problem::closing)?;
    let text = body::json(&app, request).await?;
    let is_expected = arriving.as_ref().is_some_and(Arriving::has_place);
    drop(arriving);
    if !is_expected {
        app.node.would_write(text.len())?;
    }
    let entries = json::values(text.as_str()?, &app.options.limits)?;
    entries.iter().try_for_each(|(key, _)| access.to_key(key))?;
    // Until it is done: who waits for a context, or for the disk, takes this memory meanwhile.
    let held = text.made_into(entries.len())?;

    session.reached(&app).await?;
    let once = key.map(|key| Once { key, context: session.context.clone().unwrap_or_default() });
    let began = Instant::now();
    let write = Write { entries, replaces, trace, once };
    let written = if is_expected { app.node.write_expected(write).await? } else { app.node.write(write).await? };
    if !written.replayed {
        app.options.metrics.written(began.elapsed());
    }
    spans::note_dot(written.dot);
    drop(held);

    // It is on this node's disk; whoever asks for no more need not look further.
    let own = app.node.members().own;
    let mut durable_on = vec![own.0];
    let wanted = acks.unwrap_or(1);
    if wanted > 1 {
        let mut holders = app.node.durable_on(written.dot, wanted, session.left()).await;
        holders.insert(own);
        durable_on = holders.into_iter().map(|node| node.0).collect();
    }
    let enough = durable_on.len() >= wanted;
    let token = token::encode(&written.context);
    let answer = Answer { dot: written.dot.to_string(), context: &token, durable_on };
    let mut response = view::json_with_context(&answer, &token);
    *response.status_mut() = if enough { StatusCode::OK } else { StatusCode::ACCEPTED };
    if written.replayed {
        response.headers_mut().insert(headers::IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn replaces_of(parameter: Option<&str>, context: Option<&CausalContext>) -> Result<Replaces, Problem> {
    match (parameter, context) {
        (None | Some("seen"), Some(context)) => Ok(Replaces::Seen(context.clone())),
        (None | Some("held"), _) => Ok(Replaces::Held),
        (Some("seen"), None) => {
            let detail = "replaces=seen replaces what the client has seen, which only a Causal-Context can say";
            Err(Problem::new(Kind::ContextNeeded, detail).with("parameter", "replaces"))
        }
        (Some(other), _) => Err(query::bad_value("replaces", other, "seen or held")),
    }
}

fn acks_of(value: &str, members: usize) -> Result<usize, Problem> {
    let wanted = match value {
        "all" => members,
        "majority" => members / 2 + 1,
        number => {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let count = number.parse().ok().filter(|count| digits && *count > 0);
            count.ok_or_else(|| query::bad_value("acks", value, "a number from 1, 'majority' or 'all'"))?
        }
    };
    if wanted > members {
        let detail = format!("{wanted} nodes can't acknowledge: the cluster has {members}");
        return Err(Problem::new(Kind::TooManyAcks, detail).with("parameter", "acks").with("limit", members));
    }
    Ok(wanted)
}
