//! The pure core's work in pieces, for the clock (`cargo bench`) and for counting instructions (`bench instructions`).
//!
//! A piece is prepared for so many times and then done that often; what is prepared is not measured.

mod formats;
mod proofs;
mod replicas;
mod states;

/// A piece of work.
pub struct Piece {
    /// What it is called.
    pub name: &'static str,
    /// Whether it is long enough to be measured in small numbers: some ten microseconds.
    pub large: bool,
    /// Prepares for this many times.
    pub prepare: fn(usize) -> Box<dyn FnMut()>,
}

/// All pieces.
pub const PIECES: &[Piece] = &[
    Piece { name: "write, staged and applied", large: false, prepare: replicas::write },
    Piece { name: "64 writes in one commit", large: true, prepare: replicas::write_64 },
    Piece { name: "push of 64 ops, delivered", large: true, prepare: replicas::deliver_64 },
    Piece { name: "digest and answer, 50 nodes", large: false, prepare: replicas::digest },
    Piece { name: "siblings: apply to 1", large: false, prepare: states::apply::<1> },
    Piece { name: "siblings: apply to 64", large: false, prepare: states::apply::<64> },
    Piece { name: "siblings: merge 1", large: false, prepare: states::merge::<1> },
    Piece { name: "siblings: merge 64", large: true, prepare: states::merge::<64> },
    Piece { name: "op: encode", large: false, prepare: formats::encode_op },
    Piece { name: "op: decode", large: false, prepare: formats::decode_op },
    Piece { name: "push of 64 ops: encode", large: true, prepare: formats::encode_push },
    Piece { name: "push of 64 ops: decode", large: true, prepare: formats::decode_push },
    Piece { name: "token, 1 node: encode", large: false, prepare: formats::encode_token::<1> },
    Piece { name: "token, 1 node: decode", large: false, prepare: formats::decode_token::<1> },
    Piece { name: "token, 10 nodes: encode", large: false, prepare: formats::encode_token::<10> },
    Piece { name: "token, 10 nodes: decode", large: false, prepare: formats::decode_token::<10> },
    Piece { name: "key record, 1 sibling: encode", large: false, prepare: formats::encode_siblings::<1> },
    Piece { name: "key record, 1 sibling: decode", large: false, prepare: formats::decode_siblings::<1> },
    Piece { name: "key record, 64 siblings: decode", large: true, prepare: formats::decode_siblings::<64> },
    Piece { name: "push of 1 KiB: encode, decode", large: false, prepare: proofs::without::<1024> },
    Piece { name: "push of 1 KiB: prove, check, both ways", large: false, prepare: proofs::proven::<1024> },
    Piece { name: "push of 1 MiB: encode, decode", large: true, prepare: proofs::without::<1048576> },
    Piece { name: "push of 1 MiB: prove, check, both ways", large: true, prepare: proofs::proven::<1048576> },
];

/// The piece of this name.
pub fn piece(name: &str) -> Option<&'static Piece> {
    PIECES.iter().find(|piece| piece.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_can_be_played() {
        for piece in PIECES {
            let mut play = (piece.prepare)(3);
            (0..3).for_each(|_| play());
        }
    }
}
