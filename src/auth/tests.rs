#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECRET: &str = "correct horse battery staple, twice over";
const OTHER: &str = "another secret that is just as long as it";
const PUSH: &str = "/replication/v1/push";
const HELLO: &str = "/replication/v1/hello";
const BOOT: u64 = 7;

fn keyring(lines: &[&str], cluster: &str) -> Keyring {
    Keyring::new(&Secrets::parse(&lines.join("\n")).unwrap(), cluster)
}

fn gate(lines: &[&str]) -> Gate {
    Gate::new(Keys::new(keyring(lines, "c")), BOOT)
}

/// What a caller sends that knows the gate's challenge.
fn call(caller: &Caller, keys: &Keyring, gate: &Gate, body: &[u8]) -> Call {
    caller.sign(keys, "POST", PUSH, Some(challenge(caller, keys, gate)), digest(body)).unwrap()
}

fn challenge(caller: &Caller, keys: &Keyring, gate: &Gate) -> Challenge {
    let hello = caller.sign(keys, "POST", HELLO, None, digest(b"")).unwrap();
    gate.admit_hello("POST", HELLO, Some(hello.header())).unwrap().1
}

fn why(result: Result<Pass, Refused>) -> Result<(), Refusal> {
    result.map(drop).map_err(|refused| refused.why)
}

#[test]
fn who_knows_the_secret_gets_in_and_knows_the_answer() {
    let (keys, gate, caller) = (keyring(&[SECRET], "c"), gate(&[OTHER, SECRET]), Caller::new(2, 1));
    let call = call(&caller, &keys, &gate, b"body");
    let Pass::Signed(proven) = gate.admit("POST", PUSH, Some(call.header())).unwrap() else { panic!("it is signed") };
    assert_eq!(proven.from(), 2);
    for (pieces, is_whole) in [(&["bo", "", "dy"][..], true), (&["body", "!"], false), (&[], false)] {
        let mut check = proven.body_check();
        pieces.iter().for_each(|piece| check.update(piece.as_bytes()));
        assert_eq!(check.is_whole(), is_whole, "{pieces:?}");
    }
    let answer = proven.sign_answer(200, b"type", b"answer");
    assert_eq!(call.check(Some(&answer), 200, b"type", b"answer"), Ok(()));
    assert_eq!(call.check(None, 200, b"type", b"answer"), Err(NotProven::Unsigned));
    for (status, content_type, body) in [(201, "type", "answer"), (200, "typ", "eanswer"), (200, "type", "answer.")] {
        let checked = call.check(Some(&answer), status, content_type.as_bytes(), body.as_bytes());
        assert_eq!(checked, Err(NotProven::WrongMac), "{status} {content_type} {body}");
    }
    let next = self::call(&caller, &keys, &gate, b"body");
    let checked = next.check(Some(&answer), 200, b"type", b"answer");
    assert_eq!(checked, Err(NotProven::WrongMac), "the answer to another request");
    // What a peer sends proves nothing as an answer.
    let as_answer = format!("v1 {}", next.header().rsplit_once(' ').unwrap().1);
    assert_eq!(next.check(Some(&as_answer), 200, b"type", b"answer"), Err(NotProven::WrongMac));
}

#[test]
fn each_request_gets_in_once_and_at_one_process_only() {
    let (keys, gate, caller) = (keyring(&[SECRET], "c"), gate(&[SECRET]), Caller::new(2, 1));
    let call = call(&caller, &keys, &gate, b"body");
    assert_eq!(why(gate.admit("POST", PUSH, Some(call.header()))), Ok(()));
    assert_eq!(why(gate.admit("POST", PUSH, Some(call.header()))), Err(Refusal::Replayed));
    let another = Gate::new(Keys::new(keyring(&[SECRET], "c")), BOOT + 1);
    assert_eq!(why(another.admit("POST", PUSH, Some(call.header()))), Err(Refusal::OtherChallenge));
    let hello = caller.sign(&keys, "POST", HELLO, None, digest(b"")).unwrap();
    assert_eq!(why(gate.admit("POST", HELLO, Some(hello.header()))), Err(Refusal::OtherChallenge), "it does nothing");
    let as_hello = gate.admit_hello("POST", PUSH, Some(call.header()));
    assert_eq!(as_hello.map(drop).unwrap_err().why, Refusal::Malformed);
}

#[test]
fn secrets_and_clusters_that_differ_are_told_apart() {
    let caller = Caller::new(2, 1);
    let refused = |lines: &[&str], header: Option<&str>| gate(lines).admit("POST", PUSH, header).map(drop);
    let whose = |from, why| Err(Refused { from, why });
    assert_eq!(refused(&[SECRET], None), whose(None, Refusal::SecretMissing));
    assert_eq!(refused(&[SECRET], Some(&caller.unsigned())), whose(Some(2), Refusal::SecretMissing));
    assert_eq!(refused(&["none", SECRET], Some(&caller.unsigned())), Ok(()));
    for garbage in ["", " ", "v1", "v2 x", "none", "none x", "nonesuch", "v1 1 2 3 4 5 6 7 8 9", "\u{fffd}"] {
        assert_eq!(refused(&[SECRET], Some(garbage)), whose(None, Refusal::Malformed), "{garbage:?}");
    }
    for (lines, cluster) in [([OTHER], "c"), ([SECRET], "d")] {
        let keys = keyring(&lines, cluster);
        let call = caller.sign(&keys, "POST", PUSH, None, digest(b"")).unwrap();
        let unknown = Refusal::UnknownKey(keys.signing_id().unwrap());
        assert_eq!(refused(&[SECRET], Some(call.header())), whose(Some(2), unknown));
        let unsigned = Gate::new(Keys::default(), BOOT);
        assert_eq!(why(unsigned.admit("POST", PUSH, Some(call.header()))), Err(Refusal::NoSecret));
    }
    assert_eq!(why(Gate::new(Keys::default(), BOOT).admit("POST", PUSH, None)), Ok(()));
}

/// Nobody is refused while the secret is exchanged step by step, whichever node is at which of two steps that follow on
/// each other; the same for the first secret, and for the last.
#[test]
fn secrets_are_exchanged_step_by_step() {
    for (from, to) in [(SECRET, OTHER), ("none", SECRET), (SECRET, "none")] {
        let steps: [&[&str]; 4] = [&[from], &[from, to], &[to, from], &[to]];
        let keyring = |lines: &[&str]| if lines == ["none"] { Keyring::unsigned() } else { keyring(lines, "c") };
        for pair in steps.windows(2) {
            for (sender, receiver) in [(pair[0], pair[1]), (pair[1], pair[0])] {
                let (keys, gate) = (keyring(sender), Gate::new(Keys::new(keyring(receiver)), BOOT));
                let caller = Caller::new(2, 1);
                let header = match keys.signing_id() {
                    Some(_) => call(&caller, &keys, &gate, b"").header().to_owned(),
                    None => caller.unsigned(),
                };
                let admitted = why(gate.admit("POST", PUSH, Some(&header)));
                assert_eq!(admitted, Ok(()), "{} steps", pair.len());
            }
        }
    }
}

#[test]
fn nothing_shows_a_secret() {
    let secrets = Secrets::parse(&format!("{SECRET}\n{OTHER}")).unwrap();
    let keys = Keys::new(Keyring::new(&secrets, "c"));
    let gate = Gate::new(keys.clone(), BOOT);
    let caller = Caller::new(2, 1);
    let call = call(&caller, &keys.current(), &gate, b"");
    let pass = gate.admit("POST", PUSH, Some(call.header())).unwrap();
    let shown = format!("{secrets:?} {keys:?} {gate:?} {caller:?} {call:?} {pass:?}");
    for part in ["correct", "horse", "another", "just"] {
        assert!(!shown.contains(part), "{shown}");
    }
    assert!(shown.starts_with("Secrets(2 of them) Keyring {"), "{shown}");
}

/// The bytes that all versions have to agree on, worked out by another program from what docs/security.md says.
#[test]
fn golden() {
    let (keys, gate) = (keyring(&[SECRET], "c"), gate(&[SECRET]));
    let challenge = "0000000000000007.0".parse().unwrap();
    let call = Caller::new(2, 0xabc).sign(&keys, "POST", PUSH, Some(challenge), digest(b"body")).unwrap();
    let request = "v1 2 915ccc68f95e0d83 0000000000000007.0 0000000000000abc 1 \
                   C-nFmK5jg1UY5_tCLcMCf0UtdfPb25TJDYQymLEYCtk aZ6CCohq34tNZ8Fw5T97o-MUzpb_owbZpU9Q-5qc5Fc";
    assert_eq!(call.header(), request);
    let Pass::Signed(proven) = gate.admit("POST", PUSH, Some(request)).unwrap() else { panic!("it is signed") };
    assert_eq!(proven.sign_answer(200, b"type", b"answer"), "v1 ScuIi60wKjZA34BuOPBeBzH7HJDsxs9fAIZS9WZUbp0");
}

#[test]
fn when_there_are_too_many_runs_all_before_is_refused() {
    let mut replays = Replays::new(BOOT);
    let first = replays.challenge();
    for run in 0..MAX_RUNS as u64 {
        assert_eq!(replays.take(first, run, 1), Ok(()));
    }
    assert!(replays.take(first, 0, 2).is_ok(), "those that are known go on");
    assert!(replays.take(first, MAX_RUNS as u64, 1).is_err());
    let second = replays.challenge();
    assert_ne!(first, second);
    assert!(replays.take(first, 0, 1).is_err() && replays.take(first, 0, 3).is_err());
    assert_eq!(replays.take(second, 0, 1), Ok(()));
}

proptest! {
    /// Whatever comes in whatever order, no request is taken twice, and one that is new and not far behind is taken.
    #[test]
    fn no_number_of_a_run_is_taken_twice(requests in vec((0..3_u64, 0..300_u64), 0..400)) {
        let mut replays = Replays::new(BOOT);
        let challenge = replays.challenge();
        let mut taken: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (run, number) in requests {
            let known = taken.entry(run).or_default();
            let is_near = known.last().is_none_or(|highest| number + WINDOW > *highest);
            let is_taken = replays.take(challenge, run, number).is_ok();
            prop_assert_eq!(is_taken, is_near && !known.contains(&number));
            if is_taken {
                known.insert(number);
            }
        }
    }

    /// Whichever bit of what was signed is another, it does not get in.
    #[test]
    fn nothing_that_was_altered_gets_in(part in 0..3_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (keys, gate, caller) = (keyring(&[SECRET], "c"), gate(&[SECRET]), Caller::new(2, 1));
        let call = call(&caller, &keys, &gate, b"body");
        let mut parts = [b"POST".to_vec(), PUSH.as_bytes().to_vec(), call.header().as_bytes().to_vec()];
        let index = at.index(parts[part].len());
        parts[part][index] ^= 1 << bit;
        let [method, path, header] = parts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        prop_assert!(gate.admit(&method, &path, Some(&header)).is_err(), "{} {} {}", method, path, header);
        prop_assert!(gate.admit("POST", PUSH, Some(call.header())).is_ok(), "and does not keep the true one out");
    }

    #[test]
    fn any_header_is_judged(header in ".*", signed in "v1 [0-9]{1,11} [0-9a-f]{1,17} (-|[0-9a-f.]{1,20}) [0-9a-f]{1,17} [0-9]{1,21} [A-Za-z0-9_-]{42,44} [A-Za-z0-9_-]{42,44}") {
        for header in [header, signed] {
            prop_assert!(gate(&[SECRET]).admit("POST", PUSH, Some(&header)).is_err());
            let _ = gate(&["none", SECRET]).admit("POST", PUSH, Some(&header));
            let _ = gate(&[SECRET]).admit_hello("POST", HELLO, Some(&header));
        }
    }

    #[test]
    fn any_answer_is_judged(header in ".*", body in vec(any::<u8>(), 0..40)) {
        let (keys, gate, caller) = (keyring(&[SECRET], "c"), gate(&[SECRET]), Caller::new(2, 1));
        let call = call(&caller, &keys, &gate, b"");
        prop_assert!(call.check(Some(&header), 200, b"type", &body).is_err());
        let _ = Call::challenge(&body);
    }
}
