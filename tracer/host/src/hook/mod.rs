//! The kernel boundary: loads the programs, says who is watched, and drains
//! the ring buffer into [`record::Event`](tracer_core::record::Event)s.
//!
//! The order is fixed: load, follow processes, set the scope, then attach what
//! captures. A process that starts meanwhile is caught by the programs; one
//! that ran before, by a scan of `/proc`.

mod btf;
mod follow;
mod layouts;
mod offsets;
mod packages;
mod poll;
mod probetest;
mod reader;
mod scope;
mod selftest;
mod socket;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::MapError,
    programs::{ProgramError, ProgramInfo, RawTracePoint},
    util::KernelVersion,
};
use thiserror::Error;
use tracer_ebpf::{Settings, TGIDS_PER_PAGE, UIDS_PER_USER};

pub(crate) use self::follow::Mapping;
pub use self::{
    btf::{Btf, BtfError},
    follow::{Followed, Follower},
    offsets::{BTF_PATH, OffsetsError, running_kernel},
    packages::{PackageNews, Packages},
    poll::{Events, now},
    probetest::test_probes,
    reader::{Entry, Reader},
    scope::{Rule, ScopeError, Watch},
    selftest::{Choice, choose, test},
    socket::SocketHook,
};

/// The programs, built by `build.rs`.
static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-programs"));

/// The ring buffer's size unless the user says otherwise, in bytes.
///
/// A thousand full heads of 16 KiB: what a busy browser sends while the
/// daemon sleeps between two polls, many times over.
pub const DEFAULT_RING: u32 = 16 << 20;

/// Why capturing could not begin.
#[derive(Debug, Error)]
pub enum HookError {
    /// The process may not load programs.
    #[error(
        "tracer needs root (or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE) to watch what others \
         send.\nRun it again with sudo, or in a root shell (`su`) on Android."
    )]
    NotPermitted,
    /// The build left the programs out.
    #[error(
        "this tracer was built with AYA_BUILD_SKIP and contains no programs for the kernel.\n\
         Build it again with `cargo xtask build`."
    )]
    NoPrograms,
    /// Layouts.
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    /// The kernel did not take the programs.
    #[error(
        "the kernel refused tracer's programs: {}\n\
         tracer needs Linux 5.10 or newer with CONFIG_BPF_SYSCALL and CONFIG_BPF_EVENTS. If this \
         is one, please report `uname -r` and this message.", chain(.0)
    )]
    Load(#[source] EbpfError),
    /// The kernel did not take one program.
    #[error("the kernel refused the program {name}: {}", chain(.source))]
    Program {
        /// Which.
        name: &'static str,
        /// Why.
        source: ProgramError,
    },
    /// The programs are attached, and the kernel does not run them.
    #[error("a test on loopback, {what}, gave {records} records instead of one")]
    Silent {
        /// Which send.
        what: &'static str,
        /// How many records there were.
        records: u32,
    },
    /// None of the hooks works.
    #[error(
        "what applications send cannot be taken on this kernel:{}\n{}",
        listed(.0),
        next_step(.0)
    )]
    NoHook(Vec<(SocketHook, Self)>),
    /// A map could not be used.
    #[error("cannot use the kernel map {name}: {}", chain(.source))]
    Map {
        /// Which.
        name: &'static str,
        /// Why.
        source: MapError,
    },
    /// Scope.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The system has no thread to spare.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The list of packages.
    #[error(
        "cannot watch {folder} for packages: {source}\n\
         --package is for Android, and needs root there. Elsewhere use --exe or --uid.",
        folder = folder.display()
    )]
    Packages {
        /// The folder of the list.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is only one reading end.
    #[error("the ring buffer is being read already")]
    Taken,
    /// Something under /proc or /sys.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn listed(tried: &[(SocketHook, HookError)]) -> String {
    tried.iter().map(|(hook, err)| format!("\n  {hook}: {err}")).collect()
}

fn next_step(tried: &[(SocketHook, HookError)]) -> &'static str {
    if tried.len() < SocketHook::ALL.len() {
        "Leave --hook out: tracer then takes the best hook that works here."
    } else {
        "Run `tracer doctor`, which says more, and please report what it prints."
    }
}

/// An error with its causes on one line.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    brief(&text)
}

/// A long text's beginning and end: the verifier's log is thousands of lines,
/// and says what is wrong in its last ones.
fn brief(text: &str) -> String {
    const FIRST: usize = 2;
    const LAST: usize = 8;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= FIRST + LAST {
        return text.to_owned();
    }
    let (first, last) = (&lines[..FIRST], &lines[lines.len() - LAST..]);
    format!("{}\n…\n{}", first.join("\n"), last.join("\n"))
}

/// How to capture.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who is watched.
    pub watch: Watch,
    /// The ring buffer's size in bytes; rounded up to a power of two.
    pub ring: u32,
    /// Where sends are taken. [`choose`] says what works.
    pub hook: SocketHook,
}

/// The loaded and attached programs. Dropping it, and its [`Follower`],
/// detaches them.
pub struct Capture {
    ebpf: Arc<Mutex<Ebpf>>,
    /// Processes in scope that ran before the programs did.
    running: Vec<u32>,
    /// Files that processes in scope will execute.
    executables: Vec<PathBuf>,
    /// Packages whose processes are in scope.
    packages: Vec<String>,
}

impl Capture {
    /// Loads the programs, sets the scope, and attaches them.
    pub fn start(options: &Options) -> Result<Self, HookError> {
        let mut ebpf = load(options)?;
        for name in ["sched_process_fork", "sched_process_exec", "sched_process_exit"] {
            attach(&mut ebpf, name, name)?;
        }
        let running = scope::apply(&mut ebpf, &options.watch)?;
        options.hook.attach(&mut ebpf)?;
        let executables = options.watch.executables();
        let packages = options.watch.packages();
        Ok(Self { ebpf: Arc::new(Mutex::new(ebpf)), running, executables, packages })
    }

    /// Attaches a program that does nothing in the place of the one that
    /// captures: what the hook itself costs. For benchmarks, and only where
    /// they compare: at `sys_enter` and at TCP's tracepoint.
    pub fn start_null(hook: SocketHook) -> Result<Self, HookError> {
        let mut ebpf = load(&Options { watch: Watch::default(), ring: DEFAULT_RING, hook })?;
        match hook {
            SocketHook::TcpTracepoint => {
                attach(&mut ebpf, "null_tcp_sendmsg_locked", "tcp_sendmsg_locked")?;
            }
            _ => attach(&mut ebpf, "null_sys_enter", "sys_enter")?,
        }
        let ebpf = Arc::new(Mutex::new(ebpf));
        Ok(Self { ebpf, running: Vec::new(), executables: Vec::new(), packages: Vec::new() })
    }

    /// Begins to follow the processes in scope to their TLS libraries. Files
    /// that the rules name are looked into at once, which takes half a second
    /// for a browser.
    pub fn follow(&self) -> Result<Follower, HookError> {
        follow::load(&mut self.ebpf())
            .map_err(|source| HookError::Program { name: "for TLS libraries", source })?;
        Follower::start(Arc::clone(&self.ebpf), &self.running, &self.executables)
            .map_err(HookError::Thread)
    }

    /// Puts the packages that the rules name in scope, by the list of those that
    /// are installed, and keeps doing so while the list changes. `follower` is
    /// told of processes that come into scope so.
    pub fn follow_packages(
        &self,
        list: &Path,
        follower: Option<&Follower>,
    ) -> Result<Packages, HookError> {
        let ebpf = Arc::clone(&self.ebpf);
        Packages::start(ebpf, &self.packages, list, follower.map(Follower::processes))
    }

    /// Sends the programs' own diagnostics to the `log` crate's logger.
    pub fn diagnostics(
        &self,
    ) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf())
    }

    /// Takes the reading end; there is only one.
    pub fn reader(&self) -> Result<Reader, HookError> {
        Reader::new(&mut self.ebpf())
    }

    /// What the kernel says of the loaded programs, by name.
    pub fn programs(&self) -> Vec<(String, ProgramInfo)> {
        self.ebpf()
            .programs()
            .filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?)))
            .collect()
    }

    fn ebpf(&self) -> MutexGuard<'_, Ebpf> {
        // A panic while it was held left no half-made state behind.
        self.ebpf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attach(ebpf: &mut Ebpf, name: &'static str, tracepoint: &'static str) -> Result<(), HookError> {
    let program = raw_tracepoint(ebpf, name)?;
    retry(|| program.load())
        .and_then(|()| program.attach(tracepoint).map(drop))
        .map_err(|source| HookError::Program { name, source })
}

/// Loads a program. The verifier gives up with EAGAIN when a signal is pending
/// (`do_check` in kernel/bpf/verifier.c), which is no answer.
fn retry(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    const TIMES: usize = 10;
    for _ in 1..TIMES {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
    load()
}

fn raw_tracepoint<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut RawTracePoint, HookError> {
    ebpf.program_mut(name)
        .expect("the object has the programs it is built from")
        .try_into()
        .map_err(|source| HookError::Program { name, source })
}

fn load(options: &Options) -> Result<Ebpf, HookError> {
    load_for(options, std::process::id())
}

/// Loads the object. `own` is the process that is never in scope.
fn load_for(options: &Options, own: u32) -> Result<Ebpf, HookError> {
    if PROGRAMS.is_empty() {
        return Err(HookError::NoPrograms);
    }
    if !may_load() {
        return Err(HookError::NotPermitted);
    }
    let offsets = running_kernel()?;
    let cpus = possible_cpus()?;
    let settings = Settings {
        key_seed: random(),
        own_tgid: own,
        everyone: options.watch.everyone_slot(),
        task_btf: u32::from(has_task_btf()),
        cpus,
        tcp_elsewhere: u32::from(options.hook == SocketHook::TcpTracepoint),
        reserved: 0,
    };
    let pages = pid_max()?.div_ceil(TGIDS_PER_PAGE);
    let apps = !options.watch.packages().is_empty();
    EbpfLoader::new()
        .override_global("OFFSETS", &offsets, true)
        .override_global("SETTINGS", &settings, true)
        .override_global("APPS", &u32::from(apps), true)
        .map_max_entries("SCRATCH", cpus * options.hook.scratches())
        .map_max_entries("NAMES", cpus)
        .map_max_entries("SCOPE_TGID", pages)
        .map_max_entries("SCOPE_APP", if apps { UIDS_PER_USER } else { 1 })
        .map_max_entries("RECORDS", options.ring.next_power_of_two())
        .load(PROGRAMS)
        .map_err(HookError::Load)
}

/// Whether this process has the capability to load tracing programs. Asked
/// beforehand because the kernel's own answer says less.
pub(crate) fn may_load() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_PERFMON: u32 = 38;
    const CAP_BPF: u32 = 39;

    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        // Without /proc nothing is known; the kernel will say.
        return true;
    };
    let Some(effective) = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
    else {
        return true;
    };
    let has = |cap| effective >> cap & 1 != 0;
    has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
}

/// `bpf_get_current_task_btf` came with Linux 5.11, and needs BTF.
fn has_task_btf() -> bool {
    Path::new(BTF_PATH).exists()
        && KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(5, 11, 0))
}

/// One more than the highest number a CPU can have.
fn possible_cpus() -> Result<u32, HookError> {
    const PATH: &str = "/sys/devices/system/cpu/possible";
    let read = |source| HookError::Read { path: PATH, source };
    let list = fs::read_to_string(PATH).map_err(read)?;
    // `0-7`, or `0,2-3`: the last number is the highest.
    list.trim()
        .rsplit(['-', ','])
        .next()
        .and_then(|last| last.parse::<u32>().ok())
        .map(|last| last + 1)
        .ok_or_else(|| read(io::Error::from(io::ErrorKind::InvalidData)))
}

/// One more than the highest process id.
fn pid_max() -> Result<u32, HookError> {
    const PATH: &str = "/proc/sys/kernel/pid_max";
    let read = |source| HookError::Read { path: PATH, source };
    let text = fs::read_to_string(PATH).map_err(read)?;
    text.trim().parse().map_err(|_| read(io::Error::from(io::ErrorKind::InvalidData)))
}

/// A number nobody can guess, from the standard library's hash seed.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_cut_in_the_middle() {
        let log: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
        let shown = brief(&log.join("\n"));
        assert!(shown.starts_with("line 0\nline 1\n…\nline 992"), "{shown}");
        assert!(shown.ends_with("line 999"));
        assert_eq!(brief("one\ntwo"), "one\ntwo");
    }
}
