//! The answer of `GET /cluster`, as tables. Only computes.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::cli::output::{BAD, Cell, GOOD, Table, WAITING, counted, shown};

/// Facts of this age are not of now: nodes that answer are asked each time.
const OLD_MS: u64 = 5_000;

/// As much of the answer as is shown.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Cluster {
    node: u32,
    cluster: String,
    at: String,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Deserialize)]
struct Node {
    node: Option<u32>,
    address: Option<String>,
    #[serde(rename = "self")]
    is_self: bool,
    age_ms: Option<u64>,
    facts: Option<Facts>,
}

#[derive(Clone, Debug, Deserialize)]
struct Facts {
    version: String,
    keys: u64,
    conflicts: u64,
    disk_bytes: u64,
    read_only: bool,
    // Older nodes don't say.
    #[serde(default)]
    twins: Vec<u32>,
    #[serde(default)]
    draining: Option<bool>,
    #[serde(default)]
    damage: Option<Damage>,
    waiting_requests: u64,
    delivery_buffer: u64,
    catching_up: Option<Transfer>,
    links: Vec<Link>,
}

/// Where a node has records that can't be read any more.
#[derive(Clone, Debug, Deserialize)]
struct Damage {
    keys: bool,
    log: bool,
}

impl Damage {
    /// What comes of it.
    fn shown(&self) -> String {
        let keys = self.keys.then_some("reads of some keys fail until a peer's whole state has taken their place");
        let log = self.log.then_some("its log is given up to where it can't be read");
        keys.into_iter().chain(log).collect::<Vec<_>>().join("; ")
    }
}

/// A node's whole state on its way to another.
#[derive(Clone, Debug, Deserialize)]
struct Transfer {
    peer: u32,
    keys: u64,
    all_keys: u64,
    left_seconds: Option<f64>,
}

impl Transfer {
    /// How far it is.
    fn shown(&self) -> String {
        // How many there are is about right only.
        let percent = (self.keys * 100).checked_div(self.all_keys).unwrap_or(0).min(99);
        let left = self.left_seconds.and_then(|left| Duration::try_from_secs_f64(left).ok());
        left.map_or(format!("{percent} %"), |left| format!("{percent} %, {} left", duration(left)))
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Link {
    to: Option<u32>,
    address: Option<String>,
    away_since: Option<String>,
    why: Option<String>,
    heard: Option<String>,
    ops_to_ship: u64,
    bytes_to_ship: u64,
    oldest_waiting: Option<String>,
    state_transfer: Option<Transfer>,
    latency_ms: Option<Latency>,
}

#[derive(Clone, Debug, Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster '{}' as node {} knows it, {}\n", shown(&self.cluster), self.node, self.at)?;
        write!(f, "{}\n\n{}", self.nodes(), self.links())?;
        let damage = |node: &Node| Some((name(node.node), node.facts.as_ref()?.damage.as_ref()?.shown()));
        for (number, (node, damage)) in self.nodes.iter().filter_map(damage).enumerate() {
            let apart = if number == 0 { "\n\n" } else { "\n" };
            write!(f, "{apart}{BAD}node {node} is DAMAGED: {damage}{BAD:#}")?;
        }
        Ok(())
    }
}

impl Cluster {
    fn nodes(&self) -> Table {
        let head = ["NODE", "STATE", "VERSION", "KEYS", "CONFLICTS", "DISK", "BUFFER", "REQUESTS", "FACTS", "ADDRESS"];
        let mut table = Table::new(&head);
        for node in &self.nodes {
            let fact = |fact: fn(&Facts) -> String| Cell::from(node.facts.as_ref().map_or("-".to_owned(), fact));
            let address = node.address.as_deref().unwrap_or(if node.is_self { "(this one)" } else { "-" });
            table.row(vec![
                name(node.node).into(),
                self.node_state(node),
                fact(|facts| shown(&facts.version)),
                fact(|facts| facts.keys.to_string()),
                fact(|facts| facts.conflicts.to_string()),
                fact(|facts| bytes(facts.disk_bytes)),
                fact(|facts| counted(facts.delivery_buffer, "op")),
                fact(|facts| facts.waiting_requests.to_string()),
                age(node.age_ms).into(),
                shown(address).into(),
            ]);
        }
        table
    }

    /// A node's state is what the node that was asked has of it.
    fn node_state(&self, node: &Node) -> Cell {
        match (&node.facts, self.way_to(node)) {
            _ if self.has_twin(node) => Cell::styled("two processes", BAD),
            (_, Some(Link { away_since: Some(since), .. })) => self.away(since),
            (Some(facts), _) if facts.read_only => Cell::styled("read-only", BAD),
            (Some(facts), _) if facts.draining == Some(true) => Cell::styled("draining", WAITING),
            (_, None) if !node.is_self => Cell::styled("unknown", WAITING),
            (Some(Facts { catching_up: Some(transfer), .. }), _) => {
                Cell::styled(format!("catching up from {}, {}", transfer.peer, transfer.shown()), WAITING)
            }
            _ => Cell::styled("up", GOOD),
        }
    }

    /// Whether some node knows that two living processes have this one's id.
    fn has_twin(&self, node: &Node) -> bool {
        let heard = self.nodes.iter().filter(|other| !self.is_old(other)).filter_map(|other| other.facts.as_ref());
        node.node.is_some_and(|id| heard.into_iter().any(|facts| facts.twins.contains(&id)))
    }

    /// The way to a node from the one that was asked.
    fn way_to(&self, node: &Node) -> Option<&Link> {
        let own = self.nodes.iter().find(|own| own.is_self && !node.is_self)?.facts.as_ref()?;
        own.links.iter().find(|link| link.address == node.address || (link.to.is_some() && link.to == node.node))
    }

    /// Whether what a node said is from before it went away.
    fn is_old(&self, node: &Node) -> bool {
        self.way_to(node).is_some_and(|way| way.away_since.is_some()) || node.age_ms.is_none_or(|ms| ms >= OLD_MS)
    }

    fn links(&self) -> Table {
        let head = ["FROM", "TO", "STATE", "TO SHIP", "OLDEST", "LATENCY p50 / p99", "FACTS", "WHY"];
        let mut table = Table::new(&head);
        for (node, facts) in self.nodes.iter().filter_map(|node| Some((node, node.facts.as_ref()?))) {
            for link in &facts.links {
                let waiting = match (&link.state_transfer, link.ops_to_ship) {
                    (Some(transfer), _) => Cell::styled(format!("whole state, {}", transfer.shown()), WAITING),
                    (None, 0) => Cell::from("-"),
                    (None, ops) => {
                        Cell::styled(format!("{}, {}", counted(ops, "op"), bytes(link.bytes_to_ship)), WAITING)
                    }
                };
                let oldest = link.oldest_waiting.as_ref().map(|at| self.since(at));
                let latency = link.latency_ms.as_ref().map(|ms| format!("{:.1} / {:.1} ms", ms.p50, ms.p99));
                table.row(vec![
                    name(node.node).into(),
                    name(link.to).into(),
                    self.link_state(node, link),
                    waiting,
                    oldest.unwrap_or("-".to_owned()).into(),
                    latency.unwrap_or("-".to_owned()).into(),
                    age(node.age_ms).into(),
                    link.why.as_deref().map_or(String::new(), shown).into(),
                ]);
            }
        }
        table
    }

    fn link_state(&self, from: &Node, link: &Link) -> Cell {
        match (&link.away_since, &link.heard) {
            (Some(since), _) => self.away(since),
            (None, None) => Cell::styled("not heard yet", WAITING),
            (None, Some(_)) if self.is_old(from) => Cell::styled("was up", WAITING),
            (None, Some(_)) if self.is_away_back(from, link) => Cell::styled("up, one way", WAITING),
            (None, Some(_)) => Cell::styled("up", GOOD),
        }
    }

    /// Whether the way back is known to be cut.
    fn is_away_back(&self, from: &Node, link: &Link) -> bool {
        let other = self.nodes.iter().find(|node| node.node.is_some() && node.node == link.to);
        let other = other.filter(|other| !self.is_old(other));
        let back = other.and_then(|other| other.facts.as_ref()?.links.iter().find(|back| back.to == from.node));
        back.is_some_and(|back| back.away_since.is_some())
    }

    fn away(&self, since: &str) -> Cell {
        Cell::styled(format!("away {}", self.since(since)), BAD)
    }

    /// How long ago, by the clock of the node that was asked.
    fn since(&self, time: &str) -> String {
        let parse = |text: &str| humantime::parse_rfc3339(text).ok();
        match (parse(time), parse(&self.at)) {
            // A clock of another node may be ahead.
            (Some(time), Some(at)) => duration(at.duration_since(time).unwrap_or_default()),
            _ => format!("since {}", shown(time)),
        }
    }
}

fn name(node: Option<u32>) -> String {
    node.map_or("?".to_owned(), |node| node.to_string())
}

/// How old the facts are.
pub(in crate::cli) fn age(age_ms: Option<u64>) -> String {
    match age_ms {
        None => "never".to_owned(),
        Some(..1_000) => "now".to_owned(),
        Some(ms) => format!("{} ago", duration(Duration::from_millis(ms))),
    }
}

fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB"];
    let mut scaled = bytes as f64;
    let mut shown = format!("{bytes} B");
    for unit in units {
        if scaled < 1_024.0 {
            break;
        }
        scaled /= 1_024.0;
        shown = format!("{scaled:.1} {unit}");
    }
    shown
}

#[cfg(test)]
mod tests;
