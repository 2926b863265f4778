//! Chromium without a window, driven over its DevTools protocol.
//!
//! The browser reads commands from its descriptor 3 and answers on 4, each a JSON text with a
//! zero byte at the end (`--remote-debugging-pipe`). A shell connects two named pipes, so that
//! this takes no crate and no port.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where Debian's package and others put the browser.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    commands: File,
    answers: BufReader<File>,
    next: u64,
    session: Option<String>,
    /// Complaints of the page in its console and its log.
    pub(crate) complaints: Vec<String>,
    _home: TempDir,
}

/// The browser that this machine has.
fn found() -> Option<&'static str> {
    let is_there = |name: &&&str| {
        let mut asked = Command::new(name);
        asked
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    NAMES.iter().find(is_there).copied()
}

impl Browser {
    /// Starts the browser; none, and a line that says so, if this machine has none.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub(crate) fn start() -> Option<Browser> {
        let Some(name) = found() else {
            eprintln!("SKIPPED: no Chromium on this machine (Debian: apt-get install chromium)");
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        let pipes = ["commands", "answers"].map(|name| home.path().join(name));
        let made = Command::new("mkfifo").args(&pipes).status().unwrap();
        assert!(made.success(), "no named pipes");
        // Opened for both directions, neither end waits for the other.
        let line = "exec \"$0\" --remote-debugging-pipe --headless --no-sandbox --disable-gpu \
             --hide-scrollbars --user-data-dir=\"$1\" --window-size=1240,900 about:blank \
             3<\"$2\" 4>\"$3\"";
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).unwrap();
        let (commands, answers) = (open(&pipes[0]), open(&pipes[1]));
        let mut shell = Command::new("sh");
        shell.args(["-c", line, name]).arg(home.path().join("profile")).args(&pipes);
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let child = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut browser = Browser {
            child: child.unwrap(),
            commands,
            answers: BufReader::new(answers),
            next: 0,
            session: None,
            complaints: Vec::new(),
            _home: home,
        };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let targets = self.call("Target.getTargets", json!({}));
        let pages = targets["targetInfos"].as_array().unwrap();
        let page = pages.iter().find(|target| target["type"] == "page");
        let id = match page {
            Some(page) => page["targetId"].clone(),
            None => {
                self.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone()
            }
        };
        let attached = self.call("Target.attachToTarget", json!({"targetId": id, "flatten": true}));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Sends a command and waits for its answer; complaints that come meanwhile are kept.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut text = command.to_string().into_bytes();
        text.push(0);
        self.commands.write_all(&text).unwrap();
        loop {
            let mut answer = Vec::new();
            self.answers.read_until(0, &mut answer).unwrap();
            answer.pop();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.listen(&answer);
        }
    }

    fn listen(&mut self, event: &Value) {
        let params = &event["params"];
        let is_complaint = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => {
                matches!(params["type"].as_str(), Some("error" | "warning"))
            }
            // A refusal by the Content-Security-Policy comes here.
            "Log.entryAdded" => {
                matches!(params["entry"]["level"].as_str(), Some("error" | "warning"))
            }
            _ => false,
        };
        if is_complaint {
            self.complaints.push(params.to_string());
        }
    }

    /// The value of an expression; of a promise when it is kept.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Opens a page and waits until it has drawn.
    pub(crate) fn open(&mut self, file: &Path) {
        self.complaints.clear();
        self.call("Page.navigate", json!({"url": format!("file://{}", file.display())}));
        let is_ready = "new Promise(done => { const look = () => document.body?.dataset.ready \
            || document.querySelector('body > p.bad') ? done(location.href) : setTimeout(look, 20); look(); })";
        loop {
            let place = self.eval(is_ready);
            if place.as_str().is_some_and(|place| place.ends_with(&file.display().to_string())) {
                return;
            }
        }
    }

    /// Waits until every change is drawn.
    pub(crate) fn settle(&mut self) {
        self.eval("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
    }

    /// A picture of the page, this wide and high, as PNG.
    pub(crate) fn picture(&mut self, width: u32, height: u32, is_dark: bool) -> Vec<u8> {
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media);
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.settle();
        self.settle();
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let text = picture["data"].as_str().unwrap();
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser has children of its own.
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
