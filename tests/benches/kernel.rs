//! Measures the cost of tracer's programs for a process that sends, on the running
//! kernel.
//!
//! A child process makes bursts of system calls while one of these is attached in
//! turn: nothing, a program that does nothing, and tracer with various scopes. Two
//! clocks are read:
//!
//! - the child's CPU time, which includes all costs: the tracepoint, the programs, and their
//!   effect on the caches;
//! - the kernel's `bpf_stats`, the time within the programs alone.
//!
//! The child is both ends of its connection and receives its data outside the
//! measured time. tracer's ring holds the records of a whole burst and is emptied
//! after it, so that no other part of the benchmark runs during a burst.
//!
//! Run it as root with `cargo bench --package tracer-tests`.

use std::{
    env, fmt,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::process::{CommandExt as _, parent_id},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::sys::Stats;
use rustix::time::{ClockId, clock_gettime};
use tracer_host::hook::{
    Capture, DEFAULT_RING, HookError, Options, RingEntry, RingReader, SocketHook, Target, Watch,
    test_hook,
};

/// Number of measurements of each mode. Modes take turns, so that other load on the
/// machine affects all of them.
const ROUNDS: usize = 15;

/// Bursts of each call in a round, whose result is their median.
const BURSTS: usize = 8;

/// UID of the sender, from the range that systemd reserves for container services.
const SENDER: u32 = 65_509;

/// Argument that makes this program the child.
const SENDER_ARGUMENT: &str = "--sender";

fn main() -> Result<()> {
    if env::args().nth(1).as_deref() == Some(SENDER_ARGUMENT) {
        return send_bursts();
    }
    match Capture::start_null(SocketHook::SysEnter) {
        Err(
            lacking @ (HookError::NotPermitted | HookError::NoPrograms | HookError::Offsets(_)),
        ) => {
            println!("SKIPPED kernel: {lacking}");
            return Ok(());
        }
        other => drop(other?),
    }
    let mut sender = Sender::start()?;
    let modes = modes();
    let cpu = cpu_time(&mut sender, &modes)?;
    println!("\nCPU time of one call, ns (medians of {ROUNDS} rounds)\n");
    println!("{}", cpu.0.table(|mode, call| cpu.total(mode, call)));
    println!("Added CPU time of one call, ns (median and quartiles of the rounds)\n");
    println!("{}", cpu.0.table(|mode, call| cpu.added(mode, call).to_string()));
    println!("Added CPU time, as a multiple of that of the null program\n");
    println!("{}", cpu.0.table(|mode, call| cpu.ratio(mode, call)));
    println!("Time within the programs per call, ns (bpf_stats)\n");
    let stats = bpf_stats(&mut sender, &modes)?;
    let cell = |mode, call| match stats.cells.get(mode, call) {
        Some(Some(nanos)) => format!("{nanos:.0}"),
        _ => "–".into(),
    };
    println!("{}", stats.cells.table(cell));
    for (program, steps) in &stats.verified {
        println!("The verifier processed {steps} instructions of {program}.");
    }
    sender.stop()
}

/// The programs attached during a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nothing,
    /// A program that does nothing, attached to the hook.
    Null(SocketHook),
    OutOfScope(SocketHook),
    /// In scope, with this number of bytes captured of each send.
    Head(SocketHook, u32),
}

/// The hooks that are compared.
const HOOKS: [SocketHook; 2] = [SocketHook::SysEnter, SocketHook::TcpTracepoint];

/// Returns all modes: nothing, and every mode of each hook that the kernel has.
fn modes() -> Vec<Mode> {
    let of = |hook| {
        let heads = [256, 4 << 10, 16 << 10].map(|bytes| Mode::Head(hook, bytes));
        [Mode::Null(hook), Mode::OutOfScope(hook)].into_iter().chain(heads)
    };
    let hooks = HOOKS.into_iter().filter(|&hook| match test_hook(hook) {
        Ok(()) => true,
        Err(err) => {
            println!("SKIPPED {hook}: {err}");
            false
        }
    });
    [Mode::Nothing].into_iter().chain(hooks.flat_map(of)).collect()
}

impl Mode {
    fn attach(self) -> Result<Option<Capture>> {
        let tracer = |hook, uid, head_bytes| {
            let watch = Watch { targets: vec![Target::Uid(uid)], head_bytes, ..Watch::default() };
            Capture::start(&Options { watch, ring: DEFAULT_RING, hook }).map(Some)
        };
        Ok(match self {
            Self::Nothing => None,
            Self::Null(hook) => Some(Capture::start_null(hook)?),
            Self::OutOfScope(hook) => tracer(hook, SENDER + 1, 4 << 10)?,
            Self::Head(hook, head_bytes) => tracer(hook, SENDER, head_bytes)?,
        })
    }

    /// Returns the mode of the null program that this mode is compared with.
    fn null(self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Null(hook) | Self::OutOfScope(hook) | Self::Head(hook, _) => Self::Null(hook),
        }
    }
}

/// Programs that run at sends or at every system call.
const PROGRAMS: [&str; 5] = [
    "sys_enter",
    "tcp_sendmsg_locked",
    "sock_send_length",
    "null_sys_enter",
    "null_tcp_sendmsg_locked",
];

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing attached"),
            Self::Null(hook) => write!(f, "{hook}: null program"),
            Self::OutOfScope(hook) => write!(f, "{hook}: out of scope"),
            Self::Head(hook, bytes @ ..1024) => write!(f, "{hook}: in scope, {bytes} B heads"),
            Self::Head(hook, bytes) => write!(f, "{hook}: in scope, {} KiB heads", bytes >> 10),
        }
    }
}

/// A system call that the sender makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// A call that does almost nothing. It must be first: see [`bpf_stats`].
    Getppid,
    /// A write of 64 bytes to `/dev/null`: a call that could be a send, but is not.
    Write,
    /// A send of this number of bytes to a TCP socket on loopback.
    Send(usize),
}

const CALLS: [Call; 5] =
    [Call::Getppid, Call::Write, Call::Send(64), Call::Send(1 << 10), Call::Send(16 << 10)];

impl Call {
    /// Number of laps in a burst, chosen so that it takes at most a millisecond and
    /// fits the ring.
    fn laps(self) -> usize {
        if let Self::Send(16384..) = self { 4 } else { 16 }
    }

    /// Number of calls in a burst.
    fn burst(self) -> usize {
        self.laps() * LAP
    }
}

/// Calls between two readings of the clock: many, because reading the clock is a
/// system call too, but few enough for their data to fit the socket buffers and the
/// CPU caches.
const LAP: usize = 32;

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Getppid => f.write_str("getppid"),
            Self::Write => f.write_str("write, no socket"),
            Self::Send(bytes @ ..1024) => write!(f, "send {bytes} B"),
            Self::Send(bytes) => write!(f, "send {} KiB", bytes >> 10),
        }
    }
}

/// The child process, as its parent sees it.
struct Sender {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Sender {
    fn start() -> Result<Self> {
        // This path can be executed even if the UID may not enter the program's
        // folder.
        let mut child = Command::new("/proc/self/exe")
            .arg(SENDER_ARGUMENT)
            .uid(SENDER)
            .gid(SENDER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the sender under another UID")?;
        let orders = child.stdin.take().context("the sender has no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("the sender has no stdout")?);
        Ok(Self { child, orders, answers })
    }

    /// Makes the child run a burst of calls. Returns the CPU time of one call, in
    /// nanoseconds.
    fn burst(&mut self, call: Call) -> Result<f64> {
        let index = CALLS.iter().position(|&known| known == call).context("unknown call")?;
        self.orders.write_all(&[index as u8])?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let nanos: u64 = answer.trim().parse().context("the sender ended")?;
        Ok(nanos as f64 / call.burst() as f64)
    }

    fn stop(mut self) -> Result<()> {
        drop(self.orders);
        ensure!(self.child.wait()?.success(), "the sender failed");
        Ok(())
    }
}

/// Runs as the child: makes bursts until its standard input ends.
fn send_bursts() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut socket = TcpStream::connect(listener.local_addr()?)?;
    // Each send leaves at once, as a request does.
    socket.set_nodelay(true)?;
    let (mut receiver, _) = listener.accept()?;
    let mut nowhere = File::options().write(true).open("/dev/null")?;
    let bytes = vec![b'x'; 16 << 10];
    let mut received = vec![0; LAP * bytes.len()];
    let mut order = [0];
    while std::io::stdin().read(&mut order)? == 1 {
        let call = CALLS[usize::from(order[0])];
        let mut time = Duration::ZERO;
        for _ in 0..call.laps() {
            let start = clock_gettime(ClockId::ThreadCPUTime);
            for _ in 0..LAP {
                match call {
                    Call::Getppid => drop(std::hint::black_box(parent_id())),
                    Call::Write => nowhere.write_all(&bytes[..64])?,
                    Call::Send(len) => socket.write_all(&bytes[..len])?,
                }
            }
            time += Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - start)?;
            if let Call::Send(len) = call {
                receiver.read_exact(&mut received[..LAP * len])?;
            }
        }
        println!("{}", time.as_nanos());
    }
    Ok(())
}

/// Takes the records of a burst from the ring and checks their number.
fn empty_ring(reader: &mut RingReader, mode: Mode, call: Call) -> Result<()> {
    let mut records = 0;
    while let Some(entry) = reader.entry() {
        records += usize::from(matches!(entry?, RingEntry::Record(_)));
    }
    let sent = matches!((mode, call), (Mode::Head(..), Call::Send(_)));
    let expected = if sent { call.burst() } else { 0 };
    ensure!(records == expected, "{mode}, {call}: {records} records of {expected} sends");
    Ok(())
}

/// Results for each call, in one row per mode.
struct Cells<T>(Vec<(Mode, [T; CALLS.len()])>);

impl<T: Default> Cells<T> {
    fn new(modes: &[Mode]) -> Self {
        Self(modes.iter().map(|&mode| (mode, Default::default())).collect())
    }
}

impl<T> Cells<T> {
    fn get(&self, mode: Mode, call: Call) -> Option<&T> {
        let (_, row) = self.0.iter().find(|(other, _)| *other == mode)?;
        row.get(CALLS.iter().position(|&other| other == call)?)
    }

    /// Formats the results as a Markdown table.
    fn table(&self, cell: impl Fn(Mode, Call) -> String) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(["".into()].into_iter().chain(CALLS.map(|c| c.to_string())).collect());
        text += &line(vec!["---".into(); 1 + CALLS.len()]);
        for &(mode, _) in &self.0 {
            let cells = CALLS.map(|call| cell(mode, call));
            text += &line([mode.to_string()].into_iter().chain(cells).collect());
        }
        text
    }
}

/// CPU time of a call in each round, in nanoseconds.
struct CpuTime(Cells<Vec<f64>>);

fn cpu_time(sender: &mut Sender, modes: &[Mode]) -> Result<CpuTime> {
    let mut cells = Cells::<Vec<f64>>::new(modes);
    for _ in 0..ROUNDS {
        for (mode, row) in &mut cells.0 {
            let capture = mode.attach()?;
            let mut reader = capture.as_ref().map(Capture::reader).transpose()?;
            for (cell, call) in row.iter_mut().zip(CALLS) {
                let mut bursts = Vec::new();
                for _ in 0..BURSTS {
                    bursts.push(sender.burst(call)?);
                    if let Some(reader) = &mut reader {
                        empty_ring(reader, *mode, call)?;
                    }
                }
                cell.push(Spread::from_samples(bursts).median);
            }
        }
    }
    Ok(CpuTime(cells))
}

impl CpuTime {
    fn rounds(&self, mode: Mode, call: Call) -> &[f64] {
        self.0.get(mode, call).map_or(&[], Vec::as_slice)
    }

    /// Formats the median, and its ratio to the median with nothing attached.
    fn total(&self, mode: Mode, call: Call) -> String {
        let median = |mode| Spread::from_samples(self.rounds(mode, call).to_vec()).median;
        format!("{:.0} (×{:.2})", median(mode), median(mode) / median(Mode::Nothing))
    }

    /// Returns the time that a mode adds. The difference is taken in each round,
    /// because load on the machine slows down both measurements of a round.
    fn added(&self, mode: Mode, call: Call) -> Spread {
        let pairs = self.rounds(mode, call).iter().zip(self.rounds(Mode::Nothing, call));
        Spread::from_samples(pairs.map(|(with, without)| with - without).collect())
    }

    fn ratio(&self, mode: Mode, call: Call) -> String {
        /// If the null program adds less, the hook is not on the path of this call.
        const LEAST: f64 = 20.0;
        let null = self.added(mode.null(), call).median;
        if null < LEAST {
            return "–".into();
        }
        format!("{:.1}", self.added(mode, call).median / null)
    }
}

/// A median and its quartiles.
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    /// Summarizes at least one number.
    fn from_samples(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |quarter| numbers[(numbers.len() - 1) * quarter / 4];
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.0} ({:+.0} … {:+.0})", self.median, self.low, self.high)
    }
}

/// Time within the programs, in nanoseconds a call.
struct BpfStats {
    cells: Cells<Option<f64>>,
    /// Number of instructions that the verifier processed for each program.
    verified: Vec<(String, u32)>,
}

fn bpf_stats(sender: &mut Sender, modes: &[Mode]) -> Result<BpfStats> {
    let _enabled = aya::sys::enable_stats(Stats::RunTime).context("BPF_ENABLE_STATS")?;
    let mut cells = Cells::<Option<f64>>::new(modes);
    let mut verified = Vec::new();
    for (mode, row) in &mut cells.0 {
        let Some(capture) = mode.attach()? else { continue };
        let mut reader = capture.reader()?;
        for (name, program) in capture.programs() {
            let steps = program.verified_instruction_count().unwrap_or(0);
            if PROGRAMS.contains(&&*name) && !verified.contains(&(name.clone(), steps)) {
                verified.push((name, steps));
            }
        }
        // A program on every system call also runs for calls outside the burst.
        // Assume that each of those costs as much as getppid.
        let mut unrelated = None;
        for (cell, call) in row.iter_mut().zip(CALLS) {
            let mut bursts = Vec::new();
            for _ in 0..ROUNDS * BURSTS {
                let before = ProgramStats::read(&capture);
                sender.burst(call)?;
                let after = ProgramStats::read(&capture);
                empty_ring(&mut reader, *mode, call)?;
                let time = (after.time - before.time).as_nanos() as f64;
                let runs = (after.system_calls - before.system_calls) as f64;
                let burst = call.burst() as f64;
                bursts.push(match unrelated {
                    _ if runs == 0.0 => time / burst,
                    None => time / runs,
                    Some(unrelated) => (time - (runs - burst) * unrelated) / burst,
                });
            }
            let median = Spread::from_samples(bursts).median;
            unrelated.get_or_insert(median);
            *cell = Some(median);
        }
    }
    Ok(BpfStats { cells, verified })
}

/// Total run time and run count of the programs.
struct ProgramStats {
    time: Duration,
    /// Number of runs of the programs on every system call.
    system_calls: u64,
}

impl ProgramStats {
    fn read(capture: &Capture) -> Self {
        let mut ran = Self { time: Duration::ZERO, system_calls: 0 };
        for (name, program) in capture.programs() {
            if PROGRAMS.contains(&&*name) {
                ran.time += program.run_time();
            }
            if name.ends_with("sys_enter") {
                ran.system_calls += program.run_count();
            }
        }
        ran
    }
}
