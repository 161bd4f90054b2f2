//! The schema, its versions, and the way from each to the next.

use std::{io, path::PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use tracer_core::alert::redact::Key;

/// What tells a store from other SQLite files (`PRAGMA application_id`): "trac".
pub(super) const APPLICATION: i32 = i32::from_be_bytes(*b"trac");

/// The row of `meta` that holds the key of the digests.
pub(super) const REDACTION_KEY: &str = "redaction_key";

/// A step to the next version of the schema.
pub(super) type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// The steps: the first one makes version 1 of nothing.
pub(super) const STEPS: [Step; 1] = [version_1];

/// The version of the schema (`PRAGMA user_version`).
pub const SCHEMA: usize = STEPS.len();

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its file or folder.
    #[error("{}: {source}", path.display())]
    Place {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A file of something else.
    #[error("it is an SQLite file of another program")]
    Foreign,
    /// A store in a schema that this tracer does not know.
    #[error(
        "its schema is version {found}, and this tracer knows version {SCHEMA}: \
         a later tracer made it"
    )]
    Newer {
        /// Its version.
        found: usize,
    },
    /// A store in an earlier schema cannot be read before it was brought up.
    #[error("its schema is version {found}: `tracer run` brings it to version {SCHEMA}")]
    Older {
        /// Its version.
        found: usize,
    },
    /// An alert that cannot be read.
    #[error("alert {id} in it is damaged: {source}")]
    Damaged {
        /// Its number in the store.
        id: i64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The system has no thread to write with.
    #[error("no thread to write with: {0}")]
    Thread(io::Error),
    /// SQLite says why.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing yet.
    Empty,
    /// A store of this version.
    Version(usize),
}

/// Says what a file holds, and changes nothing.
pub(super) fn state(db: &Connection) -> Result<State, StoreError> {
    let number = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application = number("application_id")?;
    if application == 0 && tables == 0 {
        return Ok(State::Empty);
    }
    if application != i64::from(APPLICATION) {
        return Err(StoreError::Foreign);
    }
    Ok(State::Version(usize::try_from(number("user_version")?).unwrap_or(0)))
}

/// Brings a store to the last of the versions that `steps` lead to. Each step
/// is one transaction: after a crash the store is of one version or the next.
pub(super) fn migrate(db: &mut Connection, steps: &[Step]) -> Result<(), StoreError> {
    loop {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Within the transaction: another process may be at it as well.
        let version = match state(&tx)? {
            State::Empty => 0,
            State::Version(version) => version,
        };
        if version > steps.len() {
            return Err(StoreError::Newer { found: version });
        }
        let Some(step) = steps.get(version) else {
            return Ok(());
        };
        step(&tx)?;
        tx.pragma_update(None, "application_id", APPLICATION)?;
        tx.pragma_update(None, "user_version", i64::try_from(version + 1).unwrap_or(i64::MAX))?;
        tx.commit()?;
    }
}

/// `docs/reference/store.md` describes it.
fn version_1(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(
        "CREATE TABLE meta (
             key TEXT PRIMARY KEY NOT NULL,
             value BLOB NOT NULL
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE runs (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             began INTEGER NOT NULL,
             ended INTEGER,
             version TEXT NOT NULL,
             lost INTEGER NOT NULL DEFAULT 0
         ) STRICT;

         CREATE TABLE alerts (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             run INTEGER NOT NULL REFERENCES runs (id),
             alert INTEGER,
             time INTEGER NOT NULL,
             severity TEXT,
             reason TEXT,
             application TEXT NOT NULL,
             uid INTEGER NOT NULL,
             browser TEXT,
             private INTEGER,
             sender TEXT NOT NULL,
             recipient TEXT,
             host TEXT NOT NULL,
             sdk TEXT,
             count INTEGER NOT NULL DEFAULT 1,
             last INTEGER NOT NULL,
             json TEXT NOT NULL,
             left_out INTEGER NOT NULL DEFAULT 0,
             UNIQUE (run, alert)
         ) STRICT;
         CREATE INDEX alerts_by_time ON alerts (time, id);
         CREATE INDEX alerts_by_last ON alerts (last);

         CREATE TABLE evidence (
             alert INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
             piece INTEGER NOT NULL,
             bytes BLOB NOT NULL,
             PRIMARY KEY (alert, piece)
         ) STRICT;

         CREATE TABLE identifiers (
             value TEXT PRIMARY KEY NOT NULL,
             class TEXT,
             first INTEGER NOT NULL,
             last INTEGER NOT NULL,
             requests INTEGER NOT NULL,
             connections INTEGER NOT NULL,
             processes INTEGER NOT NULL,
             applications TEXT NOT NULL,
             recipients TEXT NOT NULL
         ) STRICT;
         CREATE INDEX identifiers_by_last ON identifiers (last);",
    )?;
    let Key(key) = crate::random::key()
        .map_err(|err| rusqlite::Error::ToSqlConversionFailure(Box::new(err)))?;
    tx.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", params![REDACTION_KEY, key])?;
    Ok(())
}
