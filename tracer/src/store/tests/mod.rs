use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::Transaction;
use tempfile::TempDir;

use super::{schema::Step, *};
use tracer_core::{alert::fixtures, judge::AlertStatus};

mod writing;

/// Creates a folder, and returns a place for a store in it.
fn place() -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Default(folder.path().join("state/tracer/tracer.db"));
    (folder, place)
}

fn read(place: &Place) -> Reader {
    Reader::open(place.path()).unwrap().expect("it holds something")
}

fn kept(place: &Place, query: &Query) -> Vec<StoredAlert> {
    let mut all = Vec::new();
    read(place)
        .alerts(query, |kept| {
            all.push(kept);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    all
}

fn entry(number: u64, time: u64) -> Entry {
    let alert = AlertStatus::New(number);
    let request = JudgedRequest { alert, unix: Some(time), ..fixtures::judged() };
    Entry::new(Alert::new(&request), &request, 0)
}

fn insert_all(store: &mut Store, run: i64, entries: &[Entry]) {
    let tx = store.begin().unwrap();
    entries.iter().for_each(|entry| insert_alert(&tx, run, entry).unwrap());
    tx.commit().unwrap();
}

fn sighting(value: &str, last: u64) -> Sighting {
    Sighting {
        value: value.into(),
        class: Some("uuid".into()),
        first: 1,
        last,
        requests: 4,
        connections: 3,
        processes: 2,
        applications: vec!["browser".into(), "launcher".into()],
        recipients: vec!["collector.example".into()],
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", path.display()).into()
}

#[test]
fn stored_alerts_are_read_back() {
    let (_folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    let run = store.begin_run(5).unwrap();
    insert_all(&mut store, run, &[entry(1, fixtures::TIME)]);
    let tx = store.begin().unwrap();
    update_count(&tx, run, 1, 37, fixtures::TIME + 9).unwrap();
    // A repetition of an unknown alert creates no row.
    update_count(&tx, run, 2, 3, 4).unwrap();
    tx.commit().unwrap();

    // Read while the writer has it open.
    let all = kept(&place, &Query::default());
    let [kept] = &all[..] else { panic!("{all:#?}") };
    let alert = Alert { alert: Some(1), ..fixtures::alert() };
    assert_eq!(
        kept,
        &StoredAlert {
            id: 1,
            run,
            alert,
            time: fixtures::TIME,
            count: 37,
            last: fixtures::TIME + 9
        }
    );
    let pieces = read(&place).evidence(1).unwrap();
    let [piece] = &pieces[..] else { panic!("{pieces:?}") };
    assert!(piece.starts_with(b"POST /v1?id=private HTTP/1.1\r\n"), "{piece:?}");
    assert!(piece.ends_with(b"{\"url\":\"https://news.example.org/story?q=private\"}"));

    // More of the request arrived: the alert is replaced.
    let mut more = entry(1, fixtures::TIME);
    more.evidence.pieces.push(b"more".to_vec());
    insert_all(&mut store, run, &[more]);
    let reader = read(&place);
    assert_eq!((reader.count().unwrap(), reader.evidence(1).unwrap().len()), (1, 2));
    assert!(reader.is_intact().unwrap());
}

#[test]
fn alerts_are_selected_by_time_severity_and_application() {
    let (_folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    let run = store.begin_run(0).unwrap();
    let mut entries: Vec<Entry> = (1..=3).map(|number| entry(number, number * 100)).collect();
    entries[0].alert.severity = Some(Severity::Medium);
    entries[1].alert.application = "Other".into();
    entries[2].alert.severity = Some(Severity::Critical);
    entries[2].alert.content.browser = Some("Mi Browser".into());
    // Newest last, whatever the order of insertion.
    entries.reverse();
    insert_all(&mut store, run, &entries);
    let tx = store.begin().unwrap();
    update_count(&tx, run, 1, 2, 250).unwrap();
    tx.commit().unwrap();
    let found = |query: Query| -> Vec<_> {
        kept(&place, &query).iter().filter_map(|kept| kept.alert.alert).collect()
    };
    let name = |name: &str| Query { application: Some(name.into()), ..Query::default() };
    assert_eq!(found(Query::default()), [1, 2, 3]);
    assert_eq!(found(Query { since: Some(201), ..Query::default() }), [1, 3]);
    assert_eq!(found(Query { until: Some(300), ..Query::default() }), [1, 2]);
    assert_eq!(found(Query { severity: Some(Severity::High), ..Query::default() }), [2, 3]);
    assert_eq!(found(Query { severity: Some(Severity::Critical), ..Query::default() }), [3]);
    assert_eq!(found(name("other")), [2]);
    assert_eq!(found(name("mi browser")), [3]);
    assert_eq!(found(name("%")), [0u64; 0]);
    // Across pages, also if many alerts have the same time.
    let more: Vec<_> = (4..1000).map(|number| entry(number, 400 + number / 300)).collect();
    insert_all(&mut store, run, &more);
    assert_eq!(found(Query::default()), (1..1000).collect::<Vec<_>>());
}

#[test]
fn identifiers_are_stored_and_updated() {
    let (_folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    let (old, new) = (sighting("old", 10), sighting("new", 20));
    let later = Sighting { last: 30, processes: 9, class: None, ..old.clone() };
    let unknown = Sighting { first: 0, last: u64::MAX, ..sighting("", 0) };
    let tx = store.begin().unwrap();
    for known in [&old, &new, &later, &unknown] {
        upsert_identifier(&tx, known).unwrap();
    }
    tx.commit().unwrap();
    let unknown = Sighting { last: i64::MAX as u64, ..unknown };
    assert_eq!(store.sightings().unwrap(), [unknown, later, new]);
}

#[test]
fn key_of_the_digests_is_permanent() {
    let (_folder, place) = place();
    let key = Store::open(&place).unwrap().key().unwrap();
    assert_eq!(Store::open(&place).unwrap().key().unwrap(), key);
    assert_eq!(read(&place).key().unwrap(), key);
    let (_other, other) = self::place();
    assert_ne!(Store::open(&other).unwrap().key().unwrap(), key);
}

#[test]
fn files_are_private_to_the_owner() {
    // Depends on the umask of this process; `tests/tests/store.rs` uses a umask of 0.
    let (folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    store.begin_run(0).unwrap();
    let path = place.path();
    let files = [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")];
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&folder.path().join("state")), 0o700);

    // Opening it restricts files that others could read.
    for file in &files {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let second = Store::open(&place).unwrap();
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    // Opening it again has not released the locks of the first.
    assert!(store.begin().is_ok());
    drop(second);

    // The folder of a named store is left as it is.
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    let named = Place::Named(shared.join("store"));
    Store::open(&named).unwrap();
    assert_eq!((mode(&shared), mode(named.path())), (0o755, 0o600));
    let nowhere = Place::Named(shared.join("no/such/folder"));
    let err = Store::open(&nowhere).unwrap_err();
    assert!(err.to_string().contains("no/such/folder: No such file"), "{err}");
}

#[test]
fn an_empty_file_becomes_a_store() {
    let (folder, _) = place();
    let place = Place::Named(folder.path().join("empty"));
    fs::write(place.path(), "").unwrap();
    assert!(Reader::open(place.path()).unwrap().is_none());
    Store::open(&place).unwrap();
    assert_eq!(read(&place).count().unwrap(), 0);
}

#[test]
fn other_files_are_left_unchanged() {
    let (folder, _) = place();
    let path = folder.path().join("other");
    let place = Place::Named(path.clone());
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE bookmarks (url)").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::read(&path).unwrap();
    let (writing, reading) = (Store::open(&place).unwrap_err(), Reader::open(&path).unwrap_err());
    for err in [writing, reading] {
        assert!(err.to_string().contains("another program"), "{err}");
    }
    fs::write(folder.path().join("text"), "no database, but long enough to be one".repeat(99))
        .unwrap();
    let err = Store::open(&Place::Named(folder.path().join("text"))).unwrap_err();
    assert!(err.to_string().contains("not a database"), "{err}");
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (before, 0o644));
}

/// A store in version 1, which later steps have to update.
const VERSION_1: &str = include_str!("v1.sql");

fn version_1(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(VERSION_1).unwrap();
    db
}

/// Returns the schema with normalized white space.
fn schema_of(db: &Connection) -> Vec<(String, String)> {
    let mut statement =
        db.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name").unwrap();
    let rows = statement.query_map([], |row| {
        let sql: String = row.get(1)?;
        Ok((row.get(0)?, sql.split_whitespace().collect::<Vec<_>>().join(" ")))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn stores_in_version_1_are_still_read() {
    let (folder, place) = place();
    let path = folder.path().join("v1");
    drop(version_1(&path));
    let old = Place::Named(path);
    let store = Store::open(&old).unwrap();
    let new = Store::open(&place).unwrap();
    assert_eq!(schema_of(&store.db), schema_of(&new.db));
    let all = kept(&old, &Query::default());
    let [alert] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((alert.count, alert.alert.host().as_str()), (3, "collector.example"));
    assert_eq!(alert.alert.content.findings.len(), 1);
    assert_eq!(store.sightings().unwrap(), [sighting("0123456789abcdef", 7)]);
    assert_eq!(read(&old).key().unwrap(), Key(*b"0123456789abcdef"));
    assert_eq!(read(&old).evidence(1).unwrap(), [b"POST / HTTP/1.1\r\n\r\n"]);
}

#[test]
fn migration_takes_each_step_once_and_in_order() {
    fn second(tx: &Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch("ALTER TABLE alerts ADD COLUMN seen INTEGER NOT NULL DEFAULT 0")
    }
    fn third(tx: &Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch("UPDATE alerts SET seen = seen + 1")
    }
    fn fails(tx: &Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch("DELETE FROM alerts; SELECT no_such_function()")
    }
    let (folder, _) = place();
    let mut db = version_1(&folder.path().join("v1"));
    let version = |db: &Connection| schema::state(db).unwrap();
    let seen = |db: &Connection| -> i64 {
        db.query_row("SELECT sum(seen) FROM alerts", [], |row| row.get(0)).unwrap()
    };
    let steps: [Step; 4] = [schema::STEPS[0], second, third, fails];
    schema::migrate(&mut db, &steps[..3]).unwrap();
    assert_eq!((version(&db), seen(&db)), (State::Version(3), 1));
    schema::migrate(&mut db, &steps[..3]).unwrap();
    assert_eq!(seen(&db), 1, "a step is not taken twice");
    // A failing step changes nothing.
    schema::migrate(&mut db, &steps).unwrap_err();
    assert_eq!((version(&db), seen(&db)), (State::Version(3), 1));
    // There are no steps backwards.
    let err = schema::migrate(&mut db, &steps[..2]).unwrap_err();
    assert!(matches!(err, StoreError::Newer { found: 3 }), "{err}");
}

#[test]
fn later_versions_are_refused_and_left_unchanged() {
    let (folder, _) = place();
    let path = folder.path().join("later");
    version_1(&path).pragma_update(None, "user_version", 99).unwrap();
    for err in
        [Store::open(&Place::Named(path.clone())).unwrap_err(), Reader::open(&path).unwrap_err()]
    {
        let message = err.to_string();
        assert!(message.contains("schema 99") && message.contains("later tracer"), "{message}");
    }
    let db = Connection::open(&path).unwrap();
    assert_eq!(schema::state(&db).unwrap(), State::Version(99));
}

/// Reading such a view never ended.
#[test]
fn a_store_with_other_tables_is_refused() {
    const ENDLESS: &str = "DROP TABLE evidence; DROP TABLE alerts;
        CREATE VIEW alerts AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
        SELECT id, 1 AS run, id AS time, '{}' AS json, 1 AS count, 1 AS last, 'high' AS severity,
               'a' AS application, 'b' AS browser FROM n";
    const CHANGES: [&str; 4] = [
        ENDLESS,
        "CREATE TRIGGER t AFTER INSERT ON alerts BEGIN DELETE FROM alerts; END",
        "ALTER TABLE alerts ADD COLUMN large TEXT GENERATED ALWAYS AS (hex(zeroblob(1 << 28)))",
        "CREATE TABLE other (id)",
    ];
    for change in CHANGES {
        let (folder, place) = place();
        drop(Store::open(&place).unwrap());
        let db = Connection::open(place.path()).unwrap();
        db.execute_batch(change).unwrap();
        drop(db);
        let named = Place::Named(place.path().to_owned());
        for err in [Store::open(&named).unwrap_err(), Reader::open(place.path()).unwrap_err()] {
            assert!(matches!(err, StoreError::Altered), "{change}: {err}");
        }
        drop(folder);
    }
}

#[test]
fn retention_removes_the_oldest_rows_first() {
    const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
    let (_folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    let gone = store.begin_run(0).unwrap();
    insert_all(&mut store, gone, &[entry(1, DAY)]);
    store.end_run(gone, DAY, 0).unwrap();
    let run = store.begin_run(0).unwrap();
    let entries: Vec<_> = (0..2000).map(|number| entry(number, (11 + number % 3) * DAY)).collect();
    insert_all(&mut store, run, &entries);
    let tx = store.begin().unwrap();
    upsert_identifier(&tx, &sighting("old", DAY)).unwrap();
    upsert_identifier(&tx, &sighting("new", 12 * DAY)).unwrap();
    // Old, but seen again recently.
    update_count(&tx, run, 0, 2, 13 * DAY).unwrap();
    tx.commit().unwrap();

    let ten_days = Retention { age: Duration::from_nanos(10 * DAY), size: u64::MAX };
    let removed = store.enforce(&ten_days, 13 * DAY).unwrap();
    assert_eq!((removed.old, removed.surplus, removed.identifiers), (1, 0, 1));
    assert_eq!(store.enforce(&ten_days, 13 * DAY).unwrap(), Default::default());
    let runs: i64 = store.db.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
    assert_eq!(runs, 1);

    let before = store.size().unwrap();
    let half = Retention { size: before / 2, ..ten_days };
    let removed = store.enforce(&half, 13 * DAY).unwrap();
    assert!(store.size().unwrap() <= before / 2);
    assert!(store.size().unwrap() > before / 4, "no more than needed");
    let left = kept(&place, &Query::default());
    assert_eq!(left.len() as u64 + removed.surplus, 2000);
    let oldest = left.iter().map(|kept| kept.last).min().unwrap();
    let lost_from_there = entries.iter().filter(|entry| entry.time > oldest).count();
    let left_from_there = left.iter().filter(|kept| kept.last > oldest).count();
    assert!(left_from_there >= lost_from_there, "the oldest go first");
    assert!(left.iter().any(|kept| kept.alert.alert == Some(0)), "it was seen recently");
    assert_eq!(store.sightings().unwrap().len(), 1);
    // Their evidence was removed with them, and the file is smaller.
    let orphans: i64 = store
        .db
        .query_row(
            "SELECT count(*) FROM evidence WHERE alert NOT IN (SELECT id FROM alerts)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(orphans, 0);
    store.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert!(fs::metadata(place.path()).unwrap().len() < before * 3 / 4);

    // With a limit of 0 everything is removed, and the loop ends.
    store.enforce(&Retention { size: 0, ..ten_days }, 13 * DAY).unwrap();
    assert_eq!(kept(&place, &Query::default()).len(), 0);
    assert_eq!(store.sightings().unwrap().len(), 0);
    assert!(read(&place).is_intact().unwrap());
}

/// Returns an entry of an application with a body of random length, so that it has many bytes.
fn large(number: u64, time: u64, application: &str, severity: Severity) -> Entry {
    let mut entry = entry(number, time);
    entry.alert.application = application.into();
    entry.alert.severity = Some(severity);
    entry.evidence.pieces = vec![vec![b'x'; 20_000]];
    entry
}

#[test]
fn retention_stops_at_its_mark_however_large_the_rows_are() {
    let (_folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    let run = store.begin_run(0).unwrap();
    let entries: Vec<_> = (0..100).map(|i| large(i, 1 + i, "browser", Severity::High)).collect();
    insert_all(&mut store, run, &entries);
    let before = store.size().unwrap();
    let limits = Retention { age: Duration::MAX, size: before - 1 };
    let removed = store.enforce(&limits, 1000).unwrap();
    let after = store.size().unwrap();
    assert!(after <= before / 10 * 9 && after > before / 10 * 8, "{before} to {after}");
    assert!((10..=15).contains(&removed.surplus), "{removed:?}");
}

#[test]
fn the_gravest_and_newest_alerts_stay() {
    let (_folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    let run = store.begin_run(0).unwrap();
    let grave = |i: u64| if i < 10 { Severity::Critical } else { Severity::Low };
    let entries: Vec<_> = (0..100).map(|i| large(i, 1 + i, "browser", grave(i))).collect();
    insert_all(&mut store, run, &entries);
    let limits = Retention { age: Duration::MAX, size: store.size().unwrap() / 2 };
    store.enforce(&limits, 1000).unwrap();
    let left: Vec<u64> =
        kept(&place, &Query::default()).iter().filter_map(|kept| kept.alert.alert).collect();
    assert!(left.len() < 60 && left[..10] == (0..10).collect::<Vec<_>>(), "{left:?}");
    assert_eq!(left[10..], (100 + 10 - left.len() as u64..100).collect::<Vec<_>>());
}

#[test]
fn an_application_does_not_displace_the_alerts_of_another() {
    let (_folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    let run = store.begin_run(0).unwrap();
    let mut entries: Vec<_> = (0..10).map(|i| large(i, 1 + i, "old", Severity::Low)).collect();
    let flood = (10..200).map(|i| large(i, 1 + i, "flood", Severity::Critical));
    entries.extend(flood);
    insert_all(&mut store, run, &entries);
    let tx = store.begin().unwrap();
    upsert_identifier(&tx, &sighting("known", 1)).unwrap();
    tx.commit().unwrap();
    let limits = Retention { age: Duration::MAX, size: store.size().unwrap() / 4 };
    let removed = store.enforce(&limits, 1000).unwrap();
    let left = kept(&place, &Query::default());
    let count = |name: &str| left.iter().filter(|kept| kept.alert.application == name).count();
    let stored: Vec<(String, i64)> = {
        let sql = "SELECT application, count(*) FROM alerts GROUP BY 1 ORDER BY 1";
        let mut statement = store.db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    assert_eq!(stored[1], ("old".to_owned(), 10), "{removed:?} {}", count("browser"));
    assert!(stored[0].1 < 60, "{stored:?}");
    assert_eq!(store.sightings().unwrap().len(), 1);
}

#[test]
fn purged_data_is_in_no_file_of_the_store() {
    let (_folder, place) = place();
    let mut store = Store::open(&place).unwrap();
    let run = store.begin_run(0).unwrap();
    insert_all(&mut store, run, &[entry(1, 10), entry(2, 20)]);
    let tx = store.begin().unwrap();
    upsert_identifier(&tx, &sighting("identifier-of-the-user", 10)).unwrap();
    tx.commit().unwrap();
    let reader = read(&place);
    let holds = |text: &str| {
        let files = ["", "-wal", "-shm"].map(|suffix| beside(place.path(), suffix));
        files.iter().any(|file| {
            let bytes = fs::read(file).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    };
    assert!(holds("identifier-of-the-user") && holds("news.example.org"));

    let removed = store.purge(Some(15)).unwrap();
    assert_eq!((removed.old, removed.identifiers), (1, 1));
    assert!(!holds("identifier-of-the-user"));
    assert_eq!(reader.count().unwrap(), 1);

    store.purge(None).unwrap();
    assert!(!holds("news.example.org") && !holds("collector.example"));
    assert_eq!(reader.count().unwrap(), 0);
    // The run goes on.
    insert_all(&mut store, run, &[entry(3, 30)]);
    assert_eq!(reader.count().unwrap(), 1);
}
