//! Controls a page in Chromium through its DevTools protocol
//! (`chromedevtools.github.io/devtools-protocol`). Messages are JSON objects, each
//! followed by a zero byte, over two pipes.

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

/// Longest time the browser may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Moves the pipes to file descriptors 3 and 4, where Chromium expects them. Doing
/// it here instead of in a shell would need unsafe code.
const START: &str = r#"exec "$@" 3<&0 4>&1 </dev/null 1>&2"#;

/// The conditions under which a page is shown.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Width in CSS pixels.
    pub width: u32,
    /// Media type: `screen` or `print`.
    pub media: &'static str,
    /// Color scheme: `light` or `dark`.
    pub scheme: &'static str,
}

/// A page in a separate browser.
pub struct Page {
    browser: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    /// Events since the page was last loaded.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Page {
    /// Opens an empty page. Returns `None`, and marks the test as skipped, if
    /// Chromium is not installed.
    ///
    /// # Panics
    /// Panics if the browser cannot be started.
    pub fn open() -> Option<Self> {
        if !skip::met(installed("chromium"), "chromium (`cargo xtask setup --tests`)") {
            return None;
        }
        let profile = TempDir::new().expect("a folder");
        let mut browser = Command::new("sh")
            .args(["-c", START, "sh", "chromium", "--remote-debugging-pipe"])
            // Tests run as root, and Chromium's sandbox refuses to run as root.
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

    /// Calls a method of the protocol and returns its result.
    ///
    /// # Panics
    /// Panics if the browser does not answer or returns an error.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser reads its pipe");
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
        self.from.recv_timeout(PATIENCE).expect("the browser answers")
    }

    /// Loads a file and waits until the page is complete.
    ///
    /// # Panics
    /// Panics if the page does not load.
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
        while self.events_of("Page.loadEventFired").next().is_none() {
            let message = self.next();
            self.events.push(message);
        }
    }

    /// Evaluates a JavaScript expression on the page.
    ///
    /// # Panics
    /// Panics if the expression throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{}", result["exceptionDetails"]);
        result["result"]["value"].take()
    }

    /// Returns errors and all other messages on the console.
    pub fn console_messages(&self) -> Vec<&Value> {
        let methods = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
        methods.iter().flat_map(|method| self.events_of(method)).collect()
    }

    /// Returns the URLs that the page requested.
    pub fn requests(&self) -> Vec<&str> {
        let requests = self.events_of("Network.requestWillBeSent");
        requests.filter_map(|params| params["request"]["url"].as_str()).collect()
    }

    fn events_of(&self, method: &str) -> impl Iterator<Item = &Value> {
        let events = self.events.iter().filter(move |event| event["method"] == *method);
        events.map(|event| &event["params"])
    }

    /// Saves a screenshot of the whole page.
    ///
    /// # Panics
    /// Panics if the file cannot be written.
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

/// Reads messages on another thread, so that a hanging browser cannot block the
/// test.
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
