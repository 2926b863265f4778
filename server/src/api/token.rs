//! Tokens, by which a client that has given its password is known.
//!
//! ```text
//! base64url of the payload | "." | base64url of HMAC-SHA-256(secret, payload)
//! payload   user, the revision of its password, when it was issued, a random number; in postcard
//! ```
//!
//! The secret is part of the replicated state, so every server can judge every token, also after a
//! restart. A token ends some time after it was issued, or after it was last used at the
//! server that is asked; and with the password that it was given for.

// When a token ends is told by the clocks of the servers.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::kv::auth::Auth;

/// How many uses are remembered before old ones are looked for.
const MANY: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Payload {
    user: String,
    since: u64,
    issued_seconds: u64,
    nonce: u64,
}

/// Tokens, as one server judges them.
#[derive(Debug)]
pub(super) struct Tokens {
    lifetime: Duration,
    /// When a token was last used here, by its signature.
    used: Mutex<BTreeMap<Vec<u8>, Instant>>,
}

impl Tokens {
    /// Tokens that end after that time without use.
    pub(super) fn new(lifetime: Duration) -> Tokens {
        Tokens { lifetime, used: Mutex::default() }
    }

    /// Makes a token for a user whose password was checked. `None` if there is no such user.
    pub(super) fn issue(&self, auth: &Auth, user: &str, nonce: u64) -> Option<String> {
        let payload = Payload {
            user: user.to_owned(),
            since: auth.user(user)?.since,
            issued_seconds: now_seconds(),
            nonce,
        };
        let payload = postcard::to_allocvec(&payload).ok()?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, auth.secret());
        let signature = hmac::sign(&key, &payload);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Some(format!("{}.{}", encode(&payload), encode(signature.as_ref())))
    }

    /// The user of a token, if it is one and has not ended.
    pub(super) fn user(&self, auth: &Auth, token: &str) -> Option<String> {
        let (payload, signature) = token.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, auth.secret());
        // Guard: nothing of a token is looked at before its signature is right.
        hmac::verify(&key, &payload, &signature).ok()?;
        let Payload { user, since, issued_seconds, .. } = postcard::from_bytes(&payload).ok()?;
        if auth.user(&user)?.since != since {
            return None;
        }
        let age = Duration::from_secs(now_seconds().saturating_sub(issued_seconds));
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = used.get(&signature).is_some_and(|at| at.elapsed() < self.lifetime);
        if !is_recent && age >= self.lifetime {
            used.remove(&signature);
            return None;
        }
        if used.len() >= MANY && !used.contains_key(&signature) {
            used.retain(|_, at| at.elapsed() < self.lifetime);
        }
        used.insert(signature, Instant::now());
        Some(user)
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kv::auth::Change;
    use crate::proto::etcdserverpb as pb;

    #[test]
    fn a_token_is_good_until_it_is_old_or_its_password_is() {
        let mut auth = Auth::default();
        let hashed_password = "hash".to_owned();
        let add = |name: &str| {
            let (name, hashed_password) = (name.to_owned(), hashed_password.clone());
            Change::UserAdd(pb::AuthUserAddRequest { name, hashed_password, ..Default::default() })
        };
        auth.apply(&add("root")).unwrap();
        let (user, role) = ("root".to_owned(), "root".to_owned());
        auth.apply(&Change::GrantRole(pb::AuthUserGrantRoleRequest { user, role })).unwrap();
        auth.apply(&Change::Enable(vec![9; 32])).unwrap();
        let tokens = Tokens::new(Duration::from_secs(300));
        let token = tokens.issue(&auth, "root", 1).unwrap();
        assert_eq!(tokens.user(&auth, &token).as_deref(), Some("root"));
        assert_eq!(tokens.issue(&auth, "none", 1), None);
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'Q' } else { b'A' };
            assert_eq!(tokens.user(&auth, &String::from_utf8(other).unwrap()), None, "{at}");
        }
        assert_eq!(Tokens::new(Duration::ZERO).user(&auth, &token), None);
        let name = "root".to_owned();
        let change =
            pb::AuthUserChangePasswordRequest { name, hashed_password, ..Default::default() };
        auth.apply(&Change::ChangePassword(change)).unwrap();
        assert_eq!(tokens.user(&auth, &token), None);
        let token = tokens.issue(&auth, "root", 2).unwrap();
        auth.apply(&Change::Disable).unwrap();
        auth.apply(&Change::Enable(vec![8; 32])).unwrap();
        assert_eq!(tokens.user(&auth, &token), None, "the secret is another");
    }
}
