//! Restricts the calling process before it parses bytes that it does not trust.
//!
//! ```text
//! open inputs and outputs ──▶ Sandbox::enter ──▶ parse
//!                             │
//!                             ├─ no core dump, no tracing by other processes     process
//!                             ├─ limits of memory and of new processes           process
//!                             ├─ unprivileged user, no capabilities              thread
//!                             ├─ no privileges from programs (no_new_privs)      thread
//!                             ├─ Landlock: only the named folders; no TCP        thread
//!                             └─ seccomp: an allow-list of system calls          thread
//! ```
//!
//! Each mechanism works without the others. If the kernel lacks one, the rest still applies, and
//! [`Confinement`] says which one is missing and why.
//!
//! Most mechanisms apply to the calling thread and to those that it starts later, so a process has
//! to enter its sandbox before it starts threads.

mod calls;
mod identity;
mod paths;

use std::{
    fmt, fs, io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use serde::Serialize;

/// Maximum size of the memory of a sandboxed process. The decoder of a desktop with fifty busy
/// applications needs a twentieth of it.
const MAX_MEMORY: u64 = 4 << 30;

/// A mechanism that restricts a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// No core dumps, and no inspection by other processes of the same user.
    Dumpable,
    /// Limits of memory and of processes.
    Limits,
    /// A user without rights.
    User,
    /// No capabilities.
    Capabilities,
    /// Programs that the process executes do not get more rights than it has.
    NoNewPrivs,
    /// Access only to named folders, and to no TCP port.
    Landlock,
    /// An allow-list of system calls.
    Seccomp,
}

impl Mechanism {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dumpable => "dumpable",
            Self::Limits => "limits",
            Self::User => "user",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivs => "no-new-privs",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The mechanisms that restrict a process or thread.
#[derive(Debug, Clone, Default)]
pub struct Confinement {
    /// Mechanisms in force, with details if there are any.
    pub active: Vec<(Mechanism, Option<String>)>,
    /// Mechanisms that could not be used, with the reason.
    pub missing: Vec<(Mechanism, String)>,
}

impl Confinement {
    /// Reports whether a mechanism is in force.
    pub fn has(&self, mechanism: Mechanism) -> bool {
        self.active.iter().any(|(active, _)| *active == mechanism)
    }

    fn add(&mut self, mechanism: Mechanism, result: Result<Option<String>, String>) {
        match result {
            Ok(detail) => self.active.push((mechanism, detail)),
            Err(reason) => {
                log::debug!("the sandbox lacks {mechanism}: {reason}");
                self.missing.push((mechanism, reason));
            }
        }
    }
}

/// The rights that a process keeps. By default it can use the descriptors that it has open, and
/// nothing else.
#[derive(Debug, Clone, Default)]
pub struct Sandbox<'a> {
    folders: Vec<BorrowedFd<'a>>,
    threads: bool,
    sockets: bool,
    listeners: bool,
    user: Keeps,
}

/// The user of a restricted process.
#[derive(Debug, Clone, Copy, Default)]
enum Keeps {
    /// One without rights.
    #[default]
    Nothing,
    /// The owner of a folder, by UID and GID.
    Folder((u32, u32)),
}

impl<'a> Sandbox<'a> {
    /// Creates a sandbox that permits nothing but the use of open descriptors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the process read, create, replace and remove files in a folder. It keeps its user, who
    /// owns them; root becomes the owner of the folder, who could not read its new files otherwise.
    pub fn with_folder(mut self, folder: &'a impl AsFd) -> Self {
        self.folders.push(folder.as_fd());
        let owner = rustix::fs::fstat(folder).map(|it| (it.st_uid, it.st_gid));
        self.user = Keeps::Folder(owner.unwrap_or_default());
        self
    }

    /// Lets the process start threads.
    pub fn with_threads(mut self) -> Self {
        self.threads = true;
        self
    }

    /// Lets the process send and receive on sockets that are already connected, or that it connects
    /// to each other.
    pub fn with_sockets(mut self) -> Self {
        self.sockets = true;
        self
    }

    /// Lets the process accept connections on sockets that listen already, and use these as with
    /// [`Sandbox::with_sockets`].
    pub fn with_listeners(mut self) -> Self {
        self.listeners = true;
        self.with_sockets()
    }

    /// Restricts the process for the rest of its life.
    ///
    /// # Errors
    /// If the process has several threads, because the others would stay unrestricted.
    pub fn enter(&self) -> io::Result<Confinement> {
        check_threads()?;
        let mut confinement = Confinement::default();
        confinement.add(Mechanism::Limits, self.limit().map_err(|err| err.to_string()));
        self.confine(&mut confinement);
        Ok(confinement)
    }

    /// Restricts the calling thread only, so that the mechanisms can be tried.
    pub fn enter_thread(&self) -> Confinement {
        let mut confinement = Confinement::default();
        self.confine(&mut confinement);
        confinement
    }

    fn confine(&self, confinement: &mut Confinement) {
        identity::empty_bounding_set();
        match self.user {
            Keeps::Nothing => confinement.add(Mechanism::User, identity::drop_user()),
            // Root's own folders stay root's.
            Keeps::Folder((0, _)) => {}
            Keeps::Folder((uid, gid)) => {
                confinement.add(Mechanism::User, identity::become_owner(uid, gid));
            }
        }
        confinement.add(Mechanism::Capabilities, identity::drop_capabilities());
        // A change of the user resets it (credentials(7)), so it follows.
        confinement.add(Mechanism::Dumpable, undumpable());
        confinement.add(Mechanism::NoNewPrivs, no_new_privs());
        confinement.add(Mechanism::Landlock, paths::restrict(&self.folders));
        // Last, because it forbids the calls that the others need.
        let rights = calls::Rights {
            paths: !self.folders.is_empty(),
            threads: self.threads,
            sockets: self.sockets,
            listeners: self.listeners,
        };
        confinement.add(Mechanism::Seccomp, calls::restrict(rights));
    }

    fn limit(&self) -> io::Result<Option<String>> {
        lower(Resource::Core, 0)?;
        lower(Resource::As, MAX_MEMORY)?;
        if !self.threads {
            lower(Resource::Nproc, 0)?;
        }
        Ok(None)
    }
}

/// Forbids core dumps of this process, and its inspection by other processes of the same user:
/// its memory contains what users send.
///
/// # Errors
/// If the kernel refuses.
pub fn protect_memory() -> io::Result<()> {
    lower(Resource::Core, 0)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Restricts a process that connects to other machines: no root, no capabilities, no way to gain them,
/// and no inspection by others. It can read what every user can, since looking names up needs files.
///
/// # Errors
/// As [`Sandbox::enter`].
pub fn enter_with_network() -> io::Result<Confinement> {
    check_threads()?;
    let mut confinement = Confinement::default();
    identity::empty_bounding_set();
    confinement.add(Mechanism::User, identity::drop_user());
    confinement.add(Mechanism::Capabilities, identity::drop_capabilities());
    confinement.add(Mechanism::Dumpable, undumpable());
    confinement.add(Mechanism::NoNewPrivs, no_new_privs());
    Ok(confinement)
}

/// Checks that the process has one thread.
fn check_threads() -> io::Result<()> {
    match fs::read_dir("/proc/self/task").map_or(1, Iterator::count) {
        0 | 1 => Ok(()),
        threads => Err(io::Error::other(format!(
            "a sandbox must be entered before threads are started, and {threads} are running"
        ))),
    }
}

/// Makes the kernel end this process before others if it lacks memory: what decodes can be replaced
/// by `tracer decode` or `tracer report`, and the applications of the user cannot.
pub fn die_first() {
    /// Half of the scale: as if the process used half of the memory (proc_pid_oom_score_adj(5)).
    const ADJUSTMENT: &str = "500";
    // Without it, the kernel judges by size alone.
    let _ = fs::write("/proc/self/oom_score_adj", ADJUSTMENT);
}

/// Gives up the capabilities that capturing does not need, for this process and for programs that
/// it executes.
///
/// # Errors
/// If the kernel refuses.
pub fn keep_capture_capabilities() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    Ok(identity::keep_capture_capabilities()?)
}

/// Gives up the capabilities that a process does not need that only starts others, as another user.
///
/// # Errors
/// If the kernel refuses.
pub fn keep_supervision_capabilities() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    Ok(identity::keep_supervision_capabilities()?)
}

/// Restricts the system calls of this process and of all its threads to those that a capture needs
/// once its programs are attached: it can read files and use BPF, and start no process, open no
/// socket, trace or signal no process, and change no file's name, owner or mode.
///
/// # Errors
/// If the kernel cannot.
pub fn restrict_capture() -> Result<(), String> {
    calls::restrict_capture()
}

fn undumpable() -> Result<Option<String>, String> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|err| err.to_string())?;
    Ok(None)
}

fn no_new_privs() -> Result<Option<String>, String> {
    rustix::thread::set_no_new_privs(true).map_err(|err| err.to_string())?;
    Ok(None)
}

/// Lowers a limit, for good.
fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let old = getrlimit(resource).maximum;
    let limit = Some(old.map_or(limit, |old| old.min(limit)));
    Ok(setrlimit(resource, Rlimit { current: limit, maximum: limit })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_with_threads_are_refused() {
        // Tests run in threads of their own.
        let err = Sandbox::new().enter().unwrap_err();
        assert!(err.to_string().contains("before threads are started"), "{err}");
    }
}
