//! A whole server: directory, node, listeners, and how it ends.

// It is the shell: it spawns and asks for randomness.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::serve::ListenerExt;
use seaworthy::raft::RaftId;
use seaworthy::storage::{Storage, Write, WriteData};
use tokio::net::TcpListener;

use crate::api::{self, App, Limits};
use crate::compactor;
use crate::config::{Config, founding_id, listen_addresses, member_id};
use crate::data_dir::DataDir;
use crate::engine::{self, Ended, Setup};
use crate::node::{Member, Node, Options, Start};
use crate::peer::{Myself, Peers};

/// Runs a server until it is told to stop by `until`, or cannot go on.
///
/// # Errors
/// Why it could not start, or had to end.
pub async fn run(config: Config, until: impl Future<Output = ()>) -> anyhow::Result<()> {
    let (wanted, retention) = (config.identity()?, config.retention()?);
    let clients = listen("--listen-client-urls", &config.listen_client_urls).await?;
    let peers = listen("--listen-peer-urls", &config.listen_peer_urls).await?;
    let directory = DataDir::open(&config.data_dir(), &wanted)?;
    let incarnation = directory.incarnation()?;
    let (identity, path) = (directory.identity, directory.path);
    let founders: BTreeMap<RaftId, Member> = identity
        .founders
        .iter()
        .map(|(name, urls)| {
            let id = RaftId(member_id(&identity.token, name, urls));
            let member =
                Member { name: name.clone(), peer_urls: urls.clone(), ..Member::default() };
            (id, member)
        })
        .collect();
    let own_urls = &identity.founders[&config.name];
    let id = RaftId(member_id(&identity.token, &config.name, own_urls));
    let member = Member {
        name: config.name.clone(),
        peer_urls: config.peer_urls(),
        client_urls: config.client_urls(),
        incarnation,
        ..Member::default()
    };
    let is_new = directory.is_new;
    let start = Start {
        id,
        founders,
        member,
        options: Options {
            election_timeout_ms: config.election_timeout,
            heartbeat_ms: config.heartbeat_interval,
            snapshot_bytes: config.snapshot_bytes,
            ..Options::default()
        },
        nonces: [getrandom::u64()?, getrandom::u64()?],
        log: directory.log,
    };
    let (node, first) =
        Node::start(start).with_context(|| format!("cannot use {}", path.display()))?;
    let founding = founding_id(&identity.token, &identity.founders);
    tracing::info!(
        "{} is member {:016x} of the cluster founded as {founding:016x}; {} data in {}",
        config.name,
        id.0,
        if is_new { "new" } else { "its" },
        path.display()
    );
    let (mut storage, states) = (directory.storage, directory.states);
    let first = Write { stream: engine::STREAM, data: WriteData::Record(first) };
    storage.commit(vec![first]).await?;
    let (handle, seat) = engine::prepare();
    let myself =
        Myself { id, member: node.member().clone(), lineage: node.lineage().clone(), founding };
    let outbox = Peers::start(myself, handle.clone(), peers, &node.machine().members);
    let mut ended = seat.start(Setup { node, storage, states, outbox, founding })?;
    tokio::spawn(compactor::run(handle.clone(), retention));
    tokio::spawn(handle.watches.clone().run());
    let limits = Limits {
        max_request_bytes: config.max_request_bytes,
        max_txn_ops: config.max_txn_ops,
        min_lease_seconds: config.min_lease_seconds(),
    };
    let router = api::router(App {
        node: handle.clone(),
        id,
        limits,
        leader_patience: Duration::from_millis(3 * config.election_timeout),
        progress_interval: Duration::from_secs(config.watch_progress_notify_interval.max(1)),
    });
    for listener in clients {
        tracing::info!("serving clients at {}", listener.local_addr()?);
        // Left off, every answer would wait 40 ms for an acknowledgement.
        let listener = listener.tap_io(|stream| {
            if let Err(e) = stream.set_nodelay(true) {
                tracing::debug!("a connection without TCP_NODELAY: {e}");
            }
        });
        tokio::spawn(axum::serve(listener, router.clone()).into_future());
    }
    tokio::select! {
        () = until => {
            tracing::info!("stopping");
            handle.stop().await;
            end(ended.await.unwrap_or(Ended::Stopped))
        }
        how = &mut ended => end(how.unwrap_or(Ended::Stopped)),
    }
}

fn end(how: Ended) -> anyhow::Result<()> {
    match how {
        Ended::Stopped => Ok(()),
        Ended::Disk(error) => Err(anyhow!("{error}")),
        Ended::Refused(why) => Err(anyhow!("this server may not take part: {why}")),
    }
}

async fn listen(flag: &str, urls: &str) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in listen_addresses(flag, urls)? {
        listeners.push(bind(flag, address).await?);
    }
    Ok(listeners)
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag}: cannot listen at {address}"))
}
