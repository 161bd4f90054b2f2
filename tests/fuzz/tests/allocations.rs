//! The search of a request that was sent before allocates nothing, unless it finds something.
//!
//! The only test of this file: what other threads allocate would be counted as well.

use std::{fs, path::Path, sync::Arc};

use tracer_core::{
    address::{Site, host_of_authority},
    detect::{Context, Detector, Memo},
    knowledge::Knowledge,
    proto::{initiator, parse_transcript},
    visits::Visits,
};
use tracer_fuzz::allocated;

#[test]
fn a_repeated_request_without_findings_is_searched_without_memory() {
    let knowledge = Knowledge::default();
    let detector = Detector::new(Arc::clone(knowledge.rules()), Arc::clone(knowledge.lexicon()));
    let visits = Visits::default();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/innocent");
    let mut memo = Memo::default();
    let (mut without, mut with) = (0, 0);
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "requests") {
            continue;
        }
        for request in parse_transcript(&fs::read(&path).unwrap()).requests {
            let site = request.authority.as_deref().map(host_of_authority);
            let site = site.and_then(Site::from_host);
            let context = Context {
                initiator: initiator(&request),
                site: site.as_ref(),
                visits: &visits,
                is_browser: false,
            };
            // The first time it is seen, the second time it is remembered.
            for _ in 0..3 {
                detector.find_again(&request, &context, &mut memo);
            }
            let mut finds = false;
            let bytes = allocated(|| {
                let findings = detector.find_again(&request, &context, &mut memo);
                let count = findings.list.len() + findings.candidates.len() + findings.parts.len();
                finds = count > 0 || findings.sdk.is_some();
            });
            let target = request.target();
            if finds {
                assert!(bytes > 0, "the count counts: {target}");
                with += 1;
            } else if request.body.data.len() < 16 << 10 {
                assert_eq!(bytes, 0, "{}: {target}", path.display());
                without += 1;
            }
        }
    }
    assert!(without > 100 && with > 100, "{without} requests without findings, {with} with some");
}
