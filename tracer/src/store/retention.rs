//! Limits on the age and size of the store.

use std::time::Duration;

use rusqlite::{Transaction, params};

use super::{Store, integer};

/// Limits of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Maximum time since an alert or identifier was last seen.
    pub age: Duration,
    /// Maximum size of the database file in bytes. The oldest alerts are removed first.
    pub size: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_secs(90 * 24 * 60 * 60), size: 256 << 20 }
    }
}

/// Number of removed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Removed {
    /// Alerts that were too old.
    pub(super) old: u64,
    /// Alerts removed because of the store's size.
    pub(super) surplus: u64,
    /// Identifiers, for either reason.
    pub(super) identifiers: u64,
}

/// Percentage of the maximum size to shrink to, so that not every check has to remove something.
const TARGET_PERCENT: u64 = 90;

/// Number of rows to remove in one transaction.
const ROWS_PER_STEP: u32 = 256;

impl Store {
    /// Removes rows that are too old, and the oldest ones if the store is too large.
    pub(super) fn enforce(&mut self, limits: &Retention, now: u64) -> rusqlite::Result<Removed> {
        let mut removed = Removed::default();
        let age = u64::try_from(limits.age.as_nanos()).unwrap_or(u64::MAX);
        let before = integer(now.saturating_sub(age));
        let tx = self.begin()?;
        removed.old = delete(&tx, "DELETE FROM alerts WHERE last < ?1", before)?;
        removed.identifiers = delete(&tx, "DELETE FROM identifiers WHERE last < ?1", before)?;
        remove_empty_runs(&tx)?;
        tx.commit()?;

        if self.size()? > limits.size {
            let target = limits.size / 100 * TARGET_PERCENT;
            while self.size()? > target {
                let tx = self.begin()?;
                let mut rows = delete(&tx, OLDEST_ALERTS, ROWS_PER_STEP)?;
                removed.surplus += rows;
                if rows == 0 {
                    rows = delete(&tx, OLDEST_IDENTIFIERS, ROWS_PER_STEP)?;
                    removed.identifiers += rows;
                }
                remove_empty_runs(&tx)?;
                tx.commit()?;
                if rows == 0 {
                    break;
                }
            }
        }
        if removed != Removed::default() {
            self.return_free_pages()?;
        }
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

const OLDEST_ALERTS: &str =
    "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts ORDER BY last, id LIMIT ?1)";

const OLDEST_IDENTIFIERS: &str = "DELETE FROM identifiers WHERE value IN
     (SELECT value FROM identifiers ORDER BY last, value LIMIT ?1)";

fn delete(tx: &Transaction<'_>, sql: &str, with: impl rusqlite::ToSql) -> rusqlite::Result<u64> {
    Ok(tx.execute(sql, params![with])? as u64)
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
