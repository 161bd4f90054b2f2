//! Alerts grouped by who sent what to whom.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io::{self, Write},
};

use tracer_core::{
    alert::{Alert, Style, text},
    finding::Severity,
    wording::counted,
};

use crate::{sink::Terminal, store::StoredAlert};

/// Number of alerts that a terminal shows of a group, the most severe first.
pub(super) const ON_TERMINAL: usize = 8;

/// Number of alerts that a page shows of a group.
pub(super) const ON_PAGE: usize = 100;

/// Maximum number of groups. Alerts of others are only counted.
const MAX_GROUPS: usize = 4096;

/// Alerts by sender and recipient.
#[derive(Debug)]
pub(super) struct Groups {
    groups: BTreeMap<Key, Group>,
    /// Number of alerts that are listed of each group.
    listed: usize,
    /// Number of alerts that are in no group, because there are too many.
    beyond: u64,
}

/// The sender and the recipient of a group's alerts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) culprit: String,
    pub(super) uid: u32,
    pub(super) addressee: String,
}

/// The alerts of one sender about one recipient.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) alerts: u64,
    pub(super) occurrences: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// The most severe alerts; of equally severe ones, the most frequent.
    pub(super) listed: Vec<Listed>,
}

/// An alert of a group.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) id: i64,
    pub(super) severity: Option<Severity>,
    pub(super) reason: Option<String>,
    severity_text: String,
    pub(super) subject: String,
    pub(super) identifier: Option<String>,
    pub(super) chain: Option<String>,
    pub(super) is_private: bool,
    pub(super) occurrences: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Groups {
    /// Creates a list that shows up to `listed` alerts of each group.
    pub(super) fn new(listed: usize) -> Self {
        Self { groups: BTreeMap::new(), listed, beyond: 0 }
    }

    /// Returns the number of alerts that are in no group.
    pub(super) fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Returns the groups: the most severe first, of equally severe ones that with the latest alert.
    pub(super) fn by_severity(self) -> impl Iterator<Item = (Key, Group)> {
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_by_key(|(_, group)| {
            let severest = group.listed.iter().map(|one| one.severity).max();
            Reverse((severest, group.last))
        });
        groups.into_iter()
    }

    /// Adds an alert whose values are redacted.
    pub(super) fn add(&mut self, stored: &StoredAlert, alert: &Alert, style: Style) {
        let key = Key {
            culprit: text::culprit(alert),
            uid: alert.process.uid,
            addressee: text::addressee(alert),
        };
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        let occurrences = stored.count.max(1);
        let listed = Listed {
            id: stored.id,
            severity: alert.severity,
            reason: alert.reason.clone(),
            severity_text: text::severity(alert, style).unwrap_or_default(),
            subject: text::subject(alert, style),
            identifier: text::identifier(alert),
            chain: text::chain(alert),
            is_private: alert.content.private == Some(true),
            occurrences,
            first: stored.time,
            last: stored.last,
        };
        let group = self.groups.entry(key).or_insert(Group {
            alerts: 0,
            occurrences: 0,
            first: stored.time,
            last: stored.last,
            listed: Vec::new(),
        });
        group.alerts += 1;
        group.occurrences += occurrences;
        group.first = group.first.min(stored.time);
        group.last = group.last.max(stored.last);
        let rank = |one: &Listed| Reverse((one.severity, one.occurrences));
        let at = group.listed.partition_point(|one| rank(one) <= rank(&listed));
        group.listed.insert(at, listed);
        group.listed.truncate(self.listed);
    }

    /// Writes the groups, the one with the latest alert last.
    pub(super) fn write(self, out: &mut impl Write, terminal: &Terminal) -> io::Result<()> {
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_by_key(|(_, group)| group.last);
        for (i, (key, group)) in groups.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            group.write(key, out, terminal)?;
        }
        if self.beyond > 0 {
            writeln!(
                out,
                "\nand {} of other senders and recipients",
                counted(self.beyond, "alert")
            )?;
        }
        Ok(())
    }
}

impl Group {
    fn write(&self, key: &Key, out: &mut impl Write, terminal: &Terminal) -> io::Result<()> {
        let Key { culprit, uid, addressee } = key;
        writeln!(out, "{}", terminal.wrap(&format!("{culprit} (uid {uid}) to {addressee}"), ""))?;
        let mut numbers = counted(self.alerts, "alert");
        if self.occurrences > self.alerts {
            numbers += &format!(", seen {}", counted(self.occurrences, "time"));
        }
        let (first, last) = (terminal.time(self.first), terminal.time(self.last));
        let span = if first == last { first } else { format!("{first} to {last}") };
        writeln!(out, "{}", terminal.wrap(&format!("{numbers}, {span}"), "  "))?;
        for one in &self.listed {
            let Listed { id, occurrences, severity_text, subject, .. } = one;
            let times = match occurrences {
                1 => String::new(),
                _ => format!(", {}", counted(*occurrences, "time")),
            };
            let text = format!("{severity_text}  {subject}{times} (alert {id})");
            writeln!(out, "{}", terminal.wrap(&text, "    "))?;
        }
        let more = self.alerts.saturating_sub(self.listed.len() as u64);
        if more > 0 {
            writeln!(out, "    and {more} more (--full lists all)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tracer_core::alert::fixtures::alert;

    use super::*;

    const HOUR: u64 = 3600 * 1_000_000_000;

    fn stored(id: i64, alert: &Alert, count: u64) -> StoredAlert {
        let time = id as u64 * HOUR;
        StoredAlert { id, run: 1, alert: alert.clone(), time, count, last: time + HOUR }
    }

    fn shown(alerts: &[StoredAlert], columns: usize) -> String {
        let mut groups = Groups::new(ON_TERMINAL);
        for stored in alerts {
            groups.add(stored, &stored.alert, Style::default());
        }
        let mut out = Vec::new();
        groups.write(&mut out, &Terminal { columns, zone: TimeZone::UTC }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn alerts_of_one_sender_to_one_recipient_are_together() {
        let mut other = alert();
        other.content.request.authority = Some("other.example".into());
        let all = [stored(1, &alert(), 3), stored(2, &other, 1), stored(3, &alert(), 1)];
        assert_eq!(
            shown(&all, 100),
            "browser (uid 7) to other.example\n  \
             1 alert, 1970-01-01 02:00:00 to 1970-01-01 03:00:00\n    \
             HIGH  about https://news.example.org/story?q=private, visited 2 s before (alert 2)\n\n\
             browser (uid 7) to collector.example\n  \
             2 alerts, seen 4 times, 1970-01-01 01:00:00 to 1970-01-01 04:00:00\n    \
             HIGH  about https://news.example.org/story?q=private, visited 2 s before, 3 times (alert 1)\n    \
             HIGH  about https://news.example.org/story?q=private, visited 2 s before (alert 3)\n"
        );
    }

    #[test]
    fn the_most_severe_alerts_are_listed() {
        let mut all: Vec<_> = (1..=20).map(|id| stored(id, &alert(), 1)).collect();
        all[15].alert.severity = Some(Severity::Critical);
        let text = shown(&all, 100);
        assert!(text.contains("CRITICAL  a request (alert 16)\n    HIGH"), "{text}");
        assert!(text.ends_with("and 12 more (--full lists all)\n"), "{text}");
    }
}
