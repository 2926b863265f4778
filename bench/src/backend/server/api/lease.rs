//! Leases over etcd's API, each with two keys.

use std::collections::BTreeSet;
use std::time::Instant;

use seaworthy::message::ErrorCode;
use serde_json::{Value, json};

use super::etcd::Etcd;
use super::json::{bytes, encode, field, number};
use super::refused::Refused;
use super::typed::{Bytes, Range};

/// The keys of all leases, and the end of their range.
const LEASED: (&str, &str) = ("leased/", "leased0");

/// Carries out a request about leases.
pub(super) async fn ask(
    etcd: &Etcd,
    f: &str,
    request: &Value,
    until: Instant,
) -> Result<Value, Refused> {
    match f {
        "grant" => grant(etcd, request, until).await,
        "renew" => renew(etcd, request, until).await,
        "revoke" => revoke(etcd, request, until).await,
        "read" => {
            let below = format!("{}{}/", LEASED.0, request["lease"]);
            let keys = keys(etcd, (&below, &end(&below)), until).await?.len();
            Ok(json!({"type": "read_ok", "keys": keys}))
        }
        "survivors" => survivors(etcd, until).await,
        f => Err(Refused::new(ErrorCode::NOT_SUPPORTED, format!("no request {f:?} of leases"))),
    }
}

/// The end of the range of keys with this prefix, whose last byte is a slash.
fn end(prefix: &str) -> String {
    format!("{}0", prefix.trim_end_matches('/'))
}

/// Grants a lease, and puts its keys at once.
async fn grant(etcd: &Etcd, request: &Value, until: Instant) -> Result<Value, Refused> {
    let (id, lease) = (id_of(request), &request["lease"]);
    let ttl = request["ttl"].to_string();
    let granted = etcd.call("lease/grant", &json!({"ID": id, "TTL": ttl}), until).await?;
    let put = |name: &str| {
        let key = format!("{}{lease}/{name}", LEASED.0);
        json!({"request_put": {"key": encode(key.as_bytes()), "value": "", "lease": id}})
    };
    etcd.call("kv/txn", &json!({"success": [put("a"), put("b")]}), until).await?;
    Ok(json!({"type": "grant_ok", "ttl": number(&granted, "TTL")?}))
}

/// Renews a lease: the seconds that it has now, 0 if there is none.
async fn renew(etcd: &Etcd, request: &Value, until: Instant) -> Result<Value, Refused> {
    let answer = etcd.call("lease/keepalive", &json!({"ID": id_of(request)}), until).await?;
    // The gateway wraps each message of a stream.
    let odd = || Refused::odd(format!("a renewal was answered {answer}"));
    let result = answer.get("result").ok_or_else(odd)?;
    Ok(json!({"type": "renew_ok", "ttl": number(result, "TTL")?}))
}

/// Revokes a lease: 0 if there was none.
async fn revoke(etcd: &Etcd, request: &Value, until: Instant) -> Result<Value, Refused> {
    let ttl = match etcd.call("lease/revoke", &json!({"ID": id_of(request)}), until).await {
        Ok(_) => 1,
        Err(refused) if refused.code == ErrorCode::KEY_DOES_NOT_EXIST => 0,
        Err(refused) => return Err(refused),
    };
    Ok(json!({"type": "revoke_ok", "ttl": ttl}))
}

/// The leases that have keys.
async fn survivors(etcd: &Etcd, until: Instant) -> Result<Value, Refused> {
    let keys = keys(etcd, LEASED, until).await?;
    let lease = |key: &String| key.strip_prefix(LEASED.0)?.split('/').next()?.parse().ok();
    let leases: BTreeSet<i64> = keys.iter().filter_map(lease).collect();
    Ok(json!({"type": "survivors_ok", "leases": leases}))
}

/// The keys of a range.
async fn keys(
    etcd: &Etcd,
    (from, end): (&str, &str),
    until: Instant,
) -> Result<Vec<String>, Refused> {
    let range_end = Some(Bytes(end.as_bytes()));
    let range = Range { range_end, keys_only: true, ..etcd.range(from) };
    let answer = etcd.call("kv/range", &range, until).await?;
    let kvs = field(&answer, "kvs").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |kv: &Value| Ok(String::from_utf8_lossy(&bytes(kv, "key")?).into_owned());
    kvs.iter().map(text).collect()
}

/// A lease's id: clients choose, so that a grant without an answer has one.
fn id_of(request: &Value) -> String {
    (1_000_000 + request["lease"].as_i64().unwrap_or_default()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_lease_ends_before_that_of_the_next() {
        assert_eq!(end("leased/1/"), "leased/10");
        assert!("leased/1/a" < end("leased/1/").as_str());
        assert!("leased/10/a" > end("leased/1/").as_str());
    }
}
