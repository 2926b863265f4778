//! Sockets that are registered with the loop.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use mio::event::Source as Pollable;
use mio::net::TcpStream;
use mio::{Interest, Token};

use super::sides::Sides;
use super::state::{Core, here};

/// A socket. It leaves the loop when it is dropped.
pub(crate) struct Source<T: Pollable> {
    io: T,
    place: usize,
    core: Rc<Core>,
}

impl<T: Pollable> Source<T> {
    /// Registers a socket with the loop that runs here.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub(crate) fn new(mut io: T) -> io::Result<Source<T>> {
        let core = here();
        let place = core.sources.borrow().vacant_key();
        let both = Interest::READABLE | Interest::WRITABLE;
        core.registry.register(&mut io, Token(place), both)?;
        core.sources.borrow_mut().insert(Sides::default());
        Ok(Source { io, place, core })
    }

    /// The socket itself.
    pub(crate) fn io(&self) -> &T {
        &self.io
    }

    fn side<R>(&self, look: impl FnOnce(&mut Sides) -> R) -> R {
        look(self.core.sources.borrow_mut().get_mut(self.place).expect("it is registered"))
    }

    /// Waits until there was an event for readers since the last wait.
    pub(crate) async fn readable(&self) {
        poll_fn(|context| self.side(|sides| sides.reading.poll(context))).await;
    }

    async fn writable(&self) {
        poll_fn(|context| self.side(|sides| sides.writing.poll(context))).await;
    }
}

impl Source<TcpStream> {
    /// Opens a connection.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Source<TcpStream>> {
        let source = Source::new(TcpStream::connect(address)?)?;
        loop {
            source.writable().await;
            if let Some(error) = source.io.take_error()? {
                return Err(error);
            }
            match source.io.peer_addr() {
                Ok(_) => return Ok(source),
                Err(error) if error.kind() == ErrorKind::NotConnected => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether an event came that no reader has seen.
    pub(crate) fn has_news(&self) -> bool {
        self.side(|sides| sides.reading.is_ready || sides.reading.is_ended)
    }

    /// Reads without waiting; `None` if there is nothing.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(crate) fn try_read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.io).read(into) {
            Ok(n) => {
                if n == into.len() {
                    // There may be more, of which no event tells.
                    self.side(|sides| sides.reading.is_ready = true);
                }
                Ok(Some(n))
            }
            Err(error) if is_passing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for bytes; 0 is the end of the stream.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(crate) async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, into)).await
    }

    /// The same, for a task that waits for other things, too.
    pub(crate) fn poll_read(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.side(|sides| sides.reading.poll(context)));
            if let Some(n) = self.try_read(into).transpose() {
                return Poll::Ready(n);
            }
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.io).write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if is_passing(&error) => self.writable().await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<T: Pollable> Drop for Source<T> {
    fn drop(&mut self) {
        // It is not registered only if the kernel has forgotten it.
        let _ = self.core.registry.deregister(&mut self.io);
        self.core.sources.borrow_mut().try_remove(self.place);
    }
}

/// Whether a call is to be made again after the next event.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
