//! What processes run, and which packages Android's applications are.

use std::collections::HashMap;

use crate::{application::Application, packages, record::Process};

/// Processes whose programs are remembered at a time.
const MAX_PROGRAMS: usize = 4096;

/// Applications of Android whose packages are remembered at a time: as many ids as
/// there can be in use on a device, and more.
const MAX_APPS: usize = 16_384;

/// What a process runs.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) path: Option<String>,
    pub(super) arguments: Vec<String>,
}

impl Program {
    /// The package that the process names itself after, where it is one of
    /// Android's applications: they are forks of a zygote, which runs a program
    /// of this name.
    fn package(&self) -> Option<&str> {
        let file = self.path.as_deref()?.rsplit('/').next()?;
        file.starts_with("app_process")
            .then(|| packages::of_process_name(self.arguments.first()?))?
    }
}

/// What is known of processes, and of applications by their ids.
#[derive(Debug, Default)]
pub(super) struct Programs {
    programs: HashMap<u32, Program>,
    packages: HashMap<u32, Vec<String>>,
}

impl Programs {
    /// What a process runs, as far as it was told.
    pub(super) fn of(&self, tgid: u32) -> Option<&Program> {
        self.programs.get(&tgid)
    }

    /// The same, to be told more.
    pub(super) fn of_mut(&mut self, tgid: u32) -> &mut Program {
        if self.programs.len() >= MAX_PROGRAMS && !self.programs.contains_key(&tgid) {
            // Process ids wander; a new start costs a name or two.
            self.programs.clear();
        }
        self.programs.entry(tgid).or_default()
    }

    /// Takes the packages of an application; it has none when it was removed.
    pub(super) fn installed(&mut self, app: u32, names: Vec<String>) {
        if names.is_empty() {
            self.packages.remove(&app);
        } else if self.packages.len() < MAX_APPS {
            self.packages.insert(app, names);
        }
    }

    /// Whose process it is.
    pub(super) fn application(&self, process: &Process) -> Application {
        let program = self.of(process.tgid);
        let path = program.and_then(|program| program.path.as_deref());
        Application::new(process.uid, path, &process.comm)
            .of_package(self.package(process.uid, program))
    }

    /// The package that a process is of: by its UID, which it cannot choose, and
    /// among those that share it by what it calls itself.
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
        *programs.of_mut(7) =
            Program { path: Some(path.to_owned()), arguments: vec![called.to_owned()] };
        programs
    }

    fn name(programs: &Programs, uid: u32) -> String {
        let process = Process { uid, tgid: 7, tid: 7, comm: "NetworkService".to_owned() };
        programs.application(&process).name().to_owned()
    }

    #[test]
    fn an_application_is_named_by_its_uid_and_not_by_what_it_says() {
        let mut android = programs("/system/bin/app_process64", "com.liar.app:network");
        // Without a list there is nothing better.
        assert_eq!(name(&android, 10123), "com.liar.app");
        android.installed(10123, vec!["com.android.chrome".to_owned()]);
        for uid in [10123, 1_010_123, 20123] {
            assert_eq!(name(&android, uid), "com.android.chrome", "{uid}");
        }
        assert_eq!(name(&android, 10124), "com.liar.app");
        // An isolated process is in no list.
        assert_eq!(name(&android, 99_123), "com.liar.app");
        android.installed(10123, Vec::new());
        assert_eq!(name(&android, 10123), "com.liar.app");
    }

    #[test]
    fn of_packages_that_share_an_id_the_process_says_which() {
        let mut android = programs("/system/bin/app_process64", "com.b:remote");
        android.installed(10123, vec!["com.a".to_owned(), "com.b".to_owned()]);
        assert_eq!(name(&android, 10123), "com.b");
        android.of_mut(7).arguments = vec!["com.c".to_owned()];
        assert_eq!(name(&android, 10123), "com.a");
    }

    #[test]
    fn elsewhere_a_program_is_named_by_its_file() {
        let linux = programs("/usr/bin/browser", "com.android.chrome");
        assert_eq!(name(&linux, 10123), "browser");
    }
}
