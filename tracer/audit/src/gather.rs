//! Gathering: what the browser sent in which phase, and what of it tells of the
//! audit's pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    canary::{Canary, Mention},
    journal::{How, Journal, Outcome},
    lifelines::Lifelines,
    mentions::{Named, named},
    phase::Phase,
};
use tracer_core::{
    account::{Accounts, Application},
    detect::{Kind, Site, host_of_authority},
    judge::{Level, Recipient, Sender, Severity},
    pipeline::{Decoded, Output, Pipeline},
    record::{BootTime, Event, Losses},
    rules::Rules,
};

/// Disclosing requests that are kept whole. An audit of ten minutes has some
/// hundred.
const MAX_KEPT: usize = 2048;

/// Bytes of bodies that are kept with them.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// Requests of the browser's own that are counted one by one.
const MAX_COUNTED: usize = 1 << 16;

/// Gathers what an audit's browser sent.
pub struct Gatherer {
    pipeline: Pipeline,
    outputs: Vec<Output>,
    gathered: Gathered,
    kept_bytes: usize,
}

/// All that was gathered.
pub struct Gathered {
    pub(super) journal: Journal,
    pub(super) canaries: Vec<Canary>,
    /// Who made the browser's own requests, and to whom.
    pub(super) own: Vec<Own>,
    /// Those that disclose something, whole.
    pub(super) kept: Vec<Kept>,
    /// The visits' own requests, one a page.
    visits: Vec<(Option<usize>, Decoded)>,
    pub(super) kept_uncounted: u64,
    /// Requests by pages, by the number of their stage.
    pub(super) page_requests: BTreeMap<usize, u64>,
    /// The visits whose own request was read.
    pub(super) read_visits: BTreeSet<u64>,
    pub(super) lifelines: Lifelines,
    pub(super) losses: Losses,
    pub(super) accounts: Accounts,
    pub(super) missing_bytes: u64,
}

/// A request of the browser's own.
#[derive(Debug, Clone)]
pub(super) struct Own {
    /// Its number in the run.
    pub(super) id: u64,
    /// In which stage of the journal.
    pub(super) stage: Option<usize>,
    pub(super) recipient: String,
    pub(super) host: String,
    pub(super) who: Recipient,
    pub(super) application: Application,
    /// Bytes of it that are not known or could not be read through.
    pub(super) unread: u64,
}

/// A request that discloses something.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) stage: Option<usize>,
    pub(super) recipient: String,
    pub(super) named: Vec<Named>,
    pub(super) decoded: Decoded,
}

impl Gatherer {
    /// For the run of this journal.
    pub fn new(journal: Journal, rules: Arc<Rules>) -> Self {
        let visits = journal.stages.iter().flat_map(|stage| &stage.visits);
        let canaries = visits.map(|visit| visit.canary.clone()).collect();
        let mut pipeline = Pipeline::new(rules);
        if let Some(browser) = &journal.subject.browser {
            // Whatever its process is called: it is what is audited.
            pipeline.assume(browser);
        }
        Self {
            pipeline,
            outputs: Vec::new(),
            gathered: Gathered {
                journal,
                canaries,
                own: Vec::new(),
                kept: Vec::new(),
                visits: Vec::new(),
                kept_uncounted: 0,
                page_requests: BTreeMap::new(),
                read_visits: BTreeSet::new(),
                lifelines: Lifelines::default(),
                losses: Losses::default(),
                accounts: Accounts::default(),
                missing_bytes: 0,
            },
            kept_bytes: 0,
        }
    }

    /// Takes the next event of the trace.
    pub fn push(&mut self, event: Event) {
        self.pipeline.push(event, &mut self.outputs);
        self.take();
    }

    /// There are no more.
    #[must_use]
    pub fn finish(mut self) -> Gathered {
        self.pipeline.finish(&mut self.outputs);
        self.take();
        self.gathered.losses = *self.pipeline.losses();
        self.gathered.missing_bytes = self.pipeline.totals().missing_bytes;
        self.gathered.accounts = self.pipeline.into_accounts();
        self.gathered
    }

    fn take(&mut self) {
        for output in std::mem::take(&mut self.outputs) {
            if let Output::Request(decoded) = output {
                self.request(*decoded);
            }
        }
    }

    fn request(&mut self, decoded: Decoded) {
        let all = &mut self.gathered;
        let request = &decoded.sent.message;
        let authority = request.authority.as_deref().unwrap_or_default();
        let stage = all.stage_at(request.time);
        let named = named(request, &all.canaries);
        if let Some(visited) = all.page_of(authority) {
            // A visit, or something of the page's.
            let path = request.target();
            let is_it =
                |canary: &&Canary| canary.host() == visited && path.contains(&canary.path_word);
            let page = all.canaries.iter().find(is_it);
            if let Some(page) = page.map(|canary| canary.id)
                && all.read_visits.insert(page)
            {
                all.visits.push((stage, decoded));
            }
            return;
        }
        let addresses = named.iter().any(|named| matches!(named.mention, Mention::Address(_)));
        let own = match decoded.sender {
            Sender::Navigation => addresses && !all.was_searched(&named),
            // Our pages name nobody else: who tells of them is not a page.
            Sender::Page => {
                matches!(decoded.recipient, Recipient::Maker { .. })
                    || (!named.is_empty() && all.pages_are_ours())
            }
            _ => true,
        };
        if !own {
            if decoded.sender == Sender::Page
                && let Some(stage) = stage
            {
                *all.page_requests.entry(stage).or_default() += 1;
            }
            return;
        }
        let host = match (&request.authority, decoded.sent.connection.remote) {
            (Some(authority), _) => host_of_authority(authority).to_owned(),
            (None, Some(remote)) => remote.ip().to_string(),
            (None, None) => "an unknown host".to_owned(),
        };
        let recipient =
            Site::of_host(&host).map_or_else(|| host.clone(), |site| site.as_str().to_owned());
        if let Some(stage) = stage.and_then(|stage| all.journal.stages.get(stage)) {
            let with_visits = addresses || tells_of_visit(&decoded);
            all.lifelines.take(&decoded, &recipient, stage.phase, with_visits);
        }
        let again = request.update;
        let own = Own {
            id: decoded.number,
            stage,
            recipient: recipient.clone(),
            host,
            who: decoded.recipient.clone(),
            application: decoded.application.clone(),
            unread: request.unread_bytes + decoded.findings.report.unread(),
        };
        if let Some(at) = all.own.iter().rposition(|known| again && known.id == own.id) {
            all.own[at] = own;
        } else if all.own.len() < MAX_COUNTED {
            all.own.push(own);
        }
        if named.is_empty() && !discloses(&decoded) {
            return;
        }
        let kept = Kept { stage, recipient, named, decoded };
        if let Some(known) = all.kept.iter_mut().find(|known| known.id() == kept.id()) {
            *known = kept;
            return;
        }
        self.kept_bytes += kept.decoded.sent.message.body.data.len();
        if all.kept.len() < MAX_KEPT && self.kept_bytes < MAX_KEPT_BYTES {
            all.kept.push(kept);
        } else {
            all.kept_uncounted += 1;
        }
    }
}

impl Kept {
    /// Its number in the run.
    pub(super) fn id(&self) -> u64 {
        self.decoded.number
    }
}

/// Whether a hash of a visit, or what was typed, is in it.
fn tells_of_visit(decoded: &Decoded) -> bool {
    counted(decoded).any(|one| matches!(one.finding.kind, Kind::VisitedUrlHash | Kind::TypedText))
}

/// The disclosures that are sure enough, and of something.
pub(super) fn counted(decoded: &Decoded) -> impl Iterator<Item = &tracer_core::judge::Disclosure> {
    decoded
        .disclosures
        .iter()
        .filter(|one| one.verdict.severity > Severity::Info && one.confidence.level > Level::Low)
}

fn discloses(decoded: &Decoded) -> bool {
    counted(decoded).next().is_some()
}

impl Gathered {
    /// The run's journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The visits, and the requests that disclose something, whole and in their
    /// order, each with its phase.
    pub fn evidence(&self) -> Vec<(Option<Phase>, &Decoded)> {
        let visits = self.visits.iter().map(|(stage, decoded)| (*stage, decoded));
        let kept = self.kept.iter().map(|kept| (kept.stage, &kept.decoded));
        let all = visits.chain(kept).map(|(stage, decoded)| (self.phase(stage), decoded));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(_, decoded)| decoded.sent.message.time);
        all
    }

    pub(super) fn phase(&self, stage: Option<usize>) -> Option<Phase> {
        Some(self.journal.stages.get(stage?)?.phase)
    }

    /// What is sent after a phase's end, and before the next one's beginning,
    /// is that phase's: a browser reports when it is stopped, too.
    fn stage_at(&self, time: BootTime) -> Option<usize> {
        let begun = |stage: &super::journal::Stage| {
            stage.began <= time && !matches!(stage.outcome, Outcome::Skipped { .. })
        };
        self.journal.stages.iter().rposition(begun)
    }

    /// The host of this authority, where it is one of the pages'.
    fn page_of(&self, authority: &str) -> Option<String> {
        let host = host_of_authority(authority);
        self.canaries.iter().any(|canary| canary.host() == host).then(|| host.to_owned())
    }

    /// Whether we serve the pages, and so know what is in them.
    fn pages_are_ours(&self) -> bool {
        self.canaries.iter().any(|canary| canary.host_word.is_some())
    }

    /// Whether a request that names these is the search that the audit typed.
    fn was_searched(&self, named: &[Named]) -> bool {
        let visits = || self.journal.stages.iter().flat_map(|stage| &stage.visits);
        named.iter().all(|named| {
            visits().any(|visit| visit.canary.id == named.canary && visit.how == How::Searched)
        })
    }
}

#[cfg(test)]
mod tests;
