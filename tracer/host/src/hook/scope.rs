//! The processes to watch, and their representation in the programs' maps.

use std::{
    collections::{HashMap as StdHashMap, HashSet},
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapError},
    programs::{RawTracePointRunOptions, TestRun as _},
};
use thiserror::Error;
use tracer_ebpf::{
    DEFAULT_HEAD, DEFAULT_TLS_HEAD, EXE_NAME_LEN, EXEMPT_SLOT, ExeName, Inode, MAX_POLICIES,
    Policy, TGIDS_PER_PAGE, UID_SLOTS,
};

use super::{HookError, proc, raw_tracepoint};

/// A set of processes to watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// All processes with this UID.
    Uid(u32),
    /// A running process and its descendants.
    Pid(u32),
    /// Processes that execute a file with this name, and their descendants.
    ExeName(String),
    /// Processes that execute this file, and their descendants.
    ExePath(PathBuf),
    /// An Android application, for every user. [`super::Capture::follow_packages`] looks
    /// up its id.
    Package(String),
    /// All processes except tracer itself.
    Everyone,
}

/// The processes to watch, and the limits for capturing their sends.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The targets; a process that belongs to any of them is watched.
    pub targets: Vec<Target>,
    /// Number of bytes to capture of each send.
    pub head_bytes: u32,
    /// Number of bytes to capture of each write to a TLS library.
    pub tls_head_bytes: u32,
}

impl Default for Watch {
    fn default() -> Self {
        Self { targets: Vec::new(), head_bytes: DEFAULT_HEAD, tls_head_bytes: DEFAULT_TLS_HEAD }
    }
}

/// An error in a target.
#[derive(Debug, Error)]
pub enum ScopeError {
    /// There are more targets than policies.
    #[error("cannot watch {0} things at once; at most {max} are possible", max = MAX_POLICIES - 1)]
    TooMany(usize),
    /// The name is too long to be matched in exec.
    #[error(
        "the name or path of an executable can have at most {max} bytes: {0}\n\
         Use the last component of the path.",
        max = EXE_NAME_LEN - 1
    )]
    LongName(String),
    /// The process does not exist.
    #[error("there is no process with id {0}; `ps -e` lists the running processes")]
    NoProcess(u32),
    /// The executable does not exist.
    #[error(
        "cannot find the executable {path}: {source}\n\
         Use the path of an existing file, or only its name to watch every file with that name."
    )]
    NoFile {
        /// Path of the executable.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The policy slot of every target. They share one policy for now.
pub(super) const SLOT: u32 = 1;

impl Watch {
    /// Returns the policy slot for processes without any other policy, or 0.
    pub(super) fn everyone_slot(&self) -> u32 {
        if self.targets.contains(&Target::Everyone) { SLOT } else { 0 }
    }

    /// Returns the packages to watch.
    pub(super) fn packages(&self) -> Vec<String> {
        let package = |target: &Target| match target {
            Target::Package(name) => Some(name.clone()),
            _ => None,
        };
        self.targets.iter().filter_map(package).collect()
    }
}

/// Writes the targets into the programs' maps, and returns the running processes in scope.
/// The programs that follow processes must be attached before, so that no fork after the
/// scan of `/proc` is missed.
pub(super) fn apply(ebpf: &mut Ebpf, watch: &Watch) -> Result<Vec<u32>, HookError> {
    if watch.targets.len() >= MAX_POLICIES as usize {
        return Err(ScopeError::TooMany(watch.targets.len()).into());
    }
    set_policy(ebpf, watch)?;
    let map = |name: &'static str| move |source: MapError| HookError::Map { name, source };

    let mut uids: HashMap<_, u32, u32> =
        HashMap::try_from(named(ebpf, "SCOPE_UID")).map_err(map("SCOPE_UID"))?;
    let mut filter = [0; UID_SLOTS as usize];
    for target in &watch.targets {
        if let Target::Uid(uid) = target {
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

/// Removes all targets, and all processes that are not exempt, from the programs' maps.
pub(super) fn clear(ebpf: &mut Ebpf) -> Result<(), HookError> {
    // Targets first: then only children of processes in scope can still come into scope.
    empty::<u32>(ebpf, "SCOPE_UID")?;
    empty::<ExeName>(ebpf, "SCOPE_EXE")?;
    empty::<Inode>(ebpf, "SCOPE_INODE")?;
    loop {
        let processes = in_scope(ebpf)?;
        if processes.is_empty() {
            return Ok(());
        }
        set_slots(ebpf, processes, 0)?;
    }
}

fn empty<K: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<(), HookError> {
    let failed = |source| HookError::Map { name, source };
    let mut map: HashMap<_, K, u32> = HashMap::try_from(named(ebpf, name)).map_err(failed)?;
    let keys = map.keys().collect::<Result<Vec<_>, _>>().map_err(failed)?;
    keys.iter().try_for_each(|key| map.remove(key)).map_err(failed)
}

/// Returns the processes that are in scope by their ids.
fn in_scope(ebpf: &mut Ebpf) -> Result<Vec<u32>, HookError> {
    let failed = |source| HookError::Map { name: "SCOPE_TGID", source };
    let pages: Array<_, [u8; TGIDS_PER_PAGE as usize]> =
        Array::try_from(named(ebpf, "SCOPE_TGID")).map_err(failed)?;
    let mut processes = Vec::new();
    for page in 0..pages.len() {
        let slots = pages.get(&page, 0).map_err(failed)?;
        let used =
            (0..).zip(slots).filter(|&(_, slot)| slot != 0 && u32::from(slot) != EXEMPT_SLOT);
        processes.extend(used.map(|(at, _)| page * TGIDS_PER_PAGE + at));
    }
    Ok(processes)
}

/// Writes the limits for capturing.
pub(super) fn set_policy(ebpf: &mut Ebpf, watch: &Watch) -> Result<(), HookError> {
    let policy =
        Policy { head_bytes: watch.head_bytes, tls_head_bytes: watch.tls_head_bytes, inherit: 1 };
    let map = |source: MapError| HookError::Map { name: "POLICIES", source };
    let mut policies: Array<_, Policy> = Array::try_from(named(ebpf, "POLICIES")).map_err(map)?;
    policies.set(SLOT, policy, 0).map_err(map)
}

/// Puts running processes in scope.
pub(super) fn put_in_scope(
    ebpf: &mut Ebpf,
    processes: impl IntoIterator<Item = u32>,
) -> Result<(), HookError> {
    set_slots(ebpf, processes, SLOT)
}

/// Assigns a policy slot to processes.
pub(super) fn set_slots(
    ebpf: &mut Ebpf,
    processes: impl IntoIterator<Item = u32>,
    slot: u32,
) -> Result<(), HookError> {
    let set_scope = raw_tracepoint(ebpf, "set_scope")?;
    let program = |source| HookError::Program { name: "set_scope", source };
    if set_scope.fd().is_err() {
        super::retry(|| set_scope.load()).map_err(program)?;
    }
    for tgid in processes {
        let mut options = RawTracePointRunOptions::new();
        options.args[0] = u64::from(tgid);
        options.args[1] = u64::from(slot);
        set_scope.test_run(options).map_err(program)?;
    }
    Ok(())
}

pub(super) fn named<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut aya::maps::Map {
    ebpf.map_mut(name).expect("the object file contains all maps")
}

impl Watch {
    /// Returns the names and paths that are matched in exec.
    fn exe_names(&self) -> Result<Vec<ExeName>, ScopeError> {
        let texts = self.targets.iter().filter_map(|target| match target {
            Target::ExeName(name) => Some(name.as_bytes()),
            Target::ExePath(path) => Some(path.as_os_str().as_bytes()),
            _ => None,
        });
        texts
            .map(|text| {
                let mut name: ExeName = [0; EXE_NAME_LEN];
                // The last byte stays NUL, as in the strings that the kernel reads.
                match name.get_mut(..text.len()) {
                    Some(part) if text.len() < EXE_NAME_LEN => part.copy_from_slice(text),
                    _ => return Err(ScopeError::LongName(String::from_utf8_lossy(text).into())),
                }
                Ok(name)
            })
            .collect()
    }

    /// Returns the files that are matched in exec. A file that is replaced later, by an
    /// update, is still matched by its path.
    fn inodes(&self) -> Result<Vec<Inode>, ScopeError> {
        self.targets
            .iter()
            .filter_map(|target| match target {
                Target::ExePath(path) => Some(path),
                _ => None,
            })
            .map(|path| {
                let metadata = fs::metadata(path)
                    .map_err(|source| ScopeError::NoFile { path: path.clone(), source })?;
                Ok(Inode { dev: kernel_dev(metadata.dev()), ino: metadata.ino() })
            })
            .collect()
    }

    /// Returns the running processes that match a target by id or executable, and their
    /// descendants.
    fn running(&self) -> Result<HashSet<u32>, ScopeError> {
        let processes: StdHashMap<u32, u32> =
            proc::processes().filter_map(|pid| Some((pid, proc::parent(pid)?))).collect();
        let mut found = HashSet::new();
        for target in &self.targets {
            match target {
                Target::Pid(pid) if processes.contains_key(pid) => {
                    found.insert(*pid);
                }
                Target::Pid(pid) => return Err(ScopeError::NoProcess(*pid)),
                Target::ExeName(_) | Target::ExePath(_) => {
                    found.extend(processes.keys().filter(|pid| executes(**pid, target)));
                }
                Target::Uid(_) | Target::Package(_) | Target::Everyone => {}
            }
        }
        found.remove(&std::process::id());
        // Add children until there are no more. The depth of the process tree bounds the
        // number of iterations.
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
    /// Returns the executables that are known in advance: those with a path, and those
    /// with a matching name in the usual folders. (A browser's command is often a script,
    /// and the program is in a folder with the same name.)
    pub(super) fn executables(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for target in &self.targets {
            match target {
                Target::ExePath(path) => files.push(path.clone()),
                Target::ExeName(name) => {
                    let path = std::env::var_os("PATH").unwrap_or_default();
                    files.extend(std::env::split_paths(&path).map(|dir| dir.join(name)));
                    for parent in ["/usr/lib", "/usr/lib64", "/opt"] {
                        files.push(Path::new(parent).join(name).join(name));
                    }
                }
                Target::Uid(_) | Target::Pid(_) | Target::Package(_) | Target::Everyone => {}
            }
        }
        files.retain(|file| file.is_file());
        files
    }

    /// Adds the running processes that are in scope by their UID.
    fn with_owners(&self, mut running: HashSet<u32>) -> Vec<u32> {
        let everyone = self.targets.contains(&Target::Everyone);
        let uids: HashSet<u32> = self
            .targets
            .iter()
            .filter_map(|target| match target {
                Target::Uid(uid) => Some(*uid),
                _ => None,
            })
            .collect();
        if everyone || !uids.is_empty() {
            let owned =
                |pid: &u32| everyone || proc::uid(*pid).is_some_and(|uid| uids.contains(&uid));
            running.extend(proc::processes().filter(owned));
        }
        running.remove(&std::process::id());
        running.into_iter().collect()
    }
}

/// Reports whether a process runs the executable of a target, or was executed by that name:
/// that of a script or a link.
pub(crate) fn executes(pid: u32, target: &Target) -> bool {
    let exe = proc::executable(pid).unwrap_or_default();
    match target {
        Target::ExePath(path) => {
            let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
            let runs = match (fs::metadata(format!("/proc/{pid}/exe")), fs::metadata(path)) {
                (Ok(a), Ok(b)) => same(a, b) || exe == *path,
                _ => exe == *path,
            };
            runs || proc::executed_name(pid).is_some_and(|name| name == *path)
        }
        Target::ExeName(name) => {
            let is_named = |path: &Path| path.file_name().is_some_and(|file| file == name.as_str());
            is_named(&exe) || proc::executed_name(pid).is_some_and(|name| is_named(&name))
        }
        _ => false,
    }
}

/// Returns the running processes, other than tracer, whose UID satisfies a predicate.
pub(super) fn with_uid(predicate: impl Fn(u32) -> bool) -> Vec<u32> {
    proc::processes()
        .filter(|pid| *pid != std::process::id() && proc::uid(*pid).is_some_and(&predicate))
        .collect()
}

/// Converts a device number from the format of `stat` (`new_encode_dev`) to the kernel's
/// internal one (`MKDEV`, 20-bit minor; include/linux/kdev_t.h).
fn kernel_dev(dev: u64) -> u64 {
    let major = (dev >> 8) & 0xfff;
    let minor = (dev & 0xff) | ((dev >> 12) & 0xf_ff00);
    major << 20 | minor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_dev_matches_mkdev() {
        // 8:1, and 259:65537, whose minor number has more than eight bits.
        assert_eq!(kernel_dev(0x801), 8 << 20 | 1);
        assert_eq!(
            kernel_dev((65537 & 0xff) | 259 << 8 | (65537 & !0xff) << 12),
            259 << 20 | 65537
        );
    }

    #[test]
    fn exe_names_leave_room_for_a_nul() {
        let watch = |name: &str| Watch {
            targets: vec![Target::ExeName(name.to_owned())],
            ..Watch::default()
        };
        assert!(watch(&"x".repeat(EXE_NAME_LEN - 1)).exe_names().is_ok());
        assert!(watch(&"x".repeat(EXE_NAME_LEN)).exe_names().is_err());
    }
}
