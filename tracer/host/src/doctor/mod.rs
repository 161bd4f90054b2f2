//! What of tracer works on this machine, and what to do where it does not.
//!
//! ```text
//! kernel    release, configuration, type information, lockdown, SELinux ┐
//! hooks     capabilities; programs load, attach and fire; TLS probes    ├─▶ Report
//! browsers  those that run, and whether their TLS functions are found   ┘
//! ```
//!
//! Only the hooks decide whether `tracer run` would work: the kernel's checks
//! say why they do not.

mod browsers;
mod hooks;
mod kernel;

use serde::Serialize;

use crate::hook::SocketHook;
use tracer_core::rules::Rules;

/// The version of the report's JSON form (`docs/reference/doctor.md`). It grows when a
/// field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It is not there, and not needed: something else does its work.
    Absent,
    /// It could not be checked.
    Unknown,
    /// tracer works, and misses something.
    Warning,
    /// tracer does not work.
    Problem,
}

impl State {
    /// Its name, as people read it.
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

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which: a name that stays.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub says: String,
    /// What to do next; `None` where nothing has to be done.
    pub next: Option<String>,
}

impl Check {
    fn new(check: &'static str, state: State, says: impl Into<String>) -> Self {
        Self { check, state, says: says.into(), next: None }
    }

    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, State::Ok, says)
    }

    fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

/// All that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// tracer's version.
    pub tracer: &'static str,
    /// `tracer run` would work.
    pub works: bool,
    /// The checks, in the order in which one would look for a cause.
    pub checks: Vec<Check>,
    /// What a run would see here.
    pub sees: Vec<String>,
    /// What it would not.
    pub misses: Vec<String>,
}

impl Report {
    /// Checks this machine.
    pub fn of_this_machine(rules: &Rules) -> Self {
        let mut checks = kernel::checks();
        let hooks = hooks::check();
        checks.extend(hooks.checks);
        let browsers = browsers::check(rules);
        checks.extend(browsers.checks);

        let mut sees = Vec::new();
        let mut misses = Vec::new();
        match hooks.taken {
            None => misses.push("anything: sends cannot be captured".to_owned()),
            Some(hook) => {
                let (seen, missed) = seen_by(hook);
                sees.push(seen.to_owned());
                misses.push(missed.to_owned());
            }
        }
        if hooks.taken.is_some() && hooks.tls {
            sees.push(
                "what is given to OpenSSL, BoringSSL, GnuTLS and NSS to be encrypted, where their \
                 functions are found"
                    .to_owned(),
            );
            misses.push("what other libraries encrypt; HTTP/3".to_owned());
        } else if hooks.taken.is_some() {
            misses.push("what applications encrypt".to_owned());
        }
        misses.extend(browsers.misses);
        Self {
            schema: SCHEMA,
            tracer: env!("CARGO_PKG_VERSION"),
            works: hooks.taken.is_some(),
            checks,
            sees,
            misses,
        }
    }
}

/// What a hook sees of sends, and what not (`docs/reference/hooks.md`).
fn seen_by(hook: SocketHook) -> (&'static str, &'static str) {
    match hook {
        SocketHook::Kprobe | SocketHook::Fentry => (
            "TCP and UDP sends over IPv4 and IPv6, by any system call and io_uring",
            "the content of sendfile and splice (its length is counted)",
        ),
        SocketHook::TcpTracepoint => (
            "TCP sends over IPv4 and IPv6, by any system call and io_uring; UDP sends of 64-bit \
             processes",
            "UDP by io_uring and of 32-bit processes; the content of sendfile and splice (its \
             length is counted)",
        ),
        SocketHook::SysEnter => (
            "TCP and UDP sends of 64-bit processes, over IPv4 and IPv6, as they are asked for",
            "io_uring, sendfile and splice; 32-bit processes (counted)",
        ),
    }
}
