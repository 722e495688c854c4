//! A bounded model of delivery, siblings, tokens and incarnations, explored completely: every state that these steps
//! can reach within the bounds is looked at. docs/testing.md says what is in it and what is left out.
//!
//! The network is the worst there can be: a node may take any op that another node shows as soon as it has what the
//! op depends on, or never.

#![allow(clippy::unwrap_used)]

mod runs;
mod state;
mod truth;

use causeway::causality::{CausalContext, NodeId};
use stateright::{Model, Property};

use state::{Client, Holding, Left, Names, OpSet, Process, State};

/// What is changed in the model, to see that this is noticed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Variant {
    /// Nothing.
    Right,
    /// A write with a context is answered with all that its node holds.
    TokenCoversVector,
    /// The first op of an incarnation drops all other entries of its node, whatever its parents are.
    FoldingDropsAllOlder,
    /// A node goes on with the incarnation that its volume knows of.
    IncarnationSurvivesCrash,
    /// An op is delivered before what it depends on.
    DependenciesAreIgnored,
}

/// How the states follow from each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) names: Names,
    pub(crate) variant: Variant,
}

/// The model: how much there is and may happen.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Whose process each is.
    pub(crate) nodes: Vec<u32>,
    /// What a write may be: keys, each with whether it gets a value or is deleted.
    pub(crate) shapes: Vec<Vec<(usize, bool)>>,
    pub(crate) clients: usize,
    /// Whether of states that differ in the names of nodes only one is looked at. Not where nodes share a name.
    pub(crate) is_reduced: bool,
    pub(crate) left: Left,
    pub(crate) rules: Rules,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// A write: a client's with its context, or a plain one of anybody.
    Write { process: usize, client: Option<usize>, shape: usize },
    /// What was written becomes durable, visible, and is answered.
    Sync { process: usize },
    /// A client reads, and has the token of that state then. A client that never read has an empty token.
    Read { process: usize, client: usize },
    /// An op comes from any process that shows it.
    Deliver { process: usize, op: usize },
    /// A process is killed and started: what is not synced is lost.
    Crash { process: usize },
    /// A copy of a volume is taken.
    Copy { process: usize },
    /// The volume is replaced by the copy that was taken of it, or by an empty one.
    Restore { process: usize },
}

impl Bounds {
    fn write_steps(&self, state: &State, steps: &mut Vec<Step>) {
        if state.left.writes == 0 {
            return;
        }
        // A client does one thing after the other.
        let waits = |client: usize| {
            state.processes.iter().any(|process| process.waiting.iter().any(|(_, by)| *by == Some(client)))
        };
        let free: Vec<usize> = (0..state.clients.len()).filter(|client| !waits(*client)).collect();
        for (process, writer) in state.processes.iter().enumerate() {
            let reached = |client: &Client| {
                let shown = &writer.durable;
                shown.ancestry.includes(&shown.vector, &client.context.wait)
            };
            let ready = free.iter().filter(|client| reached(&state.clients[**client])).map(|client| Some(*client));
            let clients: Vec<_> = ready.chain([None]).collect();
            for shape in 0..self.shapes.len() {
                steps.extend(clients.iter().map(|client| Step::Write { process, client: *client, shape }));
            }
        }
        for client in free {
            steps.extend((0..state.processes.len()).map(|process| Step::Read { process, client }));
        }
    }

    fn deliver_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let shown = state.processes.iter().fold(OpSet::default(), |set, process| set.or(process.durable.held));
        for (process, receiver) in state.processes.iter().enumerate().filter(|(_, process)| process.is_synced()) {
            let holding = &receiver.durable;
            let new = shown.without(holding.held).iter();
            let ready = new.filter(|id| holding.first_missing(&state.ops[*id].op, self.rules.variant).is_none());
            steps.extend(ready.map(|op| Step::Deliver { process, op }));
        }
    }

    fn fault_steps(&self, state: &State, steps: &mut Vec<Step>) {
        for (process, at) in state.processes.iter().enumerate() {
            if !at.is_synced() {
                steps.push(Step::Sync { process });
            }
            if state.left.crashes > 0 && at.origin.is_some() {
                steps.push(Step::Crash { process });
            }
            if state.left.restores > 0 && at.durable.held != OpSet::default() {
                if state.copy.is_none() && state.left.writes > 0 {
                    steps.push(Step::Copy { process });
                }
                steps.push(Step::Restore { process });
            }
        }
    }
}

impl Model for Bounds {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let processes = self.nodes.iter().map(|node| Process::new(NodeId(*node), Holding::empty()));
        let clients = vec![Client::default(); self.clients];
        let processes = processes.collect();
        vec![State { ops: Vec::new(), processes, clients, copy: None, incarnations: 0, left: self.left }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.write_steps(state, steps);
        self.deliver_steps(state, steps);
        self.fault_steps(state, steps);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        let variant = self.rules.variant;
        match step {
            Step::Write { mut process, client, shape } => {
                if self.is_reduced {
                    process = state.make_room_among_writers(process);
                }
                state.write(process, client, &self.shapes[shape], self.rules);
                // Between a write and its sync only a crash of that process makes a difference.
                if state.left.crashes == 0 && state.left.restores == 0 {
                    state.sync(process, variant);
                }
            }
            Step::Sync { process } => state.sync(process, variant),
            Step::Read { process, client } => {
                let shown = &state.processes[process].durable;
                let context = CausalContext::of_state(shown.vector.clone());
                state.clients[client] = Client { context, wait: shown.held, seen: shown.held };
            }
            Step::Deliver { process, op } => {
                let accepted = state.ops[op].clone();
                state.processes[process].deliver(op, &accepted.op, variant);
            }
            Step::Crash { process } => {
                state.processes[process] = state.processes[process].restarted(variant);
                state.left.crashes -= 1;
            }
            Step::Copy { process } => state.copy = Some((process, state.processes[process].durable.clone())),
            Step::Restore { process } => {
                let copy = state.copy.take_if(|(owner, _)| *owner == process);
                let copy = copy.map_or_else(Holding::empty, |(_, copy)| copy);
                state.processes[process].durable = copy;
                state.processes[process] = state.processes[process].restarted(variant);
                state.left.restores -= 1;
            }
        }
        if state.left.restores == 0 {
            state.copy = None;
        }
        if self.is_reduced {
            state.normalize();
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        truth::properties()
    }
}
