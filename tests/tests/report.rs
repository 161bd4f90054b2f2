//! `report.html` in Chromium as people read it: on a desktop, on a phone, in dark
//! mode, on paper, and with a screen reader; and `tracer compare`. Needs no root.
//! Screenshots are saved in `target/tmp/report`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tracer_audit::{compare::Comparison, html, report::Report};
use tracer_tests::{
    devtools::{Page, View},
    reports,
    tracer_bin::{self, Outcome},
};

const DESK: View = View { width: 1280, media: "screen", scheme: "light" };
const PHONE: View = View { width: 360, ..DESK };
const DARK: View = View { scheme: "dark", ..DESK };
const PAPER: View = View { width: 700, media: "print", ..DESK };

/// Opens all collapsed details.
const OPEN: &str = "document.querySelectorAll('details').forEach(it => it.open = true)";

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
        fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// Writes a report's page and returns its path.
fn written(name: &str, report: &Report) -> PathBuf {
    let path = folder().join(name).with_extension("html");
    html::write(report, &mut File::create(&path).unwrap()).unwrap();
    path
}

/// Checks that hold for every page in every view.
fn look(page: &mut Page, file: &Path, view: View) {
    page.load(file, view);
    assert_eq!(page.console_messages(), [&Value::Null; 0], "{}", file.display());
    let url = format!("file://{}", file.display());
    assert_eq!(page.requests(), [&url], "the page loads other resources");
    page.evaluate(OPEN);
    let overflow = page.evaluate("document.scrollingElement.scrollWidth - innerWidth");
    assert!(overflow.as_i64().unwrap() <= 0, "{} at {view:?}: {overflow}", file.display());
}

#[test]
fn the_page_fits_desktops_phones_and_paper() {
    let Some(mut page) = Page::open() else { return };
    let all = [
        ("reporting", reports::reporting()),
        ("clean", reports::clean()),
        ("killed", reports::killed()),
        ("hostile", reports::hostile()),
    ];
    for (name, report) in &all {
        let file = written(name, report);
        for (view, label) in [(DESK, "desk"), (PHONE, "phone"), (DARK, "dark"), (PAPER, "paper")] {
            look(&mut page, &file, view);
            // The hostile page is longer than a screenshot can be.
            if *name != "hostile" {
                page.load(&file, view);
                page.screenshot(&folder().join(format!("{name}-{label}.png")));
            }
        }
    }
    let file = folder().join("compared.html");
    let reports = all.map(|(_, report)| report);
    fs::write(&file, Comparison::new(&reports).html()).unwrap();
    for view in [DESK, PHONE, DARK, PAPER] {
        look(&mut page, &file, view);
    }
    page.screenshot(&folder().join("compared.png"));
}

/// No script of others runs, and the HTML is well-formed: serializing the parsed
/// page gives the same file.
#[test]
fn the_html_is_well_formed_and_runs_no_scripts() {
    let Some(mut page) = Page::open() else { return };
    for (name, report) in [("parsed", reports::reporting()), ("parsed-hostile", reports::hostile())]
    {
        let file = written(name, &report);
        page.load(&file, DESK);
        assert_eq!(page.console_messages(), [&Value::Null; 0]);
        assert_eq!(page.evaluate("document.scripts.length + document.images.length"), 0);
        let parsed = page.evaluate("document.documentElement.outerHTML");
        let source = fs::read_to_string(&file).unwrap();
        // Both notations are equivalent.
        let same = |html: &str| html.replace("&quot;", "\"").replace("&nbsp;", "\u{a0}");
        let source = same(source.strip_prefix("<!DOCTYPE html>").unwrap());
        let parsed = same(parsed.as_str().unwrap());
        let differ = source.bytes().zip(parsed.bytes()).position(|(one, other)| one != other);
        let near = |text: &str| {
            let at = differ.unwrap_or(text.len());
            String::from_utf8_lossy(
                &text.as_bytes()[at.saturating_sub(60)..text.len().min(at + 60)],
            )
            .into_owned()
        };
        assert!(source == parsed, "{} became {}", near(&source), near(&parsed));
    }
}

/// WCAG 2.2, success criterion 1.4.3, for every text in the colors in which it is
/// drawn.
#[test]
fn every_text_has_enough_contrast() {
    const FAINT: &str = "(() => {
        const channels = colour => colour.match(/[\\d.]+/g).map(Number);
        const luminance = ([r, g, b]) => [r, g, b]
            .map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const ground = it => {
            for (; it; it = it.parentElement) {
                const colour = channels(getComputedStyle(it).backgroundColor);
                if (colour[3] !== 0) return colour;
            }
            return [255, 255, 255];
        };
        const faint = [];
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        let seen = 0;
        while (texts.nextNode()) {
            const it = texts.currentNode.parentElement;
            if (!texts.currentNode.data.trim()) continue;
            seen += 1;
            const [ink, paper] = [channels(getComputedStyle(it).color), ground(it)].map(luminance);
            const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
            if (ratio < 4.5) faint.push(`${ratio.toFixed(2)}: ${texts.currentNode.data.slice(0, 40)}`);
        }
        return { seen, faint };
    })()";
    let Some(mut page) = Page::open() else { return };
    let file = written("contrast", &Report { redacted: false, ..reports::killed() });
    for view in [DESK, DARK, PAPER] {
        look(&mut page, &file, view);
        let found = page.evaluate(FAINT);
        assert!(found["seen"].as_u64().unwrap() > 500, "{view:?}: {found}");
        assert_eq!(found["faint"], json!([]), "{view:?}");
    }
}

/// Tables that look like cards on a phone are still tables, with names.
#[test]
fn screen_readers_find_names_and_landmarks() {
    let Some(mut page) = Page::open() else { return };
    let file = written("spoken", &reports::reporting());
    for view in [DESK, PHONE] {
        look(&mut page, &file, view);
        let tables = page.evaluate("document.querySelectorAll('table').length");
        let tree = page.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().unwrap();
        let named = |role: &str| -> Vec<&str> {
            let of_role = nodes.iter().filter(|node| node["role"]["value"] == role);
            of_role.map(|node| node["name"]["value"].as_str().unwrap_or_default()).collect()
        };
        let names = named("table");
        assert_eq!(tables, names.len(), "{view:?}: {names:?}");
        assert!(names.iter().all(|name| !name.is_empty()), "{names:?}");
        for landmark in ["banner", "navigation", "main", "contentinfo"] {
            assert_eq!(named(landmark).len(), 1, "{landmark}");
        }
        let sections = named("region");
        let headings = named("heading");
        assert!(sections.contains(&"Verdicts"), "{sections:?}");
        assert!(headings.contains(&"Tattle Browser 12.4.1"), "{headings:?}");
        let columns = named("columnheader");
        assert!(columns.contains(&"Question"), "{view:?}: {columns:?}");
    }
}

#[test]
fn collapsed_details_are_printed() {
    const VISIBLE: &str = "[...document.querySelectorAll('details > :not(summary)')]
        .filter(it => it.checkVisibility()).length";
    let Some(mut page) = Page::open() else { return };
    let file = written("printed", &reports::reporting());
    let mut visible = |view| {
        page.load(&file, view);
        page.evaluate(VISIBLE).as_u64().unwrap()
    };
    assert_eq!(visible(DESK), 0);
    // One for the list of pages, one for the names that were looked up, and one for each request.
    let all = 2 + reports::reporting().disclosures.len() as u64;
    assert_eq!(visible(PAPER), all);
}

#[test]
fn links_to_evidence_open_their_targets() {
    let Some(mut page) = Page::open() else { return };
    let file = written("linked", &reports::reporting());
    page.load(&file, DESK);
    page.evaluate("document.querySelector('.verdicts a').click()");
    let open = page.evaluate(
        "document.querySelector('.body:target').closest('details').open && scrollY > 1000",
    );
    assert_eq!(open, true);
}

fn compare(arguments: &[&str]) -> Outcome {
    tracer_bin::run(&mut tracer_bin::command([&["compare"], arguments].concat()))
}

/// Writes the folder of an audit.
fn run(report: &Report) -> TempDir {
    let folder = TempDir::new().unwrap();
    let json = serde_json::to_vec(report).unwrap();
    fs::write(folder.path().join("report.json"), json).unwrap();
    folder
}

#[test]
fn audits_are_compared() {
    let (reporting, clean) = (run(&reports::reporting()), run(&reports::clean()));
    let folders = [reporting.path().to_str().unwrap(), clean.path().to_str().unwrap()];
    let ended = compare(&folders);
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].contains("Tattle Browser 12.4.1") && lines[0].contains("Quiet Browser"));
    let urls = lines.iter().find(|line| line.starts_with("URLs sent")).unwrap();
    assert_eq!(urls.split_whitespace().collect::<Vec<_>>(), ["URLs", "sent", "YES", "no"]);

    let file = reporting.path().join("report.json");
    let ended = compare(&["--json", file.to_str().unwrap(), folders[1], folders[1]]);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 2);
    assert_eq!(json["runs"][0]["cells"]["private_mode"]["answer"], "yes");
    assert!(json["notes"][0].as_str().unwrap().contains("given twice"), "{json}");

    let page = reporting.path().join("both.html");
    let ended = compare(&["--html", page.to_str().unwrap(), folders[0], folders[1]]);
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), ""));
    assert!(fs::read_to_string(page).unwrap().contains("Quiet Browser 153.0esr"));
}

#[test]
fn incomparable_audits_are_explained() {
    let folder = run(&reports::clean());
    let named = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(named("newer.json"), r#"{"schema":3,"answers":{}}"#).unwrap();
    fs::write(named("other.json"), "[]").unwrap();
    let good = folder.path().to_str().unwrap();
    for (other, words) in [
        ("newer.json", "the report has schema 3, and this version reads schemas up to 2"),
        ("other.json", "not the report of an audit"),
        ("missing.json", "cannot read"),
    ] {
        let ended = compare(&[good, &named(other)]);
        assert_eq!((ended.code, &ended.stdout[..]), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains(words) && ended.stderr.contains(other), "{ended:?}");
    }
    assert_eq!(compare(&[]).code, Some(2));
}

#[test]
fn an_audit_of_another_user_is_not_called_no_audit() {
    use std::os::unix::fs::PermissionsExt as _;

    if !tracer_tests::skip::root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mode = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, mode).expect("permissions");
    };
    mode(folder.path(), 0o755);
    let audit = folder.path().join("audit");
    fs::create_dir(&audit).expect("a folder");
    fs::write(audit.join("run.json"), "{}").expect("a file");
    mode(&audit, 0o700);
    assert_eq!(audit.metadata().expect("a folder").permissions().mode() & 0o777, 0o700);
    let path = audit.to_str().expect("UTF-8");
    let uid = tracer_tests::sender::unused_uid();
    let mut command = tracer_bin::command_as(uid, folder.path(), &["report", path]);
    let ended = tracer_bin::run(&mut command);
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    for part in ["Permission denied", "belongs to another user", "sudo"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("not the folder of an audit"), "{}", ended.stderr);
}
