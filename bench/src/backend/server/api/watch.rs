//! A watch over etcd's JSON gateway: a POST whose answer does not end.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use super::http::Http;
use super::json::{bytes, encode, field, number};
use super::refused::{Refused, of_grpc};

/// How long a watch takes events.
const MOMENT: Duration = Duration::from_millis(400);

/// The events of keys with this prefix (whose range ends at `end`) from a revision on, as far as
/// they come within a moment: `[revision, key, value]`.
// The end of a request is on the real clock.
#[allow(clippy::disallowed_methods)]
pub(super) async fn watch(
    http: &Http,
    (prefix, end): (&str, &str),
    from: i64,
    until: Instant,
) -> Result<Vec<Value>, Refused> {
    let create = json!({"create_request": {
        "key": encode(prefix.as_bytes()), "range_end": encode(end.as_bytes()),
        "start_revision": from.to_string()}});
    let until = until.min(Instant::now() + MOMENT);
    let headers = [("content-type", "application/json")];
    let body = create.to_string().into_bytes();
    let mut answer = http.open(Method::POST, "/v3/watch", &headers, body, until).await?;
    let status = answer.status();
    if status >= 300 {
        return Err(Refused::odd(format!("a watch was answered with status {status}")));
    }
    let mut events = Vec::new();
    let mut text = Vec::new();
    // The end of the moment ends it, and so does the end of the server; a line that was cut by
    // either has no end, and does not count.
    while let Some(piece) = answer.piece(until).await {
        text.extend_from_slice(&piece);
        while let Some(end) = memchr::memchr(b'\n', &text) {
            events.extend(read(&text[..end], prefix)?);
            text.drain(..=end);
        }
    }
    Ok(events)
}

/// The events of a line.
fn read(line: &[u8], prefix: &str) -> Result<Vec<Value>, Refused> {
    let text = String::from_utf8_lossy(line);
    let odd = || Refused::odd(format!("a watch said {text}"));
    let answer: Value = serde_json::from_slice(line).map_err(|_| odd())?;
    if let Some(error) = answer.get("error") {
        let code = field(error, "grpc_code").or_else(|| error.get("code"));
        let code = code.and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
        let said = error.get("message").and_then(Value::as_str).unwrap_or_default();
        return Err(of_grpc(code.unwrap_or(2), said));
    }
    let result = answer.get("result").ok_or_else(odd)?;
    if field(result, "canceled").and_then(Value::as_bool) == Some(true) {
        return Err(odd());
    }
    let all = result.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    all.iter().map(|event| change(event, prefix)).collect()
}

/// An event as `[revision, key, value]`, without the prefix of its key.
fn change(event: &Value, prefix: &str) -> Result<Value, Refused> {
    let odd = || Refused::odd(format!("a watch told {event}"));
    let kv = event.get("kv").ok_or_else(odd)?;
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|_| odd());
    let key = bytes(kv, "key")?;
    let key = key.strip_prefix(prefix.as_bytes()).ok_or_else(odd)?;
    Ok(json!([number(kv, "mod_revision")?, json(key)?, json(&bytes(kv, "value")?)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_watch_are_events_answers_or_errors() {
        let event = r#"{"result":{"header":{},"events":[{"kv":{"key":"dy8x","mod_revision":"7","value":"NQ=="}}]}}"#;
        assert_eq!(read(event.as_bytes(), "w/"), Ok(vec![json!([7, 1, 5])]));
        assert_eq!(read(br#"{"result":{"created":true}}"#, "w/"), Ok(vec![]));
        assert!(read(br#"{"result":{"canceled":true,"compact_revision":"9"}}"#, "w/").is_err());
        let gone = read(br#"{"error":{"grpc_code":14,"message":"no leader"}}"#, "w/").unwrap_err();
        assert!(!gone.code.is_definite() && gone.text.contains("no leader"));
        assert!(read(b"oops", "w/").is_err());
    }
}
