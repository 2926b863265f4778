//! A lock over etcd's API, as its own clients make one: a key that belongs to a lease.
//!
//! The create revision of the key is the fencing token: it rises with each holder. A client that
//! changes the list under the lock grants a lease, waits for the key, reads, holds the lock for a
//! while, writes and revokes the lease. Nothing before the write changes the list, so that every
//! failure until then is definite.

// Holding and waiting take real time.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use seaworthy::message::ErrorCode;
use serde_json::{Value, json};

use super::etcd::{Etcd, value_of};
use super::json::{encode, number};
use super::refused::Refused;
use super::typed::{Compare, State, Written};
use crate::backend::server::reactor::sleep;

/// The time of a holder's lease in seconds; etcd grants no shorter one by default.
const TTL_S: i64 = 2;
/// How long a client waits for the lock: its own lease must have time left.
const WAIT: Duration = Duration::from_secs(1);
/// Between two attempts at it.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a client takes to give a lease up. It expires anyway.
const FAREWELL: Duration = Duration::from_millis(300);

/// Whether a write names the lock that it relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fencing {
    Token,
    Nothing,
}

/// Adds an element to the list under a lock.
pub(super) async fn add(
    etcd: &Etcd,
    fencing: Fencing,
    request: &Value,
    until: Instant,
) -> Result<Value, Refused> {
    let grant = etcd.call("lease/grant", &json!({"TTL": TTL_S.to_string()}), until).await;
    let lease = number(&grant.map_err(Refused::before_any_change)?, "ID")?;
    let added = add_with(etcd, fencing, lease, request, until).await;
    let revoke = json!({"ID": lease.to_string()});
    // A lease that is not revoked expires.
    let _ = etcd.call("lease/revoke", &revoke, until.min(Instant::now() + FAREWELL)).await;
    added
}

async fn add_with(
    etcd: &Etcd,
    fencing: Fencing,
    lease: i64,
    request: &Value,
    until: Instant,
) -> Result<Value, Refused> {
    let (lock, list) = keys(request);
    let token = acquire(etcd, &lock, lease, until).await.map_err(Refused::before_any_change)?;
    let found = etcd.get(&list, until).await.map_err(Refused::before_any_change)?;
    let before = value_of(found.text)?;
    let hold = Duration::from_millis(request["hold_ms"].as_u64().unwrap_or_default());
    sleep(hold.min(until.saturating_duration_since(Instant::now()))).await;
    let mut after = before.as_array().cloned().unwrap_or_default();
    after.push(request["element"].clone());
    let after = Value::from(after).to_string();
    match fencing {
        Fencing::Nothing => {
            etcd.put(&list, &after, until).await?;
        }
        Fencing::Token => {
            let holds = Compare { key: &lock, with: State::Create(token) };
            if !etcd.put_if(&[holds], &[(list, after)], until).await? {
                let text = format!("the lock with token {token} is lost");
                return Err(Refused::new(ErrorCode::PRECONDITION_FAILED, text));
            }
        }
    }
    Ok(json!({"type": "add_ok", "token": token, "before": before}))
}

/// The list under a lock.
pub(super) async fn read(etcd: &Etcd, request: &Value, until: Instant) -> Result<Value, Refused> {
    let (_, list) = keys(request);
    Ok(json!({"type": "read_ok", "value": value_of(etcd.get(&list, until).await?.text)?}))
}

/// The keys of a lock and of its list.
fn keys(request: &Value) -> (String, String) {
    let lock = &request["lock"];
    (format!("lock/{lock}"), format!("list/{lock}"))
}

/// Waits until the key of the lock is the client's own, and returns its token.
async fn acquire(etcd: &Etcd, lock: &str, lease: i64, until: Instant) -> Result<i64, Refused> {
    let free = Compare { key: lock, with: State::Create(0) };
    let put = json!({"request_put": {
        "key": encode(lock.as_bytes()), "value": "", "lease": lease.to_string()}});
    let take = json!({"compare": [free], "success": [put]});
    let patience = until.min(Instant::now() + WAIT);
    loop {
        let answer: Written = etcd.exchange("kv/txn", &take, until).await?;
        if answer.succeeded == Some(true) {
            return answer.revision();
        }
        if Instant::now() >= patience {
            let text = "another client holds the lock";
            return Err(Refused::new(ErrorCode::TEMPORARILY_UNAVAILABLE, text));
        }
        sleep(PAUSE).await;
    }
}
