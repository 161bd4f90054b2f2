//! A page in Chromium, looked at through its DevTools protocol
//! (`chromedevtools.github.io/devtools-protocol`), which it speaks over two
//! pipes: one JSON object after the other, each with a zero byte behind it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{skip, web::installed};

/// How long it may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(90);

/// The pipes are its descriptors 3 and 4, which only a shell can give it
/// without unsafe code.
const START: &str = r#"exec "$@" 3<&0 4>&1 </dev/null 1>&2"#;

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// In CSS pixels.
    pub width: u32,
    /// `screen` or `print`.
    pub media: &'static str,
    /// `light` or `dark`.
    pub scheme: &'static str,
}

/// A page in a browser of its own.
pub struct Page {
    browser: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    /// What the browser said unasked since the page was last loaded.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Page {
    /// An empty page; `None`, and the test is skipped, where Chromium is not
    /// installed.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn open() -> Option<Self> {
        if !skip::met(installed("chromium"), "chromium (`cargo xtask setup --tests`)") {
            return None;
        }
        let profile = TempDir::new().expect("a folder");
        let mut browser = Command::new("sh")
            .args(["-c", START, "sh", "chromium", "--remote-debugging-pipe"])
            // Tests run as root, which Chromium's own sandbox does not.
            .args(["--no-sandbox", "--headless=new", "--disable-gpu", "--hide-scrollbars"])
            .args(["--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let to = browser.stdin.take().expect("a pipe");
        let from = messages(BufReader::new(browser.stdout.take().expect("a pipe")));
        let (calls, session, events) = (0, None, Vec::new());
        let mut page = Self { browser, to, from, calls, session, events, _profile: profile };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = page.call("Target.attachToTarget", attach)["sessionId"].clone();
        page.session = Some(session.as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        Some(page)
    }

    /// Calls a method of the protocol, and returns what it gives.
    ///
    /// # Panics
    /// When the browser does not answer, or with an error.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("a browser that listens");
        loop {
            let mut message = self.next();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    fn next(&self) -> Value {
        self.from.recv_timeout(PATIENCE).expect("a browser that answers")
    }

    /// Loads a file, and waits until it is there.
    ///
    /// # Panics
    /// When it does not come.
    pub fn load(&mut self, file: &Path, view: View) {
        let mobile = view.width < 600;
        let size =
            json!({ "width": view.width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!([{ "name": "prefers-color-scheme", "value": view.scheme }]);
        let media = json!({ "media": view.media, "features": scheme });
        self.call("Emulation.setEmulatedMedia", media);
        self.events.clear();
        let url = format!("file://{}", file.display());
        let came = self.call("Page.navigate", json!({ "url": url }));
        assert!(came["errorText"].is_null(), "{came}");
        while self.said("Page.loadEventFired").next().is_none() {
            let message = self.next();
            self.events.push(message);
        }
    }

    /// What an expression of JavaScript's is on the page.
    ///
    /// # Panics
    /// When it throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{}", result["exceptionDetails"]);
        result["result"]["value"].take()
    }

    /// Errors and whatever else stands on the console.
    pub fn complaints(&self) -> Vec<&Value> {
        let methods = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
        methods.iter().flat_map(|method| self.said(method)).collect()
    }

    /// The URLs that were asked for.
    pub fn requests(&self) -> Vec<&str> {
        let requests = self.said("Network.requestWillBeSent");
        requests.filter_map(|params| params["request"]["url"].as_str()).collect()
    }

    fn said(&self, method: &str) -> impl Iterator<Item = &Value> {
        let events = self.events.iter().filter(move |event| event["method"] == *method);
        events.map(|event| &event["params"])
    }

    /// Keeps a picture of the whole page.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn screenshot(&mut self, file: &Path) {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.call("Page.captureScreenshot", params);
        let picture = picture["data"].as_str().expect("a picture");
        let picture = data_encoding::BASE64.decode(picture.as_bytes()).expect("base64");
        fs::write(file, picture).expect("a file");
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.browser), Signal::KILL);
        let _ = self.browser.wait();
    }
}

/// What comes, read by a thread: a browser that hangs does not hang the test.
fn messages(mut from: BufReader<impl std::io::Read + Send + 'static>) -> Receiver<Value> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        while from.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
            bytes.pop();
            let Ok(message) = serde_json::from_slice(&bytes) else { break };
            if sender.send(message).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    receiver
}
