//! Limits on the age and size of the store, and the removal of entries.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rusqlite::Transaction;

use super::{Store, StoreError, integer};

/// Limits of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Maximum time since an alert or identifier was last seen.
    pub age: Duration,
    /// Maximum size of the database file in bytes. Beyond it, the applications with the most bytes
    /// lose alerts, the least severe and oldest ones first.
    pub size: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_secs(90 * 24 * 60 * 60), size: 256 << 20 }
    }
}

/// The time of day as it passes during a run. If the clock of the machine is set meanwhile, nothing
/// becomes old by that. The time for which the machine is suspended does not pass.
#[derive(Debug)]
pub(super) struct SteadyClock {
    began: Instant,
    /// Nanoseconds since 1970-01-01 UTC at the beginning.
    unix: u64,
}

impl SteadyClock {
    pub(super) fn new(began: Instant, unix: u64) -> Self {
        Self { began, unix }
    }

    /// Returns the nanoseconds since 1970-01-01 UTC.
    pub(super) fn now(&self, instant: Instant) -> u64 {
        let passed = instant.saturating_duration_since(self.began).as_nanos();
        self.unix.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// Number of removed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Alerts that were too old.
    pub old: u64,
    /// Alerts removed because of the store's size.
    pub surplus: u64,
    /// Identifiers, for either reason.
    pub identifiers: u64,
}

/// Percentage of the maximum size to shrink to, so that not every check has to remove something.
const TARGET_PERCENT: u64 = 90;

/// Approximate number of bytes of a row and its index entries, apart from its texts.
const ROW: u64 = 512;

/// Minimum number of bytes to remove in one transaction.
const MIN_STEP: u64 = 16 << 10;

/// The table that a row is in, and the application that it belongs to. An application cannot
/// displace rows of others.
type Owner = (bool, String);

impl Store {
    /// Removes rows that are too old, and further ones if the store is too large.
    pub(super) fn enforce(&mut self, limits: &Retention, now: u64) -> rusqlite::Result<Removed> {
        let age = u64::try_from(limits.age.as_nanos()).unwrap_or(u64::MAX);
        let mut removed = self.remove_before(now.saturating_sub(age))?;
        if self.size()? > limits.size {
            let target = limits.size / 100 * TARGET_PERCENT;
            loop {
                let excess = self.size()?.saturating_sub(target);
                if excess == 0 {
                    break;
                }
                // The size of a row is an estimate, so approach the target.
                let step = self.remove_surplus((excess / 2).max(MIN_STEP))?;
                if step == Removed::default() {
                    break;
                }
                removed.surplus += step.surplus;
                removed.identifiers += step.identifiers;
            }
        }
        if removed != Removed::default() {
            self.return_free_pages()?;
        }
        Ok(removed)
    }

    /// Removes what was last seen before a time.
    pub(super) fn remove_before(&mut self, before: u64) -> rusqlite::Result<Removed> {
        let tx = self.begin()?;
        let delete = |sql| tx.execute(sql, [integer(before)]).map(|rows| rows as u64);
        let removed = Removed {
            old: delete("DELETE FROM alerts WHERE last < ?1")?,
            surplus: 0,
            identifiers: delete("DELETE FROM identifiers WHERE last < ?1")?,
        };
        remove_empty_runs(&tx)?;
        tx.commit()?;
        Ok(removed)
    }

    /// Removes what was last seen before a time, or everything, so that no copy of it remains in
    /// the files of the store.
    ///
    /// # Errors
    /// If the store cannot be written to, or if another process reads from it for long.
    pub fn purge(&mut self, before: Option<u64>) -> Result<Removed, StoreError> {
        let removed = self.remove_before(before.unwrap_or(u64::MAX))?;
        self.db.execute_batch("VACUUM")?;
        let is_busy: bool =
            self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if is_busy { Err(StoreError::Busy) } else { Ok(removed) }
    }

    /// Removes about `excess` bytes, of the owners that have the most, and at least one row.
    fn remove_surplus(&mut self, excess: u64) -> rusqlite::Result<Removed> {
        let tx = self.begin()?;
        let mut removed = Removed::default();
        for (owner, surplus) in surplus(&bytes_by_owner(&tx)?, excess) {
            let rows = remove_bytes(&tx, &owner, surplus)?;
            let (is_identifier, _) = owner;
            *(if is_identifier { &mut removed.identifiers } else { &mut removed.surplus }) += rows;
        }
        remove_empty_runs(&tx)?;
        tx.commit()?;
        Ok(removed)
    }

    /// Returns the number of bytes in use.
    pub(super) fn size(&self) -> rusqlite::Result<u64> {
        let number = |pragma| self.db.pragma_query_value(None, pragma, |row| row.get::<_, u64>(0));
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(pages * number("page_size")?)
    }

    /// Returns free pages to the file system.
    fn return_free_pages(&self) -> rusqlite::Result<()> {
        // Each step frees one page.
        let mut statement = self.db.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

/// The bytes of an alert with its evidence.
const ALERT_BYTES: &str = "octet_length(json) + coalesce(
     (SELECT sum(octet_length(bytes)) FROM evidence WHERE evidence.alert = alerts.id), 0)";

/// The bytes of an identifier.
const IDENTIFIER_BYTES: &str =
    "octet_length(value) + octet_length(applications) + octet_length(recipients)";

/// Alerts in the order in which they are removed.
const LEAST_FIRST: &str = "CASE severity WHEN 'critical' THEN 4 WHEN 'high' THEN 3
     WHEN 'medium' THEN 2 WHEN 'low' THEN 1 ELSE 0 END, last, id";

/// Returns the number of bytes of each owner.
fn bytes_by_owner(tx: &Transaction<'_>) -> rusqlite::Result<HashMap<Owner, u64>> {
    let mut bytes = HashMap::new();
    let alerts = format!(
        "SELECT 0, uid || ' ' || application, sum({ROW} + {ALERT_BYTES}) FROM alerts GROUP BY 2"
    );
    let identifiers = format!(
        "SELECT 1, applications, sum({ROW} + {IDENTIFIER_BYTES}) FROM identifiers GROUP BY 2"
    );
    for sql in [alerts, identifiers] {
        let mut statement = tx.prepare(&sql)?;
        let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        for row in rows {
            let (owner, size) = row?;
            bytes.insert(owner, size);
        }
    }
    Ok(bytes)
}

/// Returns what each owner has beyond the level at which all surplus together is `excess`.
fn surplus(bytes: &HashMap<Owner, u64>, excess: u64) -> Vec<(Owner, u64)> {
    let mut sizes: Vec<u64> = bytes.values().copied().collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut level = 0;
    let mut sum = 0;
    for (i, size) in sizes.iter().enumerate() {
        // The level at which the `i + 1` largest owners have a surplus of `excess` together.
        sum += size;
        level = sum.saturating_sub(excess) / (i as u64 + 1);
        if sizes.get(i + 1).is_none_or(|next| *next <= level) {
            break;
        }
    }
    let over = bytes.iter().filter(|(_, size)| **size > level);
    over.map(|(owner, size)| (owner.clone(), size - level)).collect()
}

/// Removes rows of an owner until they make up `bytes`. Returns their number.
fn remove_bytes(tx: &Transaction<'_>, owner: &Owner, bytes: u64) -> rusqlite::Result<u64> {
    let (is_identifier, name) = owner;
    let (select, delete) = if *is_identifier {
        (
            format!(
                "SELECT rowid, {ROW} + {IDENTIFIER_BYTES} FROM identifiers WHERE applications = ?1
                 ORDER BY last, value"
            ),
            "DELETE FROM identifiers WHERE rowid = ?1",
        )
    } else {
        (
            format!(
                "SELECT id, {ROW} + {ALERT_BYTES} FROM alerts WHERE uid || ' ' || application = ?1
                 ORDER BY {LEAST_FIRST}"
            ),
            "DELETE FROM alerts WHERE id = ?1",
        )
    };
    let mut doomed = Vec::new();
    let mut sum = 0;
    let mut statement = tx.prepare(&select)?;
    let mut rows = statement.query([name])?;
    while sum < bytes
        && let Some(row) = rows.next()?
    {
        doomed.push(row.get::<_, i64>(0)?);
        sum += row.get::<_, u64>(1)?;
    }
    let mut delete = tx.prepare(delete)?;
    for id in &doomed {
        delete.execute([id])?;
    }
    Ok(doomed.len() as u64)
}

/// Removes ended runs without alerts.
fn remove_empty_runs(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    // Keep the last run, which may be active.
    tx.execute(
        "DELETE FROM runs WHERE ended IS NOT NULL AND id NOT IN (SELECT run FROM alerts)
         AND id < (SELECT max(id) FROM runs)",
        [],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_as_the_machine_runs() {
        let began = Instant::now();
        let clock = SteadyClock::new(began, 5);
        assert_eq!(clock.now(began), 5);
        assert_eq!(clock.now(began + Duration::from_nanos(7)), 12);
    }
}
