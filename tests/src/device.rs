//! What looks like an Android device to the programs that run on it.
//!
//! The binary's own documentation (`src/bin/device.rs`) says what they see.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::sender::copy;

/// A device: what is in `/system`, `/data` and `/dev/socket`. It runs on this machine's
/// kernel.
pub struct Device {
    folder: TempDir,
    /// The program that makes it out of a folder.
    device: PathBuf,
}

impl Device {
    /// A new one, on which nothing is installed. `device` is
    /// `env!("CARGO_BIN_EXE_device")`.
    ///
    /// # Panics
    /// When the system's folder for temporary files cannot be written to.
    pub fn new(device: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("tracer-tests-").tempdir().expect("a folder");
        let device = Self { folder, device: device.into() };
        for path in ["system", "data/system", "data/app", "socket"] {
            fs::create_dir_all(device.folder.path().join(path)).expect("a folder");
        }
        // What every device has, and nothing else.
        fs::write(device.folder.path().join("system/build.prop"), "").expect("a file");
        device
    }

    /// Where a file of its `/data` is on this machine.
    pub fn data(&self, path: &str) -> PathBuf {
        self.folder.path().join("data").join(path)
    }

    /// Where one of `/dev/socket` is.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join("socket").join(name)
    }

    /// Replaces the list of packages, as Android does when something is
    /// installed.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn install(&self, list: &str) {
        let draft = self.data("system/packages.list.tmp");
        fs::write(&draft, list).expect("a list");
        fs::rename(&draft, self.data("system/packages.list")).expect("it is replaced");
    }

    /// The folder of an application, as the device has it and as this machine
    /// has it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn app(&self, package: &str) -> (PathBuf, PathBuf) {
        let folder = Path::new("app").join(package);
        let here = self.data(folder.to_str().expect("a package's name"));
        fs::create_dir_all(&here).expect("a folder");
        (Path::new("/data").join(folder), here)
    }

    /// Copies a program to an application's folder, where every UID can execute
    /// it, unless it is there; answers its path there, as the device has it.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn put(&self, package: &str, program: &Path) -> PathBuf {
        let (there, here) = self.app(package);
        let name = program.file_name().expect("a file's name");
        let copied = here.join(name);
        if !copied.exists() {
            copy(program, &copied);
        }
        there.join(name)
    }

    /// A root shell's command.
    pub fn root(&self, program: &Path) -> Command {
        self.command(&[], program)
    }

    /// The same, of a kernel that shows no type information.
    pub fn root_without_btf(&self, program: &Path) -> Command {
        self.command(&["--no-btf"], program)
    }

    /// A process of an application's: the zygote has given it its UID and named
    /// it after the package.
    pub fn process(&self, name: &str, uid: u32, program: &Path) -> Command {
        self.command(&["--uid", &uid.to_string(), "--named", name], program)
    }

    fn command(&self, options: &[&str], program: &Path) -> Command {
        let mut command = Command::new(&self.device);
        command.args(options).arg(self.folder.path()).arg(program).stdin(Stdio::null());
        command
    }
}
