//! Plain HTTP: a register is the body of a resource, and its `ETag` changes when it does.
//!
//! `GET` reads (404: nothing is there), `PUT` writes, and a `PUT` with `If-Match` writes only if
//! nothing came in between (412: something did), which makes a compare-and-set of a `GET` and a
//! `PUT`. A store whose answers have no `ETag` can be read and written; a cas is refused.
//!
//! Source: RFC 9110, sections 8.8.3, 13.1.1 and 15.

use std::time::Instant;

use async_trait::async_trait;
use hyper::Method;
use seaworthy::message::ErrorCode;
use serde_json::{Value, json};

use super::contract::Speaker;
use super::http::{Answer, Http};
use super::refused::Refused;
use crate::backend::server::spec::Texts;
use crate::backend::shorten;

/// The workloads; see the module.
pub(super) const WORKLOADS: [&str; 1] = ["lin-kv"];

/// A client of one server.
pub(super) struct Rest {
    http: Http,
    path: String,
    texts: Texts,
}

/// The first values where texts are odd: nothing, blanks, more than a buffer of 64 KiB, no UTF-8,
/// no JSON.
const ODD: [&[u8]; 5] =
    [b"", b"two words\tand a tab", &[b'x'; 70_000], b"\xff\xfe\xfd", b"{\"no\": JSON"];

/// A value as bytes.
fn written(value: &Value, texts: Texts) -> Vec<u8> {
    let odd = value.as_u64().and_then(|place| ODD.get(usize::try_from(place).ok()?));
    match odd.filter(|_| texts == Texts::Odd) {
        Some(bytes) => bytes.to_vec(),
        None => value.to_string().into_bytes(),
    }
}

/// The value of bytes.
fn read(bytes: &[u8], texts: Texts) -> Result<Value, Refused> {
    let odd = ODD.iter().position(|known| *known == bytes);
    if let Some(place) = odd.filter(|_| texts == Texts::Odd) {
        return Ok(json!(place));
    }
    serde_json::from_slice(bytes).map_err(|_| {
        let text = String::from_utf8_lossy(bytes);
        Refused::odd(format!("no client wrote {:?}", shorten(&text, 80)))
    })
}

/// The value of a resource, and its entity tag.
struct Found {
    value: Value,
    tag: Option<String>,
}

impl Rest {
    pub(super) fn new(http: Http, path: String, texts: Texts) -> Rest {
        Rest { http, path, texts }
    }

    fn path_of(&self, key: &Value) -> String {
        // A blank and a tab, as a path escapes them.
        let between = if self.texts == Texts::Odd { "%20%09" } else { "-" };
        self.path.replace("{key}", &format!("register{between}{key}"))
    }

    async fn get(&self, key: &Value, until: Instant) -> Result<Found, Refused> {
        let path = self.path_of(key);
        let answer = self.http.send(Method::GET, &path, &[], Vec::new(), until).await?;
        match answer.status {
            200 => {
                let value = read(&answer.body, self.texts)?;
                Ok(Found { value, tag: answer.etag })
            }
            404 => Ok(Found { value: Value::Null, tag: None }),
            _ => Err(refusal(&answer)),
        }
    }

    async fn put(
        &self,
        key: &Value,
        value: &Value,
        tag: Option<&str>,
        until: Instant,
    ) -> Result<(), Refused> {
        let headers: Vec<(&str, &str)> = tag.map(|tag| ("if-match", tag)).into_iter().collect();
        let body = written(value, self.texts);
        let path = self.path_of(key);
        let answer = self.http.send(Method::PUT, &path, &headers, body, until).await?;
        if answer.status < 300 { Ok(()) } else { Err(refusal(&answer)) }
    }

    async fn compare_and_set(&self, request: &Value, until: Instant) -> Result<(), Refused> {
        let found = self.get(&request["key"], until).await.map_err(Refused::before_any_change)?;
        if found.value != request["from"] {
            let text = "another value is there";
            return Err(Refused::new(ErrorCode::PRECONDITION_FAILED, text));
        }
        let Some(tag) = found.tag else {
            let text = "an answer without an ETag: nothing can be compared";
            return Err(Refused::new(ErrorCode::NOT_SUPPORTED, text));
        };
        self.put(&request["key"], &request["to"], Some(&tag), until).await
    }
}

#[async_trait(?Send)]
impl Speaker for Rest {
    async fn ask(&mut self, request: &Value, until: Instant) -> Result<Value, Refused> {
        match request["type"].as_str().unwrap_or_default() {
            "read" => {
                let found = self.get(&request["key"], until).await?;
                Ok(json!({"type": "read_ok", "value": found.value}))
            }
            "write" => {
                self.put(&request["key"], &request["value"], None, until).await?;
                Ok(json!({"type": "write_ok"}))
            }
            "cas" => {
                self.compare_and_set(request, until).await?;
                Ok(json!({"type": "cas_ok"}))
            }
            f => Err(Refused::new(ErrorCode::NOT_SUPPORTED, format!("no request {f:?} in REST"))),
        }
    }
}

/// The meaning of a status other than success. A refusal by the request's content is definite; that
/// a server is busy or failed is not, since it may have said so after it began.
fn refusal(answer: &Answer) -> Refused {
    let code = match answer.status {
        412 => ErrorCode::PRECONDITION_FAILED,
        400 | 401 | 403 | 404 | 405 | 411 | 413 | 414 | 415 | 422 | 428 => ErrorCode::ABORT,
        429 => ErrorCode::TEMPORARILY_UNAVAILABLE,
        501 => ErrorCode::NOT_SUPPORTED,
        _ => ErrorCode::CRASH,
    };
    let text = String::from_utf8_lossy(&answer.body);
    Refused::new(code, format!("status {}: {}", answer.status, text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_texts_are_read_as_they_were_written() {
        for value in (0..8).map(|value| json!(value)) {
            for texts in [Texts::Odd, Texts::Plain] {
                assert_eq!(read(&written(&value, texts), texts), Ok(value.clone()));
            }
        }
        assert!(read(b"", Texts::Plain).is_err() && read(b"oops", Texts::Odd).is_err());
    }

    #[test]
    fn a_server_that_failed_promises_nothing() {
        let of = |status| refusal(&Answer { status, etag: None, body: Vec::new() }).code;
        for status in [500, 502, 503, 504, 302, 408, 409] {
            assert!(!of(status).is_definite(), "{status}");
        }
        for status in [400, 404, 412, 429, 501] {
            assert!(of(status).is_definite(), "{status}");
        }
    }
}
