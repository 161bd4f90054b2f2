//! Processes come into scope by what they execute or whose children they are,
//! in the kernel, so that a browser's first send is never missed.

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

/// Room for the names that exec is matched by; a CPU's program uses its own.
#[map]
static NAMES: Array<Names> = Array::with_max_entries(1, 0);

#[repr(C)]
struct Names {
    /// As executed: a path, absolute or not.
    executed: ExeName,
    /// A last path component.
    last: ExeName,
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`,
/// run on Linux 5.10 to 7.2. Threads are forks too: they share the TGID.
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
/// run on Linux 5.10 to 7.2. Runs after the new program is in place and
/// before it runs.
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
    // Its libraries are mapped without a system call, and some were before.
    tls::mapped();
    0
}

/// `sched_process_exit(struct task_struct *p)`, with a further argument from
/// Linux 6.16 on. Runs for each thread, after the count of live ones fell.
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

/// Puts a process under a policy: `args[0]` is its TGID, `args[1]` the slot.
/// Never attached; the daemon runs it (`BPF_PROG_TEST_RUN`, Linux 5.10), so
/// that only the kernel writes to the scope map and no byte of it is written
/// from a stale copy.
#[raw_tracepoint]
fn set_scope(ctx: RawTracePointContext) -> i32 {
    scope::set_tgid(ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1) as u8);
    0
}

/// An executable matches by its file, by the name it was executed by (whole or
/// its last component: a script's own name, a link's), or by its file's name.
#[inline(always)]
fn slot_of_exec(bprm: Kernel) -> Option<u32> {
    let file = bprm.pointer(offset!(exec.file))?;
    if let Some(slot) = inode_of(file).and_then(|inode| scope::slot_of_inode(&inode)) {
        return Some(slot);
    }

    // SAFETY: has no preconditions.
    let names = NAMES.get_ptr_mut(unsafe { bpf_get_smp_processor_id() })?;
    // SAFETY: the slot is this CPU's, and exec is not traced from interrupts.
    let names = unsafe { &mut *names };

    names.executed = [0; EXE_NAME_LEN];
    let filename = bprm.pointer(offset!(exec.filename))?;
    read_name(&mut names.executed, filename);
    if let Some(slot) = scope::slot_of_exe(&names.executed) {
        return Some(slot);
    }
    // Backwards: each iteration then leaves the loop with one more known
    // result, where a loop that remembers the last slash would have the
    // verifier walk every combination.
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

/// Reads a string; nothing where it cannot be read.
#[inline(always)]
fn read_name(name: &mut ExeName, from: Kernel) {
    // SAFETY: writes at most the array's length.
    unsafe {
        bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), EXE_NAME_LEN as u32, from.0 as *const _)
    };
}
