//! A whole server: directory, node, listeners, and how it ends.

// It is the shell: it spawns and asks for randomness.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use seaworthy::raft::RaftId;
use seaworthy::storage::{Write, WriteData};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::api::{self, App, Guard, Limits, Services};
use crate::compactor;
use crate::config::Config;
use crate::data_dir::Identity;
use crate::engine::{self, Ended, Handle, Setup};
use crate::founding::{founding_id, member_id};
use crate::gate::{Gate, Seldom};
use crate::join;
use crate::node::{Member, Node, Options, Start};
use crate::peer::{Endpoint, Myself, Peers};
use crate::quota;
use crate::serve::Clients;
use crate::space::Space;
use crate::store::{self, Store};
use crate::tls::{Files, Tls};
use crate::traces::Traces;
use crate::url::listen_addresses;

/// Runs a server until it is told to stop by `until`, or cannot go on.
///
/// # Errors
/// Why it could not start, or had to end.
pub async fn run(config: Config, until: impl Future<Output = ()>) -> anyhow::Result<()> {
    let retention = config.retention()?;
    let tracing = config.traces.settings(&config.name)?;
    let client_tls = load(config.tls.for_clients(&config.listen_client_urls)?)?;
    let peer_tls = load(config.tls.for_peers(&config.listen_peer_urls)?)?;
    let ways = join::Ways { clients: client_tls.as_deref(), peers: peer_tls.as_deref() };
    // First: a server that cannot listen is not to be added to a cluster.
    let clients = listen("--listen-client-urls", &config.listen_client_urls).await?;
    let peers = listen("--listen-peer-urls", &config.listen_peer_urls).await?;
    let wanted = join::identity(&config, &ways).await?;
    let (directory, token) = (config.data_dir(), &config.initial_cluster_token);
    let store = store::open(&config.store, config.state, &directory, &wanted, token).await?;
    let (client_gate, peer_gate) = gates(&config);
    let endpoint = Endpoint { listeners: peers, tls: peer_tls, gate: peer_gate };
    let started = start(&config, store, endpoint).await?;
    tokio::spawn(compactor::run(started.handle.clone(), retention));
    tokio::spawn(quota::run(started.handle.clone(), config.quota()));
    if let Some(space) = &started.space {
        tokio::spawn(space.clone().watch(started.handle.clone()));
    }
    tokio::spawn(started.handle.watches.clone().run());
    if config.join.is_some() {
        tokio::spawn(join::become_voter(started.handle.clone(), started.id));
    }
    let traces =
        tracing.map(|settings| Traces::start(&settings, started.id)).transpose()?.map(Arc::new);
    if traces.is_some() {
        started.handle.metrics.slow.keep_flushes();
    }
    let serving = Clients {
        services: Arc::new(services(&config, &started, traces.clone())),
        tls: client_tls,
        gate: client_gate,
        max_streams: config.max_concurrent_streams,
        seldom: Seldom::default(),
    };
    serve(serving, clients)?;
    let ended = wait(started, until).await;
    if let Some(traces) = traces {
        traces.stop().await;
    }
    ended
}

/// A server whose node runs.
struct Started {
    id: RaftId,
    handle: Handle,
    space: Option<Space>,
    ended: oneshot::Receiver<Ended>,
}

/// Starts the node on its data, and its connections to the others.
async fn start(config: &Config, store: Store, endpoint: Endpoint) -> anyhow::Result<Started> {
    let incarnation = store.incarnation()?;
    let Store { place, identity, is_new, storage, states, log, state, tree, space, lost } = store;
    let (trees, base) = tree.unzip();
    let id = identity.member_id()?;
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
        cluster: identity.joined()?,
        log,
        state,
        tree: base,
    };
    let (node, first) = Node::start(start).with_context(|| format!("cannot use {place}"))?;
    let founding = founding_id(&identity.token, &identity.founders);
    tracing::info!(
        "{} is member {:016x} of the cluster founded as {founding:016x}; {} data in {place}",
        config.name,
        id.0,
        if is_new { "new" } else { "its" },
    );
    let mut storage = storage;
    let first = Write { stream: engine::STREAM, data: WriteData::Record(first) };
    storage.commit(vec![first]).await?;
    let (handle, seat) = engine::prepare(node.cluster());
    if let Some(lost) = lost {
        let node = handle.clone();
        tokio::spawn(async move { node.storage_lost(lost.await).await });
    }
    let (member, lineage) = (node.member().clone(), node.lineage().clone());
    let Identity { token, founders, .. } = identity;
    let myself = Myself { id, member, lineage, founding, token, founders };
    let outbox = Peers::start(myself, handle.clone(), endpoint, &node.addresses());
    let ended = seat.start(Setup { node, storage, states, trees, outbox, founding })?;
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
fn services(config: &Config, started: &Started, traces: Option<Arc<Traces>>) -> Services {
    let lifetime = Duration::from_secs(config.auth_token_ttl);
    api::services(App {
        guard: Arc::new(Guard::new(lifetime, config.bcrypt_cost)),
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
        traces,
    })
}

/// Begins to serve clients.
fn serve(clients: Clients, listeners: Vec<(TcpListener, bool)>) -> anyhow::Result<()> {
    let clients = Arc::new(clients);
    for (listener, has_tls) in listeners {
        let scheme = if has_tls { "https" } else { "http" };
        tracing::info!("serving clients at {scheme}://{}", listener.local_addr()?);
        tokio::spawn(clients.clone().listen(listener, has_tls));
    }
    Ok(())
}

fn load(files: Option<Files>) -> anyhow::Result<Option<Arc<Tls>>> {
    files.map(|files| Tls::load(files).map(Arc::new)).transpose()
}

/// The places for clients and for other servers. They leave files for the data, and never take
/// each other's.
fn gates(config: &Config) -> (Arc<Gate>, Arc<Gate>) {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let (clients, peers) = (config.max_connections.min(files / 4 * 3), 1024.min(files / 8));
    if clients < config.max_connections {
        tracing::warn!(
            "at most {clients} connections of clients, and not --max-connections ({}): this process may open {files} files",
            config.max_connections
        );
    }
    (Gate::new(clients), Gate::new(peers))
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

/// The server was removed from its cluster: the process has a status of its own for it.
#[derive(Debug)]
pub struct Removed;

impl std::fmt::Display for Removed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "this server was removed from its cluster, and will never take part again: to use the \
             machine anew, add a member, and start it with an empty data directory",
        )
    }
}

impl std::error::Error for Removed {}

fn end(how: Ended) -> anyhow::Result<()> {
    match how {
        Ended::Stopped => Ok(()),
        Ended::Disk(error) => Err(anyhow!("{error}")),
        Ended::Removed => Err(Removed.into()),
        Ended::Refused(why) => Err(anyhow!("this server may not take part: {why}")),
    }
}

/// Listens at the addresses in `urls`; each with whether it is to have TLS.
async fn listen(flag: &str, urls: &str) -> anyhow::Result<Vec<(TcpListener, bool)>> {
    let mut listeners = Vec::new();
    for (address, has_tls) in listen_addresses(flag, urls)? {
        listeners.push((bind(flag, address).await?, has_tls));
    }
    Ok(listeners)
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag}: cannot listen at {address}"))
}
