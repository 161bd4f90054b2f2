//! Checks of the kernel and its configuration.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use super::{Check, State};
use crate::hook::BTF_PATH;

/// The oldest supported kernel.
const OLDEST: (u32, u32) = (5, 10);

/// Maximum number of bytes read of a kernel's configuration. It usually has 300 KiB.
const MAX_CONFIG: u64 = 4 << 20;

/// Options that tracer cannot work without, and their purpose.
const REQUIRED: [(&str, &str); 2] =
    [("BPF_SYSCALL", "programs in the kernel"), ("BPF_EVENTS", "programs at tracepoints")];

/// Options that a part of tracer needs, and their purpose.
const RECOMMENDED: [(&str, &str); 2] = [
    ("UPROBES", "reading encrypted traffic"),
    ("DEBUG_INFO_BTF", "layouts of the kernel's structures"),
];

pub(super) fn checks() -> Vec<Check> {
    let release = text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut checks = vec![
        kernel(&release),
        config(read_config(&release).ok().as_deref()),
        btf(),
        lockdown(text("/sys/kernel/security/lockdown").ok().as_deref()),
        selinux(
            text("/sys/fs/selinux/enforce").ok().as_deref(),
            text("/proc/self/attr/current").ok().as_deref(),
        ),
        mounts(&text("/proc/mounts").unwrap_or_default()),
    ];
    checks.extend(packages());
    checks
}

fn text(path: &str) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\n', '\0']).to_owned())
}

fn kernel(release: &str) -> Check {
    let message = format!("Linux {release} on {}", std::env::consts::ARCH);
    match version(release) {
        Some(version) if version < OLDEST => Check::new("kernel", State::Warning, message)
            .next(format!("tracer needs Linux {}.{} or newer", OLDEST.0, OLDEST.1)),
        Some(_) => Check::ok("kernel", message),
        None => Check::new("kernel", State::Unknown, message),
    }
}

/// Parses `6.1.0-13-amd64` or `5.10.157-android13-4-…`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Reads the configuration from `/proc`, or from the file next to the kernel's image.
fn read_config(release: &str) -> io::Result<String> {
    let mut config = String::new();
    match File::open("/proc/config.gz") {
        Ok(file) => MultiGzDecoder::new(file).take(MAX_CONFIG).read_to_string(&mut config)?,
        Err(_) => {
            let path = Path::new("/boot").join(format!("config-{release}"));
            File::open(path)?.take(MAX_CONFIG).read_to_string(&mut config)?
        }
    };
    Ok(config)
}

fn config(config: Option<&str>) -> Check {
    let Some(config) = config else {
        let message = "the kernel's configuration was not found";
        return Check::new("config", State::Unknown, message);
    };
    let lacks = |(option, _): &&(&str, &str)| !is_built_in(config, option);
    let missing = |options: &[(&str, &str)]| {
        let missing = options.iter().filter(lacks);
        let names = missing.map(|(name, purpose)| format!("CONFIG_{name} ({purpose})"));
        names.collect::<Vec<_>>().join(", ")
    };
    let (required, recommended) = (missing(&REQUIRED), missing(&RECOMMENDED));
    if !required.is_empty() {
        return Check::new("config", State::Problem, format!("missing: {required}"))
            .next("use a kernel that was built with these options; tracer requires them");
    }
    if !recommended.is_empty() {
        return Check::new("config", State::Warning, format!("missing: {recommended}"))
            .next("use a kernel that was built with these options to capture everything");
    }
    Check::ok("config", "all options that tracer uses are set")
}

/// Reports whether an option is set to `y`.
fn is_built_in(config: &str, option: &str) -> bool {
    let value = |line: &str| {
        line.strip_prefix("CONFIG_")?.strip_prefix(option)?.strip_prefix('=').map(|v| v == "y")
    };
    config.lines().find_map(value).unwrap_or(false)
}

fn btf() -> Check {
    match fs::metadata(BTF_PATH) {
        Ok(file) => Check::ok("btf", format!("{BTF_PATH}, {} KiB", file.len() >> 10)),
        Err(err) => Check::new("btf", State::Warning, format!("no {BTF_PATH}: {err}")).next(
            "without type information, tracer supports only the kernels in its table of layouts: \
             if the hooks below work, this is one; otherwise use a kernel with \
             CONFIG_DEBUG_INFO_BTF",
        ),
    }
}

/// Parses `none [integrity] confidentiality`, where the active level is in brackets.
fn lockdown(text: Option<&str>) -> Check {
    let level = text.and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0));
    match level {
        Some("confidentiality") => Check::new(
            "lockdown",
            State::Problem,
            "confidentiality: programs are not allowed to read the kernel's memory",
        )
        .next("boot with lockdown=integrity or lockdown=none, or without Secure Boot"),
        Some(level) => Check::ok("lockdown", format!("{level}, which permits tracer")),
        None => Check::new(
            "lockdown",
            State::Unknown,
            "/sys/kernel/security is not mounted, or the kernel has no lockdown",
        ),
    }
}

fn selinux(enforce: Option<&str>, context: Option<&str>) -> Check {
    let context = context.filter(|context| !context.is_empty()).unwrap_or("unknown");
    match enforce {
        None => Check::ok("selinux", "not in use"),
        Some("0") => Check::ok("selinux", format!("permissive; the context is {context}")),
        // The context itself may be permissive (those of Magisk and KernelSU are), so only
        // a test of the hooks can decide.
        Some(_) => Check::ok("selinux", format!("enforcing; the context is {context}"))
            .next("if the hooks fail, use a root shell of Magisk, KernelSU or `adb root`"),
    }
}

/// Parses lines of `device folder type options …` (proc(5)).
fn mounts(mounts: &str) -> Check {
    let mounted = |kind: &str| {
        let folder = |line: &str| {
            let mut fields = line.split(' ').skip(1);
            let (folder, found) = (fields.next()?, fields.next()?);
            (found == kind).then(|| folder.to_owned())
        };
        mounts.lines().find_map(folder)
    };
    let describe = |kind| match mounted(kind) {
        Some(folder) => format!("{kind} is mounted at {folder}"),
        None => format!("{kind} is not mounted"),
    };
    let message = format!("{}, {}", describe("tracefs"), describe("debugfs"));
    if mounted("tracefs").is_some() || Path::new("/sys/bus/event_source/devices/uprobe").exists() {
        return Check::ok("mounts", message);
    }
    Check::new("mounts", State::Warning, message)
        .next("this kernel needs it for uprobes: mount -t tracefs tracefs /sys/kernel/tracing")
}

/// Checks the list of packages, on Android only.
fn packages() -> Option<Check> {
    const LIST: &str = "/data/system/packages.list";

    Path::new("/system/build.prop").exists().then(|| match File::open(LIST) {
        Ok(_) => Check::ok("packages", format!("{LIST} can be read")),
        Err(err) => Check::new("packages", State::Warning, format!("cannot read {LIST}: {err}"))
            .next("--package needs it; use a root shell, or --uid instead"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_check_compares_versions() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("5.10.157-android13-4-00003-gdeadbeef"), Some((5, 10)));
        assert_eq!(version("custom"), None);
        assert_eq!(kernel("4.19.0").state, State::Warning);
        assert_eq!(kernel("5.10.0").state, State::Ok);
        assert_eq!(kernel("").state, State::Unknown);
    }

    #[test]
    fn config_check_names_missing_options() {
        let full = "CONFIG_BPF_SYSCALL=y\nCONFIG_BPF_EVENTS=y\nCONFIG_UPROBES=y\n\
                    CONFIG_DEBUG_INFO_BTF=y\n";
        assert_eq!(config(Some(full)).state, State::Ok);
        let blind = full.replace("CONFIG_UPROBES=y", "# CONFIG_UPROBES is not set");
        let check = config(Some(&blind));
        assert_eq!(check.state, State::Warning);
        assert!(check.message.contains("CONFIG_UPROBES (reading encrypted traffic)"));
        // An option with a longer name does not count, nor does a module.
        let other =
            full.replace("BPF_EVENTS=y", "BPF_EVENTS_X=y").replace("SYSCALL=y", "SYSCALL=m");
        assert_eq!(config(Some(&other)).state, State::Problem);
        assert_eq!(config(None).state, State::Unknown);
    }

    #[test]
    fn lockdown_level_is_in_brackets() {
        let state = |text| lockdown(Some(text)).state;
        assert_eq!(state("none [integrity] confidentiality"), State::Ok);
        assert_eq!(state("none integrity [confidentiality]"), State::Problem);
        assert_eq!(state("[none] integrity confidentiality"), State::Ok);
        assert_eq!(lockdown(None).state, State::Unknown);
    }

    #[test]
    fn selinux_check_shows_the_context() {
        let check = selinux(Some("1"), Some("u:r:magisk:s0"));
        assert!(check.message.contains("enforcing; the context is u:r:magisk:s0"));
        assert!(check.next.is_some());
        assert_eq!(selinux(Some("0"), None).next, None);
        assert_eq!(selinux(None, None).message, "not in use");
    }

    #[test]
    fn mounts_are_found_by_their_type() {
        let text = "proc /proc proc rw 0 0\ntracefs /sys/kernel/tracing tracefs rw 0 0\n";
        let message = mounts(text).message;
        assert!(message.starts_with("tracefs is mounted at /sys/kernel/tracing, debugfs is not"));
        assert_eq!(mounts(text).state, State::Ok);
        assert!(mounts("").message.starts_with("tracefs is not mounted"));
    }
}
