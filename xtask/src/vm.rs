//! `cargo xtask vm`: the kernel's tests, on other kernels.
//!
//! ```text
//! kernels ── vmlinuz ──────────────────┐
//! guest ──── tests, built static ── cpio ── qemu ──┬─ console.log
//!            Debian's busybox, …         (queue)   └─ results ── table
//! ```
//!
//! A guest has passed only if it reports so to its end: a panic, a hang, silence, a test
//! without an outcome and a missing last line are failures.

mod cpio;
mod gki;
mod guest;
mod kernels;
mod qemu;
mod queue;
mod results;
mod table;

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};

use self::{
    guest::{System, TESTS},
    kernels::Image,
    qemu::{Boot, Guest, Limits, Qemu},
    queue::Queue,
    results::{Binary, Outcome, Results},
};
pub(crate) use self::{kernels::Kernel, qemu::Accel};
use crate::{
    arch::Arch,
    cross::Static,
    ui::{Ui, elapsed},
    workspace::Workspace,
};

/// Options of `cargo xtask vm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Boot this kernel, or those whose name contains this (see `--list`)
    #[arg(long, value_name = "NAME")]
    kernel: Vec<String>,
    /// Boot only kernels of this architecture
    #[arg(long)]
    arch: Option<Arch>,
    /// Boot all kernels, not only those of `cargo xtask test`
    #[arg(long)]
    all: bool,
    /// Boot each kernel this many times and count the good boots
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    boots: u32,
    /// How to execute the guest's instructions
    #[arg(long, default_value = "auto")]
    accel: Accel,
    /// List the kernels
    #[arg(long)]
    list: bool,
    /// Build the kernel that is configured like Android's (a quarter of an hour)
    #[arg(long)]
    build_gki: bool,
    /// Run only tests whose name contains this
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs `cargo xtask vm`.
///
/// # Errors
/// If no kernel can be booted.
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
    let plan = Plan {
        kernels: options.kernels()?,
        accel: options.accel,
        boots: options.boots,
        arguments: &options.arguments,
    };
    let matrix = boot(workspace, ui, &plan);
    println!("{}", if options.boots > 1 { matrix.boots() } else { matrix.table() });
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
            // A complete name selects that kernel only, not others that contain it.
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
            bail!("no kernel has such a name; see `cargo xtask vm --list`");
        }
        Ok(chosen)
    }
}

/// Installs QEMU and the compilers that build for guests.
///
/// # Errors
/// If one of them is not available.
pub(crate) fn install(ui: &Ui) -> Result<()> {
    for arch in Arch::ALL {
        Qemu::find_or_install(ui, arch)?;
        Static::find_or_install(ui, arch)?;
    }
    Ok(())
}

/// Installs and fetches everything that the guests of `cargo xtask test` need, so
/// that preparing them finds it in the cache. Failures are only shown here; the
/// preparation meets them again.
pub(crate) fn fetch(workspace: &Workspace, ui: &Ui, kernels: &[Kernel]) {
    let fetched = || -> Result<()> {
        install(ui)?;
        for kernel in kernels {
            kernel.image(workspace, ui)?;
        }
        Ok(())
    };
    if let Err(why) = fetched() {
        ui.say(&format!("kernels: {why:#}"));
    }
}

/// The kernels of `cargo xtask test`: those for every change, or all of them.
pub(crate) fn kernels(all: bool) -> Vec<Kernel> {
    kernels::ALL.into_iter().filter(|kernel| all || kernel.in_ci).collect()
}

/// The kernels to boot, and the tests to run on them.
pub(crate) struct Plan<'a> {
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) accel: Accel,
    /// Number of times that each kernel is booted.
    pub(crate) boots: u32,
    /// Arguments for the test harness.
    pub(crate) arguments: &'a [String],
}

/// Results of the tests on each kernel.
#[derive(Default)]
pub(crate) struct Matrix {
    rows: Vec<Row>,
    pub(crate) passed: usize,
    /// Failed tests, and guests that did not reach their end.
    pub(crate) failures: Vec<String>,
    /// Tests that were skipped, with what they need.
    pub(crate) skips: Vec<String>,
    /// Kernels that were not booted, with the reasons.
    pub(crate) left_out: Vec<String>,
}

/// One boot of a kernel.
struct Row {
    kernel: Kernel,
    accel: &'static str,
    time: Duration,
    results: Results,
    /// The reason why the guest failed as a whole, whatever its tests report.
    problem: Option<String>,
}

impl Row {
    /// True if every test was run and none failed.
    fn is_good(&self) -> bool {
        self.problem.is_none() && self.results.binaries.iter().all(Binary::is_good)
    }
}

impl Matrix {
    /// Formats a table of kernels and test modules.
    pub(crate) fn table(&self) -> String {
        table::table(&self.rows)
    }

    /// Formats a table of the numbers of good boots.
    fn boots(&self) -> String {
        table::boots(&self.rows)
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

/// Builds the tests, fetches the kernels, and boots as many at once as there are
/// processors. Those of this machine's architecture are booted while the tests are built
/// for the other one.
pub(crate) fn boot<'a>(workspace: &Workspace, ui: &'a Ui, plan: &Plan<'_>) -> Matrix {
    let at_once = queue::at_once();
    let label = format!("boot {} kernels, {at_once} at once", plan.kernels.len());
    let mut matrix = Matrix::default();
    let prepare = |queue: &Queue<Job<'a>>| {
        let mut archs = Arch::ALL;
        archs.sort_by_key(|arch| Arch::host().map_or(true, |host| host != *arch));
        for arch in archs {
            let kernels: Vec<_> =
                plan.kernels.iter().filter(|kernel| kernel.arch == arch).collect();
            if kernels.is_empty() {
                continue;
            }
            match ready(workspace, ui, arch, &kernels, plan.accel, &mut matrix.left_out) {
                Ok(jobs) => jobs.into_iter().for_each(|job| queue.add(job)),
                Err(why) => {
                    let names: Vec<_> = kernels.iter().map(|kernel| kernel.name).collect();
                    matrix.left_out.push(format!("{}: {why:#}", names.join(", ")));
                }
            }
        }
    };
    let boots = |job: Job<'_>| {
        let boot = |nth| job.boot(plan, nth).context(job.kernel.name);
        (1..=plan.boots).map(boot).collect::<Vec<_>>()
    };
    let duration = |job: &Job<'_>| job.kernel.duration();
    let done = ui.watch(&label, || queue::run(at_once, prepare, duration, boots));
    for boot in done.into_iter().flatten() {
        match boot {
            Ok(row) => matrix.add(ui, row),
            Err(why) => matrix.left_out.push(format!("{why:#}")),
        }
    }
    matrix
}

/// Builds and fetches everything for the kernels of an architecture. Kernels that cannot
/// be fetched are left out.
fn ready<'a>(
    workspace: &Workspace,
    ui: &'a Ui,
    arch: Arch,
    kernels: &[&Kernel],
    accel: Accel,
    left_out: &mut Vec<String>,
) -> Result<Vec<Job<'a>>> {
    let system = System::build(workspace, ui, arch)?;
    let qemu = Qemu::find_or_install(ui, arch)?;
    let mut machine = Machine { ui, system, qemu, folders: workspace.target().join("vm") };
    let mut images = Vec::new();
    for kernel in kernels {
        match kernel.image(workspace, ui) {
            Ok(image) => images.push((**kernel, image)),
            Err(why) => left_out.push(format!("{}: {why:#}", kernel.name)),
        }
    }
    if let Some((_, image)) = images.first() {
        machine.choose(accel, image)?;
    }
    let machine = Arc::new(machine);
    let job = |(kernel, image)| Job { machine: Arc::clone(&machine), kernel, image };
    Ok(images.into_iter().map(job).collect())
}

/// A kernel to boot.
struct Job<'a> {
    machine: Arc<Machine<'a>>,
    kernel: Kernel,
    image: Image,
}

impl Job<'_> {
    /// Boots the kernel once.
    fn boot(&self, plan: &Plan<'_>, nth: u32) -> Result<Row> {
        let Self { machine, kernel, image } = self;
        let tests = Some(plan.arguments);
        // The next boot must not overwrite the files of a failed one.
        let folder = match plan.boots {
            1 => kernel.name.to_owned(),
            _ => format!("{}-{nth}", kernel.name),
        };
        let mut boot = machine.boot(&folder, image, tests)?;
        let mut results = Results::parse(&boot.results);
        if results.kernel.is_none() && boot.killed.is_some() && plan.boots == 1 {
            // The firmware or the early kernel hung, which happens on busy machines. No test
            // has started.
            machine.ui.say(&format!("{} did not come up: booting it again", kernel.name));
            boot = machine.boot(&folder, image, tests)?;
            results = Results::parse(&boot.results);
        }
        let (problem, time) = (problem(&boot, &results), boot.time);
        let row = Row { kernel: *kernel, accel: machine.qemu.accel(), time, results, problem };
        let verdict = if row.is_good() { "good" } else { "FAILED" };
        machine.ui.say(&format!("{}: {verdict} ({})", kernel.name, elapsed(time)));
        Ok(row)
    }
}

/// Boots the kernels of an architecture.
struct Machine<'a> {
    ui: &'a Ui,
    system: System,
    qemu: Qemu,
    /// Contains a folder for each kernel.
    folders: PathBuf,
}

impl Machine<'_> {
    /// Uses KVM only if a guest has reached its end with it: on some machines it is
    /// present and hangs.
    fn choose(&mut self, accel: Accel, image: &Image) -> Result<()> {
        if accel == Accel::Tcg {
            return Ok(());
        }
        let Some(kvm) = self.qemu.with_kvm() else {
            if accel == Accel::Kvm {
                bail!("this machine has no KVM for {}", self.qemu.arch.rust());
            }
            return Ok(());
        };
        if accel == Accel::Auto {
            let limits = Limits { all: Duration::from_secs(20), silence: Duration::from_secs(10) };
            let boot = self.boot_by(&kvm, "trial", image, None, limits)?;
            if !Results::parse(&boot.results).done {
                self.ui.say("a trial boot with KVM failed: using TCG");
                return Ok(());
            }
        }
        self.qemu = kvm;
        Ok(())
    }

    fn boot(&self, folder: &str, image: &Image, arguments: Option<&[String]>) -> Result<Boot> {
        // Several times as long as on an idle machine. On a busy one, results were up to
        // two minutes apart.
        let limits = Limits { all: Duration::from_mins(45), silence: Duration::from_mins(6) };
        self.boot_by(&self.qemu, folder, image, arguments, limits)
    }

    fn boot_by(
        &self,
        qemu: &Qemu,
        name: &str,
        image: &Image,
        arguments: Option<&[String]>,
        limits: Limits,
    ) -> Result<Boot> {
        let folder = self.folders.join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let initramfs = folder.join("initramfs");
        self.system.pack(&initramfs, image, arguments)?;
        let (vmlinuz, initramfs) = (&*image.vmlinuz, &*initramfs);
        let boot = qemu.boot(&Guest { vmlinuz, initramfs, folder: &folder, limits });
        // It has a hundred megabytes and is made again for each boot.
        let _ = fs::remove_file(initramfs);
        boot
    }
}

/// Returns the reason why a guest failed as a whole.
fn problem(boot: &Boot, results: &Results) -> Option<String> {
    let complete = results.done && results.binaries.len() == TESTS.len();
    if complete && boot.killed.is_none() {
        return None;
    }
    let why = match &boot.killed {
        Some(why) => why.clone(),
        None => "it ended before its tests did".to_owned(),
    };
    let console: PathBuf = boot.console.clone();
    let last = panic(&fs::read_to_string(&console).unwrap_or_default());
    let last = last.map(|line| format!(" ({line})")).unwrap_or_default();
    Some(format!("{why}{last}; its console is in {}", console.display()))
}

/// Finds the line in which a kernel reports a panic or the like.
fn panic(console: &str) -> Option<String> {
    const SIGNS: [&str; 4] = ["Kernel panic", "BUG:", "Oops", "soft lockup"];
    let line = console.lines().find(|line| SIGNS.iter().any(|sign| line.contains(sign)))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::panic;

    #[test]
    fn panics_are_found_on_the_console() {
        let console = "[    1.0] booting\n[    2.5] Kernel panic - not syncing: no init\n[ 2.6] x";
        let line = panic(console).unwrap();
        assert_eq!(line, "[    2.5] Kernel panic - not syncing: no init");
        assert_eq!(panic("all is well"), None);
    }
}
