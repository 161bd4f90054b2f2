//! Identity of applications.

use serde::Serialize;

/// The program that sends: a package on Android, otherwise an executable. If
/// neither is known, the name of the sending thread identifies it, which the
/// process chooses itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Application {
    /// User ID of its processes.
    pub uid: u32,
    /// Name of the package on Android.
    pub package: Option<String>,
    /// Path of the executable. All applications of Android have the same one.
    pub executable: Option<String>,
    /// Name of the sending thread, if the executable is not known.
    pub comm: Option<String>,
}

impl Application {
    /// Creates the application of a process of this user that runs `executable` in a
    /// thread named `comm`.
    pub fn new(uid: u32, executable: Option<&str>, comm: &str) -> Self {
        let executable = executable.map(str::to_owned);
        let comm = executable.is_none().then(|| comm.to_owned());
        Self { uid, package: None, executable, comm }
    }

    /// Sets the package.
    #[must_use]
    pub fn with_package(self, package: Option<&str>) -> Self {
        Self { package: package.map(str::to_owned), ..self }
    }

    /// Returns a short name: the package, or the file name of the executable.
    pub fn name(&self) -> &str {
        if let Some(package) = &self.package {
            return package;
        }
        let path = self.executable.as_deref().or(self.comm.as_deref()).unwrap_or_default();
        path.rsplit('/').next().unwrap_or(path)
    }
}
