//! Eight clients that write, one request after the other, and what is left to them while somebody attacks their node: which has
//! a port of its own for peers, a secret, and asks clients for tokens.
//!
//! Attackers, clients and the node have the same processors. An attacker that sends as soon as he was answered takes a part of
//! them whatever the node does, so floods are played at an even rate, too. In each round every attack has the time without any
//! right before it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::bench::Bench;
use crate::load::{Connection, Flood, Flooded, Keys, Pace, Protocol, Template};
use crate::process::{cpu_seconds, free_ports, memory};
use crate::report::Row;
use crate::systems::causeway::{Launch, Node};
use crate::systems::credentials::{with_secret, with_token};

const CLIENTS: usize = 8;

/// Keys that are written; few, so that what is merged in the background does not grow.
const KEYS: u64 = 256;

/// Of floods.
const CONNECTIONS: usize = 64;

/// At an even rate, a second.
const RATE: f64 = 2_000.0;

/// Of slow connections.
const SLOW: usize = 2_000;

/// What is sent, how, and what it gets.
enum Attack {
    /// Heads that get a byte a second.
    Slow { port: u16, connections: usize },
    /// Whole requests.
    Flood(Requests),
}

/// Requests that are sent again and again.
#[derive(Clone)]
struct Requests {
    port: u16,
    bytes: Arc<str>,
    /// What each gets.
    status: u16,
    connections: usize,
    /// How many a second, evenly spaced; without it each connection sends as soon as it was answered.
    rate: Option<f64>,
}

/// The node that is attacked.
struct Target {
    node: Node,
    peers: u16,
    /// The header of those that it lets in.
    token: String,
}

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let target = Target::start(bench)?;
    let attacks = attacks(&target, bench.size(SLOW as u64, 50) as usize);
    // Once to warm up: memory grows until caches and buffers are full.
    target.clients(bench.slice())?;
    let mut rows: Vec<Row> = attacks.iter().map(|(name, _)| Row::new(name)).collect();
    for _ in 0..bench.options.rounds {
        for ((_, attack), row) in attacks.iter().zip(&mut rows) {
            target.measure(attack, bench.slice(), row)?;
        }
    }
    bench.report.add("8 clients write", rows);
    Ok(())
}

fn attacks(target: &Target, slow: usize) -> Vec<(&'static str, Attack)> {
    let flood = |port, bytes: &str, status, connections, rate| {
        Attack::Flood(Requests { port, bytes: bytes.into(), status, connections, rate })
    };
    let (clients, peers) = (target.node.port, target.peers);
    let read = "GET /read?key=k HTTP/1.1\r\nHost: bench\r\n";
    let no_token = format!("{read}\r\n");
    let large_head = format!("{read}X: {}\r\n\r\n", "x".repeat(70_000));
    let push =
        "POST /replication/v1/push HTTP/1.1\r\nHost: bench\r\nContent-Type: application/vnd.causeway.replication\r\n";
    let unsigned = format!("{push}Content-Length: 1000\r\n\r\n{}", "x".repeat(1000));
    let json = format!("{{\"values\":{{\"a\":null{}}}}}", ",\"a\":null".repeat(900_000));
    let write = format!("PATCH /set HTTP/1.1\r\nHost: bench\r\n{}Content-Type: application/json\r\n", target.token);
    let large_json = format!("{write}Content-Length: {}\r\n\r\n{json}", json.len());
    vec![
        ("2,000 slow connections", Attack::Slow { port: clients, connections: slow }),
        ("reads without a token, 2,000 a second", flood(clients, &no_token, 401, CONNECTIONS, Some(RATE))),
        ("the same, as fast as they are answered", flood(clients, &no_token, 401, CONNECTIONS, None)),
        ("unsigned pushes, 2,000 a second", flood(peers, &unsigned, 401, CONNECTIONS, Some(RATE))),
        ("the same, as fast as they are answered", flood(peers, &unsigned, 401, CONNECTIONS, None)),
        ("heads of 70 KB, 500 a second", flood(clients, &large_head, 431, CONNECTIONS, Some(RATE / 4.0))),
        ("the same, as fast as they are answered", flood(clients, &large_head, 431, CONNECTIONS, None)),
        ("JSON of 8 MB with a token, 8 a second", flood(clients, &large_json, 413, 4, Some(8.0))),
    ]
}

impl Target {
    fn start(bench: &mut Bench) -> Result<Self> {
        let directory = bench.directory()?;
        let peers = free_ports(1)?[0];
        let launch =
            with_secret(Launch::alone(&directory)?)?.with("CAUSEWAY_PEER_LISTEN", &format!("127.0.0.1:{peers}"));
        let (launch, token) = with_token(launch, &bench.options.binary)?;
        Ok(Self { node: launch.start(&bench.options.binary)?, peers, token })
    }

    /// The clients that behave.
    fn clients(&self, time: Duration) -> Result<Flooded> {
        let body = format!("{{\"values\":{{\"key{}\":\"{}\"}}}}", crate::load::KEY, "v".repeat(32));
        let flood = Flood {
            port: self.node.port,
            request: Template::http_with("PATCH", "/set", &self.token, &body),
            keys: Keys::Uniform(KEYS),
            asks_first: false,
            clients: CLIENTS,
            pace: Pace::Closed,
            time,
        };
        let flooded = flood.run()?;
        ensure!(flooded.refused.is_empty() && flooded.lost == 0, "a client that behaves is refused");
        Ok(flooded)
    }

    /// The clients without the attack, and then with it.
    fn measure(&self, attack: &Attack, time: Duration, row: &mut Row) -> Result<()> {
        let id = self.node.process.id();
        let resident = || Ok::<_, anyhow::Error>(memory(id)?.resident as f64 / 1_048_576.0);
        let alone = self.clients(time)?;
        let (before, done) = (resident()?, Arc::new(AtomicBool::new(false)));
        let (begun, begins) = mpsc::channel();
        let (attacked, answered, cpu, after) = thread::scope(|scope| {
            let attacking = scope.spawn(|| attack.play(&begun, &done));
            // An error on their side ends it, too.
            let _ = begins.recv();
            let cpu = cpu_seconds(&[id]);
            let attacked = self.clients(time);
            let measured = (cpu_seconds(&[id]), resident());
            done.store(true, Ordering::Relaxed);
            let answered = attacking.join().expect("it ends with an error, not with a panic")?;
            Ok::<_, anyhow::Error>((attacked?, answered, measured.0? - cpu?, measured.1?))
        })?;
        let p99 = |flooded: &Flooded| Flooded::ms(&flooded.accepted, 0.99);
        row.add("writes/s", attacked.accepted_per_second());
        row.add("alone", alone.accepted_per_second());
        row.add("of alone", attacked.accepted_per_second() / alone.accepted_per_second());
        row.add("p99 ms", p99(&attacked));
        row.add("p99 alone", p99(&alone));
        row.add("attacks answered/s", answered as f64 / attacked.seconds);
        row.add("node's CPU ms/s", cpu * 1e3 / attacked.seconds);
        row.add("RSS MiB more", after - before);
        Ok(())
    }
}

impl Attack {
    /// Goes on until it is told that it is done, after saying that it has begun; how many requests were answered.
    fn play(&self, begun: &mpsc::Sender<()>, done: &Arc<AtomicBool>) -> Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match self {
            Self::Slow { port, connections } => runtime.block_on(hold(*port, *connections, begun, done)).map(|()| 0),
            Self::Flood(requests) => {
                // Nobody waits for it only when the driver has failed.
                let _ = begun.send(());
                LocalSet::new().block_on(&runtime, requests.play(done))
            }
        }
    }
}

/// Opens connections, and sends a byte of a head on each of them every second.
async fn hold(port: u16, connections: usize, begun: &mpsc::Sender<()>, done: &Arc<AtomicBool>) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /read?key=k HTTP/1.1\r\nHost: bench\r\nX: ").await?;
        held.push(stream);
    }
    let _ = begun.send(());
    let mut due = Instant::now();
    while !done.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(20)).await;
        if due.elapsed() > Duration::from_secs(1) {
            due = Instant::now();
            for stream in &mut held {
                stream.write_all(b"x").await?;
            }
        }
    }
    Ok(())
}

impl Requests {
    async fn play(&self, done: &Arc<AtomicBool>) -> Result<u64> {
        let every = self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(self.connections as f64 / rate));
        let (answered, began) = (Rc::new(Cell::new(0)), Instant::now());
        let mut playing = JoinSet::new();
        for index in 0..self.connections {
            // Each has its turn at its own time: together they are evenly spaced.
            let first = began + every.mul_f64(index as f64 / self.connections as f64);
            playing.spawn_local(self.clone().on_one_connection((first, every), done.clone(), answered.clone()));
        }
        while let Some(ended) = playing.join_next().await {
            ended??;
        }
        Ok(answered.get())
    }

    async fn on_one_connection(
        self,
        (mut due, every): (Instant, Duration),
        done: Arc<AtomicBool>,
        answered: Rc<Cell<u64>>,
    ) -> Result<()> {
        let mut kept = None;
        while !done.load(Ordering::Relaxed) {
            sleep_until(due).await;
            due = Instant::now().max(due + every);
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Connection::open(self.port, Protocol::Http).await?,
            };
            // It may be cut while it sends.
            let Ok(answer) = connection.exchange(self.bytes.as_bytes()).await else { continue };
            ensure!(answer.status == self.status, "an attack is answered {}", answer.status);
            answered.set(answered.get() + 1);
            let closes = connection.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            kept = (!closes).then_some(connection);
        }
        Ok(())
    }
}
