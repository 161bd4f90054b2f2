//! The store: alerts with their evidence, and what is known of identifiers,
//! kept from run to run in one SQLite file. `docs/reference/store.md` has the schema.
//!
//! ```text
//! run:    outputs, sightings ──▶ Writer ──queue──▶ a thread ──▶ Store ──▶ file
//! alerts:                                                   Reader ◀──── file
//! ```
//!
//! The capturing side never waits for the disk: the queue is bounded, and what
//! finds it full is counted. What was committed survives a `kill -9` at any
//! point, and a commit comes every `writer::BATCH`; after a loss of
//! power the file is whole, and the last commits can be missing
//! (`synchronous=NORMAL`, sqlite.org/wal.html).
//!
//! The file holds values as they were sent: only its owner can read it.

mod evidence;
mod place;
mod read;
mod retention;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::{io, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use self::{evidence::Evidence, schema::State};
pub use self::{
    place::{Place, default_place},
    read::{Kept, Query, Reader},
    retention::Keep,
    schema::{SCHEMA, StoreError},
    writer::{News, Writer},
};
use tracer_core::{
    alert::{Alert, redact::Key},
    judge::Sighting,
    pipeline::Decoded,
};

/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most sightings that are handed to a run at its start: the latest, as many
/// as a run remembers.
const MAX_REMEMBERED: u32 = 8192;

/// The store, open for writing.
#[derive(Debug)]
pub struct Store {
    db: Connection,
}

/// An alert to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    alert: Alert,
    /// [`Entry::alert`] as the alert stream writes it.
    json: String,
    /// When it was sent, in nanoseconds since 1970-01-01 UTC.
    time: u64,
    evidence: Evidence,
}

impl Entry {
    /// What is kept of a request; `now` is its time if it has none.
    fn of(decoded: &Decoded, now: u64) -> Self {
        let alert = Alert::of(decoded);
        Self {
            json: serde_json::to_string(&alert).expect("an alert has a JSON form"),
            alert,
            time: decoded.unix.unwrap_or(now),
            evidence: Evidence::of(&decoded.sent.message),
        }
    }

    /// How many bytes of memory it takes, roughly: its JSON is the alert again.
    fn size(&self) -> usize {
        2 * self.json.len() + self.evidence.size()
    }
}

impl Store {
    /// Opens the store at a place, and makes it where there is none.
    ///
    /// # Errors
    /// When the place cannot be made private or written to, and when what is
    /// there is no store, or one of a later tracer.
    pub fn open(place: &Place) -> Result<Self, StoreError> {
        place.prepare()?;
        let path = place.path();
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.busy_timeout(PATIENCE)?;
        // Nothing is changed in a file that is not tracer's.
        let state = schema::state(&db)?;
        place.close_to_others()?;
        if state == State::Empty {
            // It counts only before the first table. Pages that retention
            // frees can then be given back.
            db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "foreign_keys", true)?;
        // What is forgotten is overwritten.
        db.pragma_update(None, "secure_delete", true)?;
        let mut store = Self { db };
        schema::migrate(&mut store.db, &schema::STEPS)?;
        Ok(store)
    }

    /// The key of the digests, which stays the same.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn key(&self) -> Result<Key, StoreError> {
        Ok(read::key(&self.db)?)
    }

    /// What earlier runs knew of identifiers: the latest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sightings(&self) -> Result<Vec<Sighting>, StoreError> {
        let mut known = Vec::new();
        read::sightings(&self.db, MAX_REMEMBERED, |sighting| {
            known.push(sighting);
            Ok::<_, StoreError>(())
        })?;
        Ok(known)
    }

    /// Notes that a run begins, and gives its number.
    fn begin_run(&mut self, now: u64) -> rusqlite::Result<i64> {
        self.db.execute(
            "INSERT INTO runs (began, version) VALUES (?1, ?2)",
            params![integer(now), env!("CARGO_PKG_VERSION")],
        )?;
        Ok(self.db.last_insert_rowid())
    }

    /// Notes that it has ended, and what was not kept of it.
    fn end_run(&mut self, run: i64, now: u64, lost: u64) -> rusqlite::Result<()> {
        self.db.execute(
            "UPDATE runs SET ended = ?2, lost = ?3 WHERE id = ?1",
            params![run, integer(now), integer(lost)],
        )?;
        Ok(())
    }

    /// A transaction that has the write lock from its beginning: it cannot
    /// find half-way that another writer was first.
    fn begin(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.db.transaction_with_behavior(TransactionBehavior::Immediate)
    }
}

/// Keeps an alert. One that has a number that is known in the run takes the
/// other's place: more of its request came after all.
fn keep(tx: &Transaction<'_>, run: i64, entry: &Entry) -> rusqlite::Result<()> {
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
                alert.severity.map(name),
                alert.reason,
                alert.application,
                alert.process.uid,
                content.browser,
                content.private,
                name(content.sender),
                kind(&content.recipient),
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

/// Notes that an alert came again.
fn repeat(
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

/// Keeps what is known of an identifier.
fn sight(tx: &Transaction<'_>, sighting: &Sighting) -> rusqlite::Result<()> {
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

/// SQLite's integers are signed; times reach the sign in the year 2262.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The name that a variant has in the alert stream.
fn name(variant: impl serde::Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// The `kind` that an object has in the alert stream.
fn kind(object: impl serde::Serialize) -> Option<String> {
    let object = serde_json::to_value(object).ok()?;
    object.get("kind")?.as_str().map(str::to_owned)
}

/// How long ago 1970-01-01 UTC is, in nanoseconds.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// An error of the file system, with what it is about.
fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Place { path, source }
}
