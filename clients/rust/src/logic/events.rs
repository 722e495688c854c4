//! Server-sent events, out of bytes that come in pieces.

use crate::error::Error;

/// The largest write, with every byte of it escaped, and room to spare.
const MOST_BYTES: usize = 256 << 20;

/// An event as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawEvent {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// What came and is no whole event yet.
#[derive(Debug, Default)]
pub(crate) struct EventParser {
    buffer: Vec<u8>,
    /// How far no end of an event was found.
    searched: usize,
}

impl EventParser {
    /// Takes a piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole event, if there is one; comments are none.
    pub(crate) fn next(&mut self) -> Result<Option<RawEvent>, Error> {
        while let Some(end) = self.end() {
            let event = event(&self.buffer[..end]);
            self.buffer.drain(..end + 2);
            self.searched = 0;
            if let Some(event) = event? {
                return Ok(Some(event));
            }
        }
        match self.buffer.len() {
            ..=MOST_BYTES => Ok(None),
            _ => Err(Error::BadAnswer(format!("an event of a watch has more than {MOST_BYTES} bytes"))),
        }
    }

    fn end(&mut self) -> Option<usize> {
        let found = self.buffer[self.searched..].windows(2).position(|pair| pair == b"\n\n");
        let end = found.map(|found| self.searched + found);
        // An end may have come in part.
        self.searched = self.buffer.len().saturating_sub(1);
        end
    }
}

/// Reads the lines of an event. Only line feeds end lines here: texts in JSON may have other separators.
fn event(bytes: &[u8]) -> Result<Option<RawEvent>, Error> {
    let text = str::from_utf8(bytes).map_err(|error| Error::BadAnswer(format!("an event is not UTF-8: {error}")))?;
    let mut raw = RawEvent { name: "message".to_owned(), id: None, data: String::new() };
    let mut data: Option<String> = None;
    for line in text.split('\n') {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut raw.name),
            "id" => raw.id = Some(value.to_owned()),
            "data" => {
                data = Some(match data {
                    Some(before) => before + "\n" + value,
                    None => value.to_owned(),
                });
            }
            _ => {}
        }
    }
    Ok(data.map(|data| RawEvent { data, ..raw }))
}
