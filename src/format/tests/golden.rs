//! Golden bytes: `fixtures/v1` holds each format as version 1 writes it (of the messages, version 1 of the protocol),
//! `fixtures/protocol2` the messages of which version 2 says more. They never change once they are released; a new version
//! gets a directory of its own, and the old one must still be read.

use super::backup::{parts as write_backup, read as read_backup};
use super::examples;
use super::state::write_piece;
use crate::causality::CausalContext;
use crate::format::{ancestry, base, checkpoint, facts, identity, message, op, siblings, state, token};
use crate::replica::{Answer, Protocol, Push, Statement};

macro_rules! golden {
    ($name:ident, $value:expr, $encode:expr, $decode:expr) => {
        golden!($name, "v1", $value, $encode, $decode);
    };
    ($name:ident, $version:literal, $value:expr, $encode:expr, $decode:expr) => {
        #[test]
        fn $name() {
            let stored = include_str!(concat!("../fixtures/", $version, "/", stringify!($name), ".hex")).trim();
            let value = $value;
            assert_eq!(hex(&$encode(&value)), stored, "the bytes written have changed");
            assert_eq!($decode(&unhex(stored)).unwrap(), value, "the bytes written before read differently");
        }
    };
}

golden!(op, examples::op(), op::encode, op::decode);
golden!(plain_op, examples::plain_op(), op::encode, op::decode);
golden!(siblings, examples::siblings(), siblings::encode, siblings::decode);
golden!(checkpoint, examples::checkpoint(), checkpoint::encode, checkpoint::decode);
golden!(base, examples::base(), base::encode, base::decode);
golden!(identity, examples::identity(), identity::encode, identity::decode);
golden!(question, examples::question(), facts::encode_question, facts::decode_question);
golden!(facts, examples::facts(), facts::encode_facts, facts::decode_facts);
golden!(facts_of_transfers, "protocol2", examples::facts_of_transfers(), facts::encode_facts, facts::decode_facts);
golden!(state_piece, "protocol2", examples::piece(), write_piece, state::decode_piece);
golden!(backup, examples::backup(), |(head, keys): &_| write_backup(head, keys, 1).concat(), |bytes: &[u8]| {
    read_backup(bytes, 64)
});
golden!(question_from, "protocol2", examples::question_from(), facts::encode_question, facts::decode_question);
golden!(facts_of_members, "protocol2", examples::facts_of_members(), facts::encode_facts, facts::decode_facts);
golden!(facts_with_twins, "protocol2", examples::facts_with_twins(), facts::encode_facts, facts::decode_facts);
golden!(facts_of_damage, "protocol2", examples::facts_of_damage(), facts::encode_facts, facts::decode_facts);
golden!(answer_to_a_twin, "protocol2", examples::answer_to_a_twin(), message::encode_answer, message::decode_answer);
golden!(
    push_with_echo,
    "protocol2",
    examples::push_with_echo(),
    |push: &_| message::encode_push(push, &[] as &[&[u8]]),
    message::decode_push
);
golden!(answer, "protocol2", examples::answer(), message::encode_answer, message::decode_answer);
golden!(ancestry, examples::parents(), |parents: &Vec<_>| ancestry::encode(parents), |bytes: &[u8]| ancestry::decode(
    examples::op().dot.origin,
    bytes
));
golden!(
    push,
    "protocol2",
    examples::push_with_ops(),
    |_: &_| message::encode_push(&examples::push(), &[op::encode(&examples::op()), op::encode(&examples::plain_op())]),
    message::decode_push
);

/// What a statement of version 0.1.0 leaves out.
fn of_version_1(statement: Statement) -> Statement {
    Statement { protocol: Protocol::UNSAID, ..statement }
}

#[test]
fn messages_of_version_1_are_read() {
    let answer = message::decode_answer(&unhex(include_str!("../fixtures/v1/answer.hex").trim())).unwrap();
    let expected = examples::answer();
    assert_eq!(answer, Answer { receiver: of_version_1(expected.receiver.clone()), ..expected });
    let push = message::decode_push(&unhex(include_str!("../fixtures/v1/push.hex").trim())).unwrap();
    let expected = examples::push_with_ops();
    assert_eq!(push, Push { sender: of_version_1(expected.sender.clone()), ..expected });
}

#[test]
fn state_answers() {
    let stored: Vec<&str> = include_str!("../fixtures/protocol2/state_answers.hex").lines().collect();
    let answers = examples::state_answers();
    let written = answers.each_ref().map(|answer| hex(&state::encode_answer(answer)));
    assert_eq!(written.as_slice(), stored, "the bytes written have changed");
    for (line, answer) in stored.into_iter().zip(answers) {
        assert_eq!(state::decode_answer(&unhex(line)), Ok(answer));
    }
}

#[test]
fn rejections() {
    let stored: Vec<&str> = include_str!("../fixtures/v1/rejections.hex").lines().collect();
    let rejections = examples::rejections();
    let written = rejections.each_ref().map(|rejection| hex(&message::encode_rejection(rejection)));
    assert_eq!(written.as_slice(), stored, "the bytes written have changed");
    for (line, rejection) in stored.into_iter().zip(rejections) {
        assert_eq!(message::decode_rejection(&unhex(line)), Ok(rejection));
    }
}

#[test]
fn tokens() {
    let stored: Vec<&str> = include_str!("../fixtures/v1/tokens.txt").lines().collect();
    let contexts =
        [CausalContext::default(), CausalContext::of_state(examples::vector()), examples::context_with_dots()];
    let written = contexts.each_ref().map(token::encode);
    assert_eq!(written.as_slice(), stored, "the tokens written have changed");
    for (line, context) in stored.into_iter().zip(contexts) {
        assert_eq!(token::decode(line), Ok(context));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
