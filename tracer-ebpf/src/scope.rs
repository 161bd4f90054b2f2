//! Who is watched.
//!
//! Process ids and UIDs are small integers, so each has an array to look up
//! in, which costs a few nanoseconds where a hash costs a hundred or two. A
//! value in it is a slot of [`POLICIES`]; 0 is out of scope.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use tracer_ebpf::{
    Counter, ExeName, Inode, MAX_POLICIES, Policy, TGIDS_PER_PAGE, UID_SLOTS, UIDS_PER_USER,
};

use crate::{
    capture::count,
    kernel::{Task, read_only, setting},
};

/// What is captured, by slot.
#[map]
static POLICIES: Array<Policy> = Array::with_max_entries(MAX_POLICIES, 0);

/// A policy slot for every process id there can be, [`TGIDS_PER_PAGE`] a
/// page. The daemon sets the number of pages from `kernel.pid_max`.
#[map]
static SCOPE_TGID: Array<[u8; TGIDS_PER_PAGE as usize]> = Array::with_max_entries(8, 0);

/// Which UIDs may be in [`SCOPE_UID`], by their low 16 bits.
#[map]
static UID_FILTER: Array<[u8; UID_SLOTS as usize]> = Array::with_max_entries(1, 0);

/// Policy slots by UID. Only the daemon writes here.
#[map]
static SCOPE_UID: HashMap<u32, u32> = HashMap::with_max_entries(4096, 0);

/// Whether applications of Android are watched. The daemon writes it before
/// loading: where they are not, the verifier drops the look into [`SCOPE_APP`].
#[unsafe(no_mangle)]
static APPS: u32 = 0;

/// Policy slots by an application's id, whichever user runs it. Only the daemon
/// writes here, and sets the number of entries.
#[map]
static SCOPE_APP: Array<u8> = Array::with_max_entries(1, 0);

/// Policy slots by the name or path that is executed.
#[map]
static SCOPE_EXE: HashMap<ExeName, u32> = HashMap::with_max_entries(1024, 0);

/// Policy slots by executable file.
#[map]
static SCOPE_INODE: HashMap<Inode, u32> = HashMap::with_max_entries(1024, 0);

/// A process in scope.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    /// The policy's slot.
    pub(crate) slot: u32,
    /// The sender's real UID.
    pub(crate) uid: u32,
    /// The sender's process id.
    pub(crate) tgid: u32,
}

/// Whether the task is in scope, and under which policy. Its process id counts
/// before its UID, and that before the policy for everyone.
#[inline(always)]
pub(crate) fn of(task: Task) -> Option<Scope> {
    let tgid = task.tgid()?;
    let uid = task.uid()?;
    let slot = match slot_of_tgid(tgid).unwrap_or(0) {
        0 => match slot_of_uid(uid) {
            0 => match slot_of_app(uid) {
                0 => setting!(everyone),
                slot => slot,
            },
            slot => slot,
        },
        slot => u32::from(slot),
    };
    (slot != 0 && tgid != setting!(own_tgid)).then_some(Scope { slot, uid, tgid })
}

#[inline(always)]
fn slot_of_uid(uid: u32) -> u32 {
    let Some(filter) = UID_FILTER.get(0) else {
        return 0;
    };
    if filter[(uid % UID_SLOTS) as usize] == 0 {
        return 0;
    }
    // SAFETY: only the daemon writes to the map, whole aligned words.
    unsafe { SCOPE_UID.get(uid) }.copied().unwrap_or(0)
}

/// Users come and go; by the id alone, the next one's is watched as well.
#[inline(always)]
fn slot_of_app(uid: u32) -> u32 {
    if read_only(&raw const APPS) == 0 {
        return 0;
    }
    SCOPE_APP.get(uid % UIDS_PER_USER).map_or(0, |slot| u32::from(*slot))
}

#[inline(always)]
fn tgid_cell(tgid: u32) -> Option<*mut u8> {
    let page = SCOPE_TGID.get_ptr_mut(tgid / TGIDS_PER_PAGE)?;
    // SAFETY: the remainder lies in the page. One byte a process: two CPUs
    // that write at once write to different bytes.
    Some(unsafe { page.cast::<u8>().add((tgid % TGIDS_PER_PAGE) as usize) })
}

/// The policy slot of a process; `None` if its id lies beyond the map.
#[inline(always)]
pub(crate) fn slot_of_tgid(tgid: u32) -> Option<u8> {
    // SAFETY: `tgid_cell` points into the map.
    tgid_cell(tgid).map(|cell| unsafe { cell.read() })
}

/// Puts a process under a policy, or out of scope (slot 0).
#[inline(always)]
pub(crate) fn set_tgid(tgid: u32, slot: u8) {
    match tgid_cell(tgid) {
        // SAFETY: `tgid_cell` points into the map.
        Some(cell) => unsafe { cell.write(slot) },
        None => count(Counter::Unfollowed),
    }
}

/// The policy in a slot.
#[inline(always)]
pub(crate) fn policy(slot: u32) -> Option<Policy> {
    POLICIES.get(slot).copied()
}

/// The policy slot for an executable name or path.
#[inline(always)]
pub(crate) fn slot_of_exe(name: &ExeName) -> Option<u32> {
    // SAFETY: only the daemon writes to the map, whole aligned words.
    unsafe { SCOPE_EXE.get(name) }.copied()
}

/// The policy slot for an executable file.
#[inline(always)]
pub(crate) fn slot_of_inode(inode: &Inode) -> Option<u32> {
    // SAFETY: as above.
    unsafe { SCOPE_INODE.get(inode) }.copied()
}
