//! Checks what tracer is built from: sources, licences, versions, C code, and a reason for each
//! direct dependency.
//!
//! This needs no network. Advisories do: `cargo deny check advisories`, where its database can be
//! fetched. SECURITY.md says when they were last checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use spdx::{Expression, ParseMode};

use crate::{shell, workspace::Workspace};

/// Prefix of the sources that are registries. All crates that are not in the repository come from
/// one of them.
const REGISTRY: &str = "registry+";

/// Licences that allow to distribute the binary with a notice, and nothing more.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
    "bzip2-1.0.6",
];

/// Crates of which there may be two versions, with the reason.
const DUPLICATES: [(&str, &str); 7] = [
    ("bit-set", "jsonschema uses an older one, in tests"),
    ("bit-vec", "proptest uses an older one, in tests"),
    ("getrandom", "ring uses an older one"),
    ("itertools", "criterion uses an older one, in benches"),
    ("r-efi", "for systems that tracer does not run on"),
    ("syn", "some macros use an older one; it is not part of the binary"),
    ("windows-sys", "for systems that tracer does not run on"),
];

/// Crates with C or assembly code, with the reason.
const NATIVE: [(&str, &str); 3] = [
    ("libsqlite3-sys", "SQLite, for the store"),
    ("ring", "ciphers, for the audit's site"),
    ("wasm-bindgen-shared", "for browsers, in which tracer does not run; no code is linked"),
];

/// Checks everything.
///
/// # Errors
/// If a rule is broken; the error lists all that are.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["metadata", "--format-version", "1", "--locked"]);
    let metadata: Value = serde_json::from_str(&shell::answer(&mut command)?)
        .context("cannot read cargo's answer")?;
    let manifest = workspace.root().join("Cargo.toml");
    let manifest = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let packages = packages(&metadata)?;
    let mut broken = Vec::new();
    for package in &packages {
        broken.extend(package.violations());
    }
    let registries: BTreeSet<_> = packages.iter().filter_map(|package| package.source).collect();
    if registries.len() > 1 {
        broken.push(format!("there is more than one source of crates: {registries:?}"));
    }
    broken.extend(duplicates(&packages));
    broken.extend(reasons(&manifest, &direct(&metadata)?));
    if !broken.is_empty() {
        bail!("rules for dependencies are broken:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

/// A package, as `cargo metadata` describes it.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    /// `None` for a folder.
    source: Option<&'a str>,
    license: Option<&'a str>,
    /// The library that it links to, for packages that build one.
    links: Option<&'a str>,
    is_ours: bool,
}

fn packages(metadata: &Value) -> Result<Vec<Package<'_>>> {
    let members: BTreeSet<_> =
        list(metadata, "workspace_members")?.filter_map(Value::as_str).collect();
    list(metadata, "packages")?
        .map(|package| {
            let text = |name: &str| package[name].as_str();
            Some(Package {
                name: text("name")?,
                version: text("version")?,
                source: text("source"),
                license: text("license"),
                links: text("links"),
                is_ours: members.contains(text("id")?),
            })
        })
        .collect::<Option<_>>()
        .context("cargo names a package without a name, a version or an id")
}

/// Names of the crates of the registry that members of the workspace depend on.
fn direct(metadata: &Value) -> Result<BTreeSet<&str>> {
    let members: BTreeSet<_> =
        list(metadata, "workspace_members")?.filter_map(Value::as_str).collect();
    let ours = list(metadata, "packages")?
        .filter(|package| package["id"].as_str().is_some_and(|id| members.contains(id)));
    let dependencies = ours.filter_map(|package| package["dependencies"].as_array()).flatten();
    let foreign = dependencies.filter(|dependency| !dependency["source"].is_null());
    Ok(foreign.filter_map(|dependency| dependency["name"].as_str()).collect())
}

fn list<'a>(value: &'a Value, name: &str) -> Result<impl Iterator<Item = &'a Value>> {
    Ok(value[name].as_array().with_context(|| format!("cargo lists no {name}"))?.iter())
}

impl Package<'_> {
    fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let Self { name, version, .. } = self;
        match self.source {
            Some(source) if source.starts_with(REGISTRY) => {}
            None if self.is_ours => {}
            None => violations.push(format!("{name} {version} is a folder outside the workspace")),
            Some(source) => violations.push(format!("{name} {version} comes from {source}")),
        }
        match self.license {
            Some(license) if is_allowed(license) => {}
            Some(license) => {
                violations.push(format!("{name} {version} has the licence {license}"));
            }
            None => violations.push(format!("{name} {version} names no licence")),
        }
        if self.links.is_some() && !NATIVE.iter().any(|(known, _)| known == name) {
            violations
                .push(format!("{name} {version} builds native code; give the reason in NATIVE"));
        }
        violations
    }
}

/// True if the allowed licences suffice for an expression of SPDX, also in the older notation
/// `MIT/Apache-2.0`.
fn is_allowed(license: &str) -> bool {
    Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|required| {
            let id = required.license.id();
            id.is_some_and(|id| LICENCES.contains(&id.name))
        })
    })
}

fn duplicates(packages: &[Package<'_>]) -> Vec<String> {
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    for package in packages {
        versions.entry(package.name).or_default().insert(package.version);
    }
    let mut broken = Vec::new();
    for (name, versions) in &versions {
        let known = DUPLICATES.iter().any(|(known, _)| known == name);
        if versions.len() > 1 && !known {
            let versions: Vec<_> = versions.iter().copied().collect();
            broken.push(format!("there are several versions of {name}: {}", versions.join(", ")));
        }
    }
    for (name, _) in DUPLICATES {
        if versions.get(name).is_none_or(|versions| versions.len() < 2) {
            broken.push(format!("{name} has one version; remove it from DUPLICATES"));
        }
    }
    broken
}

/// Checks that each dependency has a reason in the manifest: a comment behind it, or above.
fn reasons(manifest: &str, direct: &BTreeSet<&str>) -> Vec<String> {
    let mut listed = BTreeSet::new();
    let mut broken = Vec::new();
    let mut above = false;
    let lines = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    for line in lines.take_while(|line| !line.starts_with('[')) {
        if let Some((name, value)) = line.split_once(" = ")
            && !line.starts_with('#')
            && !value.contains("path = ")
        {
            listed.insert(name);
            let behind = value.rsplit_once(" # ").is_some_and(|(_, reason)| !reason.is_empty());
            if !above && !behind {
                broken.push(format!("Cargo.toml gives no reason for {name}, in a comment"));
            }
        }
        above = line.starts_with("# ");
    }
    for name in direct.iter().filter(|name| !listed.contains(*name)) {
        broken.push(format!("{name} is not listed in the workspace's Cargo.toml, with a reason"));
    }
    for name in listed.iter().filter(|name| !direct.contains(*name)) {
        broken.push(format!("no crate of the workspace uses {name}; remove it from Cargo.toml"));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::{Package, REGISTRY, duplicates, is_allowed, reasons};

    const GOOD: Package<'_> = Package {
        name: "a",
        version: "1.0.0",
        source: Some(REGISTRY),
        license: Some("MIT OR Apache-2.0"),
        links: None,
        is_ours: false,
    };

    #[test]
    fn licences_have_to_be_allowed() {
        for license in
            ["MIT", "MIT/Apache-2.0", "GPL-2.0-only OR MIT", "(MIT OR Zlib) AND Unicode-3.0"]
        {
            assert!(is_allowed(license), "{license}");
        }
        for license in ["GPL-3.0-only", "MIT AND LGPL-2.1-or-later", "LicenseRef-Own", ""] {
            assert!(!is_allowed(license), "{license}");
        }
    }

    #[test]
    fn packages_that_break_a_rule_are_named() {
        assert_eq!(GOOD.violations(), [""; 0]);
        let git = Package { source: Some("git+https://a.example/a"), ..GOOD };
        assert_eq!(git.violations(), ["a 1.0.0 comes from git+https://a.example/a"]);
        let folder = Package { source: None, ..GOOD };
        assert_eq!(folder.violations().len(), 1);
        assert_eq!(Package { is_ours: true, ..folder }.violations(), [""; 0]);
        assert_eq!(Package { license: None, ..GOOD }.violations(), ["a 1.0.0 names no licence"]);
        assert_eq!(Package { links: Some("a"), ..GOOD }.violations().len(), 1);
    }

    #[test]
    fn second_versions_need_a_reason() {
        let second = Package { version: "2.0.0", ..GOOD };
        let broken = duplicates(&[GOOD, second]);
        assert!(broken.contains(&"there are several versions of a: 1.0.0, 2.0.0".into()));
        assert!(!duplicates(&[GOOD]).iter().any(|line| line.contains("several")));
    }

    #[test]
    fn dependencies_need_a_reason() {
        let manifest = "[package]\nx = 1\n[workspace.dependencies]\nown = { path = \"own\" }\n\
                        # why\na = \"1\"\nb = \"1\" # why\nc = \"1\"\n\n[other]\ny = 1\n";
        let broken = reasons(manifest, &["a", "b", "c"].into());
        assert_eq!(broken, ["Cargo.toml gives no reason for c, in a comment"]);
        assert_eq!(reasons(manifest, &["a", "b", "c", "d"].into()).len(), 2);
        assert_eq!(reasons(manifest, &["a", "c"].into()).len(), 2);
    }
}
