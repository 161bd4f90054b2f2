//! Describes what `--exe` refers to: a wrong name would watch nothing.

use tracer_core::alert::printable;
use tracer_host::hook::{Resolved, SimilarProgram, Target};

/// Maximum number of processes that are listed of one program.
const MAX_PROCESSES: usize = 3;

/// Prints what is notable about each executable.
pub(super) fn describe_all(targets: &[Target]) {
    for line in targets.iter().filter_map(|target| describe(target, &Resolved::new(target)?)) {
        message!("{line}");
    }
}

/// Reports whether all processes that run these targets are known at the start, so
/// that later ones announce themselves. Those of packages are looked up later.
pub(super) fn are_all_looked_up(targets: &[Target]) -> bool {
    targets
        .iter()
        .all(|target| matches!(target, Target::ExeName(_) | Target::ExePath(_) | Target::Uid(_)))
}

/// Prints that nothing matched, with the running programs of a similar name.
pub(super) fn report_none(targets: &[Target]) {
    message!("no process matched: nothing that was to be watched ran during this run");
    for target in targets {
        if let Some(resolved) = Resolved::new(target)
            && let Some(similar) = similar(&resolved.similar)
        {
            message!("{}: {similar}", option(target));
        }
    }
}

/// Describes an executable. Returns `None` if there is nothing notable about it.
fn describe(target: &Target, resolved: &Resolved) -> Option<String> {
    let mut parts = Vec::new();
    match &resolved.file {
        None if resolved.running == 0 => {
            parts.push("no program of this name was found, and none is running".to_owned());
        }
        None => {}
        Some(file) => {
            let path = printable(&file.path.to_string_lossy());
            let led = file.links_to.as_ref().map(|to| printable(&to.to_string_lossy()));
            match (led, file.is_script) {
                (Some(to), true) => parts.push(format!("{path} leads to the script {to}")),
                (None, true) => parts.push(format!("{path} is a script")),
                (Some(to), false) if !is_same_name(target, &to) => {
                    parts.push(format!("{path} leads to {to}"));
                }
                (_, false) => {}
            }
            if file.is_script {
                parts.push("it and the programs that it starts are watched".to_owned());
            }
        }
    }
    if resolved.running == 0
        && let Some(similar) = similar(&resolved.similar)
    {
        if resolved.file.is_some() {
            parts.push("it is not running".to_owned());
        }
        parts.push(similar);
    }
    (!parts.is_empty()).then(|| format!("{}: {}", option(target), parts.join("; ")))
}

/// Describes running programs of a similar name.
fn similar(programs: &[SimilarProgram]) -> Option<String> {
    if programs.is_empty() {
        return None;
    }
    let programs = programs.iter().map(|program| {
        let shown = program.processes.iter().take(MAX_PROCESSES).map(u32::to_string);
        let shown = shown.collect::<Vec<_>>().join(", ");
        let more = if program.processes.len() > MAX_PROCESSES { ", …" } else { "" };
        let name = printable(&program.name);
        format!("{name} (process {shown}{more})")
    });
    let programs = programs.collect::<Vec<_>>().join(", ");
    Some(format!("running under a similar name, and not watched: {programs}"))
}

/// Returns the option as the user wrote it.
fn option(target: &Target) -> String {
    match target {
        Target::ExeName(name) => format!("--exe {}", printable(name)),
        Target::ExePath(path) => format!("--exe {}", printable(&path.to_string_lossy())),
        Target::Uid(_) | Target::Pid(_) | Target::Package(_) | Target::Everyone => String::new(),
    }
}

/// Reports whether the file that a name leads to has the same name.
fn is_same_name(target: &Target, to: &str) -> bool {
    let name = to.rsplit('/').next().unwrap_or_default();
    matches!(target, Target::ExeName(target) if target == name)
}

#[cfg(test)]
mod tests {
    use tracer_host::hook::ProgramFile;

    use super::*;

    fn resolved(file: Option<ProgramFile>, running: usize, similar: &[(&str, usize)]) -> Resolved {
        let similar = similar.iter().map(|(name, count)| SimilarProgram {
            name: (*name).to_owned(),
            processes: (7..).take(*count).collect(),
        });
        Resolved { file, running, similar: similar.collect() }
    }

    fn file(path: &str, links_to: Option<&str>, is_script: bool) -> Option<ProgramFile> {
        Some(ProgramFile { path: path.into(), links_to: links_to.map(Into::into), is_script })
    }

    fn line(name: &str, resolved: &Resolved) -> Option<String> {
        describe(&Target::ExeName(name.into()), resolved)
    }

    #[test]
    fn only_what_is_notable_is_said() {
        let program = file("/usr/bin/browser", None, false);
        assert_eq!(line("browser", &resolved(program.clone(), 0, &[])), None);
        assert_eq!(line("browser", &resolved(program, 3, &[("browser-x", 1)])), None);
        let moved = file("/bin/browser", Some("/usr/bin/browser"), false);
        assert_eq!(line("browser", &resolved(moved, 0, &[])), None);
        assert_eq!(line("browser", &resolved(None, 1, &[])), None);
    }

    #[test]
    fn a_script_is_named() {
        let script = file("/usr/bin/chromium", None, true);
        assert_eq!(
            line("chromium", &resolved(script, 0, &[])).unwrap(),
            "--exe chromium: /usr/bin/chromium is a script; it and the programs that it starts \
             are watched"
        );
        let link = file("/usr/bin/firefox", Some("/usr/lib/firefox-esr/firefox-esr"), false);
        assert_eq!(
            line("firefox", &resolved(link, 0, &[("firefox-esr", 5)])).unwrap(),
            "--exe firefox: /usr/bin/firefox leads to /usr/lib/firefox-esr/firefox-esr; it is not \
             running; running under a similar name, and not watched: firefox-esr (process 7, 8, \
             9, …)"
        );
    }

    #[test]
    fn a_name_that_matches_nothing_is_reported() {
        assert_eq!(
            line("chrom\x1be", &resolved(None, 0, &[("chrome", 1), ("chromium", 2)])).unwrap(),
            "--exe chrom\\u{1b}e: no program of this name was found, and none is running; running \
             under a similar name, and not watched: chrome (process 7), chromium (process 7, 8)"
        );
    }
}
