//! Responses on their way from a session to the connection of its client: one at a time, and many events when they
//! are asked for.
//!
//! A connection asks for the next response when it has a place for its bytes. A response of small events takes
//! several times its bytes, so none is made before.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use crate::proto::etcdserverpb as pb;

/// A response, or the reason why it is the last one. In a box: a channel has memory for 32 at least, however few may
/// be in it.
type Told = Box<Result<pb::WatchResponse, Status>>;

/// The client is gone.
#[derive(Debug)]
pub struct Gone;

/// The end of a session.
#[derive(Clone, Debug)]
pub struct Sender {
    responses: mpsc::Sender<Told>,
    asked: Arc<Notify>,
}

/// The end of a connection.
#[derive(Debug)]
pub struct Responses {
    responses: mpsc::Receiver<Told>,
    asked: Arc<Notify>,
}

/// A way for responses, and both of its ends.
pub fn channel() -> (Sender, Responses) {
    let (sender, responses) = mpsc::channel(1);
    let asked = Arc::<Notify>::default();
    (Sender { responses: sender, asked: asked.clone() }, Responses { responses, asked })
}

impl Sender {
    /// Sends a response, once there is a place for it.
    ///
    /// # Errors
    /// If the client is gone.
    pub async fn send(&self, told: Result<pb::WatchResponse, Status>) -> Result<(), Gone> {
        self.responses.send(Box::new(told)).await.map_err(|_| Gone)
    }

    /// Waits until nothing is on its way to the connection. The answer is the place of the next response.
    ///
    /// # Errors
    /// If the client is gone.
    pub(super) async fn place(&self) -> Result<mpsc::Permit<'_, Told>, Gone> {
        self.responses.reserve().await.map_err(|_| Gone)
    }

    /// The same, and until the connection waits for it.
    ///
    /// # Errors
    /// If the client is gone.
    pub(super) async fn asked(&self) -> Result<mpsc::Permit<'_, Told>, Gone> {
        // Guard: the place comes first. A connection that asked before the last response has its answer.
        let place = self.place().await?;
        self.asked.notified().await;
        Ok(place)
    }

    /// Waits until the client is gone.
    pub(super) async fn closed(&self) {
        self.responses.closed().await;
    }
}

impl Stream for Responses {
    type Item = Result<pb::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let told = self.responses.poll_recv(cx);
        if told.is_pending() {
            self.asked.notify_one();
        }
        told.map(|told| told.map(|told| *told))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    #[test]
    fn events_are_made_when_the_connection_waits_and_nothing_is_on_its_way() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (sender, mut responses) = channel();
        assert!(pin!(sender.send(Ok(pb::WatchResponse::default()))).poll(cx).is_ready());
        let mut asked = pin!(sender.asked());
        assert!(asked.as_mut().poll(cx).is_pending(), "there is no place");
        assert!(Pin::new(&mut responses).poll_next(cx).is_ready());
        assert!(asked.as_mut().poll(cx).is_pending(), "the connection does not wait");
        assert!(Pin::new(&mut responses).poll_next(cx).is_pending());
        let Poll::Ready(Ok(place)) = asked.as_mut().poll(cx) else { panic!("it waits") };
        place.send(Box::new(Ok(pb::WatchResponse::default())));
        assert!(Pin::new(&mut responses).poll_next(cx).is_ready());
        assert!(pin!(sender.asked()).poll(cx).is_pending(), "it was asked for one");
        drop(responses);
        assert!(matches!(pin!(sender.asked()).poll(cx), Poll::Ready(Err(Gone))));
    }
}
