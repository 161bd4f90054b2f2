//! The bound on the size of an alert.
//!
//! A request of a kilobyte can decompress to megabytes of URLs. Without a bound, each such request
//! would become an alert of that size, and a few hundred of them would fill the disk.

use super::{FindingReport, RequestReport};
use crate::finding::Visited;

/// Maximum length of a text: that of a URL.
const MAX_TEXT: usize = 8 << 10;

/// Maximum length of a chain.
const MAX_CHAIN: usize = 2 << 10;

/// Maximum length of a name: of a host, a class or an extension.
const MAX_NAME: usize = 512;

/// Maximum number of bytes in the texts of all findings. The gravest ones come first, and the first
/// one always fits.
const MAX_FINDINGS: usize = 32 << 10;

/// Approximate number of bytes of a finding apart from its texts.
const FINDING: usize = 512;

/// Cuts the texts of a report, and leaves out the findings that exceed the bound.
pub(super) fn bound(report: &mut RequestReport) {
    let mut cut = false;
    let head = &mut report.request;
    for name in [&mut head.method, &mut head.authority, &mut report.extension] {
        cut |= name.as_mut().is_some_and(|name| shorten(name, MAX_NAME));
    }
    cut |= head.path.as_mut().is_some_and(|path| shorten(path, MAX_TEXT));
    let mut size = 0;
    let mut kept = 0;
    for finding in &mut report.findings {
        let is_cut = bound_finding(finding);
        size += size_of(finding);
        if size > MAX_FINDINGS {
            break;
        }
        cut |= is_cut;
        kept += 1;
    }
    let left_out = report.findings.len() - kept;
    report.findings.truncate(kept);
    report.findings_uncounted += left_out as u64;
    report.shortened = cut || left_out > 0;
}

fn bound_finding(finding: &mut FindingReport) -> bool {
    let mut cut = shorten(&mut finding.value, MAX_TEXT) | shorten(&mut finding.chain, MAX_CHAIN);
    if let Some(class) = &mut finding.class {
        cut |= shorten(class, MAX_NAME);
    }
    cut | match &mut finding.visited {
        Some(Visited::Page { url, .. }) => shorten(url, MAX_TEXT),
        Some(Visited::Host { host, .. }) => shorten(host, MAX_NAME),
        Some(Visited::No | Visited::Unknown) | None => false,
    }
}

fn size_of(finding: &FindingReport) -> usize {
    let visited = match &finding.visited {
        Some(Visited::Page { url, .. }) => url.len(),
        _ => 0,
    };
    FINDING + finding.value.len() + finding.chain.len() + visited
}

/// Cuts a text that is longer than `max` bytes. Reports whether it did.
fn shorten(text: &mut String, max: usize) -> bool {
    let is_long = text.len() > max;
    if is_long {
        text.truncate(text.floor_char_boundary(max));
        text.push('…');
    }
    is_long
}

#[cfg(test)]
mod tests {
    use crate::{
        alert::{Alert, fixtures, text},
        finding::Severity,
        judge::JudgedRequest,
    };

    /// Returns the alert of a request with `count` findings of `len` bytes, of which only the last
    /// one is grave.
    fn alert(count: usize, len: usize) -> Alert {
        let one = fixtures::judged();
        let mut disclosures = vec![one.disclosures[0].clone(); count];
        for (i, disclosure) in disclosures.iter_mut().enumerate() {
            let value = format!("https://a.test/{i}?{}", "é".repeat(len / 2));
            disclosure.finding.value = value;
            disclosure.finding.chain = format!("body > {}", "json > ".repeat(len / 7));
            disclosure.verdict.severity = Severity::Low;
        }
        if let Some(last) = disclosures.last_mut() {
            last.verdict.severity = Severity::Critical;
        }
        Alert::new(&JudgedRequest { disclosures, ..one })
    }

    #[test]
    fn an_alert_has_a_bounded_size_and_says_what_is_missing() {
        for (count, len) in [(256, 8192), (256, 100_000), (256, 300), (1, 1 << 20), (2, 8192)] {
            let alert = alert(count, len);
            let json = serde_json::to_string(&alert).unwrap();
            assert!(json.len() < 128 << 10, "{count} of {len}: {} bytes", json.len());
            assert!(alert.content.shortened, "{count} of {len}");
            let listed = alert.content.findings.len();
            assert_eq!(alert.content.findings_uncounted, (count - listed) as u64);
            assert_eq!(alert.content.findings[0].severity, Severity::Critical);
            assert!(text::alert(&alert, text::Style::default()).contains("(shortened)"));
        }
    }

    #[test]
    fn an_alert_within_the_bound_is_whole() {
        let alert = alert(20, 300);
        assert!(!alert.content.shortened);
        assert_eq!((alert.content.findings.len(), alert.content.findings_uncounted), (20, 0));
        assert!(!text::alert(&alert, text::Style::default()).contains("shortened"));
    }

    #[test]
    fn the_head_is_bounded() {
        let mut one = fixtures::judged();
        one.sent.message.path = Some("/".repeat(1 << 20));
        one.sent.message.authority = Some("a".repeat(1 << 20));
        let alert = Alert::new(&one);
        assert!(alert.content.shortened);
        assert!(serde_json::to_string(&alert).unwrap().len() < 20 << 10);
    }
}
