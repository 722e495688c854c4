//! Requests that look odd and are right.

use super::cases::{Case, JSON, case, chunked, message};

/// Requests that must be taken.
pub(crate) fn good(token: &str) -> Vec<Case> {
    let write = br#"{"values": {"kept": "changed"}}"#;
    let ok = |name, bytes| case(name, bytes, 200, None);
    let typed = |name, value: &str| {
        let headers = format!("content-type: {value}\r\n");
        ok(name, message("PATCH /set", &headers, write))
    };
    vec![
        ok("an ampersand too many", message("GET /read?&key=kept&", "", b"")),
        ok("an encoded name", message("GET /read?%6bey=kept", "", b"")),
        ok("an absolute address", message("GET http://x/read?key=kept", "", b"")),
        ok("HEAD", message("HEAD /read?key=kept", "", b"")),
        ok("a query for the health check", message("GET /livez?now=1", "", b"")),
        ok("a context", message("GET /read?key=kept", &format!("causal-context: {token}\r\n"), b"")),
        ok("an entity tag that is not ASCII", message("GET /read?key=kept", "if-none-match: \"ü\"\r\n", b"")),
        ok("a wish that is not ASCII", message("GET /read?key=kept", "accept: ü\r\n", b"")),
        ok("unknown preferences", message("GET /read?key=kept", "prefer: respond-async, return=minimal; x\r\n", b"")),
        ok("a wait in quotes", message("GET /read?key=kept", "prefer: respond-async, WAIT=\"1.5\"\r\n", b"")),
        ok("a wait beyond the limit", message("GET /read?key=kept", "prefer: wait=99999999999999999999999\r\n", b"")),
        typed("a charset", "application/json; charset=utf-8"),
        typed("a charset in capitals and quotes", "Application/JSON;charset=\"UTF-8\""),
        typed("an unknown parameter of the type", "application/json; profile=x"),
        ok("no compression, said so", message("PATCH /set", &format!("{JSON}content-encoding: identity\r\n"), write)),
        ok(
            "the longest idempotency key",
            message("PATCH /set", &format!("{JSON}idempotency-key: \"{:!>62}\"\r\n", ""), write),
        ),
        ok("acks as a majority of one", message("PATCH /set?acks=majority", JSON, write)),
        ok("chunks", chunked(&["{\"values\": ", "{\"kept\": ", "\"changed\"}}"])),
        ok("a pair of escapes", message("PATCH /set", JSON, br#"{"values": {"\ud83d\ude00": "\u0000"}}"#)),
        ok("an empty value", message("PATCH /set", JSON, br#"{"values": {"kept": ""}}"#)),
        case(
            "a key that nobody could write",
            message(&format!("GET /read?key={}", "k".repeat(2000)), "", b""),
            404,
            None,
        ),
    ]
}
