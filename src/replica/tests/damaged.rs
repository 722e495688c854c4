//! A node whose stored keys are damaged gets the state of one that is whole.

use super::faults::{Lone, statement};
use crate::causality::NodeId;
use crate::replica::{Answer, Effect, Input, LinkId, Replaces, RequestId, Send, Statement, TICK_MS, Write};

const PEER: NodeId = NodeId(1);

/// What is sent to the one peer.
fn sent(effects: &[Effect]) -> Option<&Send> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send(send) => Some(send),
        _ => None,
    })
}

fn wants(number: u64) -> Statement {
    Statement { wants_state: true, ..statement(PEER, 7, number, &[]) }
}

#[test]
fn a_peer_that_wants_a_state_gets_it_though_it_lacks_nothing_and_until_it_does_not_any_more() {
    let mut lone = Lone::new(Some(PEER));
    let effects = lone.answered(Vec::new(), wants(1), Vec::new());
    assert!(sent(&effects).is_some_and(|send| send.state && !send.probe), "{effects:?}");
    let answered = |number, taken, wants_state| {
        let receiver = Statement { wants_state, ..wants(number) };
        let (implied, missing) = (Vec::new(), Vec::new());
        let answer = Answer { receiver, implied, missing, redundant: 0, twin_ms: None };
        Input::StateAnswered { link: LinkId(0), answer, taken }
    };
    let effects = lone.feed(answered(2, true, true));
    assert!(sent(&effects).is_some_and(|send| send.state), "the next piece: {effects:?}");
    // Another fills it: ops go on, and a while later it is asked again.
    assert!(sent(&lone.feed(answered(3, false, true))).is_none());
    let write = Write { entries: vec![("k".into(), None)], replaces: Replaces::Held, trace: None, once: None };
    drop(lone.feed(Input::Write { request: RequestId(0), write }));
    let effects = lone.feed(Input::Persisted { through: 1 });
    let send = sent(&effects).expect("there is an op to send");
    assert!(!send.state && send.ops.len() == 1, "{send:?}");
    let had = send.ops[0].origin.dot(1);
    let has = |number| Statement { wants_state: true, ..statement(PEER, 7, number, &[had]) };
    assert!(sent(&lone.answered(vec![had], has(4), Vec::new())).is_none(), "it is left in peace");
    lone.after(1_000 + TICK_MS);
    let effects = lone.feed(Input::Tick);
    assert!(sent(&effects).is_some_and(|send| send.state), "{effects:?}");
    let effects = lone.feed(answered(6, true, false));
    assert!(sent(&effects).is_none_or(|send| !send.state), "{effects:?}");
}

#[test]
fn a_damaged_node_says_so_and_sends_no_state() {
    let mut lone = Lone::new(Some(PEER));
    drop(lone.feed(Input::WantsState(true)));
    let effects = lone.answered(Vec::new(), wants(1), Vec::new());
    assert!(sent(&effects).is_none_or(|send| !send.state), "{effects:?}");
    lone.after(600);
    let effects = lone.feed(Input::Tick);
    assert!(sent(&effects).is_some_and(|send| send.push.sender.wants_state && !send.state), "{effects:?}");
    drop(lone.feed(Input::WantsState(false)));
    let effects = lone.answered(Vec::new(), wants(2), Vec::new());
    assert!(sent(&effects).is_some_and(|send| send.state && !send.push.sender.wants_state), "{effects:?}");
}

/// It answers digests, so it is not away: without a pause pieces would be sent to it as fast as it refuses them.
#[test]
fn a_peer_that_does_not_take_a_state_is_offered_it_again_after_a_while() {
    let mut lone = Lone::new(Some(PEER));
    let effects = lone.answered(Vec::new(), wants(1), Vec::new());
    assert!(sent(&effects).is_some_and(|send| send.state), "{effects:?}");
    let effects = lone.feed(Input::SendFailed { link: LinkId(0), rejection: None });
    assert!(sent(&effects).is_some_and(|send| send.probe), "{effects:?}");
    let effects = lone.answered(Vec::new(), wants(2), Vec::new());
    assert!(sent(&effects).is_none_or(|send| !send.state), "{effects:?}");
    lone.after(1_000 + TICK_MS);
    let effects = lone.feed(Input::Tick);
    assert!(sent(&effects).is_some_and(|send| send.state), "{effects:?}");
}
