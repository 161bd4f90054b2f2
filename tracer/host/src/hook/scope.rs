//! Who is watched: rules from the command line, written into the programs' maps.

use std::{
    collections::{HashMap as StdHashMap, HashSet},
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapError},
    programs::{RawTracePointRunOptions, TestRun as _},
};
use thiserror::Error;
use tracer_ebpf::{
    DEFAULT_HEAD, DEFAULT_TLS_HEAD, EXE_NAME_LEN, ExeName, Inode, MAX_POLICIES, Policy, UID_SLOTS,
};

use super::{HookError, raw_tracepoint};

/// One thing to watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Every process of a UID.
    Uid(u32),
    /// A running process and its descendants.
    Pid(u32),
    /// Processes that execute a file of this name, and their descendants.
    ExeName(String),
    /// Processes that execute this file, and their descendants.
    ExePath(PathBuf),
    /// An application of Android, whichever user runs it. Its id is looked up
    /// by [`super::Capture::follow_packages`].
    Package(String),
    /// Everybody but tracer itself.
    Everyone,
}

/// What to watch, and how much of it to take.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The rules; a process that meets any of them is watched.
    pub rules: Vec<Rule>,
    /// Bytes of each send to capture.
    pub head_bytes: u32,
    /// Bytes of each write to a TLS library to capture.
    pub tls_head_bytes: u32,
}

impl Default for Watch {
    fn default() -> Self {
        Self { rules: Vec::new(), head_bytes: DEFAULT_HEAD, tls_head_bytes: DEFAULT_TLS_HEAD }
    }
}

/// Why a rule could not be followed.
#[derive(Debug, Error)]
pub enum ScopeError {
    /// More rules than there are policies.
    #[error("{0} rules are too many: at most {max} can be watched at once", max = MAX_POLICIES - 1)]
    TooMany(usize),
    /// A name that exec cannot be matched against.
    #[error(
        "{0}: an executable's name or path can have at most {max} bytes; \
         use its last component",
        max = EXE_NAME_LEN - 1
    )]
    LongName(String),
    /// No such process.
    #[error("no process has the id {0}; `ps -e` lists those that run")]
    NoProcess(u32),
    /// No such file.
    #[error(
        "cannot find the executable {path}: {source}\n\
         Give the path of a file that exists, or only its name to watch whatever is so named."
    )]
    NoFile {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The policy slot of every rule. One policy serves all of them for now.
pub(super) const SLOT: u32 = 1;

impl Watch {
    /// The policy slot for those that no other rule names, or 0.
    pub(super) fn everyone_slot(&self) -> u32 {
        if self.rules.contains(&Rule::Everyone) { SLOT } else { 0 }
    }

    /// The packages that are named.
    pub(super) fn packages(&self) -> Vec<String> {
        let package = |rule: &Rule| match rule {
            Rule::Package(name) => Some(name.clone()),
            _ => None,
        };
        self.rules.iter().filter_map(package).collect()
    }
}

/// Writes the rules into the programs' maps, and returns the processes in
/// scope that run already. The programs that follow
/// processes are attached already, so that no fork is missed between the scan
/// of `/proc` and the first send.
pub(super) fn apply(ebpf: &mut Ebpf, watch: &Watch) -> Result<Vec<u32>, HookError> {
    if watch.rules.len() >= MAX_POLICIES as usize {
        return Err(ScopeError::TooMany(watch.rules.len()).into());
    }
    set_policy(ebpf, watch)?;
    let map = |name: &'static str| move |source: MapError| HookError::Map { name, source };

    let mut uids: HashMap<_, u32, u32> =
        HashMap::try_from(named(ebpf, "SCOPE_UID")).map_err(map("SCOPE_UID"))?;
    let mut filter = [0; UID_SLOTS as usize];
    for rule in &watch.rules {
        if let Rule::Uid(uid) = rule {
            uids.insert(uid, SLOT, 0).map_err(map("SCOPE_UID"))?;
            filter[(uid % UID_SLOTS) as usize] = 1;
        }
    }
    let mut filters: Array<_, [u8; UID_SLOTS as usize]> =
        Array::try_from(named(ebpf, "UID_FILTER")).map_err(map("UID_FILTER"))?;
    filters.set(0, filter, 0).map_err(map("UID_FILTER"))?;

    let mut names: HashMap<_, ExeName, u32> =
        HashMap::try_from(named(ebpf, "SCOPE_EXE")).map_err(map("SCOPE_EXE"))?;
    for name in watch.exe_names()? {
        names.insert(name, SLOT, 0).map_err(map("SCOPE_EXE"))?;
    }
    let mut inodes: HashMap<_, Inode, u32> =
        HashMap::try_from(named(ebpf, "SCOPE_INODE")).map_err(map("SCOPE_INODE"))?;
    for inode in watch.inodes()? {
        inodes.insert(inode, SLOT, 0).map_err(map("SCOPE_INODE"))?;
    }

    let running = watch.running()?;
    put_in_scope(ebpf, running.iter().copied())?;
    Ok(watch.with_owners(running))
}

/// Says how much of each send is taken.
pub(super) fn set_policy(ebpf: &mut Ebpf, watch: &Watch) -> Result<(), HookError> {
    let policy =
        Policy { head_bytes: watch.head_bytes, tls_head_bytes: watch.tls_head_bytes, inherit: 1 };
    let map = |source: MapError| HookError::Map { name: "POLICIES", source };
    let mut policies: Array<_, Policy> = Array::try_from(named(ebpf, "POLICIES")).map_err(map)?;
    policies.set(SLOT, policy, 0).map_err(map)
}

/// Puts processes in scope that run already.
pub(super) fn put_in_scope(
    ebpf: &mut Ebpf,
    processes: impl IntoIterator<Item = u32>,
) -> Result<(), HookError> {
    let set_scope = raw_tracepoint(ebpf, "set_scope")?;
    let program = |source| HookError::Program { name: "set_scope", source };
    super::retry(|| set_scope.load()).map_err(program)?;
    for tgid in processes {
        let mut options = RawTracePointRunOptions::new();
        options.args[0] = u64::from(tgid);
        options.args[1] = u64::from(SLOT);
        set_scope.test_run(options).map_err(program)?;
    }
    Ok(())
}

pub(super) fn named<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut aya::maps::Map {
    ebpf.map_mut(name).expect("the object has the maps it is built from")
}

impl Watch {
    /// The names and paths that exec is matched against.
    fn exe_names(&self) -> Result<Vec<ExeName>, ScopeError> {
        let texts = self.rules.iter().filter_map(|rule| match rule {
            Rule::ExeName(name) => Some(name.as_bytes()),
            Rule::ExePath(path) => Some(path.as_os_str().as_bytes()),
            _ => None,
        });
        texts
            .map(|text| {
                let mut name: ExeName = [0; EXE_NAME_LEN];
                // The last byte stays NUL: the kernel reads strings.
                match name.get_mut(..text.len()) {
                    Some(part) if text.len() < EXE_NAME_LEN => part.copy_from_slice(text),
                    _ => return Err(ScopeError::LongName(String::from_utf8_lossy(text).into())),
                }
                Ok(name)
            })
            .collect()
    }

    /// The files that exec is matched against. A file that is replaced later
    /// (an update) is still matched by its path.
    fn inodes(&self) -> Result<Vec<Inode>, ScopeError> {
        self.rules
            .iter()
            .filter_map(|rule| match rule {
                Rule::ExePath(path) => Some(path),
                _ => None,
            })
            .map(|path| {
                let metadata = fs::metadata(path)
                    .map_err(|source| ScopeError::NoFile { path: path.clone(), source })?;
                Ok(Inode { dev: kernel_dev(metadata.dev()), ino: metadata.ino() })
            })
            .collect()
    }

    /// The processes that run already and meet a rule, with their descendants.
    fn running(&self) -> Result<HashSet<u32>, ScopeError> {
        let processes = processes();
        let mut found = HashSet::new();
        for rule in &self.rules {
            match rule {
                Rule::Pid(pid) if processes.contains_key(pid) => {
                    found.insert(*pid);
                }
                Rule::Pid(pid) => return Err(ScopeError::NoProcess(*pid)),
                Rule::ExeName(_) | Rule::ExePath(_) => {
                    found.extend(processes.keys().filter(|pid| runs(**pid, rule)));
                }
                Rule::Uid(_) | Rule::Package(_) | Rule::Everyone => {}
            }
        }
        found.remove(&std::process::id());
        // Children are found by their parents until nothing is added. The
        // depth of the process tree bounds the rounds.
        loop {
            let children: Vec<u32> = processes
                .iter()
                .filter(|(pid, parent)| found.contains(parent) && !found.contains(*pid))
                .map(|(pid, _)| *pid)
                .collect();
            if children.is_empty() {
                return Ok(found);
            }
            found.extend(children);
        }
    }
}

impl Watch {
    /// The files that the rules name, as far as they can be told beforehand:
    /// those at a path, and those of a name where programs are installed. (A
    /// browser's command is often a script; the program lies in a folder of
    /// its own name.)
    pub(super) fn executables(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for rule in &self.rules {
            match rule {
                Rule::ExePath(path) => files.push(path.clone()),
                Rule::ExeName(name) => {
                    let path = std::env::var_os("PATH").unwrap_or_default();
                    files.extend(std::env::split_paths(&path).map(|dir| dir.join(name)));
                    for parent in ["/usr/lib", "/usr/lib64", "/opt"] {
                        files.push(Path::new(parent).join(name).join(name));
                    }
                }
                Rule::Uid(_) | Rule::Pid(_) | Rule::Package(_) | Rule::Everyone => {}
            }
        }
        files.retain(|file| file.is_file());
        files
    }

    /// Adds the running processes that are in scope by their user.
    fn with_owners(&self, mut running: HashSet<u32>) -> Vec<u32> {
        let everyone = self.rules.contains(&Rule::Everyone);
        let uids: HashSet<u32> = self
            .rules
            .iter()
            .filter_map(|rule| match rule {
                Rule::Uid(uid) => Some(*uid),
                _ => None,
            })
            .collect();
        if everyone || !uids.is_empty() {
            let owned = |pid: &u32| {
                everyone
                    || fs::metadata(format!("/proc/{pid}"))
                        .is_ok_and(|proc| uids.contains(&proc.uid()))
            };
            running.extend(processes().into_keys().filter(owned));
        }
        running.remove(&std::process::id());
        running.into_iter().collect()
    }
}

/// Whether a process runs the executable that a rule names, or was executed by
/// that name: a script's, or a link's.
fn runs(pid: u32, rule: &Rule) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    match rule {
        Rule::ExePath(path) => {
            let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
            let runs = match (fs::metadata(format!("/proc/{pid}/exe")), fs::metadata(path)) {
                (Ok(a), Ok(b)) => same(a, b) || exe == *path,
                _ => exe == *path,
            };
            runs || executed_by(pid).is_some_and(|by| by == *path)
        }
        Rule::ExeName(name) => {
            let is_named = |path: &Path| path.file_name().is_some_and(|file| file == name.as_str());
            is_named(&exe) || executed_by(pid).is_some_and(|by| is_named(&by))
        }
        _ => false,
    }
}

/// The name that a process was executed by, as far as can still be told: the
/// kernel names its thread after that name's last component, and it is among
/// its first arguments, a script's behind its interpreter and that one's own
/// argument (execve(2)). Who changes both is not found, nor who changes one.
fn executed_by(pid: u32) -> Option<PathBuf> {
    const COMM_LEN: usize = 15;
    const MAX_BEFORE: usize = 2;

    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let comm = comm.strip_suffix(b"\n")?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let fits = |argument: &&[u8]| {
        let name = argument.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        !name.is_empty() && name.get(..COMM_LEN).unwrap_or(name) == comm
    };
    let name = arguments.split(|&byte| byte == 0).take(1 + MAX_BEFORE).find(fits)?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// The running processes whose UID is as wanted.
pub(super) fn owned(wanted: impl Fn(u32) -> bool) -> Vec<u32> {
    let owner = |pid: &u32| fs::metadata(format!("/proc/{pid}")).map(|proc| proc.uid());
    let mut found: Vec<u32> = processes().into_keys().collect();
    found.retain(|pid| *pid != std::process::id() && owner(pid).is_ok_and(&wanted));
    found
}

/// Every process and its parent.
fn processes() -> StdHashMap<u32, u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return StdHashMap::new();
    };
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat =
                fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
            // `pid (comm) state ppid …`; comm may hold anything but ends at the last `)`.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

/// A device number as the kernel holds it inside (`MKDEV`: 20-bit minor), from
/// the form that `stat` gives (`new_encode_dev`; include/linux/kdev_t.h).
fn kernel_dev(dev: u64) -> u64 {
    let major = (dev >> 8) & 0xfff;
    let minor = (dev & 0xff) | ((dev >> 12) & 0xf_ff00);
    major << 20 | minor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_packed_as_the_kernel_does() {
        // 8:1, and 259:65537 whose minor needs more than eight bits.
        assert_eq!(kernel_dev(0x801), 8 << 20 | 1);
        assert_eq!(
            kernel_dev((65537 & 0xff) | 259 << 8 | (65537 & !0xff) << 12),
            259 << 20 | 65537
        );
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        let own = std::process::id();
        assert!(processes().contains_key(&own));
    }

    #[test]
    fn names_end_with_a_nul() {
        let watch =
            |name: &str| Watch { rules: vec![Rule::ExeName(name.to_owned())], ..Watch::default() };
        assert!(watch(&"x".repeat(EXE_NAME_LEN - 1)).exe_names().is_ok());
        assert!(watch(&"x".repeat(EXE_NAME_LEN)).exe_names().is_err());
    }
}
