//! Gives up the user and the capabilities.

use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};

/// Users without rights, in the order of preference: a number that neither Debian's policy nor
/// systemd assigns, so that no other process runs as this user and could signal this one; and
/// `nobody`, for containers with few numbers.
const UNPRIVILEGED: [u32; 2] = [65_521, 65_534];

/// Changes to an unprivileged user and group, if the process is root.
pub(super) fn drop_user() -> Result<Option<String>, String> {
    if !geteuid().is_root() {
        // It could not change to another user, and does not need to.
        return Ok(Some(format!("stays UID {}", geteuid().as_raw())));
    }
    let mut reason = String::new();
    for id in UNPRIVILEGED {
        match change_user(id, id) {
            Ok(()) => return Ok(Some(format!("UID {id}"))),
            Err(err) => reason = err.to_string(),
        }
    }
    Err(format!("the process stays root: {reason}"))
}

/// Changes to the owner of a folder, if the process is root.
pub(super) fn become_owner(uid: u32, gid: u32) -> Result<Option<String>, String> {
    if !geteuid().is_root() {
        return Ok(Some(format!("stays UID {}", geteuid().as_raw())));
    }
    match change_user(uid, gid) {
        Ok(()) => Ok(Some(format!("UID {uid}"))),
        Err(err) => Err(format!("the process stays root: {err}")),
    }
}

fn change_user(uid: u32, gid: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// Prevents programs that are executed from gaining capabilities. The kernel permits this to
/// holders of CAP_SETPCAP only, so it precedes the other changes; `no_new_privs` has the same
/// effect for the others.
pub(super) fn empty_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
}

/// Capabilities that capturing needs:
///
/// | capability | purpose |
/// |---|---|
/// | `SYS_ADMIN`, or `BPF` and `PERFMON` | programs in the kernel |
/// | `SYS_ADMIN` | uprobes |
/// | `SYS_PTRACE`, `DAC_READ_SEARCH` | the files that processes of other users map; the list of packages |
/// | `SYS_RESOURCE` | limits of locked memory (before Linux 5.11) and of open files |
/// | `SETUID`, `SETGID`, `SETPCAP`, `KILL` | starting and ending a process without rights |
const CAPTURE: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SYS_RESOURCE)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::KILL);

/// Capabilities to start a process as another user, and to end it.
const SUPERVISION: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::KILL);

/// Gives up the capabilities that capturing does not need.
pub(super) fn keep_capture_capabilities() -> rustix::io::Result<()> {
    keep(CAPTURE)
}

/// Gives up the capabilities that are not needed to start processes.
pub(super) fn keep_supervision_capabilities() -> rustix::io::Result<()> {
    keep(SUPERVISION)
}

fn keep(wanted: CapabilitySet) -> rustix::io::Result<()> {
    for capability in CapabilitySet::all().difference(wanted).iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
    let CapabilitySets { effective, permitted, inheritable } = capabilities(None)?;
    let kept = CapabilitySets {
        effective: effective & wanted,
        permitted: permitted & wanted,
        inheritable: inheritable & wanted,
    };
    set_capabilities(None, kept)
}

/// Gives up all capabilities.
pub(super) fn drop_capabilities() -> Result<Option<String>, String> {
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(|err| err.to_string())?;
    Ok(None)
}
