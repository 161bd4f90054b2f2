//! QEMU: finds or installs it, boots a guest, and waits for its end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{arch::Arch, setup, shell, ui::Ui};

/// Executes a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// KVM if a trial boot with it succeeds, else TCG.
    Auto,
    /// On the processor itself.
    Kvm,
    /// By translation, which is slow and works everywhere.
    Tcg,
}

/// QEMU for an architecture.
#[derive(Clone)]
pub(super) struct Qemu {
    program: PathBuf,
    /// util-linux's `setpriv`. It makes the kernel end QEMU when this process ends.
    setpriv: Option<PathBuf>,
    pub(super) arch: Arch,
    kvm: bool,
}

/// Its arguments.
const TIE: [&str; 2] = ["--pdeathsig", "KILL"];

/// Processor that TCG emulates. `max` has all features that it supports. Without `erms`
/// and `fsrm` the kernel copies words: TCG translates `rep movsb` into a loop over
/// bytes, which took half of the time.
const X86_64_BY_TCG: &str = "max,-erms,-fsrm";

/// Nice value of guests: that of builds, since other guests wait for one.
const NICE: &str = "10";

/// A guest to boot.
pub(super) struct Guest<'a> {
    pub(super) vmlinuz: &'a Path,
    pub(super) initramfs: &'a Path,
    /// Folder for the console's log and the results.
    pub(super) folder: &'a Path,
    pub(super) limits: Limits,
}

/// Limits after which a guest is ended.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Total time.
    pub(super) all: Duration,
    /// Time without output.
    pub(super) silence: Duration,
}

/// The result of a boot.
pub(super) struct Boot {
    pub(super) results: String,
    /// The reason why it was ended, if it did not end by itself.
    pub(super) killed: Option<String>,
    pub(super) time: Duration,
    pub(super) console: PathBuf,
}

impl Qemu {
    /// Finds QEMU, or installs it.
    ///
    /// # Errors
    /// If it is not available.
    pub(super) fn find_or_install(ui: &Ui, arch: Arch) -> Result<Self> {
        let name = format!("qemu-system-{}", arch.rust());
        if shell::on_path(&name).is_none() {
            setup::install_qemu(ui)?;
        }
        let program = shell::on_path(&name).with_context(|| format!("there is no {name}"))?;
        let setpriv = shell::on_path("setpriv")
            .filter(|path| shell::succeeds(Command::new(path).args(TIE).arg("true")));
        Ok(Self { program, setpriv, arch, kvm: false })
    }

    /// Returns the same with KVM, if the guest has this machine's architecture.
    pub(super) fn with_kvm(&self) -> Option<Self> {
        let possible = Arch::host().is_ok_and(|host| host == self.arch)
            && fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
        possible.then(|| Self { kvm: true, ..self.clone() })
    }

    pub(super) fn accel(&self) -> &'static str {
        if self.kvm { "KVM" } else { "TCG" }
    }

    /// The device to which the guest writes its results.
    pub(super) fn results_port(arch: Arch) -> &'static str {
        match arch {
            Arch::X86_64 => "/dev/ttyS1",
            // The console is ttyAMA0. The second port is on PCI, since not every QEMU gives
            // this machine two ports.
            Arch::Aarch64 => "/dev/ttyS0",
        }
    }

    /// Boots a guest and waits for its end.
    ///
    /// # Errors
    /// If QEMU cannot be started. A failure of the guest is not an error.
    pub(super) fn boot(&self, guest: &Guest<'_>) -> Result<Boot> {
        let (console, results) = (guest.folder.join("console.log"), guest.folder.join("results"));
        for path in [&console, &results] {
            fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
        }
        let start = Instant::now();
        let mut command = self.command(guest, &console, &results);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(guest.folder.join("qemu.log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let killed = wait(child, guest, &[&console, &results])?;
        let results = fs::read(&results).unwrap_or_default();
        let results = String::from_utf8_lossy(&results).into_owned();
        Ok(Boot { results, killed, time: start.elapsed(), console })
    }

    fn command(&self, guest: &Guest<'_>, console: &Path, results: &Path) -> Command {
        // Tests on this machine's kernel may run at the same time. They have priority,
        // since they mostly wait.
        let mut command = Command::new("nice");
        command.args(["-n", NICE]);
        if let Some(setpriv) = &self.setpriv {
            command.arg(setpriv).args(TIE);
        }
        command.arg(&self.program);
        // Panics and oopses reboot the machine, and -no-reboot makes QEMU end instead.
        let mut line = String::from("panic=-1 oops=panic rdinit=/init loglevel=5 ");
        match self.arch {
            Arch::X86_64 => {
                command.args(["-M", "q35"]);
                command.args(["-cpu", if self.kvm { "host" } else { X86_64_BY_TCG }]);
                line += "console=ttyS0";
            }
            Arch::Aarch64 => {
                command.args(["-M", "virt,gic-version=3"]);
                command.args(["-cpu", if self.kvm { "host" } else { "cortex-a72" }]);
                line += "console=ttyAMA0";
            }
        }
        command.args(["-accel", if self.kvm { "kvm" } else { "tcg,thread=multi" }]);
        command.args(["-smp", "2", "-m", "1024", "-display", "none", "-monitor", "none"]);
        command.args(["-nodefaults", "-no-reboot"]);
        command.arg("-kernel").arg(guest.vmlinuz);
        command.arg("-initrd").arg(guest.initramfs);
        command.args(["-append", &line]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        match self.arch {
            Arch::X86_64 => {
                command.arg("-serial").arg(format!("file:{}", results.display()));
            }
            Arch::Aarch64 => {
                command.arg("-chardev").arg(format!("file,id=results,path={}", results.display()));
                command.args(["-device", "pci-serial,chardev=results"]);
            }
        }
        command
    }
}

/// Waits for QEMU's end. Ends it if the guest reaches a limit, and then returns the
/// reason.
fn wait(mut child: Child, guest: &Guest<'_>, outputs: &[&Path]) -> Result<Option<String>> {
    let said = || outputs.iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum();
    let start = Instant::now();
    let mut last: (u64, Instant) = (0, start);
    let reason = loop {
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        let now = said();
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() > guest.limits.silence {
            break format!("it printed nothing for {} s", guest.limits.silence.as_secs());
        }
        if start.elapsed() > guest.limits.all {
            break format!("it did not end within {} s", guest.limits.all.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    };
    child.kill()?;
    child.wait()?;
    Ok(Some(reason))
}
