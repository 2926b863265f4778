//! `seaworthy-server recover`: a new cluster out of the last server of one that lost its quorum.
//!
//! Everything in the server's log is carried out, also entries not known to be committed. The
//! directory that it had before is kept, as `before-recovery` in the new one.

use std::collections::BTreeMap;

use anyhow::bail;

use super::backups::founders;
use super::{Recover, say};
use crate::data_dir::{self, Found, Identity};
use crate::node::offline;

/// Tells how far the data in a directory goes, and makes a cluster of it if that is asked for.
///
/// # Errors
/// If it is no data directory, cannot be read, or belongs to a server that runs.
pub async fn recover(wanted: &Recover) -> anyhow::Result<()> {
    let dir = &wanted.dir;
    if data_dir::finish_recovery(dir)? {
        say(&format!("finished the recovery of {} that was interrupted\n", dir.display()))?;
        return Ok(());
    }
    let _lock = data_dir::lock(dir)?;
    let Found { identity, log, state } = data_dir::look(dir)?;
    let reading = offline::look(&log).map_err(anyhow::Error::msg)?;
    let cluster = reading.cluster.map_or("not known".to_owned(), |id| format!("{id:016x}"));
    say(&format!(
        "server {}\ncluster {cluster}\nterm of its last entry {}\nindex of its last entry {}\n",
        identity.name, reading.last.term, reading.last.index
    ))?;
    if let Some(lost) = &log.lost {
        say(&format!("durable data is missing here: {lost}\n"))?;
    }
    if !wanted.make_cluster {
        say("Of all survivors the one with the highest term, and of those the one with the \
             highest index, holds everything that was acknowledged. Repeat this command there, \
             with --make-cluster\n")?;
        return Ok(());
    }
    let id = identity.member_id()?;
    let carried_out = offline::carry_out(&log, state, id, &founders(&identity));
    let (mut machine, at) = carried_out.map_err(anyhow::Error::msg)?;
    machine.store.begin_anew(i64::from(wanted.bump_revision));
    let urls = machine.members.get(&id).map(|member| member.peer_urls.clone());
    let Some(urls) = urls.or(identity.founders.get(&identity.name).cloned()) else {
        bail!("the log of {} does not know the address of its own server", dir.display());
    };
    let token = format!("{} recovered {:016x}", identity.token, getrandom::u64()?);
    let alone = BTreeMap::from([(identity.name.clone(), urls)]);
    let new = Identity { token, founders: alone, id: None, cluster: None, ..identity };
    let (revision, keys) = (machine.store.revision(), machine.store.len());
    let first = offline::found(machine.store, founders(&new), at);
    data_dir::replace(dir, &new, first).await?;
    say(&format!(
        "made a new cluster of {} alone: {keys} keys, revision {revision}. The data before is in \
         {}\nStart it with the same flags, and add the others anew, with empty directories\n",
        new.name,
        dir.join(data_dir::BEFORE).display()
    ))?;
    Ok(())
}
