//! Ports of a run's own.
//!
//! A node that is started again needs its port again, so ports come from below the range from
//! which kernels draw those of outgoing connections (Linux: 32768 and above). Runs that go on at
//! the same time keep out of each other's way: each holds the first port of its block.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// From where to where ports are taken.
const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;
/// Ports of a block; the first is the one that its run holds.
const BLOCK: u16 = 100;

/// Ports that no other run takes while this value lives.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    next: u16,
    _held: TcpListener,
}

impl Ports {
    /// A block of ports. The search begins at a block that depends on `hint`.
    ///
    /// # Errors
    /// If no block is free.
    pub(super) fn reserve(hint: u64) -> io::Result<Ports> {
        let blocks = u64::from((LAST - FIRST) / BLOCK);
        for offset in 0..blocks {
            let index = (hint.wrapping_add(offset) % blocks) as u16;
            let first = FIRST + index * BLOCK;
            if let Ok(held) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) {
                return Ok(Ports { first, next: first + 1, _held: held });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "all ports from 10000 to 32000 are taken"))
    }

    /// The port that stands for the block.
    pub(super) fn first(&self) -> u16 {
        self.first
    }

    /// A port of the block that is free now.
    ///
    /// # Errors
    /// If the block is used up.
    pub(super) fn take(&mut self) -> io::Result<u16> {
        while self.next < self.first + BLOCK {
            let port = self.next;
            self.next += 1;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "a run has 99 ports: too many nodes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_share_no_port_and_a_taken_one_is_passed_over() {
        let mut a = Ports::reserve(7).unwrap();
        let mut b = Ports::reserve(7).unwrap();
        assert_ne!(a.first(), b.first());
        let taken = a.take().unwrap();
        assert_ne!(taken, b.take().unwrap());
        let _stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, taken + 1));
        assert!(a.take().unwrap() > taken + 1);
        assert!((0..BLOCK).any(|_| a.take().is_err()), "a block has an end");
    }
}
