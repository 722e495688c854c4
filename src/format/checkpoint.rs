//! The [`Checkpoint`] that goes with every commit.

use minicbor::{Decode, Encode};

use super::{FormatError, dto};
use crate::causality::{Dot, Hlc};
use crate::replica::{Checkpoint, Totals};

const WHAT: &str = "checkpoint";
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
#[cbor(map)]
struct CheckpointDto {
    #[n(0)]
    vector: Vec<Dot>,
    #[n(1)]
    position: u64,
    #[n(2)]
    hlc: u64,
    #[n(3)]
    keys: u64,
    #[n(4)]
    conflicts: u64,
    #[n(5)]
    siblings: u64,
}

/// The bytes of a checkpoint.
pub fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let Totals { keys, conflicts, siblings } = checkpoint.totals;
    let vector = dto::write_vector(&checkpoint.vector);
    let (position, hlc) = (checkpoint.position, checkpoint.hlc.0);
    dto::seal(VERSION, &CheckpointDto { vector, position, hlc, keys, conflicts, siblings })
}

/// The checkpoint of these bytes.
pub fn decode(bytes: &[u8]) -> Result<Checkpoint, FormatError> {
    let dto: CheckpointDto = dto::open(WHAT, VERSION, bytes)?;
    Ok(Checkpoint {
        vector: dto::read_vector(WHAT, dto.vector)?,
        position: dto.position,
        hlc: Hlc(dto.hlc),
        totals: Totals { keys: dto.keys, conflicts: dto.conflicts, siblings: dto.siblings },
    })
}
