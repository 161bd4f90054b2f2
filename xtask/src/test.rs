//! `cargo xtask test`: format, lints, documentation and every test that this
//! machine can run, on its own kernel and on others in virtual machines,
//! closing with what was run and what was not.
//!
//! A test that finds something missing appends a line `NAME: needs WHAT` to
//! the file that `TRACER_TEST_SKIPS` names and returns. The test harness counts
//! it as passed; here it is counted as skipped.

mod libtest;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result};

use self::libtest::Tally;
use crate::{
    privilege::{self, NEEDS_ROOT, Privilege},
    setup::{self, State},
    shell,
    ui::{Ui, elapsed},
    vm,
    workspace::Workspace,
};

/// Has `tracer` embed nothing: what only reads the code needs no programs, and
/// each way of calling cargo would build them anew.
const NO_PROGRAMS: &str = "AYA_BUILD_SKIP";

/// Names the file for skipped tests.
const SKIPS: &str = "TRACER_TEST_SKIPS";

/// Names the `tracer` that the integration tests run.
const BINARY: &str = "TRACER_BIN";

/// Names the Python that has the packages of `tests/requirements.txt`.
const PYTHON: &str = "TRACER_TEST_PYTHON";

/// What was found out so far.
#[derive(Default)]
struct Report {
    /// Checks other than tests that failed.
    broken: Vec<String>,
    /// Checks other than tests that could not be made, with the reason.
    left_out: Vec<String>,
    tally: Tally,
}

impl Report {
    fn check(&mut self, ui: &Ui, name: &str, command: &mut Command) -> bool {
        let result = ui.step(name, command);
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
            self.broken.push(name.to_owned());
        }
        result.is_ok()
    }
}

/// Runs everything, on other kernels too if `kernels` says so. `arguments` go to
/// the test harness, here and there, as after `cargo test --`.
///
/// # Errors
/// When setup fails or no test can be started. A failed check or test is told
/// in the exit code and the closing lines.
pub(crate) fn run(
    workspace: &Workspace,
    ui: &Ui,
    kernels: bool,
    arguments: &[String],
) -> Result<ExitCode> {
    let start = Instant::now();
    let state = setup::run(workspace, ui)?;
    let mut report =
        Report { left_out: setup::for_tests(workspace, ui, false)?, ..Report::default() };

    checks(workspace, ui, &state, &mut report);
    // All targets, because the tests' dependencies change the features of the
    // rest: a build of the binaries alone would be of no use to the tests.
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--all-targets"]);
    if report.check(ui, "build", &mut build) {
        tests(workspace, ui, arguments, &mut report)?;
        if kernels {
            other_kernels(workspace, ui, arguments, &mut report);
        } else {
            report.left_out.push("tests on other kernels: --no-kernels says so".to_owned());
        }
    }
    Ok(close(ui, &report, start))
}

/// Format, lints and documentation, with warnings denied.
fn checks(workspace: &Workspace, ui: &Ui, state: &State, report: &mut Report) {
    let mut format = workspace.cargo();
    format.args(["fmt", "--all", "--check", "--", "--color", "never"]);
    report.check(ui, "format", &mut format);

    let mut lints = workspace.cargo();
    lints.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    report.check(ui, "lints", lints.env(NO_PROGRAMS, "1"));

    programs(workspace, ui, state, report);

    let mut documentation = workspace.cargo();
    // Not the programs' binary: on the host it is an empty shell.
    documentation.args(["doc", "--workspace", "--no-deps", "--lib", "--bin", "xtask"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings").env(NO_PROGRAMS, "1");
    report.check(ui, "documentation", &mut documentation);
}

/// The lints of the programs as they are built for BPF, where the compiler that
/// does so brings clippy.
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
    // A directory of its own: another compiler's output beside the host's would
    // have each build the other's anew.
    command.arg("--target-dir").arg(workspace.target().join("bpf-lints"));
    command.args(["--", "-D", "warnings"]);
    crate::workspace::shed_cargo_run(&mut command);
    report.check(ui, NAME, &mut command);
}

fn tests(workspace: &Workspace, ui: &Ui, arguments: &[String], report: &mut Report) -> Result<()> {
    let skips = workspace.tools().join("skipped-tests");
    fs::write(&skips, "").with_context(|| format!("cannot write {}", skips.display()))?;
    let log = ui.log("tests")?;
    let mut log =
        fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;

    for mut command in test_commands(workspace)? {
        command.arg("--").args(arguments);
        command
            .env(SKIPS, &skips)
            .env(BINARY, workspace.target().join("debug/tracer"))
            .env(PYTHON, setup::venv_python(workspace));
        ui.say(&shell::shown(&command));
        stream(&mut command, &mut log, &mut report.tally)?;
    }
    report.tally.skipped_by_themselves(&read_skips(&skips));
    Ok(())
}

/// The kernel's tests once more, on other kernels.
fn other_kernels(workspace: &Workspace, ui: &Ui, arguments: &[String], report: &mut Report) {
    let matrix = vm::for_tests(workspace, ui, arguments);
    eprintln!("{}", matrix.table());
    report.tally.in_guests(matrix.passed, matrix.failures, matrix.skips);
    let reasons = matrix.left_out.iter().map(|why| format!("tests on other kernels: {why}"));
    report.left_out.extend(reasons);
}

/// One command where this process is root or cannot be; otherwise one for what
/// needs no root and one whose test binaries, and only those, run through sudo.
fn test_commands(workspace: &Workspace) -> Result<Vec<Command>> {
    let test = |arguments: &[&str]| {
        let mut command = workspace.cargo();
        command.args(["test", "--no-fail-fast"]).args(arguments);
        command
    };
    if Privilege::of_this_process() != Privilege::Sudo {
        return Ok(vec![test(&["--workspace"])]);
    }
    let mut as_root = test(&["--package", NEEDS_ROOT]);
    privilege::run_through_sudo(&mut as_root)?;
    Ok(vec![test(&["--workspace", "--exclude", NEEDS_ROOT]), as_root])
}

/// Runs the tests, showing all but what went well, and counts.
fn stream(command: &mut Command, log: &mut fs::File, tally: &mut Tally) -> Result<()> {
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot start {}", shell::shown(command)))?;
    // The command keeps its end of the pipe open as long as it lives.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("cannot read what the tests print")?;
        let line = String::from_utf8_lossy(&line);
        writeln!(log, "{line}").context("cannot write the tests' log")?;
        if tally.read(&line) {
            eprintln!("  {line}");
        }
    }
    let status = child.wait().context("cannot wait for the tests")?;
    tally.ended(status.success());
    Ok(())
}

/// What the tests appended, a line a test.
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

/// Says what a person and a CI want to know, the shortest last.
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
    // A machine that is meant to have everything is to be told what it lacks.
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
