//! Which node to ask: what is known of the nodes' health, and the tries of one call.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;

use crate::error::{Error, Problem};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const FIRST_AWAY: Duration = Duration::from_secs(1);
const LONGEST_AWAY: Duration = Duration::from_secs(30);
/// No use of a node is put off for longer, whatever it says.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// A node, by its place in the list.
pub(crate) type Node = usize;

/// The nodes of a client, in the order in which they were given, and which of them are thought to be away.
///
/// That only decides whom a call tries first: it tries all before it gives up.
#[derive(Debug)]
pub(crate) struct Nodes {
    urls: Vec<String>,
    away: Mutex<BTreeMap<(Node, bool), Away>>,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    until: Instant,
    times: u32,
}

impl Nodes {
    pub(crate) fn new<U: AsRef<str>>(given: impl IntoIterator<Item = U>) -> Result<Self, Error> {
        let mut urls = Vec::new();
        for url in given {
            let url = base(url.as_ref())?;
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        if urls.is_empty() {
            return Err(Error::Unusable("no node is given".to_owned()));
        }
        Ok(Self { urls, away: Mutex::default() })
    }

    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    pub(crate) fn url(&self, node: Node) -> &str {
        &self.urls[node]
    }

    pub(crate) fn find(&self, url: &str) -> Option<Node> {
        self.urls.iter().position(|known| known == url)
    }

    /// All nodes: first those that are not away, `home` before others; then those that will be back soonest.
    fn order(&self, home: Option<Node>, now: Instant, write: bool) -> Vec<Node> {
        let away = self.away();
        let until = |node, kind| away.get(&(node, kind)).map(|away| away.until).filter(|until| *until > now);
        let rank = |node: &Node| (until(*node, false).max(until(*node, write)), Reverse(Some(*node) == home), *node);
        let mut order: Vec<_> = (0..self.urls.len()).collect();
        order.sort_by_key(rank);
        order
    }

    /// Notes that a node can't be used, for longer each time; or, when it is for `writes_only`, not for these.
    pub(crate) fn failed(&self, node: Node, now: Instant, at_least: Duration, writes_only: bool) {
        let mut away = self.away();
        let times = away.get(&(node, writes_only)).map_or(0, |away| away.times);
        let pause = doubled(FIRST_AWAY, times, LONGEST_AWAY).max(at_least.min(LONGEST_WAIT));
        away.insert((node, writes_only), Away { until: now + pause, times: times.saturating_add(1) });
    }

    /// Notes that a node answered as it should.
    pub(crate) fn works(&self, node: Node, write: bool) {
        let mut away = self.away();
        away.remove(&(node, false));
        if write {
            away.remove(&(node, true));
        }
    }

    fn away(&self) -> MutexGuard<'_, BTreeMap<(Node, bool), Away>> {
        // What a panic leaves behind is a guess about health all the same.
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn base(url: &str) -> Result<String, Error> {
    let is_base = |parsed: &Url| {
        matches!(parsed.scheme(), "http" | "https")
            && parsed.has_host()
            && parsed.query().is_none()
            && parsed.fragment().is_none()
    };
    match Url::parse(url) {
        Ok(parsed) if is_base(&parsed) => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(Error::Unusable(format!("{url:?} is not the URL of a node, such as http://127.0.0.1:8000"))),
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    (first * 2_u32.pow(times.min(10))).min(longest)
}

/// Whom to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Ask(Node),
    Pause(Duration),
    /// Time is up.
    Nobody,
}

/// The tries of one call: who is next, and when; and what to tell when time is up.
#[derive(Debug)]
pub(crate) struct Tries {
    home: Option<Node>,
    pub(crate) deadline: Instant,
    write: bool,
    /// The only node that may be asked, because it may have done already what is asked for.
    pub(crate) pinned: Option<Node>,
    failed: BTreeMap<Node, Failed>,
    refused: Option<Problem>,
}

#[derive(Debug)]
struct Failed {
    times: u32,
    not_before: Instant,
    reason: String,
}

/// Why a node did not do it.
pub(crate) enum Why {
    Failure(String),
    Problem(Problem),
}

impl Tries {
    pub(crate) fn new(home: Option<Node>, deadline: Instant, write: bool) -> Self {
        Self { home, deadline, write, pinned: None, failed: BTreeMap::new(), refused: None }
    }

    pub(crate) fn next(&self, nodes: &Nodes, now: Instant) -> Choice {
        let order = match self.pinned {
            Some(node) => vec![node],
            None => nodes.order(self.home, now, self.write),
        };
        let wait = |node: &Node| self.failed.get(node).map_or(Duration::ZERO, |failed| failed.not_before - now);
        let ready = order.iter().find(|node| wait(node).is_zero());
        let pause = ready.map_or_else(|| order.iter().map(wait).min().unwrap_or_default(), |_| Duration::ZERO);
        match ready {
            _ if !self.failed.is_empty() && now + pause >= self.deadline => Choice::Nobody,
            Some(node) => Choice::Ask(*node),
            None => Choice::Pause(pause),
        }
    }

    /// Notes that a node did not do it, to be asked again after a pause: longer each time, and at least so long.
    pub(crate) fn failed(&mut self, node: Node, why: Why, now: Instant, at_least: Duration, jitter: f64) {
        let times = self.failed.get(&node).map_or(0, |failed| failed.times);
        let pause = doubled(FIRST_PAUSE, times, LONGEST_PAUSE).mul_f64(0.5 + jitter / 2.0);
        let not_before = now + pause.max(at_least.min(LONGEST_WAIT));
        let reason = match why {
            Why::Failure(reason) => reason,
            Why::Problem(problem) => self.refused.insert(problem).to_string(),
        };
        self.failed.insert(node, Failed { times: times.saturating_add(1), not_before, reason });
    }

    /// The error that tells most: a refusal if there was one.
    pub(crate) fn error(&self, nodes: &Nodes) -> Error {
        if let Some(problem) = &self.refused {
            return problem.clone().into();
        }
        let reasons = self.failed.iter().map(|(node, failed)| (nodes.url(*node).to_owned(), failed.reason.clone()));
        Error::Unreachable { reasons: reasons.collect() }
    }

    /// Why a node did not do it, by its last try.
    pub(crate) fn reason(&self, node: Node) -> String {
        self.failed.get(&node).map_or_else(|| "no answer in time".to_owned(), |failed| failed.reason.clone())
    }
}
