//! What the name of a program refers to on this machine: files, running processes,
//! and running programs with a similar name.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Target, proc, scope::executes};

/// Maximum number of similar programs.
const MAX_SIMILAR: usize = 5;

/// Minimum length of a word that two names have in common to be similar.
const MIN_WORD: usize = 4;

/// Minimum similarity of names without a common word: one typing error in a name of
/// six letters.
const MIN_SIMILARITY: f64 = 0.8;

/// Words that say nothing about a program.
const COMMON_WORDS: [&str; 5] = ["browser", "stable", "wrapper", "desktop", "helper"];

/// What the target of `--exe` refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The file: of a name, the first one on the search path.
    pub file: Option<ProgramFile>,
    /// Number of running processes that match.
    pub running: usize,
    /// Running programs with a similar name that do not match.
    pub similar: Vec<SimilarProgram>,
}

/// The file of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFile {
    /// The path that was found.
    pub path: PathBuf,
    /// The file that it is a link to.
    pub links_to: Option<PathBuf>,
    /// Set if the file is a script, which starts other programs.
    pub is_script: bool,
}

/// A running program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimilarProgram {
    /// Name of its executable.
    pub name: String,
    /// Its processes.
    pub processes: Vec<u32>,
}

impl Resolved {
    /// Resolves a target. Returns `None` if it is not an executable.
    pub fn new(target: &Target) -> Option<Self> {
        let (name, path) = match target {
            Target::ExeName(name) => (name.clone(), find(name)),
            Target::ExePath(path) => {
                let name = path.file_name()?.to_string_lossy().into_owned();
                (name, path.is_file().then(|| path.clone()))
            }
            _ => return None,
        };
        let mut running = 0;
        let mut similar: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for pid in proc::processes().filter(|pid| *pid != std::process::id()) {
            if executes(pid, target) {
                running += 1;
            } else if let Some(other) = program_name(pid)
                && (other == name || is_similar(&name, &other))
            {
                similar.entry(other).or_default().push(pid);
            }
        }
        let similar = similar.into_iter().take(MAX_SIMILAR);
        let similar = similar.map(|(name, processes)| SimilarProgram { name, processes });
        Some(Self { file: path.map(ProgramFile::new), running, similar: similar.collect() })
    }
}

impl ProgramFile {
    fn new(path: PathBuf) -> Self {
        let links_to = path.canonicalize().ok().filter(|target| *target != path);
        Self { links_to, is_script: is_script(&path), path }
    }
}

/// Returns the first executable file of this name on the search path.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.find(|file| {
        let metadata = file.metadata();
        metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    })
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}

/// Returns the name of the file that a process executes. `None` for a thread of the
/// kernel.
pub(crate) fn program_name(pid: u32) -> Option<String> {
    let name = proc::executable(pid)?.file_name()?.to_string_lossy().into_owned();
    // The kernel's mark of a file that was replaced.
    Some(name.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(name))
}

/// Reports whether two names may be those of one program: they have a word in common,
/// or differ in a letter or two.
fn is_similar(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let shares_word = |one: &str, other: &str| {
        let words = one.split(|c: char| !c.is_alphanumeric());
        words
            .filter(|word| word.len() >= MIN_WORD && !COMMON_WORDS.contains(word))
            .any(|word| other.contains(word))
    };
    shares_word(&one, &other)
        || shares_word(&other, &one)
        || strsim::normalized_damerau_levenshtein(&one, &other) >= MIN_SIMILARITY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_program_are_similar() {
        for (one, other) in [
            ("firefox", "firefox-esr"),
            ("firefox-esr", "firefox-bin"),
            ("google-chrome", "chrome"),
            ("google-chrome-stable", "chrome"),
            ("microsoft-edge", "msedge"),
            ("brave-browser", "brave"),
            ("chromium", "chromium-browser"),
            ("chromum", "chromium"),
            ("Vivaldi", "vivaldi-bin"),
        ] {
            assert!(is_similar(one, other) && is_similar(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("firefox", "python3"),
            ("chrome", "cron"),
            ("brave-browser", "epiphany-browser"),
            ("w3m", "vim"),
            ("opera", "sshd"),
            ("tor", "systemd-journald"),
        ] {
            assert!(!is_similar(one, other) && !is_similar(other, one), "{one} {other}");
        }
    }

    #[test]
    fn a_name_is_resolved_to_its_file_and_processes() {
        let shell = Resolved::new(&Target::ExeName("sh".into())).unwrap();
        let file = shell.file.expect("a shell");
        assert!(file.path.ends_with("sh") && !file.is_script, "{file:?}");

        let folder = std::env::temp_dir().join(format!("tracer-resolve-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let script = folder.join("a-browser");
        std::fs::write(&script, "#!/bin/sh\nexec sleep 1\n").unwrap();
        let link = folder.join("a-link");
        std::os::unix::fs::symlink(&script, &link).unwrap();
        let resolved = Resolved::new(&Target::ExePath(link.clone())).unwrap();
        let file = resolved.file.unwrap();
        assert!(file.is_script);
        assert_eq!((file.path, file.links_to), (link, Some(script.canonicalize().unwrap())));
        assert_eq!(resolved.running, 0);
        std::fs::remove_dir_all(&folder).unwrap();

        assert_eq!(Resolved::new(&Target::Everyone), None);
        let none = Resolved::new(&Target::ExeName("no-such-program".into())).unwrap();
        assert_eq!((none.file, none.running), (None, 0));
    }

    #[test]
    fn running_programs_with_a_similar_name_are_listed() {
        let own = program_name(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let resolved = Resolved::new(&Target::ExeName("slepp".into())).unwrap();
        let exact = Resolved::new(&Target::ExeName("sleep".into())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // A single program may provide all commands of a system.
        if own != "sleep" && exact.running > 0 {
            let sleep = resolved.similar.iter().find(|one| one.name.contains("sleep"));
            assert!(sleep.is_none_or(|one| one.processes.contains(&child.id())), "{resolved:?}");
        }
    }
}
