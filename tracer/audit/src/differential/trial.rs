//! An experiment as it took place: its windows, and the factors of its pages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::design::MAX_VISITS;
use crate::{
    canary::Canary,
    journal::{OpenMethod, Stage},
};
use tracer_core::record::BootTime;

/// Property in which the pages of an experiment differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The query.
    Query,
    /// The title.
    Title,
    /// The length of the URL.
    Length,
    /// The length of the title.
    TitleLength,
}

impl Factor {
    /// Returns its name in a sentence.
    pub fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Path => "path",
            Self::Query => "query",
            Self::Title => "title",
            Self::Length => "length of the URL",
            Self::TitleLength => "length of the title",
        }
    }
}

/// Use of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The page with this index in [`Trial::pages`] was opened.
    Visit(usize),
    /// Nothing was done.
    Idle,
    /// The browser was made to open a page, and did not request it.
    Failed,
}

/// An experiment.
#[derive(Debug)]
pub(super) struct Trial {
    /// The windows in order, each until the next one begins.
    windows: Vec<(BootTime, Content)>,
    /// The pages.
    pub(super) pages: Vec<Page>,
}

/// A page, by the indices of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) id: u64,
    levels: [usize; 4],
    pub(super) url_length: u64,
    pub(super) title_length: u64,
}

impl Page {
    /// Returns the index of one part.
    fn level(&self, factor: Factor) -> usize {
        match factor {
            Factor::Host => self.levels[0],
            Factor::Path => self.levels[1],
            Factor::Query => self.levels[2],
            Factor::Title => self.levels[3],
            Factor::Length => self.url_length as usize,
            Factor::TitleLength => self.title_length as usize,
        }
    }

    /// Reports whether two pages agree in these factors.
    pub(super) fn agrees(&self, other: &Self, factors: &[Factor]) -> bool {
        factors.iter().all(|factor| self.level(*factor) == other.level(*factor))
    }
}

impl Trial {
    /// Reads the experiment of a stage.
    pub(super) fn new(stage: &Stage) -> Option<Self> {
        if !stage.phase.is_experiment() {
            return None;
        }
        let mut pages: Vec<Page> = Vec::new();
        let mut known: [BTreeMap<&str, usize>; 4] = Default::default();
        let mut windows: Vec<(BootTime, Content)> =
            stage.idle.iter().map(|at| (*at, Content::Idle)).collect();
        for visit in stage.visits.iter().filter(|visit| visit.how == OpenMethod::Opened) {
            let Canary { id, url, title, path_word, query_word, .. } = &visit.canary;
            let parts = [visit.canary.host(), path_word, query_word, title];
            let mut part = 0;
            let levels = parts.map(|text| {
                let known = &mut known[part];
                part += 1;
                let next = known.len();
                *known.entry(text).or_insert(next)
            });
            let at = pages.iter().position(|page| page.id == *id).unwrap_or_else(|| {
                let (url_length, title_length) = (url.len() as u64, title.len() as u64);
                pages.push(Page { id: *id, levels, url_length, title_length });
                pages.len() - 1
            });
            let content = match visit.served {
                Some(false) => Content::Failed,
                _ => Content::Visit(at),
            };
            windows.push((visit.at, content));
        }
        windows.sort_by_key(|(at, _)| *at);
        let mut visits = 0;
        let kept = windows.iter().take_while(|(_, content)| {
            visits += usize::from(matches!(content, Content::Visit(_)));
            visits <= MAX_VISITS as usize
        });
        let windows = kept.copied().collect();
        Some(Self { windows, pages })
    }

    /// Returns the windows, in order.
    pub(super) fn contents(&self) -> impl Iterator<Item = Content> {
        self.windows.iter().map(|(_, content)| *content)
    }

    /// Returns the index of the window that contains this time.
    pub(super) fn window_at(&self, time: BootTime) -> Option<usize> {
        self.windows.iter().rposition(|(began, _)| *began <= time)
    }

    /// Returns the visits: index of the window, and index of the page.
    pub(super) fn visits(&self) -> Vec<(usize, usize)> {
        let visit = |(at, content)| match content {
            Content::Visit(page) => Some((at, page)),
            Content::Idle | Content::Failed => None,
        };
        self.contents().enumerate().filter_map(visit).collect()
    }
}
