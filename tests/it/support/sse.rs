//! Server-sent events, as a client reads them.

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

/// An event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

impl Event {
    /// Its data as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {}", self.data))
    }

    /// Whose id it must have.
    pub(crate) fn cursor(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("no id: {self:?}"))
    }
}

/// A stream that is read.
pub(crate) struct Events {
    response: Response,
    buffer: Vec<u8>,
    /// Bytes of the buffer, whole characters, in which no event ends.
    looked_at: usize,
}

impl Events {
    /// The stream that a request is answered with; else its answer.
    pub(crate) async fn open(request: RequestBuilder) -> Result<Result<Self, Response>, reqwest::Error> {
        let response = request.send().await?;
        if response.status() != 200 {
            return Ok(Err(response));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Ok(Ok(Self { response, buffer: Vec::new(), looked_at: 0 }))
    }

    /// The next event; `None` at the end. What has no empty line behind it is no event.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, reqwest::Error> {
        loop {
            let new = &self.buffer[self.looked_at..];
            // A character may have come in part.
            let whole = std::str::from_utf8(new).map_or_else(|error| error.valid_up_to(), str::len);
            let new = std::str::from_utf8(&new[..whole]).unwrap();
            if let Some(end) = new.find("\n\n") {
                let text: Vec<u8> = self.buffer.drain(..self.looked_at + end + 2).collect();
                self.looked_at = 0;
                return Ok(Some(parse(std::str::from_utf8(&text).unwrap())));
            }
            self.looked_at += whole - usize::from(new.ends_with('\n'));
            match self.response.chunk().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

fn parse(text: &str) -> Event {
    let (mut name, mut id, mut data) = (None, None, None);
    for line in text.trim_end_matches('\n').lines() {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line}"));
        let slot = match field {
            "event" => &mut name,
            "id" => &mut id,
            "data" => &mut data,
            _ => panic!("no such field: {line}"),
        };
        assert!(slot.replace(value.to_owned()).is_none(), "given twice: {text}");
    }
    Event { name: name.unwrap(), id, data: data.unwrap() }
}
