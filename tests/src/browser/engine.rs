//! The browsers, and how each is started: without a screen or on one that
//! nobody sees, in a profile of its own, trusting the tests' CA, and with every
//! name on loopback.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use super::{Browser, screen::Screen};
use crate::{
    skip,
    web::{self, COLLECTOR, NEWS, Reader, TRACKER, Web, fixture, installed},
};

/// Of the extension in the fixtures: its manifest holds the key that this is
/// a digest of.
pub const REPORTER_ID: &str = "afnpnmgmjdiifkegmgobgjajjbamchmn";

/// Where Debian keeps Chromium; the `chromium` on the path is a script.
pub const CHROMIUM: &str = "/usr/lib/chromium/chromium";

/// For Chromium in every form.
const FLAGS: [&str; 5] = [
    // Tests run as root, which Chromium's own sandbox does not.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--ignore-certificate-errors",
    // Nothing leaves the machine.
    "--host-resolver-rules=MAP * 127.0.0.1",
];

/// A browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Debian's Chromium: BoringSSL is inside the program, without symbols.
    Chromium,
    /// The same, with the extension that reports every page.
    Reporting(Window),
    /// Firefox ESR: NSS, behind NSPR.
    Firefox,
    /// surf, on WebKitGTK: GnuTLS, in a process of its own for the network.
    WebKit,
    /// An application on Qt WebEngine, from PyPI: Chromium as a library, its
    /// network service a thread of the application's.
    QtWebEngine,
}

/// Which windows Chromium opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// One of the profile's.
    Normal,
    /// One that is said to leave no traces.
    Private,
}

impl Engine {
    /// The name of the file that is executed, which it is watched by.
    pub fn exe(self) -> &'static str {
        match self {
            Self::Chromium | Self::Reporting(_) => "chromium",
            Self::Firefox => "firefox-esr",
            Self::WebKit => "surf",
            Self::QtWebEngine => "tracer-qt-app",
        }
    }

    /// What its plaintext is given to: a function, and part of the path of the
    /// file that holds it.
    pub fn tls(self) -> (&'static str, &'static str) {
        match self {
            Self::Chromium | Self::Reporting(_) => ("SSL_write", CHROMIUM),
            Self::Firefox => ("PR_Write", "libnspr4.so"),
            Self::WebKit => ("gnutls_record_send", "libgnutls.so"),
            Self::QtWebEngine => ("SSL_write", "libQt6WebEngineCore.so"),
        }
    }

    /// Whether it can send before that is found: WebKitGTK loads its TLS library
    /// with its first connection, and Qt's is a large file to look into. What is
    /// in the program itself, or mapped early, is found in time.
    pub fn is_found_late(self) -> bool {
        matches!(self, Self::WebKit | Self::QtWebEngine)
    }

    /// When those who read with it go on to the next page.
    pub fn reader(self) -> Reader {
        match self {
            Self::Reporting(_) => Reader::Reported,
            _ => Reader::Hasty,
        }
    }

    /// Starts it at a URL; `None`, and the test is skipped, where it is not
    /// installed.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(self, web: &Web, url: &str) -> Option<Browser> {
        match self {
            Self::Chromium => chromium(url, Window::Normal, false),
            Self::Reporting(window) => chromium(url, window, true),
            Self::Firefox => firefox(web, url),
            Self::WebKit => surf(web, url),
            Self::QtWebEngine => qt_web_engine(url),
        }
    }
}

fn chromium(url: &str, window: Window, reporter: bool) -> Option<Browser> {
    if !skip::met(installed("chromium"), "chromium (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let profile = folder.path().join("profile");
    let mut command = Command::new("chromium");
    command
        .args(FLAGS)
        .args(["--headless=new", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update"])
        .arg(format!("--user-data-dir={}", profile.display()));
    if reporter {
        command
            .arg(format!("--load-extension={}", fixture("reporter").display()))
            .arg("--disable-features=DisableLoadExtensionCommandLineSwitch");
    }
    if window == Window::Private {
        command.arg("--incognito");
        // What its user agrees to in the extension's settings.
        let allowed = json!({"extensions": {"settings": {REPORTER_ID: {"incognito": true}}}});
        let folder = profile.join("Default");
        fs::create_dir_all(&folder).expect("a profile");
        fs::write(folder.join("Preferences"), allowed.to_string()).expect("its preferences");
    }
    Some(Browser::start(command, folder, None, url))
}

fn firefox(web: &Web, url: &str) -> Option<Browser> {
    let there = installed("firefox-esr") && installed("certutil");
    if !skip::met(there, "firefox-esr and libnss3-tools (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let profile = folder.path().join("profile");
    fs::create_dir(&profile).expect("a profile");
    let database = format!("sql:{}", profile.display());
    certutil(&["-N", "-d", &database, "--empty-password"]);
    let ca = web.ca();
    certutil(&["-A", "-d", &database, "-n", "tests", "-t", "C,,", "-i", path(&ca)]);
    // Nothing leaves the machine.
    let preferences = "user_pref(\"network.dns.forceResolve\", \"127.0.0.1\");\n";
    fs::write(profile.join("user.js"), preferences).expect("its preferences");
    let mut command = Command::new("firefox-esr");
    command.args(["--headless", "--no-remote", "--profile", path(&profile)]);
    Some(Browser::start(command, folder, None, url))
}

/// It takes names and CAs from the system only, which is another one for it:
/// its mount namespace has a `hosts` and CA certificates of the tests'.
fn surf(web: &Web, url: &str) -> Option<Browser> {
    const CAS: &str = "/etc/ssl/certs/ca-certificates.crt";
    const MOUNT: &str = "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" \"$3\" && \
                         shift 3 && exec \"$@\"";
    let there = installed("surf") && installed("Xvfb") && Path::new(CAS).is_file();
    if !skip::met(there, "surf, xvfb and ca-certificates (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost {NEWS} {TRACKER} {COLLECTOR}\n"))
        .expect("its names");
    let screen = Screen::start();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", MOUNT, "sh", path(&hosts), path(&web.ca()), CAS, "surf"])
        // The software in its stead is on every machine.
        .env("LIBGL_ALWAYS_SOFTWARE", "1");
    Some(Browser::start(command, folder, Some(screen), url))
}

/// Run by a copy of Python: it is then an application with a name, as one
/// that is shipped with its Python.
fn qt_web_engine(url: &str) -> Option<Browser> {
    let python = web::python()?;
    let packages = packages(&python);
    if !skip::met(packages.is_some(), "PyQt6-WebEngine (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let application = folder.path().join(Engine::QtWebEngine.exe());
    let python = python.canonicalize().expect("the venv's Python");
    fs::copy(python, &application).expect("a copy of Python");
    fs::set_permissions(&application, fs::Permissions::from_mode(0o755)).expect("its mode");
    let flags: Vec<String> = FLAGS.iter().map(|flag| format!("\"{flag}\"")).collect();
    let mut command = Command::new(application);
    command
        .arg(fixture("webengine.py"))
        .env("PYTHONPATH", packages?)
        .env("QT_QPA_PLATFORM", "offscreen")
        .env("QTWEBENGINE_CHROMIUM_FLAGS", flags.join(" "));
    Some(Browser::start(command, folder, None, url))
}

/// Where this Python has Qt WebEngine, if it has.
fn packages(python: &Path) -> Option<PathBuf> {
    const WHERE: &str = "import PyQt6.QtWebEngineCore as it; print(it.__file__)";
    let output = Command::new(python).args(["-c", WHERE]).output().ok()?;
    let file = PathBuf::from(String::from_utf8(output.stdout).ok()?);
    output.status.success().then(|| file.ancestors().nth(2).map(Path::to_owned)).flatten()
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("tracer-browser-").tempdir().expect("a folder")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn certutil(arguments: &[&str]) {
    let output = Command::new("certutil").args(arguments).output().expect("certutil");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
