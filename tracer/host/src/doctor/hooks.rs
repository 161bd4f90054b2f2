//! Checks whether the hooks load, attach and fire.

use aya::programs::ProgramError;

use super::{Check, State};
use crate::hook::{HookError, SocketHook, may_load, test_hook, test_probes};

/// The results of the checks.
pub(super) struct Hooks {
    pub(super) checks: Vec<Check>,
    /// The hook that `tracer run` would use.
    pub(super) chosen: Option<SocketHook>,
    /// True if calls of TLS libraries can be captured.
    pub(super) tls: bool,
}

const PRIVILEGES: &str = "privileges";
const PROBES: &str = "tls-probes";

pub(super) fn check() -> Hooks {
    if !may_load() {
        return without_privileges();
    }
    let mut checks = vec![Check::ok(PRIVILEGES, "this process can load programs")];
    let results = SocketHook::ALL.map(|hook| (hook, test_hook(hook)));
    let chosen = results.iter().find(|(_, result)| result.is_ok()).map(|(hook, _)| *hook);
    checks.extend(results.into_iter().map(|(hook, result)| hook_check(hook, result, chosen)));

    let probes = test_probes();
    let tls = probes.is_ok();
    checks.push(match probes {
        Ok(rejected) if rejected.is_empty() => {
            Check::ok(PROBES, "a call of a probed test function was captured")
        }
        Ok(rejected) => {
            let message = format!("the kernel rejected programs: {}", rejected.join(", "));
            Check::new(PROBES, State::Warning, message).next(
                "what is encrypted with their functions stays unread; please report `uname -r` and \
                 the first lines of `tracer run --verbose`",
            )
        }
        Err(err) => Check::new(PROBES, State::Warning, failure(&err)).next(
            "encrypted traffic stays unread: the kernel needs CONFIG_UPROBES and \
             CONFIG_BPF_EVENTS",
        ),
    });
    Hooks { checks, chosen, tls }
}

fn without_privileges() -> Hooks {
    let mut checks =
        vec![Check::new(PRIVILEGES, State::Problem, "this process cannot load programs").next(
            "run it as root: sudo tracer doctor (on Android in a root shell: adb root, or su)",
        )];
    let names = SocketHook::ALL.map(SocketHook::name);
    let unknown = |check| Check::new(check, State::Unknown, "only root can check this");
    checks.extend(names.into_iter().chain([PROBES]).map(unknown));
    Hooks { checks, chosen: None, tls: false }
}

fn hook_check(
    hook: SocketHook,
    result: Result<(), HookError>,
    chosen: Option<SocketHook>,
) -> Check {
    match (result, chosen) {
        (Ok(()), Some(chosen)) if chosen == hook => {
            Check::ok(hook.name(), "loads, attaches and fires; `tracer run` uses this hook")
        }
        (Ok(()), _) => Check::ok(hook.name(), "loads, attaches and fires"),
        (Err(err), Some(_)) => Check::new(hook.name(), State::Absent, failure(&err)),
        (Err(err), None) => {
            // The lines of an error after the first are the next step.
            let text = err.to_string();
            let next = text.split_once('\n').map(|(_, next)| one_line(next));
            let check = Check::new(hook.name(), State::Problem, failure(&err));
            check.next(next.unwrap_or_else(|| {
                "see the checks above; if they pass, please report this output".to_owned()
            }))
        }
    }
}

/// Describes the step at which a hook failed, and the cause.
fn failure(err: &HookError) -> String {
    let step = match err {
        HookError::WrongRecords { .. } => "loads and attaches, but does not fire correctly",
        HookError::Program { source: ProgramError::LoadError { .. }, .. } => "does not load",
        HookError::Program { .. } => "does not attach",
        _ => "does not work",
    };
    let text = err.to_string();
    let first = text.split('\n').next().unwrap_or_default();
    // The verifier's output is often empty.
    let first = first.trim_end().trim_end_matches("Verifier output:");
    format!("{step}: {}", first.trim_end_matches([' ', '.']))
}

fn one_line(text: &str) -> String {
    text.split('\n').collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_record() -> Result<(), HookError> {
        Err(HookError::WrongRecords { test: "a TCP send on loopback", records: 0 })
    }

    #[test]
    fn a_failing_hook_is_a_problem_only_if_no_other_works() {
        let hook = SocketHook::Kprobe;
        assert_eq!(hook_check(hook, Ok(()), Some(hook)).state, State::Ok);
        let absent = hook_check(hook, no_record(), Some(SocketHook::SysEnter));
        assert_eq!((absent.state, &absent.next), (State::Absent, &None));
        assert!(absent.message.starts_with("loads and attaches, but does not fire correctly: "));
        let problem = hook_check(hook, no_record(), None);
        assert_eq!(problem.state, State::Problem);
        assert!(problem.next.is_some());
        let not_built = hook_check(hook, Err(HookError::NoPrograms), None);
        assert!(not_built.next.unwrap().starts_with("Build it again"));
    }
}
