//! The programs of processes, and the applications that they belong to.

use std::{collections::HashMap, sync::Arc};

use crate::{application::Application, packages, record::Process};

/// Processes whose programs are remembered.
const MAX_PROGRAMS: usize = 4096;

/// Applications of Android whose packages are remembered: more than a device has.
const MAX_APPS: usize = 16_384;

/// The program that a process runs.
#[derive(Debug, Default)]
struct Program {
    path: Option<String>,
    arguments: Vec<String>,
    /// The application, once it is known.
    application: Option<Arc<Application>>,
}

impl Program {
    /// Returns the package that the process is named after, if it is an
    /// application of Android: they are forks of a zygote, which runs a program of
    /// this name.
    fn package(&self) -> Option<&str> {
        let file = self.path.as_deref()?.rsplit('/').next()?;
        file.starts_with("app_process")
            .then(|| packages::of_process_name(self.arguments.first()?))?
    }
}

/// The programs of processes, and the packages of Android's applications.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// By process ID.
    programs: HashMap<u32, Program>,
    /// By application ID.
    packages: HashMap<u32, Vec<String>>,
}

impl Programs {
    /// Records that a process executed a program. Its arguments follow.
    pub(super) fn executed(&mut self, tgid: u32, path: String) {
        *self.program(tgid) = Program { path: Some(path), ..Program::default() };
    }

    /// Records the arguments of a process.
    pub(super) fn set_arguments(&mut self, tgid: u32, arguments: Vec<String>) {
        let program = self.program(tgid);
        program.arguments = arguments;
        program.application = None;
    }

    /// Records the packages of an application; they are empty if it was removed.
    pub(super) fn set_packages(&mut self, app: u32, names: Vec<String>) {
        if names.is_empty() {
            self.packages.remove(&app);
        } else if self.packages.len() < MAX_APPS {
            self.packages.insert(app, names);
        }
        for program in self.programs.values_mut() {
            program.application = None;
        }
    }

    /// Returns the arguments of a process, as far as they are known.
    pub(super) fn arguments(&self, tgid: u32) -> &[String] {
        self.programs.get(&tgid).map_or(&[], |program| &program.arguments)
    }

    /// Returns the application of a process.
    pub(super) fn application(&mut self, process: &Process) -> Arc<Application> {
        let program = self.programs.get(&process.tgid);
        if let Some(known) = program.and_then(|program| program.application.as_ref())
            && known.uid == process.uid
        {
            return Arc::clone(known);
        }
        let path = program.and_then(|program| program.path.as_deref());
        let package = self.package(process.uid, program);
        let application = Application::new(process.uid, path, &process.comm).with_package(package);
        let application = Arc::new(application);
        // Without a program, the thread's name identifies the application.
        if let Some(program) = self.programs.get_mut(&process.tgid)
            && program.path.is_some()
        {
            program.application = Some(Arc::clone(&application));
        }
        application
    }

    fn program(&mut self, tgid: u32) -> &mut Program {
        if self.programs.len() >= MAX_PROGRAMS && !self.programs.contains_key(&tgid) {
            // Process IDs are reused slowly; starting anew costs a name or two.
            self.programs.clear();
        }
        self.programs.entry(tgid).or_default()
    }

    /// Returns the package of a process: by its UID, which it cannot choose, and
    /// among packages that share the UID by the name that the process gives itself.
    fn package<'a>(&'a self, uid: u32, program: Option<&'a Program>) -> Option<&'a str> {
        let called = program.and_then(Program::package);
        let listed = packages::id_of(uid).and_then(|app| self.packages.get(&app));
        match listed {
            None => called,
            Some(listed) => listed
                .iter()
                .find(|name| called == Some(name.as_str()))
                .or(listed.first())
                .map(String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(path: &str, called: &str) -> Programs {
        let mut programs = Programs::default();
        programs.executed(7, path.to_owned());
        programs.set_arguments(7, vec![called.to_owned()]);
        programs
    }

    fn name(programs: &mut Programs, uid: u32) -> String {
        let process = Process { uid, tgid: 7, tid: 7, comm: "NetworkService".to_owned() };
        programs.application(&process).name().to_owned()
    }

    #[test]
    fn an_application_is_named_by_its_uid_and_not_by_what_it_says() {
        let mut android = programs("/system/bin/app_process64", "com.liar.app:network");
        // Without a list there is nothing better.
        assert_eq!(name(&mut android, 10123), "com.liar.app");
        android.set_packages(10123, vec!["com.android.chrome".to_owned()]);
        for uid in [10123, 1_010_123, 20123] {
            assert_eq!(name(&mut android, uid), "com.android.chrome", "{uid}");
        }
        assert_eq!(name(&mut android, 10124), "com.liar.app");
        // An isolated process is in no list.
        assert_eq!(name(&mut android, 99_123), "com.liar.app");
        android.set_packages(10123, Vec::new());
        assert_eq!(name(&mut android, 10123), "com.liar.app");
    }

    #[test]
    fn of_packages_that_share_an_id_the_process_says_which() {
        let mut android = programs("/system/bin/app_process64", "com.b:remote");
        android.set_packages(10123, vec!["com.a".to_owned(), "com.b".to_owned()]);
        assert_eq!(name(&mut android, 10123), "com.b");
        android.set_arguments(7, vec!["com.c".to_owned()]);
        assert_eq!(name(&mut android, 10123), "com.a");
    }

    #[test]
    fn elsewhere_a_program_is_named_by_its_file() {
        let mut linux = programs("/usr/bin/browser", "com.android.chrome");
        assert_eq!(name(&mut linux, 10123), "browser");
    }
}
