//! The store in a schema of a PostgreSQL database.
//!
//! The identity that a data directory has in a file stands in the table `node`. States are written
//! beside the log by sessions of their own, in pieces.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use seaworthy::raft::Index;
use seaworthy::storage::StorageError;
use seaworthy::storage::postgres::{Owner, PostgresBeside, PostgresStorage, PostgresUrl};
use tokio::runtime::Handle;

use super::Store;
use super::describe::describe;
use crate::data_dir::{Identity, check, with_state};
use crate::engine::STREAM;
use crate::states::Beside;

/// Opens the schema that `url` names.
pub(super) async fn open(url: &PostgresUrl, wanted: &Identity) -> anyhow::Result<Store> {
    let fresh = getrandom::u64()?.max(1);
    let wished = Identity { incarnation: format!("{fresh:016x}"), ..wanted.clone() };
    let owner = Owner {
        node: wanted.name.clone(),
        cluster: wanted.token.clone(),
        fresh,
        about: serde_json::to_string(&wished)?,
        describe,
    };
    let opened = PostgresStorage::open(url, &owner).await;
    let opened = opened.with_context(|| format!("cannot use the store of {}", wanted.name))?;
    let (place, mut recovered) = (url.place(), opened.recovered);
    let identity: Identity = serde_json::from_str(&opened.about)
        .with_context(|| format!("{place}: the identity in the table node does not parse"))?;
    check(&place, &identity, wanted)?;
    let beside = PostgresBeside::new(url.clone(), wanted.name.clone());
    let states = Arc::new(PostgresStates { beside, runtime: Handle::current() });
    let (log, own) = (recovered.take(STREAM), states.clone());
    let log = tokio::task::spawn_blocking(move || with_state(log, &*own)).await;
    Ok(Store {
        place,
        identity,
        is_new: opened.is_new,
        lost: Some(Box::pin(opened.storage.lost())),
        storage: Box::new(opened.storage),
        states,
        log: log.map_err(|e| anyhow!("{e}"))??,
        space: None,
    })
}

/// States in the database. Called on threads that may block.
#[derive(Debug)]
struct PostgresStates {
    beside: PostgresBeside,
    runtime: Handle,
}

impl Beside for PostgresStates {
    fn write(&self, index: Index, state: &[u8]) -> Result<(), StorageError> {
        self.runtime.block_on(self.beside.write(index.0, state))
    }

    fn write_if_it_fits(&self, index: Index, state: &[u8]) -> Result<bool, StorageError> {
        self.write(index, state).map(|()| true)
    }

    fn read(&self, index: Index) -> Result<Vec<u8>, StorageError> {
        let state = self.runtime.block_on(self.beside.read(index.0));
        state.map_err(|e| StorageError {
            reason: format!("the log goes on from this state: {}", e.reason),
            ..e
        })
    }

    fn remove_older(&self, index: Index, unfinished: bool) {
        if let Err(e) = self.runtime.block_on(self.beside.remove_older(index.0, unfinished)) {
            // They are left for the next time.
            tracing::warn!("{e}");
        }
    }
}
