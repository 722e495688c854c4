//! Laws of the pure values.

use proptest::prelude::*;

use super::sorted::Sorted;
use super::*;

fn origin(node: u32, incarnation: u64) -> Origin {
    Origin::new(NodeId(node), Incarnation(incarnation))
}

/// Node 0 lived three times: the second life started from a copy that held 5 of the first's ops, the third
/// from everything.
fn restored() -> Ancestry {
    let mut ancestry = Ancestry::new();
    ancestry.insert(origin(0, 2), &[origin(0, 1).dot(5)]);
    ancestry.insert(origin(0, 3), &[origin(0, 1).dot(9), origin(0, 2).dot(4)]);
    ancestry
}

fn any_vector() -> impl Strategy<Value = VersionVector> {
    proptest::collection::vec((0u32..2, 1u64..4, 1u64..12), 0..6).prop_map(|entries| {
        let ancestry = restored();
        let raw = entries.into_iter().map(|(node, life, counter)| origin(node, life).dot(counter)).collect();
        let mut vector = VersionVector::new();
        ancestry.join(&mut vector, &raw);
        vector
    })
}

fn joined(left: &VersionVector, right: &VersionVector) -> VersionVector {
    let mut vector = left.clone();
    restored().join(&mut vector, right);
    vector
}

/// What `vector` implies of `origin`, found by walking through all parents.
fn walked(lives: &[(Origin, Parents)], vector: &VersionVector, origin: Origin) -> u64 {
    let mut open: Vec<Origin> = vector.entries().map(|last| last.origin).collect();
    let (mut seen, mut highest) = (std::collections::BTreeSet::new(), vector.get(origin));
    while let Some(next) = open.pop() {
        for parent in lives.iter().filter(|(life, _)| *life == next).flat_map(|(_, parents)| parents) {
            if parent.origin == origin {
                highest = highest.max(parent.counter);
            }
            if seen.insert(parent.origin) {
                open.push(parent.origin);
            }
        }
    }
    highest
}

/// Lives of one node that are forked and joined at random: each names up to three earlier ones. Names don't tell the order.
fn any_lives() -> impl Strategy<Value = Vec<(Origin, Parents)>> {
    let named = proptest::collection::vec((any::<proptest::sample::Index>(), 1u64..9), 1..4);
    proptest::collection::vec((named, any::<bool>()), 1..24).prop_map(|lives| {
        let name = |number: usize| origin(0, (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let parents = |number: usize, named: Vec<(proptest::sample::Index, u64)>, last: bool| {
            let earlier = named.into_iter().map(|(index, counter)| name(index.index(number)).dot(counter));
            let before = last.then(|| name(number - 1).dot(3));
            earlier.chain(before).collect::<VersionVector>().entries().collect::<Parents>()
        };
        let lives = lives.into_iter().zip(1..);
        lives.map(|((named, last), number)| (name(number), parents(number, named, last))).collect()
    })
}

proptest! {
    #[test]
    fn what_is_implied_is_what_a_walk_through_all_parents_finds(
        lives in any_lives(),
        asked_at in any::<proptest::sample::Index>(),
        order in any::<proptest::sample::Index>(),
        entries in proptest::collection::vec((any::<proptest::sample::Index>(), 1u64..9), 1..4),
    ) {
        // Learned in causal order, from somewhere on in that of their names, and asked in between.
        let (asked_at, by_name) = (asked_at.index(lives.len()), order.index(lives.len()));
        let mut learned = lives.clone();
        learned[by_name..].sort();
        let of = |all: &[(Origin, Parents)], index: proptest::sample::Index| all[index.index(all.len())].0;
        let mut ancestry = Ancestry::new();
        for (number, (life, parents)) in learned.iter().enumerate() {
            ancestry.insert(*life, parents);
            if number != asked_at && number + 1 != lives.len() {
                continue;
            }
            let known = &learned[..=number];
            let vector: VersionVector =
                entries.iter().map(|(index, counter)| of(known, *index).dot(*counter)).collect();
            let mut normal = VersionVector::new();
            ancestry.join(&mut normal, &vector);
            for (origin, _) in &lives {
                let walked = walked(known, &vector, *origin);
                prop_assert_eq!(ancestry.covered_up_to(&normal, *origin), walked, "{} in {}", origin, normal);
                prop_assert_eq!(ancestry.coverage(&normal).covers(origin.dot(walked.max(1))), walked > 0);
            }
            let all: std::collections::BTreeSet<Origin> = known.iter().flat_map(|(life, parents)| {
                parents.iter().map(|parent| parent.origin).chain([*life])
            }).collect();
            prop_assert_eq!(ancestry.incarnations(&normal, NodeId(0)), all.len());
        }
        let again: Vec<(Origin, Parents)> = ancestry.iter().map(|(life, parents)| (life, parents.to_vec())).collect();
        let mut in_order = lives.clone();
        in_order.sort();
        prop_assert_eq!(again, in_order);
    }

    #[test]
    fn a_sorted_map_finds_what_an_ordered_map_does_and_its_clones_stay_as_they_were(
        // Several chunks, filled at random places, in order and in reverse.
        keys in proptest::collection::vec(0u32..2_000, 0..1_500),
        run in 0u32..1_000,
        cloned_at in any::<proptest::sample::Index>(),
        asked in proptest::collection::vec(0u32..3_000, 8),
    ) {
        let keys: Vec<u32> = keys.into_iter().chain(2_000..2_000 + run).chain((2_500..2_500 + run).rev()).collect();
        let cloned_at = cloned_at.index(keys.len() + 1);
        let (mut sorted, mut ordered) = (Sorted::default(), std::collections::BTreeMap::new());
        let mut clone = None;
        for number in 0..=keys.len() {
            if number == cloned_at {
                clone = Some((sorted.clone(), ordered.clone()));
            }
            if let Some(key) = keys.get(number) {
                sorted.insert(*key, number);
                ordered.insert(*key, number);
            }
        }
        for (sorted, ordered) in clone.into_iter().chain([(sorted, ordered)]) {
            prop_assert_eq!(sorted.len(), ordered.len());
            prop_assert!(sorted.iter().eq(ordered.iter().map(|(key, value)| (*key, value))));
            for key in &asked {
                prop_assert_eq!(sorted.get(*key), ordered.get(key));
                prop_assert!(sorted.from(*key).eq(ordered.range(key..).map(|(key, value)| (*key, value))));
                let last = ordered.range(..=key).next_back().map(|(key, value)| (*key, value));
                prop_assert_eq!(sorted.last_up_to(*key), last);
            }
        }
    }

    #[test]
    fn join_is_commutative_associative_and_idempotent(a in any_vector(), b in any_vector(), c in any_vector()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a);
    }

    #[test]
    fn a_join_includes_both_and_nothing_else(a in any_vector(), b in any_vector()) {
        let (ancestry, both) = (restored(), joined(&a, &b));
        prop_assert!(ancestry.includes(&both, &a) && ancestry.includes(&both, &b));
        for node in 0..2 {
            for life in 1..4 {
                for counter in 1..13 {
                    let dot = origin(node, life).dot(counter);
                    let either = ancestry.covers(&a, dot) || ancestry.covers(&b, dot);
                    prop_assert_eq!(ancestry.covers(&both, dot), either, "{} in {}", dot, both);
                }
            }
        }
    }

    #[test]
    fn a_vector_made_of_dots_has_the_highest_of_each_origin(
        dots in proptest::collection::vec((0u32..2, 1u64..4, 0u64..12), 0..12),
    ) {
        let dots: Vec<Dot> = dots.into_iter().map(|(node, life, counter)| origin(node, life).dot(counter)).collect();
        let mut raised = VersionVector::new();
        let mut highest = std::collections::BTreeMap::new();
        for dot in &dots {
            raised.raise(*dot);
            let entry: &mut u64 = highest.entry(dot.origin).or_default();
            *entry = (*entry).max(dot.counter);
        }
        let highest: Vec<Dot> =
            highest.into_iter().filter(|(_, last)| *last > 0).map(|(origin, last)| origin.dot(last)).collect();
        prop_assert_eq!(raised.entries().collect::<Vec<_>>(), highest.clone());
        prop_assert_eq!(dots.iter().copied().collect::<VersionVector>(), raised.clone());
        prop_assert!(highest.iter().all(|dot| raised.get(dot.origin) == dot.counter));
        for node in 0..2 {
            let of_node: Vec<Dot> =
                highest.iter().copied().filter(|dot| dot.origin.node == NodeId(node)).collect();
            prop_assert_eq!(raised.entries_of(NodeId(node)).collect::<Vec<_>>(), of_node);
        }
    }

    #[test]
    fn a_vector_is_above_another_where_its_entry_is_higher(a in any_vector(), b in any_vector()) {
        let higher: Vec<Dot> = a.entries().filter(|dot| b.get(dot.origin) < dot.counter).collect();
        prop_assert_eq!(a.above(&b).collect::<Vec<_>>(), higher);
    }

    #[test]
    fn dots_read_back_as_written(node: u32, life: u64, counter in 1u64..) {
        let dot = origin(node, life).dot(counter);
        prop_assert_eq!(dot.to_string().parse(), Ok(dot));
    }

    #[test]
    fn the_clock_always_advances(walls in proptest::collection::vec(0u64..1000, 1..20)) {
        let mut clock = HybridClock::default();
        let mut last = Hlc::default();
        for wall in walls {
            let now = clock.tick(WallMs(wall));
            prop_assert!(now > last && now.wall() >= WallMs(wall));
            last = now;
        }
    }
}

#[test]
fn the_first_op_of_an_incarnation_folds_its_parents_away() {
    let ancestry = restored();
    let mut vector: VersionVector = [origin(0, 1).dot(5), origin(1, 7).dot(3)].into_iter().collect();
    ancestry.advance(&mut vector, origin(0, 2).dot(1));
    assert_eq!(vector.to_string(), "{0.0000000000000002:1, 1.0000000000000007:3}");
    assert!(ancestry.covers(&vector, origin(0, 1).dot(5)));
    assert!(!ancestry.covers(&vector, origin(0, 1).dot(6)));
}

#[test]
fn ops_above_what_a_restored_copy_held_keep_their_entry_until_they_are_named() {
    let ancestry = restored();
    let mut vector: VersionVector = [origin(0, 1).dot(9)].into_iter().collect();
    ancestry.advance(&mut vector, origin(0, 2).dot(1));
    assert_eq!(vector.len(), 2, "the old life's ops 6 to 9 are not implied by the new life");
    for counter in 2..=4 {
        ancestry.advance(&mut vector, origin(0, 2).dot(counter));
    }
    ancestry.advance(&mut vector, origin(0, 3).dot(1));
    assert_eq!(vector.to_string(), "{0.0000000000000003:1}");
}

#[test]
fn a_write_adds_only_itself_to_what_was_seen() {
    let ancestry = restored();
    let read = CausalContext::of_state([origin(1, 7).dot(3)].into_iter().collect());
    let first = read.after_write(origin(0, 2).dot(1), &ancestry);
    assert!(first.seen.covers(origin(0, 2).dot(1), &ancestry));
    assert!(!first.seen.covers(origin(0, 1).dot(5), &ancestry), "a parent of the write was never seen");
    assert!(ancestry.covers(&first.wait, origin(0, 1).dot(5)), "but waiting for the write waits for it");
    let next = first.after_write(origin(1, 7).dot(4), &ancestry);
    assert_eq!((next.seen.vector.get(origin(1, 7)), next.seen.dots.len()), (4, 1));
}

#[test]
fn what_a_vector_includes_is_no_dot_above_it() {
    let ancestry = Ancestry::new();
    let read = CausalContext::of_state([origin(1, 7).dot(3)].into_iter().collect());
    assert_eq!(read.clone().after_write(origin(1, 7).dot(3), &ancestry), read);
}

#[test]
fn a_vector_includes_another_when_it_covers_every_entry() {
    let ancestry = restored();
    let vector = |dots: &[Dot]| dots.iter().copied().collect::<VersionVector>();
    let held = vector(&[origin(0, 2).dot(1), origin(1, 7).dot(3)]);
    assert!(ancestry.includes(&held, &vector(&[origin(0, 1).dot(5), origin(1, 7).dot(2)])));
    assert!(!ancestry.includes(&held, &vector(&[origin(0, 1).dot(6), origin(1, 7).dot(2)])));
    assert!(!ancestry.includes(&held, &vector(&[origin(0, 1).dot(5), origin(1, 7).dot(4)])));
}

#[test]
fn an_ancestry_lists_the_incarnations_that_have_parents() {
    let ancestry = restored();
    let listed: Vec<_> = ancestry.iter().map(|(origin, parents)| (origin, parents.len())).collect();
    assert_eq!(listed, [(origin(0, 2), 1), (origin(0, 3), 2)]);
}

#[test]
fn the_nearest_incarnations_are_listed_and_no_more_than_wanted_of_a_node() {
    let mut ancestry = restored();
    let vector: VersionVector = [origin(0, 3).dot(2), origin(1, 90).dot(1)].into_iter().collect();
    let nearest = |ancestry: &Ancestry, limit| {
        let nearest = ancestry.nearest(&vector, limit);
        nearest.into_keys().map(|origin| (origin.node.0, origin.incarnation.0)).collect::<Vec<_>>()
    };
    assert_eq!(nearest(&ancestry, 9), [(0, 2), (0, 3)]);
    assert_eq!(nearest(&ancestry, 1), [(0, 3)]);
    (2..=99).for_each(|life| ancestry.insert(origin(1, life), &[origin(1, life - 1).dot(1)]));
    assert_eq!(nearest(&ancestry, 2), [(0, 2), (0, 3), (1, 89), (1, 90)]);
    assert_eq!((ancestry.incarnations(&vector, NodeId(0)), ancestry.incarnations(&vector, NodeId(1))), (3, 99));
    assert_eq!(ancestry.incarnations(&[origin(2, 5).dot(1)].into_iter().collect(), NodeId(2)), 1);
}

#[test]
fn a_clock_goes_on_from_what_was_stored() {
    let stored = Hlc::at(WallMs(5_000));
    let mut clock = HybridClock::resume(stored);
    assert_eq!(clock.last(), stored);
    assert!(clock.tick(WallMs(1_000)) > stored, "the wall clock was set back");
}

#[test]
fn past_its_limit_a_context_forgets_the_oldest_dot() {
    let ancestry = Ancestry::new();
    let mut context = CausalContext::default();
    for counter in 1..=20 {
        context = context.after_write(origin(0, 1).dot(counter * 2), &ancestry);
    }
    assert_eq!(context.seen.dots.len(), MAX_SEEN_DOTS);
    assert!(context.seen.covers(origin(0, 1).dot(40), &ancestry));
    assert!(!context.seen.covers(origin(0, 1).dot(2), &ancestry));
}

/// A client that passes its context on from write to write, at a node that restarts again and again.
#[test]
fn a_context_has_one_entry_a_node_however_often_that_restarts() {
    let mut ancestry = Ancestry::new();
    let mut context = CausalContext::default();
    for life in 1..=20 {
        if life > 1 {
            ancestry.insert(origin(0, life), &[origin(0, life - 1).dot(2)]);
        }
        // Another client's write was the first of this life.
        context = context.after_write(origin(0, life).dot(2), &ancestry);
    }
    assert_eq!(context.wait.len(), 1, "{}", context.wait);
}

#[test]
fn a_remote_clock_moves_ours_a_minute_ahead_at_most() {
    let mut clock = HybridClock::default();
    clock.observe(Hlc::at(WallMs(86_400_000)), WallMs(1_000));
    assert_eq!(clock.last().wall(), WallMs(61_000));
}

#[test]
fn only_one_spelling_of_a_dot_is_read() {
    for bad in [
        "",
        "0",
        "0.1.1",
        "0.00c0ffee00c0ffee.0",
        "00.00c0ffee00c0ffee.1",
        "0.00C0FFEE00C0FFEE.1",
        "0.00c0ffee00c0ffee.1.2",
        "0.00c0ffee00c0ffee.+1",
    ] {
        assert!(bad.parse::<Dot>().is_err(), "{bad}");
    }
}
