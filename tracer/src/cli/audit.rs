//! `tracer audit`: tests a browser.

mod actions;
mod channel;
mod decoder;
mod desktop;
mod drive;
mod guide;
mod output;
mod output_tail;
mod plan;
mod recorder;
mod scratch;
mod site;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracer_ebpf::{DEFAULT_HEAD, DEFAULT_TLS_HEAD};

use self::{
    actions::Actions,
    channel::Start,
    decoder::Decoder,
    drive::{Driver, now},
    plan::{Plan, warn_about_running},
    recorder::Recorder,
    scratch::Scratch,
    site::Site,
};
pub(super) use self::{
    decoder::{DecodeArgs, decode},
    guide::Installed,
    output::Folder,
    scratch::{FilesArgs, files},
    site::{ServeArgs, serve},
};
use super::{
    Usage,
    locate::locator,
    packages, profiles,
    rule_files::RuleTexts,
    run::{follow, report_probe},
    signals::FILE_TOO_LARGE,
    users::{self, User},
    watch::HookArg,
};
use tracer_audit::{
    canary,
    journal::{JOURNAL_SCHEMA, Journal, Subject},
    phase::Phase,
    report::{Answer, Report},
    scenario::{self, EMBEDDED, Scenario},
};
use tracer_core::{alert::printable, record::Clock};
use tracer_host::{
    hook::{Capture, DEFAULT_RING, Events, Watch},
    sandbox,
};

/// Test whether a browser reports the pages that it opens (needs root).
///
/// tracer starts the browser in a new profile and opens pages with unique addresses. It goes
/// through twelve phases: fresh start, consent declined, idle, pages opened, experiment, address and
/// search typed, restart, private mode, experiment in private mode, private mode after a restart,
/// data cleared, reinstalled. It answers each
/// question with yes, no or cannot tell, and writes a report with the evidence to a new folder.
/// Ctrl-C ends the audit early, and the report covers everything up to then.
///
/// Without options, on a terminal, tracer asks which browser, on whose desktop, which phases, and where
/// to write. Under sudo, the browser runs as the user who called sudo, on that user's screen, and the
/// report's folder is given to that user.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  sudo tracer audit                                    asks what to do
  sudo tracer audit --browser Chromium                 use the embedded scenario
  sudo tracer audit --browser Firefox --out firefox    write to the folder firefox
  tracer audit --package com.android.chrome            on Android, as root
  sudo tracer audit --exe /opt/b/b --scenario b.toml   use your own scenario
  tracer audit --print-scenario chromium > b.toml      start a scenario from an embedded one")]
pub(super) struct Args {
    /// Audit this browser (name in the rules, for example "Chromium")
    #[arg(long, value_name = "NAME")]
    browser: Option<String>,
    #[command(flatten)]
    packages: packages::PackageArgs,
    /// Audit the browser that executes a file of this name, or at this path (if it contains a /)
    #[arg(long, value_name = "NAME|PATH")]
    exe: Vec<String>,
    /// Also watch this program, to find out whether it sends the same identifiers
    #[arg(long, value_name = "NAME|PATH")]
    also_exe: Vec<String>,
    /// Control the browser with this scenario (see docs/reference/scenarios.md). For steps without
    /// a command, tracer asks you
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Go through these phases only: fresh, declined, idle, pages, experiment, typed, restart,
    /// private, private_experiment, private_restart, cleared, reinstalled. Questions about the others
    /// are answered with "cannot tell"
    #[arg(long, value_name = "PHASE", value_delimiter = ',', value_parser = guide::phase)]
    phases: Vec<Phase>,
    /// Location of the pages: `loopback` (tracer's own server, with TLS), `plain` (the same at
    /// http://127.0.0.1), or the URL of an existing site, to which made-up paths are added
    /// [default: from the scenario]
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Write the report and the evidence to this new folder [default: audit-NAME-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Skip steps for which the scenario has no command, instead of asking you
    #[arg(long)]
    unattended: bool,
    /// Run the browser as this user [default: the user who called sudo]
    #[arg(long = "as", value_name = "USER")]
    run_as: Option<String>,
    /// Kernel hook that captures sends (see docs/reference/hooks.md)
    #[arg(long, value_name = "HOOK", value_enum, default_value_t = HookArg::Auto)]
    hook: HookArg,
    #[command(flatten)]
    rules: super::rules::Folder,
    /// Show values that identify a person or device. By default the report shows digests of them
    #[arg(long)]
    show_values: bool,
    /// Print an embedded scenario and exit
    #[arg(long, value_name = "NAME", exclusive = true,
          value_parser = clap::builder::PossibleValuesParser::new(EMBEDDED.map(|(name, _)| name)))]
    print_scenario: Option<String>,
}

/// Exit code after the user ended the audit (128 + SIGINT).
const INTERRUPTED: u8 = 130;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(name) = &args.print_scenario {
        let text = Scenario::embedded(name).unwrap_or_default();
        io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    sandbox::protect_memory()?;
    let rules = args.rules.read()?;
    let knowledge = rules.parse()?;
    let asked = args.names_nothing().then(|| args.ask(knowledge.rules())).transpose()?;
    let args = asked.as_ref().unwrap_or(args);
    let plan = args.plan(knowledge.rules())?;
    let user = args.user()?;
    warn_about_running(&plan);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(audit(args, plan, user, &rules))
}

/// Interval at which events of the probes are reported.
const TICK: Duration = Duration::from_millis(200);

async fn audit(
    args: &Args,
    plan: Plan,
    user: Option<User>,
    rules: &RuleTexts,
) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // The terminal was closed.
    let mut hangup = signal(SignalKind::hangup())?;
    // By default, a file that reaches the limit of the process would end it.
    let _beyond_limit = signal(SignalKind::from_raw(FILE_TOO_LARGE))?;
    // Attach the programs before the folder is made, so that none is left behind if that fails.
    let watch = Watch {
        targets: plan.watched.clone(),
        head_bytes: DEFAULT_HEAD,
        tls_head_bytes: DEFAULT_TLS_HEAD,
    };
    let (capture, _) = Capture::start_best(args.hook.hooks(), &watch, DEFAULT_RING)?;
    let folder = Arc::new(Folder::new(&args.out(&plan.name))?);
    let scratch = Scratch::create(user.as_ref())?;
    let place = args.site.as_deref().unwrap_or(&plan.scenario.site);
    let (site, pages) = match place {
        "loopback" => {
            let site = Site::start(true)?;
            let domain = site::DOMAIN.to_owned();
            let pages = canary::Hosting::Wildcard { domain, port: site.port };
            (Some(site), pages)
        }
        "plain" => {
            let site = Site::start(false)?;
            let pages = canary::Hosting::Below(format!("http://127.0.0.1:{}", site.port));
            (Some(site), pages)
        }
        url if url.starts_with("https://") || url.starts_with("http://") => {
            (None, canary::Hosting::Below(url.to_owned()))
        }
        other => {
            return Err(Usage(format!(
                "--site {}: give `loopback`, `plain` or a URL",
                printable(other)
            ))
            .into());
        }
    };
    let pages = drive::pages(&plan.scenario, &pages)?;
    let mut actions = Actions::new(user, !args.unattended)?;
    actions.values = values(&plan, &scratch, site.as_ref(), &pages)?;
    let journal = journal(&plan, &mut actions)?;
    let start = Start::new(journal.clone(), rules, args.show_values);
    let recorder = Recorder::start(Arc::clone(&folder), &start, Decoder::start()?)?;
    let follower = follow(&capture, locator());
    let mut packages = args.packages.follow(&capture, follower.as_ref(), &watch.targets)?;
    packages.pending().into_iter().try_for_each(|event| recorder.record_one(event))?;
    let mut events =
        Events::start(capture.reader()?, follower.as_ref(), Some(profiles::reader()?))?;
    message!("auditing {}; writing to {}", plan.name, folder.path().display());

    let mut driver = Driver {
        scenario: &plan.scenario,
        actions,
        site,
        pages,
        recorder: &recorder,
        scratch: &scratch,
        journal,
    };
    let (stop, mut stopped) = oneshot::channel::<()>();
    let record = async {
        let mut tick = tokio::time::interval(TICK);
        let mut done = false;
        loop {
            tokio::select! {
                batch = events.next() => match batch {
                    Some(batch) => recorder.record(batch).await?,
                    None => return anyhow::Ok(()),
                },
                event = packages.next() => {
                    packages.report(event).map_or(Ok(()), |event| recorder.record_one(event))?;
                }
                _ = tick.tick() => {
                    if let Some(follower) = &follower {
                        follower.events().for_each(|event| report_probe(&event, false));
                    }
                }
                _ = &mut stopped, if !done => {
                    done = true;
                    events.stop();
                }
            }
        }
    };
    let act = async {
        let ended = tokio::select! {
            ended = driver.drive() => Some(ended),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            _ = hangup.recv() => None,
        };
        if ended.is_none() {
            message!("ending early; the report covers everything up to now");
            driver.interrupted();
        }
        driver.actions.end_all().await;
        // The last sends are still in the ring buffer.
        let _ = stop.send(());
        ended
    };
    let (ended, recorded) = tokio::join!(act, record);
    let Driver { mut journal, .. } = driver;
    if recorded.is_ok() {
        events.join()?;
        journal.ended = Some(now());
        // If the recording has ended, `finish` says why.
        let _ = recorder.journal(&journal);
    }
    let finished = recorder.finish();
    if let Some(caller) = users::caller() {
        folder.hand_over(&caller)?;
        let (path, name) = (folder.path().display(), printable(&caller.name));
        message!("{path} belongs to {name}, and no other user can read it");
    }
    finished?;
    recorded?;
    drop(packages);
    if let Some(follower) = follower {
        follower.join();
    }
    message!("wrote the report to {}", folder.file(output::HTML).display());
    match ended {
        Some(ended) => ended.map(|()| ExitCode::SUCCESS),
        None => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Returns the values of the placeholders in commands.
fn values(
    plan: &Plan,
    scratch: &Scratch,
    site: Option<&Site>,
    pages: &[(Phase, Vec<canary::Canary>)],
) -> anyhow::Result<BTreeMap<&'static str, String>> {
    // Only names of tracer's own server lead to this machine.
    let own = pages.iter().flat_map(|(_, pages)| pages).filter(|page| page.host_word.is_some());
    let hosts: Vec<&str> = own.map(canary::Canary::host).collect();
    let mut values = BTreeMap::from([
        ("profile", scratch.profile().display().to_string()),
        ("hosts", hosts.join(",")),
        ("domain", site::DOMAIN.to_owned()),
    ]);
    if let Some(site) = site {
        values.insert("port", site.port.to_string());
        if let (Some(spki), Some(ca)) = (&site.spki, &site.ca) {
            values.insert("spki", spki.clone());
            values.insert("ca", scratch.certificate(ca)?.display().to_string());
        }
    }
    if let Some(package) = &plan.package {
        values.insert("package", package.clone());
    }
    debug_assert!(values.keys().all(|name| scenario::PLACEHOLDERS.contains(name)));
    Ok(values)
}

fn journal(plan: &Plan, actions: &mut Actions) -> anyhow::Result<Journal> {
    let random = || {
        crate::random::key().map(|key| HEXLOWER.encode(&key.0)).context("cannot create random keys")
    };
    let uname = rustix::system::uname();
    let version = plan.scenario.commands.version.as_ref();
    let began = now();
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Journal {
        schema: JOURNAL_SCHEMA,
        run: random()?,
        redaction_key: random()?,
        subject: Subject {
            name: plan.name.clone(),
            version: version.and_then(|command| actions.version(command)),
            browser: plan.browser.clone(),
            watched: plan.words.clone(),
            scenario: plan.scenario.name.clone(),
            system: format!(
                "{} {} {}",
                uname.sysname().to_string_lossy(),
                uname.release().to_string_lossy(),
                uname.machine().to_string_lossy()
            ),
        },
        clock: Clock { boot: began, unix: unix.as_nanos().try_into().unwrap_or(u64::MAX) },
        began,
        ended: None,
        interrupted: false,
        stages: Vec::new(),
    })
}

/// Prints the answers.
pub(super) fn print(report: &Report, out: &mut impl io::Write) -> io::Result<()> {
    for sentence in &report.summary {
        writeln!(out, "{}", printable(sentence))?;
    }
    writeln!(out)?;
    for verdict in &report.verdicts {
        let answer = match verdict.answer {
            Answer::CannotTell => "cannot tell".to_owned(),
            other => other.label().to_uppercase(),
        };
        writeln!(out, "{answer:<12} {}: {}", verdict.title, printable(&verdict.detail))?;
    }
    for note in &report.notes {
        writeln!(out, "{:<12} {}", "note", printable(note))?;
    }
    Ok(())
}
