//! Measures the decoding speed of the core on the recorded requests in
//! `tests/fixtures/corpus`, for each stage and for the whole pipeline. A plain
//! search of the same bytes for `://` serves as a baseline, since every detector
//! has to do at least that.
//!
//! The benchmark measures CPU time of its thread, so other load on the machine
//! only affects it through the caches.
//!
//! Run it with `cargo bench --package tracer-core`; it takes half a minute.

use std::{fs, hint::black_box, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{
    BatchSize, Criterion, Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use rustix::time::{ClockId, clock_gettime};
use tracer_core::{
    content::{self, Limits},
    detect::{Detector, urls_in},
    knowledge::Knowledge,
    pipeline::Pipeline,
    proto::{self, Decoder, Request},
    record::{BootTime, Connection, Event, Hook, Process, Record, Transport},
    stream::{self, Streams},
};

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    core(&mut criterion);
    criterion.final_summary();
}

/// Measures the CPU time of the thread, in nanoseconds.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.try_into().expect("a clock that counts from 0")
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn core(criterion: &mut Criterion<CpuTime>) {
    let records = corpus();
    let requests: Vec<Request> = records.iter().flat_map(parse).collect();
    let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
    let values = values_of(&requests);
    let knowledge = Knowledge::default();
    let detector = Detector::new(Arc::clone(knowledge.rules()), Arc::clone(knowledge.lexicon()));

    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::ElementsAndBytes {
        elements: requests.len() as u64,
        bytes: bytes as u64,
    });
    group.bench_function("memmem", |bencher| {
        bencher.iter(|| {
            let find = |record: &Record| memchr::memmem::find_iter(&record.payload, "://").count();
            records.iter().map(find).sum::<usize>()
        });
    });
    group.bench_function("stream+http1", |bencher| {
        bencher.iter(|| {
            let mut streams: Streams<Decoder> =
                Streams::new(stream::Limits::default(), proto::Limits::default());
            let mut sent = Vec::new();
            for record in &records {
                streams.push(record, &mut sent);
            }
            streams.finish(&mut sent);
            sent.len()
        });
    });
    group.bench_function("content", |bencher| {
        bencher.iter(|| {
            let mut seen = 0;
            for request in &requests {
                content::unwrap(request, &Limits::default(), |value| seen += value.text.len());
            }
            seen
        });
    });
    group.bench_function("urls_in", |bencher| {
        bencher.iter(|| values.iter().map(|value| urls_in(value).count()).sum::<usize>());
    });
    group.bench_function("content+detect", |bencher| {
        let find = |request| detector.find(black_box(request)).list.len();
        bencher.iter(|| requests.iter().map(find).sum::<usize>());
    });
    group.bench_function("pipeline", |bencher| {
        let setup = || {
            let events: Vec<Event> = records.iter().cloned().map(Event::Sent).collect();
            (Pipeline::new(&knowledge), events)
        };
        let run = |(mut pipeline, events): (Pipeline, Vec<Event>)| {
            let mut outputs = Vec::new();
            for event in events {
                pipeline.push(event, &mut outputs);
            }
            pipeline.finish(&mut outputs);
            // Returned so that criterion drops them outside the measurement.
            (pipeline, outputs)
        };
        // Larger batches would keep all their requests in memory.
        bencher.iter_batched(setup, run, BatchSize::PerIteration);
    });
    group.finish();
}

/// Returns the recorded requests as the kernel would capture them, with one
/// connection and one send each.
fn corpus() -> Vec<Record> {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/corpus");
    let mut paths: Vec<PathBuf> = [corpus.clone(), corpus.join("browser")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("the corpus is part of the repository"))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .collect();
    paths.sort();
    assert!(paths.len() > 40, "only {} recorded requests", paths.len());
    let read = |path| Bytes::from(fs::read(path).expect("a readable file"));
    (0..).zip(paths).map(|(key, path)| record(key, read(path))).collect()
}

fn record(key: u64, payload: Bytes) -> Record {
    Record {
        hook: Hook::SysEnter,
        time: BootTime(key),
        process: Process { uid: 1000, tgid: 2, tid: 2, comm: "browser".into() },
        connection: Connection {
            key,
            transport: Transport::Tcp,
            local: Some(([127, 0, 0, 1], 40_000).into()),
            remote: Some(([127, 0, 0, 1], 80).into()),
        },
        within_tls: None,
        position: Some(1),
        offset: 0,
        len: Some(payload.len() as u32),
        payload,
    }
}

fn parse(record: &Record) -> Vec<Request> {
    let (requests, unread) = proto::parse_http1(&record.payload);
    assert!(unread.is_empty(), "a recorded request was not read completely: {unread:?}");
    requests
}

/// Returns every value that the detector inspects.
fn values_of(requests: &[Request]) -> Vec<String> {
    let mut values = Vec::new();
    for request in requests {
        content::unwrap(request, &Limits::default(), |value| values.push(value.text.to_owned()));
    }
    values
}
