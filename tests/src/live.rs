//! Captures in the running kernel, inside the test's own process.
//!
//! Each capture has its own scope, so tests can run in parallel. A record is in the
//! ring before its system call returns: once a child has ended, everything it sent
//! can be read, and there is nothing to wait for.
//!
//! Verifying the programs takes longer than most tests, above all in an emulated
//! machine. A process therefore keeps captures that a test has finished with, and
//! restarts them for the next test.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
    thread,
};

use aya::programs::ProgramError;
use rustix::time::{ClockId, clock_gettime};
use tracer_core::record::{BootTime, Losses, Record};
use tracer_host::hook::{
    Capture, HookError, Options, RingEntry, RingReader, SocketHook, Target, Watch,
};

/// A capture and the reader of its ring.
pub struct Live {
    /// `None` only during `drop`.
    loaded: Option<Loaded>,
    /// `None` if no other test can use the programs.
    kind: Option<Kind>,
}

struct Loaded {
    capture: Capture,
    reader: RingReader,
}

/// The properties of loaded programs that cannot be changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    hook: SocketHook,
    ring: u32,
}

/// Captures that no test uses at the moment. They watch nothing.
static IDLE: Mutex<Option<HashMap<Kind, Vec<Loaded>>>> = Mutex::new(None);

/// Default ring size in bytes, enough for everything that a test sends.
pub const RING: u32 = 16 << 20;

impl Live {
    /// Watches the targets, with heads of the default length.
    ///
    /// # Panics
    /// Panics if the kernel refuses. The test must have checked that it runs as
    /// root.
    pub fn watch(targets: impl IntoIterator<Item = Target>) -> Self {
        let targets = targets.into_iter().collect();
        Self::start(Watch { targets, ..Watch::default() }, RING)
    }

    /// Watches with the given heads and ring size in bytes, by the hook that tracer
    /// would choose.
    ///
    /// # Panics
    /// Panics as [`Live::watch`].
    pub fn start(watch: Watch, ring: u32) -> Self {
        Self::with_hook(best(), watch, ring)
    }

    /// Watches by the given hook.
    ///
    /// # Panics
    /// Panics as [`Live::watch`].
    pub fn with_hook(hook: SocketHook, watch: Watch, ring: u32) -> Self {
        // Watching everyone is a constant in the loaded programs.
        let kind = (!watch.targets.contains(&Target::Everyone)).then_some(Kind { hook, ring });
        let loaded = match kind.and_then(take_idle) {
            Some(mut loaded) => {
                let restarted = loaded.capture.restart(&watch, &mut loaded.reader);
                restarted.expect("the capture restarts");
                loaded
            }
            None => {
                let options = Options { watch, ring, hook };
                Loaded::new(Capture::start(&options).expect("a capture"))
            }
        };
        Self { loaded: Some(loaded), kind }
    }

    /// Ends the capture and detaches its programs, so that no other test uses them.
    pub fn detach(mut self) {
        self.loaded = None;
    }

    fn reader(&mut self) -> &mut RingReader {
        &mut self.loaded.as_mut().expect("used after drop").reader
    }

    /// Takes the records that are in the ring now.
    ///
    /// # Panics
    /// Panics if a record cannot be read.
    pub fn records(&mut self) -> Vec<Record> {
        std::iter::from_fn(|| self.reader().entry())
            .filter_map(|entry| match entry.expect("a valid entry") {
                RingEntry::Record(record) => Some(record),
                RingEntry::Mapped { .. } => None,
            })
            .collect()
    }

    /// Takes the entries that are in the ring now. Returns how many of them report
    /// that a process in scope may have mapped a library.
    ///
    /// # Panics
    /// Panics as [`Live::records`].
    pub fn mappings(&mut self) -> usize {
        std::iter::from_fn(|| self.reader().entry())
            .filter(|entry| {
                matches!(entry.as_ref().expect("a valid entry"), RingEntry::Mapped { .. })
            })
            .count()
    }

    /// Returns the numbers of delivered and lost records since the capture began.
    ///
    /// # Panics
    /// Panics if the counters cannot be read.
    pub fn losses(&self) -> Losses {
        let loaded = self.loaded.as_ref().expect("used after drop");
        loaded.reader.losses().expect("the programs' counters")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A failed test may leave the capture in any state.
        if let (Some(loaded), Some(kind)) = (self.loaded.take(), self.kind)
            && !thread::panicking()
        {
            keep(kind, loaded);
        }
    }
}

impl Loaded {
    fn new(capture: Capture) -> Self {
        let reader = capture.reader().expect("its ring reader");
        Self { capture, reader }
    }
}

/// Makes a capture watch nothing and keeps it for the next test.
fn keep(kind: Kind, mut loaded: Loaded) {
    if loaded.capture.restart(&Watch::default(), &mut loaded.reader).is_ok() {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get_or_insert_default().entry(kind).or_default().push(loaded);
    }
}

fn take_idle(kind: Kind) -> Option<Loaded> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.get_mut(&kind)?.pop()
}

/// Returns the hooks that this kernel has, best first.
///
/// # Panics
/// Panics if the kernel has one that does not work.
pub fn hooks() -> &'static [SocketHook] {
    static HOOKS: LazyLock<Vec<SocketHook>> = LazyLock::new(|| {
        SocketHook::ALL.into_iter().filter(|&hook| missing_reason(hook).is_none()).collect()
    });
    &HOOKS
}

/// Returns the hook that tracer would choose.
///
/// # Panics
/// Panics if the kernel has none.
pub fn best() -> SocketHook {
    let mut hooks = SocketHook::ALL.into_iter();
    hooks.find(|&hook| missing_reason(hook).is_none()).expect("every kernel has sys_enter")
}

/// Returns the reason why the kernel lacks a hook, or `None` if it has the hook.
/// Each hook is tested once in a process.
///
/// # Panics
/// Panics if the kernel has the hook and it does not work: the verifier refused a
/// program, or the kernel does not run it.
pub fn missing_reason(hook: SocketHook) -> Option<&'static str> {
    static TESTED: [OnceLock<Option<String>>; SocketHook::ALL.len()] =
        [const { OnceLock::new() }; SocketHook::ALL.len()];
    let place = SocketHook::ALL
        .iter()
        .position(|&other| other == hook)
        .expect("SocketHook::ALL has every hook");
    TESTED[place].get_or_init(|| test(hook).map(|err| err.to_string())).as_deref()
}

/// Runs a hook's self-test and keeps its programs for the tests.
fn test(hook: SocketHook) -> Option<HookError> {
    let mut tried = match Capture::start_best(&[hook], &Watch::default(), RING) {
        Ok((capture, _)) => {
            keep(Kind { hook, ring: RING }, Loaded::new(capture));
            return None;
        }
        Err(HookError::NoHook(tried)) => tried,
        Err(err) => panic!("{hook}: {err}"),
    };
    let (_, err) = tried.pop().expect("a result for the hook");
    let refused = matches!(
        &err,
        HookError::Program { source: ProgramError::LoadError { verifier_log, .. }, .. }
            if verifier_log.to_string().contains("processed ")
    );
    let absent = matches!(err, HookError::Program { .. }) && !refused;
    assert!(absent && hook != SocketHook::SysEnter, "{hook}: {err}");
    Some(err)
}

/// Returns the current time of the clock that stamps records.
pub fn boot_time() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    BootTime(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
