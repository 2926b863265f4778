//! One direction of a connection through a proxy: bytes that pass, wait or are lost.

// Real time is the business of this module.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::vane::Vane;
use crate::backend::server::reactor::{Source, sleep_until};

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of one direction that wait in the proxy; beyond that they wait in the sender's kernel.
const HELD_BYTES: usize = 1 << 20;

/// How one direction of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
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
#[derive(Clone, Copy, Default)]
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

/// An event of one direction.
enum Next {
    /// The weather is another.
    Weather,
    /// Bytes, or the end of the stream.
    Read(io::Result<usize>),
    /// The first piece of the queue may arrive.
    Due,
}

/// One direction of a connection.
pub(super) struct Pump {
    link: (usize, usize),
    vane: Rc<Vane>,
    sky: Sky,
    /// How often the vane had turned when it was looked at for the sky, and when its next turn was
    /// first waited for.
    seen: Option<u64>,
    waits_for: Option<u64>,
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
    pub(super) fn new(link: (usize, usize), vane: Rc<Vane>) -> Pump {
        Pump {
            link,
            vane,
            sky: Sky::default(),
            seen: None,
            waits_for: None,
            queue: VecDeque::new(),
            held: 0,
            free_at: Instant::now(),
            ended: false,
            lost: false,
        }
    }

    /// Whether nothing is on its way, and nothing was lost.
    fn has_nothing(&self) -> bool {
        self.queue.is_empty() && !self.lost
    }

    /// The state of the direction now.
    fn sky(&mut self) -> Sky {
        let number = self.vane.number();
        if self.seen != Some(number) {
            let (now, (from, to)) = (self.vane.weather(), self.link);
            self.sky = Sky {
                is_cut: now.cut.contains(&(from, to)),
                is_stalled: now.stalled.contains(&(from, to)),
                is_torn: now.torn.contains(&(from, to)) || now.torn.contains(&(to, from)),
                delay: now.delay.get(&(from, to)).copied().unwrap_or_default(),
                kilobytes: now.kilobytes,
            };
            self.seen = Some(number);
        }
        self.sky
    }

    /// Carries the bytes of a direction until it ends.
    pub(super) async fn run(mut self, from: &Source<TcpStream>, to: &Source<TcpStream>) -> End {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let sky = self.sky();
            if sky.is_torn || self.lost && !sky.is_cut {
                return End::Torn;
            }
            match self.next(from, &mut buffer, sky).await {
                Next::Weather => {}
                Next::Read(Ok(n @ 1..)) if self.has_nothing() && sky.is_clear() => {
                    // A timer would take a millisecond, and a copy its time.
                    if to.write_all(&buffer[..n]).await.is_err() {
                        return End::Whole;
                    }
                }
                Next::Read(read) => self.note(read, &buffer),
                Next::Due => {
                    if let Some(end) = self.deliver(to, sky).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Waits for the first event under this sky.
    async fn next(&mut self, from: &Source<TcpStream>, buffer: &mut [u8], sky: Sky) -> Next {
        let takes = !self.ended && self.held < HELD_BYTES;
        let due = self.queue.front().map(|(at, _)| *at).filter(|_| !sky.is_stalled);
        let mut due = pin!(due.map(sleep_until));
        poll_fn(|context| {
            let number = self.vane.number();
            if self.seen != Some(number) {
                return Poll::Ready(Next::Weather);
            }
            if takes && let Poll::Ready(read) = from.poll_read(context, buffer) {
                return Poll::Ready(Next::Read(read));
            }
            if self.waits_for != Some(number) {
                self.waits_for = Some(number);
                self.vane.wait(context);
            }
            let due = due.as_mut().as_pin_mut();
            due.map_or(Poll::Pending, |due| due.poll(context)).map(|()| Next::Due)
        })
        .await
    }

    /// Notes what came, to be delivered when it is due.
    fn note(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        let piece = match read {
            Ok(0) => Piece::End,
            Ok(n) => Piece::Bytes(buffer[..n].to_vec()),
            Err(_) => Piece::Reset,
        };
        let Sky { delay, kilobytes, .. } = self.sky();
        let due = self.transmitted(&piece, kilobytes) + delay;
        self.take(due, piece);
    }

    /// Delivers the piece that is due; how the direction ended, if it did.
    async fn deliver(&mut self, to: &Source<TcpStream>, sky: Sky) -> Option<End> {
        let (_, piece) = self.queue.pop_front().expect("something is due");
        if sky.is_cut {
            self.lose();
            return None;
        }
        match piece {
            Piece::Reset => Some(End::Torn),
            Piece::End => {
                let _ = to.io().shutdown(Shutdown::Write);
                Some(End::Whole)
            }
            Piece::Bytes(bytes) => {
                self.held -= bytes.len();
                to.write_all(&bytes).await.is_err().then_some(End::Whole)
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
