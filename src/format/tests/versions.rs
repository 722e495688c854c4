//! Bytes of other versions: what only says more is read all the same, the rest is refused, naming both versions.

use minicbor::Encoder;

use super::*;
use crate::replica::{Protocol, Push};
use examples::{answer, push};

/// A frame with this payload.
fn sealed(version: u8, write: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    frame::seal(version, |bytes| write(&mut Encoder::new(bytes)))
}

/// A statement that says this of its protocol, in a push that has one more field than any now.
fn push_of_a_newer_version(oldest: u32, newest: u32) -> Vec<u8> {
    let later = |to: &mut Encoder<&mut Vec<u8>>| {
        to.map(5).unwrap().u32(0).unwrap().str("causeway").unwrap().u32(1).unwrap().u32(1).unwrap();
        to.u32(2).unwrap().map(6).unwrap();
        to.u32(0).unwrap().u32(0).unwrap().u32(1).unwrap().u64(5).unwrap().u32(2).unwrap().u64(300).unwrap();
        to.u32(3).unwrap().array(0).unwrap();
        to.u32(8).unwrap().array(3).unwrap().u32(oldest).unwrap().u32(newest).unwrap().str("and more").unwrap();
        to.u32(99).unwrap().map(1).unwrap().str("later").unwrap().bytes(b"things").unwrap();
        to.u32(3).unwrap().array(0).unwrap();
        to.u32(77).unwrap().array(2).unwrap().u32(1).unwrap().str("unheard of").unwrap();
    };
    sealed(1, later)
}

#[test]
fn fields_that_are_not_known_are_skipped() {
    let read = message::decode_push(&push_of_a_newer_version(2, 9)).unwrap();
    let Push { cluster, to, sender, ops, echo: _ } = read;
    assert_eq!((&*cluster, to, ops.len()), ("causeway", push().to, 0));
    assert_eq!((sender.boot, sender.number, sender.protocol), (5, 300, Protocol { oldest: 2, newest: 9 }));
}

#[test]
fn a_rejection_of_an_unknown_kind_says_so() {
    let later = sealed(1, |to| {
        to.array(2).unwrap().u32(99).unwrap().array(1).unwrap().str("why").unwrap();
    });
    let error = message::decode_rejection(&later).unwrap_err().to_string();
    assert!(error.starts_with("rejection does not read as one: a newer version may know this kind of it"), "{error}");
    assert!(error.contains("99"), "{error}");
}

#[test]
fn a_node_without_a_version_in_common_is_named_with_what_both_speak() {
    let error = message::decode_push(&push_of_a_newer_version(7, 9)).unwrap_err();
    assert!(error.is_of_another_version());
    let expected =
        "node 0 speaks versions 7 to 9 of the protocol, this node versions 1 to 2: upgrade the older of them";
    assert_eq!(error.to_string(), expected);
    let mut later = answer();
    later.receiver.protocol = Protocol { oldest: 3, newest: 3 };
    let error = message::decode_answer(&message::encode_answer(&later)).unwrap_err();
    assert!(error.to_string().starts_with("node 1 speaks version 3 of the protocol"), "{error}");
}

#[test]
fn versions_of_the_protocol_that_can_not_be_are_refused() {
    let error = message::decode_push(&push_of_a_newer_version(2, 1)).unwrap_err();
    assert!(matches!(error, FormatError::Malformed { what: "push", .. }), "{error}");
}

#[test]
fn a_frame_may_be_of_any_version_of_a_range() {
    for version in 2..=4 {
        assert_eq!(frame::open_any("thing", 2..=4, &frame::seal(version, |_| ())), Ok((version, &[][..])));
    }
    let refused = |version| {
        let error = frame::open_any("thing", 2..=4, &frame::seal(version, |_| ())).unwrap_err();
        assert!(error.is_of_another_version());
        error.to_string()
    };
    assert_eq!(refused(5), "thing has version 5, the newest known here is 4");
    assert_eq!(refused(1), "thing has version 1, the oldest known here is 2");
}
