//! The memory of applications: their visits, what is being typed, and the parts of URLs.

use std::{collections::VecDeque, sync::Arc};

use foldhash::HashMap;

use super::{loads::Loads, parts::Parts, typed::Typing};
use crate::{address::Site, application::Application, record::Transport, visits::Visits};

/// Applications that are remembered; the least recently used are forgotten
/// first. A device has a dozen browsers, and the memory of one can be a
/// megabyte.
const MAX_APPLICATIONS: usize = 64;

/// Sites of frames that are remembered of one application. A page has a dozen frames at most.
const MAX_FRAMED: usize = 256;

/// The memories of all applications.
#[derive(Debug, Default)]
pub(super) struct Memory {
    applications: HashMap<Arc<Application>, ApplicationMemory>,
    no_visits: Visits,
    turn: u64,
}

/// The memory of one application.
#[derive(Debug, Default)]
pub(super) struct ApplicationMemory {
    pub(super) visits: Visits,
    pub(super) typing: Typing,
    pub(super) parts: Parts,
    pub(super) loads: Loads,
    /// Transports over which it sent Fetch Metadata.
    pub(super) metadata: Vec<Transport>,
    /// Sites whose documents were loaded into frames, the latest last.
    framed: VecDeque<Site>,
    /// Last use: the largest number is the latest.
    turn: u64,
}

impl ApplicationMemory {
    /// Records that a document of this site was loaded into a frame.
    pub(super) fn record_frame(&mut self, site: &Site) {
        self.framed.retain(|known| known != site);
        if self.framed.len() == MAX_FRAMED {
            self.framed.pop_front();
        }
        self.framed.push_back(site.clone());
    }
}

impl Memory {
    /// Returns the visits of an application, which may be none.
    pub(super) fn visits(&self, application: &Application) -> &Visits {
        self.applications.get(application).map_or(&self.no_visits, |memory| &memory.visits)
    }

    /// Reports whether an application sent Fetch Metadata over a transport.
    pub(super) fn sends_metadata(&self, application: &Application, over: Transport) -> bool {
        let memory = self.applications.get(application);
        memory.is_some_and(|memory| memory.metadata.contains(&over))
    }

    /// Reports whether an application loaded a document of this site into a frame.
    pub(super) fn is_framed(&self, application: &Application, site: &Site) -> bool {
        let memory = self.applications.get(application);
        memory.is_some_and(|memory| memory.framed.contains(site))
    }

    /// Returns the memory of an application, to be changed.
    pub(super) fn entry(&mut self, application: &Arc<Application>) -> &mut ApplicationMemory {
        self.turn += 1;
        if self.applications.len() >= MAX_APPLICATIONS
            && !self.applications.contains_key(application)
        {
            let oldest = self.applications.iter().min_by_key(|(_, memory)| memory.turn);
            if let Some(oldest) = oldest.map(|(application, _)| Arc::clone(application)) {
                self.applications.remove(&oldest);
            }
        }
        let memory = self.applications.entry(Arc::clone(application)).or_default();
        memory.turn = self.turn;
        memory
    }
}
