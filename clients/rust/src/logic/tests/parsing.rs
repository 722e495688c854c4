//! Server-sent events, cut anywhere.

use crate::logic::events::{EventParser, RawEvent};

const STREAM: &str =
    ": hello\n\nevent: start\nid: 1\ndata: {\"a\": \"\u{2028}ä\"}\n\ndata:b\ndata: c\n\nid: 9\n\nevent: x\n";

fn events(pieces: &[&[u8]]) -> Vec<RawEvent> {
    let mut parser = EventParser::default();
    let mut events = Vec::new();
    for piece in pieces {
        parser.feed(piece);
        while let Some(event) = parser.next().unwrap() {
            events.push(event);
        }
    }
    events
}

#[test]
fn events_come_whole_wherever_they_are_cut() {
    let raw = |name: &str, id: Option<&str>, data: &str| RawEvent {
        name: name.to_owned(),
        id: id.map(str::to_owned),
        data: data.to_owned(),
    };
    let wanted = [raw("start", Some("1"), "{\"a\": \"\u{2028}ä\"}"), raw("message", None, "b\nc")];
    let bytes = STREAM.as_bytes();
    for cut in 0..=bytes.len() {
        assert_eq!(events(&[&bytes[..cut], &bytes[cut..]]), wanted, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(events(&single), wanted);
}

#[test]
fn what_is_no_text_is_refused() {
    let mut parser = EventParser::default();
    parser.feed(b"data: \xff\n\n");
    assert!(parser.next().is_err());
}
