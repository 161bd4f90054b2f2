//! A simulated Android device.
//!
//! `src/bin/device.rs` documents what programs see on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::sender::copy;

/// A simulated Android device: its `/system`, `/data` and `/dev/socket`. It uses
/// this machine's kernel.
pub struct Device {
    folder: TempDir,
    /// Path of the `device` binary, which enters the simulated device.
    device: PathBuf,
}

impl Device {
    /// Creates a device with no application installed. `device` is
    /// `env!("CARGO_BIN_EXE_device")`.
    ///
    /// # Panics
    /// Panics if the system's temporary folder cannot be written to.
    pub fn new(device: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("tracer-tests-").tempdir().expect("a folder");
        let device = Self { folder, device: device.into() };
        for path in ["system", "data/system", "data/app", "socket"] {
            fs::create_dir_all(device.folder.path().join(path)).expect("a folder");
        }
        // Every Android device has this file, and no other system does.
        fs::write(device.folder.path().join("system/build.prop"), "").expect("a file");
        device
    }

    /// Returns the path on this machine of a file in the device's `/data`.
    pub fn data(&self, path: &str) -> PathBuf {
        self.folder.path().join("data").join(path)
    }

    /// Returns the path on this machine of a socket in the device's `/dev/socket`.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join("socket").join(name)
    }

    /// Replaces the list of packages, as Android does when an application is
    /// installed.
    ///
    /// # Panics
    /// Panics if the list cannot be written.
    pub fn replace_package_list(&self, list: &str) {
        let draft = self.data("system/packages.list.tmp");
        fs::write(&draft, list).expect("a list");
        fs::rename(&draft, self.data("system/packages.list")).expect("a renamed file");
    }

    /// Creates the folder of an application. Returns its path on the device and its
    /// path on this machine.
    ///
    /// # Panics
    /// Panics if the folder cannot be created.
    pub fn app_folder(&self, package: &str) -> (PathBuf, PathBuf) {
        let folder = Path::new("app").join(package);
        let here = self.data(folder.to_str().expect("a package's name"));
        fs::create_dir_all(&here).expect("a folder");
        (Path::new("/data").join(folder), here)
    }

    /// Copies a program to an application's folder, executable by every UID, unless
    /// it is already there. Returns its path on the device.
    ///
    /// # Panics
    /// Panics if the program cannot be copied.
    pub fn copy_program(&self, package: &str, program: &Path) -> PathBuf {
        let (there, here) = self.app_folder(package);
        let name = program.file_name().expect("a file's name");
        let copied = here.join(name);
        if !copied.exists() {
            copy(program, &copied);
        }
        there.join(name)
    }

    /// Returns a command that a root shell runs.
    pub fn root_command(&self, program: &Path) -> Command {
        self.command(&[], program)
    }

    /// Returns a command that a root shell runs on a kernel without type
    /// information (BTF).
    pub fn root_command_without_btf(&self, program: &Path) -> Command {
        self.command(&["--no-btf"], program)
    }

    /// Returns a command that runs as an application's process, with the UID and
    /// the package name that the zygote gives to it.
    pub fn app_command(&self, name: &str, uid: u32, program: &Path) -> Command {
        self.command(&["--uid", &uid.to_string(), "--named", name], program)
    }

    fn command(&self, options: &[&str], program: &Path) -> Command {
        let mut command = Command::new(&self.device);
        command.args(options).arg(self.folder.path()).arg(program).stdin(Stdio::null());
        command
    }
}
