//! Occupies the hooks of a control group as Android's `netd` does: its programs are
//! attached without flags, so that no other program can be attached there or below
//! (bpf(2), `BPF_PROG_ATTACH`; kernel/bpf/cgroup.c).
//!
//! ```text
//! netd /sys/fs/cgroup
//! ```
//!
//! The programs let all traffic pass. `netd` verifies that the kernel refuses
//! another program, prints `holds N hooks`, and detaches its programs when its
//! standard input ends.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// A program type and its attach type (include/uapi/linux/bpf.h).
struct Hook {
    name: &'static str,
    program: u32,
    attach: u32,
}

/// The first three are attached by netd on every release that tracer supports, the
/// others from Android 15 on (AOSP, packages/modules/Connectivity,
/// `BpfHandler.cpp`).
const HOOKS: [Hook; 7] = [
    Hook { name: "ingress", program: 8, attach: 0 },
    Hook { name: "egress", program: 8, attach: 1 },
    Hook { name: "sock_create", program: 9, attach: 2 },
    Hook { name: "connect4", program: 18, attach: 10 },
    Hook { name: "connect6", program: 18, attach: 11 },
    Hook { name: "udp4_sendmsg", program: 18, attach: 14 },
    Hook { name: "udp6_sendmsg", program: 18, attach: 15 },
];

/// `r0 = 1; exit`: let the packet pass.
const PASS: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

/// Flag to attach in addition to the existing programs.
const ALLOW_MULTI: u32 = 2;

fn main() -> Result<()> {
    let group = PathBuf::from(
        std::env::args_os().nth(1).context("the path of a control group is missing")?,
    );
    let opened = File::open(&group).with_context(|| group.display().to_string())?;
    remove_memlock_limit()?;
    let mut held = Vec::new();
    for hook in &HOOKS {
        let program = load(hook).with_context(|| format!("load {}", hook.name))?;
        let attached = attach(&opened, &program, hook.attach, 0);
        attached.with_context(|| format!("attach {}", hook.name))?;
        held.push((hook, program));
    }
    let below = ChildGroup::new(&group)?;
    for (hook, program) in &held {
        for place in [&opened, &below.opened] {
            let other = attach(place, program, hook.attach, ALLOW_MULTI);
            let refused = other.as_ref().err().and_then(io::Error::raw_os_error);
            ensure!(refused == Some(libc::EPERM), "{} is not held: {other:?}", hook.name);
        }
    }
    println!("holds {} hooks", held.len());
    io::stdout().flush()?;
    io::stdin().read_line(&mut String::new())?;
    for (hook, program) in &held {
        detach(&opened, program, hook.attach).with_context(|| format!("detach {}", hook.name))?;
    }
    Ok(())
}

/// A child control group.
struct ChildGroup {
    path: PathBuf,
    opened: File,
}

impl ChildGroup {
    fn new(group: &Path) -> Result<Self> {
        let path = group.join(format!("below-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        let opened = File::open(&path)?;
        Ok(Self { path, opened })
    }
}

impl Drop for ChildGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// The fields of `union bpf_attr` for `BPF_PROG_LOAD` up to the last one used here.
/// The kernel takes the rest as zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    program: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

/// The fields of `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    group: i32,
    program: i32,
    attach: u32,
    flags: u32,
}

/// Removes the limit on locked memory. Up to Linux 5.10, programs count towards it,
/// together with all maps of the same user, also those of programs that have just
/// ended (kernel/bpf/syscall.c, `bpf_prog_charge_memlock`).
fn remove_memlock_limit() -> Result<()> {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel reads one such structure.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) };
    ensure!(answer == 0, "raise RLIMIT_MEMLOCK: {}", io::Error::last_os_error());
    Ok(())
}

fn load(hook: &Hook) -> io::Result<OwnedFd> {
    const BPF_PROG_LOAD: i32 = 5;
    let load = Load {
        program: hook.program,
        instructions: PASS.len() as u32,
        code: PASS.as_ptr().addr() as u64,
        license: c"GPL".as_ptr().addr() as u64,
        attach: hook.attach,
        ..Load::default()
    };
    let fd = bpf(BPF_PROG_LOAD, &load)?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns
    // it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach(group: &File, program: &OwnedFd, attach: u32, flags: u32) -> io::Result<()> {
    const BPF_PROG_ATTACH: i32 = 8;
    let (group, program) = (group.as_raw_fd(), program.as_raw_fd());
    bpf(BPF_PROG_ATTACH, &Attach { group, program, attach, flags }).map(drop)
}

fn detach(group: &File, program: &OwnedFd, attach: u32) -> io::Result<()> {
    const BPF_PROG_DETACH: i32 = 9;
    let (group, program) = (group.as_raw_fd(), program.as_raw_fd());
    bpf(BPF_PROG_DETACH, &Attach { group, program, attach, flags: 0 }).map(drop)
}

/// Calls bpf(2), which has no wrapper.
fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes, all of which are
    // initialized. Pointers among them point to constants.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as i32) }
}
