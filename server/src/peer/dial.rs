//! Dialling: one task a lane, which connects, sends, and connects again.

// Waiting between two attempts is a shell's business.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use seaworthy::raft::RaftId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::frame;
use super::lane::{Address, LaneEnd};
use super::shared::Shared;
use super::welcome::{MAGIC, VERSION, Welcome};
use crate::node::{Class, Hello, Refusal, Verdict};
use crate::tls::{self, Stream, Tls};
use crate::url::{has_tls, host_and_port};

const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// A connection on which nothing that was sent is acknowledged for this long is given up. TCP alone
/// waits as long again as the host was gone before it tries anew.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Why a connection came to nothing.
enum Trouble {
    Io(String, io::Error),
    /// The other side refuses this server, or this one the other.
    Refused(String, Refusal),
}

/// Keeps one lane to a server connected, for ever.
pub(super) async fn keep_connected(
    shared: Arc<Shared>,
    to: RaftId,
    class: Class,
    mut lane: LaneEnd,
) {
    let mut wait = FIRST_WAIT;
    // The last trouble that was logged; each is logged once.
    let mut told = String::new();
    let is_control = class == Class::Control;
    loop {
        let address = lane.address.borrow_and_update().clone();
        if address.urls.is_empty() {
            match lane.address.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        let trouble = match connect(&shared, to, class, &address).await {
            Ok(stream) => {
                wait = FIRST_WAIT;
                if is_control {
                    tracing::info!("connected to {}", address.name);
                }
                told.clear();
                lane.connected();
                let error = send_all(&mut lane, stream).await;
                lane.disconnected();
                Trouble::Io("the connection broke".to_owned(), error)
            }
            Err(trouble) => trouble,
        };
        let text = explain(&address, &trouble);
        if is_control && told != text {
            match &trouble {
                Trouble::Io(..) => tracing::info!("{text}"),
                Trouble::Refused(..) => tracing::error!("{text}"),
            }
            told = text;
        }
        if let Trouble::Refused(who, refusal) = trouble {
            shared.node.refused(&who, refusal).await;
        }
        // Another address may work at once.
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            changed = lane.address.changed() => match changed {
                Ok(()) => wait = FIRST_WAIT,
                Err(_) => return,
            },
        }
    }
}

fn explain(address: &Address, trouble: &Trouble) -> String {
    let urls = address.urls.join(" ");
    match trouble {
        Trouble::Io(what, error) => format!("{} at {urls}: {what}: {error}", address.name),
        Trouble::Refused(who, refusal) => {
            format!("{} at {urls}, where {who} answers: {}", address.name, refusal.why)
        }
    }
}

/// Sends the parcels that come until the connection breaks.
async fn send_all(lane: &mut LaneEnd, stream: Stream) -> io::Error {
    let (mut input, mut output) = tokio::io::split(stream);
    let sending = async {
        let mut out = Vec::new();
        while lane.take(&mut out).await {
            let sent = async {
                output.write_all(&out).await?;
                output.flush().await
            };
            if let Err(error) = sent.await {
                return error;
            }
            out.clear();
            out.shrink_to(1 << 20);
        }
        io::ErrorKind::BrokenPipe.into()
    };
    let mut byte = [0];
    // Nothing comes back but the end.
    tokio::select! {
        error = sending => error,
        read = input.read(&mut byte) => read.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Connects to any of a server's addresses, and makes sure that it is that server.
async fn connect(
    shared: &Shared,
    to: RaftId,
    class: Class,
    address: &Address,
) -> Result<Stream, Trouble> {
    let none = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address is known");
    let mut last = Trouble::Io("cannot connect".to_owned(), none);
    for url in &address.urls {
        let hello = shared.hello(to);
        let greeted = timeout(PATIENCE, greet(shared.tls.as_deref(), url, &hello, class));
        let greeted = greeted.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match greeted {
            Err(error) => last = Trouble::Io(format!("cannot connect to {url}"), error),
            Ok((stream, Welcome::Yes(answer))) if answer.from == to => {
                let answer_to_me = Hello { to: shared.myself.id, ..answer };
                let who = answer_to_me.member.name.clone();
                match shared.node.admit(answer_to_me).await {
                    Ok(()) => return Ok(stream),
                    // It is for the other side to stop.
                    Err(refusal) => {
                        let refusal = Refusal { verdict: Verdict::NotNow, ..refusal };
                        last = Trouble::Refused(who, refusal);
                    }
                }
            }
            Ok((_, Welcome::Yes(answer) | Welcome::No(answer, _)))
                if answer.from != to && answer.founding == shared.myself.founding =>
            {
                let (why, who) =
                    (elsewhere(shared, url, &answer, &address.name), answer.member.name);
                last = Trouble::Refused(who, Refusal { why, verdict: Verdict::NotNow });
            }
            Ok((_, Welcome::No(answer, refusal))) => {
                last = Trouble::Refused(answer.member.name, refusal);
            }
            Ok((_, Welcome::Yes(_) | Welcome::Introduced(_))) => {
                let error = frame::damaged("a server of another cluster is content");
                last = Trouble::Io("a contradiction".to_owned(), error);
            }
        }
    }
    Err(last)
}

/// An address leads to another server than it should.
fn elsewhere(shared: &Shared, url: &str, answer: &Hello, wanted: &str) -> String {
    let reached = match answer.from == shared.myself.id {
        true => format!("{} itself", answer.member.name),
        false => answer.member.name.clone(),
    };
    format!(
        "{wanted} advertises {url}, which from here reaches {reached}: give {wanted} an \
         --initial-advertise-peer-urls that leads to it from every other server"
    )
}

/// Dials `url` and greets the server that answers.
pub(super) async fn greet(
    tls: Option<&Tls>,
    url: &str,
    hello: &Hello,
    class: Class,
) -> io::Result<(Stream, Welcome)> {
    let address = host_and_port(url).map_err(|e| frame::damaged(&e.to_string()))?;
    // The name is looked up at each attempt: servers move.
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    let explain = |error: io::Error| io::Error::new(error.kind(), tls::explain_dial(&error));
    let mut stream = match (has_tls(url), tls) {
        (false, _) => Stream::Plain(stream),
        (true, Some(tls)) => {
            let host = address.rsplit_once(':').map_or(&address[..], |(host, _)| host);
            Stream::connect(tls, stream, host).await.map_err(explain)?
        }
        (true, None) => {
            let why = "its URL begins with https://, and this server listens at http:// and has \
                       no --peer-cert-file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    };
    let mut first = MAGIC.to_vec();
    first.extend_from_slice(&VERSION.to_le_bytes());
    frame::put(
        &mut first,
        &postcard::to_allocvec(&(class == Class::Bulk, hello)).expect("plain data"),
    );
    stream.write_all(&first).await?;
    stream.flush().await?;
    let welcome = frame::take_value(&mut stream).await.map_err(explain)?;
    Ok((stream, welcome))
}

/// Dials this server's own advertised addresses, and says so if another one answers: the
/// others would be led astray in the same way.
pub(super) async fn look_at_myself(shared: Arc<Shared>) {
    for url in &shared.myself.member.peer_urls {
        let hello = shared.hello(shared.myself.id);
        let name = &shared.myself.member.name;
        match timeout(PATIENCE, greet(shared.tls.as_deref(), url, &hello, Class::Control)).await {
            Ok(Ok((_, Welcome::Yes(answer) | Welcome::No(answer, _)))) => {
                if answer.member.nonce != shared.myself.member.nonce {
                    let who = answer.member.name;
                    tracing::error!("{name} advertises {url}, which from here reaches {who}");
                }
            }
            Ok(Ok((_, Welcome::Introduced(_)))) => {}
            Ok(Err(error)) => {
                tracing::warn!("{name} advertises {url}, which from here leads nowhere: {error}");
            }
            Err(_) => tracing::warn!("{name} advertises {url}, which does not answer from here"),
        }
    }
}
