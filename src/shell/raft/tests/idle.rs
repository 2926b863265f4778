//! Commands that change nothing, and reads at followers.

use serde_json::{Value, json};

use super::net::Net;
use super::{append, appended, plain, read};

/// Appends unless the list is so long.
fn unless(len: usize) -> Value {
    json!({"type": "append", "value": {"unless_len": len}})
}

#[test]
fn a_command_that_changes_nothing_is_answered_without_the_log() {
    let mut net = Net::new(3, 10);
    let before = net.status(0).unwrap().last;
    for node in 0..3 {
        let asked = net.now();
        let request = net.ask(node, unless(0));
        net.run_ms(50);
        assert_eq!(net.answer(request)["type"], "idle");
        // The leader asks a follower, or a follower vouches: a round trip.
        assert_eq!((net.answered_at(request).unwrap() - asked).as_millis(), 20);
    }
    assert_eq!(net.status(0).unwrap().last, before);
    // The same command changes something at last.
    assert_eq!(plain(net.call(1, append(7))), appended(1));
    assert_eq!(plain(net.call(2, unless(0))), appended(2));
}

#[test]
fn a_copy_of_a_command_that_changed_nothing_never_changes_anything() {
    let mut net = Net::new(3, 10);
    // n1's command is answered, but the answer is lost.
    net.cut_link(0, 1, true);
    let request = net.ask(1, unless(0));
    net.run_ms(100);
    assert_eq!(net.peek(request), None);
    // Now it would change something; and it comes once more.
    let other = net.ask(0, append(7));
    net.run_ms(100);
    assert_eq!(net.answer(other)["type"], "append_ok");
    net.cut_link(0, 1, false);
    net.run_ms(3000);
    assert_eq!(net.answer(request)["type"], "idle");
    assert_eq!(net.call(2, read())["list"], json!([7]));
}

#[test]
fn an_idle_command_that_comes_twice_is_answered_once_and_takes_no_effect() {
    let mut net = Net::new(3, 10);
    net.network.weather.repeat_percent = 100;
    for len in 0..10 {
        let idle = net.ask(1, unless(len));
        let other = net.ask(2, append(len as u64));
        net.run_ms(200);
        let appended = usize::from(net.answer(idle)["type"] == "append_ok");
        assert_eq!(net.answer(other)["type"], "append_ok");
        assert_eq!(appended, 0, "n1 and n2 are as far away, and n1 asked first");
    }
    let expected: Vec<u64> = (0..10).collect();
    assert_eq!(net.call(0, read())["list"], json!(expected));
}

#[test]
fn a_read_at_a_follower_takes_a_round_trip() {
    let mut net = Net::stopped(3, 10);
    net.options.follower_reads = true;
    net.boot();
    assert_eq!(plain(net.call(1, append(7))), appended(1));
    let asked = net.now();
    let request = net.ask(2, read());
    net.run_ms(50);
    assert_eq!(net.answer(request)["list"], json!([7]));
    assert_eq!((net.answered_at(request).unwrap() - asked).as_millis(), 20);
}

#[test]
fn a_read_at_a_follower_outlives_its_leader_and_is_not_stale() {
    let mut net = Net::stopped(3, 10);
    net.options.follower_reads = true;
    net.boot();
    // n2 hears nothing of the writes meanwhile.
    net.cut_link(0, 2, true);
    let written = net.ask(0, append(7));
    net.run_ms(50);
    assert_eq!(plain(net.answer(written)), appended(1));
    let request = net.ask(2, read());
    net.run_ms(100);
    assert_eq!(net.peek(request), None, "it has not heard of the write");
    net.kill(0);
    net.run_ms(4000);
    assert_eq!(net.answer(request)["list"], json!([7]));
}
