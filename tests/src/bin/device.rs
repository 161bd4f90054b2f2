//! Runs a program on a simulated Android device.
//!
//! ```text
//! device [--uid UID] [--named NAME] [--no-btf] FOLDER PROGRAM ARGUMENT…
//! ```
//!
//! The program runs in a new mount namespace, whose root folder is this machine's,
//! except for
//!
//! ```text
//! /system        FOLDER/system
//! /data          FOLDER/data
//! /dev/socket    FOLDER/socket; of other devices only those that every process needs
//! ```
//!
//! `--no-btf` hides the kernel's type information. `--named` sets the program's
//! first argument, which is how Android's zygote names a process.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    mount::{
        MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
        mount_move,
    },
    process::chroot,
    thread::{UnshareFlags, unshare_unsafe},
};

/// Folders that do not come from this machine.
const REPLACED: [&str; 2] = ["system", "data"];

/// Devices that exist in `/dev`.
const DEVICES: [&str; 4] = ["null", "zero", "random", "urandom"];

/// Folder in which the kernel shows its type information.
const BTF: &str = "sys/kernel/btf";

fn main() -> Result<()> {
    let wanted = Wanted::read(env::args_os().skip(1))?;
    let root = wanted.folder.join("root");
    // SAFETY: no other thread exists whose view of the file system could change,
    // and file descriptors are unaffected.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("create a mount namespace")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("make mounts private")?;
    fs::create_dir_all(&root)?;
    mount("tmpfs", &root, "tmpfs", MountFlags::empty(), Some(c"mode=755"))?;
    // Otherwise the new root would be mounted again below itself.
    mount_change(&root, MountPropagationFlags::UNBINDABLE)?;

    mount_machine(&root).context("mount this machine's folders")?;
    for own in REPLACED {
        bind(&wanted.folder.join(own), &root.join(own))?;
    }
    create_devices(&root.join("dev"), &wanted.folder.join("socket")).context("create devices")?;
    if wanted.no_btf && root.join(BTF).is_dir() {
        mount("tmpfs", root.join(BTF), "tmpfs", MountFlags::RDONLY, None).context("hide BTF")?;
    }
    // As switch_root(8) does. pivot_root(2) fails if the root is an initramfs.
    // After a mere chroot(2), other namespaces would see longer paths for files
    // that are mapped here.
    env::set_current_dir(&root)?;
    mount_move(".", "/").context("move to the new root")?;
    chroot(".")?;
    env::set_current_dir("/")?;

    let mut command = Command::new(&wanted.program);
    command.args(&wanted.arguments);
    if let Some(name) = &wanted.name {
        command.arg0(name);
    }
    if let Some(uid) = wanted.uid {
        command.uid(uid).gid(uid);
    }
    Err(command.exec()).with_context(|| format!("execute {}", wanted.program.display()))
}

struct Wanted {
    uid: Option<u32>,
    name: Option<OsString>,
    no_btf: bool,
    folder: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Wanted {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let (mut uid, mut name, mut no_btf) = (None, None, false);
        let folder = loop {
            let argument = arguments.next().context("FOLDER is missing")?;
            match argument.to_str() {
                Some("--uid") => {
                    let text = arguments.next().context("--uid needs a UID")?;
                    uid = Some(text.to_string_lossy().parse().context("the UID is not a number")?);
                }
                Some("--named") => name = Some(arguments.next().context("--named needs a name")?),
                Some("--no-btf") => no_btf = true,
                Some(other) if other.starts_with('-') => bail!("unknown option: {other}"),
                _ => break PathBuf::from(argument),
            }
        };
        let program = arguments.next().context("PROGRAM is missing")?.into();
        Ok(Self { uid, name, no_btf, folder, program, arguments: arguments.collect() })
    }
}

/// Mounts the entries of this machine's root folder.
fn mount_machine(root: &Path) -> Result<()> {
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let (from, to) = (entry.path(), root.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, to)?;
        } else if kind.is_dir() && !is_replaced(&entry.file_name()) {
            fs::create_dir(&to)?;
            mount_bind_recursive(&from, &to).with_context(|| from.display().to_string())?;
        }
    }
    Ok(())
}

fn is_replaced(name: &OsStr) -> bool {
    name == "dev" || REPLACED.iter().any(|own| name == *own)
}

fn create_devices(dev: &Path, sockets: &Path) -> Result<()> {
    for name in DEVICES {
        let (from, to) = (Path::new("/dev").join(name), dev.join(name));
        fs::create_dir_all(dev)?;
        File::create(&to)?;
        mount_bind(from, to)?;
    }
    bind(sockets, &dev.join("socket"))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    mount_bind(from, to).with_context(|| from.display().to_string())
}
