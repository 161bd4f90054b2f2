//! Reads the store, also while a run writes to it.

use std::{fs, io, path::Path};

use rusqlite::{Connection, OpenFlags, Row, ffi, params};

use super::{
    BUSY_TIMEOUT, SCHEMA, StoreError, integer,
    schema::{self, State},
};
use tracer_core::{
    alert::{Alert, redact::Key},
    finding::Severity,
    judge::Sighting,
};

/// Number of alerts to read at a time.
const PAGE: u32 = 256;

/// A store that is open for reading.
#[derive(Debug)]
pub struct Reader {
    db: Connection,
}

/// Selects alerts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Earliest time at which they were last seen, in nanoseconds since 1970-01-01 UTC.
    pub since: Option<u64>,
    /// Time before which they were first seen.
    pub until: Option<u64>,
    /// Minimum severity.
    pub severity: Option<Severity>,
    /// Name of the application or browser.
    pub application: Option<String>,
}

/// An alert in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    /// Number of the alert in the store.
    pub id: i64,
    /// Number of the run.
    pub run: i64,
    /// The alert, with values as sent.
    pub alert: Alert,
    /// Time at which it first occurred, in nanoseconds since 1970-01-01 UTC.
    pub time: u64,
    /// Number of occurrences.
    pub count: u64,
    /// Time at which it last occurred, in nanoseconds since 1970-01-01 UTC.
    pub last: u64,
}

impl Reader {
    /// Opens a store. Returns `None` for an empty file, and for one whose creation was interrupted:
    /// the next run completes it.
    ///
    /// # Errors
    /// If it cannot be read or is not a store of this version.
    pub fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        // SQLite would wait for the writer of a FIFO.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(super::at(path)(io::Error::other("it is not a regular file")));
        }
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        let state = match schema::state(&db) {
            Err(StoreError::Sqlite(err)) if is_half_made(&err) => State::Empty,
            state => state?,
        };
        match state {
            State::Empty => Ok(None),
            State::Version(found) if found > SCHEMA => Err(StoreError::Newer { found }),
            State::Version(found) if found < SCHEMA => Err(StoreError::Older { found }),
            State::Version(found) => {
                schema::check(&db, found)?;
                Ok(Some(Self { db }))
            }
        }
    }

    /// Returns the key of the digests.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn key(&self) -> Result<Key, StoreError> {
        Ok(key(&self.db)?)
    }

    /// Calls `each` with the selected alerts, in the order of time.
    ///
    /// # Errors
    /// If they cannot be read, or if `each` fails.
    pub fn alerts<E: From<StoreError>>(
        &self,
        query: &Query,
        mut each: impl FnMut(StoredAlert) -> Result<(), E>,
    ) -> Result<(), E> {
        let severities = query.severity.map(|least| {
            let selected = |severity: &Severity| *severity >= least;
            let names: Vec<_> =
                SEVERITIES.into_iter().filter(selected).map(Severity::as_str).collect();
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

    /// Reads the next alerts after a time and number. It does not read all at once, because the
    /// caller may take long, and SQLite cannot truncate the `-wal` file during a read.
    fn page(
        &self,
        query: &Query,
        severities: Option<&str>,
        after: (i64, i64),
    ) -> Result<Vec<StoredAlert>, StoreError> {
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
            page.push(stored_alert(row)?);
        }
        Ok(page)
    }

    /// Returns the number of alerts.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn count(&self) -> Result<u64, StoreError> {
        Ok(self.db.query_row("SELECT count(*) FROM alerts", [], |row| row.get(0))?)
    }

    /// Returns the bytes of an alert's request, in pieces. Between two pieces, sent bytes are
    /// missing.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn evidence(&self, id: i64) -> Result<Vec<Vec<u8>>, StoreError> {
        let sql = "SELECT bytes FROM evidence WHERE alert = ?1 ORDER BY piece";
        let mut statement = self.db.prepare(sql)?;
        let pieces = statement.query_map([id], |row| row.get(0))?;
        Ok(pieces.collect::<Result<_, _>>()?)
    }

    /// Calls `each` with the identifiers, latest first.
    ///
    /// # Errors
    /// If they cannot be read, or if `each` fails.
    pub fn sightings<E: From<StoreError>>(
        &self,
        each: impl FnMut(Sighting) -> Result<(), E>,
    ) -> Result<(), E> {
        sightings(&self.db, u32::MAX, each)
    }

    /// Checks the integrity of the file.
    ///
    /// # Errors
    /// If SQLite cannot check it.
    pub fn is_intact(&self) -> Result<bool, StoreError> {
        let result =
            self.db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))?;
        Ok(result == "ok")
    }
}

const SEVERITIES: [Severity; 5] =
    [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

fn stored_alert(row: &Row<'_>) -> Result<StoredAlert, StoreError> {
    let id = row.get("id")?;
    let alert = serde_json::from_str(row.get_ref("json")?.as_str().map_err(rusqlite::Error::from)?);
    Ok(StoredAlert {
        id,
        run: row.get("run")?,
        alert: alert.map_err(|source| StoreError::Damaged { id, source })?,
        time: row.get("time")?,
        count: row.get("count")?,
        last: row.get("last")?,
    })
}

/// Returns the key of the digests.
pub(super) fn key(db: &Connection) -> rusqlite::Result<Key> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    db.query_row(sql, [schema::REDACTION_KEY], |row| row.get(0).map(Key))
}

/// Calls `each` with up to `limit` identifiers, latest first.
pub(super) fn sightings<E: From<StoreError>>(
    db: &Connection,
    limit: u32,
    mut each: impl FnMut(Sighting) -> Result<(), E>,
) -> Result<(), E> {
    let sqlite = StoreError::Sqlite;
    let mut statement = db
        .prepare("SELECT * FROM identifiers ORDER BY last DESC, value LIMIT ?1")
        .map_err(sqlite)?;
    let mut rows = statement.query([limit]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        each(sighting(row).map_err(sqlite)?)?;
    }
    Ok(())
}

fn sighting(row: &Row<'_>) -> rusqlite::Result<Sighting> {
    // Only tracer writes these lists; treat a malformed one as empty.
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

/// Reports whether a journal has to be rolled back, which a reader cannot do. A store has a journal of
/// this kind only while it is created; later it has a log of writes.
fn is_half_made(err: &rusqlite::Error) -> bool {
    err.sqlite_error().is_some_and(|err| err.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}
