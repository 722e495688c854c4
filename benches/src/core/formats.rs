//! Bytes and back.

use std::hint::black_box;
use std::sync::Arc;

use causeway::causality::CausalContext;
use causeway::format::{message, op, siblings, token};
use causeway::replica::{Op, Push};

use super::replicas::{FILLING_PUSHES, pushes};
use super::states;

/// An op that replaces one value, as most do.
fn an_op() -> Arc<Op> {
    a_push().0.ops.pop().expect("a push has ops")
}

pub(super) fn encode_op(_: usize) -> Box<dyn FnMut()> {
    let op = an_op();
    Box::new(move || drop(black_box(op::encode(black_box(&op)))))
}

pub(super) fn decode_op(_: usize) -> Box<dyn FnMut()> {
    let bytes = op::encode(&an_op());
    Box::new(move || drop(black_box(op::decode(black_box(&bytes)).expect("it was encoded"))))
}

fn a_push() -> (Push, Vec<Vec<u8>>) {
    let push = pushes(FILLING_PUSHES + 1).pop().expect("there is one");
    let ops = push.ops.iter().map(|op| op::encode(op)).collect();
    (push, ops)
}

pub(super) fn encode_push(_: usize) -> Box<dyn FnMut()> {
    let (push, ops) = a_push();
    Box::new(move || drop(black_box(message::encode_push(black_box(&push), black_box(&ops)))))
}

pub(super) fn decode_push(_: usize) -> Box<dyn FnMut()> {
    let (push, ops) = a_push();
    let bytes = message::encode_push(&push, &ops);
    Box::new(move || drop(black_box(message::decode_push(black_box(&bytes)).expect("it was encoded"))))
}

pub(super) fn encode_token<const NODES: u32>(_: usize) -> Box<dyn FnMut()> {
    let context = CausalContext::of_state(states::vector(NODES));
    Box::new(move || drop(black_box(token::encode(black_box(&context)))))
}

pub(super) fn decode_token<const NODES: u32>(_: usize) -> Box<dyn FnMut()> {
    let text = token::encode(&CausalContext::of_state(states::vector(NODES)));
    Box::new(move || drop(black_box(token::decode(black_box(&text)).expect("it was encoded"))))
}

pub(super) fn encode_siblings<const COUNT: usize>(_: usize) -> Box<dyn FnMut()> {
    let record = states::siblings(0, COUNT);
    Box::new(move || drop(black_box(siblings::encode(black_box(&record)))))
}

pub(super) fn decode_siblings<const COUNT: usize>(_: usize) -> Box<dyn FnMut()> {
    let bytes = siblings::encode(&states::siblings(0, COUNT));
    Box::new(move || drop(black_box(siblings::decode(black_box(&bytes)).expect("it was encoded"))))
}
