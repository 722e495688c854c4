//! Single requests of the driver: to look at a system, never to load it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, as they came.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Asks for a path.
pub fn get(port: u16, path: &str) -> Result<Answer> {
    send(port, "GET", path, &[], "")
}

/// Asks for a path whose answer is JSON.
pub fn json(port: u16, path: &str) -> Result<Value> {
    let answer = get(port, path)?;
    ensure!(answer.status == 200, "{path} is answered {}", answer.status);
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Makes a request on a connection that stays open, and reads its answer, which must be a 200.
pub fn exchange(stream: &mut TcpStream, request: &str) -> Result<()> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the answer is cut");
        bytes.extend_from_slice(&piece[..read]);
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(head) = response.parse(&bytes)? else { continue };
        ensure!(response.code == Some(200), "it is answered {:?}", response.code);
        let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length: usize = std::str::from_utf8(length.context("an answer without a length")?.value)?.parse()?;
        if bytes.len() >= head + length {
            return Ok(());
        }
    }
}

/// One request on a connection of its own.
pub fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head_bytes) = response.parse(&bytes)? else {
        bail!("the answer to {path} is cut");
    };
    let text =
        |header: &httparse::Header<'_>| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned());
    Ok(Answer {
        status: response.code.context("an answer without a status")?,
        headers: response.headers.iter().map(text).collect(),
        body: bytes[head_bytes..].to_vec(),
    })
}
