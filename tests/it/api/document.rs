//! `GET /openapi.json` is true of the routes that there are.

use reqwest::Method;

use crate::local::{Cluster, Node, Setup, document};

#[tokio::test]
async fn every_path_takes_the_methods_that_the_document_names_and_no_other() {
    let node = Node::alone(Setup::default()).await;
    for (path, mut methods) in document().await.paths() {
        let path = path.replace(['{', '}'], "");
        let reply = node.request(Method::from_bytes(b"BREW").unwrap(), &path).send().await.unwrap();
        assert_eq!(reply.status(), 405, "{path}");
        let mut allowed: Vec<_> = reply.headers()["allow"].to_str().unwrap().split(',').map(str::to_owned).collect();
        allowed.sort();
        methods.sort();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[tokio::test]
async fn the_document_is_sent_once_and_then_told_to_be_as_it_was() {
    let node = Node::alone(Setup::default()).await;
    let reply = node.get("/openapi.json").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.json()["openapi"], "3.1.0");
    let again = node.get_with("/openapi.json", &[("If-None-Match", reply.header("etag").unwrap())]).await;
    assert_eq!((again.status.as_u16(), &*again.body), (304, ""));
    assert_eq!(again.header("etag"), reply.header("etag"));
    assert_eq!(node.get("/openapi.json?pretty=1").await.problem(), "unknown-parameter");
}

/// What calls share must stand in the document where it can occur, and only there.
#[tokio::test]
async fn what_a_query_and_a_session_are_refused_for_is_documented_where_it_occurs_and_nowhere_else() {
    let node = Node::alone(Setup::default()).await;
    let document = document().await;
    for (method, path, query) in document.calls() {
        let name = document.parameter(&method, &path).unwrap_or("none");
        for (kind, query, header) in [
            ("bad-query", format!("{query}a=%zz"), ("accept", "*/*")),
            ("unknown-parameter", format!("{query}colour=red"), ("accept", "*/*")),
            ("duplicate-parameter", format!("{name}=1&{name}=1"), ("accept", "*/*")),
            ("bad-context", query.clone(), ("causal-context", "nonsense")),
            ("bad-header", query.clone(), ("prefer", "wait=long")),
        ] {
            let request = node.request(method.parse().unwrap(), &format!("{path}?{query}"));
            let reply = request.header(header.0, header.1).send().await.unwrap();
            // Only a refusal is read to its end: there may be answers without one.
            let refused = reply.status() == 400 && reply.text().await.unwrap().contains(&format!("/problems/{kind}\""));
            assert_eq!(refused, document.refuses(&method, &path, kind), "{method} {path}?{query}: {kind}");
        }
    }
}

/// Of a node that has peers, too: every answer is held against the document as it comes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_peers_is_as_the_document_has_it() {
    let cluster = Cluster::of(3).await;
    for path in ["/status", "/cluster", "/fingerprint"] {
        let reply = cluster.nodes[0].get(path).await;
        assert_eq!(reply.status.as_u16(), 200, "{path}: {}", reply.body);
    }
}
