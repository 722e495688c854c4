//! Reads of one key each, beside a server that answers the same without looking.

use anyhow::Result;

use crate::bench::Bench;
use crate::client;
use crate::comparison::{Contender, side_by_side};
use crate::load::{Keys, Right};
use crate::references::{Canned, Effort};
use crate::systems::causeway::{canned, read, reads, workload};
use crate::systems::{Shape, reference};

const CLIENTS: usize = 64;
/// What a key takes in memory, at least.
const CACHED_BYTES: u64 = 240;
const MISSING: &str = "/read?key=missing#########";

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let shape = Shape::of(bench.keys());
    let node = bench.filled_node(shape)?;
    let directory = bench.directory()?;
    let bare_like = |path: &str| {
        let answer = canned(client::get(node.port, path)?)?;
        reference::start(&directory, Effort::Bare, &answer, &Canned { status: 200, ..Canned::default() })
    };
    let bare = bare_like(&format!("/read?key={}", shape.key().replace('#', "0")))?;
    let hits = [
        ("one hot key", Keys::One(1)),
        ("all keys alike", Keys::Uniform(shape.keys)),
        ("popular keys (zipf 0.99)", Keys::zipf(shape.keys, 0.99)),
    ];
    for (case, keys) in hits {
        let contenders = [
            Contender::new("causeway", vec![node.process.id()], reads(&[node.port], shape, keys.clone())),
            Contender::new("bare", bare.ids(), reads(&bare.ports, shape, keys)),
        ];
        side_by_side(bench, case, CLIENTS, &contenders)?;
    }
    let cache = (shape.keys / 10 * CACHED_BYTES).max(1 << 20).to_string();
    let small = bench.filled_node_with(shape, &[("CAUSEWAY_CACHE_BYTES", &cache)])?;
    let popular = Keys::zipf(shape.keys, 0.99);
    let contenders = [
        Contender::new("causeway", vec![small.process.id()], reads(&[small.port], shape, popular.clone())),
        Contender::new("bare", bare.ids(), reads(&bare.ports, shape, popular)),
    ];
    side_by_side(bench, "popular keys, memory for a tenth of them", CLIENTS, &contenders)?;
    let bare = bare_like(MISSING)?;
    let miss = |ports| {
        let right = Right { status: 404, body: Some("key not found".len()) };
        workload(ports, vec![read(MISSING, Keys::Uniform(shape.keys), right)])
    };
    let contenders = [
        Contender::new("causeway", vec![node.process.id()], miss(&[node.port])),
        Contender::new("bare", bare.ids(), miss(&bare.ports)),
    ];
    side_by_side(bench, "no such key", CLIENTS, &contenders)?;
    Ok(())
}
