//! Runs test binaries one after another, in lanes beside each other.
//!
//! Cargo would run every binary alone. Audits mostly wait for browsers; all other tests
//! run meanwhile. The browsers of audits have names of their own, and so are not watched
//! by other tests, which watch browsers by name.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{libtest::Tally, read_skips};
use crate::{
    cross::Static,
    privilege::{NEEDS_ROOT, Privilege},
    setup, shell,
    ui::{Ui, elapsed},
    workspace::Workspace,
};

/// Names the file for skipped tests.
const SKIPS: &str = "TRACER_TEST_SKIPS";

/// Names the `tracer` that the integration tests run.
const BINARY: &str = "TRACER_BIN";

/// Names the Python that has the packages of `tests/requirements.txt`.
const PYTHON: &str = "TRACER_TEST_PYTHON";

/// Binaries with audits of browsers.
const AUDITS: [&str; 2] = ["audit", "channels"];

/// A test binary that cargo has built.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binary {
    /// Name of the target.
    name: String,
    /// True for an integration test.
    integration: bool,
    path: PathBuf,
    /// Folder of the package, in which its tests run.
    folder: PathBuf,
}

impl Binary {
    /// True if it holds unit tests.
    pub(super) fn is_unit(&self) -> bool {
        !self.integration
    }
}

/// Returns the test binaries that a cargo command builds, which it has done before.
///
/// # Errors
/// If cargo fails.
pub(super) fn binaries(build: &mut Command) -> Result<Vec<Binary>> {
    let messages = shell::answer(build.arg("--message-format=json"))?;
    let binaries: Vec<Binary> = messages.lines().filter_map(parse).collect();
    ensure!(!binaries.is_empty(), "cargo named no test binary");
    Ok(binaries)
}

/// Reads one of cargo's messages.
fn parse(line: &str) -> Option<Binary> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let target = &message["target"];
    Some(Binary {
        name: target["name"].as_str()?.to_owned(),
        integration: target["kind"][0] == "test",
        path: message["executable"].as_str()?.into(),
        folder: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
    })
}

/// Puts audits in a lane of their own.
pub(super) fn split(binaries: Vec<Binary>) -> Vec<Vec<Binary>> {
    let is_audit = |binary: &Binary| AUDITS.contains(&binary.name.as_str());
    let (audits, others) = binaries.into_iter().partition(is_audit);
    vec![audits, others]
}

/// Runs test binaries.
pub(super) struct Lanes<'a> {
    ui: &'a Ui,
    arguments: &'a [String],
    privilege: Privilege,
    /// The package whose tests need root.
    needs_root: PathBuf,
    skips: PathBuf,
    tracer: PathBuf,
    python: PathBuf,
    log: Mutex<File>,
}

impl<'a> Lanes<'a> {
    /// Prepares the files that tests write to.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub(super) fn new(
        workspace: &Workspace,
        ui: &'a Ui,
        builder: &Static,
        arguments: &'a [String],
    ) -> Result<Self> {
        let skips = workspace.tools().join("skipped-tests");
        fs::write(&skips, "").with_context(|| format!("cannot write {}", skips.display()))?;
        let log = ui.log("tests")?;
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Self {
            ui,
            arguments,
            privilege: Privilege::of_this_process(),
            needs_root: workspace.root().join(NEEDS_ROOT),
            skips,
            tracer: builder.directory(workspace, "debug").join("tracer"),
            python: setup::venv_python(workspace),
            log: Mutex::new(file),
        })
    }

    /// Runs the lanes and adds up the results of their tests.
    ///
    /// # Errors
    /// If a binary cannot be started.
    pub(super) fn run(&self, lanes: Vec<Vec<Binary>>) -> Result<Tally> {
        let lane = |binaries: Vec<Binary>| -> Result<Tally> {
            let mut tally = Tally::default();
            for binary in &binaries {
                tally.add(self.one(binary)?);
            }
            Ok(tally)
        };
        let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
            let lanes: Vec<_> =
                lanes.into_iter().map(|binaries| scope.spawn(|| lane(binaries))).collect();
            lanes.into_iter().map(|lane| lane.join().expect("no panic")).collect()
        });
        let mut all = Tally::default();
        for tally in tallies {
            all.add(tally?);
        }
        all.skipped_by_themselves(&read_skips(&self.skips));
        Ok(all)
    }

    /// Runs one binary, shows what did not go well, and counts.
    fn one(&self, binary: &Binary) -> Result<Tally> {
        let start = Instant::now();
        let mut command = self.command(binary);
        let shown = shell::shown(&command);
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        // The command keeps its end of the pipe open as long as it lives.
        drop(command);
        self.log(&shown);
        let mut tally = Tally::default();
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.context("cannot read the output of a test")?;
            let line = String::from_utf8_lossy(&line);
            self.log(&format!("{}: {line}", binary.name));
            if tally.read(&line) {
                self.ui.say(&format!("{}: {line}", binary.name));
            }
        }
        let status = child.wait().context("cannot wait for a test")?;
        tally.ended(&binary.name, status.success());
        if tally.run() > 0 {
            let time = elapsed(start.elapsed());
            self.ui.say(&format!("{}: {tally} ({time})", binary.name));
        }
        Ok(tally)
    }

    fn command(&self, binary: &Binary) -> Command {
        let as_root = self.privilege == Privilege::Sudo && binary.folder == self.needs_root;
        let mut command = if as_root {
            let mut command = Command::new("sudo");
            command.args(["-n", "--preserve-env"]).arg(&binary.path);
            command
        } else {
            Command::new(&binary.path)
        };
        command
            .args(self.arguments)
            .current_dir(&binary.folder)
            .env(SKIPS, &self.skips)
            .env(BINARY, &self.tracer)
            .env(PYTHON, &self.python);
        crate::workspace::shed_cargo_run(&mut command);
        command
    }

    fn log(&self, line: &str) {
        if let Ok(mut log) = self.log.lock() {
            // The results do not depend on it.
            let _ = writeln!(log, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, sync::Mutex};

    use super::{Binary, Lanes, parse, split};
    use crate::{privilege::Privilege, ui::Ui};

    fn binary(path: &str) -> Binary {
        Binary { name: path.into(), integration: true, path: path.into(), folder: "/".into() }
    }

    #[test]
    fn lanes_run_all_binaries_and_count_their_tests() {
        let folder = env::temp_dir().join(format!("xtask-lanes-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let ui = Ui::new(folder.clone());
        let arguments = ["test result: ok. 3 passed; 0 failed; 1 ignored".to_owned()];
        let lanes = Lanes {
            ui: &ui,
            arguments: &arguments,
            privilege: Privilege::No,
            needs_root: "/none".into(),
            skips: folder.join("skips"),
            tracer: "/none".into(),
            python: "/none".into(),
            log: Mutex::new(fs::File::create(folder.join("log")).unwrap()),
        };
        fs::write(&lanes.skips, "a: needs root\n").unwrap();
        // The first prints its arguments, the second fails without a summary.
        let tally = lanes.run(vec![vec![binary("echo")], vec![binary("echo"), binary("false")]]);
        let tally = tally.unwrap();
        assert_eq!(tally.to_string(), "5 passed, 1 failed, 1 skipped");
        assert!(tally.failures()[0].starts_with("false "), "{:?}", tally.failures());
        let log = fs::read_to_string(folder.join("log")).unwrap();
        assert_eq!(log.matches("3 passed").count(), 5, "{log}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn test_binaries_are_read_from_cargos_messages() {
        let artifact = |kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/c/tests/Cargo.toml",
                "target":{{"kind":["{kind}"],"name":"store"}},"profile":{{"test":{test}}},
                "executable":"/t/deps/store-1"}}"#
            )
            .replace('\n', "")
        };
        let binary = parse(&artifact("test", true)).unwrap();
        let expected = Binary {
            name: "store".into(),
            integration: true,
            path: "/t/deps/store-1".into(),
            folder: "/c/tests".into(),
        };
        assert_eq!(binary, expected);
        assert!(parse(&artifact("lib", true)).unwrap().is_unit());
        assert_eq!(parse(&artifact("bin", false)), None);
        assert_eq!(parse("not json"), None);
    }

    #[test]
    fn audits_have_a_lane_of_their_own() {
        let lanes = split(["kernel", "audit", "store"].map(binary).into());
        let names =
            |lane: &[Binary]| lane.iter().map(|binary| binary.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&lanes[0]), ["audit"]);
        assert_eq!(names(&lanes[1]), ["kernel", "store"]);
    }
}
