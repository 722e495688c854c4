#![allow(clippy::unwrap_used)]

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::view::{Room, time};
use super::*;
use crate::causality::WallMs;

fn with(name: HeaderName, values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn a_query_is_decoded_as_a_form() {
    let [a, b] = query::params(Some("b=1+2%2B%263&a=%C3%BC"), ["a", "b"]).unwrap();
    assert_eq!((a.as_deref(), b.as_deref()), (Some("ü"), Some("1 2+&3")));
    let [a] = query::params(Some("a=b=c"), ["a"]).unwrap();
    assert_eq!(a.as_deref(), Some("b=c"));
    assert_eq!(query::params(None, ["a"]).unwrap(), [None]);
}

proptest! {
    #[test]
    fn any_text_passes_through_a_query(text in ".{0,40}|\\PC{0,40}") {
        let encoded: String = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).collect();
        let query = format!("a={encoded}");
        let [decoded] = query::params(Some(&query), ["a"]).unwrap();
        prop_assert_eq!(decoded.unwrap(), text);
    }

    #[test]
    fn no_query_panics(query in "[a%+&=0-9f ]{0,20}|.{0,20}") {
        let _ = query::params(Some(&query), ["a", "key"]);
    }

    #[test]
    fn no_body_panics_and_what_is_taken_is_what_was_said(body in json_like()) {
        let limits = Limits { key_bytes: 4, value_bytes: 4, entries: 3, ..Limits::default() };
        let _ = json::keys(&body, &limits);
        let _ = json::flag(&body, "draining");
        if let Ok(entries) = json::values(&body, &limits) {
            let said: serde_json::Value = serde_json::from_str(&body).unwrap();
            let said = said["values"].as_object().unwrap();
            prop_assert_eq!(entries.len(), said.len());
            for (key, value) in entries {
                prop_assert!(!key.is_empty() && key.len() <= 4);
                prop_assert_eq!(&said[&*key], &serde_json::Value::from(value.as_deref()));
            }
        }
    }

    #[test]
    fn a_broken_body_is_never_taken(cut in 0..32_usize) {
        let body = r#"{"values": {"a": "b", "c": null}}"#;
        prop_assert!(json::values(&body[..cut], &Limits::default()).is_err());
    }
}

/// Bodies that are nearly right.
fn json_like() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1.5e3".to_owned()),
        "\"[a-zü\\\\]{0,6}\"",
        Just("[[]]".to_owned()),
        Just("{\"a\": {}}".to_owned()),
    ];
    let entry = ("[ab]{0,5}", scalar).prop_map(|(key, value)| format!("\"{key}\": {value}"));
    let object = prop::collection::vec(entry, 0..5).prop_map(|entries| format!("{{{}}}", entries.join(",")));
    let field = ("values|keys|other", object).prop_map(|(name, value)| format!("\"{name}\": {value}"));
    prop::collection::vec(field, 0..3).prop_map(|fields| format!("{{{}}}", fields.join(",")))
}

#[test]
fn json_is_preferred_only_when_named_and_rated_higher() {
    for (accept, json) in [
        (&["application/json"][..], true),
        (&["text/plain", "application/json"], false),
        (&["text/plain;q=0.9", "application/json"], true),
        (&["application/json ; q=0.5 , text/plain;q=0.4"], true),
        (&["application/json;q=nonsense"], false),
        (&["application/*"], false),
        (&[], false),
    ] {
        assert_eq!(headers::wants_json(&with(ACCEPT, accept)), json, "{accept:?}");
    }
}

#[test]
fn content_types_of_json_in_utf8_are_taken() {
    for (given, taken) in [
        (&["application/json"][..], true),
        (&["application/json;charset=utf-8"], true),
        (&["application/json; CHARSET=\"utf-8\"; v=1"], true),
        (&["application/json; charset"], false),
        (&["application/jsonp"], false),
        (&[], false),
        (&["application/json", "application/json"], false),
    ] {
        assert_eq!(headers::json_body(&Method::PATCH, &with(CONTENT_TYPE, given)).is_ok(), taken, "{given:?}");
    }
}

#[test]
fn a_wait_is_read_from_the_first_wish_that_names_one() {
    let options = HttpOptions::default();
    for (prefer, seconds) in [
        (&[][..], 2.0),
        (&["return=minimal"], 2.0),
        (&["wait=5"], 5.0),
        (&["return=minimal, wait=0.25; foo"], 0.25),
        (&["x", "Wait = 3", "wait=4"], 3.0),
        (&["wait=0"], 0.0),
        (&["wait=31"], 30.0),
    ] {
        let wait = session::wait(&with(HeaderName::from_static("prefer"), prefer), &options).unwrap();
        assert_eq!(wait.as_secs_f64(), seconds, "{prefer:?}");
    }
}

#[test]
fn the_first_value_always_fits_and_none_does_after_one_that_did_not() {
    let mut room = Room::new(10);
    assert!(room.takes(100));
    assert!(room.takes(0));
    assert!(!room.takes(1));
    let mut room = Room::new(10);
    assert!(room.takes(4) && room.takes(6));
    assert!(!room.takes(1) && !room.takes(1));
}

#[test]
fn times_are_rfc_3339() {
    assert_eq!(time(WallMs(1_795_529_291_532)), "2026-11-24T14:08:11.532Z");
    // Whatever a peer's clock said.
    assert_eq!(time(WallMs(u64::MAX)), "9999-12-31T23:59:59.999Z");
}

#[test]
fn a_long_text_is_repeated_cut_between_characters() {
    assert_eq!(problem::shown("short"), "short");
    let cut = problem::shown(&"ü".repeat(2000));
    assert!(cut.len() < 1100 && cut.ends_with('…'));
}
