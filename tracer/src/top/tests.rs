use std::{env, fs, path::PathBuf, sync::Arc};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend, layout::Rect};
use tracer_core::{
    account::Accounts,
    alert::{
        fixtures::{TIME, judged},
        redact::{Key, Redactor},
    },
    application::Application,
    extensions::Extensions,
    finding::{Finding, Kind, Severity},
    judge::{AlertStatus, Disclosure, JudgedRequest},
    knowledge::Knowledge,
    pipeline::{Output, Pipeline, Totals},
    proto::{NameSource, ServerName, Traffic, Unread},
    record::{BootTime, Connection, Loss, Transport, trace},
};

use super::{
    model::{MAX_APPLICATIONS, MAX_RECIPIENTS, MAX_REQUESTS, Model, Row, Source},
    ui::{Action, Pane, Ui},
    view::{self, Look},
};

const SECOND: u64 = 1_000_000_000;

fn look(colour: bool) -> Look {
    Look { colour, zone: TimeZone::UTC }
}

fn model() -> Model {
    Model::new(Redactor::keyed(Key([7; Key::LEN])))
}

/// Returns a request of an application to a host.
fn request(number: u64, name: &str, host: &str, alert: AlertStatus) -> JudgedRequest {
    let mut request = judged();
    request.number = number;
    request.unix = Some(TIME + number * SECOND);
    request.application = Arc::new(Application::new(1000, Some(&format!("/opt/{name}")), ""));
    request.sent.process.uid = 1000;
    request.sent.message.authority = Some(host.into());
    request.alert = alert;
    if alert == AlertStatus::None {
        request.disclosures.clear();
    }
    request
}

/// Adds what the body of a request has encoded several times.
fn encoded(mut request: JudgedRequest) -> JudgedRequest {
    let disclosure = &mut request.disclosures[0];
    disclosure.finding.chain = "body > form:data_list > base64 > gzip > json[0].url".into();
    disclosure.verdict.severity = Severity::Critical;
    let identifier = Finding {
        kind: Kind::Identifier,
        class: Some("distinct_id".into()),
        value: "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11".into(),
        ..disclosure.finding.clone()
    };
    let mut second = Disclosure { finding: identifier, visited: None, ..disclosure.clone() };
    second.verdict.severity = Severity::Low;
    request.disclosures.push(second);
    request
}

fn push(model: &mut Model, request: JudgedRequest) {
    model.output(&Output::Request(Arc::new(request)), &Extensions::default());
}

/// Returns what a browser, a discreet program and an unread one sent.
fn story() -> Model {
    let mut model = model();
    model.set_source(Source::Watching);
    push(&mut model, request(0, "browser", "news.example.org", AlertStatus::None));
    push(&mut model, encoded(request(1, "browser", "collector.example", AlertStatus::New(1))));
    push(&mut model, request(2, "browser", "shop.example.com", AlertStatus::None));
    push(&mut model, request(3, "browser", "collector.example", AlertStatus::Repetition(1)));
    push(&mut model, request(4, "updater", "updates.example.net", AlertStatus::None));
    push(&mut model, request(5, "browser", "metrics.example.io", AlertStatus::New(2)));
    let repeated = Output::Repeated { alert: 1, count: 1, total: 2, unix: None };
    model.output(&repeated, &Extensions::default());
    model.accounts(&accounts());
    model.progress(&Totals { requests: 6, alerts: 2, repeated: 1, ..Totals::default() }, 0);
    model
}

fn accounts() -> Accounts {
    let mut accounts = Accounts::default();
    let mut add = |name: &str, traffic: Traffic| {
        let application = Application::new(1000, Some(&format!("/opt/{name}")), "");
        let remote = Some("192.0.2.1:443".parse().unwrap());
        let connection = Connection { key: 1, transport: Transport::Tcp, local: None, remote };
        accounts.ended(Arc::new(application), &connection, &traffic);
    };
    add("browser", Traffic { sent: 5000, decoded: 5000, ..Traffic::default() });
    let server = ServerName {
        time: BootTime(0),
        source: NameSource::Tls,
        name: "vault.example".into(),
        alpn: Vec::new(),
        ech: false,
    };
    let unread = Unread { tls: 123_456, ..Unread::default() };
    let (sent, server) = (123_456, Some(server));
    add("sealed", Traffic { sent, unread, server, ..Traffic::default() });
    accounts
}

fn key(code: KeyCode) -> Event {
    Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// Presses keys.
fn press(ui: &mut Ui, model: &Model, codes: &[KeyCode]) {
    for &code in codes {
        assert_eq!(ui.event(&key(code), model), Action::None);
    }
}

/// Draws with ratatui's backend for tests, and returns the lines.
fn shown(model: &Model, ui: &mut Ui, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal
        .draw(|frame| view::draw(model, ui, &look(true), frame.area(), frame.buffer_mut()))
        .unwrap();
    let shown = terminal.backend().to_string();
    let lines = shown.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Compares with a file, or writes it if `UPDATE_SNAPSHOTS` is set.
fn assert_snapshot(name: &str, shown: &str) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/top/snapshots"));
    let path = folder.join(name).with_extension("txt");
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(folder).unwrap();
        fs::write(&path, shown).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, expected, "{name}: UPDATE_SNAPSHOTS=1 writes it anew");
}

#[test]
fn pictures_are_as_expected_at_three_sizes() {
    let model = story();
    for (columns, rows) in [(80, 24), (120, 40), (40, 24)] {
        let name = |what: &str| format!("{what}-{columns}x{rows}");
        assert_snapshot(&name("lists"), &shown(&model, &mut Ui::default(), columns, rows));
        let mut ui = Ui::default();
        press(&mut ui, &model, &[KeyCode::Home, KeyCode::Down, KeyCode::Enter]);
        assert_snapshot(&name("detail"), &shown(&model, &mut ui, columns, rows));
        let mut ui = Ui::default();
        press(&mut ui, &model, &[KeyCode::Char('?')]);
        assert_snapshot(&name("help"), &shown(&model, &mut ui, columns, rows));
    }
}

#[test]
fn a_recorded_trace_is_shown() {
    const TRACE: &[u8] = include_bytes!("../../core/src/pipeline/tests/node-20.trace");
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut model = model();
    let mut reader = trace::Reader::new(TRACE).unwrap();
    let mut outputs = Vec::new();
    while let Some(event) = reader.event().unwrap() {
        pipeline.push(event, &mut outputs);
    }
    // What is sent on connections that are open counts already.
    let so_far = pipeline.accounts_so_far();
    pipeline.finish(&mut outputs);
    let sent = |accounts: &Accounts| -> u64 {
        accounts.applications().iter().map(|(_, account)| account.sockets.sent_bytes).sum()
    };
    assert!(sent(&so_far) > 0 && sent(&so_far) <= sent(pipeline.accounts()));
    for output in &outputs {
        model.output(output, pipeline.extensions());
    }
    model.accounts(pipeline.accounts());
    model.progress(pipeline.totals(), 0);
    model.set_source(Source::Ended);
    let requests = model.requests().len() as u64;
    assert_eq!(requests, pipeline.totals().requests);
    assert!(requests > 0);
    assert_snapshot("recorded-80x24", &shown(&model, &mut Ui::default(), 80, 24));
}

#[test]
fn values_are_redacted_unless_they_are_wanted() {
    let draw = |redactor| {
        let mut model = Model::new(redactor);
        push(&mut model, encoded(request(0, "browser", "collector.example", AlertStatus::New(1))));
        let mut ui = Ui::default();
        press(&mut ui, &model, &[KeyCode::Enter]);
        shown(&model, &mut ui, 200, 60)
    };
    let hidden = draw(Redactor::keyed(Key([1; Key::LEN])));
    assert!(hidden.contains("story?q=‹"), "{hidden}");
    assert!(!hidden.contains("private") && !hidden.contains("7f3c2a10"), "{hidden}");
    let plain = draw(Redactor::off());
    assert!(plain.contains("story?q=private") && plain.contains("7f3c2a10"), "{plain}");
}

#[test]
fn nothing_from_the_network_reaches_the_terminal_raw() {
    let hostile = "\x1b]0;\u{202e}\n\u{9b}2J";
    let mut request = encoded(request(0, hostile, hostile, AlertStatus::New(1)));
    request.sent.message.path = Some(hostile.into());
    request.sent.message.method = Some(hostile.into());
    request.disclosures[0].finding.value = hostile.into();
    request.disclosures[0].finding.chain = hostile.into();
    let mut model = Model::new(Redactor::off());
    push(&mut model, request);
    let mut ui = Ui::default();
    for keys in [&[][..], &[KeyCode::Enter]] {
        press(&mut ui, &model, keys);
        let shown = shown(&model, &mut ui, 100, 60);
        let is_raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(is_raw), "{shown:?}");
    }
}

#[test]
fn without_colours_only_attributes_are_used() {
    let mut buffer = ratatui::buffer::Buffer::empty(Rect::new(0, 0, 80, 24));
    let area = buffer.area;
    view::draw(&story(), &mut Ui::default(), &look(false), area, &mut buffer);
    let plain = ratatui::style::Color::Reset;
    assert!(buffer.content().iter().all(|cell| cell.fg == plain && cell.bg == plain));
    view::draw(&story(), &mut Ui::default(), &look(true), area, &mut buffer);
    assert!(buffer.content().iter().any(|cell| cell.fg != plain));
}

#[test]
fn a_request_that_is_judged_again_is_counted_once() {
    let mut model = model();
    push(&mut model, request(0, "browser", "collector.example", AlertStatus::None));
    push(&mut model, request(0, "browser", "collector.example", AlertStatus::New(1)));
    push(&mut model, request(0, "browser", "collector.example", AlertStatus::New(1)));
    assert_eq!(model.requests().len(), 1);
    let [Row::Application(_, application), Row::Recipient(_, _, recipient)] = model.rows()[..]
    else {
        panic!("{:?}", model.rows());
    };
    for count in [application.count, recipient.count] {
        assert_eq!((count.requests, count.alerts), (1, 1));
        assert_eq!(count.worst, Some(Severity::High));
    }
}

#[test]
fn what_has_no_room_is_counted() {
    let mut model = model();
    // An alert keeps its rows, however much others send.
    push(&mut model, request(0, "browser", "collector.example", AlertStatus::New(1)));
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    for i in 0..2 * MAX_RECIPIENTS {
        push(&mut model, request(next(), "browser", &format!("{i}.test"), AlertStatus::None));
    }
    for i in 0..2 * MAX_APPLICATIONS {
        push(&mut model, request(next(), &format!("app{i}"), "a.test", AlertStatus::None));
    }
    for _ in 0..MAX_REQUESTS {
        push(&mut model, request(next(), "browser", "b.test", AlertStatus::None));
    }
    assert_eq!(model.requests().len(), MAX_REQUESTS);
    assert_eq!(model.requests().len() as u64 + model.forgotten(), number + 1);
    let rows = model.rows();
    let applications = rows.iter().filter(|row| matches!(row, Row::Application(..))).count();
    assert_eq!(applications, MAX_APPLICATIONS);
    assert!(rows.len() <= MAX_APPLICATIONS * (MAX_RECIPIENTS + 2) + 1);
    let Row::Application(who, browser) = rows[0] else { panic!("{:?}", rows[0]) };
    assert_eq!((&who.name[..], browser.count.alerts), ("browser", 1));
    assert!(matches!(rows[1], Row::Recipient(_, "collector.example", _)));
    // Nothing is lost from the sums.
    let sum = rows.iter().map(|row| match row {
        Row::Application(_, it) => it.count.requests,
        _ => 0,
    });
    let Some(Row::Others(others)) = rows.last() else { panic!("{:?}", rows.last()) };
    assert_eq!(sum.sum::<u64>() + others.count.requests, number + 1);
}

#[test]
fn losses_are_named_in_the_first_line() {
    let mut model = story();
    let lost = Output::Lost { loss: Loss::RingFull, count: 3, total: 3 };
    model.output(&lost, &Extensions::default());
    assert!(shown(&model, &mut Ui::default(), 80, 24).contains("3 sends LOST"));
}

#[test]
fn keys_move_choose_and_restrict() {
    let model = story();
    let mut ui = Ui::default();
    let numbers = |ui: &Ui| ui.listed(&model).iter().map(|entry| entry.number).collect::<Vec<_>>();
    assert_eq!(numbers(&ui), [0, 1, 2, 3, 4, 5]);
    press(&mut ui, &model, &[KeyCode::Char('a')]);
    assert_eq!(numbers(&ui), [1, 3, 5]);
    press(&mut ui, &model, &[KeyCode::Up]);
    assert_eq!(ui.request, Some(3));
    press(&mut ui, &model, &[KeyCode::Down, KeyCode::Down]);
    assert_eq!(ui.request, None, "the list follows the latest request again");
    press(&mut ui, &model, &[KeyCode::Enter]);
    assert!(ui.detail && ui.request == Some(5));
    press(&mut ui, &model, &[KeyCode::PageDown, KeyCode::Esc]);
    assert!(!ui.detail);

    // The first application, and then its first recipient.
    press(&mut ui, &model, &[KeyCode::Char('a'), KeyCode::Tab, KeyCode::Enter]);
    assert_eq!(ui.pane, Pane::Requests);
    assert_eq!(numbers(&ui), [0, 1, 2, 3, 5]);
    press(&mut ui, &model, &[KeyCode::Tab, KeyCode::Down, KeyCode::Enter]);
    assert_eq!(numbers(&ui), [1, 3]);
    press(&mut ui, &model, &[KeyCode::Esc]);
    assert_eq!(numbers(&ui).len(), 6);

    assert_eq!(ui.event(&key(KeyCode::Char(' ')), &model), Action::Pause);
    assert_eq!(ui.event(&key(KeyCode::Char('q')), &model), Action::Quit);
    let control = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert_eq!(ui.event(&control, &model), Action::Quit);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// At any size, after any keys, with any texts.
    #[test]
    fn drawing_never_panics(
        columns in 1_u16..200,
        rows in 1_u16..60,
        codes in prop::collection::vec(0_usize..14, 0..20),
        text in ".{0,80}",
    ) {
        const CODES: [KeyCode; 14] = [
            KeyCode::Up, KeyCode::Down, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home,
            KeyCode::End, KeyCode::Tab, KeyCode::Enter, KeyCode::Esc, KeyCode::Char('a'),
            KeyCode::Char('?'), KeyCode::Char(' '), KeyCode::Left, KeyCode::Char('x'),
        ];
        let mut model = story();
        let mut odd = encoded(request(6, &text, &text, AlertStatus::New(3)));
        odd.disclosures[0].finding.chain = text.replace('a', " > ");
        odd.sent.message.path = Some(text);
        push(&mut model, odd);
        let mut ui = Ui::default();
        for code in codes {
            ui.event(&key(CODES[code]), &model);
            shown(&model, &mut ui, columns, rows);
        }
        shown(&model, &mut ui, columns, rows);
    }

    /// An empty model, and the smallest sizes.
    #[test]
    fn an_empty_model_is_drawn(columns in 1_u16..12, rows in 1_u16..6, codes in 0_usize..3) {
        let mut ui = Ui::default();
        for _ in 0..codes {
            ui.event(&key(KeyCode::Enter), &model());
            ui.event(&key(KeyCode::Tab), &model());
        }
        shown(&model(), &mut ui, columns, rows);
        shown(&story(), &mut ui, columns, rows);
    }
}
