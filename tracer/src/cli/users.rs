//! Users by name.

use std::fs;

use super::Usage;

/// A UID given as a number or as a name in `/etc/passwd`.
pub(super) fn uid(text: &str) -> Result<u32, Usage> {
    const PASSWD: &str = "/etc/passwd";
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    find(&passwd, text).ok_or_else(|| {
        Usage(format!(
            "no user is named {text} in {PASSWD}; give the number (`id -u {text}` tells it where \
             users come from elsewhere; on Android, `dumpsys package NAME | grep userId`)"
        ))
    })
}

/// `name:password:UID:…`, a line each (passwd(5)).
fn find(passwd: &str, name: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_numbers() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(find(passwd, "nobody"), Some(65534));
        assert_eq!(find(passwd, "nobod"), None);
        assert_eq!(uid("12345").unwrap(), 12345);
        assert!(uid("no such user").is_err());
    }
}
