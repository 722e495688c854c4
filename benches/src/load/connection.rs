//! One connection of the load generator: a request out, an answer in, of which only status and length are read.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for a head and most bodies; longer ones are read in pieces and forgotten.
const BUFFER_BYTES: usize = 128 * 1024;

/// What a system speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, bodies with `Content-Length` or, when they are small, in chunks.
    Http,
    /// Redis's.
    Resp,
}

/// What is looked at in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Bytes of the body.
    pub body: usize,
    /// Bytes before the body.
    head: usize,
    /// Bytes after the body (Redis ends a value with two).
    tail: usize,
}

impl Answer {
    /// All of its bytes.
    pub(super) fn bytes(&self) -> usize {
        self.head + self.body + self.tail
    }
}

/// A connection.
pub struct Connection {
    stream: TcpStream,
    protocol: Protocol,
    buffer: Vec<u8>,
    head: usize,
}

impl Connection {
    /// Connects to a port of this machine.
    pub async fn open(port: u16, protocol: Protocol) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, protocol, buffer: vec![0; BUFFER_BYTES], head: 0 })
    }

    /// Sends a request and reads all of its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        // Who refuses a request answers it before it has taken all of it, and may take no more.
        let sent = self.stream.write_all(request).await;
        self.answer(0).await.map_err(|error| sent.err().unwrap_or(error))
    }

    /// The same with the head alone at first; the body follows when the server asks for it.
    pub async fn exchange_asking(&mut self, request: &[u8]) -> io::Result<Answer> {
        const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or(ErrorKind::InvalidInput)? + 4;
        self.stream.write_all(&request[..head]).await?;
        let mut filled = 0;
        while filled < GO_ON.len() {
            filled += self.read_to(filled).await?;
        }
        if !self.buffer[..filled].starts_with(GO_ON) {
            return self.answer(filled).await;
        }
        self.buffer.copy_within(GO_ON.len()..filled, 0);
        self.stream.write_all(&request[head..]).await?;
        self.answer(filled - GO_ON.len()).await
    }

    /// Reads all of an answer of which so many bytes are there.
    async fn answer(&mut self, mut filled: usize) -> io::Result<Answer> {
        let answer = loop {
            if let Some(answer) = head(self.protocol, &self.buffer[..filled])? {
                break answer;
            }
            filled += self.read_to(filled).await?;
        };
        self.head = answer.head;
        let mut left = answer.bytes().checked_sub(filled).ok_or(ErrorKind::InvalidData)?;
        while left > 0 {
            // The head stays: see `header`.
            let read = self.read_to(answer.head).await?;
            left = left.checked_sub(read).ok_or(ErrorKind::InvalidData)?;
        }
        Ok(answer)
    }

    async fn read_to(&mut self, at: usize) -> io::Result<usize> {
        match self.stream.read(&mut self.buffer[at..]).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }

    /// A header of the last answer.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut fields);
        response.parse(&self.buffer[..self.head]).ok()?;
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(found.value).into_owned())
    }
}

/// What the bytes of an answer say so far; `None` while its head is incomplete.
fn head(protocol: Protocol, bytes: &[u8]) -> io::Result<Option<Answer>> {
    match protocol {
        Protocol::Http => http_head(bytes),
        Protocol::Resp => resp_head(bytes),
    }
}

fn http_head(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let field = |name: &str| response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let body = match (field("content-length"), field("transfer-encoding")) {
        (Some(length), _) => number(length.value).ok_or(ErrorKind::InvalidData)?,
        // Requests don't overlap, so that the last chunk is at the end of what came.
        (None, Some(_)) if bytes.ends_with(b"\r\n0\r\n\r\n") => bytes.len() - head,
        (None, Some(_)) if bytes.len() < BUFFER_BYTES => return Ok(None),
        _ => return Err(io::Error::new(ErrorKind::InvalidData, "the length of an answer is not known")),
    };
    Ok(Some(Answer { status: response.code.unwrap_or(0), body, head, tail: 0 }))
}

fn resp_head(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = bytes[..end].trim_ascii_end();
    let answer = |status, body, tail| Ok(Some(Answer { status, body, head: end + 1, tail }));
    match line {
        [b'+', ..] => answer(200, 0, 0),
        b"$-1" => answer(404, 0, 0),
        [b'$', length @ ..] => answer(200, number(length).ok_or(ErrorKind::InvalidData)?, 2),
        _ => Err(io::Error::other(String::from_utf8_lossy(line).into_owned())),
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn heads_say_how_long_an_answer_is() {
        let http = b"HTTP/1.1 404 Not Found\r\ncontent-length: 13\r\n\r\nkey";
        assert_eq!(http_head(http).unwrap(), Some(Answer { status: 404, body: 13, head: 46, tail: 0 }));
        assert_eq!(http_head(&http[..20]).unwrap(), None);
        assert!(http_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(http_head(&chunked[..chunked.len() - 1]).unwrap(), None);
        assert_eq!(http_head(chunked).unwrap(), Some(Answer { status: 200, body: 13, head: 47, tail: 0 }));
        assert_eq!(resp_head(b"+OK\r\n").unwrap(), Some(Answer { status: 200, body: 0, head: 5, tail: 0 }));
        assert_eq!(resp_head(b"$-1\r\n").unwrap(), Some(Answer { status: 404, body: 0, head: 5, tail: 0 }));
        assert_eq!(resp_head(b"$3\r\nab").unwrap(), Some(Answer { status: 200, body: 3, head: 4, tail: 2 }));
        assert_eq!(resp_head(b"$3").unwrap(), None);
        assert!(resp_head(b"-ERR no\r\n").is_err());
    }
}
