//! Identity of applications.

use serde::Serialize;

/// Who sends. What a process runs says it best; where that is not known, the
/// name of its thread has to do, which the process chooses itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Application {
    /// The UID.
    pub uid: u32,
    /// The package, on Android.
    pub package: Option<String>,
    /// The executable file. Applications of Android all have the same.
    pub executable: Option<String>,
    /// The name of the sending thread, where the executable is not known.
    pub comm: Option<String>,
}

impl Application {
    /// The application of a process of this user that runs `executable` in a
    /// thread named `comm`.
    pub fn new(uid: u32, executable: Option<&str>, comm: &str) -> Self {
        let executable = executable.map(str::to_owned);
        let comm = executable.is_none().then(|| comm.to_owned());
        Self { uid, package: None, executable, comm }
    }

    /// The same, of this package.
    #[must_use]
    pub fn of_package(self, package: Option<&str>) -> Self {
        Self { package: package.map(str::to_owned), ..self }
    }

    /// A short name for people: the package, or the executable's file name.
    pub fn name(&self) -> &str {
        if let Some(package) = &self.package {
            return package;
        }
        let path = self.executable.as_deref().or(self.comm.as_deref()).unwrap_or_default();
        path.rsplit('/').next().unwrap_or(path)
    }
}
