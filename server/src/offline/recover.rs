//! `seaworthy-server recover`: a new cluster out of the last server of one that lost its quorum.
//!
//! Everything in the server's log is carried out, also entries not known to be committed. The data
//! that it had before is kept: as `before-recovery` in a directory, and as another schema in a
//! database.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use seaworthy::storage::Log;

use super::backups::founders;
use super::{Place, Recover, say};
use crate::data_dir::{self, Identity, Whole};
use crate::node::offline::{self, First};

/// Tells how far the data of a server goes, and makes a cluster of it if that is asked for.
///
/// # Errors
/// If there is no such data, it cannot be read, or it belongs to a server that runs.
pub async fn recover(wanted: &Recover) -> anyhow::Result<()> {
    match &wanted.place {
        Place::Dir(dir) => in_directory(dir, wanted).await,
        #[cfg(feature = "postgres")]
        Place::Postgres(url) => in_database(url, wanted).await,
    }
}

async fn in_directory(dir: &Path, wanted: &Recover) -> anyhow::Result<()> {
    if data_dir::finish_recovery(dir)? {
        say(&format!("finished the recovery of {} that was interrupted\n", dir.display()))?;
        return Ok(());
    }
    let _lock = data_dir::lock(dir)?;
    let found = data_dir::look(dir)?;
    tell(&found.identity, &found.log, wanted)?;
    if wanted.make_cluster {
        let made = Made::of(found.whole()?, &dir.display().to_string(), wanted.bump_revision)?;
        data_dir::replace(dir, &made.identity, made.first).await?;
        say(&format!(
            "{}The data before is in {}\n{}",
            made.told,
            dir.join(data_dir::BEFORE).display(),
            NEXT
        ))?;
    }
    Ok(())
}

#[cfg(feature = "postgres")]
async fn in_database(
    url: &seaworthy::storage::postgres::PostgresUrl,
    wanted: &Recover,
) -> anyhow::Result<()> {
    use crate::store::offline::{hold, replace};
    let (held, whole) = hold(url).await?;
    tell(&whole.identity, &whole.log, wanted)?;
    if wanted.make_cluster {
        let made = Made::of(whole, &url.place(), wanted.bump_revision)?;
        let before = replace(held, &made.identity, made.first).await?;
        say(&format!("{}The data before is in the schema {before}\n{NEXT}", made.told))?;
    }
    Ok(())
}

const NEXT: &str =
    "Start it with the same flags, and add the others anew, with empty directories or schemas\n";

/// Tells how far the data goes, for a comparison with other survivors.
fn tell(identity: &Identity, log: &Log, wanted: &Recover) -> anyhow::Result<()> {
    let reading = offline::look(log).map_err(anyhow::Error::msg)?;
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
    }
    Ok(())
}

/// A new cluster of one server.
struct Made {
    identity: Identity,
    first: First,
    /// The beginning of the sentence about it.
    told: String,
}

impl Made {
    /// Carries out the log of the server whose data is at `place`.
    fn of(whole: Whole, place: &str, bump_revision: u32) -> anyhow::Result<Made> {
        let Whole { identity, log, state } = whole;
        let id = identity.member_id()?;
        let carried_out = offline::carry_out(&log, state, id, &founders(&identity));
        let (mut machine, at) = carried_out.map_err(anyhow::Error::msg)?;
        machine.store.begin_anew(i64::from(bump_revision));
        let urls = machine.members.get(&id).map(|member| member.peer_urls.clone());
        let Some(urls) = urls.or(identity.founders.get(&identity.name).cloned()) else {
            bail!("the log of {place} does not know the address of its own server");
        };
        let token = format!("{} recovered {:016x}", identity.token, getrandom::u64()?);
        let alone = BTreeMap::from([(identity.name.clone(), urls)]);
        let identity = Identity { token, founders: alone, id: None, cluster: None, ..identity };
        let told = format!(
            "made a new cluster of {} alone: {} keys, revision {}. ",
            identity.name,
            machine.store.len(),
            machine.store.revision()
        );
        let first = offline::found(machine.store, founders(&identity), at);
        Ok(Made { identity, first, told })
    }
}
