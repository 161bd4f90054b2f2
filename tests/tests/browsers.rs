//! Real clients that speak HTTP/1.1 over TLS: what they send is read, and who
//! tells others what they visit is accused, and nobody else.

use std::{
    fs::File,
    os::unix::{fs::FileExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::{
    browser::{Window, chromium, firefox, has_finding},
    sender::unused_uid,
    skip,
    tracer_bin::{self, Running},
    watched::{is_alert, lines, watch},
    web::{self, COLLECTOR, Protocol, Reader, Request, Web, fixture, installed},
};

/// Where Debian keeps it; the `chromium` on the path is a script.
const CHROMIUM: &str = "/usr/lib/chromium/chromium";

/// One browser at a time: there is one machine, and they are watched by name.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn chromium_is_read_and_not_accused() {
    let _alone = alone();
    if !skip::root() {
        return;
    }
    let start = |web: &Web| chromium(web, Window::Normal, false);
    if let Some(watched) = watch("chromium", Protocol::Http1, Reader::Hasty, start) {
        watched.all_was_read();
        watched.no_alert();
    }
}

#[test]
fn firefox_is_read_and_not_accused() {
    let _alone = alone();
    if !skip::root() {
        return;
    }
    if let Some(watched) = watch("firefox-esr", Protocol::Http1, Reader::Hasty, firefox) {
        watched.all_was_read();
        watched.no_alert();
    }
}

/// The story of 2020.
#[test]
fn an_extension_that_reports_every_page_is_accused_of_each() {
    let _alone = alone();
    if !skip::root() {
        return;
    }
    let start = |web: &Web| chromium(web, Window::Normal, true);
    if let Some(watched) = watch("chromium", Protocol::Http1, Reader::Reported, start) {
        watched.all_was_read();
        watched.the_reporter_is_accused(CHROMIUM);
    }
}

#[test]
fn so_it_is_in_private_windows() {
    let _alone = alone();
    if !skip::root() {
        return;
    }
    let start = |web: &Web| chromium(web, Window::Private, true);
    if let Some(watched) = watch("chromium", Protocol::Http1, Reader::Reported, start) {
        watched.all_was_read();
        watched.the_reporter_is_accused(CHROMIUM);
    }
}

/// A command line program that tells somebody about a page.
struct Client {
    program: &'static str,
    /// Part of the name of the library that it encrypts with.
    library: &'static str,
    hook: &'static str,
    /// Whom it tells, by what request, and how the page is wrapped in it.
    host: &'static str,
    method: &'static str,
    path: fn(page: &str) -> String,
    chain: &'static str,
    /// Arguments before the URL.
    arguments: fn(web: &Web, page: &str) -> Vec<String>,
}

#[test]
fn curl_is_read_through_openssl() {
    tells(&Client {
        program: "curl",
        library: "libssl.so",
        hook: "ssl_write",
        host: COLLECTOR,
        method: "POST",
        path: |_| "/report".into(),
        chain: "body > form:page",
        arguments: |web, page| {
            let resolve = format!("{COLLECTOR}:{}:127.0.0.1", web.port());
            let field = format!("page={page}");
            let ca = web.ca().display().to_string();
            ["-sS", "--cacert", &ca, "--resolve", &resolve, "--data-urlencode", &field]
                .map(str::to_owned)
                .into()
        },
    });
}

#[test]
fn wget_is_read_through_gnutls() {
    tells(&Client {
        program: "wget",
        library: "libgnutls.so",
        hook: "gnutls_record_send",
        host: "localhost",
        method: "POST",
        path: |_| "/report".into(),
        chain: "body > json.page",
        arguments: |web, page| {
            vec![
                "--quiet".into(),
                "--output-document=-".into(),
                "--no-hsts".into(),
                format!("--ca-certificate={}", web.ca().display()),
                "--header=Content-Type: application/json".into(),
                format!("--post-data={{\"page\":\"{page}\"}}"),
            ]
        },
    });
}

#[test]
fn w3m_is_read_through_openssl() {
    tells(&Client {
        program: "w3m",
        library: "libssl.so",
        hook: "ssl_write",
        host: "localhost",
        method: "GET",
        path: |page| format!("/report?page={}", page.replace(':', "%3A").replace('/', "%2F")),
        chain: "query:page",
        arguments: |web, _| {
            vec!["-dump".into(), "-o".into(), format!("ssl_ca_file={}", web.ca().display())]
        },
    });
}

/// Has the client tell of a page of another site's, as a user nobody else is.
fn tells(client: &Client) {
    const PAGE: &str = "https://news.example.org/politics/story-42";
    let _alone = alone();
    let program = client.program;
    if !skip::root()
        || !skip::met(installed(program), &format!("{program} (`cargo xtask setup --tests`)"))
    {
        return;
    }
    let Some(mut web) = Web::start(Protocol::Http1, Reader::Hasty) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let trace = trace.to_str().expect("a path in UTF-8");
    let uid = unused_uid();
    let mut run = Running::start(&[
        "--uid",
        &uid.to_string(),
        "--json",
        "--show-values",
        "--verbose",
        "--record",
        trace,
    ]);

    // The first process that maps a library can be quicker than the probes are
    // set. A page of the recipient's own is nobody's secret.
    let own = web.url(client.host, "/own");
    let deadline = Instant::now() + Duration::from_secs(90);
    let probed = |line: &str| line.contains("reads ") && line.contains(client.library);
    loop {
        client.tell(&web, uid, &own);
        if run.notes(probed, Duration::from_secs(2)) {
            break;
        }
        assert!(Instant::now() < deadline, "{} is not probed", client.library);
    }

    client.tell(&web, uid, PAGE);
    let request = Request {
        method: client.method.into(),
        authority: web.authority(client.host),
        path: (client.path)(PAGE),
    };
    web.wait_for(std::slice::from_ref(&request));
    let alert = run.json(is_alert);
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let count = lines(&ended.stdout).iter().filter(|line| is_alert(line)).count();
    assert_eq!(count, 1, "{}", ended.stdout);

    assert_eq!(alert["process"]["uid"], uid, "{alert:#}");
    assert_eq!(alert["process"]["comm"], program, "{alert:#}");
    assert_eq!(alert["hook"], client.hook, "{alert:#}");
    assert_eq!(alert["connection"]["transport"], "tls", "{alert:#}");
    assert_eq!(alert["initiator"], "unknown", "{alert:#}");
    let decode = tracer_bin::run(&mut tracer_bin::command(["decode", "--json", trace]));
    assert_eq!(decode.code, Some(0), "{}", decode.stderr);
    let decoded = lines(&decode.stdout);
    let decoded = decoded.last().expect("a request");
    for shown in [&alert, decoded] {
        assert_eq!(shown["request"]["protocol"], "http/1.1", "{shown:#}");
        assert_eq!(shown["request"]["method"], *request.method, "{shown:#}");
        assert_eq!(shown["request"]["authority"], *request.authority, "{shown:#}");
        assert_eq!(shown["request"]["path"], *request.path, "{shown:#}");
        assert_eq!(shown["complete"], true, "{shown:#}");
        assert!(has_finding(shown, client.chain, PAGE), "{shown:#}");
    }
}

impl Client {
    /// Runs it to its end under this UID.
    fn tell(&self, web: &Web, uid: u32, page: &str) {
        let output = Command::new(self.program)
            .args((self.arguments)(web, page))
            .arg(web.url(self.host, &(self.path)(page)))
            // None that it could write to.
            .env("HOME", "/")
            .current_dir("/")
            .stdin(Stdio::null())
            .uid(uid)
            .gid(uid)
            .output()
            .expect("a client");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} failed: {said}", self.program);
    }
}

/// What `tracer locate --json` says of a file.
fn locate(file: &str) -> Value {
    let ended = tracer_bin::run(&mut tracer_bin::command(["locate", "--json", file]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut all = lines(&ended.stdout);
    assert_eq!(all.len(), 1, "{}", ended.stdout);
    all.remove(0)
}

fn function<'a>(located: &'a Value, name: &str) -> &'a Value {
    let functions = located["functions"].as_array().expect("functions");
    let mut found = functions.iter().filter(|function| function["name"] == name);
    let function = found.next().unwrap_or_else(|| panic!("{name} in {located:#}"));
    assert!(found.next().is_none(), "{name} twice in {located:#}");
    // Probed in the prologue, before the arguments are gone.
    let place = |field: &str| function[field].as_u64().expect("an offset");
    let into = place("probe_offset").checked_sub(place("file_offset")).expect("not before it");
    assert!(into < 32, "{function:#}");
    function
}

/// The dynamic loader knows where exported functions are.
#[test]
fn exported_functions_are_where_the_loader_finds_them() {
    const LIBRARIES: [(&str, &[&str]); 3] = [
        ("libssl.so.3", &["SSL_write", "SSL_write_ex"]),
        ("libgnutls.so.30", &["gnutls_record_send"]),
        ("libnspr4.so", &["PR_Write"]),
    ];
    let Some(python) = web::python() else {
        return;
    };
    for (library, names) in LIBRARIES {
        let output = Command::new(&python)
            .arg(fixture("exported.py"))
            .arg(library)
            .args(names)
            .output()
            .expect("Python");
        if !skip::met(output.status.success(), &format!("{library} (`cargo xtask setup --tests`)"))
        {
            continue;
        }
        let text = String::from_utf8(output.stdout).expect("a path in UTF-8");
        let (path, offsets) = text.split_once('\n').expect("lines");
        let located = locate(path);
        assert_eq!(located["file"], path);
        for (name, offset) in names.iter().zip(offsets.lines()) {
            let function = function(&located, name);
            assert_eq!(function["method"], "export", "{function:#}");
            assert_eq!(function["file_offset"].to_string(), offset, "{function:#}");
        }
    }
}

/// Nobody but tracer knows where it is in there; that it is the right place,
/// the tests above prove.
#[test]
fn chromiums_own_boringssl_is_located() {
    if !skip::met(Path::new(CHROMIUM).is_file(), "chromium (`cargo xtask setup --tests`)") {
        return;
    }
    let _alone = alone();
    let located = locate(CHROMIUM);
    let function = function(&located, "SSL_write");
    assert_eq!(function["method"], "string-xref", "{function:#}");
    let offset = function["file_offset"].as_u64().expect("an offset");
    let file = File::open(CHROMIUM).expect("it is there");
    let mut code = [0; 4];
    file.read_exact_at(&mut code, offset).expect("an offset in the file");
    match located["arch"].as_str() {
        // push rbp; mov rbp, rsp
        Some("x86_64") => assert_eq!(code, [0x55, 0x48, 0x89, 0xe5], "{function:#}"),
        Some("aarch64") => assert_eq!(offset % 4, 0, "{function:#}"),
        arch => panic!("{arch:?}"),
    }
}
