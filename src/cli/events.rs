//! Server-sent events: a stream of answers, taken apart.
//!
//! Promises: an event is bounded in bytes; a field that is not known is passed by. What is cut off in the middle of an
//! event is no event.

use std::mem::take;

use reqwest::Response;

use super::client::{MAX_ANSWER_BYTES, next_piece};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The last id that came with this event or one before it.
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) data: String,
}

/// The events of a response.
pub(super) struct Events {
    response: Response,
    parser: Parser,
}

impl Events {
    pub(super) fn of(response: Response) -> Self {
        Self { response, parser: Parser::default() }
    }

    /// The next one; `None` when the stream has ended, broke off or fell silent.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.parser.next() {
                return Some(event);
            }
            if self.parser.bytes() > MAX_ANSWER_BYTES {
                return None;
            }
            let piece = next_piece(&mut self.response).await?;
            self.parser.buffer.extend_from_slice(&piece);
        }
    }
}

/// Takes bytes as they come.
#[derive(Default)]
struct Parser {
    /// What came and was not taken yet: at most one event and one piece.
    buffer: Vec<u8>,
    /// Up to where there is no end of a line in it.
    searched: usize,
    event: Event,
}

impl Parser {
    /// What of an event is here that is not whole.
    fn bytes(&self) -> usize {
        self.buffer.len() + self.event.data.len()
    }

    /// The next whole event of what came so far.
    fn next(&mut self) -> Option<Event> {
        let mut start = 0;
        let mut found = None;
        while found.is_none() {
            let from = start.max(self.searched);
            let Some(end) = self.buffer[from..].iter().position(|byte| *byte == b'\n') else { break };
            let line = String::from_utf8_lossy(&self.buffer[start..from + end]).into_owned();
            start = from + end + 1;
            found = self.take(line.strip_suffix('\r').unwrap_or(&line));
        }
        self.buffer.drain(..start);
        self.searched = if found.is_some() { 0 } else { self.buffer.len() };
        found
    }

    /// Takes a line; an empty one ends an event.
    fn take(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = Event { id: self.event.id.clone(), ..take(&mut self.event) };
            self.event.id.clone_from(&event.id);
            // Comments alone make no event.
            return (!event.name.is_empty() || !event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" if self.event.data.is_empty() => value.clone_into(&mut self.event.data),
            "data" => self.event.data.extend(["\n", value]),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.buffer.extend_from_slice(piece);
            events.extend(std::iter::from_fn(|| parser.next()));
        }
        events
    }

    fn event(id: Option<&str>, name: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn all_lines_of_an_event_count_towards_its_bound() {
        let mut parser = Parser::default();
        parser.buffer.extend_from_slice(b"data: 12345\ndata: 678\ndata: 9");
        assert_eq!(parser.next(), None);
        assert_eq!(parser.bytes(), "12345\n678".len() + "data: 9".len());
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = ": hello\n\nevent: change\r\nid: 1-a\r\ndata: {\"é\":1}\r\n\r\ndata:one\ndata: two\n\n\nid\nevent: x\n\nevent: half\n";
        let expected =
            [event(Some("1-a"), "change", "{\"é\":1}"), event(Some("1-a"), "", "one\ntwo"), event(Some(""), "x", "")];
        for size in 1..text.len() {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(parsed(&pieces), expected, "pieces of {size}");
        }
    }
}
