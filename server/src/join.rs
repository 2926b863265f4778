//! How a new server joins a cluster that exists.
//!
//! It has to be told of to the cluster first: by a person (`--initial-cluster-state existing`), or by
//! itself at a member's address for clients (`--join`). Then it asks a member at the peers' port for
//! its own id and for the beginning of the log, which its store keeps; so once there is
//! data, none of this happens again. `--join` also has it promoted when it has caught up.

// Waiting for a cluster is a shell's business.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use seaworthy::raft::RaftId;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::data_dir::{FORMAT, Identity};
use crate::engine::Handle;
use crate::node::{Change, Failure, NotChanged, Reply, Request};
use crate::peer::{self, Introduction};
use crate::store;
use crate::tls::{Stream, Tls};
use crate::url::{has_tls, host_and_port};

/// How long a cluster may be busy with other members, or have no leader.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the members may take to hear of a server that was added.
const HEARSAY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
const ANSWER: Duration = Duration::from_secs(10);

/// The certificates for both kinds of connections, if there are any.
#[derive(Clone, Copy, Debug)]
pub struct Ways<'a> {
    /// To addresses for clients.
    pub clients: Option<&'a Tls>,
    /// To addresses for other servers.
    pub peers: Option<&'a Tls>,
}

impl Ways<'_> {
    /// The certificates for an address of clients: those for clients say nothing about servers if they
    /// came without an authority.
    fn for_clients(&self) -> anyhow::Result<&Tls> {
        let checking = self.clients.filter(|tls| tls.checks_servers());
        checking.or(self.peers).context(
            "it asks for TLS, and this server has neither --trusted-ca-file nor \
             --peer-trusted-ca-file to check it by",
        )
    }
}

/// The identity that a server's store is to have: that of a founder, or of a member
/// that was added.
///
/// # Errors
/// If the flags contradict each other, or no member knows of this server.
pub async fn identity(config: &Config, ways: &Ways<'_>) -> anyhow::Result<Identity> {
    let founder = config.identity()?;
    if store::is_used(&config.store, &config.data_dir()).await? {
        return Ok(founder);
    }
    let own: BTreeSet<String> = config.peer_urls().into_iter().collect();
    let others: Vec<String> = match &config.join {
        Some(url) => {
            let user = config.join_user.as_deref();
            ask_to_be_added(&Door { ways, url, user }, &own).await?
        }
        None if config.initial_cluster_state == "existing" => {
            let founders = founder.founders.iter();
            founders
                .filter(|(name, _)| **name != config.name)
                .flat_map(|(_, urls)| urls)
                .cloned()
                .collect()
        }
        None => {
            config.check_founding(&founder)?;
            return Ok(founder);
        }
    };
    let (id, found) = introduce(ways, &others, &own).await?;
    Ok(Identity {
        format: FORMAT,
        name: config.name.clone(),
        incarnation: String::new(),
        token: found.token,
        founders: found.founders,
        id: Some(format!("{:016x}", id.0)),
        cluster: Some(format!("{:016x}", found.cluster)),
    })
}

/// Asks members until one knows a new member at these addresses.
async fn introduce(
    ways: &Ways<'_>,
    others: &[String],
    own: &BTreeSet<String>,
) -> anyhow::Result<(RaftId, Introduction)> {
    let list = |urls: &mut dyn Iterator<Item = &String>| {
        urls.map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let addresses = list(&mut own.iter());
    if others.is_empty() {
        bail!(
            "--initial-cluster names no other member, and this server is to join an existing cluster"
        );
    }
    let (begin, mut trouble) = (Instant::now(), String::new());
    while begin.elapsed() < HEARSAY {
        for url in others {
            let found = match peer::ask(ways.peers, url).await {
                Ok(found) => found,
                Err(error) => {
                    trouble = format!("{url} does not answer: {error}");
                    continue;
                }
            };
            let is_here = |urls: &[String]| urls.iter().cloned().collect::<BTreeSet<_>>() == *own;
            let member = found.members.iter().find(|(_, member)| is_here(&member.peer_urls));
            match member {
                Some((id, member)) if member.has_started() => bail!(
                    "{} ({:016x}) at {addresses} took part with another data directory: start it \
                     with that one, or remove the member and add it anew",
                    member.name,
                    id.0
                ),
                Some((id, _)) if found.cluster != 0 => return Ok((*id, found)),
                _ => trouble = format!("the member at {url} knows no member at {addresses}"),
            }
        }
        sleep(PAUSE).await;
    }
    bail!(
        "no member of the existing cluster knows this server; the last word: {trouble}. Add it first \
         (etcdctl member add NAME --peer-urls={}), or start it with --join",
        list(&mut own.iter()).replace(' ', ",")
    )
}

/// Has this server added as a learner. Returns the addresses of the others for peers.
async fn ask_to_be_added(door: &Door<'_>, own: &BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let body = json!({ "peer_urls": own, "learner": true });
    let (begin, mut told, url) = (Instant::now(), String::new(), door.url);
    loop {
        let answer = door.ask("/cluster/members", &body).await;
        let why = match answer {
            Ok((status, answer)) if status.is_success() || is_known(&answer) => {
                let addresses = addresses(&answer);
                return Ok(addresses.into_iter().filter(|url| !own.contains(url)).collect());
            }
            Ok((status, answer)) => {
                let why = match answer["error"].as_str() {
                    Some(why) => why.to_owned(),
                    None => format!("{status}; is this a member's address for clients?"),
                };
                if is_final(status.as_u16(), &why) {
                    bail!("{url} does not add this server: {why}{}", hint(&why));
                }
                why
            }
            Err(error) => format!("{error:#}"),
        };
        if begin.elapsed() > PATIENCE {
            bail!("{url} does not add this server: {why}");
        }
        if told != why {
            tracing::info!("{url} does not add this server yet: {why}");
            told = why;
        }
        sleep(PAUSE).await;
    }
}

/// Whether this server was added already: by an earlier attempt, or by a person.
fn is_known(answer: &Value) -> bool {
    answer["error"] == "etcdserver: Peer URLs already exists"
}

fn addresses(answer: &Value) -> Vec<String> {
    let members = answer["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let urls = members.iter().filter_map(|member| member["peer_urls"].as_array()).flatten();
    urls.filter_map(|url| url.as_str().map(str::to_owned)).collect()
}

/// Whether asking again would get the same refusal.
fn is_final(status: u16, why: &str) -> bool {
    matches!(status, 400 | 401 | 403) && !why.contains("too many learner")
}

/// The remedy, if a user is missing.
fn hint(why: &str) -> &'static str {
    let needs_user = why.contains("user name is empty") || why.contains("permission denied");
    match needs_user {
        true => {
            ". The cluster has users: give one with the role root in SEAWORTHY_JOIN_USER, NAME:PASSWORD"
        }
        false => "",
    }
}

/// A member's address for clients, and how to come in.
struct Door<'a> {
    ways: &'a Ways<'a>,
    url: &'a str,
    /// The name and the password of a user.
    user: Option<&'a str>,
}

impl Door<'_> {
    /// Asks in the name of the user, if there is one and the cluster has users.
    async fn ask(&self, path: &str, body: &Value) -> anyhow::Result<(hyper::StatusCode, Value)> {
        let Some(user) = self.user else { return post(self, path, body, None).await };
        let (name, password) = user.split_once(':').context("--join-user is NAME:PASSWORD")?;
        let login = json!({ "name": name, "password": password });
        let (status, answer) = post(self, "/v3/auth/authenticate", &login, None).await?;
        let has_users = answer["error"] != "etcdserver: authentication is not enabled";
        if has_users && !status.is_success() {
            return Ok((status, answer));
        }
        post(self, path, body, answer["token"].as_str()).await
    }
}

async fn post(
    Door { ways, url, .. }: &Door<'_>,
    path: &str,
    body: &Value,
    token: Option<&str>,
) -> anyhow::Result<(hyper::StatusCode, Value)> {
    let address = host_and_port(url)?;
    let asked = async {
        let stream = TcpStream::connect(&address).await?;
        let stream = match has_tls(url) {
            false => Stream::Plain(stream),
            true => {
                let host = address.rsplit_once(':').map_or(&address[..], |(host, _)| host);
                Stream::connect(ways.for_clients()?, stream, host).await?
            }
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = hyper::Request::post(path)
            .header("host", &address)
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    };
    timeout(ANSWER, asked).await.context("no answer")?.with_context(|| format!("cannot ask {url}"))
}

/// Has this server promoted once it has caught up.
pub async fn become_voter(node: Handle, id: RaftId) {
    let mut told = None;
    loop {
        sleep(PAUSE).await;
        let view = match node.ask(Request::Inspect).await {
            Reply::View(view) => view,
            Reply::Failed(Failure::Stopping) => return,
            _ => continue,
        };
        let is_learner = view.roles.learners.contains(&id);
        if view.members.contains_key(&id) && !is_learner {
            return;
        }
        if !is_learner {
            continue;
        }
        match node.ask(Request::Change(Change::Promote(id))).await {
            Reply::Members(_, Ok(_)) => return,
            Reply::Members(_, Err(NotChanged::NotInSync)) => {}
            Reply::Members(_, Err(why)) if told != Some(why) => {
                tracing::warn!("this server is not promoted yet: {why:?}");
                told = Some(why);
            }
            _ => {}
        }
    }
}
