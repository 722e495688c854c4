//! What is looked up when somebody asks: the states of a node, its peers and its disk.
//!
//! Promises: costs what `GET /status` does. What can't be read is left out; the calls that need it say why.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{MetricsOptions, UNIQUE, seconds_since};
use crate::causality::WallMs;
use crate::node::{NodeHandle, StateProgress, StateTotals, Status, wall_now};
use crate::replica::{LinkView, OpRange, View};
use crate::storage::Damage;

/// Looks a node's states up.
pub(super) struct Scraped {
    handle: NodeHandle,
    options: MetricsOptions,
    /// The newest clock reading of any op here.
    newest_reading: Arc<AtomicU64>,
    started: WallMs,
    descriptions: Vec<Desc>,
}

impl Scraped {
    pub(super) fn new(
        handle: NodeHandle,
        options: MetricsOptions,
        newest_reading: Arc<AtomicU64>,
        started: WallMs,
    ) -> Self {
        let mut scraped = Self { handle, options, newest_reading, started, descriptions: Vec::new() };
        scraped.descriptions = scraped.collect().iter().map(describe).collect();
        scraped
    }

    fn of_node(&self, view: &View, families: &mut Families) {
        let members = self.handle.members();
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", self.options.revision.unwrap_or("unknown")),
            ("node", &members.own.to_string()),
            ("cluster", &members.cluster),
        ];
        families.labelled(
            "causeway_build_info",
            "Always 1; which version runs as which node of which cluster.",
            &build,
            1.0,
        );
        families.gauge(
            "process_start_time_seconds",
            "When this process started, in seconds since the Unix epoch.",
            self.started.0 as f64 / 1e3,
        );
        families.gauge("causeway_keys", "Keys that have a value.", view.totals.keys as f64);
        families.gauge("causeway_siblings", "Values of all keys together.", view.totals.siblings as f64);
        families.gauge("causeway_conflicts", "Keys that have more than one value.", view.totals.conflicts as f64);
        families.gauge(
            "causeway_incarnations",
            "The most incarnations that a node has had: its starts that were followed by a write.",
            view.incarnations().into_values().max().unwrap_or(0) as f64,
        );
        families.gauge(
            "causeway_read_only",
            "1 after a failed commit: no writes are taken until a restart.",
            f64::from(view.read_only),
        );
        let own = view.twins.contains_key(&members.own);
        let twins = "Node ids that two living processes have, as far as this node knows: its own, and of others.";
        families.labelled("causeway_twins", twins, &[("of", "self")], f64::from(own));
        let of_others = view.twins.len() - usize::from(own);
        families.labelled("causeway_twins", twins, &[("of", "others")], of_others as f64);
        families.gauge(
            "causeway_clock_ahead_seconds",
            "How far the newest clock reading of any op is ahead of this node's clock.",
            self.newest_reading.load(Ordering::Relaxed).saturating_sub(wall_now().0) as f64 / 1e3,
        );
    }

    fn of_storage(&self, families: &mut Families) {
        let Damage { keys, log, found } = self.handle.damage();
        let damage = "1 while records of that part of the data are known to be damaged.";
        families.labelled("causeway_damage", damage, &[("part", "keys")], f64::from(keys));
        families.labelled("causeway_damage", damage, &[("part", "log")], f64::from(log));
        let read = "How often a stored record was read that is damaged, the same or another.";
        families.counter("causeway_damaged_records_total", read, &[], found);
        if let Ok(log) = self.handle.log_size() {
            families.gauge("causeway_log_ops", "Ops in the op log.", log.ops as f64);
            families.gauge("causeway_log_bytes", "Encoded bytes of the ops in the op log.", log.bytes as f64);
        }
        if let Ok(bytes) = self.handle.disk_bytes() {
            families.gauge("causeway_disk_bytes", "What the node's data takes on disk.", bytes as f64);
        }
        if let Ok(space) = self.handle.disk_space() {
            families.gauge(
                "causeway_disk_size_bytes",
                "Size of the file system that the data is on.",
                space.size as f64,
            );
            families.gauge(
                "causeway_disk_free_bytes",
                "What is free, for this process, of the file system that the data is on.",
                space.free as f64,
            );
        }
    }

    fn of_queues(&self, view: &View, families: &mut Families) {
        let MetricsOptions { admission, max_delivery_buffer_ops, max_delivery_buffer_bytes, .. } = self.options;
        let status = self.handle.status();
        families.gauge(
            "causeway_waiting_requests",
            "Writes and pushes that wait for the disk.",
            status.waiting_requests as f64,
        );
        families.gauge(
            "causeway_waiting_bytes",
            "Bytes of the keys and values of writes and pushes that wait for the disk.",
            status.waiting_bytes as f64,
        );
        families.gauge(
            "causeway_max_waiting_requests",
            "How many writes may wait for the disk, and how many pushes.",
            admission.requests as f64,
        );
        families.gauge(
            "causeway_may_wait_requests",
            "How many writes may wait for the disk at its present pace.",
            status.may_wait as f64,
        );
        families.gauge(
            "causeway_max_waiting_bytes",
            "How many bytes of keys and values may wait for the disk.",
            admission.bytes as f64,
        );
        families.counter(
            "causeway_overload_refusals_total",
            "Requests refused because too much was going on at once, by what there was too much of.",
            &[("limit", "waiting")],
            status.refused_requests,
        );
        families.gauge(
            "causeway_delivery_buffer_ops",
            "Ops received that wait for ops they depend on.",
            view.waiting_ops as f64,
        );
        families.gauge(
            "causeway_delivery_buffer_bytes",
            "Bytes of the keys and values of ops that wait for ops they depend on.",
            view.waiting_bytes as f64,
        );
        families.gauge(
            "causeway_max_delivery_buffer_ops",
            "How many ops the delivery buffer may have.",
            max_delivery_buffer_ops as f64,
        );
        families.gauge(
            "causeway_max_delivery_buffer_bytes",
            "How many bytes the delivery buffer may have.",
            max_delivery_buffer_bytes as f64,
        );
    }

    fn of_received(view: &View, families: &mut Families) {
        let received = "Ops received from peers, redundant ones included.";
        families.counter("causeway_received_ops_total", received, &[], view.received_ops);
        let redundant = "Ops received that this node had before.";
        families.counter("causeway_redundant_ops_total", redundant, &[], view.redundant_ops);
        families.gauge(
            "causeway_unknown_members",
            "Nodes of this cluster that pushed to this node in this run and are not in its list.",
            view.unknown_members.len() as f64,
        );
        let pushes = "Pushes that brought ops.";
        families.counter("causeway_received_pushes_total", pushes, &[], view.received_pushes);
    }

    fn of_state_transfers(status: &Status, families: &mut Families) {
        let StateTotals { sent_keys, sent_bytes, received_keys, received_bytes } = status.moved;
        families.counter(
            "causeway_state_transfer_sent_keys_total",
            "Keys of this node's state that peers took which lack ops that the log does not have any more.",
            &[],
            sent_keys,
        );
        families.counter(
            "causeway_state_transfer_sent_bytes_total",
            "Bytes of the pieces with these keys.",
            &[],
            sent_bytes,
        );
        families.counter(
            "causeway_state_transfer_received_keys_total",
            "Keys of peers' states that this node took.",
            &[],
            received_keys,
        );
        families.counter(
            "causeway_state_transfer_received_bytes_total",
            "Bytes of the pieces with those keys.",
            &[],
            received_bytes,
        );
        families.counter(
            "causeway_state_transfer_adoptions_total",
            "How often a peer's state was merged into this node's.",
            &[],
            status.view.adoptions,
        );
        families.gauge(
            "causeway_state_transfer_receiving",
            "1 while a peer's state is on its way to this node.",
            f64::from(status.filling.is_some()),
        );
        families.gauge(
            "causeway_state_transfer_receiving_keys_left",
            "About how many of its keys are still to come.",
            status.filling.map_or(0, keys_left) as f64,
        );
    }

    fn of_sending(sending: Option<StateProgress>, label: &str, families: &mut Families) {
        let peer = [("peer", label)];
        families.labelled(
            "causeway_state_transfer_sending",
            "1 while this node's state is on its way to the peer.",
            &peer,
            f64::from(sending.is_some()),
        );
        families.labelled(
            "causeway_state_transfer_sending_keys_left",
            "About how many of its keys are still to be sent to the peer.",
            &peer,
            sending.map_or(0, keys_left) as f64,
        );
    }

    fn of_peer(&self, view: &View, link: &LinkView, label: &str, families: &mut Families) {
        let peer = [("peer", label)];
        let lacks = view.lacks(link);
        let now = wall_now();
        families.labelled(
            "causeway_peer_away",
            "1 while the peer does not answer.",
            &peer,
            f64::from(link.away_since.is_some()),
        );
        families.labelled(
            "causeway_peer_since_heard_seconds",
            "Time since the peer was heard; since the start, if it never was.",
            &peer,
            seconds_since(link.heard.unwrap_or(self.started), now),
        );
        families.labelled(
            "causeway_peer_to_ship_ops",
            "Ops of this node's log that the peer lacks.",
            &peer,
            lacks.iter().map(OpRange::count).sum::<u64>() as f64,
        );
        if let Ok(bytes) = self.handle.op_bytes(&lacks) {
            families.labelled(
                "causeway_peer_to_ship_bytes",
                "Encoded bytes of the ops that the peer lacks.",
                &peer,
                bytes as f64,
            );
        }
        if let Some(age) = self.oldest_age(&lacks, now) {
            families.labelled(
                "causeway_peer_to_ship_oldest_seconds",
                "Time since the first op that the peer lacks was accepted; 0 when it lacks none.",
                &peer,
                age,
            );
        }
    }

    /// `None`: it can't be read.
    fn oldest_age(&self, lacks: &[OpRange], now: WallMs) -> Option<f64> {
        if lacks.is_empty() {
            return Some(0.0);
        }
        self.handle.oldest(lacks).ok()?.map(|oldest| seconds_since(oldest, now))
    }
}

impl Collector for Scraped {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let status = self.handle.status();
        let view = status.view.clone();
        self.of_node(&view, &mut families);
        self.of_storage(&mut families);
        self.of_queues(&view, &mut families);
        Self::of_received(&view, &mut families);
        Self::of_state_transfers(&status, &mut families);
        for ((link, peer), sending) in view.links.iter().zip(&self.options.peers).zip(&status.sending) {
            self.of_peer(&view, link, &peer.label(), &mut families);
            Self::of_sending(*sending, &peer.label(), &mut families);
        }
        families.into_inner()
    }
}

fn keys_left(progress: StateProgress) -> u64 {
    progress.all_keys.saturating_sub(progress.keys)
}

/// Readings, in families of a name. What has the same name is added one after the other.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    pub(super) fn into_inner(self) -> Vec<MetricFamily> {
        self.0
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.labelled(name, help, &[], value);
    }

    fn labelled(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_gauge(gauge);
        metric.set_label(pairs(labels));
        self.add(name, help, MetricType::GAUGE, metric);
    }

    fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        if let Some(family) = self.0.iter_mut().find(|family| family.name() == name) {
            family.mut_metric().push(metric);
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        self.0.push(family);
    }
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

pub(super) fn describe(family: &MetricFamily) -> Desc {
    let labels = family.get_metric().first().map_or(&[][..], Metric::get_label);
    let labels: HashMap<String, String> =
        labels.iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect();
    Desc::new(family.name().to_owned(), family.help().to_owned(), Vec::new(), labels).expect(UNIQUE)
}
