//! `tracer status`: shows what the runs on this machine have seen so far, and that nothing of it is
//! unaccounted for.
//!
//! ```text
//! tracer run ── every second ──▶ /run/tracer/PID.json ──▶ tracer status
//! ```
//!
//! A run opens the file before it gives up its rights, and holds a lock on it, which shows whether
//! it still runs. Nothing listens for questions.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use serde::{Deserialize, Serialize};

use super::confine;
use crate::{
    files::{self, Existing},
    store::default_place,
};
use tracer_core::{
    account::Account,
    alert::{printable, rfc3339},
    application::Application,
    pipeline::Pipeline,
    record::{Loss, Losses},
    wording::counted,
};

/// Show what the runs on this machine have captured, decoded and lost so far.
///
/// Each line is a balance: what was captured equals the sum of what became of it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a line of JSON for each run (see docs/reference/status.md)
    #[arg(long)]
    json: bool,
}

/// Version of the form of a status.
const SCHEMA: u32 = 1;

/// Maximum number of applications in a status: those that sent the most.
const MAX_APPLICATIONS: usize = 64;

/// Maximum length of a name in a status.
const MAX_NAME: usize = 256;

/// Maximum length of a file.
const MAX_FILE: u64 = 1 << 20;

/// The state of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Status {
    schema: u32,
    pid: u32,
    /// Times, RFC 3339.
    began: String,
    updated: String,
    /// Set at the end of the run.
    ended: bool,
    sends: Sends,
    /// Losses: name of the reason, text, number.
    losses: Vec<(String, String, u64)>,
    /// Age in seconds of what has waited longest.
    seconds_behind: u64,
    alerts: u64,
    /// Connections that are open, and the bytes that were sent on them.
    open_connections: u64,
    open_bytes: u64,
    /// Bytes of connections that have ended, by application.
    applications: Vec<Bytes>,
}

/// What became of the sends that were captured.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sends {
    captured: u64,
    decoded: u64,
    waiting: u64,
    /// Given up, because there was no time to decode them.
    undecoded: u64,
    /// Between the kernel and the decoder.
    on_the_way: u64,
}

/// What became of the bytes that an application sent through sockets.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bytes {
    application: String,
    uid: u32,
    sent: u64,
    read: u64,
    /// Encrypted, and read before the encryption.
    read_in_plain: u64,
    handshakes: u64,
    unread_tls: u64,
    unread_datagrams: u64,
    #[serde(default)]
    unread_raw: u64,
    unread_other: u64,
    missing: u64,
}

impl Bytes {
    fn new(application: &Application, account: &Account) -> Self {
        let sockets = &account.sockets;
        Self {
            application: application.name().chars().take(MAX_NAME).collect(),
            uid: application.uid,
            sent: sockets.sent_bytes,
            read: sockets.decoded_bytes,
            read_in_plain: sockets.read_in_plain_bytes + sockets.quic_in_plain_bytes,
            handshakes: sockets.handshake_bytes,
            unread_tls: sockets.encrypted_unread_bytes,
            unread_datagrams: sockets.datagrams_unread_bytes,
            unread_raw: sockets.raw_unread_bytes,
            unread_other: sockets.other_unread_bytes,
            missing: sockets.missing_bytes,
        }
    }

    fn parts(&self) -> [(u64, &'static str); 8] {
        [
            (self.read, "read"),
            (self.read_in_plain, "read before encryption"),
            (self.handshakes, "of handshakes"),
            (self.unread_tls, "unread in TLS"),
            (self.unread_datagrams, "unread in datagrams"),
            (self.unread_raw, "unread on raw or packet sockets"),
            (self.unread_other, "unread in other forms"),
            (self.missing, "not captured"),
        ]
    }
}

impl Sends {
    /// Balances the sends. The counters of the kernel are read later than the sends.
    fn new(decoded: u64, waiting: u64, losses: &Losses) -> Self {
        let undecoded = losses.count(Loss::Undecoded);
        let arrived = decoded + waiting + undecoded;
        let captured = losses.delivered().max(arrived);
        Self { captured, decoded, waiting, undecoded, on_the_way: captured - arrived }
    }

    fn parts(&self) -> [(u64, &'static str); 4] {
        [
            (self.decoded, "decoded"),
            (self.waiting, "waiting"),
            (self.undecoded, "given up for lack of time"),
            (self.on_the_way, "on the way"),
        ]
    }
}

/// Returns a sum as text, and says if it is not equal to the total.
fn balance(total: u64, what: &str, parts: &[(u64, &str)]) -> String {
    let sum: u64 = parts.iter().map(|(count, _)| count).sum();
    let shown: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let shown = if shown.is_empty() { "0".to_owned() } else { shown.join(" + ") };
    match total == sum {
        true => format!("{total} {what} = {shown}"),
        false => format!("{total} {what}, of which {shown}; this does not add up: report a bug"),
    }
}

/// What waits for the decoder.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub(super) sends: u64,
    pub(super) age: Duration,
}

/// The file in which a run shows its state.
pub(super) struct StatusFile {
    file: File,
    began: SystemTime,
}

impl StatusFile {
    /// Creates the file of this process, and removes those of runs that have ended. Without it, a
    /// run goes on.
    pub(super) fn create() -> Option<Self> {
        let folder = folder()?;
        Self::create_in(&folder)
            .inspect_err(|err| {
                message!("`tracer status` does not show this run: {}: {err}", folder.display());
            })
            .ok()
    }

    fn create_in(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for (_, file) in open_all(folder)?.into_iter().filter(|(_, file)| !is_locked(file)) {
            remove(folder, &file);
        }
        let path = folder.join(format!("{}.json", std::process::id()));
        let file = files::create(&path, Existing::Replace)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { file, began: SystemTime::now() })
    }

    /// Writes the state.
    pub(super) fn write(&self, pipeline: &Pipeline, backlog: &Backlog, ended: bool) {
        let losses = pipeline.losses();
        let (totals, accounts) = (pipeline.totals(), pipeline.accounts());
        let applications = accounts.applications();
        let applications = applications.iter().take(MAX_APPLICATIONS);
        let nothing = Losses::default();
        let (open, open_bytes) = pipeline.open_connections();
        let name = |loss| serde_json::to_value(loss).ok()?.as_str().map(str::to_owned);
        let status = Status {
            schema: SCHEMA,
            pid: std::process::id(),
            began: time(self.began),
            updated: time(SystemTime::now()),
            ended,
            sends: Sends::new(totals.sends, backlog.sends, losses),
            losses: losses
                .since(&nothing)
                .filter_map(|(loss, _, count)| Some((name(loss)?, loss.explain(count), count)))
                .collect(),
            seconds_behind: backlog.age.as_secs(),
            alerts: totals.alerts,
            open_connections: open as u64,
            open_bytes,
            applications: applications.map(|(who, account)| Bytes::new(who, account)).collect(),
        };
        let mut text = serde_json::to_vec(&status).unwrap_or_default();
        text.push(b'\n');
        // The rest is empty until the file is cut, so a reader in between finds no longer text.
        let _ =
            self.file.write_all_at(&text, 0).and_then(|()| self.file.set_len(text.len() as u64));
    }
}

fn time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_nanos().try_into().unwrap_or(u64::MAX))
}

/// Returns the folder of the files.
fn folder() -> Option<PathBuf> {
    let absolute =
        |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    if let Some(folder) = absolute("RUNTIME_DIRECTORY") {
        return Some(folder);
    }
    let runtime = match rustix::process::geteuid().is_root() {
        true => Some(PathBuf::from("/run")).filter(|run| run.is_dir()),
        false => absolute("XDG_RUNTIME_DIR"),
    };
    let state = || Some(default_place()?.path().parent()?.join("run"));
    runtime.map(|runtime| runtime.join("tracer")).or_else(state)
}

/// Opens the files of a folder that belong to this user.
fn open_all(folder: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    let (opened, name) = files::parent(folder)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder_file = File::from(openat(opened, &name, flags, Mode::empty())?);
    files::check_owner(&folder_file.metadata()?)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if Path::new(&name).extension() == Some("json".as_ref())
            && let Ok(file) = openat(&folder_file, &name, flags, Mode::empty())
            && let file = File::from(file)
            && file.metadata().is_ok_and(|metadata| files::check_file(&metadata).is_ok())
        {
            found.push((folder.join(name), file));
        }
    }
    Ok(found)
}

fn remove(folder: &Path, file: &File) {
    let Ok(open) = file.metadata() else {
        return;
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.metadata().is_ok_and(|it| (it.dev(), it.ino()) == (open.dev(), open.ino())) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Reports whether the run that writes a file still runs.
fn is_locked(file: &File) -> bool {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            let _ = flock(file, FlockOperation::Unlock);
            false
        }
        Err(_) => true,
    }
}

/// Reads a status. The run may be writing it.
fn read(file: &File) -> io::Result<Status> {
    const ATTEMPTS: u32 = 20;
    let mut result = Err(io::ErrorKind::InvalidData.into());
    for _ in 0..ATTEMPTS {
        let length = file.metadata()?.len().min(MAX_FILE);
        let mut text = vec![0; length as usize];
        file.read_exact_at(&mut text, 0)?;
        result = serde_json::from_slice(&text).map_err(io::Error::from);
        if result.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    result
}

pub(super) fn status(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = folder().context("there is no folder for the states of runs")?;
    let opened = match open_all(&folder) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Vec::new(),
        opened => opened.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let running: Vec<_> = opened.into_iter().filter(|(_, file)| is_locked(file)).collect();
    if running.is_empty() {
        message!("no `tracer run` of this user is running");
        return Ok(ExitCode::FAILURE);
    }
    confine::to_open_files()?;
    let mut out = io::stdout().lock();
    for (path, file) in running {
        match read(&file) {
            Ok(status) if args.json => {
                serde_json::to_writer(&mut out, &status)?;
                writeln!(out)?;
            }
            Ok(status) => write!(out, "{}", text(&status))?,
            // It has just started.
            Err(_) => message!("{} is empty or damaged", path.display()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(status: &Status) -> String {
    let mut lines = vec![format!(
        "run with pid {}, since {}, state of {}",
        status.pid,
        printable(&status.began),
        printable(&status.updated)
    )];
    let sends = &status.sends;
    lines.push(format!("  sends: {}", balance(sends.captured, "captured", &sends.parts())));
    for (_, text, _) in &status.losses {
        lines.push(format!("  {}", printable(text)));
    }
    if status.losses.is_empty() {
        lines.push("  nothing was lost".into());
    }
    if status.seconds_behind > 0 {
        lines.push(format!("  decoding is {} behind", counted(status.seconds_behind, "second")));
    }
    lines.push(format!("  {}", counted(status.alerts, "alert")));
    if status.open_connections > 0 {
        lines.push(format!(
            "  {} sent on {} open now or used in the last hour; the balance of each follows when it \
             ends",
            counted(status.open_bytes, "byte"),
            counted(status.open_connections, "connection")
        ));
    }
    if !status.applications.is_empty() {
        lines.push("  bytes of connections that have ended:".into());
    }
    for bytes in &status.applications {
        lines.push(format!(
            "    {} (uid {}): {}",
            printable(&bytes.application),
            bytes.uid,
            balance(bytes.sent, "sent", &bytes.parts())
        ));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::knowledge::Knowledge;

    fn written(folder: &Path) -> StatusFile {
        let file = StatusFile::create_in(folder).unwrap();
        let pipeline = Pipeline::new(&Knowledge::default());
        file.write(&pipeline, &Backlog { sends: 3, age: Duration::from_secs(2) }, false);
        file
    }

    #[test]
    fn a_status_is_read_while_its_run_lives() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("tracer");
        let file = written(&folder);
        let [(path, opened)] = &open_all(&folder).unwrap()[..] else {
            panic!("one file");
        };
        assert!(is_locked(opened));
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        let status = read(opened).unwrap();
        assert_eq!((status.sends.waiting, status.seconds_behind), (3, 2));
        let text = text(&status);
        assert!(text.contains("3 captured = 3 waiting"), "{text}");
        assert!(text.contains("2 seconds behind") && text.contains("nothing was lost"), "{text}");

        drop(file);
        assert!(!is_locked(opened));
        // The next run removes it.
        let stale = folder.join("1.json");
        fs::copy(path, &stale).unwrap();
        let _file = written(&folder);
        assert!(!stale.exists());
    }

    #[test]
    fn files_that_others_made_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "{}").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join("1.json")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("2.json"), Mode::RUSR).unwrap();
        assert!(open_all(folder.path()).unwrap().is_empty());
        fs::write(folder.path().join("3.json"), "{").unwrap();
        let opened = open_all(folder.path()).unwrap();
        assert_eq!(opened.len(), 1);
        read(&opened[0].1).unwrap_err();
    }

    #[test]
    fn the_bytes_of_an_application_add_up() {
        use tracer_core::{
            account::Accounts,
            proto::{Traffic, Unread},
            record::{Connection, Transport},
        };
        let mut accounts = Accounts::default();
        let who = std::sync::Arc::new(Application::new(7, Some("/opt/browser"), ""));
        let unread = Unread { tls: 40, datagrams: 0, ..Unread::default() };
        let (sent, decoded, handshake, missing) = (100, 50, 7, 3);
        let tcp = Traffic { sent, decoded, handshake, missing, unread, ..Traffic::default() };
        let connection =
            Connection { key: 1, transport: Transport::Tcp, local: None, remote: None };
        accounts.ended(who, &connection, &tcp);
        let (who, account) = accounts.applications()[0];
        let bytes = Bytes::new(who, account);
        assert_eq!(
            balance(bytes.sent, "sent", &bytes.parts()),
            "100 sent = 50 read + 7 of handshakes + 40 unread in TLS + 3 not captured"
        );
    }

    #[test]
    fn sums_are_checked() {
        let parts = [(3, "read"), (0, "lost"), (2, "unread")];
        assert_eq!(balance(5, "sent", &parts), "5 sent = 3 read + 2 unread");
        assert!(balance(6, "sent", &parts).contains("does not add up"));
        assert_eq!(balance(0, "sent", &[(0, "read")]), "0 sent = 0");
        let mut losses = Losses::default();
        losses.set(tracer_ebpf::Counter::Delivered, 10);
        losses.set(tracer_ebpf::Counter::Undecoded, 1);
        let sends = Sends::new(5, 2, &losses);
        assert_eq!((sends.captured, sends.on_the_way), (10, 2));
        let sends = Sends::new(12, 2, &losses);
        assert_eq!((sends.captured, sends.on_the_way), (15, 0));
    }
}
