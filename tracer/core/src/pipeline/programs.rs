//! The programs of processes, and the applications that they belong to.

use std::sync::Arc;

use foldhash::HashMap;

use crate::{application::Application, packages, record::Process};

/// Processes whose programs are remembered.
const MAX_PROGRAMS: usize = 4096;

/// Bytes that are remembered of programs and their arguments: those of hundreds of processes of
/// browsers.
const MAX_BYTES: usize = 2 << 20;

/// Applications of Android whose packages are remembered: more than a device has.
const MAX_APPS: usize = 16_384;

/// The program that a process runs.
#[derive(Debug, Default)]
struct Program {
    path: Option<String>,
    arguments: Vec<String>,
    /// The application, once it is known.
    application: Option<Arc<Application>>,
    /// The time of its last use, counted in uses.
    used: u64,
}

impl Program {
    /// Returns its approximate size in memory.
    fn size(&self) -> usize {
        /// That of its application, and what a text takes beside its bytes.
        const FIXED: usize = 256;
        let texts = self.arguments.iter().chain(&self.path);
        FIXED + texts.map(|text| text.len() + FIXED / 8).sum::<usize>()
    }

    /// Returns the user who runs it. `None` before its first use.
    fn uid(&self) -> Option<u32> {
        self.application.as_ref().map(|application| application.uid)
    }

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
    /// The last process whose program is not known, and its application.
    unknown: Option<(Process, Arc<Application>)>,
    /// Size of all programs.
    bytes: usize,
    uses: u64,
}

impl Programs {
    /// Records that a process executed a program. Its arguments follow.
    pub(super) fn executed(&mut self, tgid: u32, path: String) {
        self.replace(tgid, |_| Program { path: Some(path), ..Program::default() });
    }

    /// Records the arguments of a process.
    pub(super) fn set_arguments(&mut self, tgid: u32, arguments: Vec<String>) {
        self.replace(tgid, |known| Program { path: known.path, arguments, ..Program::default() });
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
        self.unknown = None;
    }

    /// Returns the arguments of a process, as far as they are known.
    pub(super) fn arguments(&self, tgid: u32) -> &[String] {
        self.programs.get(&tgid).map_or(&[], |program| &program.arguments)
    }

    /// Returns the application of a process.
    pub(super) fn application(&mut self, process: &Process) -> Arc<Application> {
        self.uses += 1;
        if let Some(program) = self.programs.get_mut(&process.tgid) {
            program.used = self.uses;
        }
        let program = self.programs.get(&process.tgid);
        if let Some(known) = program.and_then(|program| program.application.as_ref())
            && known.uid == process.uid
        {
            return Arc::clone(known);
        }
        if let Some((last, known)) = &self.unknown
            && program.is_none()
            && last == process
        {
            return Arc::clone(known);
        }
        let path = program.and_then(|program| program.path.as_deref());
        let package = self.package(process.uid, program);
        let application = Application::new(process.uid, path, &process.comm).with_package(package);
        let application = Arc::new(application);
        if program.is_none() {
            self.unknown = Some((process.clone(), Arc::clone(&application)));
        }
        // Without a program, the thread's name identifies the application.
        if let Some(program) = self.programs.get_mut(&process.tgid)
            && program.path.is_some()
        {
            program.application = Some(Arc::clone(&application));
        }
        application
    }

    /// Replaces the program of a process.
    fn replace(&mut self, tgid: u32, with: impl FnOnce(Program) -> Program) {
        let known = self.programs.remove(&tgid).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(if known.used > 0 { known.size() } else { 0 });
        self.uses += 1;
        let program = Program { used: self.uses, ..with(known) };
        self.bytes += program.size();
        self.programs.insert(tgid, program);
        while self.programs.len() > MAX_PROGRAMS || self.bytes > MAX_BYTES {
            self.forget_some();
        }
    }

    /// Shrinks the table at the cost of the user whose processes take the most memory. The less
    /// recently used half of these lose their arguments or, if they have none, are forgotten. Many
    /// short processes therefore displace neither a browser in use nor one of another user.
    fn forget_some(&mut self) {
        let mut rooms = HashMap::<Option<u32>, usize>::default();
        for program in self.programs.values() {
            // The number of programs has a bound of its own.
            *rooms.entry(program.uid()).or_default() += program.size() + MAX_BYTES / MAX_PROGRAMS;
        }
        let user = rooms.into_iter().max_by_key(|(_, room)| *room).and_then(|(user, _)| user);
        let of_user = self.programs.values().filter(|program| program.uid() == user);
        let mut uses: Vec<u64> = of_user.map(|program| program.used).collect();
        let middle = uses.len() / 2;
        // The user has at least one program.
        let (_, &mut median, _) = uses.select_nth_unstable(middle);
        let is_old = |program: &Program| program.uid() == user && program.used <= median;
        let mut had_arguments = false;
        for program in self.programs.values_mut().filter(|program| is_old(program)) {
            // The first one names an application of Android.
            had_arguments |= program.arguments.len() > 1;
            program.arguments.truncate(1);
            program.arguments.shrink_to_fit();
        }
        if !had_arguments || self.programs.len() > MAX_PROGRAMS {
            self.programs.retain(|_, program| !is_old(program));
        }
        self.bytes = self.programs.values().map(Program::size).sum();
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
    fn many_short_processes_are_bounded_and_displace_nothing_in_use() {
        let mut programs = programs("/usr/bin/browser", "browser");
        for tgid in 100..6000 {
            programs.executed(tgid, format!("/bin/{tgid}"));
            programs.set_arguments(tgid, vec!["x".repeat(100); 300]);
            assert_eq!(name(&mut programs, 1000), "browser");
            assert!(programs.bytes <= MAX_BYTES && programs.programs.len() <= MAX_PROGRAMS);
        }
        let size: usize = programs.programs.values().map(Program::size).sum();
        assert_eq!(size, programs.bytes);
    }

    /// The browser is idle: only what others do could make tracer forget it.
    #[test]
    fn processes_of_one_user_do_not_displace_those_of_another() {
        let mut programs = programs("/usr/bin/browser", "browser");
        assert_eq!(name(&mut programs, 1000), "browser");
        let process = |uid, tgid| Process { uid, tgid, tid: tgid, comm: "x".to_owned() };
        for tgid in 100..20_000 {
            programs.executed(tgid, format!("/bin/{tgid}"));
            programs.set_arguments(tgid, vec!["x".repeat(tgid as usize % 50); 60]);
            programs.application(&process(1001, tgid));
            assert!(programs.bytes <= MAX_BYTES && programs.programs.len() <= MAX_PROGRAMS);
        }
        assert_eq!(name(&mut programs, 1000), "browser");
    }

    #[test]
    fn elsewhere_a_program_is_named_by_its_file() {
        let mut linux = programs("/usr/bin/browser", "com.android.chrome");
        assert_eq!(name(&mut linux, 10123), "browser");
    }
}
