//! `cargo xtask test`: format, lints, documentation, and every test that this
//! machine can run, on its own kernel and on others in virtual machines.
//!
//! ```text
//! set up: compiler ─┬─ install and fetch what tests need ─┬─┬─ tests, in two lanes ────┬─ closing
//!                   └─ build the tests ───────────────────┘ ├─ guests ─────────────────┤  lines
//!                                                           └─ lints, docs, release ───┘
//! ```
//!
//! A test that lacks something appends a line `NAME: needs WHAT` to the file that
//! `TRACER_TEST_SKIPS` names and returns. The test harness counts it as passed; here
//! it is counted as skipped.

mod lanes;
pub(crate) mod layers;
mod libtest;
mod supply;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

use anyhow::Result;

use self::{
    lanes::{Binary, Lanes},
    libtest::Tally,
};
use crate::{
    arch::Arch,
    cross::Static,
    dist, package,
    setup::{self, State},
    shell,
    ui::{Ui, elapsed},
    vm::{self, Accel, Kernel, Plan},
    workspace::Workspace,
};

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run the format, the lints and the tests that need neither root nor other programs
    #[arg(long, conflicts_with_all = ["all", "no_kernels"])]
    quick: bool,
    /// Boot every kernel of `cargo xtask vm --list`, not only the five for every change, and use the
    /// package in fresh installations of Debian
    #[arg(long, conflicts_with = "no_kernels")]
    all: bool,
    /// Leave other kernels out
    #[arg(long)]
    no_kernels: bool,
    /// Run only tests whose name contains this; passed to the test harness with its options
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Results so far.
#[derive(Default)]
struct Report {
    /// Checks other than tests that failed.
    broken: Vec<String>,
    /// Checks that could not be made, with the reason.
    left_out: Vec<String>,
    tally: Tally,
}

impl Report {
    /// Runs a check and reports whether it passed.
    fn check(&mut self, ui: &Ui, name: &str, command: &mut Command) -> bool {
        let result = ui.step(name, command);
        self.note(name, result)
    }

    fn add(&mut self, other: Self) {
        self.broken.extend(other.broken);
        self.left_out.extend(other.left_out);
        self.tally.add(other.tally);
    }

    fn note(&mut self, name: &str, result: Result<()>) -> bool {
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
            self.broken.push(name.to_owned());
        }
        result.is_ok()
    }
}

/// Runs the checks and tests that the options ask for.
///
/// # Errors
/// If setup fails or no test can be started. The exit code and the closing lines
/// report a failed check or test.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, options: &Options) -> Result<ExitCode> {
    let start = Instant::now();
    let state = setup::run(workspace, ui)?;
    let builder = Static::find_or_install(ui, Arch::host()?)?;
    let mut report = Report::default();
    if options.quick {
        quick(workspace, ui, &builder, &options.arguments, &mut report)?;
        return Ok(close(ui, &report, start));
    }
    let kernels = if options.no_kernels {
        report.left_out.push("tests on other kernels: --no-kernels was given".to_owned());
        Vec::new()
    } else {
        vm::kernels(options.all)
    };

    // Downloads wait for the network while the compiler keeps the processors busy.
    let built = thread::scope(|scope| {
        let needs = scope.spawn(|| {
            let missing = setup::for_tests(workspace, ui, false);
            if !kernels.is_empty() {
                vm::fetch(workspace, ui, &kernels);
            }
            missing
        });
        source(workspace, ui, &mut report);
        let built = report.check(ui, "build the tests", &mut builder.tests(workspace));
        report.left_out.extend(needs.join().expect("no panic")?);
        anyhow::Ok(built)
    })?;
    if built {
        let all = Tests { workspace, ui, builder: &builder, arguments: &options.arguments };
        report.add(all.run(kernels, || checks(workspace, ui, &builder, &state, options.all))?);
    } else {
        report.add(checks(workspace, ui, &builder, &state, options.all));
    }
    Ok(close(ui, &report, start))
}

/// Runs the checks of the inner loop.
fn quick(
    workspace: &Workspace,
    ui: &Ui,
    builder: &Static,
    arguments: &[String],
    report: &mut Report,
) -> Result<()> {
    source(workspace, ui, report);
    lints(workspace, ui, builder, report);
    if report.check(ui, "build the tests", &mut builder.tests(workspace)) {
        // A command of its own: the output of the first one goes to its log.
        let built = lanes::binaries(&mut builder.tests(workspace))?;
        let binaries = built.into_iter().filter(Binary::is_unit);
        let lanes = Lanes::new(workspace, ui, builder, arguments)?;
        report.tally.add(lanes.run(vec![binaries.collect()])?);
    }
    Ok(())
}

/// Runs the checks that no test depends on.
fn checks(workspace: &Workspace, ui: &Ui, builder: &Static, state: &State, all: bool) -> Report {
    let mut report = Report::default();
    lints(workspace, ui, builder, &mut report);
    programs(workspace, ui, state, &mut report);
    let mut documentation = builder.cargo(workspace, "doc");
    // The binary of the eBPF programs is an empty shell on the host.
    documentation.args(["--workspace", "--no-deps", "--lib", "--bin", "xtask"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    report.check(ui, "documentation", &mut shell::niced(&documentation));
    report.note("portability", layers::check_portability(workspace, ui));
    size(workspace, ui, all, &mut report);
    report
}

/// Checks the format, the layers of the crates, and what they are built from.
fn source(workspace: &Workspace, ui: &Ui, report: &mut Report) {
    let mut format = workspace.cargo();
    format.args(["fmt", "--all", "--check", "--", "--color", "never"]);
    report.check(ui, "format", &mut format);
    report.note("layers", layers::check(workspace));
    report.note("dependencies", supply::check(workspace));
}

fn lints(workspace: &Workspace, ui: &Ui, builder: &Static, report: &mut Report) {
    let mut lints = builder.cargo(workspace, "clippy");
    lints.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    report.check(ui, "lints", &mut shell::niced(&lints));
}

/// Lints the programs as they are built for BPF, if the compiler that builds them has
/// clippy.
fn programs(workspace: &Workspace, ui: &Ui, state: &State, report: &mut Report) {
    const NAME: &str = "lints of the eBPF programs";
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        command
            .args(["run", &state.toolchain, "cargo"])
            .args(arguments)
            .current_dir(workspace.root());
        command
    };
    if !shell::succeeds(&mut cargo(&["clippy", "--version"])) {
        report.left_out.push(format!("{NAME}: {} has no clippy", state.toolchain));
        return;
    }
    let mut command =
        cargo(&["clippy", "--package", "tracer-ebpf", "--target", "bpfel-unknown-none"]);
    if state.builds_core {
        command.args(["-Z", "build-std=core"]);
    }
    // A directory of its own: two compilers that share one build everything again
    // after each other.
    command.arg("--target-dir").arg(workspace.target().join("bpf-lints"));
    command.args(["--", "-D", "warnings"]);
    crate::workspace::shed_cargo_run(&mut command);
    report.check(ui, NAME, &mut shell::niced(&command));
}

/// Builds the file that users are given, checks its size, and checks its packages.
fn size(workspace: &Workspace, ui: &Ui, all: bool, report: &mut Report) {
    let check = || -> Result<PathBuf> {
        let binary = dist::build(workspace, ui, Arch::host()?)?;
        let size = dist::size(&binary)?;
        let (shown, limit) = (dist::shown(size), dist::shown(dist::MAX_SIZE));
        ui.say(&format!("size of the release binary: {shown} of at most {limit}"));
        anyhow::ensure!(size <= dist::MAX_SIZE, "the release binary has {shown}, over {limit}");
        Ok(binary)
    };
    let binary = check();
    if let Ok(binary) = &binary {
        match package::check(workspace, ui, binary, all) {
            Ok(left_out) => report.left_out.extend(left_out),
            Err(error) => drop(report.note("packages", Err(error))),
        }
    }
    report.note("release binary", binary.map(drop));
}

/// All tests, once they are built.
struct Tests<'a> {
    workspace: &'a Workspace,
    ui: &'a Ui,
    builder: &'a Static,
    arguments: &'a [String],
}

impl Tests<'_> {
    /// Runs the tests on this machine's kernel. They mostly wait, so guests and other
    /// checks run at the same time.
    fn run(&self, kernels: Vec<Kernel>, checks: impl FnOnce() -> Report + Send) -> Result<Report> {
        let Self { workspace, ui, builder, arguments } = self;
        let binaries = lanes::binaries(&mut builder.tests(workspace))?;
        let lanes = Lanes::new(workspace, ui, builder, arguments)?;
        let (tally, matrix, mut report) = thread::scope(|scope| {
            let guests = (!kernels.is_empty()).then(|| {
                let plan = Plan { kernels, accel: Accel::Auto, boots: 1, arguments };
                scope.spawn(move || vm::boot(workspace, ui, &plan))
            });
            let checks = scope.spawn(checks);
            let tally = lanes.run(lanes::split(binaries));
            let matrix = guests.map(|guests| guests.join().expect("no panic"));
            (tally, matrix, checks.join().expect("no panic"))
        });
        report.tally.add(tally?);
        if let Some(matrix) = matrix {
            eprintln!("{}", matrix.table());
            report.tally.in_guests(matrix.passed, matrix.failures, matrix.skips);
            let reasons =
                matrix.left_out.iter().map(|why| format!("tests on other kernels: {why}"));
            report.left_out.extend(reasons);
        }
        Ok(report)
    }
}

/// Reads the lines that tests appended, one for each test.
fn read_skips(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut skips: Vec<String> = text
        .lines()
        .map(|line| line.trim().trim_start_matches("SKIPPED ").to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    skips.sort();
    // A test that lacks two things is still one test.
    skips.dedup_by(|a, b| test_name(a) == test_name(b));
    skips
}

fn test_name(skip: &str) -> &str {
    skip.split_once(": ").map_or(skip, |(name, _)| name)
}

/// Prints what was left out, skipped and failed, and the counts last.
fn close(ui: &Ui, report: &Report, start: Instant) -> ExitCode {
    let Report { broken, left_out, tally } = report;
    for what in left_out {
        ui.say(&format!("LEFT OUT {what}"));
    }
    for skip in tally.skips() {
        ui.say(&format!("SKIPPED {skip}"));
    }
    for name in broken {
        ui.say(&format!("FAILED {name}"));
    }
    for name in tally.failures() {
        ui.say(&format!("FAILED test {name}"));
    }
    // A machine that is meant to have everything must not silently check less.
    let strict = env::var_os("CI").is_some() && !left_out.is_empty();
    if strict {
        ui.say("FAILED because CI is set and something was left out");
    }
    if tally.run() == 0 {
        ui.say("FAILED because no test was run");
    }
    let good = broken.is_empty() && tally.failed() == 0 && tally.run() > 0 && !strict;
    let verdict = if good { "" } else { "FAILED (see above): " };
    let reasons = if tally.skipped() > 0 { " (reasons above)" } else { "" };
    println!("tracer: {verdict}{tally}{reasons} in {}", elapsed(start.elapsed()));
    println!("{tally}");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::read_skips;

    #[test]
    fn a_test_skips_once_whatever_it_lacks() {
        let path = env::temp_dir().join(format!("xtask-skips-{}", std::process::id()));
        fs::write(
            &path,
            "SKIPPED kernel::b: needs root\nkernel::a: needs BTF\nkernel::b: needs BTF\n\n",
        )
        .unwrap();
        let skips = read_skips(&path);
        fs::remove_file(path).unwrap();
        assert_eq!(skips.len(), 2, "{skips:?}");
        assert_eq!(skips[0], "kernel::a: needs BTF");
        assert!(skips[1].starts_with("kernel::b: needs "), "{skips:?}");
    }
}
