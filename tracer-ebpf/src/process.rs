//! Follows fork, exec and exit in the kernel, so that a watched browser's first
//! send is never missed.

use aya_ebpf::{
    helpers::generated::{bpf_get_smp_processor_id, bpf_probe_read_kernel_str},
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};
use aya_log_ebpf::debug;
use tracer_ebpf::{EXE_NAME_LEN, ExeName, Inode};

use crate::{
    kernel::{Kernel, offset},
    scope, tls,
};

/// Buffers for the names that exec is matched by, one for each CPU.
#[map]
static NAMES: Array<Names> = Array::with_max_entries(1, 0);

#[repr(C)]
struct Names {
    /// The path passed to `execve`, absolute or not.
    executed: ExeName,
    /// The last component of a path.
    last: ExeName,
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`,
/// run on Linux 5.10 to 7.2. Also fires for new threads, which share the TGID.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn sched_process_fork(ctx: RawTracePointContext) -> i32 {
    let parent = Kernel(ctx.arg(0));
    let child = Kernel(ctx.arg(1));
    let inherit = || {
        let parent: u32 = parent.read(offset!(task.tgid))?;
        let slot = scope::slot_of_tgid(parent)?;
        if slot == 0 || scope::policy(u32::from(slot))?.inherit == 0 {
            return None;
        }
        let child: u32 = child.read(offset!(task.tgid))?;
        if child != parent {
            scope::set_tgid(child, slot);
        }
        Some(())
    };
    let _ = inherit();
    0
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`,
/// run on Linux 5.10 to 7.2. Fires when the new program is in place and has not
/// started yet.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    let task = Kernel(ctx.arg(0));
    let bprm = Kernel(ctx.arg(2));
    if let Some(slot) = slot_of_exec(bprm)
        && let Some(tgid) = task.read(offset!(task.tgid))
    {
        scope::set_tgid(tgid, slot as u8);
        debug!(&ctx, "process {} comes into scope by its executable (policy {})", tgid, slot);
    }
    // The program and its interpreter are mapped without a system call.
    tls::notify_mapped();
    0
}

/// `sched_process_exit(struct task_struct *p)`, with one more argument since
/// Linux 6.16. Fires for each thread, after the count of live threads is reduced.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    let task = Kernel(ctx.arg(0));
    let forget = || {
        let tgid: u32 = task.read(offset!(task.tgid))?;
        if scope::slot_of_tgid(tgid)? == 0 {
            return None;
        }
        let live: i32 = task.pointer(offset!(task.signal))?.read(offset!(task.signal_live))?;
        if live == 0 {
            scope::set_tgid(tgid, 0);
        }
        Some(())
    };
    let _ = forget();
    0
}

/// Sets the policy of a process: `args[0]` is its TGID, `args[1]` the slot.
///
/// Never attached. The daemon runs it (`BPF_PROG_TEST_RUN`, Linux 5.10), so that
/// only the kernel writes to the scope map: the daemon could only write a whole
/// page, and would overwrite the kernel's changes with a stale copy.
#[raw_tracepoint]
fn set_scope(ctx: RawTracePointContext) -> i32 {
    scope::set_tgid(ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1) as u8);
    0
}

/// Returns the policy slot of an executable. It matches by its file, by the path
/// that was executed (the whole path or its last component, which is the
/// script's or the link's own name), or by the name of its file.
#[inline(always)]
fn slot_of_exec(bprm: Kernel) -> Option<u32> {
    let file = bprm.pointer(offset!(exec.file))?;
    if let Some(slot) = inode_of(file).and_then(|inode| scope::slot_of_inode(&inode)) {
        return Some(slot);
    }

    // SAFETY: has no preconditions.
    let names = NAMES.get_ptr_mut(unsafe { bpf_get_smp_processor_id() })?;
    // SAFETY: the slot belongs to this CPU, and exec is not traced from interrupts.
    let names = unsafe { &mut *names };

    names.executed = [0; EXE_NAME_LEN];
    let filename = bprm.pointer(offset!(exec.filename))?;
    read_name(&mut names.executed, filename);
    if let Some(slot) = scope::slot_of_exe(&names.executed) {
        return Some(slot);
    }
    // Searching backwards lets the loop end at the first slash. A loop that
    // remembers the last slash would make the verifier explore every combination.
    for i in (0..EXE_NAME_LEN - 1).rev() {
        if names.executed[i] == b'/' {
            names.last = [0; EXE_NAME_LEN];
            read_name(&mut names.last, Kernel(filename.0 + i as u64 + 1));
            if let Some(slot) = scope::slot_of_exe(&names.last) {
                return Some(slot);
            }
            break;
        }
    }
    names.last = [0; EXE_NAME_LEN];
    let dentry = file.pointer(offset!(exec.file_dentry))?;
    read_name(&mut names.last, dentry.pointer(offset!(exec.dentry_name))?);
    scope::slot_of_exe(&names.last)
}

#[inline(always)]
fn inode_of(file: Kernel) -> Option<Inode> {
    let inode = file.pointer(offset!(file.inode))?;
    let dev: u32 = inode.pointer(offset!(file.inode_sb))?.read(offset!(file.sb_dev))?;
    Some(Inode { dev: u64::from(dev), ino: inode.read(offset!(file.inode_ino))? })
}

/// Reads a string into a zeroed `name`, which stays empty if it cannot be read.
#[inline(always)]
fn read_name(name: &mut ExeName, from: Kernel) {
    // SAFETY: writes at most the array's length.
    unsafe {
        bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), EXE_NAME_LEN as u32, from.0 as *const _)
    };
}
