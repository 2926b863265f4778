//! Streams of clients that insist on a leader.

// How long there was none is told by the clock.
#![allow(clippy::disallowed_methods)]

use std::future::pending;

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::App;

impl App {
    /// Whether a client would rather be told that there is no leader than wait.
    pub(super) fn needs_leader(&self, metadata: &MetadataMap) -> bool {
        metadata.get("hasleader").is_some_and(|value| value == "true")
    }

    /// Ends when this server has known no leader for as long as its patience lasts; at once if
    /// it knows none now. Never, if no leader is needed.
    pub(super) async fn leader_lost(&self, is_needed: bool) -> Status {
        if !is_needed {
            return pending().await;
        }
        let mut led = self.node.watches.led();
        let mut is_led = led.borrow_and_update().leader.is_some();
        while is_led {
            let lost = led.wait_for(|led| led.leader.is_none()).await.map(|_| ());
            let back = led.wait_for(|led| led.leader.is_some());
            let is_back = tokio::time::timeout(self.leader_patience, back).await.is_ok();
            is_led = lost.is_ok() && is_back;
        }
        Status::unavailable("etcdserver: no leader")
    }
}
