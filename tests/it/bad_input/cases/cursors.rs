//! Cursors that no watch goes on from.

use super::{Case, plain};

pub(super) fn all() -> Vec<Case> {
    let gone = "7-9.00c0ffee00c0ffee.7-0123456789abcdef";
    let header = |value: &str| format!("last-event-id: {value}\r\n");
    let watch = |name, headers: &str, kind| {
        plain(name, "GET /watch", headers, if kind == "bad-cursor" { 400 } else { 410 }, kind)
    };
    vec![
        plain("an empty cursor", "GET /watch?after=", "", 400, "bad-cursor"),
        plain("a cursor of nonsense", "GET /watch?prefix=k&after=nonsense", "", 400, "bad-cursor"),
        plain("a cursor that is a number", "GET /watch?after=7", "", 400, "bad-cursor"),
        plain("a cursor cut short", "GET /watch?after=7-9.00c0ffee", "", 400, "bad-cursor"),
        plain("a cursor without its log", "GET /watch?after=7-9.00c0ffee00c0ffee.7", "", 400, "bad-cursor"),
        plain("a cursor of another node", &format!("GET /watch?after={gone}"), "", 410, "cursor-gone"),
        plain("HEAD with a cursor that is gone", &format!("HEAD /watch?after={gone}"), "", 410, "cursor-gone"),
        plain("a parameter that watches don't have", "GET /watch?since=0", "", 400, "unknown-parameter"),
        watch("an empty cursor in the header", &header(""), "bad-cursor"),
        watch("a cursor with a sign", &header(&format!("+{gone}")), "bad-cursor"),
        watch("a cursor that is not ASCII", &header("ü"), "bad-cursor"),
        watch("two cursors", &format!("{}{}", header("0"), header("0")), "bad-cursor"),
        watch("a cursor in the header that is gone", &header(gone), "cursor-gone"),
    ]
}
