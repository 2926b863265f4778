//! Passwords, which are hashed and checked by one thread at a time; and the tokens given for them.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::Status;

use super::token::Tokens;

/// bcrypt looks at 72 bytes of a password, its end mark among them.
const MAX_PASSWORD_BYTES: usize = 71;

/// Tokens and passwords, at one server.
#[derive(Debug)]
pub struct Guard {
    pub(super) tokens: Tokens,
    /// The work that a hash takes: two to the power of it.
    cost: u32,
    /// How many hashes are computed at the same time: a flood of them must leave a core to others.
    hashing: Semaphore,
}

impl Guard {
    /// Tokens end after `lifetime` without use.
    pub fn new(lifetime: Duration, cost: u32) -> Guard {
        Guard { tokens: Tokens::new(lifetime), cost, hashing: Semaphore::new(1) }
    }

    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Result<T, Status> {
        let internal = |e: &dyn std::fmt::Display| Status::internal(format!("no hash: {e}"));
        let _turn = self.hashing.acquire().await.map_err(|e| internal(&e))?;
        let done = tokio::task::spawn_blocking(work).await.map_err(|e| internal(&e))?;
        done.map_err(|e| internal(&e))
    }

    pub(super) async fn hash(&self, password: String) -> Result<String, Status> {
        if password.len() > MAX_PASSWORD_BYTES {
            let why = format!("a password has at most {MAX_PASSWORD_BYTES} bytes");
            return Err(Status::invalid_argument(why));
        }
        let cost = self.cost;
        self.hashing(move || bcrypt::hash(password, cost)).await
    }

    /// Whether a password fits a hash. Without a hash the answer takes as long, and is no. Longer
    /// passwords were never hashed.
    pub(super) async fn fits(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, Status> {
        static NONE: OnceLock<String> = OnceLock::new();
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        let cost = self.cost;
        let work = move || {
            let none = || NONE.get_or_init(|| bcrypt::hash("", cost).unwrap_or_default()).clone();
            let is_known = hash.is_some();
            Ok(bcrypt::verify(password, &hash.unwrap_or_else(none))? && is_known)
        };
        self.hashing(work).await
    }
}
