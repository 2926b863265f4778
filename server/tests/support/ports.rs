//! Ports for servers under test.
//!
//! A server binds its port a while after the test has chosen it, and once more after a restart.
//! So ports come from below the range from which kernels draw those of outgoing connections
//! (Linux: 32768 and above): a port that the kernel names as free can be taken by any connection
//! before the server listens. Test processes keep out of each other's way as the bench's runs do:
//! each holds the first port of a block of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// From where to where ports are taken.
const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;
/// Ports of a block; the first is the one that its process holds.
const BLOCK: u16 = 100;

struct Block {
    next: u16,
    end: u16,
    _held: TcpListener,
}

static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

/// A block that no other process holds.
fn reserve() -> Block {
    let count = (LAST - FIRST) / BLOCK;
    let hint = (std::process::id() % u32::from(count)) as u16;
    let firsts = (0..count).map(|i| FIRST + (hint + i) % count * BLOCK);
    let held = firsts.filter_map(|first| Some((first, listen(first)?)));
    let (first, held) = { held }.next().expect("a block of ports is free");
    Block { next: first + 1, end: first + BLOCK, _held: held }
}

/// A port that nothing listens at. No other call returns it, in this process or in another that
/// goes on at the same time.
pub fn free_port() -> u16 {
    let mut blocks = BLOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let last = blocks.last_mut().filter(|block| block.next < block.end);
        let Some(block) = last else {
            blocks.push(reserve());
            continue;
        };
        let port = block.next;
        block.next += 1;
        if listen(port).is_some() {
            return port;
        }
    }
}
