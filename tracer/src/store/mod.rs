//! The store: an SQLite file that keeps alerts, their evidence and the history of identifiers from
//! one run to the next. `docs/reference/store.md` describes the schema.
//!
//! ```text
//! run:    outputs, sightings ──▶ Writer ──queue──▶ a thread ──▶ Store ──▶ file
//! alerts:                                                   Reader ◀──── file
//! ```
//!
//! The capture never waits for the disk: the queue is bounded, and entries that do not fit are
//! counted. Entries are committed every `writer::BATCH`, and committed entries survive a `kill -9`.
//! After a power failure the file is intact, but the last commits may be missing
//! (`synchronous=NORMAL`, sqlite.org/wal.html).
//!
//! The file contains values as they were sent, so only its owner can read it.

mod evidence;
mod place;
mod read;
mod retention;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::{io, path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};

use self::{evidence::Evidence, schema::State};
pub use self::{
    place::{Place, default_place},
    read::{Query, Reader, StoredAlert},
    retention::{Removed, Retention},
    schema::{SCHEMA, StoreError},
    writer::{StoreEvent, Writer},
};
use tracer_core::{
    alert::{Alert, redact::Key},
    finding::Severity,
    judge::{JudgedRequest, Sighting},
};

/// Time to wait for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of sightings to load at the start of a run, latest first. A run remembers as
/// many.
const MAX_REMEMBERED: u32 = 8192;

/// A store that is open for writing.
#[derive(Debug)]
pub struct Store {
    db: Connection,
}

/// An alert to store.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    alert: Alert,
    /// [`Entry::alert`] in the JSON form of the alert stream.
    json: String,
    /// Time at which it was sent, in nanoseconds since 1970-01-01 UTC.
    time: u64,
    evidence: Evidence,
}

impl Entry {
    /// Builds the entry of an alert and its request. `now` stands in for a missing time.
    fn new(alert: Alert, request: &JudgedRequest, now: u64) -> Self {
        Self {
            json: serde_json::to_string(&alert).expect("an alert has a JSON form"),
            alert,
            time: request.unix.unwrap_or(now),
            evidence: Evidence::new(&request.sent.message),
        }
    }

    /// Returns its approximate size in memory. The alert is about as large as its JSON.
    fn size(&self) -> usize {
        2 * self.json.len() + self.evidence.size()
    }
}

impl Store {
    /// Opens the store at a place, creating it if necessary.
    ///
    /// # Errors
    /// If the place cannot be written to or made private, or if the file there is not a store or
    /// was written by a newer tracer.
    pub fn open(place: &Place) -> Result<Self, StoreError> {
        place.prepare()?;
        let path = place.path();
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        // Leave files of other programs unchanged.
        let state = schema::state(&db)?;
        if let State::Version(version) = state {
            schema::check(&db, version)?;
        }
        place.restrict_to_owner()?;
        if state == State::Empty {
            // Only effective before the first table. Lets retention return pages that it frees.
            db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "foreign_keys", true)?;
        // A run cannot open files after it has restricted itself.
        db.pragma_update(None, "temp_store", "MEMORY")?;
        // Overwrite deleted rows.
        db.pragma_update(None, "secure_delete", true)?;
        let mut store = Self { db };
        schema::migrate(&mut store.db, &schema::STEPS)?;
        Ok(store)
    }

    /// Returns the key of the digests. It is the same for all runs.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn key(&self) -> Result<Key, StoreError> {
        Ok(read::key(&self.db)?)
    }

    /// Returns the identifiers that earlier runs have seen, latest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn sightings(&self) -> Result<Vec<Sighting>, StoreError> {
        let mut known = Vec::new();
        read::sightings(&self.db, MAX_REMEMBERED, |sighting| {
            known.push(sighting);
            Ok::<_, StoreError>(())
        })?;
        Ok(known)
    }

    /// Looks for damaged pages, and returns what is wrong with the first one.
    fn damage(&self) -> Option<String> {
        let checked = self.db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match checked {
            Ok(result) if result == "ok" => None,
            Ok(result) => Some(result),
            Err(err) => match err.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Some(err.to_string()),
                // Another process may hold a lock.
                _ => None,
            },
        }
    }

    /// Records the start of a run, and returns its number.
    fn begin_run(&mut self, now: u64) -> rusqlite::Result<i64> {
        self.db.execute(
            "INSERT INTO runs (began, version) VALUES (?1, ?2)",
            params![integer(now), env!("CARGO_PKG_VERSION")],
        )?;
        Ok(self.db.last_insert_rowid())
    }

    /// Records the end of a run, and the number of entries that were not stored.
    fn end_run(&mut self, run: i64, now: u64, lost: u64) -> rusqlite::Result<()> {
        self.db.execute(
            "UPDATE runs SET ended = ?2, lost = ?3 WHERE id = ?1",
            params![run, integer(now), integer(lost)],
        )?;
        // SQLite would remove the `-wal` file, which a restricted process cannot. Empty it, unless
        // another process reads the store.
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// Begins a transaction that holds the write lock from the start, so that it cannot fail
    /// halfway because of another writer.
    fn begin(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.db.transaction_with_behavior(TransactionBehavior::Immediate)
    }
}

/// Stores an alert. It replaces an alert of the same run and number, which was made when less of
/// the request had arrived.
fn insert_alert(tx: &Transaction<'_>, run: i64, entry: &Entry) -> rusqlite::Result<()> {
    let Entry { alert, json, time, evidence } = entry;
    let content = &alert.content;
    let id: i64 = tx
        .prepare(
            "INSERT INTO alerts (run, alert, time, severity, reason, application, uid, browser,
                                 private, sender, recipient, host, sdk, last, json, left_out)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?3, ?14, ?15)
             ON CONFLICT (run, alert) DO UPDATE SET
                 severity = excluded.severity, reason = excluded.reason,
                 browser = excluded.browser, private = excluded.private,
                 sender = excluded.sender, recipient = excluded.recipient,
                 host = excluded.host, sdk = excluded.sdk, json = excluded.json,
                 left_out = excluded.left_out
             RETURNING id",
        )?
        .query_row(
            params![
                run,
                alert.alert.map(integer),
                integer(*time),
                alert.severity.map(Severity::as_str),
                alert.reason,
                alert.application,
                alert.process.uid,
                content.browser,
                content.private,
                content.sender.as_str(),
                content.recipient.as_str(),
                alert.host(),
                content.sdk,
                json,
                integer(evidence.left_out),
            ],
            |row| row.get(0),
        )?;
    tx.prepare("DELETE FROM evidence WHERE alert = ?1")?.execute([id])?;
    let mut insert =
        tx.prepare("INSERT INTO evidence (alert, piece, bytes) VALUES (?1, ?2, ?3)")?;
    for (piece, bytes) in (0i64..).zip(&evidence.pieces) {
        insert.execute(params![id, piece, bytes])?;
    }
    Ok(())
}

/// Updates the count of a repeated alert.
fn update_count(
    tx: &Transaction<'_>,
    run: i64,
    alert: u64,
    total: u64,
    last: u64,
) -> rusqlite::Result<()> {
    tx.prepare(
        "UPDATE alerts SET count = max(count, ?3), last = max(last, ?4)
         WHERE run = ?1 AND alert = ?2",
    )?
    .execute(params![run, integer(alert), integer(total), integer(last)])?;
    Ok(())
}

/// Stores the history of an identifier.
fn upsert_identifier(tx: &Transaction<'_>, sighting: &Sighting) -> rusqlite::Result<()> {
    let list = |names: &[String]| serde_json::to_string(names).expect("names have a JSON form");
    tx.prepare(
        "INSERT INTO identifiers (value, class, first, last, requests, connections, processes,
                                  applications, recipients)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (value) DO UPDATE SET
             class = excluded.class, first = excluded.first, last = excluded.last,
             requests = excluded.requests, connections = excluded.connections,
             processes = excluded.processes, applications = excluded.applications,
             recipients = excluded.recipients",
    )?
    .execute(params![
        sighting.value,
        sighting.class,
        integer(sighting.first),
        integer(sighting.last),
        integer(sighting.requests),
        integer(sighting.connections),
        integer(sighting.processes),
        list(&sighting.applications),
        list(&sighting.recipients),
    ])?;
    Ok(())
}

/// Converts to SQLite's signed integers. Times overflow in the year 2262.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the time in nanoseconds since 1970-01-01 UTC.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Adds the path to an error of the file system.
fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Place { path, source }
}
