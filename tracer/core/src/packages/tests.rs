//! Tests with lists of all releases, and with malformed ones.

use proptest::prelude::*;

use super::*;

/// A list with the columns of each release, from the oldest on.
const RELEASES: &str = "\
android 1000 0 /data/system
com.android.settings 1000 0 /data/user_de/0/com.android.settings platform
com.android.browser 10007 0 /data/data/com.android.browser default 3003,1028
com.android.chrome 10123 0 /data/user/0/com.android.chrome default:targetSdkVersion=29 3003 1
org.mozilla.firefox 10124 1 /data/user/0/org.mozilla.firefox default none 0 2016000000
com.brave.browser 10125 0 /data/user/0/com.brave.browser default none 0 42 1
com.opera.browser 10126 0 /data/user/0/com.opera.browser default none 0 42 1 @system
com.later.release 10127 0 /data/user/0/com.later.release default none 0 42 1 @null and more
";

#[test]
fn parses_lists_of_all_releases() {
    let list = PackageList::parse(RELEASES.as_bytes());
    assert_eq!((list.len(), list.malformed(), list.left_out()), (8, 0, 0));
    assert_eq!(list.id("com.android.chrome"), Some(10123));
    assert_eq!(list.id("com.later.release"), Some(10127));
    assert_eq!(list.id("com.android"), None);
    assert_eq!(list.names(1000), ["android", "com.android.settings"]);
    assert!(list.names(10999).is_empty());
}

#[test]
fn counts_malformed_lines() {
    let lines: [&[u8]; 9] = [
        b"com.example",
        b"com.example 10001",
        b"com.example 10001 0",
        b"com.example x 0 /data",
        b"com.example -1 0 /data",
        b"com.example 10001 2 /data",
        b"com..example 10001 0 /data",
        b"com.ex\xffample 10001 0 /data",
        // The id of an isolated process.
        b"com.example 99001 0 /data",
    ];
    let mut text = lines.join(&b'\n');
    text.extend(b"\n\ncom.example 10001 0 /data\ncom.example 10002 0 /data\n");
    let list = PackageList::parse(&text);
    assert_eq!((list.len(), list.malformed()), (1, lines.len() + 1));
    // The first entry counts.
    assert_eq!(list.id("com.example"), Some(10001));
    assert!(list.names(10002).is_empty());
}

#[test]
fn number_of_packages_is_limited() {
    let mut text = String::new();
    for at in 0..MAX_PACKAGES + 3 {
        text += &format!("com.p{at} 10001 0 /data\n");
    }
    let list = PackageList::parse(text.as_bytes());
    assert_eq!((list.len(), list.left_out(), list.malformed()), (MAX_PACKAGES, 3, 0));
}

#[test]
fn id_of_covers_users_sandboxes_and_isolated_processes() {
    for (uid, id) in [
        (10123, Some(10123)),
        (1_010_123, Some(10123)),
        (99_910_123, Some(10123)),
        (1000, Some(1000)),
        // SDK sandboxes of the first and of another user.
        (20123, Some(10123)),
        (1_020_123, Some(10123)),
        (30000, Some(30000)),
        (99_000, None),
        (1_090_000, None),
        (u32::MAX, Some(u32::MAX % UIDS_PER_USER)),
    ] {
        assert_eq!(id_of(uid), id, "{uid}");
    }
    assert_eq!(ids_of(10123).collect::<Vec<_>>(), [10123, 20123]);
    assert_eq!(ids_of(1000).collect::<Vec<_>>(), [1000]);
}

#[test]
fn process_name_contains_the_package() {
    let name = of_process_name;
    assert_eq!(name("com.android.chrome:privileged_process0"), Some("com.android.chrome"));
    assert_eq!(name("org.mozilla.firefox"), Some("org.mozilla.firefox"));
    for other in ["zygote64", "", ":x", "/system/bin/netd", "com.example app", "1.2"] {
        assert_eq!(name(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn every_line_is_counted_once(text in "([a-z.]{1,9}( [0-9]{1,6}( [01]( /[a-z]{1,3})?)?)?\n){0,20}") {
        let list = PackageList::parse(text.as_bytes());
        prop_assert_eq!(list.len() + list.malformed(), text.lines().count());
        // A truncated list has no other entries.
        for end in 0..text.len() {
            let cut = PackageList::parse(&text.as_bytes()[..end]);
            prop_assert!(cut.ids.iter().all(|(name, id)| list.id(name) == Some(*id)));
        }
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), uid: u32) {
        let list = PackageList::parse(&bytes);
        if let Some(id) = id_of(uid) {
            let _ = list.names(id);
            prop_assert!(ids_of(id).any(|one| one == uid % UIDS_PER_USER));
        }
    }
}
