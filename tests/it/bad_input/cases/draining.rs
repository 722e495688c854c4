//! Requests to drain a node that must be refused.

use super::{Case, JSON, case, message};

/// A request to drain.
fn put(name: &'static str, body: &[u8], status: u16, problem: &'static str) -> Case {
    case(name, message("PUT /draining", JSON, body), status, Some(problem))
}

pub(super) fn all() -> Vec<Case> {
    vec![
        put("draining, not JSON", b"yes", 400, "not-json"),
        put("draining, alone", b"true", 422, "wrong-type").says("the request must be an object"),
        put("draining as a text", br#"{"draining": "true"}"#, 422, "wrong-type")
            .says("'draining' must be true or false"),
        put("draining, nothing", b"{}", 422, "missing-field").member("field", "draining"),
        put("draining twice", br#"{"draining": true, "draining": false}"#, 422, "duplicate-field"),
        put("draining with more", br#"{"draining": true, "now": true}"#, 422, "unknown-field"),
        case(
            "draining, not said to be JSON",
            message("PUT /draining", "", b"{}"),
            415,
            Some("unsupported-content-type"),
        ),
        case(
            "draining by the query",
            message("PUT /draining?draining=true", JSON, br#"{"draining": true}"#),
            400,
            Some("unknown-parameter"),
        ),
        case(
            "POST of draining",
            message("POST /draining", JSON, br#"{"draining": true}"#),
            405,
            Some("method-not-allowed"),
        )
        .answers("allow", "GET,HEAD,PUT"),
    ]
}
