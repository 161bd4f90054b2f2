//! `tracer decode`: decodes recordings.

mod jobs;
mod printer;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::ValueEnum;

use self::printer::Printer;
use super::{
    confine, rules,
    session::{unknown_hosts, unread},
    terminal,
};
use crate::files::{self, Input};
use tracer_core::{
    alert::{arrival_lines, printable},
    knowledge::Knowledge,
    pipeline::Pipeline,
    proto::{self, Transcript},
    record::{
        Connection, Event, Hook, Process, Transport,
        trace::{self, TraceError},
    },
    stream::Sent,
    wording::counted,
};
use tracer_formats::{CLOCK, Content, Recording, detect_foreign, har, pcapng, unpack};

/// Decode traces, HAR files, packet captures or raw HTTP requests (works without root).
///
/// Traces come from `tracer run --record` and `tracer audit`. HAR, pcapng and pcap come from other
/// tools. All of them may be compressed (gzip, zstd, ZIP). Files of other formats are named, with
/// the command that converts them; the rest is read as HTTP requests.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Format of the files
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// Judge the requests as if this browser had sent them (name in the rules, for example "Mi
    /// Browser")
    #[arg(long, value_name = "NAME")]
    browser: Option<String>,
    /// Print one line of JSON for each request (see docs/reference/decode.md)
    #[arg(long)]
    json: bool,
    /// Decode this number of files at once. The output is the same, and in the order of the files
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(jobs::MAX)))]
    jobs: u16,
    #[command(flatten)]
    rules: rules::Folder,
    /// Files to decode; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Detect the format from the first bytes
    Auto,
    /// Raw HTTP/1.1 requests, one after another
    Http,
    /// Trace of `tracer run --record` or `tracer audit`
    Trace,
    /// HTTP archive of mitmproxy, browsers' developer tools, PCAPdroid or Charles
    Har,
    /// Packet capture (pcapng or pcap) of Wireshark, tcpdump or PCAPdroid
    Pcapng,
}

/// Contents of a file.
enum Contents {
    Http,
    Trace,
    Recording(Recording),
}

impl Contents {
    fn detect(format: Format, head: &[u8]) -> Self {
        // Traces of unknown versions are traces too, and reported as an error.
        let is_trace = head.len() >= trace::MAGIC.len() && head[..7] == trace::MAGIC[..7];
        match format {
            Format::Auto if is_trace => Self::Trace,
            Format::Auto => Recording::detect(head).map_or(Self::Http, Self::Recording),
            Format::Http => Self::Http,
            Format::Trace => Self::Trace,
            Format::Har => Self::Recording(Recording::Har),
            Format::Pcapng => Self::Recording(Recording::Pcapng),
        }
    }

    /// Returns an error if the file is one of another tool that tracer does not read.
    fn check(&self, head: &[u8], path: &Path) -> anyhow::Result<()> {
        let name = match self {
            Self::Http if proto::begins_with_request(head) => return Ok(()),
            Self::Http => path.file_name().and_then(|name| name.to_str()),
            Self::Recording(Recording::Har) if !begins_with_log(head) => None,
            Self::Trace | Self::Recording(_) => return Ok(()),
        };
        match detect_foreign(head, name) {
            Some(tool) => Err(anyhow::anyhow!("{tool}")),
            None => Ok(()),
        }
    }
}

/// Reports whether a capture consists of blocks, of which some may hold keys: it is pcapng
/// and not pcap.
fn has_blocks(head: &[u8]) -> bool {
    head.starts_with(b"\x0a\x0d\x0d\x0a")
}

/// Reports whether a JSON file begins like a HAR.
fn begins_with_log(head: &[u8]) -> bool {
    const LOG: &[u8] = b"{\"log\":";
    let mut bytes = head.iter().filter(|b| !b.is_ascii_whitespace());
    LOG.iter().all(|expected| bytes.next() == Some(expected))
}

/// Maximum size of a file of raw requests, which is read into memory.
const MAX_HTTP: u64 = 256 << 20;

pub(super) fn decode(args: &Args) -> anyhow::Result<ExitCode> {
    let rules = args.rules.read()?;
    files::raise_limit();
    let inputs: Vec<_> = args.files.iter().map(|path| (path, open(path))).collect();
    match args.jobs {
        1 => confine::to_open_files()?,
        _ => confine::to_open_files_and_threads()?,
    }
    let knowledge = rules.parse()?;
    if let Some(name) = &args.browser {
        rules::browser(knowledge.rules(), name)?;
    }
    let read = |(path, input): (&PathBuf, anyhow::Result<Option<Input>>),
                mut out: &mut dyn Write| {
        let mut printer = Printer::new(path, args.json, &mut out);
        // Continue with the other files after an error.
        let read = input.and_then(|input| file(args, path, input, &knowledge, &mut printer));
        printer.finish()?;
        let is_silent = read.is_ok() && printer.is_silent();
        if let Err(err) = &read {
            if super::is_closed_pipe(err) {
                return read.map(|()| false);
            }
            out.flush()?;
            message!("{}: {}", name(path), terminal::explained(err));
        }
        if is_silent {
            message!("{}: it holds no request that tracer can read", name(path));
        }
        Ok(read.is_ok())
    };
    let results = jobs::in_order(inputs, args.jobs, io::stdout(), read)?;
    let succeeded = results.into_iter().all(|succeeded| succeeded);
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn file<W: Write>(
    args: &Args,
    path: &Path,
    input: Option<Input>,
    knowledge: &Knowledge,
    printer: &mut Printer<'_, W>,
) -> anyhow::Result<()> {
    let (content, again) = unpacked(input)?;
    anyhow::ensure!(!content.head.is_empty(), "it is empty, so there is nothing to decode");
    let contents = Contents::detect(args.format, &content.head);
    if args.format == Format::Auto {
        contents.check(&content.head, path)?;
    }
    let mut pipeline = Pipeline::new(knowledge);
    if let Some(name) = &args.browser {
        pipeline.assume(name);
    }
    let mut whole = content.reader;
    match contents {
        Contents::Trace => return records(&mut whole, pipeline, printer),
        Contents::Recording(Recording::Har) => return archive(whole, pipeline, printer),
        Contents::Recording(Recording::Pcapng) => {
            // Keys may follow what they decrypt, so a file is read twice.
            let mut secrets = pcapng::Secrets::default();
            if let Some(mut file) = again.filter(|_| has_blocks(&content.head)) {
                secrets = pcapng::Secrets::collect(whole);
                file.rewind().context("cannot read it again")?;
                whole = unpack(BufReader::new(file))?.reader;
            }
            return capture(whole, secrets, pipeline, printer);
        }
        Contents::Http => {}
    }
    let mut bytes = Vec::new();
    whole.by_ref().take(MAX_HTTP).read_to_end(&mut bytes).context("cannot read it")?;
    anyhow::ensure!(
        (bytes.len() as u64) < MAX_HTTP,
        "it is larger than {} MiB, the maximum of a file of raw requests",
        MAX_HTTP >> 20
    );
    requests(&bytes, pipeline, printer)
}

/// Returns the name of a file for messages.
fn name(path: &Path) -> String {
    match is_standard_input(path) {
        true => "standard input".to_owned(),
        false => printable(&path.to_string_lossy()),
    }
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// Opens a file. Returns `None` for `-`, which is standard input.
fn open(path: &Path) -> anyhow::Result<Option<Input>> {
    if is_standard_input(path) {
        return Ok(None);
    }
    Input::open(path).map(Some).context("cannot open it")
}

/// Unpacks a file, or standard input. Also returns the file if it can be read again.
fn unpacked(input: Option<Input>) -> anyhow::Result<(Content<'static>, Option<Arc<File>>)> {
    let Some(input) = input else {
        return Ok((unpack(io::stdin().lock())?, None));
    };
    let file = Arc::new(input.into_file().context("cannot open it")?);
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    let content = unpack(BufReader::new(Arc::clone(&file)))?;
    Ok((content, Some(file).filter(|_| is_file)))
}

/// Decodes raw requests, as those of one connection of an unknown process.
fn requests<W: Write>(
    bytes: &[u8],
    mut pipeline: Pipeline,
    printer: &mut Printer<'_, W>,
) -> anyhow::Result<()> {
    let Transcript { requests, unrecognised, doubtful } = proto::parse_transcript(bytes);
    anyhow::ensure!(
        !requests.is_empty() || bytes.is_empty(),
        "no HTTP request was found, and it is not a trace, HAR or packet capture"
    );
    let mut outputs = Vec::new();
    for request in requests {
        let sent = Sent {
            connection: Connection { key: 0, transport: Transport::Tcp, local: None, remote: None },
            hook: Hook::SysEnter,
            process: Process { uid: 0, tgid: 0, tid: 0, comm: String::new() },
            message: request,
        };
        pipeline.request(sent, &mut outputs);
        printer.outputs(&mut outputs, pipeline.extensions())?;
    }
    if unrecognised > 0 {
        printer.note(&format!("{} outside of all requests", counted(unrecognised, "byte")))?;
    }
    if doubtful > 0 {
        let places = counted(doubtful, "place");
        printer.note(&format!(
            "not read: {places} in bodies of responses that may be requests; if they are, save them in \
             a file of their own"
        ))?;
    }
    Ok(())
}

fn records<W: Write>(
    from: &mut impl Read,
    mut pipeline: Pipeline,
    printer: &mut Printer<'_, W>,
) -> anyhow::Result<()> {
    let mut reader = trace::Reader::new(from)?;
    let mut outputs = Vec::new();
    let damage = loop {
        match reader.event() {
            Ok(Some(event)) => pipeline.push(event, &mut outputs),
            Ok(None) => break None,
            // Everything before the damage is valid.
            Err(err @ (TraceError::Cut | TraceError::Damaged(_))) => break Some(err),
            Err(err) => return Err(err.into()),
        }
        printer.outputs(&mut outputs, pipeline.extensions())?;
    };
    pipeline.finish(&mut outputs);
    printer.outputs(&mut outputs, pipeline.extensions())?;
    note_arrivals(&pipeline, printer)?;
    match damage {
        Some(err) => Err(err.into()),
        None => Ok(()),
    }
}

/// Prints what was tried to be sent and did not arrive.
fn note_arrivals<W: Write>(pipeline: &Pipeline, printer: &mut Printer<'_, W>) -> io::Result<()> {
    let accounts = pipeline.accounts();
    for (application, account) in accounts.applications() {
        for line in arrival_lines(account, accounts.clock()) {
            match application.name() {
                "" => printer.note(&line)?,
                name => printer.note(&format!("{}: {line}", printable(name)))?,
            }
        }
    }
    if let Some(unknown) = unknown_hosts(pipeline.totals()) {
        printer.note(&unknown)?;
    }
    Ok(())
}

/// Decodes an HTTP archive, whose requests have no connections.
fn archive<W: Write>(
    from: impl BufRead,
    mut pipeline: Pipeline,
    printer: &mut Printer<'_, W>,
) -> anyhow::Result<()> {
    let mut reader = har::Reader::new(from);
    let mut outputs = Vec::new();
    pipeline.push(Event::Clock(CLOCK), &mut outputs);
    let read = loop {
        match reader.request() {
            Ok(Some(sent)) => {
                let time = sent.message.time;
                pipeline.request(sent, &mut outputs);
                pipeline.tick(time, &mut outputs);
            }
            end => break end.map(|_| ()),
        }
        printer.outputs(&mut outputs, pipeline.extensions())?;
    };
    pipeline.finish(&mut outputs);
    printer.outputs(&mut outputs, pipeline.extensions())?;
    for text in reader.counters().explain() {
        printer.note(&text)?;
    }
    Ok(read?)
}

/// Decodes a packet capture.
fn capture<W: Write>(
    from: impl Read,
    secrets: pcapng::Secrets,
    mut pipeline: Pipeline,
    printer: &mut Printer<'_, W>,
) -> anyhow::Result<()> {
    let mut reader = pcapng::Reader::with_secrets(from, secrets);
    let mut outputs = Vec::new();
    let read = loop {
        match reader.event() {
            Ok(Some(event)) => pipeline.push(event, &mut outputs),
            end => break end.map(|_| ()),
        }
        printer.outputs(&mut outputs, pipeline.extensions())?;
    };
    pipeline.finish(&mut outputs);
    printer.outputs(&mut outputs, pipeline.extensions())?;
    for text in reader.counters().explain() {
        printer.note(&text)?;
    }
    note_arrivals(&pipeline, printer)?;
    // Most of a capture is encrypted, unless it was taken behind a decrypting proxy.
    if let Some(unread) = unread(pipeline.totals()) {
        printer.note(&format!("not read: {unread}"))?;
    }
    Ok(read?)
}
