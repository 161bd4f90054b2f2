//! Assigns the values of a place to visits. A browser may report a page at once, after some time,
//! when the next page is opened, or together with others.

use std::collections::{BTreeMap, HashSet};

use super::{
    samples::{Message, Sample},
    trial::{Content, Trial},
};

/// The visit that a value is assigned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    /// The visit in whose window it was sent.
    None,
    /// The visit this number of windows before.
    Windows(u8),
    /// The visit this number of windows before, or one more.
    AboutWindows(u8),
    /// The visit this number of visits before.
    Visits(u8),
    /// One of the visits since the previous message, in order.
    Batch,
    /// The visit with the same place in the order of all visits.
    Order,
}

impl Delay {
    /// All ways to assign values, the simplest first.
    pub(super) const ALL: [Self; 12] = [
        Self::None,
        Self::Windows(1),
        Self::Windows(2),
        Self::Windows(3),
        Self::Visits(1),
        Self::Visits(2),
        Self::Batch,
        Self::Order,
        Self::AboutWindows(0),
        Self::AboutWindows(1),
        Self::AboutWindows(2),
        Self::AboutWindows(3),
    ];

    /// Returns the delay in words.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::None => "during the visit",
            Self::Windows(_) | Self::AboutWindows(_) => "some seconds after the page is opened",
            Self::Visits(_) => "when a later page is opened",
            Self::Batch | Self::Order => "together, or in the order of the visits",
        }
    }
}

/// A value, assigned to a visit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assigned {
    /// Index in [`Trial::visits`].
    pub(super) visit: usize,
    pub(super) sample: Sample,
}

/// Returns the values that occur in at most half of the windows: the others do not depend on the
/// page.
pub(super) fn varying(trial: &Trial, messages: &[Message], samples: &[Sample]) -> Vec<Sample> {
    let mut windows: BTreeMap<u64, HashSet<usize>> = BTreeMap::new();
    for sample in samples {
        if let Some(window) = window_of(trial, messages, sample) {
            windows.entry(sample.digest).or_default().insert(window);
        }
    }
    let most = trial.contents().count() / 2;
    let is_varying =
        |sample: &&Sample| windows.get(&sample.digest).is_some_and(|at| at.len() <= most);
    let mut varying: Vec<Sample> = samples.iter().filter(is_varying).copied().collect();
    // Requests are decoded in the order in which they end.
    varying.sort_by_key(|sample| messages.get(sample.message as usize).map(|it| it.time));
    varying
}

/// Assigns values to visits.
pub(super) fn assign(
    trial: &Trial,
    visits: &[(usize, usize)],
    messages: &[Message],
    samples: &[Sample],
    delay: Delay,
) -> Vec<Assigned> {
    let at = |visit: usize, sample: &Sample| Assigned { visit, sample: *sample };
    match delay {
        Delay::None => within(trial, visits, messages, samples, 0..=0),
        Delay::Windows(count) => {
            within(trial, visits, messages, samples, count.into()..=count.into())
        }
        Delay::AboutWindows(count) => {
            within(trial, visits, messages, samples, count.into()..=usize::from(count) + 1)
        }
        Delay::Visits(count) => {
            let begun = |window: usize| visits.iter().filter(|(began, _)| *began <= window).count();
            let mut assigned = Vec::new();
            for sample in samples {
                let visit = window_of(trial, messages, sample)
                    .and_then(|window| begun(window).checked_sub(1 + usize::from(count)));
                assigned.extend(visit.map(|visit| at(visit, sample)));
            }
            assigned
        }
        Delay::Batch => batches(trial, visits, messages, samples),
        // With fewer values than half of the visits, the order says little.
        Delay::Order if samples.len() * 2 < visits.len() => Vec::new(),
        Delay::Order => (0..visits.len()).zip(samples).map(|(i, it)| at(i, it)).collect(),
    }
}

fn window_of(trial: &Trial, messages: &[Message], sample: &Sample) -> Option<usize> {
    trial.window_at(messages.get(sample.message as usize)?.time)
}

/// Assigns each value to the visits whose windows began `after` windows before.
fn within(
    trial: &Trial,
    visits: &[(usize, usize)],
    messages: &[Message],
    samples: &[Sample],
    after: std::ops::RangeInclusive<usize>,
) -> Vec<Assigned> {
    let mut visit_of: Vec<Option<usize>> = trial.contents().map(|_| None).collect();
    for (visit, (window, _)) in visits.iter().enumerate() {
        if let Some(entry) = visit_of.get_mut(*window) {
            *entry = Some(visit);
        }
    }
    let mut assigned = Vec::new();
    for sample in samples {
        let Some(window) = window_of(trial, messages, sample) else {
            continue;
        };
        for after in after.clone() {
            let earlier = window.checked_sub(after).and_then(|window| visit_of.get(window));
            if let Some(Some(visit)) = earlier {
                assigned.push(Assigned { visit: *visit, sample: *sample });
            }
        }
    }
    assigned
}

/// Assigns the values of a message to the visits since the previous one, if there are as many.
fn batches(
    trial: &Trial,
    visits: &[(usize, usize)],
    messages: &[Message],
    samples: &[Sample],
) -> Vec<Assigned> {
    let mut assigned = Vec::new();
    let mut from = 0;
    for batch in samples.chunk_by(|a, b| a.message == b.message) {
        let Some(window) = batch.first().and_then(|first| window_of(trial, messages, first)) else {
            continue;
        };
        let to = visits.iter().take_while(|(began, _)| *began <= window).count();
        // Several messages may be sent during one visit.
        if to > from {
            if to - from == batch.len() {
                let each = (from..to).zip(batch);
                assigned.extend(each.map(|(visit, sample)| Assigned { visit, sample: *sample }));
            }
            from = to;
        }
    }
    assigned
}

/// Returns the index of the window in which each message was sent.
pub(super) fn windows_of(
    trial: &Trial,
    times: impl Iterator<Item = tracer_core::record::BootTime>,
) -> HashSet<usize> {
    times.filter_map(|time| trial.window_at(time)).collect()
}

/// Returns the numbers of visits and of idle windows in which something was sent, or `after` windows
/// later, and of those in which nothing was.
pub(super) fn marked(trial: &Trial, sent: &HashSet<usize>, after: usize) -> Marked {
    let mut marked = Marked::default();
    for (window, content) in trial.contents().enumerate() {
        let is_marked = usize::from(sent.contains(&(window + after)));
        match content {
            Content::Visit(_) => {
                marked.visits += 1;
                marked.visits_with += is_marked;
            }
            Content::Idle => {
                marked.idle += 1;
                marked.idle_with += is_marked;
            }
            Content::Failed => {}
        }
    }
    marked
}

/// Numbers of windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) visits: usize,
    pub(super) visits_with: usize,
    pub(super) idle: usize,
    pub(super) idle_with: usize,
}
