//! Installed browsers under names of their own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

/// A browser under a name of its own. Audits watch browsers by name, and would see those of
/// other tests otherwise.
pub struct PrivateBrowser {
    folder: TempDir,
    name: String,
}

impl PrivateBrowser {
    /// Makes a folder like Debian's for this browser, `chromium` or `firefox-esr`. It contains links
    /// to all files, and the program under the new name.
    ///
    /// # Panics
    /// Panics if the browser is not installed, or if the folder cannot be written.
    pub fn new(browser: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{browser}-{}-{number}", std::process::id());
        let folder = tempfile::Builder::new().prefix("tracer-browser-").tempdir();
        let folder = folder.expect("a folder");
        // The browser may run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let installed = Path::new("/usr/lib").join(browser);
        for entry in fs::read_dir(&installed).expect("an installed browser") {
            let entry = entry.expect("an entry");
            if entry.file_name() == browser {
                // A browser looks for its files beside the file that a link points to.
                let (from, to) = (entry.path(), folder.path().join(&name));
                if fs::hard_link(&from, &to).is_err() {
                    fs::copy(&from, &to).expect("a copy");
                }
            } else {
                symlink(entry.path(), folder.path().join(entry.file_name())).expect("a link");
            }
        }
        let this = Self { folder, name };
        this.write_launcher(browser);
        this
    }

    /// Copies the script that starts the browser, if it has one, for the new name.
    fn write_launcher(&self, browser: &str) {
        let text = fs::read_to_string(Path::new("/usr/bin").join(browser));
        let Some(text) = text.ok().filter(|text| text.starts_with("#!")) else {
            return;
        };
        let text =
            text.replace("\nAPPNAME=chromium\n", &format!("\nAPPNAME={}\n", self.name)).replace(
                "\nLIBDIR=/usr/lib/$APPNAME\n",
                &format!("\nLIBDIR={}\n", self.folder.path().display()),
            );
        let launcher = self.launcher();
        fs::write(&launcher, text).expect("a script");
        fs::set_permissions(launcher, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    fn launcher(&self) -> PathBuf {
        self.folder.path().join("launcher")
    }

    /// Returns the name of the program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of the command that starts the browser.
    pub fn command(&self) -> PathBuf {
        let launcher = self.launcher();
        if launcher.exists() { launcher } else { self.folder.path().join(&self.name) }
    }
}
