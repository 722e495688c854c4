//! Reads of many keys that must be refused.

use super::{Case, JSON, case, message};

/// A read of many keys.
fn many(name: &'static str, body: &[u8], status: u16, problem: &'static str) -> Case {
    case(name, message("POST /read", JSON, body), status, Some(problem))
}

pub(super) fn all() -> Vec<Case> {
    let list = |count: usize| (0..count).map(|index| format!("\"k{index}\"")).collect::<Vec<_>>().join(",");
    vec![
        many("many keys, not JSON", b"[", 400, "not-json"),
        many("many keys, none", br#"{"keys": []}"#, 422, "no-entries").member("field", "keys"),
        many("many keys, one empty", br#"{"keys": ["kept", ""]}"#, 422, "empty-key"),
        many("many keys, one twice", br#"{"keys": ["kept", "kept"]}"#, 422, "duplicate-key").member("key", "kept"),
        many("many keys, one a number", br#"{"keys": ["kept", 1]}"#, 422, "wrong-type"),
        many("many keys as an object", br#"{"keys": {"kept": null}}"#, 422, "wrong-type"),
        many("many keys with values", br#"{"values": {"kept": "changed"}}"#, 422, "unknown-field")
            .says("this call takes the field 'keys'"),
        many("too many keys", format!("{{\"keys\": [{}]}}", list(51)).as_bytes(), 413, "too-many-entries"),
        case(
            "many keys and one in the query",
            message("POST /read?key=kept", JSON, br#"{"keys": ["kept"]}"#),
            400,
            Some("unknown-parameter"),
        ),
    ]
}
