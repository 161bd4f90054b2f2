//! The kernel boundary: loads the programs, sets the scope, and drains the ring
//! buffer into [`record::Event`](tracer_core::record::Event)s.
//!
//! The order is fixed: load, follow processes, set the scope, then attach the
//! capturing programs. The programs catch a process that starts in the meantime; a
//! scan of `/proc` finds those that were already running.

mod btf;
mod follow;
mod installed;
mod layouts;
mod links;
mod offsets;
mod packages;
mod poll;
mod probetest;
pub(crate) mod proc;
mod reader;
mod rechecks;
mod resolve;
mod scope;
mod selftest;
mod socket;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::locate::Locator;
use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::MapError,
    programs::{ProgramError, ProgramInfo, RawTracePoint},
    util::KernelVersion,
};
use rustix::{
    rand::{GetRandomFlags, getrandom},
    thread::{CapabilitySet, CapabilitySets},
};
use thiserror::Error;
use tracer_ebpf::{EXEMPT_SLOT, Settings, TGIDS_PER_PAGE, UIDS_PER_USER};

use self::selftest::Tested;
pub use self::{
    btf::{Btf, BtfError},
    follow::{Follower, ProbeEvent},
    offsets::{BTF_PATH, OffsetsError, running_kernel},
    packages::{PackageEvent, PackageWatcher},
    poll::{Events, boot_time},
    probetest::test_probes,
    reader::{RingEntry, RingReader},
    resolve::{ProgramFile, Resolved, SimilarProgram},
    scope::{ScopeError, Target, Watch},
    selftest::{Choice, test_hook},
    socket::SocketHook,
};
pub(crate) use self::{
    proc::{Mapping, cmdline, executable, executed_name, mappings, parent, processes},
    resolve::program_name,
    scope::executes,
};

/// The object file with the programs, built by `build.rs`.
static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-programs"));

/// Default size of the ring buffer in bytes.
///
/// It has room for a thousand full heads of 16 KiB: many times what a busy browser
/// sends while the daemon sleeps between two polls.
pub const DEFAULT_RING: u32 = 16 << 20;

/// An error that prevents capturing.
#[derive(Debug, Error)]
pub enum HookError {
    /// The process is not permitted to load programs.
    #[error(
        "tracer needs root (or CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH) to watch other \
         processes.\nRun it again with sudo, or in a root shell (`su`) on Android."
    )]
    NotPermitted,
    /// The programs were not built.
    #[error(
        "this tracer was built with AYA_BUILD_SKIP and contains no programs for the kernel.\n\
         Build it again with `cargo xtask build`."
    )]
    NoPrograms,
    /// The kernel's struct layouts are unknown.
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    /// The kernel rejected the object file.
    #[error(
        "the kernel rejected tracer's programs: {}\n\
         tracer needs Linux 5.10 or newer with CONFIG_BPF_SYSCALL and CONFIG_BPF_EVENTS. If this \
         kernel has them, please report `uname -r` and this message.", chain(.0)
    )]
    Load(#[source] EbpfError),
    /// The kernel rejected a program.
    #[error("the kernel rejected the program {name}: {}", chain(.source))]
    Program {
        /// Name of the program.
        name: &'static str,
        /// The cause.
        source: ProgramError,
    },
    /// The programs are attached, but a test did not produce exactly one record.
    #[error("{test} produced {records} records instead of one")]
    WrongRecords {
        /// Description of the test.
        test: &'static str,
        /// Number of records.
        records: u32,
    },
    /// None of the hooks works.
    #[error("sends cannot be captured on this kernel:{}\n{}", list(.0), next_step(.0))]
    NoHook(Vec<(SocketHook, Self)>),
    /// A map could not be used.
    #[error("cannot use the kernel map {name}: {}", chain(.source))]
    Map {
        /// Name of the map.
        name: &'static str,
        /// The cause.
        source: MapError,
    },
    /// The scope could not be set.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The list of packages cannot be watched for changes.
    #[error(
        "cannot watch {folder} for packages: {source}\n\
         --package is for Android, and needs root there. Elsewhere use --exe or --uid.",
        folder = folder.display()
    )]
    Packages {
        /// Folder of the list.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The reader was already taken; there is only one.
    #[error("the ring buffer already has a reader")]
    Taken,
    /// The kernel returned no random numbers.
    #[error("cannot get random numbers: {0}")]
    Random(#[source] io::Error),
    /// A file in /proc or /sys cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Path of the file.
        path: &'static str,
        /// The cause.
        source: io::Error,
    },
}

fn list(tried: &[(SocketHook, HookError)]) -> String {
    tried.iter().map(|(hook, err)| format!("\n  {hook}: {err}")).collect()
}

fn next_step(tried: &[(SocketHook, HookError)]) -> &'static str {
    if tried.len() < SocketHook::ALL.len() {
        "Omit --hook: tracer then uses the best hook that works on this machine."
    } else {
        "Run `tracer doctor` for details, and please report what it prints."
    }
}

/// Formats an error and its causes.
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
    shorten(&text)
}

/// Keeps the first and last lines of a long text: the verifier's log has thousands of
/// lines, and the error is in the last ones.
fn shorten(text: &str) -> String {
    const FIRST: usize = 2;
    const LAST: usize = 8;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= FIRST + LAST {
        return text.to_owned();
    }
    let (first, last) = (&lines[..FIRST], &lines[lines.len() - LAST..]);
    format!("{}\n…\n{}", first.join("\n"), last.join("\n"))
}

/// Options for capturing.
#[derive(Debug, Clone)]
pub struct Options {
    /// The processes to watch.
    pub watch: Watch,
    /// Size of the ring buffer in bytes, rounded up to a power of two.
    pub ring: u32,
    /// The hook for socket sends. [`Capture::start_best`] finds one that works.
    pub hook: SocketHook,
}

/// The loaded and attached programs. They are detached when this and its [`Follower`]
/// are dropped.
pub struct Capture {
    ebpf: Arc<Mutex<Ebpf>>,
    /// The reader, until it is taken.
    reader: Mutex<Option<RingReader>>,
    /// Processes in scope that were running before the programs were attached.
    running: Vec<u32>,
    /// Files that processes in scope will execute.
    executables: Vec<PathBuf>,
    /// Packages whose processes are in scope.
    packages: Vec<String>,
}

impl Capture {
    /// Loads the programs, sets the scope, and attaches the programs.
    pub fn start(options: &Options) -> Result<Self, HookError> {
        let mut ebpf = load(options)?;
        exempt_self(&mut ebpf)?;
        let running = follow_scope(&mut ebpf, &options.watch)?;
        options.hook.attach(&mut ebpf)?;
        let reader = RingReader::new(&mut ebpf)?;
        Ok(Self::new(ebpf, Some(reader), running, &options.watch))
    }

    /// Starts with the first of `hooks` that passes its self-test. The programs that were
    /// loaded for the test are used for the capture.
    pub fn start_best(
        hooks: &[SocketHook],
        watch: &Watch,
        ring: u32,
    ) -> Result<(Self, Choice), HookError> {
        let (Tested { mut ebpf, mut reader }, choice) =
            selftest::first(hooks, |hook| Options { watch: watch.clone(), ring, hook })?;
        exempt_self(&mut ebpf)?;
        reader.restart()?;
        let running = follow_scope(&mut ebpf, watch)?;
        Ok((Self::new(ebpf, Some(reader), running, watch), choice))
    }

    /// Replaces the watched processes without loading the programs again.
    ///
    /// `reader` must be the reader of this capture. It drops what is in the ring, and
    /// counts losses from here on. The hook, the size of the ring, and whether everyone or
    /// a package is watched cannot change, since they are constants in the programs.
    pub fn restart(&mut self, watch: &Watch, reader: &mut RingReader) -> Result<(), HookError> {
        let mut ebpf = self.ebpf();
        scope::clear(&mut ebpf)?;
        reader.restart()?;
        let running = scope::apply(&mut ebpf, watch)?;
        drop(ebpf);
        self.running = running;
        self.executables = watch.executables();
        Ok(())
    }

    fn new(ebpf: Ebpf, reader: Option<RingReader>, running: Vec<u32>, watch: &Watch) -> Self {
        Self {
            ebpf: Arc::new(Mutex::new(ebpf)),
            reader: Mutex::new(reader),
            running,
            executables: watch.executables(),
            packages: watch.packages(),
        }
    }

    /// Attaches a program that does nothing instead of the capturing one, so that
    /// benchmarks can measure the cost of the hook itself. Only for `sys_enter` and
    /// TCP's tracepoint.
    pub fn start_null(hook: SocketHook) -> Result<Self, HookError> {
        let watch = Watch::default();
        let mut ebpf = load(&Options { watch: watch.clone(), ring: DEFAULT_RING, hook })?;
        match hook {
            SocketHook::TcpTracepoint => {
                attach(&mut ebpf, "null_tcp_sendmsg_locked", "tcp_sendmsg_locked")?;
            }
            _ => attach(&mut ebpf, "null_sys_enter", "sys_enter")?,
        }
        Ok(Self::new(ebpf, None, Vec::new(), &watch))
    }

    /// Starts to probe the TLS libraries of the processes in scope. Executables that
    /// are known in advance are analyzed before this returns, which takes half a second
    /// for a browser.
    pub fn follow(&self) -> Result<Follower, HookError> {
        self.follow_with(Locator::here())
    }

    /// Like [`Capture::follow`], with a locator that analyzes the files.
    pub fn follow_with(&self, locator: Locator) -> Result<Follower, HookError> {
        follow::load(&mut self.ebpf())
            .map_err(|source| HookError::Program { name: "for TLS libraries", source })?;
        Follower::start(Arc::clone(&self.ebpf), locator, &self.running, &self.executables)
            .map_err(HookError::Thread)
    }

    /// Puts the watched packages in scope, looks up their ids in the list of installed
    /// packages, and repeats this when the list changes. Processes that come into scope
    /// are passed to `follower`.
    pub fn follow_packages(
        &self,
        list: &Path,
        follower: Option<&Follower>,
    ) -> Result<PackageWatcher, HookError> {
        let ebpf = Arc::clone(&self.ebpf);
        PackageWatcher::start(ebpf, &self.packages, list, follower.map(Follower::processes))
    }

    /// Sends the programs' log messages to the `log` crate's logger.
    pub fn diagnostics(
        &self,
    ) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf())
    }

    /// Removes another process of tracer from every scope.
    pub fn exempt(&self, tgid: u32) -> Result<(), HookError> {
        scope::set_slots(&mut self.ebpf(), [tgid], EXEMPT_SLOT)
    }

    /// Takes the reader; there is only one.
    pub fn reader(&self) -> Result<RingReader, HookError> {
        let taken = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut reader = taken.ok_or(HookError::Taken)?;
        reader.update_programs(&self.ebpf());
        Ok(reader)
    }

    /// Reports whether a process in scope was running before the programs were
    /// attached.
    pub fn has_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Returns the kernel's information about the loaded programs, with their names.
    pub fn programs(&self) -> Vec<(String, ProgramInfo)> {
        self.ebpf()
            .programs()
            .filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?)))
            .collect()
    }

    fn ebpf(&self) -> MutexGuard<'_, Ebpf> {
        // No operation under the lock leaves an inconsistent state if it panics.
        self.ebpf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes this process from every scope.
fn exempt_self(ebpf: &mut Ebpf) -> Result<(), HookError> {
    scope::set_slots(ebpf, [std::process::id()], EXEMPT_SLOT)
}

/// Follows processes and puts the watched ones in scope. Returns those that are running.
fn follow_scope(ebpf: &mut Ebpf, watch: &Watch) -> Result<Vec<u32>, HookError> {
    for name in ["sched_process_fork", "sched_process_exec", "sched_process_exit"] {
        attach(ebpf, name, name)?;
    }
    scope::apply(ebpf, watch)
}

fn attach(ebpf: &mut Ebpf, name: &'static str, tracepoint: &'static str) -> Result<(), HookError> {
    let program = raw_tracepoint(ebpf, name)?;
    retry(|| program.load())
        .and_then(|()| program.attach(tracepoint).map(drop))
        .map_err(|source| HookError::Program { name, source })
}

/// Calls `load` again if the verifier stopped with EAGAIN, which it does when a signal is
/// pending (`do_check` in kernel/bpf/verifier.c).
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
        .expect("the object file contains all programs")
        .try_into()
        .map_err(|source| HookError::Program { name, source })
}

/// Loads the object file.
fn load(options: &Options) -> Result<Ebpf, HookError> {
    if PROGRAMS.is_empty() {
        return Err(HookError::NoPrograms);
    }
    if !may_load() {
        return Err(HookError::NotPermitted);
    }
    let offsets = running_kernel()?;
    let cpus = possible_cpus()?;
    let settings = Settings {
        key_seed: random()?,
        everyone: options.watch.everyone_slot(),
        task_btf: u32::from(has_task_btf()),
        cpus,
        tcp_elsewhere: u32::from(options.hook == SocketHook::TcpTracepoint),
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

/// Reports whether this process has the capabilities to load tracing programs. Checked in
/// advance because the kernel's error is less specific.
pub(crate) fn may_load() -> bool {
    match rustix::thread::capabilities(None) {
        Ok(CapabilitySets { effective, .. }) => {
            effective.contains(CapabilitySet::SYS_ADMIN)
                || effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
        }
        // Unknown, so let the kernel decide.
        Err(_) => true,
    }
}

/// Reports whether the kernel has `bpf_get_current_task_btf`, which came with Linux 5.11
/// and needs BTF.
fn has_task_btf() -> bool {
    Path::new(BTF_PATH).exists()
        && KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(5, 11, 0))
}

/// Returns one more than the highest possible CPU number. The scratch map is indexed by
/// CPU number, so [`aya::util::nr_cpus`], which counts the CPUs, is too low if there are
/// gaps in the numbers.
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

/// Returns one more than the highest possible process id.
fn pid_max() -> Result<u32, HookError> {
    const PATH: &str = "/proc/sys/kernel/pid_max";
    let read = |source| HookError::Read { path: PATH, source };
    let text = fs::read_to_string(PATH).map_err(read)?;
    text.trim().parse().map_err(|_| read(io::Error::from(io::ErrorKind::InvalidData)))
}

/// Returns an unpredictable number.
fn random() -> Result<u64, HookError> {
    let mut bytes = [0; 8];
    // Requests of up to 256 bytes are never answered partially (getrandom(2)).
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|errno| HookError::Random(errno.into()))?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorten_keeps_the_first_and_last_lines() {
        let log: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
        let shown = shorten(&log.join("\n"));
        assert!(shown.starts_with("line 0\nline 1\n…\nline 992"), "{shown}");
        assert!(shown.ends_with("line 999"));
        assert_eq!(shorten("one\ntwo"), "one\ntwo");
    }
}
