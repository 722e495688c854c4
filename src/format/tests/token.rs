//! Tokens: short, exact, and nothing else is one.

use proptest::prelude::*;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::examples::{self, origin};
use super::strategies::any_context;
use crate::causality::{CausalContext, VersionVector};
use crate::format::token::{MAX_TOKEN_CHARS, TokenError, decode, encode};
use crate::format::{FormatError, frame};

proptest! {
    #[test]
    fn a_context_is_read_as_written(context in any_context()) {
        let token = encode(&context);
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        prop_assert_eq!(decode(&token), Ok(context));
    }

    #[test]
    fn a_cut_or_altered_token_is_refused(context in any_context(), at: prop::sample::Index, other in "[A-Za-z0-9_-]") {
        let token = encode(&context);
        let at = at.index(token.len());
        prop_assert!(decode(&token[..at]).is_err());
        let altered = format!("{}{}{}", &token[..at], other, &token[at + 1..]);
        prop_assert!(altered == token || decode(&altered).is_err());
        prop_assert!(decode(&[token.as_str(), &other].concat()).is_err());
    }

    #[test]
    fn random_text_is_refused(text: String) {
        prop_assert!(decode(&text).is_err());
    }

    /// The checksum is right: it is refused, or it is the one token of its context.
    #[test]
    fn a_random_payload_is_no_second_token_of_a_context(
        shape in 0u8..3, payload in proptest::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..40),
    ) {
        let token = sealed(&[&[shape], payload.as_slice()].concat());
        if let Ok(context) = decode(&token) {
            prop_assert_eq!(encode(&context), token);
        }
    }
}

fn sealed(payload: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(frame::seal(1, |bytes| bytes.extend_from_slice(payload)))
}

fn read_token(origins: u32) -> String {
    let dot = |index: u32| origin(10_000 - index, u64::MAX - u64::from(index)).dot(1_000_000_000);
    encode(&CausalContext::of_state((0..origins).map(dot).collect::<VersionVector>()))
}

#[test]
fn tokens_are_short() {
    assert!(read_token(1).len() <= 40, "{}", read_token(1).len());
    assert!(read_token(10).len() <= 250, "{}", read_token(10).len());
}

#[test]
fn a_token_that_is_too_long_is_not_looked_at() {
    let chars = MAX_TOKEN_CHARS + 1;
    assert_eq!(decode(&"A".repeat(chars)), Err(TokenError::TooLong { chars }));
}

#[test]
fn a_token_of_a_newer_version_is_named() {
    let newer = URL_SAFE_NO_PAD.encode(frame::seal(2, |_| {}));
    assert_eq!(decode(&newer), Err(FormatError::Version { what: "token", found: 2, oldest: 1, newest: 1 }.into()));
}

/// What is wrong with a payload whose checksum is right.
fn problem_of(payload: &[u8]) -> String {
    match decode(&sealed(payload)) {
        Err(TokenError::Format(FormatError::Malformed { problem, .. })) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_context_has_one_token() {
    let dot = |node: u8, counter: u8| [&[node][..], &[0; 8], &[counter]].concat();
    let payload = |parts: &[&[u8]]| problem_of(&parts.concat());
    assert_eq!(payload(&[&[0, 2], &dot(1, 1), &dot(0, 1)]), "a version vector is not in order");
    assert_eq!(payload(&[&[0, 2], &dot(1, 1), &dot(1, 2)]), "a version vector is not in order");
    assert_eq!(payload(&[&[0, 1], &dot(1, 0)]), "a counter is out of range");
    assert_eq!(payload(&[&[0, 1], &dot(1, 1), &[0]]), "there is more behind its end");
    assert_eq!(payload(&[&[0, 0x80, 0]]), "a number is not in its shortest form");
    assert_eq!(payload(&[&[0], &[0xff; 10]]), "a number is too large");
    assert_eq!(payload(&[&[0], &[0xff, 0xff, 0x7f]]), "it names more dots than a token may");
    assert_eq!(payload(&[&[0, 1, 1]]), "it ends too early");
    assert_eq!(payload(&[&[1, 0, 0, 0]]), "it says the same twice");
    assert_eq!(payload(&[&[1, 0, 0, 2], &dot(1, 1), &dot(1, 1)]), "it names a dot twice");
    assert_eq!(payload(&[&[1, 0, 0, 9]]), "it names more dots than a token may");
    assert_eq!(payload(&[&[7, 0]]), "its shape is not known");
    assert_eq!(payload(&[&[0, 1, 0xff, 0xff, 0xff, 0xff, 0x7f], &dot(0, 1)]), "a node id is too large");
}

#[test]
fn more_dots_than_a_token_holds_lose_the_oldest() {
    let mut context = examples::context_with_dots();
    context.seen.dots = (1..=10).map(|counter| origin(5, 5).dot(counter)).collect();
    let read = decode(&encode(&context)).unwrap();
    assert_eq!(read.seen.dots, context.seen.dots[2..]);
}
