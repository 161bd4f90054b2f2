//! Measures the time to locate the TLS functions in a browser's executable, which has
//! hundreds of megabytes: Debian's Chromium, if it is installed, and the arm64 build that
//! `cargo xtask setup --tests` downloads.
//!
//! The result is the wall time with a warm page cache, as a user experiences it.
//!
//! Run it with `cargo bench --package tracer-host --bench locate`.

use std::{fs::File, path::Path, time::Duration};

use criterion::Criterion;
use tracer_host::locate::{Cache, FileSource, locate};

/// The files to analyze; missing ones are skipped.
const FILES: [(&str, &str); 3] = [
    ("Chromium", "/usr/lib/chromium/chromium"),
    ("Chromium for arm64", concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/arm64/chromium")),
    ("OpenSSL", "/usr/lib/x86_64-linux-gnu/libssl.so.3"),
];

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    for (name, path) in FILES {
        if !Path::new(path).is_file() {
            println!("SKIPPED locate/{name}: {path} is missing");
            continue;
        }
        criterion.bench_function(&format!("locate/{name}"), |bencher| {
            bencher.iter(|| {
                let source = FileSource::new(File::open(path)?)?;
                Ok::<_, Box<dyn std::error::Error>>(locate(&source, path, &mut Cache::disabled())?)
            });
        });
    }
    criterion.final_summary();
}
