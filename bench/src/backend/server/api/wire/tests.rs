//! Tests of answers, in pieces of every length and with every kind of body.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::*;
use crate::backend::server::reactor::result;

/// Status, whether the connection stays open, and body; or the error.
type Answered = Result<(u16, bool, Vec<u8>), ErrorKind>;

/// The heads and bodies that a server's bytes are, which come in pieces of this length and end
/// with the connection.
fn answers(bytes: &'static [u8], piece: usize) -> Vec<Answered> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
        for piece in bytes.chunks(piece) {
            // A client that reads something odd does not stay.
            if stream.write_all(piece).is_err() {
                break;
            }
            thread::yield_now();
        }
    });
    let all = result(Duration::from_secs(30), async move {
        let mut wire = Wire::new(Source::<TcpStream>::connect(address).await.unwrap());
        let (mut all, mut request) = (Vec::new(), b"hi".as_slice());
        loop {
            let one = async {
                let mut head = wire.ask(std::mem::take(&mut request)).await?;
                let body = wire.whole(&mut head.body).await?;
                Ok((head.status, head.stays_open, body))
            };
            let one = one.await.map_err(|e: io::Error| e.kind());
            all.push(one);
            if !all.last().is_some_and(|one| matches!(one, Ok((_, true, _)))) {
                break;
            }
        }
        all
    });
    server.join().unwrap();
    all.expect("the answers end")
}

fn said(status: u16, stays_open: bool, body: &str) -> Answered {
    Ok((status, stays_open, body.as_bytes().to_vec()))
}

#[test]
fn bodies_have_lengths_or_chunks_or_end_with_the_connection() {
    let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"7\"\r\n\r\nhello\
        HTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n4;x=y\r\nwiki\r\n0A\r\npedia\r\n0\r\n\r\n0\r\nT: 1\r\n\r\n\
        HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n!\
        HTTP/1.1 200 OK\r\n\r\nthe rest";
    for piece in [1, 2, 7, 64, 10_000] {
        assert_eq!(
            answers(text, piece),
            [
                said(200, true, "hello"),
                said(204, true, ""),
                said(404, true, ""),
                said(200, true, "wikipedia\r\n0\r\n"),
                said(200, true, "!"),
                said(200, false, "the rest"),
            ],
            "in pieces of {piece}"
        );
    }
}

#[test]
fn a_server_that_will_close_says_so() {
    let closes = b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(answers(closes, 9), [said(200, false, "ok")]);
    let old = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(answers(old, 9), [said(200, false, "ok")]);
}

#[test]
fn an_answer_that_is_cut_off_or_odd_is_an_error() {
    for (text, kind) in [
        (b"".as_slice(), ErrorKind::UnexpectedEof),
        (b"HTTP/1.1 200 OK\r\nContent-Le", ErrorKind::UnexpectedEof),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", ErrorKind::UnexpectedEof),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            ErrorKind::UnexpectedEof,
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", ErrorKind::InvalidData),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
            ErrorKind::InvalidData,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", ErrorKind::InvalidData),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ErrorKind::InvalidData),
        (b"SMTP ready\r\n\r\n", ErrorKind::InvalidData),
    ] {
        let text_said = String::from_utf8_lossy(text);
        assert_eq!(answers(text, 3), [Err(kind)], "{text_said}");
    }
}
