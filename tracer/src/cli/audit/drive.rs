//! Goes through the phases.

use std::time::Duration;

use anyhow::Context as _;

use super::{
    actions::{Actions, Answered},
    output::Folder,
    scratch::Scratch,
    site::Site,
};
use tracer_audit::{
    canary::Canary,
    journal::{Journal, OpenMethod, Outcome, Stage, Visit},
    phase::Phase,
    scenario::{Command, Scenario},
};
use tracer_core::record::BootTime;
use tracer_host::hook;

/// How long a browser may take to ask for a page.
const OPENING: Duration = Duration::from_secs(15);

/// How often a page is opened that its server is not asked for: a browser that
/// has just started may not have heard.
const TRIES: u32 = 2;

/// Goes through the phases with one browser.
pub(super) struct Driver<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) actions: Actions,
    /// The pages' server, where it is ours.
    pub(super) site: Option<Site>,
    /// The pages of each phase.
    pub(super) pages: Vec<(Phase, Vec<Canary>)>,
    pub(super) folder: &'a Folder,
    pub(super) scratch: &'a Scratch,
    pub(super) journal: Journal,
}

/// Why a phase does not go on.
enum Stop {
    Skipped(String),
    Failed(String),
}

impl From<anyhow::Error> for Stop {
    fn from(err: anyhow::Error) -> Self {
        Self::Failed(format!("{err:#}"))
    }
}

/// Something that is done to the browser.
#[derive(Debug, Clone, Copy)]
enum Act {
    Start,
    StartPrivate,
    Decline,
    Clear,
    Reinstall,
}

impl Driver<'_> {
    /// Goes through all phases. `report` is told of each one's end.
    pub(super) async fn drive(&mut self, report: &mut impl FnMut(&Journal)) -> anyhow::Result<()> {
        for (i, phase) in Phase::ALL.into_iter().enumerate() {
            message!("phase {} of {}: {}", i + 1, Phase::ALL.len(), phase.title());
            self.begin(phase)?;
            let outcome = match self.phase(phase).await {
                Ok(()) => Outcome::Done,
                Err(Stop::Skipped(reason)) => {
                    message!("left out: {reason}");
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
            report(&self.journal);
        }
        self.stop().await.map_err(|stop| match stop {
            Stop::Failed(reason) | Stop::Skipped(reason) => anyhow::anyhow!(reason),
        })
    }

    /// The user ends the run.
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
        self.journal.stages.push(Stage { phase, began, ended: None, outcome, visits });
        self.folder.journal(&self.journal)
    }

    fn end(&mut self, outcome: Outcome) -> anyhow::Result<()> {
        if let Some(stage) = self.journal.stages.last_mut() {
            (stage.ended, stage.outcome) = (Some(now()), outcome);
        }
        self.folder.journal(&self.journal)
    }

    async fn phase(&mut self, phase: Phase) -> Result<(), Stop> {
        if let Some(reason) = self.scenario.skipped(phase) {
            return Err(Stop::Skipped(reason.to_owned()));
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
            Phase::Typed => return self.typed().await,
            Phase::Restart => {
                self.stop().await?;
                self.act(Act::Start).await?;
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

    /// What a new profile has.
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
                "decline whatever the browser asks you to agree to",
            ),
            Act::Clear => (
                "clear",
                commands.clear.as_ref(),
                "clear all of the browser's data, as its settings or the system's let you",
            ),
            Act::Reinstall => (
                "reinstall",
                commands.reinstall.as_ref(),
                "remove the browser, and install it again",
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

    /// Has the operator do what there is no command for.
    async fn ask(&mut self, name: &str, words: &str) -> Result<(), Stop> {
        if !self.actions.can_ask() {
            return Err(Stop::Skipped(format!(
                "the scenario has no command `{name}`, and nobody was there to be asked"
            )));
        }
        match self.actions.ask(words).await {
            Some(Answered::Done) => Ok(()),
            Some(Answered::Skip) => Err(Stop::Skipped("the operator left it out".into())),
            None => Err(Stop::Skipped("the operator is gone".into())),
        }
    }

    fn can_be_private(&self) -> Result<(), Stop> {
        let commands = &self.scenario.commands;
        let known = commands.start_private.is_some() || commands.open_private.is_some();
        if known || self.actions.can_ask() {
            return Ok(());
        }
        Err(Stop::Skipped(
            "the scenario has no command `open_private`, and nobody was there to be asked".into(),
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
            for _ in 0..TRIES {
                match &command {
                    Some(command) => self.actions.run(command).await?,
                    None => {
                        let window = if phase.is_private() { " in a private window" } else { "" };
                        self.ask(name, &format!("open this page{window}: {url}")).await?;
                    }
                }
                served = self.is_served(&canary).await;
                if served != Some(false) {
                    break;
                }
            }
            self.was_served(served)?;
            sleep(self.scenario.dwell).await;
        }
        Ok(())
    }

    /// An address is typed, and then words.
    async fn typed(&mut self) -> Result<(), Stop> {
        for (canary, how) in
            self.pages_of(Phase::Typed).iter().zip([OpenMethod::Typed, OpenMethod::Searched])
        {
            let text = match how {
                OpenMethod::Searched => canary.title.clone(),
                _ => canary.url.split_once("://").map_or(&canary.url[..], |(_, rest)| rest).into(),
            };
            self.actions.values.insert("text", text.clone());
            // Asked first: what is left out was no visit.
            match &self.scenario.commands.type_text {
                Some(command) => {
                    self.visit(canary, how)?;
                    self.actions.run(command).await?;
                }
                None => {
                    self.visit(canary, how)?;
                    let words = format!("type this into the address bar, and confirm it: {text}");
                    if let Err(stop) = self.ask("type", &words).await {
                        self.unvisit();
                        return Err(stop);
                    }
                }
            }
            let served = match how {
                OpenMethod::Searched => None,
                _ => self.is_served(canary).await,
            };
            self.was_served(served)?;
            sleep(self.scenario.dwell).await;
        }
        self.settle(Phase::Typed).await;
        Ok(())
    }

    fn pages_of(&self, phase: Phase) -> Vec<Canary> {
        let pages = self.pages.iter().find(|(known, _)| *known == phase);
        pages.map(|(_, pages)| pages.clone()).unwrap_or_default()
    }

    /// Notes a visit before it is made: what tells of it comes later.
    fn visit(&mut self, canary: &Canary, how: OpenMethod) -> anyhow::Result<()> {
        if let Some(site) = &self.site {
            site.add(canary);
        }
        if let Some(stage) = self.journal.stages.last_mut() {
            let canary = canary.clone();
            stage.visits.push(Visit { canary, how, at: now(), served: None });
        }
        self.folder.journal(&self.journal)
    }

    fn unvisit(&mut self) {
        if let Some(stage) = self.journal.stages.last_mut() {
            stage.visits.pop();
        }
    }

    async fn is_served(&self, canary: &Canary) -> Option<bool> {
        match &self.site {
            Some(site) => Some(site.is_served(canary, OPENING).await),
            None => None,
        }
    }

    fn was_served(&mut self, served: Option<bool>) -> anyhow::Result<()> {
        let visits = self.journal.stages.last_mut().map(|stage| &mut stage.visits);
        if let Some(visit) = visits.and_then(|visits| visits.last_mut()) {
            visit.served = served;
            if served == Some(false) {
                message!("the browser did not ask for {}", visit.canary.url);
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
        self.folder.journal(&self.journal)
    }

    async fn settle(&self, phase: Phase) {
        sleep(self.scenario.seconds(phase)).await;
    }

    async fn stop(&mut self) -> Result<(), Stop> {
        if let Some(stop) = &self.scenario.commands.stop {
            self.actions.run(stop).await?;
        } else if self.scenario.commands.start.is_none() {
            // Who started it is the one to end it.
            self.ask("stop", "close the browser").await?;
        }
        self.actions.end_all().await;
        Ok(())
    }
}

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// The time since boot, which records have too.
pub(super) fn now() -> BootTime {
    hook::boot_time()
}

/// Makes the pages of all phases.
pub(super) fn pages(
    scenario: &Scenario,
    site: &tracer_audit::canary::Hosting,
) -> anyhow::Result<Vec<(Phase, Vec<Canary>)>> {
    let mut id = 0;
    let mut page = || {
        id += 1;
        let mut random = [0; tracer_audit::canary::SEED];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .context("no random numbers for the pages' addresses")?;
        Ok(Canary::new(id, site, &random))
    };
    let of = |phase| (0..scenario.pages(phase)).map(|_| page()).collect::<anyhow::Result<_>>();
    let mut of = of;
    Phase::ALL.into_iter().map(|phase| Ok((phase, of(phase)?))).collect()
}
