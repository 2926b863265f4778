//! Listening: who dials is checked, and then its parcels go to the node.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::frame;
use super::shared::Shared;
use super::welcome::{MAGIC, NEWCOMER, VERSION, Welcome};
use crate::gate::Place;
use crate::node::{Hello, Refusal, Verdict};
use crate::tls::{self, Stream};

const PATIENCE: Duration = Duration::from_secs(3);

/// Accepts connections, for ever.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener, has_tls: bool) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match shared.gate.enter() {
                Some(place) => {
                    tokio::spawn(serve(shared.clone(), stream, from, place, has_tls));
                }
                None => shared.seldom.tell(|| format!("server {from} was turned away: too many")),
            },
            Err(error) => {
                // Too many open files, most likely: others may close some.
                shared.seldom.tell(|| format!("cannot accept a connection: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
    mut place: Place,
    has_tls: bool,
) {
    let opened = async {
        let Some(mut stream) = opened(&shared, stream, from, has_tls).await? else {
            return io::Result::Ok(None);
        };
        let hello = greeted(&shared, &mut stream).await?;
        stream.flush().await?;
        Ok(hello.map(|hello| (stream, hello)))
    };
    let opened = tokio::select! {
        opened = timeout(PATIENCE, opened) => opened,
        () = place.lost() => return,
    };
    let Ok(Ok(Some((stream, hello)))) = opened else { return };
    place.speaks();
    let mut input = BufReader::with_capacity(64 << 10, stream);
    while let Ok(parcel) = frame::take(&mut input).await {
        // Guard: a server that lives on elsewhere is not heard here any more.
        if !shared.is_current(&hello) {
            return;
        }
        shared.node.parcel(hello.from, parcel).await;
    }
}

/// Makes sure that both sides agree about TLS; nothing if they do not.
async fn opened(
    shared: &Shared,
    mut stream: TcpStream,
    from: SocketAddr,
    has_tls: bool,
) -> io::Result<Option<Stream>> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first).await?;
    match (has_tls, first[0] == tls::HELLO, &shared.tls) {
        (false, false, _) => Ok(Some(Stream::Plain(stream))),
        (true, true, Some(tls)) => match Stream::accept(tls, stream).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => {
                let why = tls::explain(&error, "--peer-");
                shared.seldom.tell(|| format!("no TLS with server {from}: {why}"));
                Ok(None)
            }
        },
        (false, true, _) => {
            let name = &shared.myself.member.name;
            shared.seldom.tell(|| {
                format!(
                    "server {from} comes with TLS, and {name} listens without: let the URL of \
                     {name} begin with http://, or its --listen-peer-urls with https://"
                )
            });
            Ok(None)
        }
        _ => {
            let name = &shared.myself.member.name;
            shared.seldom.tell(|| {
                format!(
                    "server {from} comes without TLS, and {name} listens with it: let the URL of \
                     {name} begin with https://"
                )
            });
            stream.shutdown().await?;
            Ok(None)
        }
    }
}

/// Hears the greeting and answers it; nothing if the other side is not listened to.
async fn greeted(shared: &Shared, stream: &mut Stream) -> io::Result<Option<Hello>> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    if magic != *MAGIC {
        explain_to_http(shared, stream, &magic).await?;
        return Ok(None);
    }
    let version = stream.read_u16_le().await?;
    let own = |to| shared.hello(to);
    if version != VERSION {
        let why = format!(
            "it speaks version {version} between servers, and {} speaks version {VERSION}: \
             use the same version of the program, or one between both, on all servers",
            shared.myself.member.name
        );
        let no = Welcome::No(own(shared.myself.id), Refusal { why, verdict: Verdict::NotNow });
        frame::put_value(stream, &no).await?;
        return Ok(None);
    }
    let (_, hello): (bool, Hello) = frame::take_value(stream).await?;
    if hello.from == NEWCOMER {
        let introduced = Welcome::Introduced(shared.introduction().await);
        frame::put_value(stream, &introduced).await?;
        return Ok(None);
    }
    // This server looks at its own address.
    if hello.from == shared.myself.id && hello.member.nonce == shared.myself.member.nonce {
        frame::put_value(stream, &Welcome::Yes(own(hello.from))).await?;
        return Ok(None);
    }
    match shared.node.admit(hello.clone()).await {
        Ok(()) => {
            shared.note(&hello);
            frame::put_value(stream, &Welcome::Yes(own(hello.from))).await?;
            Ok(Some(hello))
        }
        Err(refusal) => {
            tracing::warn!("{} was refused: {}", hello.member.name, refusal.why);
            frame::put_value(stream, &Welcome::No(own(hello.from), refusal)).await?;
            Ok(None)
        }
    }
}

/// Tells a browser or `curl` where it should have gone.
async fn explain_to_http(shared: &Shared, stream: &mut Stream, first: &[u8]) -> io::Result<()> {
    let methods: [&[u8]; 7] = [b"GET ", b"PUT ", b"POST", b"HEAD", b"DELE", b"OPTI", b"PRI "];
    if !methods.iter().any(|method| first.starts_with(method)) {
        return Ok(());
    }
    let member = &shared.myself.member;
    let text = format!(
        "This is where other servers reach {} of a seaworthy cluster. Clients are served at {}\n",
        member.name,
        member.client_urls.join(" ")
    );
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
