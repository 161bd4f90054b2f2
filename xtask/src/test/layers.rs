//! Checks that the crates depend on each other and on other libraries only as
//! ARCHITECTURE.md says.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{shell, ui::Ui, workspace::Workspace};

/// The rules for one of the workspace's crates.
struct Layer {
    package: &'static str,
    /// The crates of the workspace that it may depend on, directly or not.
    below: &'static [&'static str],
    /// Libraries that must not be anywhere among its dependencies.
    forbidden: &'static [(&'static str, &'static str)],
}

/// Libraries that do I/O, call the kernel or read a clock.
const IMPURE: &[(&str, &str)] = &[
    ("aya", "talks to the kernel"),
    ("aya-log", "talks to the kernel"),
    ("hyper", "does network I/O"),
    ("io-uring", "calls the kernel"),
    ("mio", "does I/O"),
    ("nix", "calls the kernel"),
    ("procfs", "reads files"),
    ("rusqlite", "reads and writes files, and needs a C compiler"),
    ("rustix", "calls the kernel"),
    ("rustls", "belongs to the site of the audit"),
    ("tempfile", "writes files"),
    ("tokio", "does I/O and reads clocks"),
];

/// The crates whose dependencies are restricted, lowest first.
const LAYERS: [Layer; 5] = [
    Layer { package: "tracer-ebpf", below: &[], forbidden: IMPURE },
    Layer { package: "tracer-core", below: &["tracer-ebpf"], forbidden: IMPURE },
    Layer { package: "tracer-formats", below: &["tracer-core", "tracer-ebpf"], forbidden: IMPURE },
    Layer { package: "tracer-audit", below: &["tracer-core", "tracer-ebpf"], forbidden: IMPURE },
    Layer {
        package: "tracer-host",
        below: &["tracer-core", "tracer-ebpf"],
        forbidden: &[
            ("hyper", "belongs to the site of the audit"),
            ("rusqlite", "belongs to the store"),
            ("rustls", "belongs to the site of the audit"),
        ],
    },
];

/// Crates that have to compile for other systems as well.
const PORTABLE: [&str; 3] = ["tracer-core", "tracer-formats", "tracer-audit"];

/// Targets that they are compiled for. Setup asks rustup for their standard libraries.
pub(crate) const TARGETS: [&str; 2] = ["x86_64-pc-windows-gnu", "aarch64-apple-darwin"];

/// Checks all layers.
///
/// # Errors
/// If a rule is broken; the error lists all dependencies that break one.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut broken = Vec::new();
    for layer in &LAYERS {
        let tree = shell::answer(&mut tree(workspace, layer.package))?;
        broken.extend(layer.violations(&tree));
    }
    if !broken.is_empty() {
        bail!("dependencies that ARCHITECTURE.md rules out:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

/// Compiles the portable crates for other systems, as far as rustup has their standard
/// libraries.
///
/// # Errors
/// If one of them does not compile.
pub(super) fn check_portability(workspace: &Workspace, ui: &Ui) -> Result<()> {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let installed = installed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let installed = installed.unwrap_or_default();
    for target in TARGETS {
        if !installed.lines().any(|line| line == target) {
            ui.say(&format!("not compiled for {target}: rustup has no standard library for it"));
            continue;
        }
        let mut command = workspace.cargo();
        command.args(["check", "--target", target]);
        command.args(PORTABLE.iter().flat_map(|package| ["--package", package]));
        ui.step(&format!("compile for {target}"), &mut shell::niced(&command))?;
    }
    Ok(())
}

/// Lists the normal dependencies of a package for every target, one a line:
/// `NAME vVERSION (PATH)`, with the path for crates of the workspace.
fn tree(workspace: &Workspace, package: &str) -> Command {
    let mut command = workspace.cargo();
    command.args(["tree", "--locked", "--edges", "normal", "--target", "all"]);
    command.args(["--prefix", "none", "--package", package]);
    command
}

impl Layer {
    fn violations(&self, tree: &str) -> Vec<String> {
        let mut violations = Vec::new();
        for line in tree.lines() {
            let mut words = line.split_whitespace();
            let Some(name) = words.next() else { continue };
            let is_ours = words.any(|word| word.starts_with("(/"));
            if is_ours && name != self.package && !self.below.contains(&name) {
                violations.push(format!("{} depends on {name}, which is above it", self.package));
            }
            if let Some((_, why)) = self.forbidden.iter().find(|(library, _)| *library == name) {
                violations.push(format!("{} depends on {name}, which {why}", self.package));
            }
        }
        violations.sort();
        violations.dedup();
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::{IMPURE, Layer};

    #[test]
    fn dependencies_on_higher_crates_and_forbidden_libraries_are_reported() {
        let layer = Layer { package: "core", below: &["abi"], forbidden: IMPURE };
        let good = "core v0.1.0 (/w/core)\nabi v0.1.0 (/w/abi)\nserde v1.0.0\n\nserde v1.0.0 (*)\n";
        assert_eq!(layer.violations(good), [""; 0]);
        let bad = format!("{good}host v0.1.0 (/w/host)\ntokio v1.0.0\ntokio v1.0.0 (*)\n");
        assert_eq!(
            layer.violations(&bad),
            [
                "core depends on host, which is above it",
                "core depends on tokio, which does I/O and reads clocks",
            ]
        );
    }
}
