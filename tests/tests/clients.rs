//! Real command line clients over TLS: each discloses a page of another site in one
//! request, which raises an alert.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tracer_tests::{
    browser::has_finding,
    names,
    sender::unused_uid,
    skip,
    tracer_bin::{self, Running},
    watched::{is_alert, lines},
    web::{COLLECTOR, Protocol, Reader, Request, Web, installed},
};

/// The page of another site that clients disclose.
const PAGE: &str = "https://news.example.org/politics/story-42";

/// A command line program and the request with which it discloses a page.
struct Client {
    program: &'static str,
    /// A part of the name of its TLS library.
    library: &'static str,
    hook: &'static str,
    /// Host, method and path of the request, and the chain by which the page is
    /// found in it.
    host: &'static str,
    method: &'static str,
    path: fn(page: &str) -> String,
    chain: &'static str,
    /// Arguments before the URL.
    arguments: fn(web: &Web, page: &str) -> Vec<String>,
}

#[test]
fn curl_is_read_through_openssl() {
    assert_alert(&Client {
        program: "curl",
        library: "libssl.so",
        hook: "ssl_write_internal",
        host: COLLECTOR,
        method: "POST",
        path: |_| "/collect".into(),
        chain: "body > form:page",
        arguments: |web, page| {
            let field = format!("page={page}");
            let ca = web.ca().display().to_string();
            ["-sS", "--cacert", &ca, "--data-urlencode", &field].map(str::to_owned).into()
        },
    });
}

#[test]
fn wget_is_read_through_gnutls() {
    assert_alert(&Client {
        program: "wget",
        library: "libgnutls.so",
        hook: "gnutls_record_send",
        host: COLLECTOR,
        method: "POST",
        path: |_| "/collect".into(),
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
    assert_alert(&Client {
        program: "w3m",
        library: "libssl.so",
        hook: "ssl_write_internal",
        host: COLLECTOR,
        method: "GET",
        path: |page| format!("/collect?page={}", page.replace(':', "%3A").replace('/', "%2F")),
        chain: "query:page",
        arguments: |web, _| {
            vec!["-dump".into(), "-o".into(), format!("ssl_ca_file={}", web.ca().display())]
        },
    });
}

/// Go since 1.17 passes arguments in registers.
#[test]
fn go_program_is_read_over_http2() {
    assert_go_is_read("bazelisk", Protocol::Http2);
}

#[test]
fn go_program_with_arguments_on_the_stack_is_read() {
    assert_go_is_read("bazelisk-2021", Protocol::Http1);
}

/// The program has `SSL_write`, but writes through copies of it in other functions.
#[test]
fn program_that_does_not_call_ssl_write_is_read_where_it_encrypts() {
    let module = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/builds/wreq"));
    if !skip::root() || !skip::met(module.is_file(), "wreq (`cargo xtask setup --tests`)") {
        return;
    }
    let Some(mut web) = Web::start(Protocol::Http2, Reader::Hasty) else {
        return;
    };
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir();
    let folder = folder.expect("a folder");
    let copy = |from: &Path, name: &str| {
        let to = folder.path().join(name);
        fs::copy(from, &to).expect("a copy");
        fs::set_permissions(&to, Permissions::from_mode(0o644)).expect("own file");
        to
    };
    let module = copy(module, "wreq.abi3.so");
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clients/sealing.py"));
    let script = copy(script, "sealing.py");
    let ca = copy(&web.ca(), "ca.pem");
    let uid = unused_uid();
    let mut run =
        Running::start(&["--uid", &uid.to_string(), "--json", "--show-values", "--verbose"]);
    let request = Request {
        method: "POST".into(),
        authority: web.authority(COLLECTOR),
        path: format!("/collect?page={}", PAGE.replace(':', "%3A").replace('/', "%2F")),
    };
    let hosts = names::write_hosts(folder.path());
    // Debian's: another one may be in a folder that only root can enter.
    let mut client = names::command(&hosts, Some(uid), "/usr/bin/python3");
    client.arg(script).args([module, ca]).arg(web.url(COLLECTOR, &request.path));
    client.current_dir("/").stdin(Stdio::piped());
    let mut client = client.spawn().expect("Python");
    let probed = |line: &str| line.contains("reading ") && line.contains("wreq.abi3.so");
    run.expect_said(probed, Duration::from_secs(90), "the module is not probed");
    drop(client.stdin.take());
    assert!(client.wait().expect("a client").success());
    web.wait_for(std::slice::from_ref(&request));
    let alert = run.wait_for_json(is_alert);
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    assert_eq!(alert["hook"], "tls_seal", "{alert:#}");
    assert_eq!(alert["connection"]["transport"], "tls", "{alert:#}");
    assert_eq!(alert["request"]["protocol"], "h2", "{alert:#}");
    assert_eq!(alert["request"]["path"], *request.path, "{alert:#}");
    assert!(has_finding(&alert, "query:page", PAGE), "{alert:#}");
    let output = lines(&ended.stdout);
    assert_eq!(output.iter().filter(|line| is_alert(line)).count(), 1, "{}", ended.stdout);
    let summary = output.last().expect("a summary");
    assert_eq!(summary["applications"][0]["percent_read"], 100, "{summary:#}");
}

/// Makes a Go program, which gets a file from a configured server, disclose a page in the
/// address of that file.
fn assert_go_is_read(build: &str, protocol: Protocol) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/builds")).join(build);
    if !skip::root() || !skip::met(path.is_file(), "bazelisk (`cargo xtask setup --tests`)") {
        return;
    }
    let Some(mut web) = Web::start(protocol, Reader::Hasty) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join(build);
    fs::copy(path, &program).expect("a copy");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("own file");
    // Probed before it runs.
    let mut run = Running::start(&[
        "--exe",
        program.to_str().expect("a path in UTF-8"),
        "--json",
        "--show-values",
        "--verbose",
    ]);
    let probed = |line: &str| line.contains("reading crypto/tls.(*Conn).writeRecordLocked");
    run.expect_said(probed, Duration::from_secs(90), "the program is not probed");

    let query = format!("page={}&file=", PAGE.replace(':', "%3A").replace('/', "%2F"));
    let hosts = names::write_hosts(folder.path());
    let output = names::command(&hosts, None, program.to_str().expect("a path in UTF-8"))
        .arg("version")
        .env("BAZELISK_BASE_URL", web.url(COLLECTOR, &format!("/collect?{query}")))
        .env("BAZELISK_HOME", folder.path())
        .env("SSL_CERT_FILE", web.ca())
        .env("USE_BAZEL_VERSION", "7.0.0")
        .stdin(Stdio::null())
        .output()
        .expect("a client");
    // What it got is not Bazel.
    let said = String::from_utf8_lossy(&output.stderr);
    let request = Request {
        method: "GET".into(),
        authority: web.authority(COLLECTOR),
        path: format!("/collect?{query}/7.0.0/bazel-7.0.0-linux-x86_64"),
    };
    assert!(web.wait_for(std::slice::from_ref(&request)).contains(&request), "{said}");
    let alert = run.wait_for_json(is_alert);
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    assert_eq!(alert["hook"], "go_tls", "{alert:#}");
    assert_eq!(alert["request"]["protocol"], protocol.alpn(), "{alert:#}");
    assert_eq!(alert["request"]["path"], *request.path, "{alert:#}");
    assert_eq!(alert["complete"], true, "{alert:#}");
    assert!(has_finding(&alert, "query:page", PAGE), "{alert:#}");
    let output = lines(&ended.stdout);
    assert_eq!(output.iter().filter(|line| is_alert(line)).count(), 1, "{}", ended.stdout);
    // The ciphertext is recognised as that of the plaintext.
    let summary = output.last().expect("a summary");
    let account = &summary["applications"][0];
    assert_eq!(account["percent_read"], 100, "{summary:#}");
    assert!(account["sockets"]["read_in_plain_bytes"].as_u64() > Some(0), "{summary:#}");
}

/// Makes the client disclose a page of another site, under an unused UID.
fn assert_alert(client: &Client) {
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
    // By name: data sent to this machine itself is not a disclosure.
    let hosts = names::write_hosts(folder.path());
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

    // The first process that maps a library can be faster than the probes. A page
    // of the recipient itself discloses nothing.
    let own = web.url(client.host, "/own");
    let deadline = Instant::now() + Duration::from_secs(90);
    let probed = |line: &str| line.contains("reading ") && line.contains(client.library);
    loop {
        client.disclose(&web, &hosts, uid, &own);
        if run.wait_for_stderr(probed, Duration::from_secs(2)) {
            break;
        }
        assert!(Instant::now() < deadline, "{} is not probed", client.library);
    }

    client.disclose(&web, &hosts, uid, PAGE);
    let request = Request {
        method: client.method.into(),
        authority: web.authority(client.host),
        path: (client.path)(PAGE),
    };
    web.wait_for(std::slice::from_ref(&request));
    let alert = run.wait_for_json(is_alert);
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
    /// Runs the client to its end under this UID.
    fn disclose(&self, web: &Web, hosts: &Path, uid: u32, page: &str) {
        let output = names::command(hosts, Some(uid), self.program)
            .args((self.arguments)(web, page))
            .arg(web.url(self.host, &(self.path)(page)))
            // A folder that it cannot write to.
            .env("HOME", "/")
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .expect("a client");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} failed: {said}", self.program);
    }
}
