//! The network between servers: TCP proxies that the peers dial.
//!
//! Each node advertises the port of a proxy of its own; the bench learns from the kernel who dials
//! it ([`super::owner`]), so that each connection has a direction there and one back. As a packet
//! filter would treat packets, so a proxy treats the bytes of a stream:
//!
//! * a direction that is **cut** holds back all bytes, the end of the stream included. When the
//!   cut ends, a connection that lost any is reset, as after too many retransmissions; one that
//!   was silent goes on;
//! * a direction that is **stalled** holds them back, and delivers them when the stall ends;
//! * with a **delay**, each piece arrives that much later, in order;
//! * a pair of nodes whose connections are **torn** has them reset, and so are new ones, at once;
//! * with a **limit** each direction of a connection carries so many bytes a second, and a piece
//!   arrives when its last byte would.
//!
//! One difference to a packet filter: a connection that is opened during a cut is accepted, and
//! nothing comes through. Bytes that are already in a buffer of the receiver's kernel arrive.

// Real sockets, time and threads are the business of this module.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::owner::Groups;
use crate::backend::Weather;

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of one direction that wait in the proxy; beyond that they wait in the sender's kernel.
const HELD_BYTES: usize = 1 << 20;

/// The proxies of a run. They end with this value.
pub(super) struct Proxies {
    weather: watch::Sender<Weather>,
    strangers: Arc<AtomicU64>,
}

/// Where the peers of a node reach it, and where it listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) proxy_port: u16,
    pub(super) peer_port: u16,
}

impl Proxies {
    /// Opens the proxies of all nodes, and serves them in a thread.
    ///
    /// # Errors
    /// If a port is taken, or the thread has no runtime.
    pub(super) fn open(routes: &[Route], groups: &Groups) -> io::Result<Proxies> {
        let (weather, seen) = watch::channel(Weather::default());
        let strangers: Arc<AtomicU64> = Arc::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut listeners = Vec::new();
        for route in routes {
            let listener = StdListener::bind((Ipv4Addr::LOCALHOST, route.proxy_port))?;
            listener.set_nonblocking(true)?;
            listeners.push((listener, route.peer_port));
        }
        let (groups, count) = (groups.clone(), strangers.clone());
        thread::spawn(move || {
            runtime.block_on(async move {
                for (node, (listener, peer_port)) in listeners.into_iter().enumerate() {
                    let door = Door {
                        node,
                        peer_port,
                        groups: groups.clone(),
                        weather: seen.clone(),
                        strangers: count.clone(),
                    };
                    tokio::spawn(door.serve(listener));
                }
                let mut seen = seen;
                // Ends with an error when the sender is dropped, and all connections with it.
                while seen.changed().await.is_ok() {}
            });
        });
        Ok(Proxies { weather, strangers })
    }

    /// From now on the network is like this.
    pub(super) fn expose(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many connections were refused because no node had opened them.
    pub(super) fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }
}

/// The proxy of one node.
#[derive(Clone)]
struct Door {
    node: usize,
    peer_port: u16,
    groups: Groups,
    weather: watch::Receiver<Weather>,
    strangers: Arc<AtomicU64>,
}

impl Door {
    async fn serve(self, listener: StdListener) {
        let listener = TcpListener::from_std(listener).expect("it does not block");
        loop {
            // An error is the dialler's, who is gone, or passes (no file descriptor).
            let Ok((dialled, peer)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            tokio::spawn(self.clone().connect(dialled, peer));
        }
    }

    /// Connects a peer with the node, if it is a peer, and the node is there.
    async fn connect(self, mut dialled: TcpStream, peer: SocketAddr) {
        let Ok(own) = dialled.local_addr() else { return };
        let Ok(mut node) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.peer_port)).await else {
            return reset(&dialled);
        };
        let groups = self.groups.clone();
        let looked = tokio::task::spawn_blocking(move || groups.owner(peer, own)).await;
        let Ok(Some(from)) = looked else {
            self.strangers.fetch_add(1, Ordering::Relaxed);
            return reset(&dialled);
        };
        for stream in [&dialled, &node] {
            // Nagle's algorithm is the peers' choice, and they have made it.
            let _ = stream.set_nodelay(true);
        }
        let end = {
            let (dialled_in, dialled_out) = dialled.split();
            let (node_in, node_out) = node.split();
            let there = Pump::new((from, self.node), self.weather.clone());
            let back = Pump::new((self.node, from), self.weather);
            let mut there = std::pin::pin!(there.run(dialled_in, node_out));
            let mut back = std::pin::pin!(back.run(node_in, dialled_out));
            // A stream that ends orderly in one direction may go on in the other.
            tokio::select! {
                end = &mut there => if end == End::Whole { back.await } else { end },
                end = &mut back => if end == End::Whole { there.await } else { end },
            }
        };
        if end == End::Torn {
            reset(&dialled);
            reset(&node);
        }
    }
}

/// Lets a stream end with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // If it fails, the stream ends in order, which is as good to all but a few.
    let _ = setsockopt(stream, sockopt::Linger, &linger);
}

/// How one direction of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In order, or its receiver is gone, which the other direction tells.
    Whole,
    /// It lost bytes, or its sender reset it: the connection must be reset.
    Torn,
}

/// Something on its way in one direction.
enum Piece {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// The state of one direction.
#[derive(Clone, Copy)]
struct Sky {
    is_cut: bool,
    is_stalled: bool,
    is_torn: bool,
    delay: Duration,
    kilobytes: Option<u32>,
}

impl Sky {
    fn is_clear(self) -> bool {
        !self.is_cut
            && !self.is_stalled
            && !self.is_torn
            && self.delay.is_zero()
            && self.kilobytes.is_none()
    }
}

/// One direction of a connection.
struct Pump {
    link: (usize, usize),
    weather: watch::Receiver<Weather>,
    /// Pieces on their way, with the moments when they are due.
    queue: VecDeque<(Instant, Piece)>,
    /// Bytes in the queue.
    held: usize,
    /// When the limit lets the next byte pass.
    free_at: Instant,
    /// The sender sends nothing more.
    ended: bool,
    /// A piece was due during a cut.
    lost: bool,
}

impl Pump {
    fn new(link: (usize, usize), weather: watch::Receiver<Weather>) -> Pump {
        let queue = VecDeque::new();
        Pump { link, weather, queue, held: 0, free_at: Instant::now(), ended: false, lost: false }
    }

    /// Whether nothing is on its way, and nothing was lost.
    fn has_nothing(&self) -> bool {
        self.queue.is_empty() && !self.lost
    }

    /// The state of the direction now.
    fn sky(&mut self) -> Sky {
        let now = self.weather.borrow_and_update();
        Sky {
            is_cut: now.cut.contains(&self.link),
            is_stalled: now.stalled.contains(&self.link),
            is_torn: now.torn.contains(&self.link)
                || now.torn.contains(&(self.link.1, self.link.0)),
            delay: now.delay.get(&self.link).copied().unwrap_or_default(),
            kilobytes: now.kilobytes,
        }
    }

    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let Sky { is_cut, is_stalled, is_torn, .. } = self.sky();
            if is_torn || self.lost && !is_cut {
                return End::Torn;
            }
            let due = self.queue.front().map(|(at, _)| *at);
            let may_arrive = due.is_some() && !is_stalled;
            tokio::select! {
                changed = self.weather.changed() => if changed.is_err() { return End::Torn },
                read = from.read(&mut buffer), if !self.ended && self.held < HELD_BYTES => {
                    if let Ok(n @ 1..) = read && self.has_nothing() && self.sky().is_clear() {
                        // A timer would take a millisecond, and a copy its time.
                        if to.write_all(&buffer[..n]).await.is_err() {
                            return End::Whole;
                        }
                        continue;
                    }
                    let piece = match read {
                        Ok(0) => Piece::End,
                        Ok(n) => Piece::Bytes(buffer[..n].to_vec()),
                        Err(_) => Piece::Reset,
                    };
                    // The weather may have changed while the direction was silent.
                    let Sky { delay, kilobytes, .. } = self.sky();
                    let due = self.transmitted(&piece, kilobytes) + delay;
                    self.take(due, piece);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if may_arrive => {
                    let (_, piece) = self.queue.pop_front().expect("something is due");
                    if is_cut {
                        self.lose();
                        continue;
                    }
                    match piece {
                        Piece::Reset => return End::Torn,
                        Piece::End => {
                            let _ = to.shutdown().await;
                            return End::Whole;
                        }
                        Piece::Bytes(bytes) => {
                            self.held -= bytes.len();
                            if to.write_all(&bytes).await.is_err() {
                                return End::Whole;
                            }
                        }
                    }
                }
            }
        }
    }

    /// When a piece that comes now has passed the limit.
    fn transmitted(&mut self, piece: &Piece, kilobytes: Option<u32>) -> Instant {
        let now = Instant::now();
        let (Some(kilobytes), Piece::Bytes(bytes)) = (kilobytes, piece) else { return now };
        // Thousands of bytes a second are bytes a millisecond.
        let takes = Duration::from_secs_f64(bytes.len() as f64 / f64::from(kilobytes) / 1000.0);
        self.free_at = self.free_at.max(now) + takes;
        self.free_at
    }

    fn take(&mut self, due: Instant, piece: Piece) {
        self.ended |= !matches!(piece, Piece::Bytes(_));
        if self.lost {
            return;
        }
        if let Piece::Bytes(bytes) = &piece {
            self.held += bytes.len();
        }
        self.queue.push_back((due, piece));
    }

    fn lose(&mut self) {
        self.lost = true;
        self.queue.clear();
        self.held = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream as Plain;

    use super::*;

    /// Node 0, this process, dials node 1, which is this process, too.
    struct Pair {
        proxies: Proxies,
        dialled: Plain,
        accepted: Plain,
    }

    /// The proxies of two nodes and the port of the second's, and where that listens. `leader` is
    /// the process that is the first node.
    fn proxies(leader: Option<u32>) -> (Proxies, u16, StdListener) {
        let listen = || StdListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &StdListener| listener.local_addr().unwrap().port();
        let node = listen();
        let proxy_port = port(&listen());
        let groups = Groups::new(2);
        groups.set(0, leader);
        let first = Route { proxy_port: 0, peer_port: 0 };
        let second = Route { proxy_port, peer_port: port(&node) };
        (Proxies::open(&[first, second], &groups).unwrap(), proxy_port, node)
    }

    fn pair() -> Pair {
        let (proxies, proxy_port, node) = proxies(Some(std::process::id()));
        let mut dialled = Plain::connect((Ipv4Addr::LOCALHOST, proxy_port)).unwrap();
        let (mut accepted, _) = node.accept().unwrap();
        // From now on its owner is known.
        dialled.write_all(b"hello").unwrap();
        assert_eq!(read(&mut accepted).as_deref(), Ok("hello"));
        Pair { proxies, dialled, accepted }
    }

    /// The next bytes, however long they take.
    fn read(stream: &mut Plain) -> Result<String, ErrorKind> {
        read_within(stream, Duration::from_secs(30))
    }

    fn is_silent(stream: &mut Plain) -> bool {
        read_within(stream, Duration::from_millis(200)) == Err(ErrorKind::WouldBlock)
    }

    fn read_within(stream: &mut Plain, patience: Duration) -> Result<String, ErrorKind> {
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 100];
        let n = stream.read(&mut buffer).map_err(|e| e.kind())?;
        Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    fn links<const N: usize>(links: [(usize, usize); N]) -> BTreeSet<(usize, usize)> {
        BTreeSet::from(links)
    }

    #[test]
    fn a_cut_in_one_direction_loses_that_direction_and_resets_the_connection_at_its_end() {
        let Pair { proxies, mut dialled, mut accepted } = pair();
        proxies.expose(Weather { cut: links([(0, 1)]), ..Weather::default() });
        dialled.write_all(b"two").unwrap();
        accepted.write_all(b"back").unwrap();
        assert_eq!(read(&mut dialled).as_deref(), Ok("back"));
        assert!(is_silent(&mut accepted));
        proxies.expose(Weather::default());
        assert_eq!(read(&mut accepted), Err(ErrorKind::ConnectionReset));
        assert_eq!(read(&mut dialled), Err(ErrorKind::ConnectionReset));
    }

    #[test]
    fn a_silent_connection_survives_a_cut_and_a_stall_delivers() {
        let Pair { proxies, mut dialled, mut accepted } = pair();
        proxies.expose(Weather { cut: links([(0, 1), (1, 0)]), ..Weather::default() });
        assert!(is_silent(&mut accepted));
        proxies.expose(Weather { stalled: links([(1, 0)]), ..Weather::default() });
        accepted.write_all(b"late").unwrap();
        dialled.write_all(b"there").unwrap();
        assert_eq!(read(&mut accepted).as_deref(), Ok("there"));
        assert!(is_silent(&mut dialled));
        proxies.expose(Weather::default());
        assert_eq!(read(&mut dialled).as_deref(), Ok("late"));
        drop(dialled);
        assert_eq!(read(&mut accepted).as_deref(), Ok(""), "the end of a stream passes");
    }

    #[test]
    fn a_cut_hides_the_death_of_a_peer() {
        let Pair { proxies, dialled, mut accepted } = pair();
        proxies.expose(Weather { cut: links([(0, 1)]), ..Weather::default() });
        drop(dialled);
        assert!(is_silent(&mut accepted));
        proxies.expose(Weather::default());
        assert_eq!(read(&mut accepted), Err(ErrorKind::ConnectionReset));
    }

    #[test]
    fn pieces_arrive_late_and_in_order() {
        let Pair { proxies, mut dialled, mut accepted } = pair();
        let delay = BTreeMap::from([((0, 1), Duration::from_millis(80))]);
        proxies.expose(Weather { delay, ..Weather::default() });
        accepted.write_all(b"now").unwrap();
        assert_eq!(read(&mut dialled).as_deref(), Ok("now"));
        let sent = std::time::Instant::now();
        dialled.write_all(b"a").unwrap();
        dialled.write_all(b"b").unwrap();
        let mut both = [0; 2];
        accepted.read_exact(&mut both).unwrap();
        assert_eq!(&both, b"ab");
        assert!(sent.elapsed() >= Duration::from_millis(80));
    }

    #[test]
    fn a_torn_pair_has_its_connections_reset_and_new_ones_refused() {
        let (proxies, proxy_port, node) = proxies(Some(std::process::id()));
        let mut dialled = Plain::connect((Ipv4Addr::LOCALHOST, proxy_port)).unwrap();
        let (mut accepted, _) = node.accept().unwrap();
        dialled.write_all(b"hello").unwrap();
        assert_eq!(read(&mut accepted).as_deref(), Ok("hello"));
        proxies.expose(Weather { torn: links([(1, 0)]), ..Weather::default() });
        assert_eq!(read(&mut accepted), Err(ErrorKind::ConnectionReset));
        assert_eq!(read(&mut dialled), Err(ErrorKind::ConnectionReset));
        let mut again = Plain::connect((Ipv4Addr::LOCALHOST, proxy_port)).unwrap();
        assert_eq!(read(&mut again), Err(ErrorKind::ConnectionReset));
        proxies.expose(Weather::default());
        let mut dialled = Plain::connect((Ipv4Addr::LOCALHOST, proxy_port)).unwrap();
        dialled.write_all(b"hello").unwrap();
        // The one that was reset was accepted first.
        let heard = (0..2).map(|_| read(&mut node.accept().unwrap().0)).find(|read| read.is_ok());
        assert_eq!(heard.unwrap().as_deref(), Ok("hello"));
    }

    #[test]
    fn a_limit_is_kept_and_nothing_is_lost() {
        let Pair { proxies, mut dialled, mut accepted } = pair();
        proxies.expose(Weather { kilobytes: Some(100), ..Weather::default() });
        let sent = std::time::Instant::now();
        let text: Vec<u8> = (0..50_000_u32).map(|i| (i % 251) as u8).collect();
        dialled.write_all(&text).unwrap();
        let mut all = vec![0; text.len()];
        accepted.read_exact(&mut all).unwrap();
        assert_eq!(all, text);
        assert!(sent.elapsed() >= Duration::from_millis(450), "{:?}", sent.elapsed());
    }

    #[test]
    fn a_connection_of_a_stranger_is_refused_and_counted() {
        let (proxies, proxy_port, _node) = proxies(None);
        let mut stranger = Plain::connect((Ipv4Addr::LOCALHOST, proxy_port)).unwrap();
        assert_eq!(read(&mut stranger), Err(ErrorKind::ConnectionReset));
        assert_eq!(proxies.strangers(), 1);
    }
}
