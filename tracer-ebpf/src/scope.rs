//! Decides which processes are watched.
//!
//! Process ids and UIDs are small integers, so both are looked up in arrays: that
//! takes a few nanoseconds, where a hash map takes one or two hundred. The values
//! are slots of [`POLICIES`]; 0 means out of scope.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use tracer_ebpf::{
    Counter, EXEMPT_SLOT, ExeName, Inode, MAX_POLICIES, Policy, TGIDS_PER_PAGE, UID_SLOTS,
    UIDS_PER_USER,
};

use crate::{
    counters::count,
    kernel::{Task, read_only, setting},
};

/// Policies by slot.
#[map]
static POLICIES: Array<Policy> = Array::with_max_entries(MAX_POLICIES, 0);

/// The policy slot of every possible process id, [`TGIDS_PER_PAGE`] to a page.
/// The daemon derives the number of pages from `kernel.pid_max`.
#[map]
static SCOPE_TGID: Array<[u8; TGIDS_PER_PAGE as usize]> = Array::with_max_entries(8, 0);

/// Nonzero for UIDs that may be in [`SCOPE_UID`], by their low 16 bits.
#[map]
static UID_FILTER: Array<[u8; UID_SLOTS as usize]> = Array::with_max_entries(1, 0);

/// Policy slots by UID. Only the daemon writes to it.
#[map]
static SCOPE_UID: HashMap<u32, u32> = HashMap::with_max_entries(4096, 0);

/// 1 if Android applications are watched. The daemon writes it before loading:
/// if it is 0, the verifier removes the lookup in [`SCOPE_APP`].
#[unsafe(no_mangle)]
static APPS: u32 = 0;

/// Policy slots by Android application id, which is the same for every user. Only
/// the daemon writes to it, and sets the number of entries.
#[map]
static SCOPE_APP: Array<u8> = Array::with_max_entries(1, 0);

/// Policy slots by the name or path of an executable.
#[map]
static SCOPE_EXE: HashMap<ExeName, u32> = HashMap::with_max_entries(1024, 0);

/// Policy slots by executable file.
#[map]
static SCOPE_INODE: HashMap<Inode, u32> = HashMap::with_max_entries(1024, 0);

/// A process in scope.
#[derive(Clone, Copy)]
pub(crate) struct WatchedProcess {
    /// Slot of the policy that applies.
    pub(crate) slot: u32,
    /// Real UID.
    pub(crate) uid: u32,
    /// Process id.
    pub(crate) tgid: u32,
}

impl WatchedProcess {
    /// Returns it as numbers, the only arguments of a global function.
    #[inline(always)]
    pub(crate) fn to_scalars(self) -> [u64; 2] {
        [u64::from(self.slot) << 32 | u64::from(self.uid), u64::from(self.tgid)]
    }

    #[inline(always)]
    pub(crate) fn from_scalars([ids, tgid]: [u64; 2]) -> Self {
        Self { slot: (ids >> 32) as u32, uid: ids as u32, tgid: tgid as u32 }
    }
}

/// Returns the task's process if it is in scope. A policy for its process id
/// takes precedence over one for its UID or application, and these over the
/// policy for everyone.
#[inline(always)]
pub(crate) fn watched(task: Task) -> Option<WatchedProcess> {
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
    (slot != 0 && slot != EXEMPT_SLOT).then_some(WatchedProcess { slot, uid, tgid })
}

#[inline(always)]
fn slot_of_uid(uid: u32) -> u32 {
    let Some(filter) = UID_FILTER.get(0) else {
        return 0;
    };
    if filter[(uid % UID_SLOTS) as usize] == 0 {
        return 0;
    }
    // SAFETY: only the daemon writes to the map, and only whole aligned words.
    unsafe { SCOPE_UID.get(uid) }.copied().unwrap_or(0)
}

/// Returns the policy slot of the Android application with this UID. The lookup
/// ignores the user, so that users who are added later are covered.
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
    // SAFETY: the remainder is within the page. Each process has its own byte, so
    // CPUs that write at the same time write to different bytes.
    Some(unsafe { page.cast::<u8>().add((tgid % TGIDS_PER_PAGE) as usize) })
}

/// Returns the policy slot of a process; `None` if its id is beyond the map.
#[inline(always)]
pub(crate) fn slot_of_tgid(tgid: u32) -> Option<u8> {
    // SAFETY: `tgid_cell` points into the map.
    tgid_cell(tgid).map(|cell| unsafe { cell.read() })
}

/// Sets the policy slot of a process; slot 0 puts it out of scope.
#[inline(always)]
pub(crate) fn set_tgid(tgid: u32, slot: u8) {
    match tgid_cell(tgid) {
        // SAFETY: `tgid_cell` points into the map.
        Some(cell) => unsafe { cell.write(slot) },
        None => count(Counter::Unfollowed),
    }
}

/// Returns the policy in a slot.
#[inline(always)]
pub(crate) fn policy(slot: u32) -> Option<Policy> {
    POLICIES.get(slot).copied()
}

/// Returns the policy slot for an executable's name or path.
#[inline(always)]
pub(crate) fn slot_of_exe(name: &ExeName) -> Option<u32> {
    // SAFETY: only the daemon writes to the map, and only whole aligned words.
    unsafe { SCOPE_EXE.get(name) }.copied()
}

/// Returns the policy slot for an executable file.
#[inline(always)]
pub(crate) fn slot_of_inode(inode: &Inode) -> Option<u32> {
    // SAFETY: as above.
    unsafe { SCOPE_INODE.get(inode) }.copied()
}
