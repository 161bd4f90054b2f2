//! Checks what restricts the processes that parse untrusted bytes.

use std::{fs::File, thread};

use super::{Check, State};
use crate::sandbox::{Confinement, Mechanism, Sandbox};

const NAME: &str = "sandbox";

/// Mechanisms without which a bug in a decoder could be used to read or write other files.
const ESSENTIAL: [Mechanism; 2] = [Mechanism::NoNewPrivs, Mechanism::Seccomp];

/// Restricts a thread that ends afterwards, and tries whether it can still open a file.
pub(super) fn check() -> Check {
    let tried = thread::Builder::new().name("tracer-sandbox".into()).spawn(|| {
        let confinement = Sandbox::new().enter_thread();
        (confinement, File::open("/proc/self/status").is_ok())
    });
    match tried.map(thread::JoinHandle::join) {
        Ok(Ok((confinement, escaped))) => describe(&confinement, escaped),
        _ => Check::new(NAME, State::Unknown, "a restricted thread could not be tried"),
    }
}

fn describe(confinement: &Confinement, escaped: bool) -> Check {
    let active = confinement.active.iter().map(|(mechanism, detail)| match detail {
        Some(detail) => format!("{mechanism} ({detail})"),
        None => mechanism.to_string(),
    });
    let active = active.collect::<Vec<_>>().join(", ");
    let missing =
        confinement.missing.iter().map(|(mechanism, reason)| format!("{mechanism} ({reason})"));
    let missing = missing.collect::<Vec<_>>().join(", ");
    let message = match (active.is_empty(), missing.is_empty()) {
        (true, _) => format!("nothing restricts the decoder; missing: {missing}"),
        (false, true) => format!("the decoder is restricted by {active}"),
        (false, false) => format!("the decoder is restricted by {active}; missing: {missing}"),
    };
    let essential = ESSENTIAL.iter().all(|mechanism| confinement.has(*mechanism));
    if escaped || !essential {
        return Check::new(NAME, State::Warning, message).next(
            "a bug in a decoder could be used against this machine: use a kernel with \
             CONFIG_SECCOMP_FILTER, and a container that permits seccomp",
        );
    }
    if missing.is_empty() {
        return Check::ok(NAME, message);
    }
    Check::new(NAME, State::Absent, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_mechanisms_are_named() {
        let mut confinement = Confinement::default();
        confinement.active.push((Mechanism::NoNewPrivs, None));
        confinement.active.push((Mechanism::Seccomp, None));
        assert_eq!(describe(&confinement, false).state, State::Ok);
        assert_eq!(describe(&confinement, true).state, State::Warning);
        confinement.missing.push((Mechanism::Landlock, "too old".into()));
        let check = describe(&confinement, false);
        assert_eq!(check.state, State::Absent);
        assert!(check.message.ends_with("seccomp; missing: landlock (too old)"), "{check:?}");
        confinement.active.pop();
        assert_eq!(describe(&confinement, false).state, State::Warning);
    }

    #[test]
    fn a_restricted_thread_cannot_open_files() {
        let check = check();
        assert_ne!(check.state, State::Unknown);
        assert!(File::open("/proc/self/status").is_ok(), "only the thread is restricted");
    }
}
