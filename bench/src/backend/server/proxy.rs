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

// Real sockets and threads are the business of this module.
#![allow(clippy::disallowed_methods)]

mod pump;
mod vane;

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::sync::{oneshot, watch};

use super::owner::Groups;
use super::reactor::{Reactor, Source, sleep, spawn};
use crate::backend::Weather;
use pump::{End, Pump};
use vane::Vane;

/// How long the loop waits for events before it looks again whether it is over.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let mut listeners = Vec::new();
        for route in routes {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, route.proxy_port));
            listeners.push((TcpListener::bind(address)?, route.peer_port));
        }
        let doors = Doors { groups: groups.clone(), seen, strangers: strangers.clone() };
        let (opened, result) = std::sync::mpsc::channel();
        thread::spawn(move || match Reactor::new() {
            Ok(reactor) => {
                // Only a caller that is gone does not hear it.
                let _ = opened.send(Ok(()));
                doors.serve(&reactor, listeners);
            }
            Err(e) => drop(opened.send(Err(e))),
        });
        result.recv().unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()))?;
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

/// The proxies of all nodes.
struct Doors {
    groups: Groups,
    seen: watch::Receiver<Weather>,
    strangers: Arc<AtomicU64>,
}

impl Doors {
    /// Serves until the sender of the weather is dropped; all connections end with it.
    fn serve(self, reactor: &Reactor, listeners: Vec<(TcpListener, u16)>) {
        let Doors { groups, mut seen, strangers } = self;
        let vane: Rc<Vane> = Rc::default();
        vane.turn(seen.borrow_and_update().clone());
        for (node, (listener, peer_port)) in listeners.into_iter().enumerate() {
            let (groups, vane) = (groups.clone(), vane.clone());
            let door = Door { node, peer_port, groups, vane, strangers: strangers.clone() };
            reactor.spawn(door.serve(listener));
        }
        let is_over = Rc::new(Cell::new(false));
        let over = is_over.clone();
        reactor.spawn(async move {
            while seen.changed().await.is_ok() {
                vane.turn(seen.borrow_and_update().clone());
            }
            over.set(true);
        });
        while !is_over.get() {
            reactor.run(PATIENCE, || is_over.get());
        }
    }
}

/// The proxy of one node.
#[derive(Clone)]
struct Door {
    node: usize,
    peer_port: u16,
    groups: Groups,
    vane: Rc<Vane>,
    strangers: Arc<AtomicU64>,
}

impl Door {
    async fn serve(self, listener: TcpListener) {
        let Ok(listener) = Source::new(listener) else { return };
        loop {
            match listener.io().accept() {
                Ok((dialled, peer)) => spawn(self.clone().connect(dialled, peer)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => listener.readable().await,
                // It is the dialler's, who is gone, or passes (no file descriptor).
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Connects a peer with the node, if it is a peer, and the node is there.
    async fn connect(self, dialled: TcpStream, peer: SocketAddr) {
        let Ok(own) = dialled.local_addr() else { return };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.peer_port));
        let Ok(node) = Source::<TcpStream>::connect(address).await else {
            return reset(&dialled);
        };
        // It reads files of the kernel, and the other connections go on meanwhile.
        let (groups, (tell, told)) = (self.groups.clone(), oneshot::channel());
        thread::spawn(move || tell.send(groups.owner(peer, own)));
        let Ok(Some(from)) = told.await else {
            self.strangers.fetch_add(1, Ordering::Relaxed);
            return reset(&dialled);
        };
        let Ok(dialled) = Source::new(dialled) else { return };
        for stream in [&dialled, &node] {
            // Nagle's algorithm is the peers' choice, and they have made it.
            let _ = stream.io().set_nodelay(true);
        }
        let there = Pump::new((from, self.node), self.vane.clone());
        let back = Pump::new((self.node, from), self.vane);
        let mut there = pin!(there.run(&dialled, &node));
        let mut back = pin!(back.run(&node, &dialled));
        // A stream that ends orderly in one direction may go on in the other.
        let end = tokio::select! {
            end = &mut there => if end == End::Whole { back.await } else { end },
            end = &mut back => if end == End::Whole { there.await } else { end },
        };
        if end == End::Torn {
            reset(dialled.io());
            reset(node.io());
        }
    }
}

/// Lets a stream end with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // If it fails, the stream ends in order, which is as good to all but a few.
    let _ = setsockopt(stream, sockopt::Linger, &linger);
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener as StdListener, TcpStream as Plain};

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
