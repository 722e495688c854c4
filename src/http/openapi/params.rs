//! Parameters that several calls share, and those whose bounds are settings.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Ref, RefOr, Required, Schema};

/// `Causal-Context` and `Prefer`.
pub(crate) struct SessionHeaders;

impl IntoParams for SessionHeaders {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let context = "What the client has seen: the token of its last answer, from whichever node. This node answers \
            from a state that includes it.";
        let prefer = "`wait=SECONDS`: how long to wait for that state, and for acknowledgements (default 2, at most \
            30; fractions are allowed). Other preferences are ignored.";
        vec![
            optional(
                ParameterIn::Header,
                "Causal-Context",
                context,
                text().format(Some(SchemaFormat::Custom("causal-context".to_owned()))),
            ),
            optional(ParameterIn::Header, "Prefer", prefer, text().examples(["wait=0.5"])),
        ]
    }
}

/// `If-None-Match`.
pub(crate) struct IfNoneMatch;

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "`304` when what would be shown has one of these `ETag`s.";
        vec![optional(ParameterIn::Header, "If-None-Match", description, text())]
    }
}

/// `acks`.
pub(crate) struct Acks;

impl IntoParams for Acks {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "How many of the configured nodes must have it on disk before the answer; default 1.";
        vec![optional(ParameterIn::Query, "acks", description, bounded("Acks"))]
    }
}

/// `prefix`, `after` and `limit` of a page of keys.
pub(crate) struct PageOfKeys;

impl IntoParams for PageOfKeys {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let after = "Only keys behind this one, which need not exist";
        vec![
            optional(ParameterIn::Query, "prefix", "Only keys that begin so", text()),
            optional(ParameterIn::Query, "after", after, text()),
            optional(ParameterIn::Query, "limit", "How many a page shows; default 100.", bounded("PageLimit")),
        ]
    }
}

/// `dot` in a path.
pub(crate) struct DotInPath;

impl IntoParams for DotInPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The write's name, as `PATCH /set` answered it.";
        vec![required(ParameterIn::Path, "dot", description, bounded("Dot"))]
    }
}

/// `Idempotency-Key`.
pub(crate) struct IdempotencyKey;

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "A name for this write: sent again under it, it is made once.";
        vec![optional(ParameterIn::Header, "Idempotency-Key", description, bounded("IdempotencyKey"))]
    }
}

/// `after` and `Last-Event-ID` of a watch.
pub(crate) struct Cursors;

impl IntoParams for Cursors {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let after = "The `id` of the last event that came; `0` for the first op of the log.";
        let header = "The same; it goes before `after`.";
        vec![
            optional(ParameterIn::Query, "after", after, bounded("Cursor")),
            optional(ParameterIn::Header, "Last-Event-ID", header, bounded("Cursor")),
        ]
    }
}

/// `bucket`.
pub(crate) struct Bucket;

impl IntoParams for Bucket {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The keys of this one of the 256 buckets.";
        vec![optional(ParameterIn::Query, "bucket", description, bounded("Bucket"))]
    }
}

/// `peer`.
pub(crate) struct Peer;

impl IntoParams for Peer {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![required(ParameterIn::Query, "peer", "The peer's id.", bounded("NodeId"))]
    }
}

fn required(place: ParameterIn, name: &str, description: &str, schema: RefOr<Schema>) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::True);
    parameter.description(Some(description)).schema(Some(schema)).build()
}

fn optional(place: ParameterIn, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::False);
    parameter.description(Some(description)).schema(Some(schema)).build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A schema that [`super::bounds`] makes.
fn bounded(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}
