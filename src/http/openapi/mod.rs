//! `GET /openapi.json`: the client API for programs, as OpenAPI 3.1.
//!
//! Each handler says by an attribute what it takes and answers, and [`Api`] names all handlers. What the attributes
//! can't say is added here: refusals by their kinds ([`refusals`]), limits as this node has them ([`bounds`]), `HEAD`
//! where there is `GET`, and what goes for all answers.
//!
//! A new call gets an attribute beside its handler and a line in [`Api`]; the tests say what is missing.
//!
//! Promises: made once; every route and every answer is in it (the tests of the API hold all their answers against
//! it). Must not say anything that a handler decides: that stands beside the handler.

mod bounds;
mod params;
pub(super) mod refusals;
#[cfg(test)]
mod tests;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::problem::Problem;
use super::view::NO_STORE;
use super::{
    HttpOptions, Shared, backup, cluster, conflicts, draining, fingerprint, headers, keys, latency, many, metrics,
    pending, query, read, set, status, watch, writes,
};
pub(super) use params::{
    Acks, Bucket, Cursors, DotInPath, IdempotencyKey, IfNoneMatch, PageOfKeys, Peer, SessionHeaders,
};

/// What is not about one operation.
const ABOUT: &str = "A replicated key-value store: causal, always writable, with siblings for writes that did not know \
    of each other. Every node answers every call from what it holds itself.\n\n\
    Every refusal but the `404` of `GET /read` is a problem (RFC 9457) whose `type` is stable. A path that is not here \
    is `404` (`/problems/not-found`); a method that a path does not take is `405` (`/problems/method-not-allowed`) \
    with `Allow`. What is not HTTP gets a bare `400` or `431`, and the connection is closed.\n\n\
    Limits are those of this node's settings. Where a length is limited it counts bytes of UTF-8; `maxLength`, which \
    counts characters, is then a bound that no longer text can keep. Answers may gain fields.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Causeway", description = ABOUT),
    tags(
        (name = "data", description = "Keys and their values"),
        (name = "node", description = "This node's view of itself and its peers"),
        (name = "cluster", description = "All nodes, and where writes are, as this node knows"),
        (name = "document", description = "This document"),
    ),
    paths(
        read::read,
        many::read_many,
        set::set,
        keys::keys,
        watch::watch,
        conflicts::conflicts,
        fingerprint::fingerprint,
        backup::backup,
        writes::receipt,
        pending::pending,
        latency::latency,
        cluster::cluster,
        cluster::events,
        metrics::metrics,
        status::status,
        draining::shown,
        draining::set,
        status::live,
        status::ready,
        document,
    ),
)]
struct Api;

/// The document of a node, as it is sent.
pub(super) struct Document {
    bytes: Bytes,
    etag: HeaderValue,
}

impl Document {
    /// That of a node with these limits, in a cluster of so many.
    pub(super) fn new(options: &HttpOptions, members: usize) -> Self {
        let bytes = Bytes::from(whole(bounds::schemas(&options.limits, members)).to_string());
        Self { etag: headers::etag(&bytes), bytes }
    }
}

/// What the attributes say, with what they can't.
fn whole(bounds: Map<String, Value>) -> Value {
    let mut document = serde_json::to_value(Api::openapi()).expect("a document has text as keys");
    for path in document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        let operations = path.as_object_mut().expect("a path has operations");
        operations.values_mut().for_each(complete);
        if let Some(get) = operations.get("get") {
            let head = head_of(get);
            operations.insert("head".to_owned(), head);
        }
    }
    let components = &mut document["components"];
    let schemas = components["schemas"].as_object_mut().expect("answers have schemas");
    schemas.extend(bounds);
    schemas.extend(refusals::schemas());
    components["links"] = links();
    components["securitySchemes"] = json!({"token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Needed where the node has a file with tokens",
    }});
    document["security"] = json!([{}, {"token": []}]);
    document
}

/// Headers that are not on every answer of their kind.
const SOMETIMES: [&str; 2] = ["Causeway-Catching-Up", "Idempotency-Replayed"];

/// Adds what goes for every answer. A header that is named is there, unless it says otherwise.
fn complete(operation: &mut Value) {
    if let Some(body) = operation.get_mut("requestBody") {
        body["required"] = true.into();
    }
    let reads = ["read", "read_many", "keys", "conflicts"].iter().any(|read| operation["operationId"] == *read);
    for answer in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if answer["headers"].get("Causal-Context").is_some() {
            if reads {
                answer["headers"]["Causeway-Catching-Up"] = json!({
                    "description": "While another node's whole state is on its way to this one, which lacks older writes until then",
                    "schema": {"type": "string", "const": "1"},
                });
            }
            for call in ["read", "read_many", "set", "keys"] {
                answer["links"][call] = json!({"$ref": format!("#/components/links/{call}")});
            }
        }
        let no_store = json!({"schema": {"type": "string", "const": "no-store"}});
        answer["headers"]["Cache-Control"] = no_store;
        for (name, header) in answer["headers"].as_object_mut().into_iter().flatten() {
            if header.get("required").is_none() {
                header["required"] = (!SOMETIMES.contains(&name.as_str())).into();
            }
        }
    }
}

/// What a client does next that passes on what it has seen.
fn links() -> Value {
    let to = |call: &str| {
        json!({
            "operationId": call,
            "description": "In the same session: nothing that was seen is unseen",
            "parameters": {"Causal-Context": "$response.header.Causal-Context"},
        })
    };
    json!({"read": to("read"), "read_many": to("read_many"), "set": to("set"), "keys": to("keys")})
}

/// `HEAD` for a `GET`: the same without bodies.
fn head_of(get: &Value) -> Value {
    let mut head = get.clone();
    let id = get["operationId"].as_str().unwrap_or_default();
    head["operationId"] = format!("{id}_head").into();
    head["summary"] = format!("The headers of `{id}`").into();
    for answer in head["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        let answer = answer.as_object_mut().expect("an answer is an object");
        // Links may take something from the body.
        answer.retain(|name, _| !["content", "links"].contains(&name.as_str()));
    }
    head
}

refusals::refusals!(DocumentRefusals: query::NONE_KNOWN);

/// This document
///
/// Limits in it are those of this node.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "document",
    params(IfNoneMatch),
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json", headers(
            ("ETag" = String, description = "A hash of the document"),
        )),
        (status = 304, description = "As `If-None-Match` has it", headers(
            ("ETag" = String, description = "A hash of the document"),
        )),
        DocumentRefusals,
    ),
)]
pub(super) async fn document(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    let Document { bytes, etag } = &app.document;
    let (status, body) = if headers::unchanged(request.headers(), etag) {
        (StatusCode::NOT_MODIFIED, Bytes::new())
    } else {
        (StatusCode::OK, bytes.clone())
    };
    let kind = HeaderValue::from_static("application/json");
    Ok((status, [(CONTENT_TYPE, kind), (CACHE_CONTROL, NO_STORE), (ETAG, etag.clone())], body).into_response())
}
