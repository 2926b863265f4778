//! The body of an answer in pieces, each read when the client has room for it.

use std::convert::Infallible;
use std::io::{Cursor, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use crate::serve::Body;

/// Bytes of a piece.
const PIECE: u64 = 64 << 10;

/// The rest of a body.
pub(super) struct Pieces {
    rest: Box<dyn Read + Send>,
    /// Bytes left. A file that grows meanwhile is not sent further than this.
    left: u64,
    /// Set with every piece.
    moved: Arc<AtomicBool>,
}

impl Pieces {
    /// A whole body, which sets `moved` whenever a client has taken some of it.
    pub(super) fn of(body: Body, moved: Arc<AtomicBool>) -> Pieces {
        let (rest, left): (Box<dyn Read + Send>, u64) = match body {
            Body::Text(text) => {
                let bytes = text.len() as u64;
                (Box::new(Cursor::new(text)), bytes)
            }
            Body::File(file) => {
                let bytes = file.metadata().map_or(0, |about| about.len());
                (Box::new(file), bytes)
            }
        };
        Pieces { rest, left, moved }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    /// Reads on the thread of all connections: a piece of a local file is there at once.
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.moved.store(true, Relaxed);
        let mut piece = Vec::new();
        // A file that shrank or cannot be read ends early, which the client notices by its length.
        let read = this.rest.by_ref().take(PIECE.min(this.left)).read_to_end(&mut piece);
        if read.is_err() || piece.is_empty() {
            this.left = 0;
            return Poll::Ready(None);
        }
        this.left = this.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
