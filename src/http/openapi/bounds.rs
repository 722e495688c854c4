//! Schemas of parameters and bodies that no type here describes, and of those that settings of the node bound.

use serde_json::{Map, Value, json};

use crate::http::Limits;

/// These schemas by their names.
pub(super) fn schemas(limits: &Limits, members: usize) -> Map<String, Value> {
    let Limits { key_bytes, value_bytes, entries, page_keys, .. } = limits;
    let schemas = json!({
        "SetRequest": {
            "type": "object",
            "description": "What to write, all or nothing.",
            "required": ["values"],
            "additionalProperties": false,
            "properties": {"values": {
                "type": "object",
                "description": format!(
                    "A string sets, `null` deletes. At most {entries} keys of at most {key_bytes} bytes, values of at \
                     most {value_bytes}."
                ),
                "minProperties": 1,
                "maxProperties": entries,
                "propertyNames": {"type": "string", "minLength": 1, "maxLength": key_bytes},
                "additionalProperties": {"type": ["string", "null"], "maxLength": value_bytes},
            }},
            "examples": [{"values": {"greeting": "hello", "old": null}}],
        },
        "ReadRequest": {
            "type": "object",
            "description": "What to read, as of one instant.",
            "required": ["keys"],
            "additionalProperties": false,
            "properties": {"keys": {
                "type": "array",
                "minItems": 1,
                "maxItems": entries,
                "uniqueItems": true,
                "items": {"type": "string", "minLength": 1},
            }},
            "examples": [{"keys": ["greeting", "old"]}],
        },
        "DrainingRequest": draining_request(),
        "Acks": {
            "description": "A number of nodes, or `majority` or `all` of the configured ones.",
            "oneOf": [
                {"type": "integer", "minimum": 1, "maximum": members},
                {"type": "string", "enum": ["majority", "all"]},
            ],
        },
        "PageLimit": {"type": "integer", "minimum": 1, "maximum": page_keys},
        "NodeId": {"type": "integer", "minimum": 0, "maximum": u32::MAX},
        "Bucket": {"type": "integer", "minimum": 0, "maximum": u8::MAX},
        "Dot": {"type": "string", "format": "dot", "examples": ["0.00c0ffee00c0ffee.7"]},
        "Cursor": {"type": "string", "format": "cursor", "examples": ["0"]},
        "IdempotencyKey": {
            "type": "string", "format": "idempotency-key", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$",
        },
        "Event": {
            "type": "object",
            "description": "A server-sent event. Its data is JSON, in one line.",
            "required": ["event", "data"],
            "properties": {
                "event": {"type": "string", "enum": ["start", "change", "cursor", "cluster", "closed"]},
                "id": {"type": "string"},
                "data": {"type": "string"},
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

fn draining_request() -> Value {
    json!({
        "type": "object",
        "description": "Whether the node is to be drained.",
        "required": ["draining"],
        "additionalProperties": false,
        "properties": {"draining": {"type": "boolean"}},
        "examples": [{"draining": true}],
    })
}
