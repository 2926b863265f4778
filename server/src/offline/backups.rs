//! `seaworthy-server snapshot restore` and `snapshot status`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use seaworthy::raft::{Index, LogId, RaftId, Term};
use sha2::{Digest, Sha256};

use super::{Restore, say};
use crate::backup::{self, About};
use crate::data_dir::{self, Identity};
use crate::founding::member_id;
use crate::kv::Store;
use crate::node::{Member, offline};
use crate::store::Kind;

/// The place in the log of a state that begins a cluster.
const FIRST: LogId = LogId { index: Index(1), term: Term(1) };

fn read(file: &Path) -> anyhow::Result<(About, Store, Vec<u8>)> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (about, store) =
        backup::read(&bytes).map_err(|why| anyhow!("{}: {why}", file.display()))?;
    Ok((about, store, bytes))
}

/// Prints the facts about a backup, as JSON.
///
/// # Errors
/// If it is damaged, or no backup.
pub fn status(file: &Path) -> anyhow::Result<()> {
    let (about, _, bytes) = read(file)?;
    let mut text = serde_json::to_value(about)?;
    text["size_bytes"] = bytes.len().into();
    say(&format!("{text:#}\n"))?;
    Ok(())
}

/// Makes the data directory, or the schema, of one server.
///
/// # Errors
/// If the backup is damaged, the flags contradict each other, or there is data already.
pub async fn restore(restore: &Restore) -> anyhow::Result<()> {
    let Restore { file, bump_revision, config } = restore;
    if config.joins() {
        bail!(
            "a backup begins a new cluster, and --join or --initial-cluster-state existing asks for an \
             existing one: leave them out"
        );
    }
    let mut identity = config.identity()?;
    config.check_founding(&identity)?;
    let (about, mut store, bytes) = read(file)?;
    #[cfg(feature = "postgres")]
    let token = identity.token.clone();
    // The same for all servers that are made of this backup, and no other.
    let hash = Sha256::digest(&bytes);
    identity.token = format!("{} restored from {}", identity.token, hex(&hash[..8]));
    store.begin_anew(i64::from(*bump_revision));
    let revision = store.revision();
    let first = offline::found(store, founders(&identity), FIRST);
    let place = match &config.store {
        Kind::Files => {
            let dir = config.data_dir();
            data_dir::found(&dir, &identity, first).await?;
            dir.display().to_string()
        }
        #[cfg(feature = "postgres")]
        Kind::Postgres(url) => {
            crate::store::offline::found(url, token, &identity, first).await?;
            url.place()
        }
    };
    tracing::info!(
        "{place} holds {} keys at revision {revision}, of cluster {}, for {}. Start it with the same \
         flags when the data of all servers is made",
        about.keys,
        about.cluster,
        identity.name
    );
    Ok(())
}

/// The members that a new cluster begins with.
pub(super) fn founders(identity: &Identity) -> BTreeMap<RaftId, Member> {
    let founders = identity.founders.iter().map(|(name, urls)| {
        let id = RaftId(member_id(&identity.token, name, urls));
        (id, Member { name: name.clone(), peer_urls: urls.clone(), ..Member::default() })
    });
    founders.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
