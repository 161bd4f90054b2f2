//! Takes a browser through the phases.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{
    super::terminal,
    actions::{Actions, Answer},
    recorder::Recorder,
    scratch::Scratch,
    site::Site,
};
use tracer_audit::{
    canary::{Canary, Hosting, SEED},
    differential::design::{self, Step},
    journal::{Journal, OpenMethod, Outcome, Stage, Visit},
    phase::Phase,
    scenario::{Command, Scenario},
};
use tracer_core::{record::BootTime, wording::counted};
use tracer_host::hook;

/// Time to wait for the browser to request a page.
const OPENING: Duration = Duration::from_secs(15);

/// Time to wait for the browser to request a page of an experiment. One that is missed is left out.
const EXPERIMENT_OPENING: Duration = Duration::from_secs(5);

/// Number of windows of an experiment after which its progress is reported.
const PROGRESS: usize = 10;

/// Number of attempts to open a page. A browser that has just started may miss the first one.
const ATTEMPTS: u32 = 2;

/// Takes one browser through the phases.
pub(super) struct Driver<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) actions: Actions,
    /// The server of the pages, unless they are on another site.
    pub(super) site: Option<Site>,
    /// Pages of each phase.
    pub(super) pages: Vec<(Phase, Vec<Canary>)>,
    pub(super) recorder: &'a Recorder,
    pub(super) scratch: &'a Scratch,
    pub(super) journal: Journal,
}

/// Reason for which a phase ends early.
enum Stop {
    Skipped(String),
    Failed(String),
}

impl From<anyhow::Error> for Stop {
    fn from(err: anyhow::Error) -> Self {
        Self::Failed(terminal::explained(&err))
    }
}

/// Action on the browser.
#[derive(Debug, Clone, Copy)]
enum Act {
    Start,
    StartPrivate,
    Decline,
    Clear,
    Reinstall,
}

impl Driver<'_> {
    /// Goes through all phases. After each one an interim report is written, so that an audit that
    /// is killed has a report.
    pub(super) async fn drive(&mut self) -> anyhow::Result<()> {
        for (i, phase) in Phase::ALL.into_iter().enumerate() {
            message!(
                "phase {} of {}: {}{}",
                i + 1,
                Phase::ALL.len(),
                phase.title(),
                left(self.scenario, phase)
            );
            self.begin(phase)?;
            let outcome = match self.phase(phase).await {
                Ok(()) => Outcome::Done,
                Err(Stop::Skipped(reason)) => {
                    message!("skipped: {reason}");
                    Outcome::Skipped { reason }
                }
                Err(Stop::Failed(reason)) if phase == Phase::Fresh => {
                    anyhow::bail!("the browser cannot be started: {reason}");
                }
                Err(Stop::Failed(reason)) => {
                    message!("failed: {reason}");
                    Outcome::Failed { reason }
                }
            };
            self.end(outcome)?;
            self.recorder.report()?;
        }
        self.stop().await.map_err(|stop| match stop {
            Stop::Failed(reason) | Stop::Skipped(reason) => anyhow::anyhow!(reason),
        })
    }

    /// Records that the user has ended the audit.
    pub(super) fn interrupted(&mut self) {
        self.journal.interrupted = true;
        if let Some(stage) = self.journal.stages.last_mut()
            && stage.outcome == Outcome::Running
        {
            (stage.ended, stage.outcome) = (Some(now()), Outcome::Interrupted);
        }
    }

    fn begin(&mut self, phase: Phase) -> anyhow::Result<()> {
        let began = now();
        let (outcome, visits) = (Outcome::Running, Vec::new());
        self.journal.stages.push(Stage {
            phase,
            began,
            ended: None,
            outcome,
            visits,
            idle: Vec::new(),
        });
        self.recorder.journal(&self.journal)
    }

    fn end(&mut self, outcome: Outcome) -> anyhow::Result<()> {
        if let Some(stage) = self.journal.stages.last_mut() {
            (stage.ended, stage.outcome) = (Some(now()), outcome);
        }
        self.recorder.journal(&self.journal)
    }

    async fn phase(&mut self, phase: Phase) -> Result<(), Stop> {
        if let Some(reason) = self.scenario.skipped(phase) {
            return Err(Stop::Skipped(reason));
        }
        match phase {
            Phase::Fresh => {
                self.prepare().await?;
                self.act(Act::Start).await?;
            }
            Phase::Declined => self.act(Act::Decline).await?,
            Phase::Idle => {}
            Phase::Pages => {
                if let Some(accept) = &self.scenario.commands.accept {
                    self.actions.run(accept).await?;
                }
            }
            Phase::Experiment => return self.experiment(phase).await,
            Phase::Typed => return self.typed().await,
            Phase::Restart => {
                self.stop().await?;
                self.act(Act::Start).await?;
            }
            // The windows of the previous phase are still open.
            Phase::PrivateExperiment => {
                self.can_be_private()?;
                return self.experiment(phase).await;
            }
            Phase::Private | Phase::PrivateRestart => {
                self.can_be_private()?;
                self.stop().await?;
                self.act(Act::StartPrivate).await?;
            }
            Phase::Cleared => {
                self.stop().await?;
                self.act(Act::Clear).await?;
                self.prepare().await?;
                self.act(Act::Start).await?;
            }
            Phase::Reinstalled => {
                self.stop().await?;
                self.act(Act::Reinstall).await?;
                self.prepare().await?;
                self.act(Act::Start).await?;
            }
        }
        self.open_pages(phase).await?;
        self.settle(phase).await;
        Ok(())
    }

    /// Creates a new profile.
    async fn prepare(&mut self) -> Result<(), Stop> {
        self.scratch.prepare(&self.scenario.files, &self.actions).await?;
        if let Some(prepare) = &self.scenario.commands.prepare {
            self.actions.run(prepare).await?;
        }
        Ok(())
    }

    async fn act(&mut self, act: Act) -> Result<(), Stop> {
        let commands = &self.scenario.commands;
        let (name, command, words): (_, Option<&Command>, _) = match act {
            Act::Start => ("start", commands.start.as_ref(), "start the browser"),
            Act::StartPrivate => (
                "start_private",
                commands.start_private.as_ref().or(commands.start.as_ref()),
                "start the browser, and open a private window",
            ),
            Act::Decline => (
                "decline",
                commands.decline.as_ref(),
                "decline everything that the browser asks you to agree to",
            ),
            Act::Clear => (
                "clear",
                commands.clear.as_ref(),
                "clear all of the browser's data in its settings or those of the system",
            ),
            Act::Reinstall => (
                "reinstall",
                commands.reinstall.as_ref(),
                "uninstall the browser and install it again",
            ),
        };
        match command {
            Some(command) => self.actions.run(command).await?,
            None => self.ask(name, words).await?,
        }
        if matches!(act, Act::Start | Act::StartPrivate) {
            sleep(self.scenario.settle).await;
        }
        Ok(())
    }

    /// Asks the operator to do something for which there is no command.
    async fn ask(&mut self, name: &str, words: &str) -> Result<(), Stop> {
        if !self.actions.can_ask() {
            return Err(Stop::Skipped(format!(
                "the scenario has no command `{name}`, and there was no operator to ask"
            )));
        }
        match self.actions.ask(words).await {
            Some(Answer::Done) => Ok(()),
            Some(Answer::Skip) => Err(Stop::Skipped("the operator skipped it".into())),
            None => Err(Stop::Skipped("the operator is no longer there".into())),
        }
    }

    fn can_be_private(&self) -> Result<(), Stop> {
        let commands = &self.scenario.commands;
        let known = commands.start_private.is_some() || commands.open_private.is_some();
        if known || self.actions.can_ask() {
            return Ok(());
        }
        Err(Stop::Skipped(
            "the scenario has no command `open_private`, and there was no operator to ask".into(),
        ))
    }

    async fn open_pages(&mut self, phase: Phase) -> Result<(), Stop> {
        let commands = &self.scenario.commands;
        let (name, command) = match phase.is_private() {
            true => ("open_private", commands.open_private.clone()),
            false => ("open", commands.open.clone()),
        };
        for canary in self.pages_of(phase) {
            let url = canary.url.clone();
            self.actions.values.insert("url", url.clone());
            self.visit(&canary, OpenMethod::Opened)?;
            let mut served = None;
            for _ in 0..ATTEMPTS {
                match &command {
                    Some(command) => self.actions.run(command).await?,
                    None => {
                        let window = if phase.is_private() { " in a private window" } else { "" };
                        let words = format!("open this page{window}: {url}");
                        if let Err(stop) = self.ask(name, &words).await {
                            self.not_opened();
                            return Err(stop);
                        }
                    }
                }
                served = self.is_served(&canary).await;
                if served != Some(false) {
                    break;
                }
            }
            self.record_served(served)?;
            sleep(self.scenario.dwell).await;
        }
        Ok(())
    }

    /// Opens the pages of an experiment, each several times, in random order. In between, windows of
    /// the same length pass in which nothing is done.
    async fn experiment(&mut self, phase: Phase) -> Result<(), Stop> {
        let commands = &self.scenario.commands;
        let (name, command) = match phase.is_private() {
            true => ("open_private", commands.open_private.clone()),
            false => ("open", commands.open.clone()),
        };
        let pages = self.pages_of(phase);
        let size = self.scenario.experiment(phase);
        let Some(command) = command else {
            // Dozens of pages are too many to open by hand.
            return Err(Stop::Skipped(format!("it needs the command `{name}`")));
        };
        let steps = design::schedule(pages.len(), size.visits, size.idle, seed()?);
        if pages.is_empty() || steps.is_empty() {
            return Err(Stop::Skipped("the scenario asks for no pages".into()));
        }
        let mut visits = Lengths::default();
        for (i, step) in steps.iter().enumerate() {
            if i > 0 && i % PROGRESS == 0 {
                message!("{i} of {} windows of the experiment", steps.len());
            }
            let begun = Instant::now();
            match step {
                Step::Idle => {
                    self.idle()?;
                    tokio::time::sleep(visits.mean(size.dwell)).await;
                }
                Step::Visit(page) => {
                    self.experiment_visit(&pages[*page], &command).await?;
                    sleep(size.dwell).await;
                    visits.add(begun.elapsed());
                }
            }
        }
        self.settle(phase).await;
        Ok(())
    }

    async fn experiment_visit(&mut self, canary: &Canary, command: &Command) -> Result<(), Stop> {
        self.actions.values.insert("url", canary.url.clone());
        self.visit(canary, OpenMethod::Opened)?;
        self.actions.run(command).await?;
        let served = match &self.site {
            Some(site) => Some(site.is_served(canary, EXPERIMENT_OPENING).await),
            None => None,
        };
        Ok(self.record_served(served)?)
    }

    /// Records that a window begins in which nothing is done.
    fn idle(&mut self) -> anyhow::Result<()> {
        if let Some(stage) = self.journal.stages.last_mut() {
            stage.idle.push(now());
        }
        self.recorder.journal(&self.journal)
    }

    /// Types an address, and then a search.
    async fn typed(&mut self) -> Result<(), Stop> {
        for (canary, how) in
            self.pages_of(Phase::Typed).iter().zip([OpenMethod::Typed, OpenMethod::Searched])
        {
            let text = match how {
                OpenMethod::Searched => canary.title.clone(),
                // With the scheme: browsers would try `http` at an address with a port.
                _ => canary.url.clone(),
            };
            self.actions.values.insert("text", text.clone());
            self.visit(canary, how)?;
            let commands = &self.scenario.commands;
            let command = match how {
                OpenMethod::Searched => commands.search.as_ref().or(commands.type_text.as_ref()),
                _ => commands.type_text.as_ref(),
            };
            match command {
                Some(command) => self.actions.run(command).await?,
                None => {
                    let words = format!("type this into the address bar and press Enter: {text}");
                    if let Err(stop) = self.ask("type", &words).await {
                        self.not_opened();
                        return Err(stop);
                    }
                }
            }
            let served = match how {
                OpenMethod::Searched => None,
                _ => self.is_served(canary).await,
            };
            self.record_served(served)?;
            sleep(self.scenario.dwell).await;
        }
        self.settle(Phase::Typed).await;
        Ok(())
    }

    fn pages_of(&self, phase: Phase) -> Vec<Canary> {
        let pages = self.pages.iter().find(|(known, _)| *known == phase);
        pages.map(|(_, pages)| pages.clone()).unwrap_or_default()
    }

    /// Records a visit before it is made, because reports of it follow.
    fn visit(&mut self, canary: &Canary, how: OpenMethod) -> anyhow::Result<()> {
        if let Some(site) = &mut self.site {
            site.add(canary);
        }
        if let Some(stage) = self.journal.stages.last_mut() {
            let canary = canary.clone();
            stage.visits.push(Visit { canary, how, at: now(), served: None });
        }
        self.recorder.journal(&self.journal)
    }

    /// Records that the operator did not make the last visit. It stays in the journal, which only
    /// grows.
    fn not_opened(&mut self) {
        let stage = self.journal.stages.last_mut();
        if let Some(visit) = stage.and_then(|stage| stage.visits.last_mut()) {
            visit.served = Some(false);
        }
    }

    async fn is_served(&self, canary: &Canary) -> Option<bool> {
        match &self.site {
            Some(site) => Some(site.is_served(canary, OPENING).await),
            None => None,
        }
    }

    fn record_served(&mut self, served: Option<bool>) -> anyhow::Result<()> {
        let visits = self.journal.stages.last_mut().map(|stage| &mut stage.visits);
        if let Some(visit) = visits.and_then(|visits| visits.last_mut()) {
            visit.served = served;
            if served == Some(false) {
                message!("the browser did not request {}", visit.canary.url);
            }
        }
        let visits = self.journal.stages.iter().flat_map(|stage| &stage.visits);
        let missed = visits.filter(|visit| visit.served == Some(false)).count();
        if served == Some(false) && missed == 1 {
            message!(
                "check that the scenario's commands work by hand, run by the same user \
                 (docs/guides/audit.md lists what browsers need)"
            );
        }
        self.recorder.journal(&self.journal)
    }

    async fn settle(&self, phase: Phase) {
        sleep(self.scenario.seconds(phase)).await;
    }

    async fn stop(&mut self) -> Result<(), Stop> {
        if let Some(stop) = &self.scenario.commands.stop {
            self.actions.run(stop).await?;
        } else if self.scenario.commands.start.is_none() {
            // The operator started it, so the operator has to close it.
            self.ask("stop", "close the browser").await?;
        }
        self.actions.end_all().await;
        Ok(())
    }
}

/// Says how long the phases from this one on take, if the scenario does not need the operator.
fn left(scenario: &Scenario, phase: Phase) -> String {
    const MINUTE: u64 = 60;
    if scenario.commands.open.is_none() {
        return String::new();
    }
    let rest = Phase::ALL.into_iter().filter(|next| *next >= phase);
    let seconds: u64 = rest.map(|next| scenario.estimate(next)).sum();
    match (seconds + MINUTE / 2) / MINUTE {
        0 => " (less than a minute left)".to_owned(),
        minutes => format!(" (about {} left)", counted(minutes, "minute")),
    }
}

/// Lengths of the windows with a visit.
#[derive(Debug, Default)]
struct Lengths {
    total: Duration,
    count: u32,
}

impl Lengths {
    fn add(&mut self, length: Duration) {
        self.total += length;
        self.count += 1;
    }

    /// Returns the mean, or a guess before the first visit.
    fn mean(&self, dwell: u64) -> Duration {
        let guess = Duration::from_secs(dwell) + Duration::from_millis(500);
        self.total.checked_div(self.count).unwrap_or(guess)
    }
}

/// Returns a random number.
fn seed() -> anyhow::Result<u64> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .context("cannot create random numbers")?;
    Ok(u64::from_ne_bytes(random))
}

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Returns the time since boot, the clock of records.
pub(super) fn now() -> BootTime {
    hook::boot_time()
}

/// Creates the pages of all phases.
pub(super) fn pages(
    scenario: &Scenario,
    hosting: &Hosting,
) -> anyhow::Result<Vec<(Phase, Vec<Canary>)>> {
    let mut id = 0;
    let mut page = |id| {
        let mut random = [0; SEED];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .context("cannot create random addresses for the pages")?;
        Ok(Canary::new(id, hosting, &random))
    };
    let mut of = |phase: Phase| {
        let first = id + 1;
        let pages: Vec<Canary> = if phase.is_experiment() {
            design::pages(first, hosting, scenario.experiment(phase).pages, seed()?)
        } else {
            let ids = first..first + u64::from(scenario.pages(phase));
            ids.map(&mut page).collect::<anyhow::Result<_>>()?
        };
        id += pages.len() as u64;
        anyhow::Ok((phase, pages))
    };
    Phase::ALL.into_iter().map(&mut of).collect()
}
