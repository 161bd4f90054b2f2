//! Sets up, builds, tests and measures tracer: `cargo xtask --help`.
//!
//! ```text
//! setup ── finds or installs the BPF compiler and linker ─┬─ build ─── demo
//!          and leaves what it chose in `.tools/`          ├─ test ──── vm
//!                                                         └─ bench, dist
//! ```
//!
//! Every command sets up first, which takes no time if everything is in place.
//! Progress goes to stderr and results to stdout.

mod arch;
mod bench;
mod build_cmd;
mod cache;
mod cross;
mod demo;
mod dist;
mod package;
mod fuzz;
mod privilege;
mod remap;
mod setup;
mod shell;
mod soak;
mod test;
mod ui;
mod version;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{arch::Arch, ui::Ui, workspace::Workspace};

/// Sets up, builds and tests tracer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install a compiler and a linker for BPF
    Setup {
        /// Show what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Also install what the integration tests need
        #[arg(long)]
        tests: bool,
    },
    /// Build the static `tracer` binary and print its path
    Build {
        /// Build the optimized file for users, as `cargo xtask dist` does
        #[arg(long)]
        release: bool,
    },
    /// Build, then run `tracer demo`: a leak caught live on this machine's kernel
    Demo {
        /// Arguments for `tracer demo`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Check format and lints, then run all tests on this machine's kernel, and those of
    /// the kernel on other kernels in virtual machines
    Test(test::Options),
    /// Run the kernel's tests on other kernels, in virtual machines
    Vm(vm::Options),
    /// Build the static file for users, and print its path
    Dist {
        /// Architecture of the machine that runs it [default: this machine's]
        #[arg(long)]
        target: Option<Arch>,
        /// Build it again in another folder, and compare
        #[arg(long)]
        verify: bool,
    },
    /// Search for inputs that a parser does not bear
    Fuzz(fuzz::Options),
    /// Measure the speed of the decoder and the cost of the kernel programs, or compare tracer
    /// with other tools
    Bench(bench::peers::Options),
    /// Run tracer under a stated load, and print the memory and the files that it uses
    Soak {
        /// Duration of the load
        #[arg(long, default_value_t = 60)]
        minutes: u32,
    },
}

fn main() -> ExitCode {
    if let Err(error) = remap::wrap() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    match run(arguments.task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let ui = Ui::new(workspace.logs());
    match task {
        Task::Setup { dry_run, tests } => {
            if dry_run {
                setup::rehearse(&workspace, &ui)?;
            } else {
                setup::run(&workspace, &ui)?;
            }
            if tests {
                setup::for_tests(&workspace, &ui, dry_run)?;
                if dry_run {
                    ui.say("then would install QEMU and a cross compiler if they are missing");
                } else {
                    vm::install(&ui)?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Build { release } => {
            let profile =
                if release { build_cmd::Profile::Release } else { build_cmd::Profile::Dev };
            let binary = build_cmd::run(&workspace, &ui, profile)?;
            println!("{}", binary.display());
            Ok(ExitCode::SUCCESS)
        }
        Task::Demo { arguments } => demo::run(&workspace, &ui, &arguments),
        Task::Test(options) => test::run(&workspace, &ui, &options),
        Task::Vm(options) => vm::run(&workspace, &ui, &options),
        Task::Dist { target, verify } => {
            dist::run(&workspace, &ui, target.map_or_else(Arch::host, Ok)?, verify)
        }
        Task::Fuzz(options) => fuzz::run(&workspace, &ui, &options),
        Task::Bench(options) => bench::run(&workspace, &ui, &options),
        Task::Soak { minutes } => soak::run(&workspace, &ui, minutes),
    }
}
