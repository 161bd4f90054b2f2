//! Inputs that have failed before: `tests/fuzz/kept/TARGET/NAME`.

use std::{fs, path::Path};

use tracer_fuzz::{Target, targets};

#[test]
fn inputs_that_failed_before_are_read_within_the_bounds() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("kept");
    let mut inputs = 0;
    for folder in fs::read_dir(&kept).expect("the kept inputs") {
        let folder = folder.expect("an entry").path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let target = Target::named(name).unwrap_or_else(|| panic!("{name} is no target"));
        (target.run)(&(target.seeds)()[0]);
        for input in fs::read_dir(&folder).expect("a folder of inputs") {
            let path = input.expect("an entry").path();
            println!("{}", path.display());
            target.check(&fs::read(&path).expect("an input"));
            inputs += 1;
        }
    }
    assert!(inputs > 0, "no input of {} targets is kept", targets::ALL.len());
}
