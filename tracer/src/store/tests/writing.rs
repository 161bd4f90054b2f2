//! Tests of the writing thread.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_core::{alert::Notice, pipeline::Output};

use super::*;

fn alert(number: u64) -> Notice {
    let alert = AlertStatus::New(number);
    let request = JudgedRequest { alert, ..fixtures::judged() };
    Notice::from_output(&Output::Request(Arc::new(request))).unwrap()
}

fn numbers(place: &Place) -> Vec<u64> {
    kept(place, &Query::default()).iter().filter_map(|kept| kept.alert.alert).collect()
}

fn sightings(place: &Place) -> Vec<Sighting> {
    let mut known = Vec::new();
    let list = |sighting| {
        known.push(sighting);
        Ok::<_, StoreError>(())
    };
    read(place).sightings(list).unwrap();
    known
}

/// No limits, because the fixtures' times lie in the past.
const UNLIMITED: Retention = Retention { age: Duration::MAX, size: u64::MAX };

fn writer(place: &Place) -> Writer {
    Writer::start(Store::open(place).unwrap(), UNLIMITED).unwrap()
}

#[test]
fn entries_are_readable_during_the_run() {
    let (_folder, place) = place();
    let writer = writer(&place);
    writer.notice(&alert(1));
    writer.notice(&Notice::Repeated { alert: 1, count: 4, total: 5, unix: None });
    writer.sightings(vec![sighting("value", 7)]);
    // The last entry is written last.
    let deadline = Instant::now() + BUSY_TIMEOUT;
    while sightings(&place).is_empty() {
        assert!(Instant::now() < deadline, "nothing was written");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(sightings(&place), [sighting("value", 7)]);
    let all = kept(&place, &Query::default());
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].count, 5);
    assert_eq!(writer.lost(), 0);
}

#[test]
fn finish_commits_everything() {
    let (_folder, place) = place();
    let mut first = writer(&place);
    (1..=50).for_each(|number| first.notice(&alert(number)));
    first.finish();
    assert_eq!(numbers(&place), (1..=50).collect::<Vec<_>>());
    assert_eq!((first.lost(), first.events().count()), (0, 0));
    // A second run counts from 1 again. Dropping the writer commits as well.
    let second = writer(&place);
    second.notice(&alert(1));
    drop(second);
    let runs: Vec<_> = kept(&place, &Query::default()).iter().map(|kept| kept.run).collect();
    assert_eq!((runs.iter().filter(|run| **run == 2).count(), runs.len()), (1, 51));
}

/// A disk that hangs loses entries, which are counted, but does not block.
#[test]
fn entries_that_do_not_fit_are_counted() {
    const SENT: u64 = 3000;
    let (_folder, place) = place();
    let mut writer = writer(&place);
    let mut hanging = Store::open(&place).unwrap();
    let held = hanging.begin().unwrap();
    let all: Vec<Notice> = (1..=SENT).map(alert).collect();
    let began = Instant::now();
    all.iter().for_each(|alert| writer.notice(alert));
    assert!(began.elapsed() < BUSY_TIMEOUT, "it waited");
    let lost = writer.lost();
    assert!(lost > 0);
    held.commit().unwrap();
    writer.finish();
    assert_eq!(numbers(&place).len() as u64 + writer.lost(), SENT);
    let noted: u64 = hanging.db.query_row("SELECT lost FROM runs", [], |row| row.get(0)).unwrap();
    assert_eq!(noted, writer.lost());
}

#[test]
fn queued_bytes_are_bounded() {
    let (_folder, place) = place();
    let mut writer = writer(&place);
    let mut hanging = Store::open(&place).unwrap();
    let held = hanging.begin().unwrap();
    let large = "x".repeat(8 << 20);
    for _ in 0..20 {
        writer.sightings(vec![sighting(&large, 1)]);
    }
    assert!(writer.lost() >= 15, "{}", writer.lost());
    held.commit().unwrap();
    writer.finish();
}

#[test]
fn failed_writes_are_counted_and_reported() {
    let (_folder, place) = place();
    let mut writer = writer(&place);
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("DROP TABLE identifiers").unwrap();
    writer.sightings(vec![sighting("value", 7)]);
    writer.finish();
    assert_eq!(writer.lost(), 1);
    let events: Vec<_> = writer.events().collect();
    let [StoreEvent::Failed(reason)] = &events[..] else { panic!("{events:?}") };
    assert!(reason.contains("identifiers"), "{reason}");
}

#[test]
fn removed_rows_are_reported() {
    let (_folder, place) = place();
    let mut first = writer(&place);
    first.notice(&alert(1));
    first.finish();
    let limits = Retention { size: 0, ..UNLIMITED };
    let mut second = Writer::start(Store::open(&place).unwrap(), limits).unwrap();
    second.finish();
    let events: Vec<_> = second.events().collect();
    assert_eq!(events, [StoreEvent::Removed { old: 0, surplus: 1, identifiers: 0 }]);
    assert!(numbers(&place).is_empty());
}

#[test]
fn a_damaged_page_is_reported() {
    let (_folder, place) = place();
    let mut first = writer(&place);
    for number in 0..200 {
        first.notice(&alert(number));
    }
    first.finish();
    assert_eq!(first.events().collect::<Vec<_>>(), []);
    drop(first);
    let mut bytes = fs::read(place.path()).unwrap();
    // Neither the header nor the first pages, which hold the schema and the numbers of runs.
    let half = bytes.len() / 2 / 4096 * 4096;
    bytes[half..half + 4096].fill(0xff);
    fs::write(place.path(), bytes).unwrap();
    let mut second = writer(&place);
    second.finish();
    let events: Vec<_> = second.events().collect();
    let is_damaged = |event: &StoreEvent| matches!(event, StoreEvent::Damaged(_));
    assert!(events.iter().any(is_damaged), "{events:?}");
}
