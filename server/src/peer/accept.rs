//! Listening: who dials is checked, and then its parcels go to the node.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::{MAGIC, Shared, VERSION, Welcome, frame};
use crate::node::{Hello, Refusal};

const PATIENCE: Duration = Duration::from_secs(3);

/// Accepts connections, for ever.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(shared.clone(), stream));
            }
            Err(error) => {
                // Too many open files, most likely: others may close some.
                tracing::warn!("cannot accept a connection: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let greeted = timeout(PATIENCE, greeted(&shared, &mut stream)).await;
    let Ok(Ok(Some(hello))) = greeted else { return };
    let mut input = BufReader::with_capacity(64 << 10, stream);
    while let Ok(parcel) = frame::take(&mut input).await {
        // Guard: a server that lives on elsewhere is not heard here any more.
        if !shared.is_current(&hello) {
            return;
        }
        shared.node.parcel(hello.from, parcel).await;
    }
}

/// Hears the greeting and answers it; nothing if the other side is not listened to.
async fn greeted(shared: &Shared, stream: &mut TcpStream) -> io::Result<Option<Hello>> {
    stream.set_nodelay(true)?;
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
        let no = Welcome::No(own(shared.myself.id), Refusal { why, is_final: false });
        frame::put_value(stream, &no).await?;
        return Ok(None);
    }
    let (_, hello): (bool, Hello) = frame::take_value(stream).await?;
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
async fn explain_to_http(shared: &Shared, stream: &mut TcpStream, first: &[u8]) -> io::Result<()> {
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
