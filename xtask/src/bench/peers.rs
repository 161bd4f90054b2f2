//! `cargo xtask bench --peers`: what tracer and other tools cost a program that sends requests.
//!
//! `wrk` sends to nginx in a network namespace of its own, over HTTP and over TLS, while one tool
//! watches. Tools take turns, and what a tool costs is compared with nothing in the same round, so
//! that a machine that changes its speed changes both.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};

use self::{
    site::{Load, Site},
    table::Results,
    variants::{Variant, Watching},
};
use crate::{privilege::Privilege, setup, ui::Ui, workspace::Workspace};

mod processes;
mod site;
mod table;
mod variants;

/// Packages of the load, and of the tools that tracer is compared with.
const PACKAGES: [&str; 8] =
    ["nginx-light", "wrk", "openssl", "iproute2", "tcpdump", "tcpflow", "tshark", "bpftrace"];

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Compare tracer with other tools under a load of requests (needs root)
    #[arg(long)]
    peers: bool,
    /// Number of rounds, in each of which every tool has its turn
    #[arg(long, default_value_t = 7, requires = "peers")]
    rounds: usize,
    /// Duration of the load in seconds
    #[arg(long, default_value_t = 4, requires = "peers")]
    seconds: u64,
    /// Only this load
    #[arg(long, requires = "peers")]
    load: Option<Load>,
    /// A program to measure in place of a new build
    #[arg(long, value_name = "FILE", requires = "peers")]
    tracer: Option<PathBuf>,
}

impl Options {
    /// Reports whether tools are compared, in place of the benchmarks.
    pub(crate) fn is_of_peers(&self) -> bool {
        self.peers
    }
}

/// Installs what is missing, measures, and prints tables.
///
/// # Errors
/// If this process is not root, or nginx or wrk fail. A tool that fails is left out.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, options: &Options) -> Result<ExitCode> {
    ensure!(
        Privilege::of_this_process() == Privilege::Root,
        "the comparison needs root, for tracer and for a network namespace; run it with sudo"
    );
    setup::install_packages(ui, &PACKAGES, "a load, and tools to compare with")?;
    let tracer = match &options.tracer {
        Some(file) => file.canonicalize().with_context(|| format!("no {}", file.display()))?,
        None => build(workspace, ui)?,
    };
    let corpus = workspace.root().join("tests/fixtures/corpus");
    let site = Site::start(&corpus)?;
    let duration = Duration::from_secs(options.seconds);
    for load in Load::ALL.into_iter().filter(|load| options.load.is_none_or(|only| only == *load)) {
        let mut variants = Variant::all(load);
        let mut results = Results::new(&variants);
        for round in 0..options.rounds {
            ui.say(&format!("{load}: round {} of {}", round + 1, options.rounds));
            // The first is another one in each round.
            let first = round % variants.len();
            let order: Vec<Variant> =
                variants.iter().cycle().skip(first).take(variants.len()).copied().collect();
            for variant in order {
                let watching = Watching::start(&site, &tracer, variant, load);
                let measured = watching.and_then(|watching| {
                    let sent = site.send(load, duration)?;
                    watching.end().map(|watched| (sent, watched))
                });
                match measured {
                    Ok((sent, watched)) => results.add(variant, round, sent, watched),
                    Err(why) => {
                        ui.say(&format!("{load}: without {variant}: {why:#}"));
                        ensure!(variant != Variant::Nothing, "the load itself failed");
                        variants.retain(|other| *other != variant);
                    }
                }
            }
        }
        println!("\n{load}: median and quartiles, rounds: {}\n", options.rounds);
        println!("{}", results.table());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the program as users run it.
fn build(workspace: &Workspace, ui: &Ui) -> Result<PathBuf> {
    crate::build_cmd::run(workspace, ui, crate::build_cmd::Profile::Release)
}
