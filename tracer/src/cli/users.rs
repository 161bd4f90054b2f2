//! Looks up users.

use std::fs;

use super::Usage;

/// Parses a UID, or looks up a name in `/etc/passwd`.
pub(super) fn uid(text: &str) -> Result<u32, Usage> {
    const PASSWD: &str = "/etc/passwd";
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    find(&passwd, text).ok_or_else(|| {
        Usage(format!(
            "{PASSWD} has no user {text}; give the UID, which `id -u {text}` prints, or on Android \
             `dumpsys package NAME | grep userId`"
        ))
    })
}

/// Finds the UID of a name in lines of `name:password:UID:…` (passwd(5)).
fn find(passwd: &str, name: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Looks up a user in `/etc/passwd`.
pub(super) fn by_name(name: &str) -> Result<User, Usage> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    parse(&passwd, name).ok_or_else(|| Usage(format!("/etc/passwd has no user {name}")))
}

/// Finds a user in lines of `name:password:UID:GID:comment:home:shell`.
fn parse(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [known, _, uid, gid, _, home, ..] = fields[..] else {
            return None;
        };
        (known == name).then_some(())?;
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(User { name: name.to_owned(), uid, gid, home: home.to_owned() })
    })
}

/// Returns the user who called sudo or doas, unless that was root, or this process is not root.
pub(super) fn caller() -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let name = ["SUDO_USER", "DOAS_USER"].iter().find_map(|name| std::env::var(name).ok())?;
    by_name(&name).ok().filter(|user| user.uid != 0)
}

/// Returns the names of users to run a browser as, the most likely one first: who called sudo, then
/// those who are logged in, and who runs this process. Empty if it cannot run anything as others.
pub(super) fn with_desktop() -> Vec<String> {
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let sessions = fs::read_dir("/run/user").into_iter().flatten().filter_map(Result::ok);
    let uids = sessions.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut logged_in: Vec<u32> = uids.filter(|uid| *uid >= FIRST_PERSON).collect();
    logged_in.sort_unstable();
    let logged_in = logged_in.into_iter().filter_map(|uid| name_of(&passwd, uid));
    let mut names: Vec<String> = caller().map(|user| user.name).into_iter().collect();
    for name in logged_in.chain(["root".to_owned()]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// First UID of people; lower ones belong to services (Debian policy, section 9.2.2).
const FIRST_PERSON: u32 = 1000;

/// Finds the name of a UID.
fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// A user to run programs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(find(passwd, "nobody"), Some(65534));
        assert_eq!(find(passwd, "nobod"), None);
        assert_eq!(uid("12345").unwrap(), 12345);
        assert!(uid("no such user").is_err());
        assert_eq!(name_of(passwd, 65534).as_deref(), Some("nobody"));
        assert_eq!(name_of(passwd, 7), None);
        let nobody = parse(passwd, "nobody").unwrap();
        assert_eq!((nobody.uid, nobody.gid, &nobody.home[..]), (65534, 65534, "/"));
    }
}
