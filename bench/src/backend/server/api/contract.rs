//! The side of an API that the bench sees.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use async_trait::async_trait;
use serde_json::Value;

use super::refused::Refused;
use crate::backend::process::Children;
use crate::backend::server::spec::{Spec, Values};

/// One client's way to one server. All of them live in the thread of the world.
#[async_trait(?Send)]
pub(crate) trait Speaker {
    /// Carries out a request, and gives up at `until`. The answer lacks `in_reply_to`.
    async fn ask(&mut self, request: &Value, until: Instant) -> Result<Value, Refused>;
}

/// The surroundings of a speaker.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) workload: &'a str,
    /// Where the server listens to clients.
    pub(crate) address: SocketAddr,
    /// The values of placeholders.
    pub(crate) values: &'a Values,
    pub(crate) children: &'a Children,
    /// Where programs of the user's write their stderr.
    pub(crate) log: &'a Path,
}
