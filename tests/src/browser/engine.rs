//! The browsers and how to start each of them: headless or on a virtual screen, in
//! a temporary profile, trusting the tests' CA, and with every name resolved to
//! loopback.

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
    leaker, names, skip,
    web::{self, ADS, COLLECTOR, NEWS, Protocol, Reader, TRACKER, Web, fixture, installed},
};

/// ID of the extension in the fixtures, derived from the key in its manifest.
pub const REPORTER_ID: &str = "afnpnmgmjdiifkegmgobgjajjbamchmn";

/// Path of Debian's Chromium. The `chromium` on the path is a script.
pub const CHROMIUM: &str = "/usr/lib/chromium/chromium";

/// Options of every Chromium.
const FLAGS: [&str; 4] = [
    // Tests run as root, and Chromium's sandbox refuses to run as root.
    "--no-sandbox",
    "--disable-gpu",
    "--ignore-certificate-errors",
    // Keeps all traffic on this machine.
    "--host-resolver-rules=MAP * 127.0.0.1",
];

/// Returns the options of Chromium that select the protocol of all sites: HTTP/3, or another one
/// that the server chooses.
fn quic(web: &Web) -> Vec<String> {
    match web.protocol() {
        Protocol::Http3 => vec![
            "--enable-quic".into(),
            "--origin-to-force-quic-on=*".into(),
            // The general option for certificates does not apply to QUIC.
            format!("--ignore-certificate-errors-spki-list={}", web.key_digest()),
        ],
        Protocol::Http1 | Protocol::Http2 => vec!["--disable-quic".into()],
    }
}

/// A browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Debian's Chromium, with BoringSSL linked in and stripped.
    Chromium,
    /// Debian's Chromium with the extension that reports every page.
    Reporting(Window),
    /// Firefox ESR, which uses NSS through NSPR.
    Firefox,
    /// surf, on WebKitGTK, which uses GnuTLS in a separate network process.
    WebKit,
    /// An application on Qt WebEngine, from PyPI: Chromium as a library, with its
    /// network service on a thread of the application.
    QtWebEngine,
}

/// The kind of window that Chromium opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// A normal window.
    Normal,
    /// An incognito window.
    Private,
}

impl Engine {
    /// Returns the name of the executable, by which the browser is watched.
    pub fn exe(self) -> &'static str {
        match self {
            Self::Chromium | Self::Reporting(_) => "chromium",
            Self::Firefox => "firefox-esr",
            Self::WebKit => "surf",
            Self::QtWebEngine => "tracer-qt-app",
        }
    }

    /// Returns the function that receives the plaintext, and a part of the path of
    /// the file that contains it.
    pub fn tls(self) -> (&'static str, &'static str) {
        match self {
            Self::Chromium | Self::Reporting(_) => ("SSL_write", CHROMIUM),
            Self::Firefox => ("PR_Write", "libnspr4.so"),
            Self::WebKit => ("gnutls_record_send", "libgnutls.so"),
            Self::QtWebEngine => ("SSL_write", "libQt6WebEngineCore.so"),
        }
    }

    /// Reports whether the browser can send before tracer has probed that function.
    /// WebKitGTK loads its TLS library with the first connection, and Qt's library
    /// is large and takes long to search. Code in the executable itself, or mapped
    /// early, is probed in time.
    pub fn is_probed_late(self) -> bool {
        matches!(self, Self::WebKit | Self::QtWebEngine)
    }

    /// Returns when the reader of a page moves on to the next one.
    pub fn reader(self) -> Reader {
        match self {
            Self::Reporting(_) => Reader::Reported,
            _ => Reader::Hasty,
        }
    }

    /// Starts the browser at a URL. Returns `None`, and marks the test as skipped,
    /// if the browser is not installed.
    ///
    /// # Panics
    /// Panics if the browser cannot be started.
    pub fn start(self, web: &Web, url: &str) -> Option<Browser> {
        match self {
            Self::Chromium => chromium(web, url, Window::Normal, None),
            Self::Reporting(window) => chromium(web, url, window, Some(&fixture("reporter"))),
            Self::Firefox => firefox(web, url, None),
            Self::WebKit => surf(web, url),
            Self::QtWebEngine => qt_web_engine(web, url),
        }
    }

    /// Starts the browser with an extension: a folder for Chromium, a packed file for Firefox.
    /// Returns `None` as [`Engine::start`] does.
    ///
    /// # Panics
    /// Panics as [`Engine::start`] does, or if this is another browser.
    pub fn start_with(self, extension: &Path, web: &Web, url: &str) -> Option<Browser> {
        match self {
            Self::Chromium => chromium(web, url, Window::Normal, Some(extension)),
            Self::Firefox => firefox(web, url, Some(extension)),
            other => panic!("{other:?} takes no extension"),
        }
    }
}

fn chromium(web: &Web, url: &str, window: Window, extension: Option<&Path>) -> Option<Browser> {
    if !skip::met(installed("chromium"), "chromium (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let profile = folder.path().join("profile");
    let mut command = Command::new("chromium");
    command
        .args(FLAGS)
        .args(quic(web))
        .args(["--headless=new", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update"])
        .arg(format!("--user-data-dir={}", profile.display()));
    if let Some(extension) = extension {
        command
            .arg(format!("--load-extension={}", extension.display()))
            .arg("--disable-features=DisableLoadExtensionCommandLineSwitch");
    }
    if window == Window::Private {
        command.arg("--incognito");
        // The permission that a user gives in the extension's settings.
        let allowed = json!({"extensions": {"settings": {REPORTER_ID: {"incognito": true}}}});
        let folder = profile.join("Default");
        fs::create_dir_all(&folder).expect("a profile");
        fs::write(folder.join("Preferences"), allowed.to_string()).expect("the preferences");
    }
    Some(Browser::start(command, folder, None, url))
}

fn firefox(web: &Web, url: &str, extension: Option<&Path>) -> Option<Browser> {
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
    // Keeps all traffic on this machine.
    let mut preferences = "user_pref(\"network.dns.forceResolve\", \"127.0.0.1\");\n".to_owned();
    if web.protocol() == Protocol::Http3 {
        let sites = [NEWS, TRACKER, COLLECTOR, ADS];
        let sites = sites.map(|host| format!("{host};h3=:{}", web.port())).join(",");
        preferences += &format!(
            "user_pref(\"network.http.http3.alt-svc-mapping-for-testing\", \"{sites}\");\n\
             user_pref(\"network.http.http3.disable_when_third_party_roots_found\", false);\n"
        );
    }
    if let Some(extension) = extension {
        preferences += leaker::FIREFOX_PREFERENCES;
        let folder = profile.join("extensions");
        fs::create_dir(&folder).expect("a folder");
        fs::copy(extension, folder.join(leaker::FIREFOX_FILE)).expect("the extension");
    }
    fs::write(profile.join("user.js"), preferences).expect("the preferences");
    let mut command = Command::new("firefox-esr");
    command.args(["--headless", "--no-remote", "--profile", path(&profile)]);
    Some(Browser::start(command, folder, None, url))
}

/// Starts surf. It takes names and CAs from the system only, so it runs in a mount
/// namespace with the tests' `hosts` file and CA certificate.
fn surf(web: &Web, url: &str) -> Option<Browser> {
    const CAS: &str = "/etc/ssl/certs/ca-certificates.crt";
    const MOUNT: &str = "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" \"$3\" && \
                         shift 3 && exec \"$@\"";
    let there = installed("surf") && installed("Xvfb") && Path::new(CAS).is_file();
    if !skip::met(there, "surf, xvfb and ca-certificates (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let hosts = names::write_hosts(folder.path());
    let screen = Screen::start();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", MOUNT, "sh", path(&hosts), path(&web.ca()), CAS, "surf"])
        // Software rendering works on every machine.
        .env("LIBGL_ALWAYS_SOFTWARE", "1");
    Some(Browser::start(command, folder, Some(screen), url))
}

/// Starts a Qt WebEngine application. It runs on a copy of Python, which gives it
/// an executable name of its own, like an application that ships with its Python.
fn qt_web_engine(web: &Web, url: &str) -> Option<Browser> {
    let python = web::python()?;
    let packages = packages(&python);
    if !skip::met(packages.is_some(), "PyQt6-WebEngine (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let application = folder.path().join(Engine::QtWebEngine.exe());
    let python = python.canonicalize().expect("the venv's Python");
    fs::copy(python, &application).expect("a copy of Python");
    fs::set_permissions(&application, fs::Permissions::from_mode(0o755)).expect("permissions");
    let flags = FLAGS.into_iter().map(str::to_owned).chain(quic(web));
    let flags: Vec<String> = flags.map(|flag| format!("\"{flag}\"")).collect();
    let mut command = Command::new(application);
    command
        .arg(fixture("webengine.py"))
        .env("PYTHONPATH", packages?)
        .env("QT_QPA_PLATFORM", "offscreen")
        .env("QTWEBENGINE_CHROMIUM_FLAGS", flags.join(" "));
    Some(Browser::start(command, folder, None, url))
}

/// Returns the folder of packages that has Qt WebEngine for this Python, if any.
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
