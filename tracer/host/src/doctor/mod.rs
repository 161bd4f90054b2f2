//! Checks whether tracer works on this machine, and suggests what to do if not.
//!
//! ```text
//! kernel    release, configuration, type information, lockdown, SELinux  ┐
//! hooks     capabilities; programs load, attach and fire; TLS probes     ├─▶ Report
//! sandbox   what restricts the processes that parse captured bytes          │
//! browsers  running browsers and other programs; their TLS functions     ┘
//! ```
//!
//! Only the hooks decide whether `tracer run` would work. The checks of the kernel
//! explain why the hooks fail.

mod browsers;
mod hooks;
mod kernel;
mod sandbox;

use serde::Serialize;

use crate::hook::{SocketHook, Target};
use tracer_core::rules::Rules;

/// Version of the report's JSON format (`docs/reference/doctor.md`). Incremented when a
/// field changes its meaning or is removed.
pub const SCHEMA: u32 = 1;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Everything is in order.
    Ok,
    /// Not available, and not needed because there is an alternative.
    Absent,
    /// Could not be checked.
    Unknown,
    /// tracer works, but misses something.
    Warning,
    /// tracer does not work.
    Problem,
}

impl State {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// A check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Name of the check. Names do not change between versions.
    pub check: &'static str,
    /// The result.
    pub state: State,
    /// Details of the result.
    #[serde(rename = "says")]
    pub message: String,
    /// The next step, if there is anything to do.
    pub next: Option<String>,
}

impl Check {
    fn new(check: &'static str, state: State, message: impl Into<String>) -> Self {
        Self { check, state, message: message.into(), next: None }
    }

    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, State::Ok, message)
    }

    fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

/// The results of all checks.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of tracer.
    pub tracer: &'static str,
    /// True if `tracer run` would work.
    pub works: bool,
    /// The checks, in the order in which a cause is best looked for.
    pub checks: Vec<Check>,
    /// Traffic that a run would see on this machine.
    pub sees: Vec<String>,
    /// Traffic that it would not see.
    pub misses: Vec<String>,
}

impl Report {
    /// Checks this machine, the running browsers, and the programs that the user named.
    pub fn collect(rules: &Rules, named: &[Target]) -> Self {
        let mut checks = kernel::checks();
        let hooks = hooks::check();
        checks.extend(hooks.checks);
        checks.push(sandbox::check());
        let browsers = browsers::check(rules, named);
        checks.extend(browsers.checks);

        let mut sees = Vec::new();
        let mut misses = Vec::new();
        match hooks.chosen {
            None => misses.push("anything: sends cannot be captured".to_owned()),
            Some(hook) => {
                let (seen, missed) = coverage(hook);
                sees.push(seen.to_owned());
                misses.push(missed.to_owned());
            }
        }
        if hooks.chosen.is_some() && hooks.tls {
            sees.push(
                "the plaintext written to OpenSSL, BoringSSL, GnuTLS and NSS, if their functions \
                 are found"
                    .to_owned(),
            );
            misses.push(
                "the plaintext of other TLS libraries; HTTP/3 that is not encrypted by BoringSSL or \
                 NSS"
                    .to_owned(),
            );
        } else if hooks.chosen.is_some() {
            misses.push("the plaintext of encrypted traffic".to_owned());
        }
        misses.extend(browsers.misses);
        Self {
            schema: SCHEMA,
            tracer: env!("CARGO_PKG_VERSION"),
            works: hooks.chosen.is_some(),
            checks,
            sees,
            misses,
        }
    }
}

/// Describes the sends that a hook sees, and those that it does not see
/// (`docs/reference/hooks.md`).
fn coverage(hook: SocketHook) -> (&'static str, &'static str) {
    match hook {
        SocketHook::Kprobe | SocketHook::Fentry => (
            "TCP and UDP sends over IPv4 and IPv6, by any system call and io_uring",
            "the content sent by sendfile and splice (its length is counted)",
        ),
        SocketHook::TcpTracepoint => (
            "TCP sends over IPv4 and IPv6, by any system call and io_uring; UDP sends of 64-bit \
             processes",
            "UDP sends by io_uring and of 32-bit processes; the content sent by sendfile and \
             splice (its length is counted)",
        ),
        SocketHook::SysEnter => (
            "TCP and UDP sends of 64-bit processes over IPv4 and IPv6, as the process requests \
             them",
            "io_uring, sendfile and splice; 32-bit processes (counted)",
        ),
    }
}
