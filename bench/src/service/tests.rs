//! The promises of the services, and the liberties that they take.

use std::collections::BTreeMap;

use seaworthy::message::Packet;
use serde_json::{Value, json};

use super::{Services, maelstrom};
use crate::directory::SERVICES;
use crate::seed::Seed;

/// The text of the answer to the request with this body, from `client`.
fn ask_as(services: &mut Services, client: &str, service: &str, body: &str) -> Option<String> {
    let index = SERVICES.iter().position(|name| *name == service).unwrap();
    let request = Packet { src: client.into(), dest: service.into(), body: body.to_owned() };
    let reply = services.handle(index, &request)?;
    assert_eq!((reply.src.as_str(), reply.dest.as_str()), (service, client));
    Some(reply.body)
}

fn ask(services: &mut Services, service: &str, body: &str) -> String {
    ask_as(services, "n0", service, body).unwrap_or_else(|| panic!("no answer to {body}"))
}

fn read(services: &mut Services, client: &str, service: &str, key: &str) -> Option<i64> {
    let body = json!({"type": "read", "key": key, "msg_id": 1}).to_string();
    let reply: Value = serde_json::from_str(&ask_as(services, client, service, &body)?).unwrap();
    reply["value"].as_i64()
}

fn write(services: &mut Services, client: &str, service: &str, key: &str, value: i64) {
    let body = json!({"type": "write", "key": key, "value": value, "msg_id": 1}).to_string();
    assert!(ask_as(services, client, service, &body).unwrap().contains("write_ok"));
}

#[test]
fn every_msg_id_comes_back() {
    let services = &mut Services::new(Seed(1), maelstrom());
    for id in ["7", "\"x-1\"", "-4", "0", "1.5", "36893488147419103232", "null", "[1]"] {
        let request = format!("{{\"type\":\"write\",\"key\":1,\"value\":2,\"msg_id\":{id}}}");
        let reply = format!("{{\"type\":\"write_ok\",\"in_reply_to\":{id}}}");
        assert_eq!(ask(services, "lin-kv", &request), reply);
        let request = format!("{{\"type\":\"ts\",\"msg_id\":{id}}}");
        assert!(ask(services, "lin-tso", &request).ends_with(&format!("\"in_reply_to\":{id}}}")));
    }
    // Without one the request is carried out all the same, and answered.
    let reply = ask(services, "lin-kv", r#"{"type":"write","key":1,"value":3}"#);
    assert_eq!(reply, r#"{"type":"write_ok","in_reply_to":null}"#);
    let reply = ask(services, "lin-kv", r#"{"type":"read","key":1,"msg_id":1,"in_reply_to":9}"#);
    assert_eq!(reply, r#"{"type":"read_ok","value":3,"in_reply_to":1}"#);
}

#[test]
fn values_come_back_as_they_were_written() {
    let services = &mut Services::new(Seed(1), maelstrom());
    for value in [
        "1000000000000000000000000000000",
        "-123456789012345678901234567890",
        "1.0",
        "1e-7",
        "1e300",
        "0.1000000000000000055511151231257827",
        "\"\\u0000 \\u2603\"",
        "{\"b\":1,\"a\":[2,null]}",
        "null",
    ] {
        let request =
            format!("{{\"type\":\"write\",\"key\":\"k\",\"value\":{value},\"msg_id\":1}}");
        ask(services, "lin-kv", &request);
        let reply = ask(services, "lin-kv", r#"{"type":"read","key":"k","msg_id":2}"#);
        assert_eq!(reply, format!("{{\"type\":\"read_ok\",\"value\":{value},\"in_reply_to\":2}}"));
    }
}

#[test]
fn what_is_missing_is_null() {
    let services = &mut Services::new(Seed(1), maelstrom());
    let mut ask = |body: &str| ask(services, "lin-kv", body);
    let code = |reply: String| {
        serde_json::from_str::<Value>(&reply).unwrap()["code"].as_i64().unwrap_or(0)
    };
    assert_eq!(code(ask(r#"{"type":"read","msg_id":1}"#)), 20);
    assert_eq!(code(ask(r#"{"type":"write","value":3,"msg_id":1}"#)), 0);
    let reply = ask(r#"{"type":"read","key":null,"msg_id":1}"#);
    assert_eq!(reply, r#"{"type":"read_ok","value":3,"in_reply_to":1}"#);
    assert_eq!(code(ask(r#"{"type":"write","key":"z","msg_id":1}"#)), 0);
    let reply = ask(r#"{"type":"read","key":"z","msg_id":1}"#);
    assert_eq!(reply, r#"{"type":"read_ok","value":null,"in_reply_to":1}"#);
    // From null, which is there.
    assert_eq!(code(ask(r#"{"type":"cas","key":"z","to":1,"msg_id":1}"#)), 0);
    assert_eq!(code(ask(r#"{"type":"cas","key":"z","to":2,"msg_id":1}"#)), 22);
    assert_eq!(code(ask(r#"{"type":"cas","key":"z","from":1,"msg_id":1}"#)), 0);
    let reply = ask(r#"{"type":"read","key":"z","msg_id":1}"#);
    assert_eq!(reply, r#"{"type":"read_ok","value":null,"in_reply_to":1}"#);
}

#[test]
fn keys_and_values_compare_by_what_they_mean() {
    let services = &mut Services::new(Seed(1), maelstrom());
    let mut code = |body: &str| {
        let reply = ask(services, "lin-kv", body);
        serde_json::from_str::<Value>(&reply).unwrap()["code"].as_i64().unwrap_or(0)
    };
    assert_eq!(code(r#"{"type":"write","key":{"b":1,"a":[2]},"value":1}"#), 0);
    assert_eq!(code(r#"{"type":"read","key":{"a":[2],"b":1}}"#), 0);
    assert_eq!(code(r#"{"type":"cas","key":{"a":[2],"b":1},"from":1.0,"to":2}"#), 22);
    assert_eq!(code(r#"{"type":"cas","key":{"a":[2],"b":1},"from":"1","to":2}"#), 22);
    assert_eq!(code(r#"{"type":"cas","key":{"a":[2],"b":1},"from":1,"to":1.50}"#), 0);
    assert_eq!(code(r#"{"type":"cas","key":{"a":[2],"b":1},"from":15e-1,"to":"A"}"#), 0);
    assert_eq!(code(r#"{"type":"cas","key":{"a":[2],"b":1},"from":"\u0041","to":7}"#), 0);
    assert_eq!(code(r#"{"type":"write","key":1,"value":1}"#), 0);
    assert_eq!(code(r#"{"type":"read","key":"1"}"#), 20);
    assert_eq!(code(r#"{"type":"read","key":1.0}"#), 20);
}

#[test]
fn whether_a_cas_creates_is_a_matter_of_truthiness() {
    for (create, created) in [
        ("true", true),
        ("1", true),
        ("0", true),
        ("\"\"", true),
        ("[]", true),
        ("false", false),
        ("null", false),
    ] {
        let body =
            format!("{{\"type\":\"cas\",\"key\":1,\"to\":2,\"create_if_not_exists\":{create}}}");
        for (service, expected) in [("lin-kv", created), ("seq-kv", created), ("lww-kv", false)] {
            let reply = ask(&mut Services::new(Seed(1), maelstrom()), service, &body);
            assert_eq!(reply.contains("cas_ok"), expected, "{service} {create}: {reply}");
        }
    }
}

#[test]
fn unknown_types_get_no_answer() {
    let services = &mut Services::new(Seed(1), maelstrom());
    for body in [
        r#"{"type":"delete","key":"a","msg_id":1}"#,
        r#"{"type":5,"msg_id":1}"#,
        r#"{"type":"ts","msg_id":1}"#,
        r#"{"msg_id":1}"#,
        "null",
        "[1]",
    ] {
        for service in ["lin-kv", "seq-kv", "lww-kv"] {
            assert_eq!(ask_as(services, "n0", service, body), None, "{service} {body}");
        }
    }
    assert_eq!(ask_as(services, "n0", "lin-tso", r#"{"type":"read","msg_id":1}"#), None);
    // None of them used up a timestamp.
    assert!(ask(services, "lin-tso", r#"{"type":"ts","msg_id":1}"#).contains("\"ts\":0"));
}

#[test]
fn a_refusal_says_what_is_there() {
    let services = &mut Services::new(Seed(1), maelstrom());
    write(services, "n0", "lin-kv", "k", 1);
    let reply = ask(services, "lin-kv", r#"{"type":"cas","key":"k","from":"z","to":2,"msg_id":4}"#);
    let reply: Value = serde_json::from_str(&reply).unwrap();
    let text = "current value 1 is not \"z\"";
    assert_eq!(reply, json!({"type": "error", "code": 22, "text": text, "in_reply_to": 4}));
}

#[test]
fn sequential_never_runs_backwards_but_may_lag() {
    let services = &mut Services::new(Seed(3), maelstrom());
    let mut lagged = false;
    let mut last = BTreeMap::new();
    for i in 0..500 {
        write(services, "writer", "seq-kv", "k", i);
        assert_eq!(read(services, "writer", "seq-kv", "k"), Some(i), "reads its own writes");
        for client in ["a", "b"] {
            let seen = read(services, client, "seq-kv", "k").unwrap_or(-1);
            assert!(seen >= last.insert(client, seen).unwrap_or(-1));
            lagged |= seen < i;
        }
    }
    assert!(lagged, "a store that never lags tests nothing");
}

#[test]
fn reading_alone_never_catches_up_with_seq_kv() {
    let services = &mut Services::new(Seed(3), maelstrom());
    for i in 0..10 {
        write(services, "writer", "seq-kv", "k", i);
    }
    for _ in 0..200 {
        assert_ne!(read(services, "reader", "seq-kv", "k"), Some(9));
    }
    // A write to any key takes place after all others, and brings its client there.
    write(services, "reader", "seq-kv", "other", 1);
    assert_eq!(read(services, "reader", "seq-kv", "k"), Some(9));
}

#[test]
fn what_changes_nothing_may_take_place_in_the_past_of_seq_kv() {
    let cas = |v: i64| json!({"type": "cas", "key": "k", "from": v, "to": v}).to_string();
    let rewrite = |v: i64| json!({"type": "write", "key": "k", "value": v}).to_string();
    for (what, body) in [("cas", &cas as &dyn Fn(i64) -> String), ("write", &rewrite)] {
        let (mut stale, mut fresh) = (0, 0);
        for seed in 0..200 {
            let services = &mut Services::new(Seed(seed), maelstrom());
            for v in 0..20 {
                write(services, "writer", "seq-kv", "k", v);
            }
            let Some(v) = read(services, "reader", "seq-kv", "k") else { continue };
            let reply = ask_as(services, "reader", "seq-kv", &body(v)).unwrap();
            // A client that has just written sees the newest state.
            write(services, "writer", "seq-kv", "other", 0);
            let now = read(services, "writer", "seq-kv", "k");
            if reply.contains("_ok") && v < 19 && now == Some(19) {
                stale += 1;
            } else {
                fresh += 1;
            }
        }
        assert!(stale > 0 && fresh > 0, "{what}: {stale} in the past, {fresh} not");
    }
}

#[test]
fn eventual_diverges_and_converges() {
    let mut stale = 0;
    for seed in 0..50 {
        let services = &mut Services::new(Seed(seed), maelstrom());
        write(services, "w", "lww-kv", "k", 7);
        let reads: Vec<_> = (0..100).map(|_| read(services, "r", "lww-kv", "k")).collect();
        stale += u64::from(reads.contains(&None));
        assert_eq!(reads.last(), Some(&Some(7)), "never converged");
    }
    assert!((5..45).contains(&stale), "stale in {stale} of 50 runs");
}

#[test]
fn a_later_write_to_lww_kv_may_be_lost_for_good() {
    let mut lost = 0;
    for seed in 0..200 {
        let services = &mut Services::new(Seed(seed), maelstrom());
        // The clock of one replica runs ahead.
        for v in 0..5 {
            write(services, "a", "lww-kv", "other", v);
        }
        write(services, "a", "lww-kv", "k", 1);
        write(services, "b", "lww-kv", "k", 2);
        let reads: Vec<_> = (0..100).map(|_| read(services, "r", "lww-kv", "k")).collect();
        let end = reads[99];
        assert!(reads[50..].iter().all(|value| *value == end), "never converged");
        lost += u64::from(end == Some(1));
    }
    assert!((20..120).contains(&lost), "the second write was lost in {lost} of 200 runs");
}
