//! The plainest of HTTP clients: sends bytes as they are, reads one answer.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cases::Case;
use crate::local::DEADLINE;
use crate::support::document::Document;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| &**value)
    }

    /// Panics unless the answer is as the document of the API says.
    pub(crate) fn check_document(&self, case: &Case, document: &Document) {
        let line = String::from_utf8_lossy(&case.bytes);
        let target = line.split(' ').nth(1).unwrap().trim_start_matches("http://x");
        let path = target.split('?').next().unwrap();
        let header = |name: &str| self.header(&name.to_lowercase()).map(str::to_owned);
        document.check(&case.method(), path, self.status, header, &self.body);
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Some(Self { status, headers, body: body.to_owned() })
    }
}

/// Sends bytes, ends its own direction, and reads what comes back; `None` when nothing does.
pub(crate) async fn ask(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have closed already: its answer is still there to be read.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    Answer::parse(&rest(&mut stream).await)
}

/// Reads an answer until the server closes the connection.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let bytes = rest(stream).await;
    Answer::parse(&bytes).unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)))
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset after the answer still leaves what was read before it.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an answer and the end of it");
    bytes
}
