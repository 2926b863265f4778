//! The first question of a server that was added to a cluster: who is it there, and who are the others?
//!
//! It asks at the peers' port, as it knows no other address of them, and no id yet. The answer
//! tells nothing that clients could not read.

// Waiting for an answer is a shell's business.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::welcome::{Introduction, NEWCOMER, Welcome};
use super::{dial, frame};
use crate::node::{Class, Hello, Lineage, Member};
use crate::tls::Tls;

const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the member that is reached at `url` about its cluster.
///
/// # Errors
/// If it does not answer, or not with an introduction.
pub async fn ask(tls: Option<&Tls>, url: &str) -> io::Result<Introduction> {
    let (member, lineage) = (Member::default(), Lineage::default());
    let hello = Hello { founding: 0, cluster: 0, from: NEWCOMER, to: NEWCOMER, member, lineage };
    let greeted = timeout(PATIENCE, dial::greet(tls, url, &hello, Class::Control)).await;
    match greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?.1 {
        Welcome::Introduced(introduction) => Ok(introduction),
        Welcome::Yes(_) => Err(frame::damaged("it answers another question")),
        Welcome::No(_, refusal) => Err(io::Error::other(refusal.why)),
    }
}
