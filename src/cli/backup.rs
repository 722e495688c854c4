//! `causeway backup`: a node's whole state as of one instant, in a file; and whether a file is that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::client::{self, Ask, Client};
use super::failure::Failure;
use super::nodes::{Nodes, OwnNode};
use super::output::{self, counted};
use crate::backup::{self, BackupError, BackupFile, CONTENT_TYPE, Summary};

/// How long a node has to begin: it reads nothing before.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What `backup` takes.
#[derive(Clone, Debug, Args)]
pub struct Backup {
    /// The file; it is written under another name (FILE.unfinished) until it is whole
    file: PathBuf,
    /// Only checks a file that is there, without a node
    #[arg(long, conflicts_with = "force")]
    check: bool,
    /// Replaces a file that is there
    #[arg(long)]
    force: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nodes: Nodes,
}

/// What `restore` takes.
#[derive(Clone, Debug, Args)]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// The data directory that is made of it; empty, or not there
    #[arg(long, value_name = "DIR", env = "CAUSEWAY_DATA_DIR", hide_env_values = true)]
    data_dir: PathBuf,
    /// The node whose directory it becomes; any, also another than the one that the backup was made at
    #[arg(long, value_name = "ID", env = "CAUSEWAY_NODE_ID", hide_env_values = true)]
    node_id: u32,
    /// Its cluster [default: the one that the backup was made in]
    #[arg(long, value_name = "NAME", env = "CAUSEWAY_CLUSTER", hide_env_values = true)]
    cluster: Option<String>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(backup: &Backup, own: OwnNode<'_>) -> Result<(), Failure> {
    let Backup { file, check, force, json, nodes } = backup;
    if *check {
        let summary = backup::check(file)?;
        return print(file, &summary, *json, "");
    }
    let client = Client::new(nodes, own)?;
    // From before there is a file: it is removed then.
    let stop = |kind| signal(kind).map_err(|error| Failure::NotDone(format!("can't wait for signals: {error}")));
    let (mut interrupt, mut terminate) = (stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?);
    let written = BackupFile::create(file, *force).map_err(|error| match error {
        BackupError::Exists { path } if path == *file => {
            Failure::Usage(format!("{} is there already; --force replaces it", path.display()))
        }
        BackupError::Exists { path } => Failure::Usage(format!(
            "{} is there: another backup is being written, or one was cut off; --force begins anew",
            path.display()
        )),
        other => other.into(),
    })?;
    let summary = tokio::select! {
        summary = download(&client, written) => summary?,
        _ = async { tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} } } => {
            return Err(Failure::NotDone("stopped before the backup was whole".to_owned()));
        }
    };
    print(file, &summary, *json, "")
}

async fn download(client: &Client, mut file: BackupFile) -> Result<Summary, Failure> {
    let ask = Ask::get("backup").timeout(TIMEOUT);
    let (node, mut response) = client.stream(client.nodes(), &ask, CONTENT_TYPE).await?;
    while let Some(piece) = client::next_bytes(&node, &mut response).await? {
        file.write(&piece)?;
    }
    Ok(file.finish()?)
}

pub(super) fn restore(restore: &Restore) -> Result<(), Failure> {
    let Restore { file, data_dir, node_id, cluster, json } = restore;
    let summary = backup::restore(file, data_dir, *node_id, cluster.as_deref())?;
    let cluster = cluster.as_ref().unwrap_or(&summary.cluster);
    let made = format!("{} is the data of node {node_id} of cluster '{cluster}' now, from ", data_dir.display());
    print(file, &summary, *json, &made)
}

fn print(file: &Path, summary: &Summary, json: bool, before: &str) -> Result<(), Failure> {
    let Summary { cluster, node, taken, vector, keys, bytes } = summary;
    let taken = humantime::format_rfc3339_millis(*taken);
    let file = file.display();
    if json {
        let text = json!({
            "file": file.to_string(), "cluster": cluster, "node": node, "taken_at": taken.to_string(),
            "vector": vector, "keys": keys, "bytes": bytes,
        });
        return output::line(text);
    }
    let (keys, bytes) = (counted(*keys, "key"), counted(*bytes, "byte"));
    output::line(format_args!("{before}{file}: {keys}, {bytes}, node {node} of cluster '{cluster}' as of {taken}"))
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Damaged { .. } => Self::No(error.to_string()),
            BackupError::Exists { .. } => Self::Usage(error.to_string()),
            BackupError::File { path, source } => Self::File { path, source },
            BackupError::Directory(_) if error.is_refusal() => Self::Usage(error.to_string()),
            BackupError::Directory(_) | BackupError::Superseded { .. } => Self::NotDone(error.to_string()),
        }
    }
}
