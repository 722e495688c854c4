//! Small values and large ones, read and written.

use anyhow::Result;

use super::writes::Field;
use crate::bench::Bench;
use crate::comparison::{Contender, side_by_side};
use crate::load::Keys;
use crate::systems::Shape;
use crate::systems::causeway::reads;

const CLIENTS: usize = 32;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    for (name, value_bytes) in [("16 B", 16), ("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
        let field = Field::start(bench, Shape { value_bytes, ..Shape::of(100) })?;
        let choice = Keys::Uniform(field.shape.keys);
        let load = |ports: &[u16]| reads(ports, field.shape, choice.clone());
        let contenders = [
            Contender::new("causeway", vec![field.node.process.id()], load(&[field.node.port])),
            // It answers reads without looking.
            Contender::new("bare", field.durable.ids(), load(&field.durable.ports)),
        ];
        side_by_side(bench, &format!("reads of {name}"), CLIENTS, &contenders)?;
        let writers = field.writers(1, &choice);
        field.measure_writes(bench, &format!("writes of {name}"), CLIENTS, &writers)?;
    }
    Ok(())
}
