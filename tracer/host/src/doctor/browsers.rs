//! Checks whether the TLS functions of running browsers are found, and those of other programs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io,
    path::Path,
};

use super::{Check, State};
use crate::{
    hook::{
        Mapping, Target, cmdline, executable, executed_name, executes, mappings, parent, processes,
        program_name,
    },
    locate::{Cache, FileSource, Library, locate_mapped},
};
use tracer_core::{rules::Rules, wording::counted};

/// Maximum number of files that are analyzed. A browser maps about a hundred.
const MAX_FILES: usize = 4096;

/// Maximum number of other programs that are named.
const MAX_OTHERS: usize = 12;

/// Prefixes of the file names of TLS libraries. For programs that are not browsers, only these files
/// are analyzed: most programs load none of them, and reading all files of a desktop takes minutes.
const TLS_LIBRARIES: [&str; 4] = ["libssl", "libgnutls", "libnspr4", "libnss3"];

/// The results of the checks.
pub(super) struct Browsers {
    pub(super) checks: Vec<Check>,
    pub(super) misses: Vec<String>,
}

/// A running browser, or another program.
#[derive(Default)]
struct Running {
    processes: u64,
    /// Number of processes whose maps only root can read.
    hidden: u64,
    /// Functions found, as `SSL_write in FILE`.
    found: Vec<String>,
    /// TLS libraries whose functions were not found.
    missing: Vec<Missing>,
    /// Set if a function that encrypts QUIC packets was found.
    seals: bool,
}

/// A TLS library whose functions were not found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing {
    /// `FILE: reason`
    text: String,
    /// Set if a report of the file helps to find them.
    is_unexpected: bool,
}

impl Running {
    fn add(&mut self, file: &Analysis) {
        self.seals |= file.seals;
        if let Some(found) = &file.found
            && !self.found.contains(found)
        {
            self.found.push(found.clone());
        }
        if let Some(missing) = &file.missing
            && !self.missing.contains(missing)
        {
            self.missing.push(missing.clone());
        }
    }
}

/// The TLS functions in a file.
#[derive(Default)]
struct Analysis {
    found: Option<String>,
    missing: Option<Missing>,
    seals: bool,
}

/// Checks the running browsers, the programs that the user named, and all others.
pub(super) fn check(rules: &Rules, named: &[Target]) -> Browsers {
    let applications = applications(rules, named);
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    let mut others: BTreeSet<String> = BTreeSet::new();
    let mut files = HashMap::new();
    let mut cache = Cache::new();
    let own = std::process::id();
    for tgid in processes().filter(|tgid| *tgid != own) {
        let mappings = mappings(tgid);
        // It has ended.
        if mappings.as_ref().is_err_and(|err| err.kind() != io::ErrorKind::PermissionDenied) {
            continue;
        }
        let mut application = applications
            .get(&tgid)
            .map(|application| running.entry(application.clone()).or_default());
        if let Some(application) = &mut application {
            application.processes += 1;
            application.hidden += u64::from(mappings.is_err());
        }
        let Ok(mappings) = mappings else {
            continue;
        };
        for mapping in mappings {
            let is_known = files.contains_key(&mapping.id);
            if !is_known && files.len() >= MAX_FILES {
                continue;
            }
            if application.is_none() && !is_tls_library(&mapping.path) {
                continue;
            }
            let file = files.entry(mapping.id.clone());
            let file = file.or_insert_with(|| analyze(tgid, &mapping, &mut cache));
            match &mut application {
                Some(application) => application.add(file),
                None if file.found.is_some() => others.extend(program_name(tgid)),
                None => {}
            }
        }
    }
    let names: Vec<String> = named.iter().filter_map(name).collect();
    for name in &names {
        running.entry(name.clone()).or_default();
    }
    let mut all = Browsers { checks: Vec::new(), misses: Vec::new() };
    if running.is_empty() {
        all.checks.push(Check::ok("browsers", "no known browser is running").next(
            "start the browser and run `tracer doctor` again, to check whether its encrypted \
             traffic can be read",
        ));
    }
    for (name, one) in running {
        let check = application_check(&name, &one);
        if check.state == State::Warning {
            all.misses.push(format!("the plaintext of {name}'s encrypted traffic"));
        } else if check.state == State::Ok && !one.seals && !names.contains(&name) {
            all.misses.push(format!("{name}'s HTTP/3"));
        }
        all.checks.push(check);
    }
    all.checks.extend(others_check(&others));
    all
}

fn is_tls_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    TLS_LIBRARIES.iter().any(|library| name.starts_with(library))
}

/// Returns the name of a program that the user named.
fn name(target: &Target) -> Option<String> {
    match target {
        Target::ExeName(name) => Some(name.clone()),
        Target::ExePath(path) => Some(path.display().to_string()),
        _ => None,
    }
}

/// Returns the application of each process that belongs to one: the process of a browser or of a
/// program that the user named, and its descendants, which `tracer run` watches as well. A process
/// that several browsers share, such as WebKitGTK's, belongs to the browser that started it.
fn applications(rules: &Rules, named: &[Target]) -> HashMap<u32, String> {
    let parents: HashMap<u32, u32> =
        processes().filter_map(|tgid| Some((tgid, parent(tgid)?))).collect();
    let itself: HashMap<u32, String> = parents
        .keys()
        .filter_map(|tgid| {
            let target = named.iter().find(|target| executes(*tgid, target));
            let application = target.and_then(name).or_else(|| browser(rules, *tgid))?;
            Some((*tgid, application))
        })
        .collect();
    let of = |tgid: &u32| {
        // A process that ends meanwhile can leave a cycle of ids that were used again.
        let line = std::iter::successors(Some(*tgid), |at| parents.get(at).copied());
        let application = line.take(parents.len()).filter_map(|at| itself.get(&at)).last()?;
        Some((*tgid, application.clone()))
    };
    parents.keys().filter_map(of).collect()
}

fn application_check(name: &str, application: &Running) -> Check {
    const NAME: &str = "browsers";
    let found = application.found.join(", ");
    let processes = counted(application.processes, "process");
    if application.processes == 0 {
        let message = format!("{name} is not running");
        return Check::new(NAME, State::Unknown, message)
            .next(format!("start it and run `tracer doctor --exe {name}` again"));
    }
    if !found.is_empty() {
        let http3 = if application.seals { "is read" } else { "is not read" };
        let message = format!("{name} is running ({processes}): {found}; HTTP/3 {http3}");
        return Check::ok(NAME, message);
    }
    if application.hidden > 0 {
        let message = format!("{name} is running, but only root can see its libraries");
        return Check::new(NAME, State::Unknown, message).next("run `tracer doctor` as root");
    }
    let missing: Vec<&str> = application.missing.iter().map(|one| &one.text[..]).collect();
    if missing.is_empty() {
        let message = format!("{name} is running ({processes}), and has loaded no TLS library");
        return Check::new(NAME, State::Unknown, message).next(
            "some browsers load it for the first page with https: open one, and run `tracer doctor` \
             again while it loads",
        );
    }
    let message = format!("{name} is running ({processes}): {}", missing.join(", "));
    let next = "its encrypted traffic stays unread; `tracer locate FILE` shows details of a file";
    let is_unexpected = application.missing.iter().any(|one| one.is_unexpected);
    let report = if is_unexpected { ". Please report the browser's version" } else { "" };
    Check::new(NAME, State::Warning, message).next(format!("{next}{report}"))
}

/// Names other running programs whose encrypted traffic can be read.
fn others_check(others: &BTreeSet<String>) -> Option<Check> {
    let named: Vec<&str> = others.iter().take(MAX_OTHERS).map(String::as_str).collect();
    let more = match others.len().saturating_sub(MAX_OTHERS) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let message = format!("also running with a TLS library that can be read: {}", named.join(", "));
    (!named.is_empty()).then(|| {
        Check::ok("programs", format!("{message}{more}"))
            .next("`tracer run --exe NAME` watches any program")
    })
}

/// Identifies the browser of a process by its executable, by the name of the script or link that
/// was executed or, on Android, by the name of the process.
fn browser(rules: &Rules, tgid: u32) -> Option<String> {
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let line = cmdline(tgid);
    let first = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let first = String::from_utf8_lossy(first).into_owned();
    [executable(tgid).map(text), Some(first), executed_name(tgid).map(text)]
        .into_iter()
        .flatten()
        .find_map(|name| rules.browser(&name))
        .map(|browser| browser.name.as_str().to_owned())
}

/// Looks for TLS functions in a file that a process has mapped.
fn analyze(tgid: u32, mapping: &Mapping, cache: &mut Cache) -> Analysis {
    let file = mapping.open(tgid).or_else(|_| File::open(Path::new(&mapping.path)));
    let Some(source) = file.ok().and_then(|file| FileSource::new(file).ok()) else {
        return Analysis::default();
    };
    let Ok(located) = locate_mapped(&source, &mapping.path, cache) else {
        // Neither a library nor an archive of libraries.
        return Analysis::default();
    };
    let findings = || located.iter().map(|one| &one.findings);
    let functions: Vec<String> =
        findings().flat_map(|one| &one.functions).map(|one| one.name.to_string()).collect();
    if !functions.is_empty() {
        let found = format!("{} in {}", functions.join(", "), mapping.path);
        let seals = findings().flat_map(|one| &one.functions).any(|one| one.name.seals());
        return Analysis { found: Some(found), missing: None, seals };
    }
    // Missing functions are expected in a file without a TLS library.
    let tls = findings().filter(|one| one.libraries.iter().any(|lib| *lib != Library::Nspr));
    let reasons = tls.flat_map(|one| {
        let missing = one.missing.iter().map(|one| &one.reason);
        missing.chain(one.unread.iter().map(|one| &one.reason))
    });
    // Of several reasons, the one to report.
    let reason = reasons.max_by_key(|reason| reason.is_unexpected());
    let missing = reason.map(|reason| Missing {
        text: format!("{}: {reason}", mapping.path),
        is_unexpected: reason.is_unexpected(),
    });
    Analysis { found: None, missing, seals: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, seals: bool) -> Analysis {
        Analysis { found: Some(text.to_owned()), missing: None, seals }
    }

    fn missing(text: &str, is_unexpected: bool) -> Analysis {
        let missing = Some(Missing { text: text.to_owned(), is_unexpected });
        Analysis { found: None, missing, seals: false }
    }

    fn check_of(files: &[Analysis], hidden: u64) -> Check {
        let mut one = Running { processes: 2, hidden, ..Running::default() };
        files.iter().for_each(|file| one.add(file));
        application_check("B", &one)
    }

    #[test]
    fn functions_are_listed_once() {
        let file = || found("SSL_write in /f", false);
        let check = check_of(&[file(), file()], 1);
        assert_eq!(check.state, State::Ok);
        assert_eq!(
            check.message,
            "B is running (2 processes): SSL_write in /f; HTTP/3 is not read"
        );
        let message = check_of(&[file(), found("seal in /g", true)], 0).message;
        assert!(message.ends_with("SSL_write in /f, seal in /g; HTTP/3 is read"), "{message}");
    }

    #[test]
    fn a_report_is_asked_for_only_if_it_helps() {
        let asks = |check: &Check| check.next.as_deref().is_some_and(|it| it.contains("report"));
        // A browser that has opened no page yet, and one whose files are hidden.
        for (hidden, text) in [(0, "has loaded no TLS library"), (1, "only root can see")] {
            let check = check_of(&[], hidden);
            assert_eq!((check.state, asks(&check)), (State::Unknown, false));
            assert!(check.message.contains(text), "{check:?}");
        }
        // A limit that is known, and a library that the search should understand.
        let limit = check_of(&[missing("/f: rustls", false)], 0);
        assert_eq!((limit.state, asks(&limit)), (State::Warning, false), "{limit:?}");
        let unexpected = check_of(&[missing("/f: rustls", false), missing("/g: no", true)], 0);
        assert_eq!((unexpected.state, asks(&unexpected)), (State::Warning, true));
        assert!(unexpected.message.ends_with("(2 processes): /f: rustls, /g: no"));
        let found = check_of(&[missing("/g: no", true), found("SSL_write in /f", false)], 0);
        assert_eq!((found.state, asks(&found)), (State::Ok, false));
    }

    #[test]
    fn a_named_program_that_does_not_run_is_reported() {
        let check = application_check("thunderbird", &Running::default());
        assert_eq!(check.state, State::Unknown);
        assert_eq!(check.message, "thunderbird is not running");
    }

    #[test]
    fn other_programs_are_named_up_to_a_number() {
        assert_eq!(others_check(&BTreeSet::new()), None);
        let names: BTreeSet<String> = (10..24).map(|number| format!("p{number}")).collect();
        let message = others_check(&names).unwrap().message;
        assert!(
            message.ends_with(
                ": p10, p11, p12, p13, p14, p15, p16, p17, p18, p19, p20, p21, and 2 more"
            )
        );
    }

    #[test]
    fn descendants_and_scripts_belong_to_the_program_that_was_executed() {
        let folder = tempfile_folder();
        let script = folder.join("surf");
        std::fs::write(&script, "#!/bin/sh\nsleep 60\nexit\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let mut parent_process = std::process::Command::new(&script).spawn().unwrap();
        let rules = Rules::with_overrides(&[]).unwrap();
        let begun = std::time::Instant::now();
        let (of_parent, of_child) = loop {
            let applications = applications(&rules, &[]);
            let child = processes().find(|tgid| parent(*tgid) == Some(parent_process.id()));
            let of = |tgid: u32| applications.get(&tgid).cloned();
            let both = (of(parent_process.id()), child.and_then(of));
            if both.1.is_some() || begun.elapsed().as_secs() > 20 {
                break both;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        for tgid in processes().filter(|tgid| parent(*tgid) == Some(parent_process.id())) {
            let pid = rustix::process::Pid::from_raw(tgid.try_into().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        parent_process.wait().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!((of_parent.as_deref(), of_child.as_deref()), (Some("surf"), Some("surf")));
    }

    fn tempfile_folder() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("tracer-doctor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
