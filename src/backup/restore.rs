//! Making a data directory of a backup.

use std::path::Path;

use super::{BackupError, Checked, Found, Summary, check, each_block};
use crate::causality::NodeId;
use crate::storage::{Identity, PeerState, Restoring};

/// Makes the data directory of a node of a backup, which is checked to its end first. `cluster`: of another cluster than
/// the one that the backup was made in. The directory must be empty, or not be there.
pub fn restore(file: &Path, directory: &Path, node: u32, cluster: Option<&str>) -> Result<Summary, BackupError> {
    let expected = check(file)?;
    let cluster = cluster.unwrap_or(&expected.cluster).to_owned();
    let identity = Identity { cluster, node: NodeId(node) };
    let mut restoring = None;
    let mut checked = Checked::new(file);
    each_block(file, |block| {
        checked.add(block, |found| {
            match (found, &mut restoring) {
                (Found::Head(head), _) => {
                    let state = PeerState { vector: head.state.vector.clone(), ancestry: head.state.ancestry.clone() };
                    restoring = Some(Restoring::begin(directory, &identity, state)?);
                }
                (Found::Keys(keys), Some(restoring)) => restoring.put(keys)?,
                (Found::Keys(_), None) => {}
            }
            Ok(())
        })
    })?;
    let summary = checked.finish()?;
    restoring.expect("a whole backup has a head").finish()?;
    Ok(summary)
}
