//! Measures the cost of tracer's probes for a process that writes to a TLS library.
//!
//! Python, under a separate UID, writes bursts to OpenSSL in three states: without
//! probes, with the library probed for another process in scope, and with this
//! process itself in scope. Its CPU time is measured. A burst is valid only if the
//! ring contains exactly one record for each write in scope.
//!
//! Run it as root with `cargo bench --package tracer-tests --bench tls`.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tracer_host::hook::{
    Capture, DEFAULT_RING, Follower, HookError, Options, ProbeEvent, RingEntry, RingReader,
    SocketHook, Target, Watch,
};

/// Number of measurements of each mode. Modes take turns.
const ROUNDS: usize = 15;

/// Bursts of each size in a round, whose result is their median.
const BURSTS: usize = 8;

/// Writes between two readings of the clock.
const LAP: usize = 32;

/// UIDs from the range that systemd reserves for container services.
const WRITER: u32 = 65_508;
const OTHER: u32 = 65_507;

/// Size of a write in bytes, and the number of laps in its burst, which must fit
/// the ring.
const SIZES: [(usize, usize); 3] = [(64, 16), (1 << 10, 16), (16 << 10, 4)];

/// The probes during a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nothing,
    /// The library is probed for another process.
    OutOfScope,
    /// In scope, with this number of bytes captured of each write.
    Head(u32),
}

const MODES: [Mode; 4] = [Mode::Nothing, Mode::OutOfScope, Mode::Head(256), Mode::Head(32 << 10)];

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("not probed"),
            Self::OutOfScope => f.write_str("probed, out of scope"),
            Self::Head(bytes @ ..1024) => write!(f, "in scope, {bytes} B heads"),
            Self::Head(bytes) => write!(f, "in scope, {} KiB heads", bytes >> 10),
        }
    }
}

fn main() -> Result<()> {
    match Capture::start_null(SocketHook::SysEnter) {
        Err(
            lacking @ (HookError::NotPermitted | HookError::NoPrograms | HookError::Offsets(_)),
        ) => {
            println!("SKIPPED tls: {lacking}");
            return Ok(());
        }
        other => drop(other?),
    }
    let mut writer = match Writer::start(WRITER) {
        Ok(writer) => writer,
        Err(lacking) => {
            println!("SKIPPED tls: {lacking:#}");
            return Ok(());
        }
    };
    let other = Writer::start(OTHER)?;
    let mut cells = vec![vec![Vec::new(); SIZES.len()]; MODES.len()];
    for _ in 0..ROUNDS {
        for (row, mode) in cells.iter_mut().zip(MODES) {
            let mut probed = Probed::attach(mode)?;
            for (cell, (size, laps)) in row.iter_mut().zip(SIZES) {
                let mut bursts = Vec::new();
                for _ in 0..BURSTS {
                    bursts.push(writer.burst(size, laps)?);
                    if let Some(probed) = &mut probed {
                        probed.empty_ring(mode, laps * LAP)?;
                    }
                }
                cell.push(quartiles(bursts)[1]);
            }
        }
    }
    writer.stop()?;
    other.stop()?;
    println!("\nCPU time of one write to OpenSSL, ns (medians of {ROUNDS} rounds)\n");
    println!("{}", table(&cells, total));
    println!("Added CPU time of one write, ns (median and quartiles of the rounds)\n");
    println!("{}", table(&cells, added));
    Ok(())
}

/// The probes and the reader of their records.
struct Probed {
    reader: RingReader,
    // The probes are detached when both are dropped.
    _follower: Follower,
    _capture: Capture,
}

impl Probed {
    fn attach(mode: Mode) -> Result<Option<Self>> {
        let (uid, tls_head_bytes) = match mode {
            Mode::Nothing => return Ok(None),
            Mode::OutOfScope => (OTHER, 32 << 10),
            Mode::Head(bytes) => (WRITER, bytes),
        };
        let watch = Watch { targets: vec![Target::Uid(uid)], tls_head_bytes, ..Watch::default() };
        let capture =
            Capture::start(&Options { watch, ring: DEFAULT_RING, hook: SocketHook::SysEnter })?;
        let reader = capture.reader()?;
        // This examines running processes before it returns.
        let follower = capture.follow()?;
        let library = |news| {
            let ProbeEvent::Probed { file, functions, .. } = news else { return false };
            file.to_string_lossy().contains("libssl")
                && functions.iter().any(|f| f == "ssl_write_internal" || f == "SSL_write_ex")
        };
        ensure!(follower.events().any(library), "{mode}: libssl is not probed");
        Ok(Some(Self { reader, _follower: follower, _capture: capture }))
    }

    /// Takes the records of a burst from the ring and checks their number.
    fn empty_ring(&mut self, mode: Mode, writes: usize) -> Result<()> {
        let mut records = 0;
        while let Some(entry) = self.reader.entry() {
            records += usize::from(matches!(entry?, RingEntry::Record(_)));
        }
        let expected = if matches!(mode, Mode::Head(_)) { writes } else { 0 };
        ensure!(records == expected, "{mode}: {records} records of {expected} writes");
        Ok(())
    }
}

/// A Python process that contains both ends of a TLS connection.
struct Writer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Writer {
    fn start(uid: u32) -> Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", include_str!("tls_writer.py")])
            .uid(uid)
            .gid(uid)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start python3")?;
        let orders = child.stdin.take().context("the writer has no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("the writer has no stdout")?);
        let mut writer = Self { child, orders, answers };
        ensure!(
            writer.answer()?.trim() == "ready",
            "python3 lacks the ssl module, or openssl is not installed"
        );
        Ok(writer)
    }

    /// Makes the process run a burst of writes. Returns the CPU time of one write,
    /// in nanoseconds.
    fn burst(&mut self, size: usize, laps: usize) -> Result<f64> {
        writeln!(self.orders, "{size} {laps} {LAP}")?;
        let nanos: u64 = self.answer()?.trim().parse().context("the writer ended")?;
        Ok(nanos as f64 / (laps * LAP) as f64)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }

    fn stop(mut self) -> Result<()> {
        drop(self.orders);
        ensure!(self.child.wait()?.success(), "the writer failed");
        Ok(())
    }
}

/// Returns the quartiles of at least one number.
fn quartiles(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| numbers[(numbers.len() - 1) * quarter / 4])
}

/// Formats the median, and its ratio to the median without probes.
fn total(with: &[f64], without: &[f64]) -> String {
    let [with, without] = [with, without].map(|rounds| quartiles(rounds.to_vec())[1]);
    format!("{with:.0} (×{:.2})", with / without)
}

/// Formats the time that the probes add. The difference is taken in each round,
/// because load on the machine slows down both measurements of a round.
fn added(with: &[f64], without: &[f64]) -> String {
    let pairs = with.iter().zip(without).map(|(with, without)| with - without);
    let [low, median, high] = quartiles(pairs.collect());
    format!("{median:+.0} ({low:+.0} … {high:+.0})")
}

/// Formats the results as a Markdown table.
fn table(cells: &[Vec<Vec<f64>>], cell: fn(&[f64], &[f64]) -> String) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let sizes = SIZES.map(|(size, _)| format!("write {size} B"));
    let mut text = line(["".into()].into_iter().chain(sizes).collect());
    text += &line(vec!["---".into(); 1 + SIZES.len()]);
    for (row, mode) in cells.iter().zip(MODES) {
        let row = row.iter().zip(&cells[0]).map(|(with, without)| cell(with, without));
        text += &line([mode.to_string()].into_iter().chain(row).collect());
    }
    text
}
