//! `tracer demo`: shows alerts for test clients on loopback.
//!
//! Two clients, each with its own UID, "visit" the same pages. One reports every page to a
//! collector, as a phone maker's browser did in 2020. The other reports only the number of pages.
//! tracer watches both UIDs. As in `tracer run`, a process without rights decodes.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use data_encoding::BASE64;
use flate2::{Compression, write::GzEncoder};

use super::{capture::channel::Message, confine, presentation, session::print_summary, style};
use crate::sink::{Human, Sink as _, Text};
use tracer_core::{
    alert::Notice,
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    wording::counted,
};
use tracer_host::{
    hook::{Capture, DEFAULT_RING, Events, SocketHook, Target, Watch},
    sandbox,
};

/// Show alerts for a test client that reports its visits, and none for one that does not (needs
/// root).
///
/// Two clients visit the same pages. One of them reports each page to a collector, the other does
/// not. Nothing leaves the machine.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// One of the demo's clients.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    #[arg(long, value_enum)]
    manners: Manners,
    #[arg(long)]
    server: SocketAddr,
}

/// Behaviour of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Manners {
    /// Reports every page under a permanent identifier.
    Tattling,
    /// Reports the number of pages.
    Discreet,
}

impl Manners {
    fn name(self) -> &'static str {
        match self {
            Self::Tattling => "tattling",
            Self::Discreet => "discreet",
        }
    }

    /// Returns a UID that no user has, near the end of the range that systemd reserves for dynamic
    /// users of services (61184 to 65519, systemd's UIDS-GIDS.md).
    fn uid(self) -> u32 {
        match self {
            Self::Tattling => 65_510,
            Self::Discreet => 65_511,
        }
    }
}

/// Pages that both clients visit.
const PAGES: [&str; 3] = [
    "https://news.example.org/politics/story-42?q=private",
    "https://health.example.net/symptoms/insomnia",
    "https://shop.example.com/cart?item=1984",
];

/// The permanent identifier.
const DISTINCT_ID: &str = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";

pub(super) fn demo(_: &Args) -> anyhow::Result<ExitCode> {
    let watch = Watch {
        targets: [Manners::Tattling, Manners::Discreet].map(|m| Target::Uid(m.uid())).to_vec(),
        ..Watch::default()
    };
    sandbox::protect_memory()?;
    let (capture, _) = Capture::start_best(&SocketHook::ALL, &watch, DEFAULT_RING)?;
    let mut decoder = Decoder::start()?;
    let mut events = Events::start(capture.reader()?, None, None)?;
    let server = serve().context("cannot serve on loopback")?;

    let mut out = io::stdout().lock();
    writeln!(
        out,
        "Two clients visit the same {} pages, and tracer watches what they send.",
        PAGES.len()
    )?;
    writeln!(
        out,
        "One is discreet. The other reports each page, as a phone maker's browser did in 2020.\n"
    )?;
    for manners in [Manners::Discreet, Manners::Tattling] {
        let status = client_process(manners, server)?;
        ensure!(status.success(), "the {} client failed: {status}", manners.name());
        writeln!(out, "client {} (uid {}): done", manners.name(), manners.uid())?;
    }
    writeln!(out)?;

    events.stop();
    drop(out);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut messages = Vec::new();
    runtime.block_on(async {
        while let Some(batch) = events.next().await {
            Message::Events(batch).write(&mut messages);
            decoder.send(&mut messages)?;
        }
        Message::Ended.write(&mut messages);
        decoder.send(&mut messages)
    })?;
    events.join()?;
    decoder.end()
}

/// The process that decodes, and prints the alerts.
struct Decoder {
    socket: UnixStream,
    child: Child,
}

impl Decoder {
    fn start() -> anyhow::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg(DECODE)
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .context("cannot start the decoding process")?;
        Ok(Self { socket, child })
    }

    /// Sends messages, and empties the buffer.
    fn send(&mut self, messages: &mut Vec<u8>) -> anyhow::Result<()> {
        let sent = self.socket.write_all(messages);
        ensure!(sent.is_ok(), "the decoding process has died");
        messages.clear();
        Ok(())
    }

    /// Waits until the process has ended, and returns its exit code.
    fn end(mut self) -> anyhow::Result<ExitCode> {
        let status = self.child.wait()?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        code.map(ExitCode::from).context("the decoding process has died")
    }
}

/// Hidden subcommand that decodes for the demo.
const DECODE: &str = "demo-decode";

/// Arguments of the hidden subcommand that decodes.
#[derive(Debug, clap::Args)]
pub(super) struct DecodeArgs {}

/// Decodes what the process at the other end of standard input captures, and prints the alerts.
pub(super) fn decode(_: &DecodeArgs) -> anyhow::Result<ExitCode> {
    let mut socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    socket.peer_addr().context("standard input is not a socket; this command is internal")?;
    // The time zone is in a file.
    let text = Text::new(style(), presentation(false));
    confine::decoder(false)?;
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut outputs = Vec::new();
    loop {
        match Message::read(&mut socket)? {
            Some(Message::Events(events)) => {
                events.into_iter().for_each(|event| pipeline.push(event, &mut outputs));
            }
            Some(Message::Ended) => break,
            // The demo has failed, and says why.
            _ => return Ok(ExitCode::FAILURE),
        }
    }
    pipeline.finish(&mut outputs);
    show(&pipeline, &outputs, text)
}

fn show(pipeline: &Pipeline, outputs: &[Output], mut text: Text) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    // All values are fictitious, so nothing is redacted.
    let mut sink = Human::new(&mut out, &mut text);
    for notice in outputs.iter().filter_map(Notice::from_output) {
        sink.notice(&notice)?;
    }
    let alerts = |manners: Manners| {
        outputs
            .iter()
            .filter(|output| match output {
                Output::Request(decoded) => {
                    decoded.is_alert() && decoded.sent.process.uid == manners.uid()
                }
                Output::Lost { .. } | Output::Repeated { .. } => false,
            })
            .count()
    };
    let (caught, accused) = (alerts(Manners::Tattling), alerts(Manners::Discreet));
    writeln!(out)?;
    print_summary(pipeline);
    writeln!(
        out,
        "\nThe tattling client: {} for {} reported.",
        counted(caught as u64, "alert"),
        counted(PAGES.len() as u64, "page")
    )?;
    writeln!(out, "The discreet client: {}.", counted(accused as u64, "alert"))?;
    if caught == PAGES.len() && accused == 0 {
        writeln!(out, "Next: sudo tracer run --browsers   (see `tracer run --help`)")?;
        return Ok(ExitCode::SUCCESS);
    }
    message!("the demo had an unexpected result; please report the output above as a bug");
    Ok(ExitCode::FAILURE)
}

/// Runs a client under its UID. `/proc/self/exe` works even if the binary lies in a folder that the
/// UID cannot enter.
fn client_process(
    manners: Manners,
    server: SocketAddr,
) -> anyhow::Result<std::process::ExitStatus> {
    Command::new("/proc/self/exe")
        .args(["demo-client", "--manners", manners.name(), "--server", &server.to_string()])
        .stdin(Stdio::null())
        .uid(manners.uid())
        .gid(manners.uid())
        .status()
        .context("cannot start a client under another UID")
}

/// Starts the server of the pages and the collector. It answers every request with 204.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("demo-server".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // Errors of one client do not stop the server.
            let _ = answer(stream);
        }
    })?;
    Ok(address)
}

fn answer(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.by_ref().take(1 << 16).read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            break;
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    (&stream).write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
}

/// Runs a client: visits the pages and reports them.
pub(super) fn client(args: &ClientArgs) -> anyhow::Result<ExitCode> {
    // It is executed as `exe`, and may end before its file is looked up.
    rustix::thread::set_name(c"tracer")?;
    for page in PAGES {
        visit(args.server, page)?;
        if args.manners == Manners::Tattling {
            report(args.server, page)?;
        }
    }
    if args.manners == Manners::Discreet {
        let body = format!(r#"{{"event":"usage","pages":{},"version":"1.0"}}"#, PAGES.len());
        post(args.server, "/usage", "application/json", &body)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Requests a page as a browser does.
fn visit(server: SocketAddr, page: &str) -> anyhow::Result<()> {
    let rest = page.strip_prefix("https://").unwrap_or(page);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    send(
        server,
        &format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\
             Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\
             Sec-Fetch-Dest: document\r\n\r\n"
        ),
    )
}

/// Reports a page in the format of the Sensors Analytics SDK: form, base64, gzip, JSON.
fn report(server: SocketAddr, page: &str) -> anyhow::Result<()> {
    let events = serde_json::json!([{
        "type": "track",
        "event": "page_load_event_start",
        "distinct_id": DISTINCT_ID,
        "properties": { "url": page, "uuid": DISTINCT_ID },
    }]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(events.to_string().as_bytes())?;
    let data = BASE64.encode(&gzip.finish()?);
    let data = data.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let body = format!("data_list={data}&gzip=1");
    post(server, "/sa?project=global_browser_mini", "application/x-www-form-urlencoded", &body)
}

fn post(server: SocketAddr, path: &str, content_type: &str, body: &str) -> anyhow::Result<()> {
    send(
        server,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: collector.example\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn send(server: SocketAddr, request: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(request.as_bytes())?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
