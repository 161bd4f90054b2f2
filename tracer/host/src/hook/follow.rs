//! Probes the TLS libraries of processes in scope.
//!
//! The programs notify the daemon when a process in scope executes a program or maps a
//! file as executable ([`tracer_ebpf::Mapped`]). A separate thread then reads the maps of
//! the process, analyzes new files ([`locate`]), and probes the functions it finds. A probe
//! is attached once for each file, for all processes: the next process to map the file may
//! write before a probe of its own could be attached. The programs ignore processes out of
//! scope.
//!
//! # Delay until a process is probed
//!
//! A file named by `--exe` is probed before it runs, the system's TLS libraries before they are
//! loaded ([`installed`]), and a probed file stays probed for [`LINGER`], so none of them
//! misses a write. Another library that no process in scope has mapped
//! before is probed 4 to 27 ms (median 19 ms) after it was mapped, if its name is that of a
//! TLS library: the kernel takes 10 to 15 ms for the first probe in a file. A file that contains a browser takes 0.5 to 1 s to analyze
//! (docs/measurements/performance.md), and waits for the files before it.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeLink, UProbeLinkId, UProbeScope},
    },
};

use super::{
    installed,
    links::{self, Budget, Owner},
    proc::{self, MappedId, Mapping},
    rechecks::Rechecks,
};
use crate::locate::{Function, Library, Locator, Name};

/// Interval at which ended processes are removed.
const SWEEP: Duration = Duration::from_secs(2);

/// Time for which a file stays probed after its last process in scope ended: command line
/// programs run repeatedly, and the next run should be probed from its start.
const LINGER: Duration = Duration::from_secs(600);

/// Maximum number of files remembered, with or without a TLS library. A process maps about
/// a hundred.
const MAX_FILES: usize = 16_384;

/// Device and inode of a file, from `stat`.
type FileId = (u64, u64);

/// The outcome of analyzing a file of a process in scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeEvent {
    /// The file is probed.
    Probed {
        /// Path of the file in the process's mount namespace.
        file: PathBuf,
        /// The probed functions.
        functions: Vec<String>,
        /// Time since the first process in scope mapped the file.
        after: Duration,
    },
    /// The file contains a TLS library, but its functions were not found or could not be
    /// probed: what it sends stays unread.
    Missed {
        /// Path of the file in the process's mount namespace.
        file: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl ProbeEvent {
    /// Returns the outcome for a file that was analyzed before a process mapped it.
    fn at_once(self) -> Self {
        match self {
            Self::Probed { file, functions, .. } => {
                Self::Probed { file, functions, after: Duration::ZERO }
            }
            missed @ Self::Missed { .. } => missed,
        }
    }
}

/// The programs that are attached to a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Programs {
    /// One near the entry, which reads the arguments, and one at the return.
    Both(&'static str, &'static str),
    /// One where the stack is still that of the entry, because it reads arguments from it.
    Entry(&'static str),
}

impl Programs {
    fn of(name: Name) -> Self {
        match name {
            Name::SslWrite => Self::Both("ssl_write", "ssl_write_return"),
            Name::SslWriteEx => Self::Both("ssl_write_ex", "ssl_write_ex_return"),
            Name::SslWriteInternal => Self::Both("ssl_write_internal", "ssl_write_internal_return"),
            Name::GnutlsRecordSend | Name::GnutlsRecordSend2 => {
                Self::Both("gnutls_record_send", "gnutls_record_send_return")
            }
            Name::PrWrite => Self::Both("pr_write", "pr_write_return"),
            Name::AeadSealScatter => Self::Entry("aead_seal_scatter"),
            Name::AeadSeal => Self::Entry("aead_seal"),
            Name::AeadSealv => Self::Entry("aead_sealv"),
            Name::AesAead => Self::Entry("nss_aes_aead"),
            Name::ChaCha20Encrypt => Self::Entry("nss_chacha20_encrypt"),
            Name::GoWriteRecord => Self::Entry("go_write_record"),
            Name::GoWriteRecordStack => Self::Entry("go_write_record_stack"),
        }
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        let (enter, leave) = match self {
            Self::Both(enter, leave) => (enter, Some(leave)),
            Self::Entry(enter) => (enter, None),
        };
        std::iter::once(enter).chain(leave)
    }
}

/// Loads the programs for probes, to be attached later. Returns the names of those that the
/// kernel rejects: their functions cannot be probed, which is reported for each file that has
/// them.
///
/// # Errors
/// If the kernel rejects all of them.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<Vec<&'static str>, ProgramError> {
    // Two functions can share their programs.
    let programs: BTreeSet<_> =
        Name::ALL.into_iter().flat_map(|name| Programs::of(name).names()).collect();
    let count = programs.len();
    let mut rejected = Vec::new();
    for name in programs {
        let program = uprobe(ebpf, name)?;
        if let Err(err) = super::retry(|| program.load()) {
            rejected.push(name);
            if rejected.len() == count {
                return Err(err);
            }
            log::warn!("the kernel rejected the program {name}: {err}");
        }
    }
    Ok(rejected)
}

pub(super) fn uprobe<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, ProgramError> {
    ebpf.program_mut(name).expect("the object file contains all programs").try_into()
}

/// The thread that probes libraries. It ends when all senders of processes are dropped.
pub struct Follower {
    processes: mpsc::Sender<u32>,
    events: mpsc::Receiver<ProbeEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts with the running processes, and with files that will be executed.
    pub(super) fn start(
        ebpf: Arc<Mutex<Ebpf>>,
        locator: Locator,
        running: &[u32],
        executables: &[PathBuf],
    ) -> io::Result<Self> {
        let (processes, receiver) = mpsc::channel();
        let (sender, events) = mpsc::channel();
        let mut worker = Worker {
            ebpf,
            locator,
            files: HashMap::new(),
            mapped: HashMap::new(),
            backlog: VecDeque::new(),
            rechecks: Rechecks::default(),
            budget: Budget::new(),
            is_denied: false,
            swept: Instant::now(),
            events: sender,
        };
        for path in executables {
            worker.prepare(path, Announce::Now);
        }
        for path in installed::libraries() {
            worker.prepare(&path, Announce::WhenMapped);
        }
        for tgid in running {
            let now = Instant::now();
            worker.inspect(*tgid, now);
            worker.rechecks.start(*tgid, now, Instant::now());
        }
        while worker.analyze_next() {}
        let thread = thread::Builder::new()
            .name("tracer-follow".into())
            .spawn(move || worker.run(&receiver))?;
        Ok(Self { processes, events, thread: Some(thread) })
    }

    /// Returns a sender for processes that may have mapped a library.
    pub(super) fn processes(&self) -> mpsc::Sender<u32> {
        self.processes.clone()
    }

    /// Returns the outcomes since the last call.
    pub fn events(&self) -> impl Iterator<Item = ProbeEvent> {
        self.events.try_iter()
    }

    /// Waits for the thread. All senders of processes must be dropped.
    pub fn join(mut self) {
        drop(self.processes);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A file that was analyzed.
struct KnownFile {
    /// The application that mapped it first.
    owner: Owner,
    /// Probes in it: program and link.
    links: Vec<(&'static str, UProbeLinkId)>,
    /// Processes in scope that map it.
    users: HashSet<u32>,
    /// Time at which its last process was found to have ended.
    unused: Option<Instant>,
    /// Set if it stays probed without any process, because it will be executed or loaded.
    keep: bool,
    /// The functions that are probed, until a process in scope has mapped them.
    unannounced: Option<ProbeEvent>,
}

/// The time at which probes in a file are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announce {
    Now,
    WhenMapped,
}

/// A file to be analyzed, and the process that mapped it.
struct PendingFile {
    tgid: u32,
    since: Instant,
    mapping: Mapping,
}

struct Worker {
    ebpf: Arc<Mutex<Ebpf>>,
    locator: Locator,
    files: HashMap<FileId, KnownFile>,
    /// The same files by their ids in maps.
    mapped: HashMap<MappedId, FileId>,
    /// Files whose names are not those of TLS libraries, but which may contain one.
    /// They are analyzed one at a time, when there is nothing more urgent.
    backlog: VecDeque<PendingFile>,
    rechecks: Rechecks,
    budget: Budget,
    /// Set once the kernel did not permit to read what processes map.
    is_denied: bool,
    swept: Instant,
    events: mpsc::Sender<ProbeEvent>,
}

impl Worker {
    fn run(&mut self, processes: &mpsc::Receiver<u32>) {
        loop {
            let now = Instant::now();
            let next = self.rechecks.next().unwrap_or(now + SWEEP);
            let pause = if self.backlog.is_empty() {
                next.saturating_duration_since(now).min(SWEEP)
            } else {
                Duration::ZERO
            };
            match processes.recv_timeout(pause) {
                Ok(first) => {
                    let now = Instant::now();
                    // A starting process maps one library after another.
                    let distinct: HashSet<u32> =
                        std::iter::once(first).chain(processes.try_iter()).collect();
                    for tgid in distinct {
                        self.inspect(tgid, now);
                        self.rechecks.start(tgid, now, Instant::now());
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.detach_all(),
            }
            while let Some((tgid, since)) = self.rechecks.take_due(Instant::now()) {
                self.inspect(tgid, since);
            }
            if self.swept.elapsed() >= SWEEP {
                self.swept = Instant::now();
                self.sweep();
            }
            self.analyze_next();
        }
    }

    /// Reads the maps of a process, which was notified at `since`.
    fn inspect(&mut self, tgid: u32, since: Instant) {
        let mappings = match proc::mappings(tgid) {
            Ok(mappings) => mappings,
            // Otherwise the process has ended.
            Err(err) => return self.report_denial(&err, &format!("/proc/{tgid}/maps")),
        };
        for mapping in mappings {
            let pending = PendingFile { tgid, since, mapping };
            if self.add_user(&pending) {
                continue;
            }
            // A file with the name of a TLS library is analyzed at once. Behind a large
            // program with hundreds of libraries it would have to wait for half a second
            // and more.
            if has_tls_name(&pending.mapping.path) || self.backlog.len() >= MAX_FILES {
                self.analyze(&pending);
            } else {
                self.backlog.push_back(pending);
            }
        }
    }

    /// Analyzes the first file of the backlog; returns false if there is none.
    fn analyze_next(&mut self) -> bool {
        let Some(pending) = self.backlog.pop_front() else {
            return false;
        };
        if !self.add_user(&pending) {
            self.analyze(&pending);
        }
        true
    }

    /// Adds the process to the users of a known file; returns false if the file is not
    /// known.
    fn add_user(&mut self, PendingFile { tgid, mapping, .. }: &PendingFile) -> bool {
        let known = self.mapped.get(&mapping.id).and_then(|id| self.files.get_mut(id));
        known.is_some_and(|known| {
            known.users.insert(*tgid);
            known.unused = None;
            if let Some(event) = known.unannounced.take() {
                let _ = self.events.send(event);
            }
            true
        })
    }

    fn analyze(&mut self, pending: &PendingFile) {
        let PendingFile { tgid, since, mapping } = pending;
        let file = match mapping.open(*tgid) {
            Ok(file) => file,
            // Otherwise the process has ended or unmapped the file.
            Err(err) => return self.report_denial(&err, &mapping.path),
        };
        let owner = Owner::of(*tgid);
        let Some(id) = self.add_file(file, &mapping.path, *since, owner, Announce::Now) else {
            return;
        };
        if self.mapped.len() >= MAX_FILES {
            self.mapped.clear();
        }
        self.mapped.insert(mapping.id.clone(), id);
        self.add_user(pending);
    }

    /// Reports, once, that the kernel does not permit to read what processes map.
    fn report_denial(&mut self, err: &io::Error, file: &str) {
        if err.kind() == io::ErrorKind::PermissionDenied && !self.is_denied {
            self.is_denied = true;
            let reason = format!(
                "{err}; to read TLS libraries, tracer needs CAP_SYS_ADMIN, CAP_SYS_PTRACE and \
                 CAP_DAC_READ_SEARCH"
            );
            let _ = self.events.send(ProbeEvent::Missed { file: file.into(), reason });
        }
    }

    /// Probes a file before it is executed or loaded.
    fn prepare(&mut self, path: &Path, announce: Announce) {
        let (since, name) = (Instant::now(), path.to_string_lossy());
        if let Ok(file) = File::open(path)
            && let Some(id) = self.add_file(file, &name, since, Owner::default(), announce)
            && let Some(known) = self.files.get_mut(&id)
        {
            known.keep = true;
        }
    }

    /// Probes a file if it is new, and returns its id.
    fn add_file(
        &mut self,
        opened: File,
        name: &str,
        since: Instant,
        owner: Owner,
        announce: Announce,
    ) -> Option<FileId> {
        let metadata = opened.metadata().ok()?;
        let id = (metadata.dev(), metadata.ino());
        if !self.files.contains_key(&id) {
            // The file is not remembered: for another application, it is probed.
            if let Some(reason) = self.budget.refusal(&owner) {
                if self.budget.is_news(&owner) {
                    let _ = self.events.send(ProbeEvent::Missed { file: name.into(), reason });
                }
                return None;
            }
            if self.files.len() >= MAX_FILES {
                self.files.retain(|_, known| !known.links.is_empty());
            }
            let (links, mut outcome) = self.probe(opened, name, since);
            if announce == Announce::Now
                && let Some(event) = outcome.take()
            {
                let _ = self.events.send(event);
            }
            self.budget.add(&owner, links.len());
            let known = KnownFile {
                owner,
                links,
                users: HashSet::new(),
                unused: None,
                keep: false,
                unannounced: outcome.map(ProbeEvent::at_once),
            };
            self.files.insert(id, known);
        }
        Some(id)
    }

    /// Analyzes a file, and attaches probes. Returns them and the outcome, if there is one.
    fn probe(
        &mut self,
        opened: File,
        name: &str,
        since: Instant,
    ) -> (Vec<(&'static str, UProbeLinkId)>, Option<ProbeEvent>) {
        // The open file stays valid when the process ends or its path changes.
        let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let found = match self.locator.locate(&opened) {
            Ok(found) => found,
            Err(err) => {
                let reason = format!("the process that analyzes files failed: {err}");
                return (Vec::new(), Some(ProbeEvent::Missed { file: name.into(), reason }));
            }
        };
        let mut links = Vec::new();
        let mut functions = Vec::new();
        let mut reasons = Vec::new();
        for findings in &found {
            let is_probed = |name| findings.probed_instead_of(name).is_none();
            for function in findings.functions.iter().filter(|f| is_probed(f.name)) {
                match self.attach(function, Path::new(&path)) {
                    Ok(attached) => {
                        links.extend(attached);
                        functions.push(function.name.to_string());
                    }
                    Err(err) => reasons.push(format!("{}: {err}", function.name)),
                }
            }
            // Missing functions are expected in a file without a TLS library.
            if findings.libraries.iter().any(|library| encrypts(*library)) {
                let missing = findings.missing.iter();
                reasons.extend(missing.map(|missing| format!("{}", missing.reason)));
                let unread = findings.unread.iter();
                reasons.extend(unread.map(|unread| format!("{}", unread.reason)));
            }
        }
        // One reason can apply to all functions.
        reasons.dedup();
        let file = PathBuf::from(name);
        let outcome = match (functions.is_empty(), reasons.is_empty()) {
            (false, _) => Some(ProbeEvent::Probed { file, functions, after: since.elapsed() }),
            (true, false) => Some(ProbeEvent::Missed { file, reason: reasons.join("; ") }),
            (true, true) => None,
        };
        (links, outcome)
    }

    /// Attaches the probes of a function.
    fn attach(
        &self,
        function: &Function,
        path: &Path,
    ) -> Result<Vec<(&'static str, UProbeLinkId)>, ProgramError> {
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        let mut attach = |program, offset| {
            uprobe(&mut ebpf, program)?.attach(offset, path, UProbeScope::AllProcesses)
        };
        let (enter, leave) = match Programs::of(function.name) {
            Programs::Both(enter, leave) => (enter, leave),
            Programs::Entry(enter) => {
                return Ok(vec![(enter, attach(enter, function.return_probe_offset())?)]);
            }
        };
        // The return first: an entry probe without a return probe would have no effect.
        let returned = attach(leave, function.return_probe_offset())?;
        match attach(enter, function.probe_offset()) {
            Ok(entered) => Ok(vec![(enter, entered), (leave, returned)]),
            Err(err) => {
                uprobe(&mut ebpf, leave)?.detach(returned)?;
                Err(err)
            }
        }
    }

    /// Detaches from files whose processes all ended at least [`LINGER`] ago.
    fn sweep(&mut self) {
        let mut alive: HashMap<u32, bool> = HashMap::new();
        let mut gone = Vec::new();
        for (id, known) in &mut self.files {
            known.users.retain(|tgid| *alive.entry(*tgid).or_insert_with(|| proc::exists(*tgid)));
            if !known.users.is_empty() || known.keep {
                continue;
            }
            let unused = *known.unused.get_or_insert_with(Instant::now);
            if unused.elapsed() >= LINGER && !known.links.is_empty() {
                gone.push(*id);
            }
        }
        let gone = gone.iter().filter_map(|id| self.files.remove(id)).collect();
        self.detach(gone);
    }

    /// Detaches from all files.
    fn detach_all(&mut self) {
        let files = self.files.drain().map(|(_, known)| known).collect();
        self.detach(files);
    }

    fn detach(&mut self, files: Vec<KnownFile>) {
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken: Vec<UProbeLink> = Vec::new();
        for KnownFile { owner, links, .. } in files {
            self.budget.remove(&owner, links.len());
            for (program, link) in links {
                match uprobe(&mut ebpf, program).and_then(|probe| probe.take_link(link)) {
                    Ok(link) => taken.push(link),
                    Err(err) => log::warn!("cannot detach {program}: {err}"),
                }
            }
        }
        drop(ebpf);
        links::close(taken);
    }
}

/// Reports whether a library itself encrypts, so that its functions should be found.
fn encrypts(library: Library) -> bool {
    !matches!(library, Library::Nspr)
}

/// Reports whether a path has the name of a TLS library.
fn has_tls_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    ["ssl", "tls", "nspr", "nss3", "freebl", "cronet"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_names_of_tls_libraries() {
        assert!(has_tls_name("/usr/lib/x86_64-linux-gnu/libssl.so.3"));
        assert!(has_tls_name("/usr/lib/libgnutls.so.30 (deleted)"));
        assert!(!has_tls_name("/opt/ssl/libc.so.6"));
    }
}
