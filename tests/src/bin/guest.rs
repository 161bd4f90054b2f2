//! Init process of the virtual machines that `cargo xtask vm` boots: sets up the
//! bare initramfs, runs the tests that the plan lists, and powers off.
//!
//! `/guest/plan` has one instruction a line:
//!
//! ```text
//! results /dev/ttyS1             where to write the results
//! env NAME=VALUE                 environment variable of the tests
//! argument --test-threads=1      argument of the tests
//! run sends /path/of/the/test    a test binary
//! ```
//!
//! Results go to a separate serial port, because kernel messages share the console.
//! A machine that ends without the last line counts as failed.
//!
//! ```text
//! kernel 6.1.0-49-amd64
//! run sends
//! out 1234 test tcp_over_ipv4 ... ok      milliseconds since `run`, and a line
//! skip tcp_over_ipv6: needs IPv6          a need that was not met (`TRACER_TEST_SKIPS`)
//! end sends 0                             the exit code, or `killed`
//! done
//! ```

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    mount::{MountFlags, mount},
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with},
    system::RebootCommand,
};

/// Path of the plan.
const PLAN: &str = "/guest/plan";

/// File in which tests record what they lacked.
const SKIPS: &str = "/tmp/skipped-tests";

/// File systems to mount: type, folder, and whether tests can run without it.
const MOUNTS: [(&str, &str, bool); 7] = [
    ("proc", "/proc", false),
    ("sysfs", "/sys", false),
    ("devtmpfs", "/dev", false),
    ("tracefs", "/sys/kernel/tracing", true),
    ("debugfs", "/sys/kernel/debug", true),
    ("bpf", "/sys/fs/bpf", true),
    ("cgroup2", "/sys/fs/cgroup", true),
];

fn main() {
    if std::process::id() != 1 {
        eprintln!("guest: must run as the init process of a virtual machine");
        std::process::exit(2);
    }
    if let Err(err) = run() {
        eprintln!("guest: {err:#}");
    }
    // Let the serial ports transmit what is still buffered.
    rustix::fs::sync();
    thread::sleep(Duration::from_millis(100));
    // If this fails, the kernel panics when this process ends.
    let _ = rustix::system::reboot(RebootCommand::PowerOff);
}

fn run() -> Result<()> {
    for (kind, at, optional) in MOUNTS {
        let mounted = mount(kind, at, kind, MountFlags::empty(), None);
        match mounted {
            Err(err) if optional => eprintln!("guest: cannot mount {kind}: {err}"),
            other => other.with_context(|| format!("mount {kind}"))?,
        }
    }
    loopback_up().context("bring up loopback")?;

    let plan = Plan::read()?;
    let mut results = File::options()
        .write(true)
        .open(&plan.results)
        .with_context(|| format!("open {}", plan.results))?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    writeln!(results, "kernel {}", release.trim())?;
    for (name, path) in &plan.tests {
        test(&mut results, &plan, name, path).with_context(|| format!("run {name}"))?;
    }
    writeln!(results, "done")?;
    Ok(())
}

#[derive(Default)]
struct Plan {
    results: String,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    tests: Vec<(String, String)>,
}

impl Plan {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(PLAN).with_context(|| format!("read {PLAN}"))?;
        let mut plan = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("results", path)) => path.clone_into(&mut plan.results),
                Some(("argument", argument)) => plan.arguments.push(argument.to_owned()),
                Some(("env", pair)) => {
                    let (name, value) = pair.split_once('=').context("env NAME=VALUE")?;
                    plan.env.push((name.to_owned(), value.to_owned()));
                }
                Some(("run", test)) => {
                    let (name, path) = test.split_once(' ').context("run NAME PATH")?;
                    plan.tests.push((name.to_owned(), path.to_owned()));
                }
                _ => bail!("{PLAN} has an unknown line: {line:?}"),
            }
        }
        Ok(plan)
    }
}

/// Runs one test binary and forwards each line of its standard output. Its standard
/// error goes to the console.
fn test(results: &mut File, plan: &Plan, name: &str, path: &str) -> Result<()> {
    writeln!(results, "run {name}")?;
    let start = Instant::now();
    let mut command = Command::new(path);
    command
        .args(&plan.arguments)
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .env("TRACER_TEST_SKIPS", SKIPS)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let time = start.elapsed().as_millis();
            writeln!(results, "out {time} {}", String::from_utf8_lossy(&line))?;
        }
    }
    let status = child.wait()?;
    if Path::new(SKIPS).exists() {
        for line in fs::read_to_string(SKIPS)?.lines() {
            writeln!(results, "skip {line}")?;
        }
        fs::remove_file(SKIPS)?;
    }
    let code = status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string());
    writeln!(results, "end {name} {code}")?;
    Ok(())
}

/// Brings the interface `lo` up, as `ip link set lo up` does (rtnetlink(7)): sends
/// a `struct nlmsghdr` and a `struct ifinfomsg`. The kernel then assigns the
/// addresses.
fn loopback_up() -> Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const LOOPBACK: i32 = 1;
    const IFF_UP: u32 = 1;
    const LEN: u32 = 32;

    let mut message = Vec::new();
    message.extend(LEN.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port: the answer is not read.
    message.extend([0; 8]);
    // Family and type: any.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    // The flags and the mask of flags to change.
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Protocol 0 is NETLINK_ROUTE.
        None,
    )?;
    send(&socket, &message, SendFlags::empty())?;
    Ok(())
}
