//! Debian packages of other suites and architectures, which are unpacked and not
//! installed.
//!
//! apt gets a separate configuration, lists and status file, so that the machine's are
//! not changed. Packages come from the mirror that the machine's apt uses, and are
//! checked with the keys that it trusts.
//!
//! ```text
//! CACHE/debian/bookworm+bookworm-security-arm64/
//!     apt.conf, sources.sources, status
//!     lists/, archives/             apt's own
//!     updated                       when the lists were fetched
//!     unpacked/chromium_150.0-1/    a package's files
//! ```

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::apt::{self, Policy};
use crate::{cache, privilege::Privilege, shell, ui::Ui};

/// Age at which lists are fetched again: an archive keeps few old versions.
const LISTS_SERVE: Duration = Duration::from_hours(7 * 24);

/// Debian's keys, at the path where Debian has them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Some suites of Debian's archive for one architecture. Holds a lock, for which other
/// openers of the same suites wait.
pub(crate) struct Archive<'a> {
    ui: &'a Ui,
    folder: PathBuf,
    _lock: File,
}

impl<'a> Archive<'a> {
    /// Opens suites (`trixie`, `bookworm-security`) for an architecture with Debian's name
    /// (`arm64`). The newest version in any of them is used.
    ///
    /// # Errors
    /// If this is not Debian, or its mirror cannot be reached.
    pub(crate) fn open(ui: &'a Ui, suites: &[&str], architecture: &str) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
            ensure!(shell::on_path(tool).is_some(), "this system has no {tool}");
        }
        let name = format!("{}-{architecture}", suites.join("+"));
        let folder = cache::directory()?.join("debian").join(name);
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        for part in ["lists/partial", "archives/partial", "unpacked"] {
            let path = folder.join(part);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("cannot lock the cache")?;
        let machines = shell::answer(Command::new("apt-config").arg("dump"))?;
        write("apt.conf", &configuration(&machines, &folder, architecture))?;
        write("sources.sources", &sources(suites, &Mirrors::of_this_machine()?)?)?;
        write("status", "")?;
        let archive = Self { ui, folder, _lock: lock };
        archive.refresh()?;
        Ok(archive)
    }

    /// Returns the folder with the files of a package's newest version, and fetches them
    /// if necessary. Older versions are removed.
    ///
    /// # Errors
    /// If the suites do not have it, or it cannot be fetched or unpacked.
    pub(crate) fn unpack(&self, package: &str) -> Result<PathBuf> {
        self.unpack_without(package, &[])
    }

    /// Does the same, without files that match one of tar's patterns. A kernel's modules,
    /// for example, take half a minute and hundreds of megabytes.
    ///
    /// # Errors
    /// As [`Archive::unpack`].
    pub(crate) fn unpack_without(&self, package: &str, exclude: &[&str]) -> Result<PathBuf> {
        match self.unpack_newest(package, exclude) {
            // Old lists name files that the archive no longer has.
            Err(why) if !self.is_fresh(Duration::from_hours(1)) => {
                self.ui.say(&format!("{why:#}"));
                self.update()?;
                self.unpack_newest(package, exclude)
            }
            other => other,
        }
    }

    /// Installs packages on this machine, preferably from `suite`. For packages that the
    /// machine's own apt cannot install without removing others.
    ///
    /// # Errors
    /// If apt fails.
    pub(crate) fn install(&self, packages: &[&str], suite: &str) -> Result<()> {
        let config = format!("APT_CONFIG={}", self.folder.join("apt.conf").display());
        let mut arguments = vec![&*config, "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        // The machine's own packages, and which of them were installed as dependencies.
        arguments.extend(["-o", "Dir::State::status=/var/lib/dpkg/status"]);
        arguments.extend(["-o", "Dir::State::extended_states=/var/lib/apt/extended_states"]);
        arguments.extend(["-t", suite]);
        arguments.extend(apt::INSTALL);
        arguments.extend(packages);
        let mut command = Privilege::of_this_process().command("env", &arguments)?;
        self.ui.step(&format!("apt-get install {} (of {suite})", packages.join(" ")), &mut command)
    }

    /// True if the suites have a package.
    pub(crate) fn has(&self, package: &str) -> bool {
        self.version(package).is_ok()
    }

    /// Names of the packages that the newest version of a package depends on.
    ///
    /// # Errors
    /// If the suites do not have it.
    pub(crate) fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let package = format!("{package}={}", self.version(package)?);
        let shown = shell::answer(self.command("apt-cache").args(["show", &package]))?;
        Ok(dependencies(&shown))
    }

    fn unpack_newest(&self, package: &str, exclude: &[&str]) -> Result<PathBuf> {
        let version = self.version(package)?;
        let unpacked = self.folder.join("unpacked");
        let whole = unpacked.join(format!("{package}_{version}"));
        if whole.is_dir() {
            return Ok(whole);
        }
        // Moved into place in one step, so that an existing folder is complete.
        let partial = self.folder.join("partial");
        remove(&partial)?;
        fs::create_dir_all(&partial)?;
        let mut download = self.command("apt-get");
        download.args(["download", "-q", &format!("{package}={version}")]).current_dir(&partial);
        self.ui.step(&format!("fetch {package} {version}"), &mut download)?;
        let Some(file) = fs::read_dir(&partial)?.next().transpose()? else {
            bail!("apt-get download {package} left no file");
        };
        let files = partial.join("files");
        fs::create_dir(&files)?;
        let mut unpack = Command::new("sh");
        // dpkg-deb's own `-x` has no option to exclude files.
        unpack
            .args(["-ec", r#"deb="$1"; shift; dpkg-deb --fsys-tarfile "$deb" | tar -x "$@""#, "-"])
            .arg(file.path())
            .args(exclude.iter().map(|pattern| format!("--exclude={pattern}")))
            .current_dir(&files);
        self.ui.step(&format!("unpack {package} {version}"), &mut unpack)?;
        for old in fs::read_dir(&unpacked)? {
            let old = old?;
            if is_version_of(&old.file_name().to_string_lossy(), package) {
                remove(&old.path())?;
            }
        }
        fs::rename(files, &whole)?;
        remove(&partial)?;
        Ok(whole)
    }

    /// Newest version of a package.
    ///
    /// # Errors
    /// If the suites do not have it.
    pub(crate) fn version(&self, package: &str) -> Result<String> {
        let policy = shell::answer(self.command("apt-cache").args(["policy", package]))?;
        Policy::parse(&policy)
            .candidate
            .with_context(|| format!("{} has no {package}", self.folder.display()))
    }

    /// Fetches the lists if they are missing or old. Old ones are used if there is no
    /// network.
    fn refresh(&self) -> Result<()> {
        if self.is_fresh(LISTS_SERVE) {
            return Ok(());
        }
        let updated = self.update();
        if updated.is_err() && self.stamp().exists() {
            self.ui.say("the package lists could not be updated; using the old ones");
            return Ok(());
        }
        updated
    }

    fn update(&self) -> Result<()> {
        // apt itself would only warn about a source that fails.
        let mut update = self.command("apt-get");
        update.args(["update", "-q", "--error-on=any"]);
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        self.ui.step(&format!("fetch the package lists of {name}"), &mut update)?;
        fs::write(self.stamp(), "").context("cannot write the stamp")
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("updated")
    }

    fn is_fresh(&self, age: Duration) -> bool {
        let updated = fs::metadata(self.stamp()).and_then(|stamp| stamp.modified());
        updated.is_ok_and(|time| time.elapsed().is_ok_and(|since| since < age))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }
}

/// Names in the lines `Depends:` of `apt-cache show`. Only the first of alternatives
/// counts.
fn dependencies(shown: &str) -> Vec<String> {
    let lines = shown.lines().filter_map(|line| line.strip_prefix("Depends: "));
    let names = lines.flat_map(|line| line.split(", "));
    names.filter_map(|name| Some(name.split([' ', ':']).next()?.to_owned())).collect()
}

/// True if a folder holds some version of a package.
fn is_version_of(folder: &str, package: &str) -> bool {
    folder.split_once('_').is_some_and(|(name, _)| name == package)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
            Err(err).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Returns apt's configuration. From the machine's own (`apt-config dump`) it takes only
/// the settings for reaching the mirror.
fn configuration(machines: &str, folder: &Path, architecture: &str) -> String {
    let access = machines.lines().filter(|line| {
        line.starts_with("Acquire::")
            // Further files to fetch, and lists of translations.
            && !line.starts_with("Acquire::IndexTargets")
            && !line.starts_with("Acquire::Languages")
    });
    let mut text: String = access.map(|line| format!("{line}\n")).collect();
    let folder = folder.display();
    text += &format!(
        r#"Acquire::Languages "none";
Acquire::Check-Valid-Until "false"; // suites without support have expired
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User ""; // its user cannot write to a home directory
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "{folder}/sources.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Cache::archives "{folder}/archives";
Dir::Cache::pkgcache ""; // larger than what it saves
Dir::Cache::srcpkgcache "";
"#
    );
    text
}

/// Name of this machine's Debian release (`bookworm`).
///
/// # Errors
/// If this is not Debian.
pub(crate) fn debian_release() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let field = |name: &str| {
        let mut values = release.lines().filter_map(|line| line.strip_prefix(name));
        Some(values.next()?.trim_matches('"').to_owned())
    };
    ensure!(field("ID=").as_deref() == Some("debian"), "this is not Debian");
    field("VERSION_CODENAME=").context("this Debian has no name")
}

/// The mirrors from which the machine's apt installs Debian.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mirrors {
    main: Option<String>,
    security: Option<String>,
}

impl Mirrors {
    fn of_this_machine() -> Result<Self> {
        let codename = debian_release()?;
        let uris = shell::answer(Command::new("apt-get").args(["update", "--print-uris"]))?;
        Ok(Self::parse(&uris, &codename))
    }

    /// Parses lines `'URI' …`, some of which are `MIRROR/dists/SUITE/InRelease`.
    fn parse(uris: &str, codename: &str) -> Self {
        let mirror = |suites: &[&str]| {
            let mut suites = suites.iter();
            suites.find_map(|suite| {
                let file = format!("dists/{suite}/InRelease");
                let mut uris = uris.lines().filter_map(|line| line.split('\'').nth(1));
                uris.find_map(|uri| Some(uri.strip_suffix(&file)?.to_owned()))
            })
        };
        Self {
            main: mirror(&[codename, "stable", "oldstable", "testing", "unstable", "sid"]),
            security: mirror(&[&format!("{codename}-security"), "stable-security"]),
        }
    }
}

/// Returns the mirror from which the machine's apt installs Debian.
///
/// # Errors
/// If this is not Debian, or apt has no mirror of it.
pub(crate) fn debian_mirror() -> Result<String> {
    Mirrors::of_this_machine()?.main.context("apt has no mirror of Debian")
}

/// One source for each suite (sources.list(5), deb822).
fn sources(suites: &[&str], mirrors: &Mirrors) -> Result<String> {
    let mut text = String::new();
    for suite in suites {
        let mirror = if suite.ends_with("-security") { &mirrors.security } else { &mirrors.main };
        let mirror = mirror.as_ref().with_context(|| format!("no mirror here for {suite}"))?;
        text += &format!("Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n");
        if Path::new(KEYRING).is_file() {
            text += &format!("Signed-By: {KEYRING}\n");
        }
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Mirrors, configuration, dependencies, is_version_of, sources};

    const URIS: &str = "\
'http://mirror.example/other/dists/nodistro/InRelease' other 0 \n\
'http://mirror.example/debian/dists/bookworm/InRelease' a 0 \n\
'http://mirror.example/debian/dists/bookworm-updates/InRelease' b 0 \n\
'http://mirror.example/security/dists/bookworm-security/InRelease' c 0 \n\
'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' d 0 \n";

    #[test]
    fn suites_come_from_the_machines_mirror() {
        let mirrors = Mirrors::parse(URIS, "bookworm");
        assert_eq!(mirrors.main.as_deref(), Some("http://mirror.example/debian/"));
        assert_eq!(mirrors.security.as_deref(), Some("http://mirror.example/security/"));
        let text = sources(&["sid", "trixie-security"], &mirrors).unwrap();
        assert!(text.contains("URIs: http://mirror.example/debian/\nSuites: sid\n"), "{text}");
        let security = "URIs: http://mirror.example/security/\nSuites: trixie-security\n";
        assert!(text.contains(security), "{text}");

        let lacking = Mirrors::parse(URIS, "trixie");
        assert_eq!(lacking, Mirrors::default());
        assert!(sources(&["sid"], &lacking).is_err());
    }

    #[test]
    fn only_access_settings_are_kept() {
        let machines = "APT::Architecture \"amd64\";\n\
                        Acquire::http::Proxy \"http://proxy.example\";\n\
                        Acquire::IndexTargets::deb::DEP-11::MetaKey \"x\";\n\
                        APT::Update::Post-Invoke:: \"rm\";\n";
        let text = configuration(machines, Path::new("/cache"), "arm64");
        assert!(text.starts_with("Acquire::http::Proxy \"http://proxy.example\";\n"), "{text}");
        assert!(text.contains("APT::Architecture \"arm64\";"), "{text}");
        for other in ["amd64", "DEP-11", "Post-Invoke"] {
            assert!(!text.contains(other), "{text}");
        }
    }

    #[test]
    fn dependencies_are_parsed() {
        let shown = "Package: linux-image-amd64\nDepends: linux-base-amd64 (= 7.1-1), \
                     linux-image-7.1-amd64 (= 7.1-1) | other, gcc:any\nRecommends: x\n";
        assert_eq!(dependencies(shown), ["linux-base-amd64", "linux-image-7.1-amd64", "gcc"]);
    }

    #[test]
    fn versions_of_other_packages_do_not_match() {
        assert!(is_version_of("chromium_150.0-1", "chromium"));
        assert!(!is_version_of("chromium-common_150.0-1", "chromium"));
        assert!(!is_version_of("chromium", "chromium"));
    }
}
