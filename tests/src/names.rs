//! Programs that resolve the names of the tests to this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::web::{ADS, COLLECTOR, NEWS, TRACKER};

/// Writes a `hosts` file with the tests' names into a folder, for [`command`].
///
/// # Panics
/// Panics if the file cannot be written.
pub fn write_hosts(folder: &Path) -> PathBuf {
    let hosts = folder.join("hosts");
    let names = format!("127.0.0.1 localhost {NEWS} {TRACKER} {COLLECTOR} {ADS}\n");
    fs::write(&hosts, names).expect("the names of the tests");
    hosts
}

/// Returns a command that runs `program` as the user `uid`, or as root, in a mount namespace in
/// which `hosts` is the machine's file of names. Root alone can run it.
pub fn command(hosts: &Path, uid: Option<u32>, program: &str) -> Command {
    const RUN: &str = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", RUN, "sh"]).arg(hosts);
    if let Some(uid) = uid {
        let user = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()];
        command.arg("setpriv").args(user);
    }
    command.arg(program);
    command
}
