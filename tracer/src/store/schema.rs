//! The schema, and the steps from one version to the next.

use std::{io, path::PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use tracer_core::alert::redact::Key;

/// Marks an SQLite file as a store (`PRAGMA application_id`): "trac".
pub(super) const APPLICATION: i32 = i32::from_be_bytes(*b"trac");

/// Row of `meta` that holds the key of the digests.
pub(super) const REDACTION_KEY: &str = "redaction_key";

/// Step to the next version of the schema.
pub(super) type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// All steps. The first one creates version 1.
pub(super) const STEPS: [Step; 1] = [version_1];

/// Version of the schema (`PRAGMA user_version`).
pub const SCHEMA: usize = STEPS.len();

/// Error that makes a store unusable.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    Place {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// The file is an SQLite file of another program.
    #[error("it is an SQLite file of another program; name another file")]
    Foreign,
    /// The file is marked as a store, and has other tables.
    #[error("its tables are not those that tracer makes; name another file")]
    Altered,
    /// The schema is newer than this tracer.
    #[error(
        "it was made by a later tracer (schema {found}; this one knows schema {SCHEMA}); update \
         tracer"
    )]
    Newer {
        /// Version of the store.
        found: usize,
    },
    /// The schema is older than this tracer, which only updates it when it writes.
    #[error("it has the older schema {found}; `tracer run` updates it to schema {SCHEMA}")]
    Older {
        /// Version of the store.
        found: usize,
    },
    /// An alert cannot be parsed.
    #[error("alert {id} in it is damaged: {source}")]
    Damaged {
        /// Number of the alert in the store.
        id: i64,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// The writing thread cannot be started.
    #[error("cannot start the writing thread: {0}")]
    Thread(io::Error),
    /// Another process reads from the store.
    #[error(
        "another process uses it, so that copies of removed data may remain in its -wal file; try \
         again later"
    )]
    Busy,
    /// SQLite failed.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// State of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Empty.
    Empty,
    /// A store of this version.
    Version(usize),
}

/// Returns the state of a file, without changing it.
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

/// Checks that the tables are exactly those that tracer makes. A view or a generated column in the
/// place of one could take any time and memory.
pub(super) fn check(db: &Connection, version: usize) -> Result<(), StoreError> {
    /// Type, name and definition.
    type Entry = (String, String, Option<String>);
    let entries = |db: &Connection| -> rusqlite::Result<Vec<Entry>> {
        let sql = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name";
        let mut statement = db.prepare(sql)?;
        let words = |sql: String| sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?.map(words)))
        })?;
        rows.take(MAX_ENTRIES).collect()
    };
    let Some(steps) = STEPS.get(..version) else {
        return Err(StoreError::Newer { found: version });
    };
    let mut own = Connection::open_in_memory()?;
    migrate(&mut own, steps)?;
    if entries(db)? == entries(&own)? { Ok(()) } else { Err(StoreError::Altered) }
}

/// Maximum number of tables and indices that are compared: more than a store has.
const MAX_ENTRIES: usize = 256;

/// Updates a store to the last version that `steps` lead to. Each step is one transaction, so after
/// a crash the store has a definite version.
pub(super) fn migrate(db: &mut Connection, steps: &[Step]) -> Result<(), StoreError> {
    loop {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read within the transaction, because another process may update it at the same time.
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
