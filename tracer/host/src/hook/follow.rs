//! Follows processes in scope to their TLS libraries.
//!
//! The programs tell when a process in scope executes something or maps a file
//! to run it ([`tracer_ebpf::Mapped`]). A thread of its own then reads the
//! process's maps, looks into the files it does not know yet ([`locate`]), and
//! probes what it finds: one attachment a file, for every process that maps
//! it, since the next one may write sooner than it could be attached to. The
//! programs themselves leave processes alone that are out of scope.
//!
//! # How long a process can stay unseen
//!
//! A file that `--exe` names is probed before it runs, and one that is probed
//! already stays so for [`LINGER`]: neither misses a write. A library that
//! nobody in scope mapped before is probed 4 to 27 ms (median 19 ms) after it
//! was mapped, if it is named like a TLS library (measured before, with libssl
//! and curl: 18 of 20 first requests were read). WebKitGTK loads GnuTLS with
//! its first connection, whose first requests to a near server it can send
//! sooner. A file that contains a browser takes the 0.5 to 1 s that it takes to
//! look into it (docs/measurements/performance.md), and has to wait for the files before it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fs::{self, File},
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
        uprobe::{UProbeLinkId, UProbeScope},
    },
};

use crate::locate::{Cache, FileSource, Function, Library, Name, locate};

/// Looks again so long after a process mapped something: the programs tell
/// when the mapping begins, and a look can come before it is there.
const AGAIN: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// How often processes that ended are looked for.
const SWEEP: Duration = Duration::from_secs(2);

/// A file stays probed so long after its last process in scope ended: command
/// line programs come and go, and the next one should not have to wait.
const LINGER: Duration = Duration::from_secs(30);

/// Files remembered at a time, found to hold something or not. A process maps
/// some hundred.
const MAX_FILES: usize = 16_384;

/// A file, by the device and inode that `/proc/PID/maps` shows. On some file
/// systems (btrfs, overlayfs) the device is another than `stat`'s.
type MappedId = (String, u64);

/// A file, by the device and inode that `stat` shows.
type FileId = (u64, u64);

/// What became of the libraries of the processes in scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A file is probed.
    Probed {
        /// Its path, as the process has it.
        file: PathBuf,
        /// What is probed in it.
        functions: Vec<String>,
        /// How long ago its first process in scope mapped it.
        after: Duration,
    },
    /// A file holds a TLS library, and no function to probe was found in it,
    /// or it could not be probed: what it sends stays unread.
    Missed {
        /// Its path, as the process has it.
        file: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The programs for one function.
fn programs(name: Name) -> Option<(&'static str, &'static str)> {
    match name {
        Name::SslWrite => Some(("ssl_write", "ssl_write_return")),
        Name::SslWriteEx => Some(("ssl_write_ex", "ssl_write_ex_return")),
        Name::GnutlsRecordSend => Some(("gnutls_record_send", "gnutls_record_send_return")),
        Name::PrWrite => Some(("pr_write", "pr_write_return")),
        // The AEAD seals would give TLS twice.
        _ => None,
    }
}

/// Loads the probes' programs, to be attached later.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), ProgramError> {
    for name in [Name::SslWrite, Name::SslWriteEx, Name::GnutlsRecordSend, Name::PrWrite] {
        let Some((enter, leave)) = programs(name) else {
            continue;
        };
        for program in [enter, leave] {
            let program = uprobe(ebpf, program)?;
            super::retry(|| program.load())?;
        }
    }
    Ok(())
}

pub(super) fn uprobe<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, ProgramError> {
    ebpf.program_mut(name).expect("the object has the programs it is built from").try_into()
}

/// The thread that follows. It ends when nobody can tell it of processes any
/// more.
pub struct Follower {
    processes: mpsc::Sender<u32>,
    news: mpsc::Receiver<Followed>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins to follow, with the processes that run already and the files
    /// that will be executed.
    pub(super) fn start(
        ebpf: Arc<Mutex<Ebpf>>,
        running: &[u32],
        executables: &[PathBuf],
    ) -> io::Result<Self> {
        let (processes, told) = mpsc::channel();
        let (tell, news) = mpsc::channel();
        let mut work = Work {
            ebpf,
            cache: Cache::new(),
            files: HashMap::new(),
            mapped: HashMap::new(),
            backlog: VecDeque::new(),
            due: BTreeMap::new(),
            swept: Instant::now(),
            news: tell,
        };
        for path in executables {
            work.prepare(path);
        }
        for tgid in running {
            work.look(*tgid, Instant::now());
        }
        while work.next_of_backlog() {}
        let thread =
            thread::Builder::new().name("tracer-follow".into()).spawn(move || work.run(&told))?;
        Ok(Self { processes, news, thread: Some(thread) })
    }

    /// Where to tell of processes that may have mapped a library.
    pub(super) fn processes(&self) -> mpsc::Sender<u32> {
        self.processes.clone()
    }

    /// What was newly probed or missed.
    pub fn news(&self) -> impl Iterator<Item = Followed> {
        self.news.try_iter()
    }

    /// Waits for the thread, when nobody can tell it of processes any more.
    pub fn join(mut self) {
        drop(self.processes);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A file that a process in scope has mapped.
struct Known {
    /// The probes in it: program and link.
    links: Vec<(&'static str, UProbeLinkId)>,
    /// The processes in scope that map it.
    users: HashSet<u32>,
    /// When the last of them had ended.
    unused: Option<Instant>,
    /// It is probed whether processes map it or not: it is to be executed.
    keep: bool,
}

/// A file that waits to be looked into, and the process that mapped it.
struct Waiting {
    tgid: u32,
    since: Instant,
    mapping: Mapping,
}

struct Work {
    ebpf: Arc<Mutex<Ebpf>>,
    cache: Cache,
    files: HashMap<FileId, Known>,
    /// The same files as maps name them.
    mapped: HashMap<MappedId, FileId>,
    /// Files that are not named like a TLS library and may hold one inside:
    /// looked into one at a time, whenever there is nothing more urgent.
    backlog: VecDeque<Waiting>,
    /// Processes to look at again.
    due: BTreeMap<Instant, (u32, Instant)>,
    swept: Instant,
    news: mpsc::Sender<Followed>,
}

impl Work {
    fn run(&mut self, told: &mpsc::Receiver<u32>) {
        loop {
            let now = Instant::now();
            let next = self.due.keys().next().copied().unwrap_or(now + SWEEP);
            let pause = if self.backlog.is_empty() {
                next.saturating_duration_since(now).min(SWEEP)
            } else {
                Duration::ZERO
            };
            match told.recv_timeout(pause) {
                Ok(first) => {
                    let now = Instant::now();
                    // A process that starts maps one library after the other.
                    let processes: HashSet<u32> =
                        std::iter::once(first).chain(told.try_iter()).collect();
                    for tgid in processes {
                        self.look(tgid, now);
                        for pause in AGAIN {
                            self.due.insert(Instant::now() + pause, (tgid, now));
                        }
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            while let Some(entry) = self.due.first_entry()
                && *entry.key() <= Instant::now()
            {
                let (tgid, since) = entry.remove();
                self.look(tgid, since);
            }
            if self.swept.elapsed() >= SWEEP {
                self.swept = Instant::now();
                self.sweep();
            }
            self.next_of_backlog();
        }
    }

    /// Looks at what a process has mapped; `since` is when it did.
    fn look(&mut self, tgid: u32, since: Instant) {
        let Ok(maps) = fs::read_to_string(format!("/proc/{tgid}/maps")) else {
            // It has ended.
            return;
        };
        for mapping in maps.lines().filter_map(Mapping::parse) {
            let waiting = Waiting { tgid, since, mapping };
            // What is named like a TLS library is looked into at once. A large
            // program with hundreds of libraries would hold up the one that the
            // next process writes to: half a second for each browser's worth.
            if self.is_known(&waiting) {
                continue;
            }
            if waiting.mapping.likely() || self.backlog.len() >= MAX_FILES {
                self.look_into(&waiting);
            } else {
                self.backlog.push_back(waiting);
            }
        }
    }

    /// Looks into the file that has waited longest. Answers whether there was
    /// one.
    fn next_of_backlog(&mut self) -> bool {
        let Some(waiting) = self.backlog.pop_front() else {
            return false;
        };
        if !self.is_known(&waiting) {
            self.look_into(&waiting);
        }
        true
    }

    /// Whether a process maps a file that was looked into; it is then a user of
    /// it.
    fn is_known(&mut self, Waiting { tgid, mapping, .. }: &Waiting) -> bool {
        let known = self.mapped.get(&mapping.id).and_then(|id| self.files.get_mut(id));
        known.is_some_and(|known| {
            known.users.insert(*tgid);
            known.unused = None;
            true
        })
    }

    fn look_into(&mut self, waiting: &Waiting) {
        let Waiting { tgid, since, mapping } = waiting;
        // Not by its path, which may be another file's by now, or one in
        // another mount namespace.
        let open = format!("/proc/{tgid}/map_files/{}", mapping.range);
        let Some(id) = self.file(Path::new(&open), &mapping.path, *since) else {
            return;
        };
        if self.mapped.len() >= MAX_FILES {
            self.mapped.clear();
        }
        self.mapped.insert(mapping.id.clone(), id);
        self.is_known(waiting);
    }

    /// Probes a file that is to be executed, before it is.
    fn prepare(&mut self, path: &Path) {
        let since = Instant::now();
        if let Some(id) = self.file(path, &path.to_string_lossy(), since)
            && let Some(known) = self.files.get_mut(&id)
        {
            known.keep = true;
        }
    }

    /// Opens a file, and probes it if it was not known before. `None` where it
    /// is gone or no regular file.
    fn file(&mut self, open: &Path, name: &str, since: Instant) -> Option<FileId> {
        let opened = File::open(open).ok()?;
        let metadata = opened.metadata().ok()?;
        let id = (metadata.dev(), metadata.ino());
        if !self.files.contains_key(&id) {
            if self.files.len() >= MAX_FILES {
                self.files.retain(|_, known| !known.links.is_empty());
            }
            let links = self.probe(opened, name, since);
            let known = Known { links, users: HashSet::new(), unused: None, keep: false };
            self.files.insert(id, known);
        }
        Some(id)
    }

    /// Probes a file that was not known before.
    fn probe(
        &mut self,
        opened: File,
        name: &str,
        since: Instant,
    ) -> Vec<(&'static str, UProbeLinkId)> {
        // The open file outlives the process, and whatever becomes of its path.
        let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let Ok(source) = opened.try_clone().and_then(FileSource::new) else {
            return Vec::new();
        };
        let Ok(found) = locate(&source, name, &mut self.cache) else {
            // Not an ELF file or an archive of some: nothing that sends.
            return Vec::new();
        };
        let mut links = Vec::new();
        let mut functions = Vec::new();
        let mut reasons = Vec::new();
        for located in &found {
            for function in &located.findings.functions {
                match self.attach(function, Path::new(&path)) {
                    Ok(Some(attached)) => {
                        links.extend(attached);
                        functions.push(function.name.to_string());
                    }
                    Ok(None) => {}
                    Err(err) => reasons.push(format!("{}: {err}", function.name)),
                }
            }
            // A file that holds no TLS library lacks nothing.
            if located.findings.libraries.iter().any(|library| speaks_tls(*library)) {
                let missing = located.findings.missing.iter();
                reasons.extend(missing.map(|missing| format!("{}", missing.reason)));
            }
        }
        let file = PathBuf::from(name);
        if !functions.is_empty() {
            let after = since.elapsed();
            let _ = self.news.send(Followed::Probed { file, functions, after });
        } else if !reasons.is_empty() {
            let _ = self.news.send(Followed::Missed { file, reason: reasons.join("; ") });
        }
        links
    }

    /// Attaches a function's two probes.
    fn attach(
        &self,
        function: &Function,
        path: &Path,
    ) -> Result<Option<[(&'static str, UProbeLinkId); 2]>, ProgramError> {
        let Some((enter, leave)) = programs(function.name) else {
            return Ok(None);
        };
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        // The return first: an entry without its return would be of no use.
        let returned = uprobe(&mut ebpf, leave)?.attach(
            function.return_probe_offset(),
            path,
            UProbeScope::AllProcesses,
        )?;
        let entered = uprobe(&mut ebpf, enter)?.attach(
            function.probe_offset(),
            path,
            UProbeScope::AllProcesses,
        );
        match entered {
            Ok(entered) => Ok(Some([(enter, entered), (leave, returned)])),
            Err(err) => {
                uprobe(&mut ebpf, leave)?.detach(returned)?;
                Err(err)
            }
        }
    }

    /// Detaches from files whose processes have all ended some time ago.
    fn sweep(&mut self) {
        let mut alive: HashMap<u32, bool> = HashMap::new();
        let mut gone = Vec::new();
        for (id, known) in &mut self.files {
            known.users.retain(|tgid| {
                *alive.entry(*tgid).or_insert_with(|| Path::new(&format!("/proc/{tgid}")).exists())
            });
            if !known.users.is_empty() || known.keep {
                continue;
            }
            let unused = *known.unused.get_or_insert_with(Instant::now);
            if unused.elapsed() >= LINGER && !known.links.is_empty() {
                gone.push(*id);
            }
        }
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        for id in gone {
            let Some(known) = self.files.remove(&id) else {
                continue;
            };
            for (program, link) in known.links {
                let detached = uprobe(&mut ebpf, program).and_then(|probe| probe.detach(link));
                if let Err(err) = detached {
                    log::warn!("cannot detach {program}: {err}");
                }
            }
        }
    }
}

/// Whether a library's absence of findings is worth telling: it encrypts what
/// an application sends.
fn speaks_tls(library: Library) -> bool {
    !matches!(library, Library::Nspr)
}

/// A file mapped to be executed: a line of `/proc/PID/maps` (proc(5)).
pub(crate) struct Mapping {
    pub(crate) range: String,
    pub(crate) id: MappedId,
    pub(crate) path: String,
}

impl Mapping {
    /// `start-end perms offset dev inode path`; `None` for what is not
    /// executable or not a file.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let range = fields.next()?;
        let permissions = fields.next()?;
        let _offset = fields.next()?;
        let device = fields.next()?;
        let inode = fields.next()?.parse().ok()?;
        let path = fields.next()?.trim_start();
        (permissions.contains('x') && inode != 0 && path.starts_with('/')).then(|| Self {
            range: range.to_owned(),
            id: (device.to_owned(), inode),
            path: path.to_owned(),
        })
    }

    /// Whether it is named like a TLS library.
    fn likely(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        ["ssl", "tls", "nspr", "nss3", "cronet"].iter().any(|part| name.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let line = "7f00-7f10 r-xp 00001000 fe:00 1234                       /usr/lib/lib ssl.so (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(mapping.range, "7f00-7f10");
        assert_eq!(mapping.id, ("fe:00".to_owned(), 1234));
        assert_eq!(mapping.path, "/usr/lib/lib ssl.so (deleted)");
        assert!(mapping.likely());
        for line in [
            "7f00-7f10 r--p 00001000 fe:00 1234 /usr/lib/libssl.so.3",
            "7f00-7f10 r-xp 00000000 00:00 0 [vdso]",
            "7f00-7f10 r-xp 00000000 00:00 0 ",
            "",
        ] {
            assert!(Mapping::parse(line).is_none(), "{line}");
        }
    }
}
