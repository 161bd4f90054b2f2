//! The desktop of a user: the variables by which programs find its screen and its session bus.
//!
//! sudo passes on few of them. What is missing is found in the user's folders, of which only names
//! are read. The variables are passed to programs that run as that user and to no others.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::super::users::User;

/// Variables for the programs of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Desktop(Vec<(&'static str, String)>);

/// Folders in which sessions leave their sockets.
struct Places {
    /// `/run/user/UID`
    runtime: PathBuf,
    /// `/tmp/.X11-unix`
    x11: PathBuf,
}

impl Desktop {
    /// Finds the desktop of a user. `known` returns the variables of this process.
    pub(super) fn new(user: &User, known: impl Fn(&str) -> Option<String>) -> Self {
        let runtime = PathBuf::from(format!("/run/user/{}", user.uid));
        Self::find(user, known, &Places { runtime, x11: "/tmp/.X11-unix".into() })
    }

    fn find(user: &User, known: impl Fn(&str) -> Option<String>, places: &Places) -> Self {
        let mut variables = Vec::new();
        let given = |name: &str| known(name).filter(|value| !value.is_empty());
        let runtime = &places.runtime;
        variables.push(("XDG_RUNTIME_DIR", shown(runtime)));
        let bus = runtime.join("bus");
        if given("DBUS_SESSION_BUS_ADDRESS").is_none() && is_socket_of(&bus, user.uid) {
            variables.push(("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", shown(&bus))));
        }
        let wayland =
            first(runtime, |name| name.starts_with("wayland-") && !name.ends_with(".lock"));
        let display = given("DISPLAY");
        if given("WAYLAND_DISPLAY").is_none()
            && display.is_none()
            && let Some(socket) = wayland.filter(|path| is_socket_of(path, user.uid))
            && let Some(name) = socket.file_name()
        {
            variables.push(("WAYLAND_DISPLAY", name.to_string_lossy().into_owned()));
        }
        if display.is_none() {
            let own = |name: &str| is_socket_of(&places.x11.join(name), user.uid);
            let socket = first(&places.x11, |name| name.starts_with('X') && own(name));
            let name = socket.as_deref().and_then(Path::file_name).map(|it| it.to_string_lossy());
            if let Some(number) = name.as_deref().and_then(|name| name.strip_prefix('X')) {
                variables.push(("DISPLAY", format!(":{number}")));
            }
        }
        if given("XAUTHORITY").is_none() {
            let home = Some(Path::new(&user.home).join(".Xauthority")).filter(|it| it.exists());
            let of_session = || {
                let is_one = |name: &str| {
                    name.starts_with(".mutter-Xwaylandauth") || name.starts_with("xauth_")
                };
                let gdm = || Some(runtime.join("gdm/Xauthority")).filter(|it| it.exists());
                first(runtime, is_one).or_else(gdm)
            };
            if let Some(file) = of_session().or(home) {
                variables.push(("XAUTHORITY", shown(&file)));
            }
        }
        Self(variables)
    }

    /// Returns the variables to set, by name.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &value[..]))
    }

    /// Reports whether a screen was found.
    pub(super) fn has_screen(&self) -> bool {
        self.0.iter().any(|(name, _)| matches!(*name, "DISPLAY" | "WAYLAND_DISPLAY"))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Returns the first file in a folder with such a name, in alphabetical order.
fn first(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    const MAX_ENTRIES: usize = 4096;
    let entries = fs::read_dir(folder).ok()?.take(MAX_ENTRIES).filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_wanted(name)).min().map(|name| folder.join(name))
}

fn is_socket_of(path: &Path, uid: u32) -> bool {
    let metadata = fs::symlink_metadata(path);
    metadata.is_ok_and(|it| it.file_type().is_socket() && it.uid() == uid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_sudo_removes_is_found_and_what_it_keeps_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { runtime: folder.path().join("run"), x11: folder.path().join("x11") };
        fs::create_dir(&places.runtime).unwrap();
        fs::create_dir(&places.x11).unwrap();
        let home = folder.path().display().to_string();
        let uid = rustix::process::geteuid().as_raw();
        let user = User { name: "alice".into(), uid, gid: 0, home };
        let none = |_: &str| None;
        let nothing = Desktop::find(&user, none, &places);
        assert!(!nothing.has_screen());
        let _sockets =
            [places.runtime.join("bus"), places.runtime.join("wayland-0"), places.x11.join("X1")]
                .map(|path| UnixListener::bind(path).unwrap());
        fs::write(places.runtime.join("wayland-0.lock"), "").unwrap();
        fs::write(places.runtime.join(".mutter-Xwaylandauth.ABC"), "").unwrap();
        fs::write(places.x11.join("X0"), "not a socket").unwrap();
        let run = |name: &str| shown(&places.runtime.join(name));
        let found = Desktop::find(&user, none, &places);
        assert!(found.has_screen());
        let expected = [
            ("XDG_RUNTIME_DIR", shown(&places.runtime)),
            ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", run("bus"))),
            ("WAYLAND_DISPLAY", "wayland-0".into()),
            ("DISPLAY", ":1".into()),
            ("XAUTHORITY", run(".mutter-Xwaylandauth.ABC")),
        ];
        assert_eq!(found.0, expected);
        // Nothing is replaced that is set, and sockets of other users are not used.
        let found = Desktop::find(&user, |_| Some("set".into()), &places);
        assert_eq!(found.0, expected[..1]);
        let other = User { uid: uid + 1, ..user };
        assert!(!Desktop::find(&other, none, &places).has_screen());
    }
}
