//! For every property a little history that keeps it, and ones that break just that.

use causeway_checker::history::{Detail, Event, Outcome, Refusal, Resolve, Shown, State, Volume, What};

use crate::builder::{History, dot, seen, shared, state};

/// Node 0 wrote `x`, node 1 wrote `x` without knowing; both arrived on both.
fn two_siblings() -> History {
    let mut history = History::of_nodes(2);
    history.held(1, 0, 1, "x", ["0:1", "0:1"]);
    history.held(2, 1, 2, "x", ["1:1", "1:1"]);
    history
}

#[test]
fn exact_reads() {
    let mut history = two_siblings();
    history.all(3, 0, "0:1 1:1", &[("x", &[(1, "0:1", 1), (2, "1:1", 2)])]);
    history.one(3, 1, "0:1 1:1", Resolve::Arrival, ("x", Some(1), 2));
    history.seen(3, 0, 3, "x", state("0:1"), ("0:2", seen("0:2", "0:2", "")));
    history.all(3, 0, "0:2 1:1", &[("x", &[(2, "1:1", 2), (3, "0:2", 3)])]);
    history.held(3, 0, 4, "-x", ["0:3", "0:3 1:1"]);
    history.one(3, 0, "0:3 1:1", Resolve::Newest, ("x", None, 0));
    history.passes("exact-reads");

    let wrong: [fn(&mut History); 6] = [
        |history| _ = history.all(3, 0, "0:1 1:1", &[("x", &[(2, "1:1", 2)])]),
        |history| _ = history.all(3, 0, "0:1", &[("x", &[(1, "0:1", 1), (2, "1:1", 2)])]),
        |history| _ = history.one(3, 0, "0:1 1:1", Resolve::Arrival, ("x", Some(1), 1)),
        |history| _ = history.one(3, 0, "0:1", Resolve::Newest, ("x", Some(2), 1)),
        |history| _ = history.one(3, 0, "0:1 1:1", Resolve::Newest, ("x", None, 0)),
        |history| {
            // Its own write does not give it what it never saw.
            history.seen(3, 0, 3, "x", state("0:1"), ("0:2", seen("0:2", "0:2", "")));
            history.all(3, 0, "0:2 1:1", &[("x", &[(3, "0:2", 3)])]);
        },
    ];
    for wrong in wrong {
        let mut history = two_siblings();
        wrong(&mut history);
        history.breaks("exact-reads");
    }
}

/// What a repeated write replaced is not told; that it was made once, and what it is called, is.
#[test]
fn a_write_that_was_sent_again_took_place_once() {
    let again = || {
        let mut history = two_siblings();
        history.repeated(3, 0, 3, "x", ("0:2", seen("0:2", "", "0:2")));
        history
    };
    let mut history = again();
    history.all(3, 0, "0:2 1:1", &[("x", &[(2, "1:1", 2), (3, "0:2", 3)])]);
    history.seen(3, 0, 4, "x", seen("0:2", "", "0:2"), ("0:3", seen("0:3", "", "0:2 0:3")));
    history.all(3, 0, "0:3 1:1", &[("x", &[(2, "1:1", 2), (4, "0:3", 4)])]);
    history.passes("no-phantoms");

    type Wrong = fn(&mut History);
    let wrong: [(&str, Wrong); 4] = [
        // Both sendings were made.
        ("no-phantoms", |history| _ = history.all(3, 0, "0:3 1:1", &[("x", &[(2, "1:1", 2), (3, "0:3", 4)])])),
        ("no-phantoms", |history| _ = history.one(3, 0, "0:3 1:1", Resolve::Arrival, ("x", Some(3), 2))),
        // It is not there although a state has its name.
        ("exact-reads", |history| _ = history.all(3, 0, "0:2 1:1", &[("x", &[(2, "1:1", 2)])])),
        // The answer covers what its client had not seen.
        ("only-seen", |history| _ = history.repeated(4, 0, 4, "x", ("0:3", state("0:3 1:1")))),
    ];
    for (property, wrong) in wrong {
        let mut history = again();
        wrong(&mut history);
        history.breaks(property);
    }
}

#[test]
fn a_delete_loses_to_a_write_that_it_did_not_know() {
    let mut history = two_siblings();
    history.held(1, 0, 3, "-x", ["0:2", "0:2"]);
    history.all(3, 0, "0:2 1:1", &[("x", &[(2, "1:1", 2)])]);
    history.passes("exact-reads");
    history.one(3, 0, "0:2 1:1", Resolve::Arrival, ("x", Some(1), 1));
    history.breaks("exact-reads");
}

#[test]
fn no_phantoms() {
    two_siblings().passes("no-phantoms");
    let cases: [fn(&mut History); 7] = [
        |history| _ = history.one(3, 0, "0:1", Resolve::Arrival, ("x", Some(9), 1)),
        |history| _ = history.all(3, 0, "0:1", &[("x", &[(1, "1:1", 1)])]),
        |history| _ = history.one(3, 0, "0:1", Resolve::Arrival, ("y", Some(1), 1)),
        |history| {
            history.refused(3, 0, 3, "x", Refusal::TooManySiblings).with(state("0:1"));
            history.edit(|request| {
                if let causeway_checker::history::Call::Write { replaces, .. } = &mut request.call {
                    *replaces = causeway_checker::history::Replaces::Seen;
                }
            });
            history.one(3, 0, "0:1", Resolve::Arrival, ("x", Some(3), 1));
        },
        |history| {
            history.one(3, 0, "0:1", Resolve::Arrival, ("x", Some(3), 1));
            history.held(3, 0, 3, "x", ["0:2", "0:2"]);
        },
        |history| {
            let shown = vec![Shown { value: None, detail: None }];
            history.one(3, 0, "0:1", Resolve::Arrival, ("x", Some(3), 1)).edit(|request| {
                let states = vec![State { siblings: 1, shown }];
                request.outcome = Outcome::Read { states, context: shared(state("0:1")) };
            });
        },
        // A name in a vector that is no write's.
        |history| _ = history.one(3, 0, "0:2", Resolve::Arrival, ("x", Some(1), 1)),
    ];
    for case in cases {
        let mut history = two_siblings();
        case(&mut history);
        history.breaks("no-phantoms");
    }
}

#[test]
fn dot_reuse() {
    let mut history = two_siblings();
    history.passes("dot-reuse");
    history.held(3, 0, 3, "y", ["0:1", "0:1"]);
    history.breaks("dot-reuse");
}

#[test]
fn no_cycles() {
    let mut history = History::of_nodes(2);
    history.held(1, 0, 1, "x", ["0:1", "0:1 1:1"]);
    history.held(2, 1, 2, "y", ["1:1", "1:1"]);
    history.passes("no-cycles");
    let mut history = History::of_nodes(2);
    history.held(1, 0, 1, "x", ["0:1", "0:1 1:1"]);
    history.held(2, 1, 2, "y", ["1:1", "0:1 1:1"]);
    history.breaks("no-cycles");
}

#[test]
fn read_your_writes() {
    let mut history = two_siblings();
    history.all(1, 1, "0:1 1:1", &[("x", &[(2, "1:1", 1), (1, "0:1", 2)])]).with(state("0:1"));
    history.passes("read-your-writes");
    let mut history = two_siblings();
    history.all(1, 1, "1:1", &[("x", &[(2, "1:1", 1)])]).with(state("0:1"));
    history.breaks("read-your-writes");
    let mut history = two_siblings();
    history.held(3, 0, 3, "y", ["0:2", "0:1"]);
    history.breaks("read-your-writes");
}

#[test]
fn monotonic_reads() {
    let mut history = two_siblings();
    history.all(3, 0, "0:1", &[("x", &[(1, "0:1", 1)])]);
    history.all(3, 1, "0:1 1:1", &[("x", &[(2, "1:1", 1), (1, "0:1", 2)])]).with(state("0:1"));
    history.passes("monotonic-reads");
    let mut history = two_siblings();
    history.all(3, 0, "0:1", &[("x", &[(1, "0:1", 1)])]);
    history.all(3, 1, "1:1", &[("x", &[(2, "1:1", 1)])]).with(state("0:1"));
    history.breaks("monotonic-reads");
}

/// Session 1 writes `x` on node 0, then `y` on node 1 with its context; session 2 reads on node 2.
fn a_session_moves(writer: u32, end: &str) -> History {
    let mut history = History::of_nodes(3);
    history.held(writer, 0, 1, "x", ["0:1", "0:1"]);
    history.seen(1, 1, 2, "y", state("0:1"), ("1:1", seen("0:1 1:1", "0:1", "1:1")));
    history.all(2, 2, end, &[("y", &[(2, "1:1", 9)])]);
    history
}

#[test]
fn monotonic_writes() {
    a_session_moves(1, "0:1 1:1").passes("monotonic-writes");
    a_session_moves(1, "1:1").breaks("monotonic-writes");
}

#[test]
fn writes_follow_reads() {
    a_session_moves(3, "0:1 1:1").passes("writes-follow-reads");
    a_session_moves(3, "1:1").breaks("writes-follow-reads");
}

#[test]
fn causal_delivery() {
    let history = |end: &str| {
        let mut history = History::of_nodes(3);
        history.held(1, 0, 1, "x", ["0:1", "0:1"]);
        history.held(2, 1, 2, "y", ["1:1", "0:1 1:1"]);
        history.all(3, 2, end, &[("y", &[(2, "1:1", 9)])]);
        history
    };
    history("0:1 1:1").passes("causal-delivery");
    history("1:1").breaks("causal-delivery");
}

#[test]
fn final_state() {
    let mut history = two_siblings();
    history.held(1, 0, 3, "z", ["0:2", "0:2 1:1"]);
    let ends: [(&str, &[(&str, crate::builder::Listed<'_>)]); 4] = [
        ("0:2 1:1", &[("x", &[(1, "0:1", 1), (2, "1:1", 2)]), ("z", &[(3, "0:2", 3)])]),
        ("0:2 1:1", &[("x", &[(2, "1:1", 2)]), ("z", &[(3, "0:2", 3)])]),
        ("0:2 1:1", &[("x", &[(1, "0:1", 1), (2, "1:1", 2)])]),
        ("0:1 1:1", &[("x", &[(1, "0:1", 1), (2, "1:1", 2)])]),
    ];
    for (case, (vector, keys)) in ends.iter().enumerate() {
        let mut history = History { events: history.events.clone(), now: history.now };
        history.held_in_the_end(0, vector, keys).held_in_the_end(1, vector, keys);
        match case {
            0 => history.passes("final-state"),
            _ => history.breaks("final-state"),
        }
    }
}

#[test]
fn final_state_finds_what_came_back() {
    let mut history = History::of_nodes(1);
    history.held(1, 0, 1, "x", ["0:1", "0:1"]).held(1, 0, 2, "-x", ["0:2", "0:2"]);
    history.held_in_the_end(0, "0:2", &[("x", &[(1, "0:1", 1)])]);
    history.breaks("final-state");
}

#[test]
fn convergence() {
    let both: &[(&str, crate::builder::Listed<'_>)] = &[("x", &[(1, "0:1", 1), (2, "1:1", 2)])];
    let swapped: &[(&str, crate::builder::Listed<'_>)] = &[("x", &[(2, "1:1", 1), (1, "0:1", 2)])];
    let mut history = two_siblings();
    history.all(3, 0, "0:1 1:1", both).all(3, 1, "0:1 1:1", swapped);
    history.one(3, 0, "0:1 1:1", Resolve::Newest, ("x", Some(2), 2));
    history.held_in_the_end(0, "0:1 1:1", both).held_in_the_end(1, "0:1 1:1", swapped);
    history.passes("convergence");

    let mut reads = History { events: history.events.clone(), now: history.now };
    reads.one(3, 1, "0:1 1:1", Resolve::Newest, ("x", Some(1), 2));
    reads.breaks("convergence");

    let mut clocks = History { events: history.events, now: history.now };
    if let Some(Event::Final(held)) = clocks.events.last_mut() {
        let sibling = &mut held.keys.get_mut("x").unwrap()[0];
        sibling.detail.as_mut().unwrap().written_at += 1;
    }
    clocks.breaks("convergence");

    let mut vectors = two_siblings();
    vectors.held_in_the_end(0, "0:1 1:1", both);
    vectors.held_in_the_end(1, "0:1", &[("x", &[(1, "0:1", 1)])]);
    assert_eq!(vectors.broken(), ["convergence", "final-state"]);
}

#[test]
fn convergence_of_what_an_unknown_write_replaced() {
    // Whether value 3 replaced value 1 can't be told, but two states at one vector must agree.
    let history = |second: crate::builder::Listed<'_>| {
        let mut history = two_siblings();
        history.node(1, What::Down).unknown(3, 1, 3, "x").node(1, What::Up(Volume::Kept));
        history.all(4, 0, "0:1 1:2", &[("x", &[(1, "0:1", 1), (3, "1:2", 2)])]);
        history.all(4, 1, "0:1 1:2", &[("x", second)]);
        history
    };
    history(&[(3, "1:2", 1), (1, "0:1", 5)]).passes("convergence");
    history(&[(3, "1:2", 1)]).breaks("convergence");
}

#[test]
fn atomicity() {
    let history = |context: &str, y: crate::builder::Listed<'_>| {
        let mut history = History::of_nodes(2);
        history.held(1, 0, 1, "y", ["0:1", "0:1"]).held(1, 0, 2, "x y", ["0:2", "0:2"]);
        history.all(2, 1, context, &[("x", &[(2, "0:2", 2)]), ("y", y)]);
        history
    };
    history("0:2", &[(2, "0:2", 2)]).passes("atomicity");
    history("0:2", &[(1, "0:1", 1)]).breaks("atomicity");
    history("0:2", &[]).breaks("atomicity");
    history("0:1", &[(1, "0:1", 1)]).breaks("atomicity");
    let mut replaced = history("0:2", &[(2, "0:2", 2)]);
    replaced.held(1, 0, 3, "-y", ["0:3", "0:3"]);
    replaced.all(2, 1, "0:3", &[("x", &[(2, "0:2", 2)]), ("y", &[])]);
    replaced.passes("atomicity");
    let mut last = replaced;
    last.held(1, 0, 4, "v w", ["0:4", "0:4"]);
    last.held_in_the_end(0, "0:4", &[("w", &[(4, "0:4", 4)]), ("x", &[(2, "0:2", 2)])]);
    last.breaks("atomicity");
}

#[test]
fn durability() {
    let restart = |vector: &str, listed: crate::builder::Listed<'_>| {
        let mut history = History::of_nodes(2);
        history.held(1, 0, 1, "x", ["0:1", "0:1"]).held(1, 0, 2, "x", ["0:2", "0:2"]);
        history.node(0, What::Down).node(0, What::Up(Volume::Kept));
        history.all(2, 0, vector, &[("x", listed)]);
        history
    };
    restart("0:2", &[(2, "0:2", 2)]).passes("durability");
    restart("0:1", &[(1, "0:1", 1)]).breaks("durability");
}

#[test]
fn state_order() {
    let reads = |start: u64| {
        let mut history = two_siblings();
        let before = history.now;
        history.all(3, 2, "0:1", &[("x", &[(1, "0:1", 1)])]);
        history.all(4, 2, "1:1", &[("x", &[(2, "1:1", 2)])]).edit(|request| request.start = before + start);
        history
    };
    reads(5).breaks("state-order");
    // The same with one after the other is something lost.
    reads(25).breaks("durability");
    let mut history = two_siblings();
    history.all(3, 0, "0:1 1:1", &[("x", &[(1, "0:1", 1), (2, "1:1", 2)])]);
    history.passes("state-order");
}

#[test]
fn arrival_order() {
    let siblings = |later: crate::builder::Listed<'_>| {
        let mut history = two_siblings();
        history.all(3, 0, "0:1 1:1", &[("x", &[(1, "0:1", 1), (2, "1:1", 2)])]);
        history.node(0, What::Down).node(0, What::Up(Volume::Kept));
        history.all(3, 0, "0:1 1:1", &[("x", later)]);
        history
    };
    siblings(&[(1, "0:1", 1), (2, "1:1", 2)]).passes("arrival-order");
    siblings(&[(1, "0:1", 1), (2, "1:1", 3)]).breaks("arrival-order");
    siblings(&[(2, "1:1", 2), (1, "0:1", 1)]).breaks("arrival-order");
    siblings(&[(1, "0:1", 2), (2, "1:1", 2)]).breaks("arrival-order");
    let mut shown = siblings(&[(1, "0:1", 1), (2, "1:1", 2)]);
    shown.one(3, 0, "0:1 1:1", Resolve::Arrival, ("x", Some(2), 2)).passes("arrival-order");
    shown.one(3, 0, "0:1 1:1", Resolve::Arrival, ("x", Some(1), 2)).breaks("arrival-order");
    // Another life of the volume has an order of its own.
    let mut wiped = siblings(&[(1, "0:1", 1), (2, "1:1", 2)]);
    wiped.node(0, What::Down).node(0, What::Up(Volume::Empty));
    wiped.all(4, 0, "0:1 1:1", &[("x", &[(2, "1:1", 1), (1, "0:1", 2)])]).passes("arrival-order");
}

#[test]
fn availability() {
    let refused = |refusal, change: fn(&mut causeway_checker::history::Request)| {
        let mut history = two_siblings();
        history.refused(3, 0, 3, "x", refusal).edit(change);
        history
    };
    let sent = |request: &mut causeway_checker::history::Request| request.context = Some(shared(state("1:1")));
    refused(Refusal::ContextNotReached, sent).passes("availability");
    refused(Refusal::ContextNotReached, |_| {}).breaks("availability");
    refused(Refusal::TooManySiblings, sent).breaks("availability");
    refused(Refusal::Overloaded, sent).breaks("availability");
    let mut unknown = two_siblings();
    unknown.unknown(3, 0, 3, "x").breaks("availability");
    let mut down = two_siblings();
    down.unknown(3, 0, 3, "x").node(0, What::Down);
    down.edit_time().refused(3, 0, 4, "x", Refusal::Unreachable).passes("availability");
    down.refused(3, 0, 5, "x", Refusal::Other).breaks("availability");
}

impl History {
    /// Lets the last node event happen during the request before it.
    fn edit_time(&mut self) -> &mut Self {
        if let [.., Event::Request(request), Event::Node(event)] = &mut self.events[..] {
            event.at = request.end;
        }
        self
    }
}

#[test]
fn bounds() {
    let mut history = two_siblings();
    history.bound(7, 8).passes("bounds");
    history.bound(9, 8).breaks("bounds");
    let answered = |context: causeway_checker::history::Context| {
        let mut history = two_siblings();
        history.all(3, 0, "0:1", &[("x", &[(1, "0:1", 1)])]).edit(|request| {
            if let Outcome::Read { context: answered, .. } = &mut request.outcome {
                *answered = shared(context);
            }
        });
        history
    };
    let mut long = state("0:1");
    long.chars = 40;
    answered(long.clone()).passes("bounds");
    long.chars = 41;
    answered(long).breaks("bounds");
    answered(seen("0:1", "0:1", &"0:1 ".repeat(8))).passes("bounds");
    answered(seen("0:1", "0:1", &"0:1 ".repeat(9))).breaks("bounds");
}

#[test]
fn an_unknown_write_may_have_taken_place_or_not() {
    let unknown = || {
        let mut history = two_siblings();
        history.node(1, What::Down).unknown(3, 1, 3, "x").node(1, What::Up(Volume::Kept));
        history
    };
    // It did not.
    let mut none = unknown();
    none.all(4, 1, "1:1", &[("x", &[(2, "1:1", 1)])]).passes("exact-reads");
    unknown().all(4, 1, "1:1", &[("x", &[])]).breaks("exact-reads");
    // It did, and what its node's own writes were is replaced for sure.
    let mut there = unknown();
    there.all(4, 1, "1:2", &[("x", &[(3, "1:2", 1)])]).passes("exact-reads");
    let mut beside = unknown();
    beside.all(4, 1, "1:2", &[("x", &[(2, "1:1", 1), (3, "1:2", 2)])]).breaks("exact-reads");
    // What was missing once stays so.
    let mut back = unknown();
    back.all(4, 0, "0:1 1:2", &[("x", &[(3, "1:2", 2)])]).passes("exact-reads");
    back.held(4, 0, 4, "y", ["0:2", "0:2 1:2"]);
    back.all(4, 0, "0:2 1:2", &[("x", &[(1, "0:1", 1), (3, "1:2", 2)])]).breaks("exact-reads");
    // The name is learnt by elimination: there is only one write that can have it.
    let mut plain = unknown();
    plain.one(4, 1, "1:2", Resolve::Arrival, ("x", Some(3), 1)).passes("exact-reads");
    plain.one(4, 1, "1:2", Resolve::Arrival, ("x", Some(2), 1)).breaks("exact-reads");
}

#[test]
fn names_that_several_unknown_writes_may_have() {
    let mut history = two_siblings();
    history.node(1, What::Down).unknown(3, 1, 3, "x").unknown(4, 1, 4, "x").node(1, What::Up(Volume::Kept));
    let before = History { events: history.events.clone(), now: history.now };
    history.one(5, 1, "1:2", Resolve::Arrival, ("x", Some(4), 1)).passes("exact-reads");
    let mut third = History { events: before.events.clone(), now: before.now };
    third.one(5, 1, "1:4", Resolve::Arrival, ("x", Some(4), 1)).breaks("no-phantoms");
}

#[test]
fn a_clock_reading_belongs_to_a_write() {
    let mut history = two_siblings();
    history.all(3, 0, "0:1", &[("x", &[(1, "0:1", 1)])]);
    history.all(3, 0, "0:1 1:1", &[("x", &[(1, "0:1", 1), (2, "1:1", 2)])]);
    history.passes("convergence");
    history.edit(|request| {
        if let Outcome::Read { states, .. } = &mut request.outcome {
            states[0].shown[0].detail = Some(Detail { dot: dot("0:1"), written_at: 11, arrival: 1 });
        }
    });
    history.breaks("convergence");
}
