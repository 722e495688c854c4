//! Schedules: what clients do and what goes wrong, with the times, all worked out from one seed before anything runs.
//! So a schedule can be made smaller, step by step, and what is left still means the same.

mod states;

use fastrand::Rng;
pub use states::{Blow, Point};

use crate::Micros;

/// A second.
pub const SECOND: Micros = 1_000_000;

/// All that a simulation does.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Where everything comes from; also decides what the network and the disks do to each message and commit.
    pub seed: u64,
    /// The cluster.
    pub settings: Settings,
    /// In order of time.
    pub steps: Vec<Step>,
    /// When everything is healed.
    pub end: Micros,
}

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many nodes.
    pub nodes: usize,
    /// How many keys clients use.
    pub keys: usize,
    /// How many sessions.
    pub sessions: usize,
    /// Shortest and longest way of a message.
    pub latency: (Micros, Micros),
    /// How many messages in a thousand are lost.
    pub loss: u64,
    /// How many in a thousand come twice.
    pub twice: u64,
    /// How many answers to clients in a thousand are lost.
    pub client_loss: u64,
    /// Shortest and longest commit.
    pub commit: (Micros, Micros),
    /// Ops a push carries at most.
    pub batch_ops: usize,
    /// Ops that may wait in a delivery buffer.
    pub waiting_ops: usize,
    /// Siblings a key may have before clients are refused.
    pub siblings: usize,
    /// Parts that a node's log has at most, where logs are trimmed.
    pub log_runs: Option<usize>,
    /// Keys that a piece of a state carries at most.
    pub piece_keys: usize,
    /// Idle peers that are asked what they have within an interval; with more of them, each less often.
    pub digests_an_interval: usize,
}

/// Something to do at a time.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: Micros,
    /// What.
    pub action: Action,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum Action {
    /// By a client.
    Client(ClientStep),
    /// To the cluster.
    Fault(Fault),
}

/// What a client does, as soon as its session's requests before are through.
#[derive(Clone, Debug)]
pub struct ClientStep {
    /// Who.
    pub session: usize,
    /// At which machine; there are as many as nodes, and then those of copied volumes.
    pub machine: usize,
    /// Which context is passed on.
    pub context: ContextFrom,
    /// What is asked.
    pub call: ClientCall,
    /// Whether a write whose answer was lost is sent again.
    pub retries: bool,
}

/// Where a request's context is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextFrom {
    /// There is none.
    Nowhere,
    /// The session's newest.
    Own,
    /// The one before that.
    Stale,
    /// Another session's newest.
    Session(usize),
}

/// What a client asks.
#[derive(Clone, Debug)]
pub enum ClientCall {
    /// Reads these keys from one state.
    Read {
        /// Which.
        keys: Vec<usize>,
        /// Shown are: 0 the latest, 1 the newest, 2 all.
        resolve: u8,
    },
    /// Writes, and deletes.
    Write {
        /// Written.
        keys: Vec<usize>,
        /// Deleted.
        deletes: Vec<usize>,
        /// With a context: whether all that is held is replaced, not only what was seen.
        held: bool,
    },
}

/// What goes wrong, or is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes from one machine to another.
    CutOneWay(usize, usize),
    /// Nothing passes between those in and those not in the set.
    Split(Vec<usize>),
    /// Nothing passes between two; a third may still reach both.
    CutPair(usize, usize),
    /// Everything passes again.
    HealAll,
    /// The process ends at once. What the disk was writing is lost, torn, or there, as the disk likes.
    Kill(usize),
    /// Killed, started, and killed again before it did anything.
    KillInRecovery(usize),
    /// Started if it is down.
    Start(usize),
    /// Nothing runs on it until it is resumed.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// Its commits take long.
    Slow(usize),
    /// Its commits are as quick as ever.
    Quick(usize),
    /// Its wall clock is off by so many milliseconds.
    Clock(usize, i64),
    /// Its wall clock stands still.
    Freeze(usize),
    /// The next commit fails before anything is written.
    WriteError(usize),
    /// The next commit is written, but not known to be on disk.
    SyncError(usize),
    /// The next commits find no room.
    DiskFull(usize),
    /// A copy of the volume is taken.
    Copy(usize),
    /// Killed, and started on the copy (on nothing, if there is none).
    Restore(usize),
    /// Killed, and started on nothing.
    Wipe(usize),
    /// A second process with the same id is started on a copy of the volume.
    Twin(usize),
    /// Two nodes' addresses lead to each other.
    SwapAddresses(usize, usize),
    /// Addresses lead where they should.
    RestoreAddresses,
    /// An old push comes again, as it was.
    Replay(usize),
    /// A node's address leads to the copy of it that runs, if one does.
    ReachTwin(usize),
    /// When so many more pieces of states have come so far, wherever, this is done to the two nodes of the last, and mended
    /// after so long.
    Ambush(usize, Point, Blow, Micros),
}

/// The schedule of a seed.
pub fn generate(seed: u64) -> Schedule {
    let mut rng = Rng::with_seed(seed);
    let mut settings = settings(&mut rng);
    if seed % 4 == 3 {
        // As in a cluster of many more nodes.
        settings.digests_an_interval = 1;
    }
    let end = rng.u64(5..20) * SECOND;
    let mut steps = client_steps(&mut rng, &settings, end);
    faults(&mut rng, &settings, end, &mut steps);
    states::add(seed, &mut settings, end, &mut steps);
    steps.sort_by_key(|step| step.at);
    Schedule { seed, settings, steps, end }
}

fn settings(rng: &mut Rng) -> Settings {
    let quickest = rng.u64(50..2_000);
    Settings {
        nodes: *pick(rng, &[3, 3, 3, 3, 4, 5]),
        keys: rng.usize(2..9),
        sessions: rng.usize(3..9),
        latency: (quickest, quickest + *pick(rng, &[500, 5_000, 60_000])),
        loss: *pick(rng, &[0, 0, 20, 150]),
        twice: *pick(rng, &[0, 20, 150]),
        client_loss: *pick(rng, &[0, 0, 10, 50]),
        commit: (100, *pick(rng, &[500, 5_000, 30_000])),
        batch_ops: *pick(rng, &[2, 8, 64, 64]),
        waiting_ops: *pick(rng, &[2, 8, 1_000, 1_000]),
        siblings: *pick(rng, &[3, 64]),
        log_runs: None,
        piece_keys: 1,
        digests_an_interval: 8,
    }
}

fn client_steps(rng: &mut Rng, settings: &Settings, end: Micros) -> Vec<Step> {
    // Clients write seldom or often in relation to the network, and some schedules hardly read.
    let reads = *pick(rng, &[30, 50, 70]);
    let with_context = *pick(rng, &[0, 40, 80]);
    let roams = *pick(rng, &[0, 20, 80]);
    let count = rng.usize(200..280);
    let mut steps = Vec::with_capacity(count);
    for _ in 0..count {
        let session = rng.usize(0..settings.sessions);
        let home = session % settings.nodes;
        let machine = if rng.u64(0..100) < roams { rng.usize(0..settings.nodes + 1) } else { home };
        let context = if rng.u64(0..100) < with_context {
            match rng.u64(0..10) {
                0 => ContextFrom::Stale,
                1 | 2 => ContextFrom::Session(rng.usize(0..settings.sessions)),
                _ => ContextFrom::Own,
            }
        } else {
            ContextFrom::Nowhere
        };
        let call = if rng.u64(0..100) < reads { read(rng, settings) } else { write(rng, settings) };
        let step = ClientStep { session, machine, context, call, retries: rng.bool() };
        steps.push(Step { at: rng.u64(SECOND / 10..end), action: Action::Client(step) });
    }
    steps
}

fn read(rng: &mut Rng, settings: &Settings) -> ClientCall {
    let several = rng.u64(0..4) == 0;
    let keys = if several { some_keys(rng, settings) } else { vec![rng.usize(0..settings.keys)] };
    ClientCall::Read { keys, resolve: rng.u8(0..4).min(2) }
}

fn write(rng: &mut Rng, settings: &Settings) -> ClientCall {
    let several = rng.u64(0..4) == 0;
    let all = if several { some_keys(rng, settings) } else { vec![rng.usize(0..settings.keys)] };
    let (deletes, keys) = all.into_iter().partition(|_| rng.u64(0..8) == 0);
    ClientCall::Write { keys, deletes, held: rng.u64(0..5) == 0 }
}

fn some_keys(rng: &mut Rng, settings: &Settings) -> Vec<usize> {
    let mut keys: Vec<usize> = (0..settings.keys).collect();
    rng.shuffle(&mut keys);
    keys.truncate(rng.usize(1..settings.keys + 1));
    keys
}

/// A few kinds of fault a schedule, each several times (Groce et al., "Swarm Testing", 2012).
fn faults(rng: &mut Rng, settings: &Settings, end: Micros, steps: &mut Vec<Step>) {
    let mut kinds: Vec<Kind> = KINDS.to_vec();
    rng.shuffle(&mut kinds);
    kinds.truncate(rng.usize(1..5));
    for _ in 0..rng.usize(5..16) {
        let kind = *pick(rng, &kinds);
        let at = rng.u64(SECOND / 5..end);
        let length = rng.u64(SECOND / 100..3 * SECOND);
        kind(rng, settings.nodes, at, at + length, steps);
    }
}

type Kind = fn(&mut Rng, usize, Micros, Micros, &mut Vec<Step>);

const KINDS: [Kind; 16] = [
    |rng, nodes, from, to, steps| {
        let (a, b) = two(rng, nodes);
        push(steps, &[(from, Fault::CutOneWay(a, b)), (to, Fault::HealAll)]);
    },
    |rng, nodes, from, to, steps| {
        let side = (0..nodes).filter(|_| rng.bool()).collect();
        push(steps, &[(from, Fault::Split(side)), (to, Fault::HealAll)]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Split(vec![node])), (to, Fault::HealAll)]);
    },
    |rng, nodes, from, to, steps| {
        let (a, b) = two(rng, nodes);
        push(steps, &[(from, Fault::CutPair(a, b)), (to, Fault::HealAll)]);
    },
    // Flapping.
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        for at in (from..to).step_by(SECOND as usize / 5) {
            push(steps, &[(at, Fault::Split(vec![node])), (at + SECOND / 10, Fault::HealAll)]);
        }
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Kill(node)), (to, Fault::Start(node))]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::KillInRecovery(node)), (to, Fault::Start(node))]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Pause(node)), (to, Fault::Resume(node))]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Slow(node)), (to, Fault::Quick(node))]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        let off = *pick(rng, &[86_400_000, -86_400_000, -3_600_000, 700, -700]);
        push(steps, &[(from, Fault::Clock(node, off)), (to, Fault::Clock(node, 0))]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Freeze(node)), (to, Fault::Clock(node, 0))]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        let fault = *pick(rng, &[Fault::WriteError as fn(usize) -> Fault, Fault::SyncError, Fault::DiskFull]);
        push(steps, &[(from, fault(node)), (to, Fault::Kill(node)), (to + SECOND / 10, Fault::Start(node))]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Copy(node)), (to, Fault::Restore(node))]);
    },
    |rng, nodes, from, _, steps| {
        let node = rng.usize(0..nodes);
        let fault = if rng.bool() { Fault::Wipe(node) } else { Fault::Twin(node) };
        push(steps, &[(from, fault)]);
    },
    |rng, nodes, from, to, steps| {
        let (a, b) = two(rng, nodes);
        push(steps, &[(from, Fault::SwapAddresses(a, b)), (to, Fault::RestoreAddresses)]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Replay(node)), (to, Fault::Replay(node))]);
    },
];

fn push(steps: &mut Vec<Step>, faults: &[(Micros, Fault)]) {
    steps.extend(faults.iter().map(|(at, fault)| Step { at: *at, action: Action::Fault(fault.clone()) }));
}

fn two(rng: &mut Rng, nodes: usize) -> (usize, usize) {
    let first = rng.usize(0..nodes);
    (first, (first + rng.usize(1..nodes)) % nodes)
}

fn pick<'a, T>(rng: &mut Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.usize(0..choices.len())]
}
