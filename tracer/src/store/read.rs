//! Reading the store, also while a run writes to it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, params};

use super::{
    PATIENCE, SCHEMA, StoreError, integer,
    schema::{self, State},
};
use tracer_core::{
    alert::{Alert, redact::Key},
    finding::Severity,
    judge::Sighting,
};

/// Alerts that are read at once.
const PAGE: u32 = 256;

/// The store, open for reading.
#[derive(Debug)]
pub struct Reader {
    db: Connection,
}

/// Which alerts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Those that were last seen from then on (nanoseconds since 1970-01-01 UTC).
    pub since: Option<u64>,
    /// Those that were first seen before then.
    pub until: Option<u64>,
    /// Those that are at least so bad.
    pub severity: Option<Severity>,
    /// Those of the application, or of the browser, of this name.
    pub application: Option<String>,
}

/// A kept alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its number in the store.
    pub id: i64,
    /// The number of its run.
    pub run: i64,
    /// The alert, values as sent.
    pub alert: Alert,
    /// When it came first, in nanoseconds since 1970-01-01 UTC.
    pub time: u64,
    /// How often it came.
    pub count: u64,
    /// When it came last, in nanoseconds since 1970-01-01 UTC.
    pub last: u64,
}

impl Reader {
    /// Opens a store; `None` where nothing was kept in it yet.
    ///
    /// # Errors
    /// When it cannot be read, or is no store of this version.
    pub fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.busy_timeout(PATIENCE)?;
        match schema::state(&db)? {
            State::Empty => Ok(None),
            State::Version(found) if found > SCHEMA => Err(StoreError::Newer { found }),
            State::Version(found) if found < SCHEMA => Err(StoreError::Older { found }),
            State::Version(_) => Ok(Some(Self { db })),
        }
    }

    /// The key of the digests.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn key(&self) -> Result<Key, StoreError> {
        Ok(key(&self.db)?)
    }

    /// Hands over the alerts that were asked for, in the order in which they
    /// came.
    ///
    /// # Errors
    /// When they cannot be read, or what `each` says.
    pub fn alerts<E: From<StoreError>>(
        &self,
        query: &Query,
        mut each: impl FnMut(Kept) -> Result<(), E>,
    ) -> Result<(), E> {
        let severities = query.severity.map(|least| {
            let bad = |severity: &Severity| *severity >= least;
            let names: Vec<_> = SEVERITIES.into_iter().filter(bad).map(super::name).collect();
            serde_json::to_string(&names).expect("names have a JSON form")
        });
        let mut after = (i64::MIN, i64::MIN);
        loop {
            let page = self.page(query, severities.as_deref(), after)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = (integer(last.time), last.id);
            page.into_iter().try_for_each(&mut each)?;
        }
    }

    /// The next alerts after a time and a number. Not all at once: whoever
    /// reads them may take long, and as long as a statement reads, SQLite
    /// cannot empty the `-wal` file that a run writes to.
    fn page(
        &self,
        query: &Query,
        severities: Option<&str>,
        after: (i64, i64),
    ) -> Result<Vec<Kept>, StoreError> {
        let mut statement = self.db.prepare(
            "SELECT id, run, time, json, count, last FROM alerts
             WHERE (time, id) > (?1, ?2)
               AND (?3 IS NULL OR last >= ?3) AND (?4 IS NULL OR time < ?4)
               AND (?5 IS NULL OR severity IN (SELECT value FROM json_each(?5)))
               AND (?6 IS NULL OR application = ?6 COLLATE NOCASE
                               OR browser = ?6 COLLATE NOCASE)
             ORDER BY time, id LIMIT ?7",
        )?;
        let mut rows = statement.query(params![
            after.0,
            after.1,
            query.since.map(integer),
            query.until.map(integer),
            severities,
            query.application,
            PAGE,
        ])?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            page.push(kept(row)?);
        }
        Ok(page)
    }

    /// How many alerts there are.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn count(&self) -> Result<u64, StoreError> {
        Ok(self.db.query_row("SELECT count(*) FROM alerts", [], |row| row.get(0))?)
    }

    /// The bytes of an alert's request, in pieces: between two of them, some
    /// that were sent are not known.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn evidence(&self, id: i64) -> Result<Vec<Vec<u8>>, StoreError> {
        let sql = "SELECT bytes FROM evidence WHERE alert = ?1 ORDER BY piece";
        let mut statement = self.db.prepare(sql)?;
        let pieces = statement.query_map([id], |row| row.get(0))?;
        Ok(pieces.collect::<Result<_, _>>()?)
    }

    /// Hands over what is known of identifiers, the latest first.
    ///
    /// # Errors
    /// When it cannot be read, or what `each` says.
    pub fn sightings<E: From<StoreError>>(
        &self,
        each: impl FnMut(Sighting) -> Result<(), E>,
    ) -> Result<(), E> {
        sightings(&self.db, u32::MAX, each)
    }

    /// That the file is whole.
    ///
    /// # Errors
    /// When SQLite cannot say.
    pub fn is_whole(&self) -> Result<bool, StoreError> {
        let said =
            self.db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))?;
        Ok(said == "ok")
    }
}

const SEVERITIES: [Severity; 5] =
    [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

fn kept(row: &Row<'_>) -> Result<Kept, StoreError> {
    let id = row.get("id")?;
    let alert = serde_json::from_str(row.get_ref("json")?.as_str().map_err(rusqlite::Error::from)?);
    Ok(Kept {
        id,
        run: row.get("run")?,
        alert: alert.map_err(|source| StoreError::Damaged { id, source })?,
        time: row.get("time")?,
        count: row.get("count")?,
        last: row.get("last")?,
    })
}

/// The key of the digests.
pub(super) fn key(db: &Connection) -> rusqlite::Result<Key> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    db.query_row(sql, [schema::REDACTION_KEY], |row| row.get(0).map(Key))
}

/// What is known of identifiers: `most` of them, the latest first.
pub(super) fn sightings<E: From<StoreError>>(
    db: &Connection,
    most: u32,
    mut each: impl FnMut(Sighting) -> Result<(), E>,
) -> Result<(), E> {
    let sqlite = StoreError::Sqlite;
    let mut statement = db
        .prepare("SELECT * FROM identifiers ORDER BY last DESC, value LIMIT ?1")
        .map_err(sqlite)?;
    let mut rows = statement.query([most]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        each(sighting(row).map_err(sqlite)?)?;
    }
    Ok(())
}

fn sighting(row: &Row<'_>) -> rusqlite::Result<Sighting> {
    // Written by tracer alone; a list that it did not write is nobody's.
    let list = |column| {
        row.get::<_, String>(column).map(|json| serde_json::from_str(&json).unwrap_or_default())
    };
    Ok(Sighting {
        value: row.get("value")?,
        class: row.get("class")?,
        first: row.get("first")?,
        last: row.get("last")?,
        requests: row.get("requests")?,
        connections: row.get("connections")?,
        processes: row.get("processes")?,
        applications: list("applications")?,
        recipients: list("recipients")?,
    })
}
