//! `cargo xtask vm`: the kernel's tests, on other kernels.
//!
//! ```text
//! kernels ── vmlinuz ──────────────────┐
//! guest ──── tests, built static ── cpio ── qemu ──┬─ console.log
//!            Debian's busybox, …                   └─ results ── table
//! ```
//!
//! A guest has passed when it said so to its end: a panic, a hang, silence, a
//! test without an outcome and a missing last line are failures.

mod cpio;
mod gki;
mod guest;
mod kernels;
mod qemu;
mod results;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

pub(crate) use self::{
    guest::{PROFILE, size},
    qemu::Accel,
};
use self::{
    guest::{System, TESTS},
    kernels::{Image, Kernel},
    qemu::{Boot, Guest, Qemu},
    results::{Outcome, Results},
};
use crate::{arch::Arch, ui::Ui, workspace::Workspace};

/// Which kernels to boot.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Boot this kernel, or those whose name holds this (`--list` shows them)
    #[arg(long, value_name = "NAME")]
    kernel: Vec<String>,
    /// Boot the kernels of this architecture only
    #[arg(long)]
    arch: Option<Arch>,
    /// Boot every kernel, not only those of `cargo xtask test --kernels`
    #[arg(long)]
    all: bool,
    /// How the guest's instructions are run
    #[arg(long, default_value = "auto")]
    accel: Accel,
    /// List the kernels
    #[arg(long)]
    list: bool,
    /// Build the kernel that is configured like Android's, which takes long
    #[arg(long)]
    build_gki: bool,
    /// Run only the tests whose name holds this
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Does what the command line says.
///
/// # Errors
/// When no kernel could be booted.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, options: &Options) -> Result<ExitCode> {
    if options.list {
        for kernel in &kernels::ALL {
            let mark = if kernel.in_ci { "test" } else { "" };
            println!("{:20} {mark:5} {}", kernel.name, kernel.describe());
        }
        return Ok(ExitCode::SUCCESS);
    }
    crate::setup::run(workspace, ui)?;
    if options.build_gki {
        gki::build(workspace, ui)?;
        return Ok(ExitCode::SUCCESS);
    }
    let kernels = options.kernels()?;
    let matrix = matrix(workspace, ui, &kernels, options.accel, &options.arguments);
    println!("{}", matrix.table());
    for line in matrix.failures.iter().chain(&matrix.left_out) {
        ui.say(&format!("FAILED {line}"));
    }
    let good = matrix.failures.is_empty() && matrix.left_out.is_empty() && matrix.passed > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn kernels(&self) -> Result<Vec<Kernel>> {
        let named = |kernel: &Kernel| {
            let exact = self.kernel.iter().any(|name| name == kernel.name);
            // A whole name means that one, and not those that it begins.
            let parts = self
                .kernel
                .iter()
                .filter(|name| kernels::ALL.iter().all(|kernel| kernel.name != name.as_str()));
            exact || parts.into_iter().any(|part| kernel.name.contains(part.as_str()))
        };
        let chosen: Vec<Kernel> = kernels::ALL
            .into_iter()
            .filter(|kernel| self.arch.is_none_or(|arch| kernel.arch == arch))
            .filter(|kernel| match self.kernel.is_empty() {
                true => self.all || kernel.in_ci,
                false => named(kernel),
            })
            .collect();
        if chosen.is_empty() {
            bail!("no kernel is meant by that; `cargo xtask vm --list` shows them");
        }
        Ok(chosen)
    }
}

/// The matrix of `cargo xtask test --kernels`.
pub(crate) fn for_tests(workspace: &Workspace, ui: &Ui) -> Matrix {
    let kernels: Vec<Kernel> = kernels::ALL.into_iter().filter(|kernel| kernel.in_ci).collect();
    matrix(workspace, ui, &kernels, Accel::Auto, &[])
}

/// What became of the tests on each kernel.
#[derive(Default)]
pub(crate) struct Matrix {
    rows: Vec<Row>,
    pub(crate) passed: usize,
    /// Tests, and guests that did not come to their end.
    pub(crate) failures: Vec<String>,
    /// Tests that lacked something, with what.
    pub(crate) skips: Vec<String>,
    /// Kernels that were not booted, with the reason.
    pub(crate) left_out: Vec<String>,
}

/// One kernel's.
struct Row {
    kernel: Kernel,
    accel: &'static str,
    time: Duration,
    results: Results,
    /// Why it is not to be believed, whatever its tests say.
    problem: Option<String>,
}

impl Matrix {
    /// As a table of kernels and test binaries.
    pub(crate) fn table(&self) -> String {
        table::table(&self.rows)
    }

    fn add(&mut self, ui: &Ui, row: Row) {
        let name = row.kernel.name;
        for binary in &row.results.binaries {
            for test in &binary.tests {
                let what = format!("{}::{} on {name}", binary.name, test.name);
                match &test.outcome {
                    Outcome::Passed => self.passed += 1,
                    Outcome::Failed => self.failures.push(what),
                    Outcome::Skipped(why) => self.skips.push(format!("{what}: {why}")),
                }
            }
            if !binary.is_good() {
                if binary.count(|outcome| *outcome == Outcome::Failed) == 0 {
                    self.failures.push(format!("{} on {name} did not end well", binary.name));
                }
                for line in binary.details.iter().take(table::DETAILS) {
                    ui.say(&format!("    {line}"));
                }
            }
        }
        if let Some(problem) = &row.problem {
            self.failures.push(format!("{name}: {problem}"));
        }
        self.rows.push(row);
    }
}

/// Boots one kernel after the other.
fn matrix(
    workspace: &Workspace,
    ui: &Ui,
    kernels: &[Kernel],
    accel: Accel,
    arguments: &[String],
) -> Matrix {
    let mut matrix = Matrix::default();
    for arch in Arch::ALL {
        let kernels: Vec<_> = kernels.iter().filter(|kernel| kernel.arch == arch).collect();
        if kernels.is_empty() {
            continue;
        }
        let ready = System::build(workspace, ui, arch)
            .and_then(|system| Ok((system, Qemu::find_or_install(ui, arch)?)));
        let (system, qemu) = match ready {
            Ok(ready) => ready,
            Err(why) => {
                let names: Vec<_> = kernels.iter().map(|kernel| kernel.name).collect();
                matrix.left_out.push(format!("{}: {why:#}", names.join(", ")));
                continue;
            }
        };
        let mut machine = Machine { workspace, ui, system, qemu, accel };
        for kernel in kernels {
            match machine.run(kernel, arguments) {
                Ok(row) => matrix.add(ui, row),
                Err(why) => matrix.left_out.push(format!("{}: {why:#}", kernel.name)),
            }
        }
    }
    matrix
}

/// What boots the kernels of an architecture.
struct Machine<'a> {
    workspace: &'a Workspace,
    ui: &'a Ui,
    system: System,
    qemu: Qemu,
    accel: Accel,
}

impl Machine<'_> {
    fn run(&mut self, kernel: &Kernel, arguments: &[String]) -> Result<Row> {
        let image = kernel.image(self.workspace, self.ui)?;
        let folder = self.workspace.target().join("vm").join(kernel.name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        self.choose(&image, &folder)?;
        let mut boot = self.boot(kernel.name, &image, &folder, Some(arguments))?;
        let mut results = Results::parse(&boot.results);
        if results.kernel.is_none() && boot.killed.is_some() {
            // The firmware or the early kernel stood still, which on a busy
            // machine it does now and then; no test has begun.
            self.ui.say(&format!("{} did not come up: once more", kernel.name));
            boot = self.boot(kernel.name, &image, &folder, Some(arguments))?;
            results = Results::parse(&boot.results);
        }
        let problem = problem(&boot, &results);
        let (kernel, accel, time) = (*kernel, self.qemu.accel(), boot.time);
        Ok(Row { kernel, accel, time, results, problem })
    }

    /// Settles for KVM only after a guest has come to its end with it: there
    /// are machines where it is there and hangs.
    fn choose(&mut self, image: &Image, folder: &Path) -> Result<()> {
        let accel = std::mem::replace(&mut self.accel, Accel::Tcg);
        if accel == Accel::Tcg {
            return Ok(());
        }
        let Some(kvm) = self.qemu.with_kvm() else {
            if accel == Accel::Kvm {
                bail!("there is no KVM for {} here", self.qemu.arch.rust());
            }
            return Ok(());
        };
        if accel == Accel::Auto {
            let initramfs = folder.join("initramfs");
            self.system.pack(&initramfs, image, None)?;
            let (limit, silence) = (Duration::from_secs(20), Duration::from_secs(10));
            let guest =
                Guest { vmlinuz: &image.vmlinuz, initramfs: &initramfs, folder, limit, silence };
            if !Results::parse(&kvm.boot(&guest)?.results).done {
                self.ui.say("KVM is there, and a trial boot with it failed: translating instead");
                return Ok(());
            }
        }
        self.qemu = kvm;
        Ok(())
    }

    fn boot(
        &self,
        name: &str,
        image: &Image,
        folder: &Path,
        arguments: Option<&[String]>,
    ) -> Result<Boot> {
        let initramfs = folder.join("initramfs");
        self.system.pack(&initramfs, image, arguments)?;
        // Some ten times what they take on an idle machine.
        let (limit, silence) = match self.qemu.arch {
            Arch::X86_64 => (Duration::from_mins(15), Duration::from_mins(3)),
            Arch::Aarch64 => (Duration::from_mins(25), Duration::from_mins(5)),
        };
        let guest =
            Guest { vmlinuz: &image.vmlinuz, initramfs: &initramfs, folder, limit, silence };
        let label = format!("test on {name}");
        let boot = self.ui.watch(&label, || self.qemu.boot(&guest));
        // A hundred megabytes that can be made again.
        let _ = fs::remove_file(&initramfs);
        boot
    }
}

/// Why a guest has failed as a whole.
fn problem(boot: &Boot, results: &Results) -> Option<String> {
    let complete = results.done && results.binaries.len() == TESTS.len();
    if complete && boot.killed.is_none() {
        return None;
    }
    let why = match &boot.killed {
        Some(why) => why.clone(),
        None => "it ended too early".to_owned(),
    };
    let console: PathBuf = boot.console.clone();
    let last = panic(&fs::read_to_string(&console).unwrap_or_default());
    let last = last.map(|line| format!(" ({line})")).unwrap_or_default();
    Some(format!("{why}{last}; its console is in {}", console.display()))
}

/// The line in which a kernel says why it gave up.
fn panic(console: &str) -> Option<String> {
    const SIGNS: [&str; 4] = ["Kernel panic", "BUG:", "Oops", "soft lockup"];
    let line = console.lines().find(|line| SIGNS.iter().any(|sign| line.contains(sign)))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::panic;

    #[test]
    fn a_panic_is_found_on_the_console() {
        let console = "[    1.0] booting\n[    2.5] Kernel panic - not syncing: no init\n[ 2.6] x";
        let line = panic(console).unwrap();
        assert_eq!(line, "[    2.5] Kernel panic - not syncing: no init");
        assert_eq!(panic("all is well"), None);
    }
}
