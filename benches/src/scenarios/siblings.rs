//! Reads of a key with one and with many siblings, beside a server that answers the same without looking.

use anyhow::Result;

use crate::bench::Bench;
use crate::client;
use crate::comparison::{Contender, side_by_side};
use crate::load::{Keys, Right};
use crate::references::{Canned, Effort};
use crate::systems::causeway::{Launch, Node, canned, read, workload};
use crate::systems::cluster::context;
use crate::systems::{Shape, reference};

const CLIENTS: usize = 64;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let node = Launch::alone(&bench.directory()?)?.start(&bench.options.binary)?;
    // Who has seen nothing replaces nothing.
    let nothing = context(node.port)?;
    let value = Shape::of(1).value();
    for siblings in [1, 8, 64] {
        let key = format!("key-with-{siblings}");
        for _ in 0..siblings {
            node.write(&key, &value, &[("Causal-Context", &nothing)])?;
        }
        one(bench, &node, &format!("the last of {siblings}"), &format!("/read?key={key}"))?;
        one(bench, &node, &format!("all {siblings}"), &format!("/read?key={key}&resolve=all"))?;
    }
    Ok(())
}

fn one(bench: &mut Bench, node: &Node, case: &str, path: &str) -> Result<()> {
    let answer = canned(client::get(node.port, path)?)?;
    let right = Right { status: 200, body: Some(answer.body.len()) };
    let directory = bench.directory()?;
    let bare = reference::start(&directory, Effort::Bare, &answer, &Canned { status: 200, ..Canned::default() })?;
    let load = |ports: &[u16]| workload(ports, vec![read(path, Keys::One(0), right)]);
    let contenders = [
        Contender::new("causeway", vec![node.process.id()], load(&[node.port])),
        Contender::new("bare", bare.ids(), load(&bare.ports)),
    ];
    side_by_side(bench, case, CLIENTS, &contenders)?;
    Ok(())
}
