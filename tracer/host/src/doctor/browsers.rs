//! The browsers that run, and whether their TLS functions are found.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    path::Path,
};

use super::{Check, State};
use crate::{
    hook::Mapping,
    locate::{Cache, FileSource, Library, locate},
};
use tracer_core::rules::Rules;

/// Files that are looked into at most. A browser maps some hundred.
const MAX_FILES: usize = 4096;

/// The most that is read of a command line: its first argument.
const MAX_NAME: usize = 4096;

/// What was found.
pub(super) struct Browsers {
    pub(super) checks: Vec<Check>,
    pub(super) misses: Vec<String>,
}

/// What is known of a browser.
#[derive(Default)]
struct Running {
    processes: usize,
    /// Processes of which nobody but root can see what they map.
    hidden: usize,
    /// `SSL_write in FILE`.
    found: Vec<String>,
    /// `FILE: why not`.
    missing: Vec<String>,
}

impl Running {
    fn add(&mut self, file: &Inside) {
        for (to, from) in [(&mut self.found, &file.found), (&mut self.missing, &file.missing)] {
            if let Some(text) = from
                && !to.contains(text)
            {
                to.push(text.clone());
            }
        }
    }
}

/// What a file holds.
#[derive(Default)]
struct Inside {
    found: Option<String>,
    missing: Option<String>,
}

pub(super) fn check(rules: &Rules) -> Browsers {
    let mut running: BTreeMap<&str, Running> = BTreeMap::new();
    let mut files = HashMap::new();
    let mut cache = Cache::new();
    for tgid in processes() {
        let Some(name) = browser(rules, tgid) else {
            continue;
        };
        let browser = running.entry(name).or_default();
        browser.processes += 1;
        let Ok(maps) = fs::read_to_string(format!("/proc/{tgid}/maps")) else {
            browser.hidden += 1;
            continue;
        };
        for mapping in maps.lines().filter_map(Mapping::parse) {
            if files.len() >= MAX_FILES && !files.contains_key(&mapping.id) {
                continue;
            }
            browser.add(
                files.entry(mapping.id.clone()).or_insert_with(|| look(tgid, &mapping, &mut cache)),
            );
        }
    }
    let mut all = Browsers { checks: Vec::new(), misses: Vec::new() };
    if running.is_empty() {
        all.checks.push(Check::ok("browsers", "none that the rules know runs now").next(
            "start the browser and run `tracer doctor` again: it says whether what the \
                 browser encrypts can be read",
        ));
    }
    for (name, browser) in running {
        let check = told(name, &browser);
        if check.state == State::Warning {
            all.misses.push(format!("what {name} encrypts"));
        }
        all.checks.push(check);
    }
    all
}

fn told(name: &str, browser: &Running) -> Check {
    let processes = browser.processes;
    let found = browser.found.join(", ");
    let missing = browser.missing.join(", ");
    if !found.is_empty() {
        return Check::ok("browsers", format!("{name} runs ({processes} processes): {found}"));
    }
    if browser.hidden > 0 {
        let says = format!("{name} runs, and only root can see which libraries it has");
        return Check::new("browsers", State::Unknown, says).next("run it as root");
    }
    let why = if missing.is_empty() { "no TLS library was found".to_owned() } else { missing };
    Check::new("browsers", State::Warning, format!("{name} runs ({processes} processes): {why}"))
        .next(
            "what it encrypts stays unread; `tracer locate FILE` says more of a file. Please \
             report the browser's version",
        )
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Which browser a process is, by its executable or, on Android, its name.
fn browser(rules: &Rules, tgid: u32) -> Option<&str> {
    let exe = fs::read_link(format!("/proc/{tgid}/exe")).ok();
    let exe = exe.map(|exe| exe.to_string_lossy().into_owned());
    let line = fs::read(format!("/proc/{tgid}/cmdline")).unwrap_or_default();
    let name = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name));
    [exe.as_deref(), Some(&*name)]
        .into_iter()
        .flatten()
        .find_map(|name| rules.browser(name))
        .map(|browser| browser.name.as_str())
}

/// Looks into a file that a process has mapped.
fn look(tgid: u32, mapping: &Mapping, cache: &mut Cache) -> Inside {
    // Root can open what is mapped whatever became of its path.
    let file = File::open(format!("/proc/{tgid}/map_files/{}", mapping.range))
        .or_else(|_| File::open(Path::new(&mapping.path)));
    let Some(source) = file.ok().and_then(|file| FileSource::new(file).ok()) else {
        return Inside::default();
    };
    let Ok(located) = locate(&source, &mapping.path, cache) else {
        // Neither a library nor an archive of some.
        return Inside::default();
    };
    let findings = || located.iter().map(|one| &one.findings);
    let functions: Vec<String> =
        findings().flat_map(|one| &one.functions).map(|one| one.name.to_string()).collect();
    if !functions.is_empty() {
        let found = format!("{} in {}", functions.join(", "), mapping.path);
        return Inside { found: Some(found), missing: None };
    }
    // What holds no TLS library lacks nothing.
    let tls = findings().filter(|one| one.libraries.iter().any(|lib| *lib != Library::Nspr));
    let reasons: Vec<String> =
        tls.flat_map(|one| &one.missing).map(|one| one.reason.to_string()).collect();
    let missing = reasons.first().map(|reason| format!("{}: {reason}", mapping.path));
    Inside { found: None, missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_read_hidden_or_not_read() {
        let state = |browser: &Running| told("B", browser).state;
        let mut browser = Running { processes: 2, ..Running::default() };
        assert_eq!(state(&browser), State::Warning);
        browser.hidden = 1;
        assert_eq!(state(&browser), State::Unknown);
        browser.add(&Inside { found: Some("SSL_write in /f".into()), missing: None });
        browser.add(&Inside { found: Some("SSL_write in /f".into()), missing: None });
        assert_eq!(told("B", &browser).says, "B runs (2 processes): SSL_write in /f");
    }
}
