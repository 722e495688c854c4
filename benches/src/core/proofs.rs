//! What it costs that peers prove to each other who they are: a push is signed, judged, compared, and its answer too; beside
//! what the same push costs without that.

use std::hint::black_box;
use std::sync::Arc;

use causeway::auth::{Caller, Gate, Keyring, Keys, Pass, Secrets, digest};
use causeway::format::{message, op};
use causeway::replica::{Entry, Op, Push};

use super::replicas::{FILLING_PUSHES, pushes};

const PATH: &str = "/replication/v1/push";

/// About what an answer has with ten nodes.
const ANSWER: &[u8] = &[7; 300];

/// The bytes of a push of one op whose value has this size.
fn push_of(bytes: usize) -> Vec<u8> {
    let mut push: Push = pushes(FILLING_PUSHES + 1).pop().expect("there is one");
    push.ops.truncate(1);
    encode(&with_value(push, bytes))
}

fn with_value(mut push: Push, bytes: usize) -> Push {
    for op in &mut push.ops {
        let entry = Entry { key: "key".into(), value: Some("v".repeat(bytes).into()), replaces: Vec::new() };
        *op = Arc::new(Op { entries: vec![entry], ..(**op).clone() });
    }
    push
}

fn encode(push: &Push) -> Vec<u8> {
    let ops: Vec<_> = push.ops.iter().map(|op| op::encode(op)).collect();
    message::encode_push(push, &ops)
}

/// Encodes and decodes a push, which both sides do anyway.
pub(super) fn without<const BYTES: usize>(_: usize) -> Box<dyn FnMut()> {
    let push = message::decode_push(&push_of(BYTES)).expect("it was encoded");
    Box::new(move || drop(black_box(message::decode_push(&encode(black_box(&push))).expect("it was encoded"))))
}

/// All that is added to a push and its answer, on both sides together.
pub(super) fn proven<const BYTES: usize>(_: usize) -> Box<dyn FnMut()> {
    let body = push_of(BYTES);
    let secrets = Secrets::parse("a secret that is long enough for anybody").expect("it is");
    let keys = Keys::new(Keyring::new(&secrets, "causeway"));
    let (gate, caller) = (Gate::new(keys.clone(), 7), Caller::new(1, 7));
    let challenge = "0000000000000007.0".parse().expect("it is the first of the gate");
    Box::new(move || {
        let digest = digest(black_box(&body));
        let call = caller.sign(&keys.current(), "POST", PATH, Some(challenge), digest).expect("there is a secret");
        let Ok(Pass::Signed(proven)) = gate.admit("POST", PATH, Some(call.header())) else {
            unreachable!("it is signed")
        };
        let mut check = proven.body_check();
        check.update(&body);
        assert!(check.is_whole());
        let answer = proven.sign_answer(200, message::CONTENT_TYPE.as_bytes(), ANSWER);
        assert!(call.check(Some(&answer), 200, message::CONTENT_TYPE.as_bytes(), ANSWER).is_ok());
    })
}
