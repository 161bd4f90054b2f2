//! Checks whether the TLS functions of running browsers are found.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::Path,
};

use super::{Check, State};
use crate::{
    hook::{Mapping, cmdline, executable, mappings, processes},
    locate::{Cache, FileSource, Library, locate_mapped},
};
use tracer_core::rules::Rules;

/// Maximum number of files that are analyzed. A browser maps about a hundred.
const MAX_FILES: usize = 4096;

/// The results of the checks.
pub(super) struct Browsers {
    pub(super) checks: Vec<Check>,
    pub(super) misses: Vec<String>,
}

/// A running browser.
#[derive(Default)]
struct Running {
    processes: usize,
    /// Number of processes whose maps only root can read.
    hidden: usize,
    /// Functions found, as `SSL_write in FILE`.
    found: Vec<String>,
    /// Functions not found, as `FILE: reason`.
    missing: Vec<String>,
    /// Set if a function that encrypts QUIC packets was found.
    seals: bool,
}

impl Running {
    fn add(&mut self, file: &Analysis) {
        self.seals |= file.seals;
        for (to, from) in [(&mut self.found, &file.found), (&mut self.missing, &file.missing)] {
            if let Some(text) = from
                && !to.contains(text)
            {
                to.push(text.clone());
            }
        }
    }
}

/// The TLS functions in a file.
#[derive(Default)]
struct Analysis {
    found: Option<String>,
    missing: Option<String>,
    seals: bool,
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
        let Ok(mappings) = mappings(tgid) else {
            browser.hidden += 1;
            continue;
        };
        for mapping in mappings {
            if files.len() >= MAX_FILES && !files.contains_key(&mapping.id) {
                continue;
            }
            let file = files.entry(mapping.id.clone());
            browser.add(file.or_insert_with(|| analyze(tgid, &mapping, &mut cache)));
        }
    }
    let mut all = Browsers { checks: Vec::new(), misses: Vec::new() };
    if running.is_empty() {
        all.checks.push(Check::ok("browsers", "no known browser is running").next(
            "start the browser and run `tracer doctor` again, to check whether its encrypted \
             traffic can be read",
        ));
    }
    for (name, browser) in running {
        let check = browser_check(name, &browser);
        if check.state == State::Warning {
            all.misses.push(format!("the plaintext of {name}'s encrypted traffic"));
        } else if check.state == State::Ok && !browser.seals {
            all.misses.push(format!("{name}'s HTTP/3"));
        }
        all.checks.push(check);
    }
    all
}

fn browser_check(name: &str, browser: &Running) -> Check {
    let processes = browser.processes;
    let found = browser.found.join(", ");
    let missing = browser.missing.join(", ");
    if !found.is_empty() {
        let http3 = if browser.seals { "is read" } else { "is not read" };
        return Check::ok(
            "browsers",
            format!("{name} is running ({processes} processes): {found}; HTTP/3 {http3}"),
        );
    }
    if browser.hidden > 0 {
        let message = format!("{name} is running, but only root can see its libraries");
        return Check::new("browsers", State::Unknown, message).next("run `tracer doctor` as root");
    }
    let reason = if missing.is_empty() { "no TLS library was found".to_owned() } else { missing };
    let message = format!("{name} is running ({processes} processes): {reason}");
    Check::new("browsers", State::Warning, message).next(
        "its encrypted traffic stays unread; `tracer locate FILE` shows details of a file. Please \
         report the browser's version",
    )
}

/// Identifies the browser of a process by its executable or, on Android, its name.
fn browser(rules: &Rules, tgid: u32) -> Option<&str> {
    let exe = executable(tgid).map(|exe| exe.to_string_lossy().into_owned());
    let line = cmdline(tgid);
    let name = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    [exe.as_deref(), Some(&*name)]
        .into_iter()
        .flatten()
        .find_map(|name| rules.browser(name))
        .map(|browser| browser.name.as_str())
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
    let reasons: Vec<String> = tls
        .flat_map(|one| {
            let missing = one.missing.iter().map(|one| &one.reason);
            missing.chain(one.unread.iter().map(|one| &one.reason))
        })
        .map(ToString::to_string)
        .collect();
    let missing = reasons.first().map(|reason| format!("{}: {reason}", mapping.path));
    Analysis { found: None, missing, seals: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browser_check_covers_all_outcomes() {
        let state = |browser: &Running| browser_check("B", browser).state;
        let mut browser = Running { processes: 2, ..Running::default() };
        assert_eq!(state(&browser), State::Warning);
        browser.hidden = 1;
        assert_eq!(state(&browser), State::Unknown);
        let found = |text: &str| Some(text.to_owned());
        let tls = Analysis { found: found("SSL_write in /f"), ..Analysis::default() };
        browser.add(&tls);
        browser.add(&tls);
        let message = browser_check("B", &browser).message;
        assert_eq!(message, "B is running (2 processes): SSL_write in /f; HTTP/3 is not read");
        browser.add(&Analysis { found: found("seal in /g"), missing: None, seals: true });
        let message = browser_check("B", &browser).message;
        assert!(message.ends_with("SSL_write in /f, seal in /g; HTTP/3 is read"), "{message}");
    }
}
