//! `cargo xtask fuzz`: runs the targets of `tests/fuzz` under libFuzzer.
//!
//! ```text
//! .tools/fuzz/corpus/TARGET/    inputs that libFuzzer keeps from one run to the next
//! .tools/fuzz/failures/         inputs that failed: TARGET-crash-…, -timeout-…, -oom-…
//! .tools/fuzz/counts.tsv        executions and highest costs of each target, over all runs
//! ```
//!
//! Coverage is instrumented by LLVM's pass, which a stable compiler runs too. The binary holds all
//! targets; it is built once, without the programs for the kernel.

mod counts;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use self::counts::{Counts, Run};
use crate::{build_cmd, shell, ui::Ui, workspace::Workspace};

const PROFILE: &str = "fuzz";

/// Options of rustc that instrument code for libFuzzer.
const INSTRUMENTED: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Options of libFuzzer. An input of a few KiB that takes this many seconds, or this many MiB, has
/// escaped every bound. The seconds are those of the clock, of which a busy machine takes many.
const LIBFUZZER: [&str; 4] =
    ["-timeout=120", "-rss_limit_mb=2048", "-print_final_stats=1", "-reload=0"];

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Names of the targets [default: all]
    targets: Vec<String>,
    /// Minutes for each target
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Options for libFuzzer, such as `-minimize_crash=1 FILE`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// A target, as the binary lists it.
struct Target {
    name: String,
    max_len: String,
}

/// Builds the targets, runs them one after another, and counts.
///
/// # Errors
/// If they cannot be built or started. The exit code reports failed inputs.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, options: &Options) -> Result<ExitCode> {
    let binary = build(workspace, ui)?;
    let targets = select(list(&binary)?, &options.targets)?;
    let folder = workspace.tools().join("fuzz");
    let file = folder.join("counts.tsv");
    let mut failed = false;
    for target in targets {
        let command = target.command(&binary, &folder, options)?;
        let run = execute(ui, &target.name, command)?;
        ui.say(&format!("{}: {run}", target.name));
        failed |= run.failure.is_some();
        // Read again each time, for another run may have ended.
        let mut counts = Counts::read(&file)?;
        counts.add(&target.name, &run);
        counts.write(&file)?;
    }
    println!("{}", Counts::read(&file)?.table());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Builds the binary and returns its path.
fn build(workspace: &Workspace, ui: &Ui) -> Result<PathBuf> {
    let triple = build_cmd::host()?;
    // A directory of its own: other flags would build everything again.
    let target = workspace.target().join("fuzz");
    let mut command = workspace.cargo();
    command.args(["build", "--profile", PROFILE, "--target", &triple]);
    command.args(["--package", "tracer-fuzz", "--bin", "fuzz", "--features", "libfuzzer"]);
    command.env("CARGO_TARGET_DIR", &target).env("AYA_BUILD_SKIP", "1");
    command.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTED.join("\u{1f}"));
    ui.step("build the fuzz targets", &mut command)?;
    let binary = target.join(triple).join(PROFILE).join("fuzz");
    ensure!(binary.is_file(), "cargo did not build {}", binary.display());
    Ok(binary)
}

fn list(binary: &Path) -> Result<Vec<Target>> {
    let lines = shell::answer(&mut Command::new(binary))?;
    let target = |line: &str| {
        let (name, max_len) = line.split_once('\t')?;
        Some(Target { name: name.to_owned(), max_len: max_len.to_owned() })
    };
    lines.lines().map(target).collect::<Option<_>>().context("the binary lists no targets")
}

fn select(all: Vec<Target>, names: &[String]) -> Result<Vec<Target>> {
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|target| target.name != **name))
    {
        let known: Vec<_> = all.iter().map(|target| &*target.name).collect();
        anyhow::bail!("no target is called {unknown}; there are {}", known.join(", "));
    }
    let wanted = |target: &Target| names.is_empty() || names.contains(&target.name);
    Ok(all.into_iter().filter(wanted).collect())
}

impl Target {
    fn command(&self, binary: &Path, folder: &Path, options: &Options) -> Result<Command> {
        let corpus = folder.join("corpus").join(&self.name);
        let seeds = folder.join("seeds").join(&self.name);
        let failures = folder.join("failures");
        for folder in [&corpus, &seeds, &failures] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut command = Command::new(binary);
        command.env("TRACER_FUZZ_TARGET", &self.name).env("TRACER_FUZZ_SEEDS", &seeds);
        command.args(LIBFUZZER);
        command.arg(format!("-max_len={}", self.max_len));
        command.arg(format!("-max_total_time={}", (options.minutes * 60.0).ceil()));
        command.arg(format!("-dict={}", seeds.join("words.dict").display()));
        command.arg(format!("-artifact_prefix={}/{}-", failures.display(), self.name));
        if options.arguments.is_empty() {
            command.args([&corpus, &seeds]);
        } else {
            command.args(&options.arguments);
        }
        Ok(command)
    }
}

/// Runs a target to its end.
fn execute(ui: &Ui, name: &str, mut command: Command) -> Result<Run> {
    let log = ui.log(&format!("fuzz {name}"))?;
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let start = Instant::now();
    let mut child =
        command.spawn().with_context(|| format!("cannot start {}", shell::shown(&command)))?;
    let status = ui.watch(&format!("fuzz {name}"), || child.wait())?;
    let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let seconds = start.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    let mut run = Run::parse(&String::from_utf8_lossy(&text), seconds);
    if !status.success() && run.failure.is_none() {
        run.failure = Some(format!("{status}; see {}", log.display()));
    }
    Ok(run)
}
