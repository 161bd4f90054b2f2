//! tmp
use tracer_tests::reports;
#[test]
fn tmp() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (n, r) in [
        ("tattling", reports::tattling()),
        ("clean", reports::clean()),
        ("killed", reports::killed()),
        ("hostile", reports::hostile()),
    ] {
        let mut f = std::fs::File::create(dir.join(format!("{n}.html"))).unwrap();
        tracer::audit::html::write(&r, &mut f).unwrap();
        std::fs::write(dir.join(format!("{n}.json")), serde_json::to_string_pretty(&r).unwrap())
            .unwrap();
    }
}
