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

/// How a guest's instructions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// KVM if a trial boot with it succeeds, else TCG.
    Auto,
    /// By the processor itself.
    Kvm,
    /// Translated: slow, and everywhere.
    Tcg,
}

/// QEMU for an architecture.
#[derive(Clone)]
pub(super) struct Qemu {
    program: PathBuf,
    /// util-linux's `setpriv`, by which the kernel ends QEMU when this process
    /// ends, however that comes about.
    setpriv: Option<PathBuf>,
    pub(super) arch: Arch,
    kvm: bool,
}

/// Has [`Qemu::setpriv`] do so.
const TIE: [&str; 2] = ["--pdeathsig", "KILL"];

/// What processor TCG is to be. `max` has all that it can translate. Without
/// `erms` and `fsrm` the kernel copies by words: TCG translates `rep movsb`
/// into a loop of single bytes, which took half of all time.
const X86_64_BY_TCG: &str = "max,-erms,-fsrm";

/// Nice value of guests. At 5 a guest still gets a quarter of a processor that
/// somebody else keeps busy.
const NICE: &str = "5";

/// What to boot.
pub(super) struct Guest<'a> {
    pub(super) vmlinuz: &'a Path,
    pub(super) initramfs: &'a Path,
    /// Gets the console's log and the results.
    pub(super) folder: &'a Path,
    pub(super) limits: Limits,
}

/// When a guest is given up.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// How long it may take.
    pub(super) all: Duration,
    /// How long it may say nothing.
    pub(super) silence: Duration,
}

/// What a guest left.
pub(super) struct Boot {
    pub(super) results: String,
    /// Why it did not end by itself.
    pub(super) killed: Option<String>,
    pub(super) time: Duration,
    pub(super) console: PathBuf,
}

impl Qemu {
    /// # Errors
    /// When it is neither here nor to be had.
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

    /// The same with KVM, where the guest's instructions are this machine's.
    pub(super) fn with_kvm(&self) -> Option<Self> {
        let possible = Arch::host().is_ok_and(|host| host == self.arch)
            && fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
        possible.then(|| Self { kvm: true, ..self.clone() })
    }

    pub(super) fn accel(&self) -> &'static str {
        if self.kvm { "KVM" } else { "TCG" }
    }

    /// The device that the guest writes its results to.
    pub(super) fn results_port(arch: Arch) -> &'static str {
        match arch {
            Arch::X86_64 => "/dev/ttyS1",
            // The console is ttyAMA0; the second port is on PCI, as not every
            // QEMU gives this machine two of its own.
            Arch::Aarch64 => "/dev/ttyS0",
        }
    }

    /// Boots and waits.
    ///
    /// # Errors
    /// When QEMU cannot be started. Whatever the guest does is no error here.
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
        // The tests on this machine's kernel, which may run beside, go first: they
        // mostly wait, and their clients are not emulated.
        let mut command = Command::new("nice");
        command.args(["-n", NICE]);
        if let Some(setpriv) = &self.setpriv {
            command.arg(setpriv).args(TIE);
        }
        command.arg(&self.program);
        // Both panics and oopses end the machine: -no-reboot turns the reboot
        // that they ask for into QEMU's end.
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

/// Waits for QEMU's end, and ends it where the guest takes too long or has
/// nothing more to say. Returns the reason then.
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
            break format!("it said nothing for {} s", guest.limits.silence.as_secs());
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
