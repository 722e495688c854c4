//! `causeway verify`: do nodes that have the same ops hold the same state?
//!
//! It asks all of them for their fingerprints, tries again while some of them lack ops of others, and, where fingerprints differ
//! at equal vectors, finds the keys. What follows from answers is worked out in [`compare`].

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::join_all;
use reqwest::{StatusCode, Url};
use serde::Serialize;
use serde_json::json;

use super::client::{Ask, Client};
use super::failure::Failure;
use super::nodes::{Nodes, OwnNode, shown};
use super::output::{self, BAD, Cell, GOOD, Table, counted};
use super::session::seconds;
use compare::{Bucket, Fingerprint, Found, KeyDifference, Verdict, judge, keys_that_differ};

/// A fingerprint reads a whole store.
const FINGERPRINT_TIMEOUT: Duration = Duration::from_secs(600);

/// How long nodes are left alone between two tries: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How many differing keys are named, and how many buckets are looked into for them: each costs two walks.
const MAX_KEYS: usize = 100;
const MAX_BUCKETS: usize = 16;

/// What `verify` takes.
#[derive(Clone, Debug, Args)]
pub struct Verify {
    /// How long nodes may take to get the same ops
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    wait: f64,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nodes: Nodes,
}

/// Two nodes that have the same ops and differ.
#[derive(Serialize)]
struct Difference {
    nodes: [String; 2],
    keys: Vec<KeyDifference>,
    /// Of 256.
    buckets: usize,
    /// Those of them that were not looked into, or could not be, or not to their end.
    buckets_left_out: usize,
}

pub(super) async fn run(verify: &Verify, own: OwnNode<'_>) -> Result<(), Failure> {
    let client = Client::new(&verify.nodes, own)?;
    if client.nodes().len() < 2 {
        let detail = "verify compares nodes: name at least two, with --node URL --node URL or in CAUSEWAY_NODE";
        return Err(Failure::Usage(detail.to_owned()));
    }
    let mut named = BTreeSet::new();
    if let Some(again) = client.nodes().iter().map(shown).find(|node| !named.insert(*node)) {
        return Err(Failure::Usage(format!("the same node twice: {again}; verify compares different ones")));
    }
    let deadline = Instant::now() + Duration::from_secs_f64(verify.wait);
    let Round { fingerprints, unanswered, verdict } = compare_until(&client, deadline).await?;
    let mut differences = Vec::new();
    if let Verdict::Differ(pairs) = &verdict {
        for (one, other) in pairs {
            differences.push(difference(&client, (&fingerprints[*one], &fingerprints[*other]), deadline).await?);
        }
    }
    let outcome = outcome(&verdict, &fingerprints, &unanswered);
    match verify.json {
        true => output::line(report(&outcome, &fingerprints, &unanswered, &differences))?,
        false => describe(&outcome, &fingerprints, &differences)?,
    }
    outcome
}

/// What one round of questions came to.
struct Round {
    fingerprints: Vec<(Url, Fingerprint)>,
    unanswered: Vec<(Url, Failure)>,
    verdict: Verdict,
}

/// Asks until all answers can be compared, or some of them differ, or it is too late.
async fn compare_until(client: &Client, deadline: Instant) -> Result<Round, Failure> {
    let mut pause = FIRST_PAUSE;
    loop {
        let round = ask_all(client).await?;
        let busy = round.unanswered.iter().all(|(_, failure)| is_busy(failure));
        let settled = match round.verdict {
            Verdict::Differ(_) => true,
            Verdict::Equal => round.unanswered.is_empty(),
            Verdict::OtherOps => false,
        };
        let now = Instant::now();
        if settled || !busy || now >= deadline {
            return Ok(round);
        }
        output::progress(format_args!(
            "the nodes hold different ops at the moment; trying for {} s more",
            (deadline - now).as_secs_f64().ceil()
        ));
        tokio::time::sleep(pause.min(deadline - now)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn ask_all(client: &Client) -> Result<Round, Failure> {
    let ask = Ask::get("fingerprint").timeout(FINGERPRINT_TIMEOUT);
    let answers = join_all(client.nodes().iter().map(|node| client.ask_node(node, &ask))).await;
    let (mut fingerprints, mut unanswered): (Vec<(Url, Fingerprint)>, Vec<_>) = (Vec::new(), Vec::new());
    for (node, answer) in client.nodes().iter().zip(answers) {
        match answer.and_then(|answer| answer.taken()?.json::<Fingerprint>()) {
            Ok(fingerprint) => fingerprints.push((node.clone(), fingerprint)),
            Err(failure) => unanswered.push((node.clone(), failure)),
        }
    }
    let mut seen: BTreeMap<u32, &Url> = BTreeMap::new();
    for (url, fingerprint) in &fingerprints {
        if let Some(first) = seen.insert(fingerprint.node, url) {
            let (first, url) = (shown(first), shown(url));
            let detail = format!("{first} and {url} are both node {}: name nodes, not ways to one", fingerprint.node);
            return Err(Failure::NotDone(detail));
        }
    }
    let verdict = judge(fingerprints.iter().map(|(_, fingerprint)| fingerprint));
    Ok(Round { verdict, fingerprints, unanswered })
}

/// Whether it may answer soon.
fn is_busy(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. })
}

/// Finds the keys by which two nodes differ.
async fn difference(
    client: &Client,
    ((one, fingerprint), (other, another)): (&(Url, Fingerprint), &(Url, Fingerprint)),
    deadline: Instant,
) -> Result<Difference, Failure> {
    let buckets = fingerprint.buckets_that_differ(another);
    let mut keys: Vec<KeyDifference> = Vec::new();
    let mut done = 0;
    for (count, bucket) in buckets.iter().take(MAX_BUCKETS).enumerate() {
        if keys.len() >= MAX_KEYS {
            break;
        }
        output::progress(format_args!("looking for the keys in bucket {} of {}", count + 1, buckets.len()));
        let Some((ours, theirs)) = both_buckets(client, (one, other), *bucket, deadline).await? else { continue };
        let (found, is_all) = keys_that_differ(&ours, &theirs);
        done += usize::from(is_all && keys.len() + found.len() <= MAX_KEYS);
        keys.extend(found);
    }
    keys.truncate(MAX_KEYS);
    let nodes = [shown(one).to_owned(), shown(other).to_owned()];
    Ok(Difference { nodes, keys, buckets: buckets.len(), buckets_left_out: buckets.len() - done })
}

/// A bucket of both nodes, of states with the same ops; `None` if they have none until the deadline.
async fn both_buckets(
    client: &Client,
    (one, other): (&Url, &Url),
    bucket: usize,
    deadline: Instant,
) -> Result<Option<(Bucket, Bucket)>, Failure> {
    let ask = Ask::get("fingerprint").query("bucket", bucket.to_string()).timeout(FINGERPRINT_TIMEOUT);
    loop {
        let (ours, theirs) = tokio::join!(client.ask_node(one, &ask), client.ask_node(other, &ask));
        let [ours, theirs] = [ours, theirs].map(|answer| answer.and_then(|answer| answer.taken()?.json::<Bucket>()));
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours.vector == theirs.vector => return Ok(Some((ours, theirs))),
            (Err(failure), _) | (_, Err(failure)) if !is_busy(&failure) => return Err(failure),
            _ if Instant::now() >= deadline => return Ok(None),
            _ => tokio::time::sleep(FIRST_PAUSE).await,
        }
    }
}

fn outcome(
    verdict: &Verdict,
    fingerprints: &[(Url, Fingerprint)],
    unanswered: &[(Url, Failure)],
) -> Result<(), Failure> {
    match verdict {
        Verdict::Differ(_) => Err(Failure::No("nodes that have the same ops hold different states".to_owned())),
        _ if !unanswered.is_empty() => {
            let why: Vec<String> = unanswered.iter().map(|(_, failure)| failure.to_string()).collect();
            Err(Failure::NotDone(format!("could not be compared: {}", why.join("; "))))
        }
        Verdict::Equal => Ok(()),
        Verdict::OtherOps => {
            let ops = |(url, fingerprint): &(Url, Fingerprint)| format!("{} has {} ops", shown(url), fingerprint.ops());
            let ops: Vec<String> = fingerprints.iter().map(ops).collect();
            Err(Failure::NotDone(format!(
                "could not be compared: the nodes still hold different ops ({}); stop writing, or see with 'causeway \
                 status' whether a link is down",
                ops.join(", ")
            )))
        }
    }
}

fn report(
    outcome: &Result<(), Failure>,
    fingerprints: &[(Url, Fingerprint)],
    unanswered: &[(Url, Failure)],
    differences: &[Difference],
) -> String {
    let result = match outcome {
        Ok(()) => "equal",
        Err(Failure::No(_)) => "differ",
        Err(_) => "not-compared",
    };
    let answered = fingerprints.iter().map(|(url, Fingerprint { node, vector, keys, fingerprint, .. })| {
        json!({ "url": shown(url), "node": node, "vector": vector, "keys": keys, "fingerprint": fingerprint })
    });
    let silent = unanswered.iter().map(|(url, failure)| json!({ "url": shown(url), "error": failure.to_string() }));
    let nodes: Vec<_> = answered.chain(silent).collect();
    json!({ "result": result, "nodes": nodes, "differences": differences }).to_string()
}

fn describe(
    outcome: &Result<(), Failure>,
    fingerprints: &[(Url, Fingerprint)],
    differences: &[Difference],
) -> Result<(), Failure> {
    if let (Ok(()), [(_, Fingerprint { keys, fingerprint, .. }), ..]) = (outcome, fingerprints) {
        let (nodes, keys) = (fingerprints.len(), counted(*keys, "key"));
        return output::line(format_args!("{GOOD}equal{GOOD:#}: {nodes} nodes, {keys}, fingerprint {fingerprint}"));
    }
    for Difference { nodes: [one, other], keys, buckets_left_out, .. } in differences {
        output::line(format_args!("{BAD}differ{BAD:#}: {one} and {other}"))?;
        let mut table = Table::new(&["WHERE", "KEY"]);
        for KeyDifference { key, found } in keys {
            let place = match found {
                Found::First => format!("only at {one}"),
                Found::Second => format!("only at {other}"),
                Found::Both => "at both, not the same".to_owned(),
            };
            table.row(vec![Cell::from(place), output::shown(key).into()]);
        }
        if !keys.is_empty() {
            output::line(table)?;
        }
        if *buckets_left_out > 0 {
            output::line(format_args!(
                "… there may be more: {buckets_left_out} of 256 buckets were not looked through"
            ))?;
        }
    }
    Ok(())
}
