//! The seam between the loop and the outside: arrivals, departures, and the end of a node.

use std::fmt;
use std::io;

use async_trait::async_trait;

use crate::message::{Malformed, Message, Packet};
use crate::storage::StorageError;

/// A transport hands over messages, and lines that failed to parse.
pub type Arrival = Result<Message, Malformed>;

/// How messages reach a node and leave it.
#[async_trait]
pub trait Transport: Send {
    /// Waits for input, then appends everything that is ready to `inbox`, up to a bound
    /// of the transport's own, and returns how many arrivals that was. Zero means that
    /// the input has ended.
    ///
    /// Nothing may be lost if the future is dropped before it is done.
    ///
    /// # Errors
    /// If the input cannot be read.
    async fn receive(&mut self, inbox: &mut Vec<Arrival>) -> io::Result<usize>;

    /// Sends everything in `outbox` and leaves it empty. Done once the messages
    /// are handed to the operating system: that this waits is the back-pressure.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] if the other side has closed, which ends the node
    /// without an error; any other error is the node's own.
    async fn send(&mut self, outbox: &mut Vec<Packet>) -> io::Result<()>;
}

/// Why a node had to stop.
#[derive(Debug)]
pub enum DriverError {
    /// Storage could not be opened, or failed. Messages that waited for it were not sent.
    Storage(StorageError),
    /// Messages cannot be read or written.
    Transport(io::Error),
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverError::Storage(e) => write!(f, "storage: {e}"),
            DriverError::Transport(e) => write!(f, "messages cannot be read or written: {e}"),
        }
    }
}

impl std::error::Error for DriverError {}

impl From<StorageError> for DriverError {
    fn from(e: StorageError) -> DriverError {
        DriverError::Storage(e)
    }
}
