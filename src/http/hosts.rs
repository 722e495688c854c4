//! Which names a node is called by, and what pages of others may ask of it: against browsers that are used as a bridge to
//! nodes which only they can reach (docs/security.md).
//!
//! A page can have its own name lead to a node's address, and is then of one origin with it, as far as its browser can tell
//! (DNS rebinding). What it asks names the page all the same. And a page can send requests to the node under the node's own
//! name, without seeing the answers. Those that could change something say where the page is from.
//!
//! Promises: judged by the head alone, without memory; who is no browser is only ever refused for the name that he used.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method};

use super::problem::{Kind, Problem, shown};

/// What the public name system never leads to: who is called by a name that ends so was found by other means.
const NOT_PUBLIC: [&str; 5] = ["localhost", "local", "internal", "svc", "home.arpa"];

/// The names that a node answers to, besides those that no stranger can own. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<Names>);

#[derive(Debug, Default)]
struct Names {
    any: bool,
    names: Vec<String>,
    /// Without the dot that they were written with.
    endings: Vec<String>,
}

impl Hosts {
    /// Of names; `.edge` stands for all that end so, `*` for any at all.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut known = Names::default();
        for name in names {
            match name.strip_prefix('.') {
                _ if name == "*" => known.any = true,
                Some(ending) => known.endings.push(ending.to_owned()),
                None => known.names.push(name.to_owned()),
            }
        }
        Self(Arc::new(known))
    }

    /// Refuses a request that a page may have made which is not this node's.
    pub(super) fn check(&self, request: &Request) -> Result<(), Problem> {
        let (named, headers) = (request.uri().authority(), request.headers());
        let in_headers = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        for host in named.map(|named| named.as_str().as_bytes()).into_iter().chain(in_headers) {
            let known = std::str::from_utf8(host).is_ok_and(|host| self.answers_to(name_of(host)));
            if !known {
                return Err(wrong_host(&String::from_utf8_lossy(host)));
            }
        }
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(());
        }
        // More than one is no browser's.
        headers.get_all(ORIGIN).iter().try_for_each(|origin| self.check_origin(origin, headers))
    }

    fn answers_to(&self, host: &str) -> bool {
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_address = host.parse::<Ipv4Addr>().is_ok() || bracketed(host).is_some();
        self.0.any
            || is_address
            || !name.contains(['.', '['])
            || NOT_PUBLIC.iter().any(|ending| is_below(name, ending))
            || self.names(name)
    }

    /// Whether it is one of those that were given, `*` aside.
    fn names(&self, name: &str) -> bool {
        self.0.names.iter().any(|known| known.eq_ignore_ascii_case(name))
            || self.0.endings.iter().any(|ending| is_below(name, ending))
    }

    fn check_origin(&self, origin: &HeaderValue, headers: &HeaderMap) -> Result<(), Problem> {
        let text = origin.to_str().unwrap_or_default();
        let from = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let own = headers.get(HOST).and_then(|host| host.to_str().ok());
        // A proxy may have put another name into `Host`, and have said so by the setting.
        let known =
            from.is_some_and(|from| own.is_some_and(|own| own.eq_ignore_ascii_case(from)) || self.names(name_of(from)));
        if known { Ok(()) } else { Err(cross_origin(text)) }
    }
}

/// A host without its port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => authority,
    }
}

fn bracketed(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether a name is another one, or ends with a dot and that.
fn is_below(name: &str, ending: &str) -> bool {
    let Some(start) = name.len().checked_sub(ending.len()) else { return false };
    let (before, end) = name.as_bytes().split_at(start);
    end.eq_ignore_ascii_case(ending.as_bytes()) && before.last().is_none_or(|last| *last == b'.')
}

fn wrong_host(host: &str) -> Problem {
    let host = shown(host);
    let detail = format!(
        "this node does not answer to the name '{host}', which a stranger's page may have made lead to it; if it is meant to, \
         say so in CAUSEWAY_HOSTS"
    );
    Problem::new(Kind::WrongHost, detail).with("host", host)
}

fn cross_origin(origin: &str) -> Problem {
    let origin = shown(origin);
    let detail = format!("only pages of this node's own origin may ask for that, not those of '{origin}'");
    Problem::new(Kind::CrossOrigin, detail).with("origin", origin)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body;

    use super::*;

    fn judged(hosts: &Hosts, method: &str, headers: &[(&str, &str)]) -> Option<Kind> {
        let request = headers.iter().fold(Request::builder().method(method), |request, (name, value)| {
            request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        hosts.check(&request.body(Body::empty()).unwrap()).err().map(|problem| problem.kind())
    }

    #[test]
    fn a_name_that_a_stranger_can_own_is_refused_unless_it_is_known() {
        let hosts = Hosts::new(["kv.example.com", ".edge"]);
        let known = [
            "127.0.0.1:8000",
            "127.0.0.1",
            "[::1]:8000",
            "[::1]",
            "localhost:8000",
            "LOCALHOST",
            "node0",
            "node0:8000",
            "node0.",
            "a.localhost",
            "printer.local",
            "kv.svc",
            "kv.ns.svc.cluster.local:80",
            "vm.c.project.internal",
            "kv.example.com",
            "KV.Example.Com.:443",
            "node0.edge",
            "edge",
            "a.b.EDGE:1",
            "",
        ];
        for host in known {
            assert_eq!(judged(&hosts, "GET", &[("host", host)]), None, "{host}");
        }
        let unknown = [
            "evil.example",
            "evil.example:8000",
            "evil.example.",
            "localhost.evil.example",
            "local.evil.example:80",
            "notlocal.host",
            "xlocalhost.com",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[evil.example]",
            "[",
            "a[.b",
            "x.kv.example.com",
            "example.com",
            "node0.ledge",
            "evil.example@x.y",
            "ü.example",
            "[::1]:80:evil.com",
        ];
        for host in unknown {
            assert_eq!(judged(&hosts, "GET", &[("host", host)]), Some(Kind::WrongHost), "{host}");
            assert_eq!(judged(&Hosts::new(["*"]), "GET", &[("host", host)]), None, "{host}");
        }
        assert_eq!(judged(&hosts, "GET", &[]), None, "HTTP/1.0");
        assert_eq!(judged(&hosts, "GET", &[("host", "node0"), ("host", "evil.example")]), Some(Kind::WrongHost));
        let absolute = Request::builder().uri("http://evil.example/read").header("host", "node0");
        assert!(hosts.check(&absolute.body(Body::empty()).unwrap()).is_err());
    }

    #[test]
    fn what_may_change_something_is_taken_of_own_pages_only() {
        let hosts = Hosts::new(["kv.example.com", "*"]);
        let from =
            |host: &str, origin: &str, method: &str| judged(&hosts, method, &[("host", host), ("origin", origin)]);
        for (host, origin) in [
            ("localhost:8000", "http://localhost:8000"),
            ("Node0:8000", "http://node0:8000"),
            ("[::1]:8000", "http://[::1]:8000"),
            ("other.example", "https://other.example"),
            ("node0:8000", "https://kv.example.com"),
        ] {
            assert_eq!(from(host, origin, "PATCH"), None, "{origin}");
        }
        for (host, origin) in [
            ("localhost:8000", "http://localhost:3000"),
            ("localhost:8000", "http://127.0.0.1:8000"),
            ("localhost:8000", "null"),
            ("localhost:8000", ""),
            ("localhost:8000", "http://evil.example"),
            ("localhost:8000", "file://localhost:8000"),
        ] {
            for method in ["PATCH", "PUT", "POST", "DELETE", "OPTIONS"] {
                assert_eq!(from(host, origin, method), Some(Kind::CrossOrigin), "{method} {origin}");
            }
            assert_eq!(from(host, origin, "GET"), None, "what it is answered no page of another origin sees");
        }
        assert_eq!(judged(&hosts, "PATCH", &[("origin", "http://x")]), Some(Kind::CrossOrigin));
        assert_eq!(judged(&hosts, "PATCH", &[("host", "x")]), None, "no browser");
    }
}
