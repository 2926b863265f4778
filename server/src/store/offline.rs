//! A schema without its server: it is read, replaced after a lost quorum, or made of a backup.

use anyhow::{Context, anyhow, bail};
use seaworthy::storage::Log;
use seaworthy::storage::postgres::{
    Beginning, Owner, PostgresBeside, PostgresOffline, PostgresUrl,
};

use super::describe::describe;
use super::postgres::PostgresStates;
use crate::data_dir::{FORMAT, Identity, Whole, look_in_database, other_format};
use crate::engine::STREAM;
use crate::node::offline::First;

/// A schema that no server starts on, as long as this is there.
#[derive(Debug)]
pub struct Held {
    schema: PostgresOffline,
    /// The token in the flags of its server, which need not be that of its identity.
    cluster: String,
}

/// Reads the identity and the log of a server, which may run meanwhile, and changes nothing.
///
/// # Errors
/// If there is none, or it cannot be trusted.
pub async fn look(url: &PostgresUrl) -> anyhow::Result<(Identity, Log)> {
    let schema = PostgresOffline::open(url).await?;
    let (identity, log, _) = read(&schema, url).await?;
    Ok((identity, log))
}

async fn read(
    schema: &PostgresOffline,
    url: &PostgresUrl,
) -> anyhow::Result<(Identity, Log, String)> {
    let mut found = schema.read().await?;
    let identity: Identity = serde_json::from_str(&found.about).with_context(|| {
        format!("{}: it is not a server's, or its identity does not parse", url.place())
    })?;
    if identity.format != FORMAT {
        bail!(other_format(&url.place(), identity.format));
    }
    Ok((identity, found.recovered.take(STREAM), found.cluster))
}

/// Reads everything of a server, and keeps it from starting meanwhile.
///
/// # Errors
/// If it runs, if there is none, or it cannot be trusted.
pub(crate) async fn hold(url: &PostgresUrl) -> anyhow::Result<(Held, Whole)> {
    let schema = PostgresOffline::open(url).await?;
    schema.lock().await?;
    let (identity, log, cluster) = read(&schema, url).await?;
    let beside = PostgresBeside::new(url.clone(), identity.name.clone());
    let states = PostgresStates::new(beside);
    let read = move || look_in_database(&log, &states).map(|state| (log, state));
    let (log, state) = tokio::task::spawn_blocking(read).await.map_err(|e| anyhow!("{e}"))??;
    Ok((Held { schema, cluster }, Whole { identity, log, state }))
}

/// Puts new data in the place of that in a schema; returns the name of the schema with the old.
///
/// # Errors
/// Those of the database: then nothing was changed.
pub async fn replace(held: Held, identity: &Identity, first: First) -> anyhow::Result<String> {
    let Held { schema, cluster } = held;
    let owner = owner(identity, cluster)?;
    Ok(schema.replace(&owner, beginning(first)).await?)
}

/// Makes a schema that begins a cluster; `token` is the one in the flags of its server.
///
/// # Errors
/// If there is something in it already.
pub async fn found(
    url: &PostgresUrl,
    token: String,
    identity: &Identity,
    first: First,
) -> anyhow::Result<()> {
    let owner = owner(identity, token)?;
    PostgresOffline::found(url, &owner, beginning(first)).await?;
    Ok(())
}

fn beginning(First { state, checkpoint }: First) -> Beginning {
    let beside = (checkpoint.before.index().0, state);
    Beginning { beside, stream: STREAM, checkpoint: checkpoint.encode() }
}

fn owner(identity: &Identity, cluster: String) -> anyhow::Result<Owner> {
    let fresh = getrandom::u64()?.max(1);
    let identity = Identity { incarnation: format!("{fresh:016x}"), ..identity.clone() };
    let about = serde_json::to_string(&identity)?;
    Ok(Owner { node: identity.name, cluster, fresh, about, describe })
}
