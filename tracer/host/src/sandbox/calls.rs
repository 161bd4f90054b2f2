//! Restricts the system calls, with seccomp.
//!
//! Calls that are not listed fail with EPERM, so that a library that tries an optional one goes
//! on. Calls of another architecture (32-bit calls of a 64-bit process) end the process.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What a process may do besides computing and using open descriptors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rights {
    /// Open, create, rename and remove files. Landlock restricts which ones.
    pub(super) paths: bool,
    /// Start threads.
    pub(super) threads: bool,
    /// Send and receive on connected sockets, and connect two to each other.
    pub(super) sockets: bool,
    /// Accept connections.
    pub(super) listeners: bool,
}

/// Calls that are permitted with any arguments: they use memory and descriptors that the process
/// already has, and its own threads.
const ALWAYS: &[c_long] = &[
    // Descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_ppoll,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    // Memory. `mmap` and `mprotect` are restricted below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads and signals of this process.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Questions about the process itself.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// Older forms of these calls, which libraries still use where they exist.
#[cfg(target_arch = "x86_64")]
const ALWAYS_OLD: &[c_long] =
    &[libc::SYS_poll, libc::SYS_stat, libc::SYS_lstat, libc::SYS_epoll_wait, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_OLD: &[c_long] = &[];

/// `renameat`, which the crate `libc` lacks for glibc on 64-bit Arm.
#[cfg(target_arch = "aarch64")]
const RENAMEAT: c_long = 38;
#[cfg(not(target_arch = "aarch64"))]
const RENAMEAT: c_long = libc::SYS_renameat;

/// Calls for [`Rights::paths`].
const PATHS: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    RENAMEAT,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
];

#[cfg(target_arch = "x86_64")]
const PATHS_OLD: &[c_long] =
    &[libc::SYS_open, libc::SYS_readlink, libc::SYS_access, libc::SYS_rename, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const PATHS_OLD: &[c_long] = &[];

/// Restricts the system calls of the calling thread, and of the threads that it starts.
pub(super) fn restrict(rights: Rights) -> Result<Option<String>, String> {
    if rights.threads {
        // A C library tries `clone3` first, whose arguments a filter cannot see, and falls back to
        // `clone` only if the call does not exist.
        let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        apply(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    }
    let rules = allowed(rights).map_err(|err| err.to_string())?;
    apply(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?;
    Ok(None)
}

/// Further calls that a capture needs once its programs are attached.
const CAPTURE: &[c_long] = &[
    // Programs, maps and probes.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    // Files of processes and profiles, and the list of packages.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // The decoder, and the process that analyzes files.
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    // Threads, which are restricted as well.
    libc::SYS_pipe2,
    libc::SYS_dup3,
    libc::SYS_sched_setaffinity,
    libc::SYS_getppid,
    libc::SYS_tgkill,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_capget,
];

/// Restricts the system calls of the whole process to those that a capture needs.
pub(super) fn restrict_capture() -> Result<(), String> {
    let rights = Rights { threads: true, sockets: true, ..Rights::default() };
    let mut rules = allowed(rights).map_err(|err| err.to_string())?;
    for call in CAPTURE.iter().chain(PATHS_OLD.iter().filter(|call| is_reading(**call))) {
        rules.insert(*call, Vec::new());
    }
    // Any question to a file, but nothing is typed into a terminal.
    let typing = [libc::TIOCSTI as c_int, libc::TIOCLINUX as c_int].map(|request| {
        let request = u64::from(request as u32);
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, request)
    });
    let typing = typing.into_iter().collect::<Result<Vec<_>, _>>().and_then(|all| rule(&all));
    rules.insert(libc::SYS_ioctl, vec![typing.map_err(|err| err.to_string())?]);
    // Of this process only, to read a limit or change it.
    rules.insert(libc::SYS_prlimit64, vec![own_limits().map_err(|err| err.to_string())?]);
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let no_clone3 = SeccompAction::Errno(libc::ENOSYS as u32);
    apply_with(clone3, SeccompAction::Allow, no_clone3, seccompiler::apply_filter_all_threads)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    apply_with(rules, refused, SeccompAction::Allow, seccompiler::apply_filter_all_threads)
}

#[cfg(target_arch = "x86_64")]
fn is_reading(call: c_long) -> bool {
    [libc::SYS_open, libc::SYS_readlink, libc::SYS_access].contains(&call)
}

#[cfg(not(target_arch = "x86_64"))]
fn is_reading(_: c_long) -> bool {
    false
}

fn own_limits() -> Result<SeccompRule, BackendError> {
    let itself = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?;
    rule(&[itself])
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn apply(rules: Rules, otherwise: SeccompAction, matching: SeccompAction) -> Result<(), String> {
    apply_with(rules, otherwise, matching, seccompiler::apply_filter)
}

fn apply_with(
    rules: Rules,
    otherwise: SeccompAction,
    matching: SeccompAction,
    install: impl FnOnce(seccompiler::BpfProgramRef<'_>) -> seccompiler::Result<()>,
) -> Result<(), String> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|_| "unknown for this architecture".to_owned())?;
    let program: seccompiler::BpfProgram = SeccompFilter::new(rules, otherwise, matching, arch)
        .and_then(TryInto::try_into)
        .map_err(|err| err.to_string())?;
    install(&program).map_err(|err| match err {
        seccompiler::Error::Seccomp(err) | seccompiler::Error::Prctl(err) => err.to_string(),
        err => err.to_string(),
    })
}

/// Returns the permitted calls, with conditions on their arguments.
fn allowed(rights: Rights) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    for call in ALWAYS.iter().chain(ALWAYS_OLD) {
        rules.insert(*call, Vec::new());
    }
    if rights.paths {
        for call in PATHS.iter().chain(PATHS_OLD) {
            rules.insert(*call, Vec::new());
        }
    }
    // Memory never becomes executable.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(&[without(2, libc::PROT_EXEC)?])?]);
    }
    const CONTROLS: [c_int; 12] = [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD_CLOEXEC,
        // Locks of the store.
        libc::F_GETLK,
        libc::F_SETLK,
        libc::F_SETLKW,
        libc::F_OFD_GETLK,
        libc::F_OFD_SETLK,
        libc::F_OFD_SETLKW,
        // Asked by the standard library's writers.
        libc::F_GETPIPE_SZ,
    ];
    rules.insert(libc::SYS_fcntl, any(1, &CONTROLS)?);
    // Is it a terminal, and how wide? TIOCSTI, which types into it, is not among them.
    let questions = [libc::TCGETS as c_int, libc::TIOCGWINSZ as c_int, libc::FIONBIO as c_int];
    rules.insert(libc::SYS_ioctl, any(1, &questions)?);
    rules.insert(libc::SYS_prctl, any(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME])?);
    if rights.threads {
        // A new thread, and not a new process.
        let clone = rule(&[masked(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?])?;
        rules.insert(libc::SYS_clone, vec![clone]);
        // The other filter decides.
        rules.insert(libc::SYS_clone3, Vec::new());
    }
    if rights.sockets {
        // Without an address: only to the peer that the socket is connected to.
        rules.insert(libc::SYS_sendto, vec![rule(&[null(4)?])?]);
        rules.insert(libc::SYS_recvfrom, Vec::new());
        rules.insert(libc::SYS_recvmsg, Vec::new());
        rules.insert(libc::SYS_shutdown, Vec::new());
        // The runtime has one for signals.
        rules.insert(libc::SYS_socketpair, any(0, &[libc::AF_UNIX])?);
    }
    if rights.listeners {
        for call in [libc::SYS_accept4, libc::SYS_getpeername, libc::SYS_getsockname] {
            rules.insert(call, Vec::new());
        }
    }
    Ok(rules)
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.to_vec())
}

/// Rules that accept any of `values` as an argument.
fn any(argument: u8, values: &[c_int]) -> Result<Vec<SeccompRule>, BackendError> {
    let equal = |value: &c_int| {
        let condition = SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            u64::from(*value as u32),
        )?;
        rule(&[condition])
    };
    values.iter().map(equal).collect()
}

/// A condition that the bits of an argument in `mask` are `value`.
fn masked(argument: u8, mask: c_int, value: c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(u64::from(mask as u32)),
        u64::from(value as u32),
    )
}

fn without(argument: u8, mask: c_int) -> Result<SeccompCondition, BackendError> {
    masked(argument, mask, 0)
}

fn null(argument: u8) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}
