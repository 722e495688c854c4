//! The table of requests that must be refused.

mod cursors;
mod draining;
mod many;

use serde_json::{Value, json};

/// A request and what must come back.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) status: u16,
    /// The last part of the problem's type; `None` where the answer is not a problem.
    pub(crate) problem: Option<&'static str>,
    /// Members that the problem must have.
    pub(crate) members: Vec<(&'static str, Value)>,
    /// What its detail must say.
    pub(crate) says: &'static str,
    /// Headers that the answer must have.
    pub(crate) headers_back: Vec<(&'static str, &'static str)>,
}

impl Case {
    pub(crate) fn method(&self) -> String {
        String::from_utf8_lossy(self.bytes.split(|byte| *byte == b' ').next().unwrap()).into_owned()
    }

    fn member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    fn says(mut self, text: &'static str) -> Self {
        self.says = text;
        self
    }

    fn answers(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers_back.push((name, value));
        self
    }
}

pub(super) fn case(name: &'static str, bytes: Vec<u8>, status: u16, problem: Option<&'static str>) -> Case {
    Case { name, bytes, status, problem, members: Vec::new(), says: "", headers_back: Vec::new() }
}

pub(super) fn message(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let mut bytes = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}{length}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A request without a body.
fn plain(name: &'static str, line: &str, headers: &str, status: u16, problem: &'static str) -> Case {
    case(name, message(line, headers, b""), status, Some(problem))
}

pub(super) const JSON: &str = "content-type: application/json\r\n";

/// A write.
fn set(name: &'static str, body: &[u8], status: u16, problem: &'static str) -> Case {
    case(name, message("PATCH /set", JSON, body), status, Some(problem))
}

/// A write of something good, with this query and these headers.
fn set_with(name: &'static str, query: &str, headers: &str, status: u16, problem: &'static str) -> Case {
    let line = format!("PATCH /set{query}");
    case(name, message(&line, headers, br#"{"values": {"kept": "changed"}}"#), status, Some(problem))
}

/// All requests that must be refused.
pub(crate) fn all(token: &str) -> Vec<Case> {
    let mut cases = paths_and_methods();
    cases.extend(queries());
    cases.extend(names());
    cases.extend(contexts(token));
    cases.extend(cursors::all());
    cases.extend(write_parameters());
    cases.extend(idempotency_keys());
    cases.extend(content_types());
    cases.extend(json_shapes());
    cases.extend(json_values());
    cases.extend(limits());
    cases.extend(framing());
    cases.extend(many::all());
    cases.extend(draining::all());
    cases
}

fn paths_and_methods() -> Vec<Case> {
    vec![
        plain("the root", "GET /", "", 404, "not-found").says("/openapi.json"),
        plain("an unknown path", "GET /nothing", "", 404, "not-found"),
        plain("a path with a slash more", "GET /read/?key=kept", "", 404, "not-found"),
        plain("a path in capitals", "GET /READ?key=kept", "", 404, "not-found"),
        plain("a path that climbs", "GET /read/../status", "", 404, "not-found"),
        plain("a path that is encoded", "GET /%72ead?key=kept", "", 404, "not-found"),
        plain("a long unknown path", &format!("GET /{}", "x".repeat(5000)), "", 404, "not-found"),
        plain("PUT of a set", "PUT /set", "", 405, "method-not-allowed").answers("allow", "PATCH"),
        plain("POST of a set", "POST /set", "", 405, "method-not-allowed").answers("allow", "PATCH"),
        plain("GET of a set", "GET /set", "", 405, "method-not-allowed").answers("allow", "PATCH"),
        plain("HEAD of a set", "HEAD /set", "", 405, "method-not-allowed").answers("allow", "PATCH"),
        plain("DELETE of a key", "DELETE /read?key=kept", "", 405, "method-not-allowed")
            .answers("allow", "GET,HEAD,POST"),
        plain("PATCH of a read", "PATCH /read?key=kept", "", 405, "method-not-allowed"),
        plain("OPTIONS", "OPTIONS /read", "", 405, "method-not-allowed"),
        plain("TRACE", "TRACE /keys", "", 405, "method-not-allowed").answers("allow", "GET,HEAD"),
        plain("a method of one's own", "BREW /status", "", 405, "method-not-allowed"),
        plain("a method in small letters", "get /read?key=kept", "", 405, "method-not-allowed"),
        plain("POST of the status", "POST /status", "", 405, "method-not-allowed"),
        plain("CONNECT", "CONNECT example.org:443", "", 421, "wrong-host"),
        plain("a stranger's name", "GET /keys", "host: example.org:80\r\n", 421, "wrong-host")
            .member("host", "example.org:80")
            .says("CAUSEWAY_HOSTS"),
        plain("a page of another origin", "POST /read", "origin: http://example.org\r\n", 403, "cross-origin")
            .member("origin", "http://example.org"),
    ]
}

fn queries() -> Vec<Case> {
    vec![
        plain("no query", "GET /read", "", 400, "missing-key"),
        plain("no key", "GET /read?", "", 400, "missing-key"),
        plain("an empty key", "GET /read?key=", "", 400, "missing-key"),
        plain("a key without its equals sign", "GET /read?key", "", 400, "missing-key"),
        plain("HEAD without a key", "HEAD /read", "", 400, "missing-key"),
        plain("two keys", "GET /read?key=kept&key=other", "", 400, "duplicate-parameter").member("parameter", "key"),
        plain("the same key twice", "GET /read?key=kept&key=kept", "", 400, "duplicate-parameter"),
        plain("an unknown parameter", "GET /read?key=kept&colour=red", "", 400, "unknown-parameter")
            .member("parameter", "colour"),
        plain("a parameter in capitals", "GET /read?Key=kept", "", 400, "unknown-parameter").member("parameter", "Key"),
        plain("a parameter of the status", "GET /status?verbose=1", "", 400, "unknown-parameter"),
        plain("a bucket that there is not", "GET /fingerprint?bucket=256", "", 400, "bad-parameter")
            .member("parameter", "bucket")
            .member("limit", 255),
        plain("a bucket with a sign", "GET /fingerprint?bucket=%2B1", "", 400, "bad-parameter"),
        plain("an empty bucket", "GET /fingerprint?bucket=", "", 400, "bad-parameter"),
        plain("a stray percent sign", "GET /read?key=100%", "", 400, "bad-query"),
        plain("a percent sign with one digit", "GET /read?key=%4", "", 400, "bad-query"),
        plain("a percent sign with letters", "GET /read?key=%zz", "", 400, "bad-query"),
        plain("a percent sign with a sign", "GET /read?key=%+1", "", 400, "bad-query"),
        plain("a key that is not UTF-8", "GET /read?key=%ff%fe", "", 400, "bad-query"),
        plain("a key with an overlong sequence", "GET /read?key=%c0%80", "", 400, "bad-query"),
        plain("a key with half of a UTF-16 pair", "GET /read?key=%ed%a0%80", "", 400, "bad-query"),
        plain("a bad percent sign in a name", "GET /read?k%ey=kept", "", 400, "bad-query"),
        plain("an unknown resolve", "GET /read?key=kept&resolve=oldest", "", 400, "bad-parameter")
            .member("parameter", "resolve"),
        plain("an empty resolve", "GET /read?key=kept&resolve=", "", 400, "bad-parameter"),
        plain("a limit of 0", "GET /keys?limit=0", "", 400, "bad-parameter").member("limit", 1000),
        plain("a limit over the limit", "GET /keys?limit=1001", "", 400, "bad-parameter").member("limit", 1000),
        plain("a limit that is no number", "GET /keys?limit=ten", "", 400, "bad-parameter"),
        plain("a limit below zero", "GET /keys?limit=-1", "", 400, "bad-parameter"),
        plain("a limit beyond all numbers", "GET /keys?limit=99999999999999999999999", "", 400, "bad-parameter"),
        plain("a limit given twice", "GET /keys?limit=5&limit=6", "", 400, "duplicate-parameter"),
    ]
}

/// Of writes and of peers.
fn names() -> Vec<Case> {
    let too_high = format!("GET /writes/0.00c0ffee00c0ffee.{}", u64::MAX);
    vec![
        plain("a write that nobody made", "GET /writes/0.00c0ffee00c0ffee.7", "", 404, "unknown-write"),
        plain("a dot that is none", "GET /writes/seven", "", 400, "bad-dot"),
        plain("a dot with a counter too high", &too_high, "", 400, "bad-dot"),
        plain("a dot that is not UTF-8", "GET /writes/%ff", "", 400, "bad-dot"),
        plain("no dot", "GET /writes/", "", 404, "not-found"),
        plain("a peer that there is not", "GET /pending?peer=7", "", 404, "unknown-peer").member("peer", 7),
        plain("a peer that is no number", "GET /pending?peer=x", "", 400, "bad-parameter").member("parameter", "peer"),
        plain("no peer", "GET /pending", "", 400, "bad-parameter")
            .member("parameter", "peer")
            .says("the parameter 'peer' is missing"),
        plain("a page of no conflicts", "GET /conflicts?limit=0", "", 400, "bad-parameter").member("limit", 1000),
        plain("a parameter of the cluster", "GET /cluster?x=1", "", 400, "unknown-parameter"),
        plain("a parameter of its events", "GET /cluster/events?x=1", "", 400, "unknown-parameter"),
        plain("a parameter of the latency", "GET /latency?x=1", "", 400, "unknown-parameter"),
    ]
}

fn contexts(token: &str) -> Vec<Case> {
    let header = |value: &str| format!("causal-context: {value}\r\n");
    let read = |name, headers: &str| plain(name, "GET /read?key=kept", headers, 400, "bad-context");
    let write = |name, headers: &str| set_with(name, "", &format!("{JSON}{headers}"), 400, "bad-context");
    vec![
        read("an empty context", &header("")),
        read("a context of nonsense", &header("nonsense")),
        read("a context that is no base64", &header("not a token!")),
        read("a context of zeros", &header(&"A".repeat(token.len()))),
        read("a context cut short", &header(&token[..token.len() - 3])),
        read("a context with more behind it", &header(&format!("{token}AAAA"))),
        read("a context with padding", &header(&format!("{token}=="))),
        read("a context that is far too long", &header(&"A".repeat(40_000))),
        read("a context that is not ASCII", &header("ü")),
        read("two contexts", &format!("{}{}", header(token), header(token))),
        write("a write with nonsense as context", &header("nonsense")),
        write("a write with a context cut short", &header(&token[..token.len() / 2])),
        write("a write with two contexts", &format!("{}{}", header(token), header(token))),
        plain("keys with nonsense as context", "GET /keys", &header("nonsense"), 400, "bad-context"),
        plain("a wait that is no number", "GET /read?key=kept", "prefer: wait=long\r\n", 400, "bad-header")
            .member("header", "Prefer"),
        plain("a wait without a value", "GET /read?key=kept", "prefer: wait\r\n", 400, "bad-header"),
        plain("a wait below zero", "GET /read?key=kept", "prefer: wait=-1\r\n", 400, "bad-header"),
        plain("an infinite wait", "GET /read?key=kept", "prefer: wait=inf\r\n", 400, "bad-header"),
        plain("a wait with an exponent", "GET /read?key=kept", "prefer: wait=1e3\r\n", 400, "bad-header"),
        plain("a preference that is not ASCII", "GET /read?key=kept", "prefer: ü\r\n", 400, "bad-header"),
        set_with("a write with a wait that is no number", "", &format!("{JSON}prefer: wait=x\r\n"), 400, "bad-header"),
    ]
}

fn write_parameters() -> Vec<Case> {
    let with = |extra: &str| format!("{JSON}{extra}");
    vec![
        set_with("an unknown replaces", "?replaces=all", JSON, 400, "bad-parameter").member("parameter", "replaces"),
        set_with("replaces=seen without a context", "?replaces=seen", JSON, 400, "context-needed"),
        set_with("no acks", "?acks=0", JSON, 400, "bad-parameter").member("parameter", "acks"),
        set_with("acks below zero", "?acks=-1", JSON, 400, "bad-parameter"),
        set_with("acks with a sign", "?acks=%2B1", JSON, 400, "bad-parameter"),
        set_with("half an ack", "?acks=0.5", JSON, 400, "bad-parameter"),
        set_with("acks by an unknown name", "?acks=some", JSON, 400, "bad-parameter"),
        set_with("empty acks", "?acks=", JSON, 400, "bad-parameter"),
        set_with("more acks than nodes", "?acks=2", JSON, 422, "too-many-acks").member("limit", 1),
        set_with("acks twice", "?acks=1&acks=1", JSON, 400, "duplicate-parameter"),
        set_with("an unknown parameter of a write", "?key=kept", JSON, 400, "unknown-parameter"),
        set_with("If-Match", "", &with("if-match: \"abc\"\r\n"), 400, "not-supported").member("header", "If-Match"),
        set_with("If-Match with a star", "", &with("if-match: *\r\n"), 400, "not-supported"),
        set_with("If-None-Match on a write", "", &with("if-none-match: *\r\n"), 400, "not-supported"),
        set_with(
            "If-Unmodified-Since",
            "",
            &with("if-unmodified-since: Tue, 24 Nov 2026 14:00:00 GMT\r\n"),
            400,
            "not-supported",
        ),
    ]
}

/// The idempotency key of the write that was made before all of these.
pub(crate) const USED_KEY: &str = "used";

fn idempotency_keys() -> Vec<Case> {
    let of = |name, key: &str| {
        set_with(name, "", &format!("{JSON}idempotency-key: {key}\r\n"), 400, "bad-header")
            .member("header", "Idempotency-Key")
            .member("limit", 64)
    };
    vec![
        of("an empty idempotency key", ""),
        of("a long idempotency key", &"k".repeat(65)),
        of("an idempotency key with a space", "a b"),
        of("an idempotency key with a tab", "a\tb"),
        of("an idempotency key that is not ASCII", "schlüssel"),
        of("two idempotency keys", "a\r\nidempotency-key: b"),
        of("an idempotency key twice", "a\r\nidempotency-key: a"),
        set_with("a used key", "", &format!("{JSON}idempotency-key: {USED_KEY}\r\n"), 422, "idempotency-key-reused"),
    ]
}

fn content_types() -> Vec<Case> {
    let of = |name, value: &str| {
        set_with(name, "", &format!("content-type: {value}\r\n"), 415, "unsupported-content-type")
            .answers("accept-patch", "application/json")
    };
    vec![
        set_with("no content type", "", "", 415, "unsupported-content-type"),
        of("plain text", "text/plain"),
        of("a form", "application/x-www-form-urlencoded"),
        of("a JSON patch", "application/json-patch+json"),
        of("JSON that is not application/json", "text/json"),
        of("JSON in Latin-1", "application/json; charset=iso-8859-1"),
        of("an empty content type", ""),
        set_with(
            "two content types",
            "",
            "content-type: application/json\r\ncontent-type: text/plain\r\n",
            415,
            "unsupported-content-type",
        ),
        set_with(
            "a compressed body",
            "",
            &format!("{JSON}content-encoding: gzip\r\n"),
            415,
            "unsupported-content-encoding",
        )
        .answers("accept-encoding", "identity"),
        set_with(
            "a body that is compressed in a second header",
            "",
            &format!("{JSON}content-encoding: identity\r\ncontent-encoding: gzip\r\n"),
            415,
            "unsupported-content-encoding",
        ),
        case(
            "a read of many keys as a form",
            message("POST /read", "content-type: application/x-www-form-urlencoded\r\n", b"keys=kept"),
            415,
            Some("unsupported-content-type"),
        )
        .answers("accept-post", "application/json"),
    ]
}

fn json_shapes() -> Vec<Case> {
    vec![
        set("an empty body", b"", 400, "not-json"),
        set("blanks", b"  \n ", 400, "not-json"),
        set("JSON cut short", br#"{"values": {"kept": "cha"#, 400, "not-json").member("line", 1),
        set("JSON without its last brace", br#"{"values": {"kept": "changed"}"#, 400, "not-json"),
        set("a comma too many", br#"{"values": {"kept": "changed",}}"#, 400, "not-json"),
        set("single quotes", b"{'values': {'kept': 'changed'}}", 400, "not-json"),
        set("more behind the end", br#"{"values": {"kept": "changed"}} {}"#, 400, "not-json"),
        set("a comment", br#"{"values": {"kept": "changed"}} // yes"#, 400, "not-json"),
        set("a byte order mark", b"\xef\xbb\xbf{\"values\": {\"kept\": \"changed\"}}", 400, "not-json"),
        set("a raw line break in a string", b"{\"values\": {\"kept\": \"a\nb\"}}", 400, "not-json"),
        set("an unknown escape", br#"{"values": {"kept": "\x41"}}"#, 400, "not-json"),
        set("NaN", br#"{"values": {"kept": NaN}}"#, 400, "not-json"),
        set("JSON that is very deep", deep(5000).as_bytes(), 422, "wrong-type"),
        set("broken behind something wrong", br#"{"values": {"kept": 1}, "x"#, 400, "not-json"),
        set("an array", b"[]", 422, "wrong-type").member("found", "an array"),
        set("a string", br#""values""#, 422, "wrong-type").member("found", "a string"),
        set("null", b"null", 422, "wrong-type").member("expected", "an object"),
        set("a number", b"17", 422, "wrong-type"),
        set("an empty object", b"{}", 422, "missing-field").member("field", "values"),
        set("values that are null", br#"{"values": null}"#, 422, "wrong-type"),
        set("values that are an array", br#"{"values": [["kept", "changed"]]}"#, 422, "wrong-type"),
        set("values that are a string", br#"{"values": "kept"}"#, 422, "wrong-type"),
        set("no values", br#"{"values": {}}"#, 422, "no-entries").member("field", "values"),
        set("values twice", br#"{"values": {"kept": "1"}, "values": {"kept": "2"}}"#, 422, "duplicate-field"),
        set("another field", br#"{"values": {"kept": "1"}, "ttl": 5}"#, 422, "unknown-field")
            .member("fields", json!(["ttl"])),
        set("other fields", br#"{"b": [{"c": 1}], "values": {"kept": "1"}, "a": null}"#, 422, "unknown-field")
            .member("fields", json!(["b", "a"])),
        set("values in capitals", br#"{"Values": {"kept": "1"}}"#, 422, "unknown-field"),
        set("the values without 'values'", br#"{"kept": "changed"}"#, 422, "unknown-field")
            .says("there is no field 'kept'; this call takes the field 'values'"),
    ]
}

fn deep(levels: usize) -> String {
    format!("{{\"values\": {}{}}}", "[".repeat(levels), "]".repeat(levels))
}

fn json_values() -> Vec<Case> {
    let kept = |name, value: &str| {
        set(name, format!(r#"{{"values": {{"other": "changed", "kept": {value}}}}}"#).as_bytes(), 422, "wrong-type")
            .member("key", "kept")
    };
    vec![
        kept("a number as a value", "1").member("found", "a number"),
        kept("a fraction as a value", "1.5"),
        kept("a number below zero as a value", "-1"),
        kept("a boolean as a value", "true").member("found", "a boolean"),
        kept("an array as a value", r#"["a", {"b": 1}]"#).member("found", "an array"),
        kept("an object as a value", r#"{"a": {"b": null}}"#).member("found", "an object"),
        set("a number beyond all numbers", br#"{"values": {"kept": 1e999}}"#, 422, "wrong-type"),
        set("an empty key to write", br#"{"values": {"kept": "changed", "": "x"}}"#, 422, "empty-key"),
        set("a key twice", br#"{"values": {"kept": "1", "kept": "2"}}"#, 422, "duplicate-key").member("key", "kept"),
        set("a key twice, deleted once", br#"{"values": {"kept": "1", "kept": null}}"#, 422, "duplicate-key"),
        set("a key twice, spelt otherwise", br#"{"values": {"kept": "1", "\u006bept": "1"}}"#, 422, "duplicate-key"),
        set("a value that is not UTF-8", b"{\"values\": {\"kept\": \"\xff\"}}", 422, "bad-utf8"),
        set("a key that is not UTF-8", b"{\"values\": {\"k\xc3\": \"x\"}}", 422, "bad-utf8"),
        set("UTF-16", b"\xff\xfe{\0}\0", 422, "bad-utf8"),
        set("half of a pair in a value", br#"{"values": {"kept": "\ud800"}}"#, 422, "bad-utf8")
            .says("half of a UTF-16 pair"),
        set("the wrong half of a pair", br#"{"values": {"kept": "\udc00 and more"}}"#, 422, "bad-utf8")
            .says("half of a UTF-16 pair"),
        set("half of a pair in a key", br#"{"values": {"\ud83d": "x"}}"#, 422, "bad-utf8"),
    ]
}

fn limits() -> Vec<Case> {
    let long_key = "k".repeat(65);
    let wide_key = "ü".repeat(33);
    let long_value = "v".repeat(1001);
    let entries = |count: usize| (0..count).map(|index| format!("\"k{index}\": \"v\"")).collect::<Vec<_>>().join(",");
    let large = " ".repeat(20_001);
    let write = |entries: &str| format!("{{\"values\": {{{entries}}}}}").into_bytes();
    vec![
        set("a key that is too long", &write(&format!("\"{long_key}\": \"x\"")), 413, "key-too-long")
            .member("limit", 64)
            .member("key", long_key.clone()),
        set("a key that is too long in bytes", &write(&format!("\"{wide_key}\": \"x\"")), 413, "key-too-long"),
        set("a key that is too long, to delete", &write(&format!("\"{long_key}\": null")), 413, "key-too-long"),
        set(
            "a value that is too long",
            &write(&format!("\"other\": \"1\", \"kept\": \"{long_value}\"")),
            413,
            "value-too-long",
        )
        .member("key", "kept")
        .member("limit", 1000),
        set("too many entries", &write(&entries(51)), 413, "too-many-entries").member("limit", 50),
        set("a request that is too large", large.as_bytes(), 413, "request-too-large").member("limit", 20_000),
        case("a request that is too large, in chunks", chunked(&[&large]), 413, Some("request-too-large")),
    ]
}

pub(super) fn chunked(parts: &[&str]) -> Vec<u8> {
    let mut bytes =
        format!("PATCH /set HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{JSON}transfer-encoding: chunked\r\n\r\n");
    for part in parts {
        bytes.push_str(&format!("{:x}\r\n{part}\r\n", part.len()));
    }
    bytes.push_str("0\r\n\r\n");
    bytes.into_bytes()
}

fn framing() -> Vec<Case> {
    let head = format!("PATCH /set HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{JSON}");
    vec![
        case(
            "a body that ends early",
            format!("{head}content-length: 100\r\n\r\n{{\"values\": {{\"kept\": \"changed\"}}}}").into_bytes(),
            400,
            Some("bad-body"),
        ),
        case(
            "chunks that end early",
            format!("{head}transfer-encoding: chunked\r\n\r\n5\r\n{{\"val").into_bytes(),
            400,
            Some("bad-body"),
        ),
        case(
            "a chunk with a broken size",
            format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n").into_bytes(),
            400,
            Some("bad-body"),
        ),
    ]
}
