//! A program of the user's that carries requests out.
//!
//! It reads one request a line, JSON in the words of the workload (`seaworthy doc NAME`), and
//! answers each with one line: the workload's answer, or `{"type": "error", "code": C, "text":
//! T}` with a code of the protocol. One program runs for each client at each server; its
//! placeholders name the server. If it ends, or is late, the outcome of the request is open, and
//! the next request starts another one.

// The end of a request is on the real clock, and a program that does not read, or does
// not answer, may hold up a thread, but not the world.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use seaworthy::message::ErrorCode;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::contract::{Place, Speaker};
use super::refused::Refused;
use crate::backend::process::Children;
use crate::backend::server::reactor::timeout_at;
use crate::backend::server::spec::fill;
use crate::backend::{log, shorten};

/// A client's program.
pub(super) struct Program {
    words: Vec<String>,
    children: Children,
    log: PathBuf,
    running: Option<Running>,
}

struct Running {
    child: Child,
    requests: Sender<String>,
    answers: UnboundedReceiver<String>,
}

impl Program {
    pub(super) fn new(command: &[String], place: Place<'_>) -> Program {
        Program {
            words: command.iter().map(|word| fill(word, place.values)).collect(),
            children: place.children.clone(),
            log: place.log.to_owned(),
            running: None,
        }
    }

    fn start(&self) -> std::io::Result<Running> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(log::open(&self.log)?);
        let mut child = self.children.spawn(&mut command)?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (requests, asked) = channel::<String>();
        // A program that does not read is seen by its silence.
        thread::spawn(move || asked.iter().try_for_each(|line| stdin.write_all(line.as_bytes())));
        let (heard, answers) = unbounded_channel();
        thread::spawn(move || {
            let all = BufReader::new(stdout).lines().map_while(Result::ok);
            // The receiver is gone when the program is replaced.
            all.take_while(|line| heard.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Running { child, requests, answers })
    }

    fn end(&mut self) {
        if let Some(mut running) = self.running.take() {
            // The end of a program that was killed is not reported.
            let _ = self.children.kill(&mut running.child);
        }
    }

    async fn exchange(&mut self, request: &Value, until: Instant) -> Result<String, Refused> {
        if self.running.is_none() {
            let started = self.start().map_err(|e| {
                let text = format!("{}: {e}", self.words[0]);
                Refused::new(ErrorCode::TEMPORARILY_UNAVAILABLE, text)
            })?;
            self.running = Some(started);
        }
        let running = self.running.as_mut().expect("it was started");
        // The thread that writes ends with the program, and so does the one that reads.
        let _ = running.requests.send(format!("{request}\n"));
        let answer = timeout_at(until, running.answers.recv()).await;
        let late = || Refused::new(ErrorCode::TIMEOUT, "no answer in time");
        answer.ok_or_else(late)?.ok_or_else(|| Refused::odd("the program ended"))
    }
}

#[async_trait(?Send)]
impl Speaker for Program {
    async fn ask(&mut self, request: &Value, until: Instant) -> Result<Value, Refused> {
        let line = self.exchange(request, until).await.inspect_err(|_| self.end())?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|e| Refused::odd(format!("no JSON ({e}): {}", shorten(&line, 200))))?;
        if answer["type"] != "error" {
            return Ok(answer);
        }
        let code = answer["code"].as_u64().and_then(|code| u32::try_from(code).ok());
        let code = code.map_or(ErrorCode::CRASH, ErrorCode);
        Err(Refused::new(code, answer["text"].as_str().unwrap_or_default()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}
