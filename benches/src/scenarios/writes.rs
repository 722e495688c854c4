//! Durable writes, beside a server that only parses, one that only parses and syncs, Redis and etcd.

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::client;
use crate::comparison::{Contender, side_by_side};
use crate::load::Keys;
use crate::references::Effort;
use crate::systems::causeway::{self, Node, canned};
use crate::systems::{Shape, System, etcd, redis, reference};

/// All systems that take writes.
pub(super) struct Field {
    pub(super) shape: Shape,
    pub(super) node: Node,
    parse: System,
    pub(super) durable: System,
    redis: Option<System>,
    etcd: Option<System>,
}

impl Field {
    pub(super) fn start(bench: &mut Bench, shape: Shape) -> Result<Self> {
        let node = bench.filled_node(shape)?;
        let directory = bench.directory()?;
        let key = shape.key().replace('#', "0");
        let write = canned(node.write(&key, &shape.value(), &[])?)?;
        let read = canned(client::get(node.port, &format!("/read?key={key}"))?)?;
        let durable = Effort::Durable(directory.join("durable.data"));
        Ok(Self {
            shape,
            node,
            parse: reference::start(&directory, Effort::Parse, &read, &write)?,
            durable: reference::start(&directory, durable, &read, &write)?,
            redis: redis::start(&directory, shape)?,
            etcd: etcd::start(&directory, 1)?,
        })
    }

    /// Everybody writes so many keys a request.
    pub(super) fn writers(&self, keys: usize, choice: &Keys) -> Vec<Contender> {
        let http = |ports: &[u16]| causeway::writes(ports, self.shape, keys, choice.clone());
        let mut contenders = vec![
            Contender::new("causeway", vec![self.node.process.id()], http(&[self.node.port])),
            Contender::new("durable", self.durable.ids(), http(&self.durable.ports)),
            Contender::new("parse", self.parse.ids(), http(&self.parse.ports)),
        ];
        if let Some(redis) = &self.redis {
            let request = redis::write(self.shape, keys, choice.clone());
            contenders.push(Contender::new("redis", redis.ids(), redis::workload(redis.ports[0], vec![request])));
        }
        if let Some(etcd) = &self.etcd {
            let load = etcd::writes(&etcd.ports, self.shape, keys, choice.clone());
            contenders.push(Contender::new("etcd", etcd.ids(), load));
        }
        contenders
    }

    /// Measures, and checks that Causeway holds as many ops as it acknowledged.
    fn measure(&self, bench: &mut Bench, case: &str, clients: usize, contenders: &[Contender]) -> Result<u64> {
        let before = self.node.ops()?;
        let answered = side_by_side(bench, case, clients, contenders)?[0];
        let written = self.node.ops()? - before;
        ensure!(written <= answered, "{written} ops for {answered} requests");
        Ok(answered - written)
    }

    pub(super) fn measure_writes(
        &self,
        bench: &mut Bench,
        case: &str,
        clients: usize,
        contenders: &[Contender],
    ) -> Result<()> {
        let missing = self.measure(bench, case, clients, contenders)?;
        ensure!(missing == 0, "{missing} writes were acknowledged and are not there");
        Ok(())
    }
}

pub(super) fn single(bench: &mut Bench) -> Result<()> {
    let field = Field::start(bench, Shape::of(bench.keys()))?;
    let contenders = field.writers(1, &Keys::Uniform(field.shape.keys));
    for clients in [1, 32, 64, 256] {
        field.measure_writes(bench, &format!("{clients} clients"), clients, &contenders)?;
    }
    Ok(())
}

pub(super) fn many(bench: &mut Bench) -> Result<()> {
    const CLIENTS: usize = 16;
    const KEYS: usize = 100;
    let field = Field::start(bench, Shape::of(bench.keys()))?;
    let existing = field.writers(KEYS, &Keys::Uniform(field.shape.keys));
    field.measure_writes(bench, "100 existing keys a request", CLIENTS, &existing)?;
    let new = field.writers(KEYS, &Keys::fresh(field.shape.keys));
    field.measure_writes(bench, "100 new keys a request", CLIENTS, &new)?;
    Ok(())
}

pub(super) fn mixed(bench: &mut Bench) -> Result<()> {
    const CLIENTS: usize = 64;
    let field = Field::start(bench, Shape::of(bench.keys()))?;
    let (shape, keys) = (field.shape, Keys::Uniform(field.shape.keys));
    let http = |ports: &[u16]| {
        let mut reads = causeway::reads(ports, shape, keys.clone());
        reads.requests[0].share = 95;
        let write = causeway::write(shape, 1, keys.clone());
        reads.requests.push(crate::load::Request { share: 5, ..write });
        reads
    };
    let mut contenders = vec![
        Contender::new("causeway", vec![field.node.process.id()], http(&[field.node.port])),
        Contender::new("durable", field.durable.ids(), http(&field.durable.ports)),
    ];
    if let Some(redis) = &field.redis {
        let mut requests = vec![redis::read(shape, keys.clone()), redis::write(shape, 1, keys.clone())];
        (requests[0].share, requests[1].share) = (95, 5);
        contenders.push(Contender::new("redis", redis.ids(), redis::workload(redis.ports[0], requests)));
    }
    let reads = field.measure(bench, "all keys alike", CLIENTS, &contenders)?;
    ensure!(reads > 0, "nothing was read");
    Ok(())
}
