//! Processes as `/proc` shows them (proc(5)).
//!
//! A watched process controls its name, its arguments and the paths of the files
//! that it maps. So a line that cannot be parsed is skipped, and text that is not
//! UTF-8 is replaced, instead of failing the whole file.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    ops::Range,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// Maximum number of bytes read of a command line. Options are at its beginning.
const MAX_CMDLINE: u64 = 16 << 10;

/// Returns the ids of all processes.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Reports whether a process exists.
pub(super) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Returns the effective UID of a process.
pub(crate) fn uid(pid: u32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|metadata| metadata.uid())
}

/// Returns the parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_parent(&stat)
}

/// Parses the parent in `pid (comm) state ppid …`. The name can contain anything,
/// and ends at the last parenthesis.
fn parse_parent(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the path of the file that a process executes.
pub(crate) fn executable(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Returns the beginning of a process's arguments, separated by NUL bytes.
pub(crate) fn cmdline(pid: u32) -> Vec<u8> {
    let mut line = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
        let _ = file.take(MAX_CMDLINE).read_to_end(&mut line);
    }
    line
}

/// Returns the name by which a process was executed, if it is still known: that of
/// a script or a link can differ from the executable's.
///
/// The kernel names the thread after the last component of that name, and the name
/// is one of the first arguments; a script's follows its interpreter and the
/// interpreter's own argument (execve(2)). A process that changes either hides it.
pub(crate) fn executed_name(pid: u32) -> Option<PathBuf> {
    const COMM_LEN: usize = 15;
    const MAX_INTERPRETER_ARGUMENTS: usize = 2;

    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let comm = comm.strip_suffix(b"\n")?;
    let matches_comm = |argument: &&[u8]| {
        let name = argument.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        !name.is_empty() && name.get(..COMM_LEN).unwrap_or(name) == comm
    };
    let arguments = cmdline(pid);
    let mut first = arguments.split(|&byte| byte == 0).take(1 + MAX_INTERPRETER_ARGUMENTS);
    first.find(matches_comm).map(|name| PathBuf::from(OsStr::from_bytes(name)))
}

/// A file on its device, as `/proc/PID/maps` identifies it. On some file systems
/// (btrfs, overlayfs) the device differs from that of `stat`.
pub(crate) type MappedId = (String, u64);

/// A file that a process has mapped as executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(super) addresses: Range<u64>,
    /// Offset in the file of the first address.
    pub(super) offset: u64,
    pub(crate) id: MappedId,
    pub(crate) path: String,
}

impl Mapping {
    /// Parses `start-end perms offset dev inode path`; returns `None` for a mapping
    /// that is not executable or not of a file.
    fn parse(line: &str) -> Option<Self> {
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let permissions = fields.next()?;
        let offset = hex(fields.next()?)?;
        let device = fields.next()?;
        let inode = fields.next()?.parse().ok()?;
        let path = fields.next()?.trim_start();
        (permissions.contains('x') && inode != 0 && path.starts_with('/')).then_some(())?;
        Some(Self {
            addresses: hex(start)?..hex(end)?,
            offset,
            id: (device.to_owned(), inode),
            path: path.to_owned(),
        })
    }

    /// Opens the mapped file, whatever its path refers to by now. Needs root.
    ///
    /// The path could be in another mount namespace, or another file's.
    pub(crate) fn open(&self, pid: u32) -> io::Result<File> {
        File::open(self.map_file(pid))
    }

    /// Returns the path under `map_files`, whose numbers have no leading zeros.
    pub(super) fn map_file(&self, pid: u32) -> PathBuf {
        let Range { start, end } = self.addresses;
        format!("/proc/{pid}/map_files/{start:x}-{end:x}").into()
    }

    /// Returns the offset in the file of an address.
    pub(super) fn file_offset(&self, address: u64) -> Option<u64> {
        self.addresses.contains(&address).then(|| address - self.addresses.start + self.offset)
    }
}

/// Returns the files that a process has mapped as executable.
pub(crate) fn mappings(pid: u32) -> io::Result<Vec<Mapping>> {
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    Ok(String::from_utf8_lossy(&maps).lines().filter_map(Mapping::parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_executable_file_mappings() {
        let line = "00400000-00401000 r-xp 00001000 fe:00 1234                       /usr/lib/lib ssl.so (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(mapping.addresses, 0x400000..0x401000);
        assert_eq!(mapping.map_file(7), Path::new("/proc/7/map_files/400000-401000"));
        assert_eq!(mapping.id, ("fe:00".to_owned(), 1234));
        assert_eq!(mapping.path, "/usr/lib/lib ssl.so (deleted)");
    }

    #[test]
    fn skips_other_mappings() {
        for line in [
            "7f00-7f10 r--p 00001000 fe:00 1234 /usr/lib/libssl.so.3",
            "7f00-7f10 r-xp 00000000 00:00 0 [vdso]",
            "7f00-7f10 r-xp 00000000 00:00 0 ",
            "7f00 r-xp 00001000 fe:00 1234 /usr/lib/libssl.so.3",
            "",
        ] {
            assert_eq!(Mapping::parse(line), None, "{line}");
        }
    }

    #[test]
    fn converts_addresses_to_file_offsets() {
        let line = "1000-3000 r-xp 00000800 fe:00 12 /usr/bin/tracer";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(mapping.file_offset(0x1000), Some(0x800));
        assert_eq!(mapping.file_offset(0x2fff), Some(0x27ff));
        assert_eq!(mapping.file_offset(0x3000), None);
    }

    #[test]
    fn opens_own_executable_by_its_mapping() {
        let own = std::process::id();
        let exe = executable(own).unwrap();
        let mappings = mappings(own).unwrap();
        let mapping = mappings.iter().find(|mapping| Path::new(&mapping.path) == exe).unwrap();
        match mapping.open(own) {
            Ok(file) => assert_eq!(file.metadata().unwrap().ino(), exe.metadata().unwrap().ino()),
            Err(error) => eprintln!("SKIPPED: needs root: {error}"),
        }
    }

    #[test]
    fn finds_the_parent_after_any_name() {
        assert_eq!(parse_parent(b"12 (a) b 9) S 7 12 12"), Some(7));
        assert_eq!(parse_parent(b"12 (\xff) R 1 "), Some(1));
        assert_eq!(parse_parent(b"12 (a"), None);
        let own = std::process::id();
        assert_eq!(parent(own), Some(std::os::unix::process::parent_id()));
        assert!(processes().any(|pid| pid == own));
    }
}
