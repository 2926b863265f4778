//! Tests of kafka's generator and client.

use super::super::client::{Answer, Errors, Reply, Step, proceed};
use super::super::testing::{ask_all, config};
use super::*;
use crate::edn::parse;
use crate::seed::Seed;

fn kafka(flags: &str) -> Kafka {
    Kafka::new(&config(flags)).unwrap()
}

fn op(f: &str, value: &str) -> Invocation {
    Invocation::new(f, parse(value).unwrap())
}

fn done(generator: &mut Kafka, op: &Invocation, kind: OpType, value: &str) {
    let completion = Completion { kind, ..Completion::ok(parse(value).unwrap()) };
    generator.completed(0, op, &completion);
}

#[test]
fn operations_look_as_in_maelstroms_histories() {
    let ops = ask_all(&mut kafka("--node-count 1"), &[0, 1], 6400);
    let (mut sends, mut polls, mut assigns, mut crashes) = (0, 0, 0, 0);
    for (_, op) in &ops {
        let value = op.value.to_string();
        match op.f.as_str() {
            "send" => {
                sends += 1;
                let mop = op.value.as_seq().unwrap()[0].as_seq().unwrap();
                assert!(matches!(mop, [Edn::Keyword(f), Edn::Str(_), Edn::Int(_)] if f == "send"));
            }
            "poll" => {
                polls += 1;
                assert_eq!(value, "[[:poll]]");
            }
            "assign" => {
                assigns += 1;
                assert!(value.starts_with("[\""), "{value}");
            }
            _ => {
                crashes += 1;
                assert_eq!((op.f.as_str(), value.as_str()), ("crash", "nil"));
            }
        }
    }
    assert!((70..130).contains(&assigns), "{assigns} of 6400 are assigns");
    assert!(i32::abs(sends - polls) < 400, "{sends} sends, {polls} polls");
    assert_eq!(crashes, 1, "the first operation, then none at the same instant");
    assert_eq!(ops[0].1.f, "crash");
}

#[test]
fn an_assignment_is_of_the_key_that_follows() {
    let ops = ask_all(&mut kafka("--node-count 1"), &[0], 6400);
    let mut checked = 0;
    for pair in ops.windows(2) {
        if let [(_, assign), (_, send)] = pair
            && assign.f == "assign"
            && send.f == "send"
        {
            let key = send.value.as_seq().unwrap()[0].as_seq().unwrap()[1].clone();
            assert_eq!(assign.value, Edn::vector([key]));
            checked += 1;
        }
    }
    assert!(checked > 20);
}

#[test]
fn a_wide_assignment_has_the_keys_with_unseen_messages() {
    let mut generator = kafka("--node-count 1");
    let (send, poll) = (op("send", "[[:send \"9\" 1]]"), poll());
    done(&mut generator, &send, OpType::Ok, "[[:send \"9\" [0 1]]]");
    done(&mut generator, &send, OpType::Ok, "[[:send \"10\" [4 1]]]");
    done(&mut generator, &send, OpType::Info, "[[:send \"7\" 1]]");
    assert_eq!(generator.assign(3, true).value, parse(r#"["3" "9" "10"]"#).unwrap());
    done(&mut generator, &poll, OpType::Ok, "[[:poll {\"9\" [[0 1]], \"10\" [[3 7]]}]]");
    assert_eq!(generator.assign(10, true).value, parse(r#"["10"]"#).unwrap());
    assert_eq!(generator.assign(3, true).value, parse(r#"["3" "10"]"#).unwrap());
    assert_eq!(generator.assign(3, false).value, parse(r#"["3"]"#).unwrap());
}

/// Asks for the next of the last operations, with worker 0 free.
fn last(generator: &mut Kafka, now: Time) -> Next {
    let mut draw = Seed(7).stream("generator", 0);
    generator.next_last(&mut Ask { free: &[0], processes: &[0], now, draw: &mut draw })
}

fn expect_op(next: Next) -> Invocation {
    match next {
        Next::Invoke(0, op) => op,
        other => panic!("expected an operation of worker 0, got {other:?}"),
    }
}

#[test]
fn at_the_end_everything_is_polled_from_the_beginning() {
    let mut generator = kafka("--node-count 1");
    let now = Time::ZERO + Duration::from_secs(30);
    done(&mut generator, &op("send", "nil"), OpType::Ok, "[[:send \"9\" [1 2]]]");
    done(&mut generator, &poll(), OpType::Ok, "[[:poll {\"10\" [[0 1]]}]]");

    let crash = expect_op(last(&mut generator, now));
    assert_eq!(crash, op("crash", "nil"));
    done(&mut generator, &crash, OpType::Info, "nil");
    let assign = expect_op(last(&mut generator, now));
    assert_eq!((assign.f.as_str(), assign.value.to_string()), ("assign", r#"["9" "10"]"#.into()));
    assert_eq!(assign.extra, [("seek-to-beginning?".into(), Edn::Bool(true))]);
    done(&mut generator, &assign, OpType::Ok, "[\"9\" \"10\"]");
    let first = expect_op(last(&mut generator, now));
    assert_eq!((first.f.as_str(), first.value.to_string()), ("poll", "[[:poll]]".into()));
    assert_eq!(first.extra, [("poll-ms".into(), Edn::Int(1000))]);
    done(&mut generator, &first, OpType::Ok, "[[:poll {\"9\" [[0 1] [1 2]]}]]");
    let Next::Sleep(at) = last(&mut generator, now) else { panic!("it polls without a pause") };
    assert!(at > now && at < now + Duration::from_millis(400));
    let second = expect_op(last(&mut generator, at));
    done(&mut generator, &second, OpType::Ok, "[[:poll {\"9\" [], \"10\" [[0 1]]}]]");
    assert_eq!(last(&mut generator, at), Next::Done);
}

#[test]
fn what_never_comes_is_polled_for_ten_seconds() {
    let mut generator = kafka("--node-count 1");
    done(&mut generator, &op("send", "nil"), OpType::Ok, "[[:send \"9\" [1 2]]]");
    let (mut now, mut polls) = (Time::ZERO, 0);
    loop {
        match last(&mut generator, now) {
            Next::Invoke(0, op) if op.f == "poll" => {
                polls += 1;
                // A connection that is lost is assigned anew.
                let kind = if polls == 3 { OpType::Info } else { OpType::Ok };
                done(&mut generator, &op, kind, "[[:poll {}]]");
                if polls == 3 {
                    assert_eq!(expect_op(last(&mut generator, now + LONG)).f, "assign");
                    done(&mut generator, &self::op("assign", "nil"), OpType::Ok, "[\"9\"]");
                }
            }
            Next::Invoke(0, op) => {
                let kind = if op.f == "crash" { OpType::Info } else { OpType::Ok };
                done(&mut generator, &op, kind, "nil");
            }
            Next::Sleep(until) => now = until,
            Next::Done => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(now, Time::ZERO + Duration::from_secs(10));
    assert!((20..=200).contains(&polls), "{polls}");
}

/// Longer than any pause between polls.
const LONG: Duration = Duration::from_millis(500);

fn reply(client: &mut KafkaClient, op: &Invocation, body: &str) -> Step {
    let body = Answer::parse(body).unwrap();
    proceed(client, op, &Reply::Body(&body))
}

fn request(body: &str) -> Step {
    Step::Request(body.into())
}

fn ok(value: &str) -> Step {
    Step::Complete(Completion::ok(parse(value).unwrap()))
}

#[test]
fn a_poll_is_followed_by_the_commit_of_what_it_brought() {
    let mut client = KafkaClient::default();
    let (assign, poll) = (op("assign", r#"["9" "8"]"#), poll());
    assert_eq!(client.errors(&assign), Errors::Idempotent);
    let list = r#"{"keys":["9","8"],"type":"list_committed_offsets"}"#;
    assert_eq!(client.invoke(&assign), request(list));
    let listed = r#"{"type":"list_committed_offsets_ok","offsets":{"9":4}}"#;
    let extra = vec![("committed".into(), parse(r#"{"9" 4}"#).unwrap())];
    let told = Completion { extra, ..Completion::ok(assign.value.clone()) };
    assert_eq!(reply(&mut client, &assign, listed), Step::Complete(told));

    assert_eq!(client.invoke(&poll), request(r#"{"offsets":{"8":0,"9":5},"type":"poll"}"#));
    let msgs = r#"{"type":"poll_ok","msgs":{"9":[[5,6],[6,7]],"8":[]}}"#;
    let commit = r#"{"offsets":{"9":6},"type":"commit_offsets"}"#;
    assert_eq!(reply(&mut client, &poll, msgs), request(commit));
    let polled = ok(r#"[[:poll {"9" [[5 6] [6 7]], "8" []}]]"#);
    assert_eq!(reply(&mut client, &poll, r#"{"type":"commit_offsets_ok"}"#), polled);

    // Others committed more, but this client goes on where it is.
    client.invoke(&assign);
    reply(&mut client, &assign, r#"{"type":"list_committed_offsets_ok","offsets":{"9":40}}"#);
    assert_eq!(client.invoke(&poll), request(r#"{"offsets":{"8":0,"9":7},"type":"poll"}"#));
    let empty = r#"{"type":"poll_ok","msgs":{}}"#;
    assert_eq!(reply(&mut client, &poll, empty), ok("[[:poll {}]]"));
}

#[test]
fn a_refused_commit_fails_the_poll_but_the_position_has_moved() {
    let mut client = KafkaClient::default();
    let mut assign = op("assign", r#"["9"]"#);
    assign.extra = vec![("seek-to-beginning?".into(), Edn::Bool(true))];
    assert_eq!(client.invoke(&assign), ok(r#"["9"]"#), "nothing is asked");
    client.invoke(&poll());
    reply(&mut client, &poll(), r#"{"type":"poll_ok","msgs":{"9":[[0,1]]}}"#);
    let body = Answer::parse(r#"{"type":"error","code":11,"text":"no"}"#).unwrap();
    let error = body.refusal().unwrap();
    match proceed(&mut client, &poll(), &Reply::Error(&error)) {
        Step::Complete(end) => assert_eq!(end.kind, OpType::Fail),
        Step::Request(body) => panic!("{body}"),
    }
    assert_eq!(client.invoke(&poll()), request(r#"{"offsets":{"9":1},"type":"poll"}"#));
    // The next poll starts over: its first reply is not taken for a commit's.
    let empty = r#"{"type":"poll_ok","msgs":{}}"#;
    assert_eq!(reply(&mut client, &poll(), empty), ok("[[:poll {}]]"));
}

#[test]
fn sends_learn_their_offset_and_crashes_ask_nothing() {
    let mut client = KafkaClient::default();
    let send = op("send", "[[:send \"9\" 3]]");
    assert_eq!(client.invoke(&send), request(r#"{"key":"9","msg":3,"type":"send"}"#));
    let sent = reply(&mut client, &send, r#"{"type":"send_ok","offset":2}"#);
    assert_eq!(sent, ok("[[:send \"9\" [2 3]]]"));
    let crashed = Completion { kind: OpType::Info, ..Completion::ok(Edn::Nil) };
    assert_eq!(client.invoke(&op("crash", "nil")), Step::Complete(crashed));
}

#[test]
fn malformed_replies_leave_the_outcome_unknown() {
    let (send, assign) = (op("send", "[[:send \"9\" 3]]"), op("assign", "[\"9\"]"));
    for (op, body) in [
        (&send, r#"{"type":"send_ok"}"#),
        (&send, r#"{"type":"send_ok","offset":"2"}"#),
        (&assign, r#"{"type":"list_committed_offsets_ok","offsets":[]}"#),
        (&assign, r#"{"type":"list_committed_offsets_ok","offsets":{"9":null}}"#),
        (&poll(), r#"{"type":"poll_ok","msgs":{"9":[1,2]}}"#),
        (&poll(), r#"{"type":"poll_ok","msgs":[[0,1]]}"#),
        (&poll(), r#"{"type":"commit_offsets_ok"}"#),
    ] {
        let mut client = KafkaClient::default();
        client.invoke(op);
        match reply(&mut client, op, body) {
            Step::Complete(end) => assert_eq!(end.kind, OpType::Info, "{body}"),
            Step::Request(next) => panic!("{body} led to {next}"),
        }
    }
}
