//! Playing more than a system can take: refusals are answers here, and are measured as such.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fastrand::Rng;
use hdrhistogram::Histogram;
use tokio::task::{JoinSet, LocalSet};

use super::{Answer, Connection, Keys, Pace, Protocol, Template, histogram};

/// Answers are counted in steps of this length.
pub const STEP: Duration = Duration::from_millis(100);

/// Clients that want more than there is.
pub struct Flood {
    /// Where to.
    pub port: u16,
    /// What each sends, with the keys that it is about.
    pub request: Template,
    /// How these are chosen.
    pub keys: Keys,
    /// Whether the head goes first, and the body when the server says so (`Expect: 100-continue` must be in it).
    pub asks_first: bool,
    /// How many clients, each with a connection. One that was refused sends its next as if it had not been.
    pub clients: usize,
    /// When they send.
    pub pace: Pace,
    /// For how long.
    pub time: Duration,
}

/// What came of it. Latencies are in nanoseconds, from when a request was sent.
pub struct Flooded {
    /// Of those that were done.
    pub accepted: Histogram<u64>,
    /// Of those that were told to come again.
    pub refused: Histogram<u64>,
    /// Those whose connection was lost before an answer came.
    pub lost: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Requests done in each step.
    pub steps: Vec<u64>,
}

impl Flooded {
    fn new() -> Self {
        Self { accepted: histogram(), refused: histogram(), lost: 0, seconds: 0.0, steps: Vec::new() }
    }

    /// A quantile of a latency, in milliseconds.
    pub fn ms(latency: &Histogram<u64>, quantile: f64) -> f64 {
        latency.value_at_quantile(quantile) as f64 / 1e6
    }

    /// Requests done a second.
    pub fn accepted_per_second(&self) -> f64 {
        self.accepted.len() as f64 / self.seconds
    }

    /// Requests made a second, whatever came of them.
    pub fn came_per_second(&self) -> f64 {
        (self.accepted.len() + self.refused.len() + self.lost) as f64 / self.seconds
    }

    fn note(&mut self, began: Instant, sent: Instant, answer: io::Result<Answer>) -> Result<()> {
        let now = Instant::now();
        let took = (now - sent).as_nanos() as u64;
        match answer {
            Ok(Answer { status: 200, .. }) => {
                self.accepted.saturating_record(took);
                let step = ((now - began).as_nanos() / STEP.as_nanos()) as usize;
                self.steps.resize(self.steps.len().max(step + 1), 0);
                self.steps[step] += 1;
            }
            // Also those whose client came too late with the body.
            Ok(Answer { status: 408 | 429 | 503, .. }) => self.refused.saturating_record(took),
            Ok(wrong) => ensure!(false, "a wrong answer: {wrong:?}"),
            Err(_) => self.lost += 1,
        }
        Ok(())
    }
}

impl Flood {
    /// Plays it on this thread. An answer that is neither right nor a refusal ends it.
    pub fn run(&self) -> Result<Flooded> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.play())
    }

    async fn play(&self) -> Result<Flooded> {
        let flooded = Rc::new(RefCell::new(Flooded::new()));
        let mut clients = Vec::new();
        for index in 0..self.clients {
            clients.push(Client {
                port: self.port,
                connection: Some(Connection::open(self.port, Protocol::Http).await?),
                request: self.request.clone(),
                keys: self.keys.clone(),
                random: Rng::with_seed(index as u64),
                asks_first: self.asks_first,
                flooded: flooded.clone(),
            });
        }
        let (began, mut playing) = (Instant::now(), JoinSet::new());
        for (index, client) in clients.into_iter().enumerate() {
            let (every, first) = match self.pace {
                Pace::Closed => (Duration::ZERO, Duration::ZERO),
                // Each has its turn at its own time: together they are evenly spaced.
                Pace::Open(rate) => {
                    let every = Duration::from_secs_f64(self.clients as f64 / rate);
                    (every, every.mul_f64(index as f64 / self.clients as f64))
                }
            };
            playing.spawn_local(client.play(began, began + first, every, began + self.time));
        }
        while let Some(ended) = playing.join_next().await {
            ended??;
        }
        let seconds = began.elapsed().as_secs_f64();
        let flooded = Rc::into_inner(flooded).map(RefCell::into_inner);
        Ok(Flooded { seconds, ..flooded.unwrap_or_else(Flooded::new) })
    }
}

struct Client {
    port: u16,
    connection: Option<Connection>,
    request: Template,
    keys: Keys,
    random: Rng,
    asks_first: bool,
    flooded: Rc<RefCell<Flooded>>,
}

impl Client {
    /// Sends when it is due, and at once what became due while it waited for an answer.
    async fn play(mut self, began: Instant, mut due: Instant, every: Duration, end: Instant) -> Result<()> {
        loop {
            let now = Instant::now();
            if now >= end || due >= end {
                return Ok(());
            }
            if due > now {
                tokio::time::sleep_until(due.into()).await;
            }
            let sent = Instant::now();
            let answer = self.exchange().await;
            self.flooded.borrow_mut().note(began, sent, answer)?;
            // What was missed while it waited is not made up for by one client: its connection can't.
            due = (due + every).max(Instant::now().checked_sub(every).unwrap_or(due));
        }
    }

    async fn exchange(&mut self) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.port, Protocol::Http).await?,
        };
        let numbers = self.keys.choose(self.request.keys(), &mut self.random);
        let request = self.request.with(numbers);
        let answer = match self.asks_first {
            true => connection.exchange_asking(request).await?,
            false => connection.exchange(request).await?,
        };
        let closes = connection.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.connection = (!closes).then_some(connection);
        Ok(answer)
    }
}
