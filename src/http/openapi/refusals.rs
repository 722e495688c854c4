//! Refusals in the document: what an operation can be refused for, by kinds, becomes its answers.
//!
//! Modules that refuse name their kinds in a constant beside the code, and an operation names these constants.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

use crate::http::problem::Kind;

/// Makes `$name` stand for answers of an attribute: `refusals!(Name: kinds, more kinds)`, with slices of kinds.
/// `"Header" on Kind::Of` names a header that such an answer has besides those that all of its kind have.
macro_rules! refusals {
    ($name:ident: $($kinds:expr),+ $(; $header:literal on $kind:path)?) => {
        pub(super) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> $crate::http::openapi::refusals::Answers {
                let more: &[(&str, $crate::http::problem::Kind)] = &[$(($header, $kind))?];
                $crate::http::openapi::refusals::answers(&[$($kinds),+], more)
            }
        }
    };
}
pub(crate) use refusals;

/// Answers by status.
pub(crate) type Answers = BTreeMap<String, RefOr<Response>>;

/// What every request can be refused for.
const ANY: &[Kind] =
    &[Kind::NotAuthenticated, Kind::NotAllowed, Kind::CrossOrigin, Kind::WrongHost, Kind::Internal, Kind::Overloaded];

/// The answers that these kinds are.
pub(crate) fn answers(kinds: &[&[Kind]], more: &[(&str, Kind)]) -> Answers {
    let mut by_status: BTreeMap<StatusCode, Vec<Kind>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for kind in kinds.iter().copied().chain([ANY]).flatten() {
        let (status, name, _) = kind.facts();
        if seen.insert(name) {
            by_status.entry(status).or_default().push(*kind);
        }
    }
    by_status.into_iter().map(|(status, kinds)| (status.as_str().to_owned(), answer(&kinds, more).into())).collect()
}

/// The answer of one status.
fn answer(kinds: &[Kind], more: &[(&str, Kind)]) -> Response {
    let titles: Vec<&str> = kinds.iter().map(|kind| kind.facts().2).collect();
    let schema: RefOr<Schema> = match kinds {
        [one] => reference(*one).into(),
        several => {
            let schemas = several.iter().fold(OneOfBuilder::new(), |all, kind| all.item(reference(*kind)));
            Schema::from(schemas.build()).into()
        }
    };
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut answer = ResponseBuilder::new().description(titles.join("; ")).content("application/problem+json", content);
    for (name, value, always) in headers(kinds, more) {
        answer = answer.header(name, header(value, always));
    }
    answer.build()
}

fn reference(kind: Kind) -> Ref {
    Ref::from_schema_name(schema_name(kind))
}

/// Headers by name, with their value where it is fixed, and whether every answer of these kinds has them.
fn headers(kinds: &[Kind], more: &[(&str, Kind)]) -> Vec<(String, Option<String>, bool)> {
    let mut headers: BTreeMap<String, (Option<String>, usize)> = BTreeMap::new();
    for kind in kinds {
        let own = kind.header().map(|(name, value)| (name.to_string(), value.to_str().map(str::to_owned).ok()));
        let more = more.iter().filter(|(_, of)| of == kind).map(|(name, _)| ((*name).to_owned(), None));
        for (name, value) in own.into_iter().chain(more) {
            headers.entry(name).or_insert((value, 0)).1 += 1;
        }
    }
    headers.into_iter().map(|(name, (value, count))| (name, value, count == kinds.len())).collect()
}

fn header(value: Option<String>, always: bool) -> Header {
    let values = value.map(|value| vec![value]);
    let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(values).build();
    // The library knows no headers that are sometimes there.
    let required = Extensions::from_iter([("required", always)]);
    HeaderBuilder::new().schema(Some(Schema::from(schema))).extensions(Some(required)).build()
}

fn schema_name(kind: Kind) -> String {
    format!("{kind:?}Problem")
}

/// A schema for every kind.
pub(super) fn schemas() -> Map<String, Value> {
    Kind::ALL.into_iter().map(|kind| (schema_name(kind), schema(kind))).collect()
}

fn schema(kind: Kind) -> Value {
    let (status, name, title) = kind.facts();
    let mut properties = json!({
        "type": {"type": "string", "const": name},
        "title": {"type": "string", "examples": [title]},
        "status": {"type": "integer", "const": status.as_u16()},
        "detail": {"type": "string"},
    });
    let trace = status.is_server_error().then_some("trace_id");
    for member in members(kind).iter().copied().chain(trace) {
        properties[member] = member_schema(member);
    }
    json!({
        "type": "object",
        "description": title,
        "required": ["type", "title", "status", "detail"],
        "properties": properties,
    })
}

/// What a problem of this kind may say besides, for programs.
pub(in crate::http) const fn members(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::BadParameter | Kind::TooManyAcks => &["parameter", "limit"],
        Kind::UnknownParameter | Kind::DuplicateParameter | Kind::ContextNeeded => &["parameter"],
        Kind::BadHeader => &["header", "limit"],
        Kind::NotSupported => &["header"],
        Kind::NotJson => &["line", "column"],
        Kind::BodyTooSlow
        | Kind::RequestTooLarge
        | Kind::TooManyEntries
        | Kind::Overloaded
        | Kind::TooManyIncarnations => &["limit"],
        Kind::UnknownWrite => &["dot", "not_asked"],
        Kind::IdempotencyKeyReused => &["dot"],
        Kind::NotAllowed => &["scope", "key", "prefix"],
        Kind::CrossOrigin => &["origin"],
        Kind::WrongHost => &["host"],
        Kind::UnknownPeer => &["peer"],
        Kind::TooManySiblings => &["key", "siblings", "limit"],
        Kind::KeyTooLong | Kind::ValueTooLong => &["key", "limit"],
        Kind::BadUtf8 => &["line", "column"],
        Kind::WrongType => &["key", "expected", "found", "line", "column"],
        Kind::UnknownField => &["fields"],
        Kind::MissingField | Kind::DuplicateField | Kind::NoEntries => &["field"],
        Kind::DuplicateKey | Kind::EmptyKey => &["key"],
        Kind::InsufficientStorage => &["free", "limit"],
        Kind::ContextNotReached => &["lacking"],
        _ => &[],
    }
}

fn member_schema(name: &str) -> Value {
    match name {
        "limit" => json!({"type": "number"}),
        "line" | "column" | "siblings" | "peer" | "free" => json!({"type": "integer"}),
        "fields" | "not_asked" => json!({"type": "array", "items": {"type": "string"}}),
        "lacking" => json!({"type": "array", "items": {
            "type": "object",
            "required": ["origin", "wanted", "have", "obtainable"],
            "properties": {
                "origin": {"type": "string"},
                "wanted": {"type": "integer"},
                "have": {"type": "integer"},
                "obtainable": {"type": "boolean"},
            },
        }}),
        _ => json!({"type": "string"}),
    }
}
