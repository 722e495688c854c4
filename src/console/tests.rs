#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

use super::*;

/// What all files may take together: the page is to load fast over a bad line.
const MAX_BYTES: usize = 150 << 10;

async fn get(path: &str, headers: &[(&str, &str)]) -> Response {
    request("GET", path, headers).await
}

async fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), MAX_BYTES).await.unwrap().to_vec()
}

#[tokio::test]
async fn every_file_is_handed_out_once_and_then_only_asked_about() {
    for asset in ASSETS {
        let first = get(asset.path, &[]).await;
        assert_eq!(first.status(), StatusCode::OK, "{}", asset.path);
        assert_eq!(first.headers()[CONTENT_TYPE], asset.content_type);
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 34, "{tag}");
        assert_eq!(body(first).await, asset.bytes);

        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let again = get(asset.path, &[("if-none-match", &known)]).await;
            assert_eq!((again.status(), again.headers()[ETAG].to_str().unwrap()), (StatusCode::NOT_MODIFIED, &*tag));
            assert_eq!(body(again).await, b"");
        }
        let changed = get(asset.path, &[("if-none-match", "\"0123\"")]).await;
        assert_eq!(changed.status(), StatusCode::OK);

        let head = request("HEAD", asset.path, &[]).await;
        assert_eq!((head.status(), head.headers()[ETAG].to_str().unwrap()), (StatusCode::OK, &*tag));
        assert_eq!(body(head).await, b"");
    }
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    for headers in [&[][..], &[("if-none-match", "*")]] {
        let response = get("/", headers).await;
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'; ") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
    }
}

#[tokio::test]
async fn files_are_only_read() {
    let response = request("PUT", "/console/main.js", &[]).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[ALLOW], "GET,HEAD");
    let problem: serde_json::Value = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!(problem["type"], "/problems/method-not-allowed");
}

#[test]
fn all_files_are_listed_are_small_and_name_only_each_other() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/assets");
    let files = fs::read_dir(directory).unwrap().count();
    assert_eq!(files, ASSETS.len(), "a file in assets/ is not in the list");
    let bytes: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
    for asset in ASSETS {
        let text = std::str::from_utf8(asset.bytes).unwrap();
        // A quoted path below /console/ is one of these files.
        for part in text.split("\"/console/").skip(1) {
            let path = format!("/console/{}", part.split('"').next().unwrap());
            assert!(ASSETS.iter().any(|asset| asset.path == path), "{} names {path}", asset.path);
        }
    }
}

/// The policy forbids these, in the browser. Here it fails before anybody opens one.
#[test]
fn text_never_becomes_markup_and_nothing_comes_from_elsewhere() {
    const MARKUP: [&str; 7] = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "DOMParser",
        "setAttribute(\"style\"",
    ];
    for asset in ASSETS {
        let text = std::str::from_utf8(asset.bytes).unwrap();
        for word in MARKUP {
            assert!(!text.contains(word), "{} has {word}", asset.path);
        }
        let elsewhere =
            text.match_indices("://").filter(|(at, _)| !text[..*at].ends_with(r"\:") && !is_namespace(text, *at));
        assert_eq!(elsewhere.count(), 0, "{} names another host", asset.path);
    }
    let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
    assert!(!page.contains(" style=") && !page.contains(" onclick=") && !page.contains("<script>"));
}

/// The name of SVG is an address that nobody asks, and a pattern is none.
fn is_namespace(text: &str, at: usize) -> bool {
    text[at..].starts_with("://www.w3.org/2000/svg")
}
