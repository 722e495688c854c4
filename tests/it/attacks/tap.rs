//! The way from one node to another in the hands of an attacker, who reads, keeps, holds back and makes up what goes over it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use causeway::auth::HEADER;
use causeway::causality::NodeId;
use causeway::format::message;
use causeway::peers::CALL;
use causeway::replica::{Answer, Statement};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::api::{self, Api};
use crate::support::until;

/// What the attacker does to what comes over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Does {
    /// Reads along.
    Nothing,
    /// Lets nothing through that has this in it.
    Holds(&'static str),
    /// Lets no push through, and answers that the peer has all of it, as if that had said so, but unsigned.
    Acknowledges,
    /// The same, with what proved an answer before.
    AcknowledgesWithAnOldProof,
}

/// A way to a node.
pub(super) struct Tap {
    /// Where the one finds the other.
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    does: Does,
    caught: Vec<Caught>,
    /// What proved the last answer that went over.
    proof: Option<String>,
}

/// A request that went over, or would have.
#[derive(Clone, Debug)]
pub(super) struct Caught {
    pub(super) path: String,
    /// What proves it.
    pub(super) proof: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Caught {
    /// Sends it to a node, as it is.
    pub(super) async fn send(&self, to: &Api) -> api::Answer {
        let request = to.request(Method::POST, &self.path).header("content-type", message::CONTENT_TYPE);
        let request = self.proof.iter().fold(request, |request, proof| request.header(HEADER, proof));
        let response = request.body(self.body.clone()).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        api::Answer { status, headers, body }
    }
}

impl Tap {
    /// A way to the port `target`. Lives as long as the runtime.
    pub(super) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { does: Does::Nothing, caught: Vec::new(), proof: None }));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, shared.clone()));
            }
        });
        Self { port, state }
    }

    /// From now on, until it is told otherwise.
    pub(super) fn does(&self, does: Does) {
        let mut state = self.state.lock().unwrap();
        state.does = does;
        state.caught.clear();
    }

    /// A push of what is written at its sender under this key, which does not get through.
    pub(super) async fn catch(&self, key: &'static str, sender: &Api) -> Caught {
        self.does(Does::Holds(key));
        sender.set(key, "value").await;
        let has_key = |caught: &Caught| caught.path == CALL && contains(&caught.body, key);
        let found = async || self.caught().into_iter().find(has_key);
        until(found, async || format!("no push with {key}: {:?}", self.caught())).await
    }

    /// What came since then.
    pub(super) fn caught(&self) -> Vec<Caught> {
        self.state.lock().unwrap().caught.clone()
    }
}

/// Carries requests and answers, one after the other, until either side has enough.
async fn carry(mut near: TcpStream, target: u16, state: Arc<Mutex<State>>) -> Option<()> {
    let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await.ok()?;
    loop {
        let request = Message::read(&mut near).await?;
        let path = request.head.split(' ').nth(1)?.to_owned();
        let is_push = path == CALL;
        let caught = Caught { path, proof: request.header(HEADER), body: request.body.clone() };
        let (does, proof) = {
            let mut state = state.lock().unwrap();
            state.caught.push(caught);
            (state.does, state.proof.clone())
        };
        match does {
            Does::Holds(text) if contains(&request.body, text) => return None,
            Does::Acknowledges if is_push => near.write_all(&acknowledgement(&request.body, None)).await.ok()?,
            Does::AcknowledgesWithAnOldProof if is_push => {
                near.write_all(&acknowledgement(&request.body, proof)).await.ok()?;
            }
            _ => {
                far.write_all(&request.bytes()).await.ok()?;
                let answer = Message::read(&mut far).await?;
                if let Some(proof) = answer.header(HEADER) {
                    state.lock().unwrap().proof = Some(proof);
                }
                near.write_all(&answer.bytes()).await.ok()?;
            }
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// An answer that says that node 0 has all that the sender of this push has.
fn acknowledgement(push: &[u8], proof: Option<String>) -> Vec<u8> {
    let sender = message::decode_push(push).unwrap().sender;
    let receiver = Statement { node: NodeId(0), boot: 77, number: 1, ..sender };
    let answer = Answer { receiver, implied: Vec::new(), missing: Vec::new(), redundant: 0, twin_ms: None };
    let body = message::encode_answer(&answer);
    let proof = proof.map_or_else(String::new, |proof| format!("{HEADER}: {proof}\r\n"));
    let (content_type, length) = (message::CONTENT_TYPE, body.len());
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{proof}content-length: {length}\r\n\r\n");
    [head.into_bytes(), body].concat()
}

/// A request or an answer.
struct Message {
    /// Up to the empty line, which is included.
    head: String,
    body: Vec<u8>,
}

impl Message {
    async fn read(from: &mut TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(from.read_u8().await.ok()?);
        }
        let mut message = Self { head: String::from_utf8(head).ok()?, body: Vec::new() };
        message.body = vec![0; message.header("content-length").map_or(0, |length| length.parse().unwrap())];
        from.read_exact(&mut message.body).await.ok()?;
        Some(message)
    }

    fn header(&self, name: &str) -> Option<String> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }
}
