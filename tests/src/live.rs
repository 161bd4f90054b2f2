//! Captures in the running kernel, inside the test's own process.
//!
//! A capture's scope is its own, so tests run beside each other. A record is
//! in the ring before its system call goes on: once a child has ended, all it
//! sent is there to be read, and nothing has to be waited for.

use std::sync::LazyLock;

use aya::programs::ProgramError;
use rustix::time::{ClockId, clock_gettime};
use tracer_core::record::{BootTime, Losses, Record};
use tracer_host::hook::{
    self, Capture, HookError, Options, RingEntry, RingReader, SocketHook, Target, Watch,
};

/// A capture and its reading end.
pub struct Live {
    reader: RingReader,
    // Dropped last: the programs stay attached as long as somebody reads.
    _capture: Capture,
}

/// Room for all that one test sends, unless it says otherwise.
pub const RING: u32 = 4 << 20;

impl Live {
    /// Watches the targets, with heads of the default length.
    ///
    /// # Panics
    /// When the kernel refuses: the test asked for root before.
    pub fn watch(targets: impl IntoIterator<Item = Target>) -> Self {
        let targets = targets.into_iter().collect();
        Self::start(Watch { targets, ..Watch::default() }, RING)
    }

    /// Watches with a head and a ring of its own size, in bytes, by the hook
    /// that tracer would take.
    ///
    /// # Panics
    /// As [`Live::watch`].
    pub fn start(watch: Watch, ring: u32) -> Self {
        Self::by(best(), watch, ring)
    }

    /// Watches by a hook.
    ///
    /// # Panics
    /// As [`Live::watch`].
    pub fn by(hook: SocketHook, watch: Watch, ring: u32) -> Self {
        let capture = Capture::start(&Options { watch, ring, hook }).expect("a capture");
        let reader = capture.reader().expect("its reading end");
        Self { reader, _capture: capture }
    }

    /// Takes the records that are in the ring now.
    ///
    /// # Panics
    /// When one of them cannot be read.
    pub fn records(&mut self) -> Vec<Record> {
        std::iter::from_fn(|| self.reader.entry())
            .filter_map(|entry| match entry.expect("an entry as the programs write it") {
                RingEntry::Record(record) => Some(record),
                RingEntry::Mapped { .. } => None,
            })
            .collect()
    }

    /// Takes what is in the ring now, and says how often a process in scope may
    /// have mapped a library.
    ///
    /// # Panics
    /// As [`Live::records`].
    pub fn mappings(&mut self) -> usize {
        std::iter::from_fn(|| self.reader.entry())
            .filter(|entry| {
                matches!(
                    entry.as_ref().expect("as the programs write it"),
                    RingEntry::Mapped { .. }
                )
            })
            .count()
    }

    /// What was delivered and what was not, since the capture began.
    ///
    /// # Panics
    /// When the counters cannot be read.
    pub fn losses(&self) -> Losses {
        self.reader.losses().expect("the programs' counters")
    }
}

/// The hooks that this kernel has, the best first.
///
/// # Panics
/// When the kernel has one that does not work.
pub fn hooks() -> &'static [SocketHook] {
    static HOOKS: LazyLock<Vec<SocketHook>> = LazyLock::new(|| {
        SocketHook::ALL.into_iter().filter(|&hook| lacking(hook).is_none()).collect()
    });
    &HOOKS
}

/// The hook that tracer would take. The others are not tried for it, which
/// takes long in an emulated machine.
///
/// # Panics
/// When the kernel has none.
pub fn best() -> SocketHook {
    static BEST: LazyLock<SocketHook> =
        LazyLock::new(|| hook::choose(&SocketHook::ALL).expect("every kernel has sys_enter").hook);
    *BEST
}

/// Why the kernel does not have a hook; `None` if it does.
///
/// # Panics
/// When the kernel has it, and it does not work: the verifier refused a
/// program, or the kernel does not run it.
pub fn lacking(hook: SocketHook) -> Option<HookError> {
    let err = hook::test_hook(hook).err()?;
    let refused = matches!(
        &err,
        HookError::Program { source: ProgramError::LoadError { verifier_log, .. }, .. }
            if verifier_log.to_string().contains("processed ")
    );
    let absent = matches!(err, HookError::Program { .. }) && !refused;
    assert!(absent && hook != SocketHook::SysEnter, "{hook}: {err}");
    Some(err)
}

/// The time on the clock that records are stamped with.
pub fn boot_time() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    BootTime(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
