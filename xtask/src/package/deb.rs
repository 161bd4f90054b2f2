//! The Debian package.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Contents, write};
use crate::shell;

/// Documents for users, installed as in the clone, so that the links between them hold.
const DOCUMENTS: [&str; 4] = ["README.md", "SECURITY.md", "CHANGELOG.md", "docs"];

/// Scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the package in a folder and returns its path.
pub(super) fn build(contents: &Contents<'_>, folder: &Path) -> Result<PathBuf> {
    let Contents { workspace, arch, version, .. } = contents;
    let name = format!("tracer_{version}_{}.deb", arch.debian());
    let (root, package) = (folder.join("deb"), folder.join(name));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    tree(contents, &root)?;
    // The same bytes from the same commit.
    let mut time = Command::new("git");
    time.args(["log", "-1", "--format=%ct"]).current_dir(workspace.root());
    let mut command = Command::new("dpkg-deb");
    command
        .args(["--root-owner-group", "-Zxz", "--build"])
        .args([&root, &package])
        .env("SOURCE_DATE_EPOCH", shell::answer(&mut time)?.trim());
    shell::answer(&mut command).context("dpkg-deb cannot build the package")?;
    fs::remove_dir_all(&root)?;
    Ok(package)
}

/// Writes the files of the package below `root`.
fn tree(contents: &Contents<'_>, root: &Path) -> Result<()> {
    let Contents { workspace, tool, binary, .. } = contents;
    write(&root.join("usr/bin/tracer"), fs::read(binary)?, 0o755)?;
    let service = contents.template("tracer.service")?;
    write(&root.join("usr/lib/systemd/system/tracer.service"), service, 0o644)?;

    let manual = root.join("usr/share/man/man1");
    fs::create_dir_all(&manual)?;
    shell::answer(Command::new(tool).arg("manual-pages").arg(&manual))?;
    let completions = [
        ("bash", "usr/share/bash-completion/completions/tracer"),
        ("zsh", "usr/share/zsh/vendor-completions/_tracer"),
        ("fish", "usr/share/fish/vendor_completions.d/tracer.fish"),
    ];
    for (name, path) in completions {
        let script = shell::answer(Command::new(tool).args(["completions", name]))?;
        write(&root.join(path), script, 0o644)?;
    }

    let documents = root.join("usr/share/doc/tracer");
    fs::create_dir_all(&documents)?;
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--no-preserve=mode,ownership"]);
    copy.args(DOCUMENTS).arg(&documents).current_dir(workspace.root());
    shell::answer(&mut copy)?;
    write(&documents.join("copyright"), copyright(workspace.root())?, 0o644)?;
    let mut pages: Vec<PathBuf> = Vec::new();
    for page in fs::read_dir(&manual)? {
        pages.push(page?.path());
    }
    let mut zip = Command::new("gzip");
    shell::answer(zip.args(["-9", "--no-name"]).args(pages))?;

    for name in SCRIPTS {
        let script = contents.template(&format!("deb/{name}"))?;
        write(&root.join("DEBIAN").join(name), script, 0o755)?;
    }
    write(&root.join("DEBIAN/control"), control(contents, root)?, 0o644)
}

/// Returns the fields that describe the package.
fn control(contents: &Contents<'_>, root: &Path) -> Result<String> {
    let size =
        shell::answer(Command::new("du").args(["--summarize", "--block-size=1024"]).arg(root))?;
    let size = size.split_whitespace().next().context("du shows no size")?.to_owned();
    let mut text = String::new();
    for (name, value) in [
        ("Package", "tracer"),
        ("Version", contents.version),
        ("Architecture", contents.arch.debian()),
        ("Maintainer", "The tracer project <tracer@localhost>"),
        ("Installed-Size", &size),
        ("Section", "net"),
        ("Priority", "optional"),
        ("Description", "catches browsers that report the pages their users visit"),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text += " tracer captures what applications send, on sockets and at the write functions of TLS\n \
             libraries, decodes it, and raises an alert when an application sends the URL of one\n \
             site to another. It needs no proxy and no change to the application.\n";
    Ok(text)
}

/// Returns the licences.
fn copyright(root: &Path) -> Result<String> {
    let mut text =
        "tracer is licensed under the MIT license or the Apache License, Version 2.0, at your \
                    option.\n"
            .to_owned();
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let _ = write!(text, "\n{}", fs::read_to_string(root.join(name))?);
    }
    Ok(text)
}
