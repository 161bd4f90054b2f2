//! tracer.
fn main() -> anyhow::Result<()> {
    use tracer::hook::*;
    let mut c = Capture::start(&Options {
        watch: Watch {
            rules: vec![Rule::ExeName("python3.11".into()), Rule::Uid(65534)],
            head_bytes: 16384,
        },
        ring: DEFAULT_RING,
    })?;
    let mut r = c.reader()?;
    for (n, i) in c.programs() {
        println!("{n} {i}");
    }
    for p in aya::programs::loaded_programs().flatten() {
        println!(
            "{:?} {:?} {:?}",
            p.name_as_str(),
            p.verified_instruction_count(),
            p.size_jitted()
        );
    }
    let end = std::time::Instant::now() + std::time::Duration::from_secs(6);
    while std::time::Instant::now() < end {
        while let Some(rec) = r.next() {
            println!("{:?}", rec);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    println!("{:?}", r.losses()?);
    Ok(())
}
