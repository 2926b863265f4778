//! A build without the cargo feature `otlp`: there are no traces, and the flags say so.

use std::convert::Infallible;

use axum::http::{HeaderMap, Method};
use axum::response::Response;
use seaworthy::raft::RaftId;

use super::Settings;

/// Traces of requests. There is no value of this type.
#[derive(Debug)]
pub enum Traces {}

impl Traces {
    /// Never called: without the feature there are no settings.
    ///
    /// # Errors
    /// Always.
    pub fn start(_: &Settings, _: RaftId) -> anyhow::Result<Traces> {
        anyhow::bail!("this build sends no traces")
    }

    /// Begins to follow a request.
    pub fn begin(&self, _: &Method, _: &str, _: &HeaderMap) -> Option<Followed> {
        match *self {}
    }

    /// Prints the counters.
    pub fn print(&self, _: &mut String) {
        match *self {}
    }

    /// Sends the rest.
    pub async fn stop(&self) {
        match *self {}
    }
}

/// A request whose span is open. There is no value of this type.
#[derive(Debug)]
pub enum Followed {}

impl Followed {
    /// Serves the request, and tells how that went.
    ///
    /// # Errors
    /// None.
    pub async fn serve(
        self,
        _: impl Future<Output = Result<Response, Infallible>>,
    ) -> Result<Response, Infallible> {
        match self {}
    }
}
