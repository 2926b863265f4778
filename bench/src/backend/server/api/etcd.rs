//! A client of etcd's v3 API over its JSON gateway: the calls that all workloads make.
//!
//! Source: etcd's `rpc.proto` and its gRPC gateway.

use std::time::Instant;

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::http::Http;
use super::json::{bytes, text};
use super::refused::{Refused, of_grpc};
use super::transaction::Seen;
use super::typed::{Bytes, Compare, Found, Put, Range, Request, Txn, Written};

/// A client of one server.
pub(super) struct Etcd {
    pub(super) http: Http,
    is_serializable: bool,
}

impl Etcd {
    pub(super) fn new(http: Http, is_serializable: bool) -> Etcd {
        Etcd { http, is_serializable }
    }

    /// Calls a method, such as `kv/range`.
    pub(super) async fn call(
        &self,
        method: &str,
        request: &impl Serialize,
        until: Instant,
    ) -> Result<Value, Refused> {
        self.exchange(method, request, until).await
    }

    /// The same, with an answer of a type of its own.
    pub(super) async fn exchange<T: DeserializeOwned>(
        &self,
        method: &str,
        request: &impl Serialize,
        until: Instant,
    ) -> Result<T, Refused> {
        let headers = [("content-type", "application/json")];
        let body = serde_json::to_vec(request).expect("requests are plain data");
        let path = format!("/v3/{method}");
        // In a box of its own, since the allocator keeps no pieces at hand that hold all of a request.
        let answer = Box::pin(self.http.send(Method::POST, &path, &headers, body, until)).await?;
        let text = || String::from_utf8_lossy(&answer.body);
        let odd = |_| Refused::odd(format!("status {}: {}", answer.status, text()));
        if answer.status < 300 {
            return serde_json::from_slice(&answer.body).map_err(odd);
        }
        let json: Value = serde_json::from_slice(&answer.body).map_err(odd)?;
        let code = json.get("code").and_then(Value::as_u64).and_then(|c| u32::try_from(c).ok());
        let said = ["message", "error"].iter().find_map(|name| json.get(name)?.as_str());
        Err(match (code, said) {
            (Some(code), Some(message)) => of_grpc(code, message),
            _ => Refused::odd(format!("status {}: {}", answer.status, text())),
        })
    }

    pub(super) fn range<'a>(&self, key: &'a str) -> Range<'a> {
        let (key, serializable) = (Bytes(key.as_bytes()), self.is_serializable);
        Range { key, range_end: None, keys_only: false, serializable }
    }

    /// Reads a key.
    pub(super) async fn get(&self, key: &str, until: Instant) -> Result<Seen, Refused> {
        self.exchange::<Found>("kv/range", &self.range(key), until).await?.seen()
    }

    pub(super) async fn put(
        &self,
        key: &str,
        value: &str,
        until: Instant,
    ) -> Result<Written, Refused> {
        self.exchange("kv/put", &Put::new(key, value), until).await
    }

    /// Puts if all compares hold; says whether they did.
    pub(super) async fn put_if(
        &self,
        compare: &[Compare<'_>],
        puts: &[(String, String)],
        until: Instant,
    ) -> Result<bool, Refused> {
        let txn = Txn { compare, success: puts.iter().map(Request::put).collect() };
        Ok(self.exchange::<Written>("kv/txn", &txn, until).await?.succeeded == Some(true))
    }
}

pub(super) fn text_of(kv: &Value) -> Result<String, Refused> {
    text(bytes(kv, "value")?)
}

/// The JSON that a key holds; null without one.
pub(super) fn value_of(text: Option<String>) -> Result<Value, Refused> {
    let Some(text) = text else { return Ok(Value::Null) };
    serde_json::from_str(&text).map_err(|_| Refused::odd(format!("no client wrote {text:?}")))
}
