//! Options that choose what is watched, and how.

use tracer_ebpf::{DEFAULT_HEAD, DEFAULT_TLS_HEAD, MAX_HEAD};

use super::{Usage, browsers, packages, rules, users};
use tracer_host::hook::{DEFAULT_RING, SocketHook, Target, Watch};

/// Options of the commands that watch applications.
#[derive(Debug, clap::Args)]
#[group(id = "watched", multiple = true)]
pub(super) struct WatchArgs {
    /// Watch all processes of this user (name or UID)
    #[arg(long, value_name = "USER")]
    uid: Vec<String>,
    /// Watch processes that execute a file of this name, or at this path (if it contains a /), and
    /// their descendants
    #[arg(long, value_name = "NAME|PATH")]
    exe: Vec<String>,
    /// Watch this running process and its descendants
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    #[command(flatten)]
    pub(super) packages: packages::PackageArgs,
    /// Watch all browsers in the rules (`tracer browsers` lists those on this machine)
    #[arg(long)]
    pub(super) browsers: bool,
    /// Watch all processes
    #[arg(long)]
    all: bool,
    /// Number of bytes to capture of each send; the rest is counted as not read [default: 16384,
    /// and 32768 for writes to TLS libraries]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=MAX_HEAD as i64))]
    head_bytes: Option<u32>,
    /// Size in MiB of the buffer between the kernel and tracer. Use a larger one if sends are lost
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RING >> 20,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    ring_mib: u32,
    /// Kernel hook that captures sends. `auto` uses the best one that works (see
    /// docs/reference/hooks.md)
    #[arg(long, value_name = "HOOK", value_enum, default_value_t = HookArg::Auto)]
    hook: HookArg,
    #[command(flatten)]
    pub(super) rules: rules::Folder,
    /// Show the hook, the probed TLS libraries, and diagnostics of the kernel programs
    #[arg(long, short)]
    pub(super) verbose: bool,
    /// Process that is not captured
    #[arg(long, value_name = "PID", hide = true)]
    pub(super) exempt: Vec<u32>,
}

/// Values of `--hook`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum HookArg {
    /// The best one that works
    Auto,
    /// Entry of the kernel's send functions, by trampolines (needs BTF)
    Fentry,
    /// Entry of the kernel's send functions, by kprobes
    Kprobe,
    /// Tracepoint of TCP, and system calls for everything else (needs Linux 6.16)
    TcpTracepoint,
    /// Raw tracepoint of all system calls
    SysEnter,
}

impl HookArg {
    /// Returns the hooks to try, in order.
    pub(super) fn hooks(self) -> &'static [SocketHook] {
        match self {
            Self::Auto => &SocketHook::ALL,
            Self::Fentry => &[SocketHook::Fentry],
            Self::Kprobe => &[SocketHook::Kprobe],
            Self::TcpTracepoint => &[SocketHook::TcpTracepoint],
            Self::SysEnter => &[SocketHook::SysEnter],
        }
    }
}

impl WatchArgs {
    /// Returns the processes to watch.
    pub(super) fn watch(&self) -> anyhow::Result<Watch> {
        let needs_rules = self.browsers || self.packages.needs_rules();
        let known = needs_rules.then(|| self.rules.load()).transpose()?;
        let mut targets = Vec::new();
        for user in &self.uid {
            targets.push(Target::Uid(users::uid(user)?));
        }
        targets.extend(self.exe.iter().map(|exe| exe_target(exe)));
        targets.extend(self.pid.iter().copied().map(Target::Pid));
        targets.extend(self.packages.targets(known.as_ref().map(|known| &**known.rules()))?);
        if self.browsers
            && let Some(known) = &known
        {
            targets.extend(browsers::targets(known.rules(), self.packages.has_list()));
        }
        if self.all {
            targets.push(Target::Everyone);
        }
        if targets.is_empty() {
            return Err(Usage(
                "nothing to watch; give --browsers, --exe, --package, --uid, --pid or --all (see --help)"
                    .into(),
            )
            .into());
        }
        Ok(Watch {
            targets,
            head_bytes: self.head_bytes.unwrap_or(DEFAULT_HEAD),
            tls_head_bytes: self.head_bytes.unwrap_or(DEFAULT_TLS_HEAD),
        })
    }

    /// Returns the hooks to try, in order.
    pub(super) fn hooks(&self) -> &'static [SocketHook] {
        self.hook.hooks()
    }

    /// Returns the size of the buffer between the kernel and tracer.
    pub(super) fn ring_bytes(&self) -> u32 {
        self.ring_mib << 20
    }
}

/// Parses the value of `--exe`: a name, or a path if it contains a slash.
pub(super) fn exe_target(exe: &str) -> Target {
    if exe.contains('/') {
        Target::ExePath(std::path::absolute(exe).unwrap_or_else(|_| exe.into()))
    } else {
        Target::ExeName(exe.to_owned())
    }
}
