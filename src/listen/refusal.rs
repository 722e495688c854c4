//! What is said to a connection that is not served, in plain HTTP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{LINGER, linger};

/// An answer that needs no request to be understood.
pub(super) struct Refusal {
    status: &'static str,
    /// A header more, with its end.
    header: &'static str,
    problem: &'static str,
}

/// There are too many connections.
pub(super) const TOO_MANY: Refusal = Refusal {
    status: "503 Service Unavailable",
    header: "retry-after: 1\r\n",
    problem: r#"{"type":"/problems/overloaded","title":"Too much at once","status":503,"detail":"this node has as many connections as it may have"}"#,
};

/// What came is not TLS.
pub(super) const TLS_NEEDED: Refusal = Refusal {
    status: "400 Bad Request",
    header: "",
    problem: r#"{"type":"/problems/tls-needed","title":"This port speaks TLS","status":400,"detail":"use https:// instead of http:// here"}"#,
};

/// Says so, and closes.
pub(super) async fn refuse(mut stream: TcpStream, Refusal { status, header, problem }: &Refusal) {
    // Not before it was asked: clients take an answer without a request for a broken connection.
    let mut beginning = [0; 1024];
    if !matches!(timeout(LINGER, stream.read(&mut beginning)).await, Ok(Ok(1..))) {
        return;
    }
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n{header}cache-control: no-store\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{problem}",
        problem.len()
    );
    if let Ok(Ok(())) = timeout(LINGER, stream.write_all(answer.as_bytes())).await {
        linger(stream).await;
    }
}
