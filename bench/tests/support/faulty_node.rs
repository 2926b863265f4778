//! A foreign node that is wrong on purpose, for the tests of the process backend.
//!
//! It shares no code with this project: standard input and output, and serde_json.
//! The first argument names its fault; without one it is right.

// Its log is its stderr, as any foreign node's.
#![allow(clippy::print_stderr)]

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

fn main() -> io::Result<()> {
    let fault = std::env::args().nth(1).unwrap_or_default();
    let mut out = io::stdout().lock();
    let mut issued = 0;
    let mut id = Value::Null;
    let mut begun = false;
    eprintln!("faulty node, fault: {fault}");
    if fault == "leave-a-child" {
        // The child inherits stdin and stdout and serves; this process ends.
        std::process::Command::new(std::env::current_exe()?).spawn()?;
        return Ok(());
    }
    for line in io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        let body = &message["body"];
        let mut reply = |mut reply: Value| {
            reply["in_reply_to"] = body["msg_id"].clone();
            let message = json!({"src": message["dest"], "dest": message["src"], "body": reply});
            if fault != "half-lines" {
                return writeln!(out, "{message}").and_then(|()| out.flush());
            }
            // Right, but at any moment the beginning of the next message is out.
            let text = message.to_string();
            let rest = if begun { &text[1..] } else { &text[..] };
            begun = true;
            writeln!(out, "{rest}").and_then(|()| out.write_all(b"{")).and_then(|()| out.flush())
        };
        match (body["type"].as_str().unwrap_or_default(), fault.as_str()) {
            ("init", "hang") => {}
            ("init", _) => {
                id = body["node_id"].clone();
                reply(json!({"type": "init_ok"}))?;
            }
            ("echo", "wrong-echo") => reply(json!({"type": "echo_ok", "echo": "no"}))?,
            ("echo", "extra-field") => {
                reply(json!({"type": "echo_ok", "echo": body["echo"], "more": 1}))?;
            }
            ("echo", "broken-line") => {
                writeln!(out, "{{\"src\": oops").and_then(|()| out.flush())?
            }
            ("echo", "exit") => std::process::exit(0),
            ("echo", "crash") => std::process::exit(7),
            ("echo", "nobody") => {
                writeln!(out, "{}", json!({"src": id, "dest": "n99", "body": {"type": "x"}}))?;
                out.flush()?;
            }
            ("echo", "forge") => {
                writeln!(out, "{}", json!({"src": "n99", "dest": "c1", "body": {"type": "x"}}))?;
                out.flush()?;
            }
            ("echo", "flood") => loop {
                writeln!(out, "{}", json!({"src": id, "dest": id, "body": {"type": "x"}}))?;
            },
            ("echo", "silent") => {}
            ("echo", "hostile") => {
                let evil = evil()?;
                let own = json!({"src": id, "dest": id, "body": {"type": evil, "x": evil}});
                reply(json!({"type": "echo_ok", "echo": evil}))?;
                writeln!(out, "{own}").and_then(|()| out.flush())?;
            }
            ("echo", _) => reply(json!({"type": "echo_ok", "echo": body["echo"]}))?,
            ("generate", "reuse-ids") => {
                issued += 1;
                let text = id.as_str().unwrap_or_default();
                reply(json!({"type": "generate_ok", "id": format!("{text}-{issued}")}))?;
            }
            _ => reply(json!({"type": "error", "code": 10, "text": "unknown"}))?,
        }
    }
    Ok(())
}

/// Markup that would change a page, after the same and broken text went to the log.
fn evil() -> io::Result<&'static str> {
    let evil = "</script><script>document.title='owned'</script><img src=x \
         onerror=\"document.title='owned'\">\u{0}\u{202e}";
    eprintln!("{evil}\u{1b}[31m");
    io::stderr().write_all(b"\xff\xfe\xc3\x28\n")?;
    Ok(evil)
}
