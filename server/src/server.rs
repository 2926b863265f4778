//! A whole server: directory, node, listeners, and how it ends.

// It is the shell: it spawns and asks for randomness.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::serve::ListenerExt;
use seaworthy::raft::RaftId;
use seaworthy::storage::{Storage, Write, WriteData};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::api::{self, App, Limits};
use crate::compactor;
use crate::config::{Config, founding_id, listen_addresses, member_id};
use crate::data_dir::{DataDir, Identity};
use crate::engine::{self, Ended, Handle, Setup};
use crate::node::{Member, Node, Options, Start};
use crate::peer::{Myself, Peers};
use crate::quota;
use crate::space::Space;

/// Runs a server until it is told to stop by `until`, or cannot go on.
///
/// # Errors
/// Why it could not start, or had to end.
pub async fn run(config: Config, until: impl Future<Output = ()>) -> anyhow::Result<()> {
    let (wanted, retention) = (config.identity()?, config.retention()?);
    let clients = listen("--listen-client-urls", &config.listen_client_urls).await?;
    let peers = listen("--listen-peer-urls", &config.listen_peer_urls).await?;
    let directory = DataDir::open(&config.data_dir(), &wanted)?;
    let started = start(&config, directory, peers).await?;
    tokio::spawn(compactor::run(started.handle.clone(), retention));
    tokio::spawn(quota::run(started.handle.clone(), config.quota()));
    tokio::spawn(started.space.clone().watch(started.handle.clone()));
    tokio::spawn(started.handle.watches.clone().run());
    serve(router(&config, &started), clients)?;
    wait(started, until).await
}

/// A server whose node runs.
struct Started {
    id: RaftId,
    handle: Handle,
    space: Space,
    ended: oneshot::Receiver<Ended>,
}

/// Starts the node on its data, and its connections to the others.
async fn start(
    config: &Config,
    directory: DataDir,
    listeners: Vec<TcpListener>,
) -> anyhow::Result<Started> {
    let incarnation = directory.incarnation()?;
    let DataDir { path, identity, is_new, storage, states, log, space } = directory;
    let id = RaftId(member_id(&identity.token, &config.name, &identity.founders[&config.name]));
    let member = Member {
        name: config.name.clone(),
        peer_urls: config.peer_urls(),
        client_urls: config.client_urls(),
        incarnation,
        ..Member::default()
    };
    let start = Start {
        id,
        founders: founders(&identity),
        member,
        options: options(config),
        nonces: [getrandom::u64()?, getrandom::u64()?],
        log,
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
    let mut storage = storage;
    let first = Write { stream: engine::STREAM, data: WriteData::Record(first) };
    storage.commit(vec![first]).await?;
    let (handle, seat) = engine::prepare();
    let myself =
        Myself { id, member: node.member().clone(), lineage: node.lineage().clone(), founding };
    let outbox = Peers::start(myself, handle.clone(), listeners, &node.machine().members);
    let ended = seat.start(Setup { node, storage, states, outbox, founding })?;
    Ok(Started { id, handle, space, ended })
}

/// The members that the cluster began with.
fn founders(identity: &Identity) -> BTreeMap<RaftId, Member> {
    let founders = identity.founders.iter().map(|(name, urls)| {
        let id = RaftId(member_id(&identity.token, name, urls));
        (id, Member { name: name.clone(), peer_urls: urls.clone(), ..Member::default() })
    });
    founders.collect()
}

fn options(config: &Config) -> Options {
    Options {
        election_timeout_ms: config.election_timeout,
        heartbeat_ms: config.heartbeat_interval,
        snapshot_bytes: config.snapshot_bytes,
        ..Options::default()
    }
}

/// The services for clients.
fn router(config: &Config, started: &Started) -> Router {
    api::router(App {
        node: started.handle.clone(),
        id: started.id,
        space: started.space.clone(),
        quota: config.quota(),
        limits: Limits {
            max_request_bytes: config.max_request_bytes,
            max_txn_ops: config.max_txn_ops,
            min_lease_seconds: config.min_lease_seconds(),
        },
        leader_patience: Duration::from_millis(3 * config.election_timeout),
        progress_interval: Duration::from_secs(config.watch_progress_notify_interval.max(1)),
    })
}

/// Begins to serve clients.
fn serve(router: Router, listeners: Vec<TcpListener>) -> anyhow::Result<()> {
    for listener in listeners {
        tracing::info!("serving clients at {}", listener.local_addr()?);
        // Left off, every answer would wait 40 ms for an acknowledgement.
        let listener = listener.tap_io(|stream| {
            if let Err(e) = stream.set_nodelay(true) {
                tracing::debug!("a connection without TCP_NODELAY: {e}");
            }
        });
        tokio::spawn(axum::serve(listener, router.clone()).into_future());
    }
    Ok(())
}

/// Waits until the server is told to stop, or its node ends.
async fn wait(mut started: Started, until: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::select! {
        () = until => {
            tracing::info!("stopping");
            started.handle.stop().await;
            end(started.ended.await.unwrap_or(Ended::Stopped))
        }
        how = &mut started.ended => end(how.unwrap_or(Ended::Stopped)),
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
