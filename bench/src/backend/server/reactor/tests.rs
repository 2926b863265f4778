//! Tests of the loop with real sockets and threads.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use mio::net::TcpStream;

use super::*;

const LONG: Duration = Duration::from_secs(30);

#[test]
fn bytes_come_whole_whatever_their_pieces_and_the_end_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sender = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = vec![0; 3_000_000];
        stream.read_exact(&mut asked).unwrap();
        for piece in asked.chunks(700_000) {
            stream.write_all(piece).unwrap();
        }
        asked
    });
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let bytes = sent.clone();
    let heard = result(LONG, async move {
        let source = Source::<TcpStream>::connect(address).await.unwrap();
        source.write_all(&bytes).await.unwrap();
        let (mut all, mut buffer) = (Vec::new(), vec![0; 4096]);
        while let n @ 1.. = source.read(&mut buffer).await.unwrap() {
            all.extend_from_slice(&buffer[..n]);
        }
        all
    });
    assert_eq!(sender.join().unwrap(), sent);
    assert_eq!(heard, Some(sent));
}

#[test]
fn a_refused_connection_is_an_error_and_a_silent_one_ends_at_its_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let silent = result(LONG, async move {
        let source = Source::<TcpStream>::connect(address).await.unwrap();
        timeout_at(Instant::now() + Duration::from_millis(20), source.readable()).await
    });
    assert_eq!(silent, Some(None));
    drop(listener);
    let refused = result(LONG, async move {
        Source::<TcpStream>::connect(address).await.err().map(|error| error.kind())
    });
    assert_eq!(refused, Some(Some(io::ErrorKind::ConnectionRefused)));
}

#[test]
fn other_threads_wake_tasks_and_the_loop_keeps_its_patience() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let waker = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        sender.send(7).unwrap();
    });
    let began = Instant::now();
    assert_eq!(result(LONG, async move { receiver.recv().await }), Some(Some(7)));
    assert!(began.elapsed() < LONG / 2);
    waker.join().unwrap();
    assert_eq!(result(Duration::from_millis(20), sleep(LONG)), None);
}

#[test]
fn a_loop_that_ends_drops_its_tasks() {
    let held = Rc::new(());
    let task = held.clone();
    assert_eq!(
        result(Duration::ZERO, async move {
            sleep(LONG).await;
            drop(task);
        }),
        None
    );
    assert_eq!(Rc::strong_count(&held), 1);
}
