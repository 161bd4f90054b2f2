//! How long and how much is kept.

use std::time::Duration;

use rusqlite::{Transaction, params};

use super::{Store, integer};

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// What was not seen for so long is forgotten.
    pub age: Duration,
    /// So many bytes of the database file, of which the oldest alerts go first.
    pub size: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { age: Duration::from_secs(90 * 24 * 60 * 60), size: 256 << 20 }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Forgotten {
    /// Alerts, by age.
    pub(super) old: u64,
    /// Alerts, by size.
    pub(super) surplus: u64,
    /// Identifiers, by either.
    pub(super) identifiers: u64,
}

/// The part of the allowed size that is left when there was too much: so that
/// not every check forgets something again.
const LEFT_PERCENT: u64 = 90;

/// Rows that are forgotten at a time.
const AT_A_TIME: u32 = 256;

impl Store {
    /// Forgets what is too old or too much.
    pub(super) fn forget(&mut self, keep: &Keep, now: u64) -> rusqlite::Result<Forgotten> {
        let mut forgotten = Forgotten::default();
        let age = u64::try_from(keep.age.as_nanos()).unwrap_or(u64::MAX);
        let before = integer(now.saturating_sub(age));
        let tx = self.begin()?;
        forgotten.old = delete(&tx, "DELETE FROM alerts WHERE last < ?1", before)?;
        forgotten.identifiers = delete(&tx, "DELETE FROM identifiers WHERE last < ?1", before)?;
        forget_runs(&tx)?;
        tx.commit()?;

        if self.size()? > keep.size {
            let enough = keep.size / 100 * LEFT_PERCENT;
            while self.size()? > enough {
                let tx = self.begin()?;
                let mut rows = delete(&tx, OLDEST_ALERTS, AT_A_TIME)?;
                forgotten.surplus += rows;
                if rows == 0 {
                    rows = delete(&tx, OLDEST_IDENTIFIERS, AT_A_TIME)?;
                    forgotten.identifiers += rows;
                }
                forget_runs(&tx)?;
                tx.commit()?;
                if rows == 0 {
                    break;
                }
            }
        }
        if forgotten != Forgotten::default() {
            self.give_back()?;
        }
        Ok(forgotten)
    }

    /// How many bytes are in use.
    pub(super) fn size(&self) -> rusqlite::Result<u64> {
        let number = |pragma| self.db.pragma_query_value(None, pragma, |row| row.get::<_, u64>(0));
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(pages * number("page_size")?)
    }

    /// Gives free pages back to the file system.
    fn give_back(&self) -> rusqlite::Result<()> {
        // It frees a page a step.
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

/// Runs that ended and of which nothing is left.
fn forget_runs(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    // The last one stays: it may be running.
    tx.execute(
        "DELETE FROM runs WHERE ended IS NOT NULL AND id NOT IN (SELECT run FROM alerts)
         AND id < (SELECT max(id) FROM runs)",
        [],
    )?;
    Ok(())
}
