//! Whether the hooks load, attach and fire.

use aya::programs::ProgramError;

use super::{Check, State};
use crate::hook::{HookError, SocketHook, may_load, test, test_probes};

/// What works.
pub(super) struct Hooks {
    pub(super) checks: Vec<Check>,
    /// The hook that a run would take.
    pub(super) taken: Option<SocketHook>,
    /// Calls of TLS libraries can be read.
    pub(super) tls: bool,
}

const PRIVILEGES: &str = "privileges";
const PROBES: &str = "tls-probes";

pub(super) fn check() -> Hooks {
    if !may_load() {
        return without_privileges();
    }
    let mut checks = vec![Check::ok(PRIVILEGES, "programs may be loaded")];
    let tried = SocketHook::ALL.map(|hook| (hook, test(hook)));
    let taken = tried.iter().find(|(_, result)| result.is_ok()).map(|(hook, _)| *hook);
    checks.extend(tried.into_iter().map(|(hook, result)| told(hook, result, taken)));

    let probes = test_probes();
    let tls = probes.is_ok();
    checks.push(match probes {
        Ok(()) => Check::ok(PROBES, "a test function of its own was read"),
        Err(err) => Check::new(PROBES, State::Warning, failed(&err)).next(
            "what applications encrypt stays unread: the kernel needs CONFIG_UPROBES and \
             CONFIG_BPF_EVENTS",
        ),
    });
    Hooks { checks, taken, tls }
}

fn without_privileges() -> Hooks {
    let mut checks =
        vec![Check::new(PRIVILEGES, State::Problem, "this process may not load programs").next(
            "run it as root: sudo tracer doctor (on Android in a root shell: adb root, or su)",
        )];
    let names = SocketHook::ALL.map(SocketHook::name);
    let unknown = |check| Check::new(check, State::Unknown, "only root can tell");
    checks.extend(names.into_iter().chain([PROBES]).map(unknown));
    Hooks { checks, taken: None, tls: false }
}

fn told(hook: SocketHook, result: Result<(), HookError>, taken: Option<SocketHook>) -> Check {
    match (result, taken) {
        (Ok(()), Some(taken)) if taken == hook => {
            Check::ok(hook.name(), "loads, attaches and fires; `tracer run` takes this hook")
        }
        (Ok(()), _) => Check::ok(hook.name(), "loads, attaches and fires"),
        (Err(err), Some(_)) => Check::new(hook.name(), State::Absent, failed(&err)),
        (Err(err), None) => {
            // An error's further lines say what to do.
            let text = err.to_string();
            let next = text.split_once('\n').map(|(_, next)| one_line(next));
            let check = Check::new(hook.name(), State::Problem, failed(&err));
            check.next(next.unwrap_or_else(|| {
                "see the checks above; if they are fine, please report this output".to_owned()
            }))
        }
    }
}

/// How far a hook came, and why no further.
fn failed(err: &HookError) -> String {
    let how = match err {
        HookError::Silent { .. } => "loads and attaches, and does not fire",
        HookError::Program { source: ProgramError::LoadError { .. }, .. } => "does not load",
        HookError::Program { .. } => "does not attach",
        _ => "does not work",
    };
    let text = err.to_string();
    let first = text.split('\n').next().unwrap_or_default();
    // The verifier has often nothing to say.
    let first = first.trim_end().trim_end_matches("Verifier output:");
    format!("{how}: {}", first.trim_end_matches([' ', '.']))
}

fn one_line(text: &str) -> String {
    text.split('\n').collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Result<(), HookError> {
        Err(HookError::Silent { what: "TCP", records: 0 })
    }

    #[test]
    fn a_hook_is_a_problem_only_where_no_other_works() {
        let hook = SocketHook::Kprobe;
        assert_eq!(told(hook, Ok(()), Some(hook)).state, State::Ok);
        let absent = told(hook, silent(), Some(SocketHook::SysEnter));
        assert_eq!((absent.state, &absent.next), (State::Absent, &None));
        assert!(absent.says.starts_with("loads and attaches, and does not fire: "));
        let problem = told(hook, silent(), None);
        assert_eq!(problem.state, State::Problem);
        assert!(problem.next.is_some());
        let told = told(hook, Err(HookError::NoPrograms), None);
        assert!(told.next.unwrap().starts_with("Build it again"));
    }
}
