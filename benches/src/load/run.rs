//! Playing a load against a system and counting.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fastrand::Rng;
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinSet, LocalSet};

use super::{Connection, Request, Right, Workload};

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// When the connection's last is answered.
    Closed,
    /// So many a second, evenly spaced, whatever the answers do.
    Open(f64),
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// No request begins later than this.
    Time(Duration),
    /// After so many requests.
    Requests(u64),
}

/// What came of a load.
pub struct Outcome {
    /// Requests, each with its right answer.
    pub requests: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// In nanoseconds; in an open loop from when a request was due.
    pub latency: Histogram<u64>,
    /// Sent and received.
    pub bytes: u64,
}

impl Outcome {
    /// Requests a second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// A quantile of the latency, in milliseconds.
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e6
    }
}

/// A histogram for nanoseconds up to a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are right")
}

/// Plays a load on this thread. The first wrong answer ends it.
pub fn run(load: &Workload, connections: usize, pace: Pace, amount: Amount) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, play(load, connections, pace, amount))
}

async fn play(load: &Workload, connections: usize, pace: Pace, amount: Amount) -> Result<Outcome> {
    let mut workers = Vec::new();
    let latency = Rc::new(RefCell::new(histogram()));
    let bytes = Rc::new(Cell::new(0));
    for index in 0..connections {
        let connection = Connection::open(load.ports[index % load.ports.len()], load.protocol).await?;
        let requests = Requests::new(&load.requests, index as u64);
        workers.push(Worker { connection, requests, latency: latency.clone(), bytes: bytes.clone() });
    }
    let mut playing = JoinSet::new();
    let began = Instant::now();
    match pace {
        Pace::Closed => {
            let (end, left) = match amount {
                Amount::Time(time) => (Some(began + time), u64::MAX),
                Amount::Requests(count) => (None, count),
            };
            let left = Rc::new(Cell::new(left));
            for worker in workers {
                playing.spawn_local(worker.closed(end, left.clone()));
            }
        }
        Pace::Open(rate) => {
            let count = match amount {
                Amount::Time(time) => (time.as_secs_f64() * rate) as u64,
                Amount::Requests(count) => count,
            };
            let (due, arrivals) = mpsc::unbounded_channel();
            thread::spawn(move || say_when_due(rate, count, &due));
            let arrivals = Rc::new(Mutex::new(arrivals));
            for worker in workers {
                playing.spawn_local(worker.open(arrivals.clone()));
            }
        }
    }
    while let Some(ended) = playing.join_next().await {
        ended??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let latency = latency.borrow().clone();
    ensure!(!latency.is_empty(), "not one request was made");
    Ok(Outcome { requests: latency.len(), seconds, latency, bytes: bytes.get() })
}

/// Says when requests are due. Sleeps rather than spins, so it is late by what the kernel takes to wake it; that
/// counts as latency.
fn say_when_due(rate: f64, count: u64, due: &mpsc::UnboundedSender<Instant>) {
    let began = Instant::now();
    for index in 0..count {
        let at = began + Duration::from_secs_f64(index as f64 / rate);
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if due.send(at).is_err() {
            // The load has ended, with an error of its own.
            return;
        }
    }
}

struct Worker {
    connection: Connection,
    requests: Requests,
    latency: Rc<RefCell<Histogram<u64>>>,
    bytes: Rc<Cell<u64>>,
}

impl Worker {
    async fn closed(mut self, end: Option<Instant>, left: Rc<Cell<u64>>) -> Result<()> {
        let mut now = Instant::now();
        while end.is_none_or(|end| now < end) && left.get() > 0 {
            left.set(left.get() - 1);
            now = self.one(now).await?;
        }
        Ok(())
    }

    async fn open(mut self, arrivals: Rc<Mutex<mpsc::UnboundedReceiver<Instant>>>) -> Result<()> {
        loop {
            // Whoever is free takes the next that is due.
            let due = arrivals.lock().await.recv().await;
            let Some(due) = due else { return Ok(()) };
            self.one(due).await?;
        }
    }

    /// One request, whose latency counts from `since`. Says when it was answered.
    async fn one(&mut self, since: Instant) -> Result<Instant> {
        let (request, right) = self.requests.next();
        let answer = self.connection.exchange(request).await?;
        let now = Instant::now();
        let is_right = answer.status == right.status && right.body.is_none_or(|body| body == answer.body);
        ensure!(is_right, "a wrong answer: {answer:?} instead of {right:?}");
        self.bytes.set(self.bytes.get() + (request.len() + answer.bytes()) as u64);
        self.latency.borrow_mut().saturating_record((now - since).as_nanos() as u64);
        Ok(now)
    }
}

/// The requests of one connection.
struct Requests {
    kinds: Vec<Request>,
    shares: u32,
    random: Rng,
}

impl Requests {
    fn new(kinds: &[Request], seed: u64) -> Self {
        let shares = kinds.iter().map(|kind| kind.share).sum();
        Self { kinds: kinds.to_vec(), shares, random: Rng::with_seed(seed) }
    }

    fn next(&mut self) -> (&[u8], Right) {
        let mut point = self.random.u32(..self.shares);
        let mut index = 0;
        while point >= self.kinds[index].share {
            point -= self.kinds[index].share;
            index += 1;
        }
        let kind = &mut self.kinds[index];
        let numbers = kind.keys.choose(kind.template.keys(), &mut self.random);
        (kind.template.with(numbers), kind.right)
    }
}
