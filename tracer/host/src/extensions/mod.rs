//! Names of browser extensions, read from the profiles of running browsers.
//!
//! Requests name an extension by its ID. The manifest in the profile has its name. Which
//! profile a browser uses is found without knowledge of vendors: by the files that its
//! processes hold open, and by its arguments.
//!
//! The user of the browser, and whoever can write to the profile, chooses what these files
//! contain, and tracer runs as root: the module `files` says what is opened, and `reader` parses it
//! in a process without rights.

mod chromium;
mod files;
mod firefox;
mod reader;

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tracer_core::record::{Event, Extension};

use self::files::{Files, UserFiles};
pub use self::reader::{Answer, Reader, serve};
use crate::hook::proc;

/// Time between the first searches of a process: a new profile is filled while the browser starts.
const INTERVAL: Duration = Duration::from_millis(500);

/// Time between later searches.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30);

/// Processes that are searched.
const MAX_FOLLOWED: usize = 256;

/// Processes of a browser whose arguments and open files are read: the network process, the
/// zygote, the main process.
const MAX_PROCESSES: usize = 4;

/// Open files of a process that are looked at. A browser with many tabs has some thousand.
const MAX_OPEN_FILES: usize = 8192;

/// Profiles that are read of one browser.
const MAX_PROFILES: usize = 16;

/// Extensions that are read of one browser.
const MAX_EXTENSIONS: usize = 512;

/// Folders of unpacked extensions that are read of one browser.
const MAX_UNPACKED: usize = 64;

/// Longest path of a folder (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// Longest name, in characters. Chromium allows 75, and Firefox shows less.
const MAX_NAME: usize = 128;

/// Longest ID.
const MAX_ID: usize = 128;

/// Starts a thread that searches the profiles of processes, and sends the extensions that it finds.
/// Returns where to send the IDs of processes. The thread ends when that is dropped, or `reader`
/// fails, which sets `has_failed`.
pub(crate) fn follow(
    events: tokio::sync::mpsc::Sender<Vec<Event>>,
    reader: Reader,
    has_failed: Arc<AtomicBool>,
) -> io::Result<mpsc::Sender<u32>> {
    let (sender, processes) = mpsc::channel();
    thread::Builder::new().name("tracer-extens".into()).spawn(move || {
        let mut known = HashMap::new();
        loop {
            match processes.recv_timeout(INTERVAL) {
                Ok(pid) if known.len() < MAX_FOLLOWED => {
                    known.entry(pid).or_insert_with(Followed::new);
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let mut found = Vec::new();
            let mut failed = reader.failure();
            known.retain(|pid, followed| match followed.search(*pid, &reader, &mut found) {
                Ok(goes_on) => goes_on,
                Err(err) => {
                    failed.get_or_insert(err);
                    false
                }
            });
            if !found.is_empty() && events.blocking_send(found).is_err() {
                return;
            }
            if let Some(err) = failed {
                // Requests of extensions are still read; they are named by ID.
                has_failed.store(true, Ordering::Relaxed);
                log::warn!("names of extensions are no longer read: {err}");
                return;
            }
        }
    })?;
    Ok(sender)
}

/// A process whose profiles are searched.
struct Followed {
    began: Instant,
    next: Instant,
    list: Vec<Extension>,
}

impl Followed {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, next: now, list: Vec::new() }
    }

    /// Searches, if it is time. Returns false if the process is not to be searched again.
    fn search(&mut self, pid: u32, reader: &Reader, found: &mut Vec<Event>) -> io::Result<bool> {
        let now = Instant::now();
        if now < self.next {
            return Ok(true);
        }
        let Some(uid) = proc::uid(pid) else {
            return Ok(false);
        };
        let list = installed(pid, reader)?;
        if !list.is_empty() && list != self.list {
            found.push(Event::Extensions { uid, list: list.clone() });
            self.list = list;
        }
        let age = now.duration_since(self.began);
        self.next = now + age.clamp(INTERVAL, LONGEST_INTERVAL);
        // A program without a profile by then is not a browser.
        Ok(!self.list.is_empty() || age < LONGEST_INTERVAL)
    }
}

/// Returns the extensions in the profiles of the browser that a process belongs to. It is empty
/// if they cannot be read.
fn installed(tgid: u32, reader: &Reader) -> io::Result<Vec<Extension>> {
    let Ok(files) = UserFiles::from_process(tgid) else {
        return Ok(Vec::new());
    };
    let places = Places::of(tgid);
    if places == Places::default() { Ok(Vec::new()) } else { reader.search(&places, &files) }
}

/// The folders of a browser's extensions.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Places {
    /// Folders of extensions that the browser's command line names.
    unpacked: Vec<PathBuf>,
    profiles: Vec<Profile>,
}

impl Places {
    /// Finds the places of the browser that a process belongs to.
    fn of(tgid: u32) -> Self {
        let is_text = |path: &Path| path.to_str().is_some_and(|path| path.len() <= MAX_PATH);
        let processes = processes(tgid);
        let mut unpacked: Vec<_> = processes.iter().flat_map(|pid| arguments(*pid)).collect();
        unpacked.retain(|folder| is_text(folder));
        unpacked.dedup();
        unpacked.truncate(MAX_UNPACKED);
        let mut profiles = BTreeSet::new();
        for pid in &processes {
            profiles.extend(open_files(*pid).filter_map(|path| Profile::with_open(&path)));
        }
        profiles.retain(|profile| is_text(profile.folder()));
        Self { unpacked, profiles: profiles.into_iter().take(MAX_PROFILES).collect() }
    }

    /// Returns the extensions in these places.
    fn search(&self, files: &impl Files) -> Vec<Extension> {
        let mut found = Found::default();
        self.unpacked.iter().for_each(|folder| chromium::unpacked(files, folder, &mut found));
        for profile in &self.profiles {
            match profile {
                Profile::Chromium(folder) => chromium::profile(files, folder, &mut found),
                Profile::Firefox(folder) => firefox::profile(files, folder, &mut found),
            }
        }
        found.list
    }
}

/// Returns the names of the extensions in a profile whose files all have this content, for fuzzing.
#[doc(hidden)]
pub fn names_in(content: &[u8]) -> Vec<String> {
    struct Same<'a>(&'a [u8]);
    impl Files for Same<'_> {
        fn read(&self, _: &Path) -> Option<Vec<u8>> {
            Some(self.0.to_vec())
        }
    }
    let folder = || PathBuf::from("/profile");
    let profiles = vec![Profile::Chromium(folder()), Profile::Firefox(folder())];
    let places = Places { unpacked: vec![folder()], profiles };
    places.search(&Same(content)).into_iter().map(|one| one.name).collect()
}

/// Extensions found so far.
#[derive(Debug, Default)]
struct Found {
    list: Vec<Extension>,
}

impl Found {
    /// Adds an extension, unless it is known, its ID is invalid, or it has no name.
    fn add(&mut self, id: &str, name: &str, addon: Option<&str>) {
        let is_id = (1..=MAX_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = shortened(name);
        if is_id
            && !name.is_empty()
            && self.list.len() < MAX_EXTENSIONS
            && !self.list.iter().any(|known| known.id == id)
        {
            let addon = addon.map(shortened).filter(|addon| !addon.is_empty());
            self.list.push(Extension { id: id.to_owned(), name, addon });
        }
    }
}

/// Returns a name without control characters, cut to a length that can be shown.
fn shortened(name: &str) -> String {
    name.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

/// A folder with a profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Profile {
    Chromium(PathBuf),
    Firefox(PathBuf),
}

impl Profile {
    fn folder(&self) -> &Path {
        match self {
            Self::Chromium(folder) | Self::Firefox(folder) => folder,
        }
    }

    /// Returns the profile that an open file belongs to. Browsers keep the databases of a profile
    /// open while they use it.
    fn with_open(path: &Path) -> Option<Self> {
        let folder = path.parent()?;
        match path.file_name()?.to_str()? {
            "places.sqlite" | "cookies.sqlite" | ".parentlock" => {
                Some(Self::Firefox(folder.to_owned()))
            }
            "History" | "Cookies" | "Web Data" | "Login Data" | "Favicons" => {
                // Newer releases keep the cookies one folder below.
                let folder = folder.strip_suffix_name("Network").unwrap_or(folder);
                Some(Self::Chromium(folder.to_owned()))
            }
            _ => None,
        }
    }
}

trait StripName {
    fn strip_suffix_name(&self, name: &str) -> Option<&Path>;
}

impl StripName for Path {
    fn strip_suffix_name(&self, name: &str) -> Option<&Path> {
        (self.file_name()? == name).then(|| self.parent())?
    }
}

/// Returns a process and its ancestors that run the same program.
fn processes(tgid: u32) -> Vec<u32> {
    let exe = proc::executable(tgid);
    let mut processes = vec![tgid];
    while processes.len() < MAX_PROCESSES
        && let Some(parent) = processes.last().and_then(|pid| proc::parent(*pid))
        && exe.is_some()
        && proc::executable(parent) == exe
    {
        processes.push(parent);
    }
    processes
}

/// Returns the folders of unpacked extensions in the arguments of a process.
fn arguments(pid: u32) -> Vec<PathBuf> {
    loaded(&proc::cmdline(pid))
}

/// Returns the folders of unpacked extensions in a command line.
fn loaded(line: &[u8]) -> Vec<PathBuf> {
    const OPTION: &str = "--load-extension=";
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    // Chromium rewrites the command line of some processes, separated by spaces.
    let separator = if line.contains(&0) { 0 } else { b' ' };
    line.split(|&byte| byte == separator)
        .filter_map(|argument| std::str::from_utf8(argument).ok()?.strip_prefix(OPTION))
        .flat_map(|folders| folders.split(','))
        .filter(|folder| folder.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// Returns the paths of a process's open files, as it sees them.
fn open_files(pid: u32) -> impl Iterator<Item = PathBuf> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    links.take(MAX_OPEN_FILES).filter_map(|link| fs::read_link(link.path()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_known_by_their_open_files() {
        let of = |path: &str| Profile::with_open(Path::new(path));
        let chromium = |folder: &str| Some(Profile::Chromium(folder.into()));
        assert_eq!(of("/home/a/.config/x/Default/History"), chromium("/home/a/.config/x/Default"));
        assert_eq!(of("/home/a/.config/x/P 1/Network/Cookies"), chromium("/home/a/.config/x/P 1"));
        let firefox = Some(Profile::Firefox("/home/a/.mozilla/firefox/p".into()));
        assert_eq!(of("/home/a/.mozilla/firefox/p/places.sqlite"), firefox);
        for other in ["/home/a/History.txt", "socket:[12]", "/", "pipe:[1]", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn unpacked_extensions_are_in_the_arguments() {
        let folders = ["/a", "/b c", "/d"].map(PathBuf::from);
        let line = b"chromium\0--load-extension=\0--load-extension=/a,/b c,relative\0\
                     --load-extension=/d\0";
        assert_eq!(loaded(line), folders);
        // As Chromium rewrites it.
        let line = b"/usr/lib/chromium/chromium --x --load-extension=/a --y\0";
        assert_eq!(loaded(line), [PathBuf::from("/a")]);
        assert!(loaded(b"").is_empty());
    }

    #[test]
    fn names_and_ids_are_bounded() {
        let mut found = Found::default();
        found.add("abc", &"n".repeat(10_000), Some("a@b"));
        assert_eq!(found.list[0].name.len(), MAX_NAME);
        for (id, name) in [
            ("", "x"),
            ("a/../b", "x"),
            ("abc", "the same ID again"),
            ("def", " \n "),
            (&*"i".repeat(1000), "x"),
        ] {
            found.add(id, name, None);
        }
        assert_eq!(found.list.len(), 1, "{:?}", found.list);
        found.add("def", "a\0b\u{1b}c", None);
        assert_eq!(found.list[1].name, "abc");
        (0..2 * MAX_EXTENSIONS).for_each(|i| found.add(&i.to_string(), "x", None));
        assert_eq!(found.list.len(), MAX_EXTENSIONS);
    }

    #[test]
    fn the_thread_ends_with_its_sender() {
        let (sender, mut events) = tokio::sync::mpsc::channel(1);
        let (socket, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let processes = follow(sender, Reader::at(socket, None).unwrap(), Arc::default()).unwrap();
        // A test has no profile.
        processes.send(std::process::id()).unwrap();
        drop(processes);
        assert_eq!(events.blocking_recv(), None);
    }

    #[test]
    fn processes_are_searched_less_and_less() {
        let (mut followed, mut found) = (Followed::new(), Vec::new());
        let own = std::process::id();
        // Nothing is asked of it, for a test has no profile.
        let (socket, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let reader = Reader::at(socket, None).unwrap();
        assert!(followed.search(own, &reader, &mut found).unwrap());
        let next = followed.next;
        assert!(next > Instant::now());
        assert!(followed.search(own, &reader, &mut found).unwrap());
        assert_eq!(followed.next, next);
        // No process has such an ID.
        assert!(!Followed::new().search(u32::MAX, &reader, &mut found).unwrap());
        assert!(found.is_empty());
    }
}
