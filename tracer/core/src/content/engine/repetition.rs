//! Values that were read before.

use super::{Context, Engine, MAX_GUESSES, Role};
use crate::content::{
    Report,
    memo::{Cost, Place},
    text,
};

/// Work and output that have to be left for a value to be remembered: far more than it costs to
/// search it. Nothing about it then depends on the limits.
const MARGIN: u64 = 1 << 20;

/// The counters that show whether a value was nothing but itself.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Progress {
    /// Number of times that bytes were inspected.
    pub(super) looks: u32,
    /// Number of texts that were reported as they are.
    plain: u32,
    /// Work at the start of the last such report.
    before: u64,
    /// Work at its end.
    after: u64,
    /// Set if known URLs were looked for.
    pub(super) looked_for_known: bool,
}

impl Progress {
    /// Records that a text is reported as it is.
    pub(super) fn begin_plain(&mut self, report: &Report) {
        self.plain += 1;
        self.before = report.work;
    }

    /// Records that this is done.
    pub(super) fn end_plain(&mut self, report: &Report) {
        self.after = report.work;
    }
}

impl Engine<'_> {
    /// Reads the value of a field, unless the same bytes are known to be nothing but text.
    pub(super) fn look_once(&mut self, bytes: &[u8], context: Context<'_>) {
        let may_remember = !context.truncated && !bytes.is_empty() && self.has_margin(context);
        let place = Place::of(context.chain);
        let Some(key) = self.memo.key(bytes, place).filter(|_| may_remember) else {
            return self.inspect(bytes, context, Role::Field);
        };
        let known = self.memo.get(key, bytes, place, || self.memo.hash_known(self.known));
        if let Some(cost) = known
            && self.field_guesses + cost.guesses <= MAX_GUESSES
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            self.progress.looks += 1;
            self.field_guesses += cost.guesses;
            self.report.work += cost.before;
            self.emit(text, context);
            self.report.work += cost.after;
            return self.count_opaque(usize::try_from(cost.opaque).unwrap_or(usize::MAX));
        }
        let before = (self.report, self.progress, self.containers.count());
        let guesses = (self.guesses, self.field_guesses);
        self.progress.looked_for_known = false;
        self.inspect(bytes, context, Role::Field);
        if let Some(cost) = self.cost_of_plain(before, guesses)
            && text::as_text(bytes, false).is_some()
        {
            let known = self.progress.looked_for_known.then(|| self.memo.hash_known(self.known));
            self.memo.insert(key, bytes, place, known, cost);
        }
        self.progress.looked_for_known |= before.1.looked_for_known;
    }

    /// Reports whether the limits are far.
    fn has_margin(&self, context: Context<'_>) -> bool {
        self.report.work.saturating_add(MARGIN) <= self.limits.work
            && self.output_left() as u64 >= MARGIN
            && self.report.values < self.limits.values
            && !self.report.reached.values
            && context.chain.len() < self.limits.depth
    }

    /// Returns what it cost to inspect a value, if it proved to be nothing but text: the only
    /// effects are those that [`Cost`] describes.
    fn cost_of_plain(
        &self,
        (report, progress, containers): (Report, Progress, u32),
        (guesses, field_guesses): (u32, u32),
    ) -> Option<Cost> {
        let plain = Report {
            values: report.values + 1,
            work: self.report.work,
            opaque: self.report.opaque,
            ..report
        };
        let is_plain = self.report == plain
            && self.progress.looks == progress.looks + 1
            && self.progress.plain == progress.plain + 1
            && self.containers.count() == containers
            && self.guesses == guesses
            && self.report.work - report.work <= MARGIN / 2
            // Otherwise, something may not have been tried.
            && self.field_guesses < MAX_GUESSES;
        is_plain.then(|| Cost {
            before: self.progress.before - report.work,
            after: self.report.work - self.progress.after,
            opaque: self.report.opaque - report.opaque,
            guesses: self.field_guesses - field_guesses,
        })
    }
}
