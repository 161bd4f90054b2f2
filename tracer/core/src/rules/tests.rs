//! Tests of the embedded rules, and of overriding them with a user's files.

use super::*;

mod known;

fn with(files: &[(&str, &str)]) -> Result<Rules, RulesError> {
    let files: Vec<_> = files.iter().map(|&(name, text)| RulesFile { name, text }).collect();
    Rules::with_overrides(&files)
}

fn error(files: &[(&str, &str)]) -> String {
    with(files).unwrap_err().to_string()
}

fn name(rules: &Rules, application: &str) -> Option<String> {
    rules.browser(application).map(|browser| browser.name.to_string())
}

/// Returns the maker (with a star if pages send there too) and the service that receive
/// what `application` sends to `host`.
fn party(rules: &Rules, host: &str, application: &str) -> (Option<String>, Option<String>) {
    let browser = rules.browser(application);
    assert!(application.is_empty() || browser.is_some(), "{application}");
    let Party { maker, service } = rules.recipient(host, browser.map(|browser| &**browser));
    (
        maker.map(|own| format!("{}{}", own.maker.name, if own.embedded { "*" } else { "" })),
        service.map(|service| service.name.to_string()),
    )
}

/// Parsing fails if a file has a mistake, or a domain, package or executable is listed
/// twice.
#[test]
fn the_embedded_rules_are_valid() {
    let rules = Rules::default();
    assert!(rules.makers().len() >= 60, "{}", rules.makers().len());
    assert!(rules.browsers().len() >= 75, "{}", rules.browsers().len());
    assert!(rules.services().len() >= 180, "{}", rules.services().len());
    for browser in rules.browsers() {
        assert!(rules.maker(browser).is_some(), "{}", browser.name);
    }
    for maker in rules.makers() {
        let has_browser = rules.browsers().iter().any(|browser| browser.maker == maker.name);
        assert!(has_browser, "{} makes nothing", maker.name);
    }
    use crate::finding::Category::*;
    for category in [Analytics, Advertising, Crashes, Search, SafeBrowsing, Updates] {
        assert!(rules.services().iter().any(|service| service.category == category));
    }
}

#[test]
fn the_known_packages_are_listed() {
    let rules = Rules::default();
    for package in [
        "com.mi.globalbrowser",
        "com.android.browser",
        "com.mi.globalbrowser.mini",
        "com.android.chrome",
        "com.chrome.beta",
        "com.chrome.dev",
        "com.chrome.canary",
        "org.mozilla.firefox",
        "org.mozilla.firefox_beta",
        "org.mozilla.fenix",
        "org.mozilla.focus",
        "org.mozilla.klar",
        "com.sec.android.app.sbrowser",
        "com.sec.android.app.sbrowser.beta",
        "com.microsoft.emmx",
        "com.opera.browser",
        "com.opera.mini.native",
        "com.opera.gx",
        "com.opera.touch",
        "com.brave.browser",
        "com.vivaldi.browser",
        "com.duckduckgo.mobile.android",
        "com.UCMobile",
        "com.UCMobile.intl",
        "com.tencent.mtt",
        "com.qihoo.browser",
        "com.baidu.searchbox",
        "com.baidu.browser.apps",
        "com.yandex.browser",
        "com.huawei.browser",
        "com.heytap.browser",
        "com.coloros.browser",
        "com.vivo.browser",
        "com.kiwibrowser.browser",
        "org.torproject.torbrowser",
        "mark.via",
        "com.cloudmosa.puffin",
        "com.transsion.phoenix",
        "com.ecosia.android",
        "com.naver.whale",
        "org.cromite.cromite",
        "mobi.mgeek.TunnyBrowser",
    ] {
        let browser = rules.browser(package).unwrap_or_else(|| panic!("{package}"));
        assert_eq!(browser.role, Role::Browser, "{package}");
    }
    for package in [
        "com.miui.home",
        "com.android.systemui",
        "com.android.settings",
        "com.miui.analytics",
        "com.miui.daemon",
        "com.miui.msa.global",
        "com.miui.newhome",
        "com.xiaomi.discover",
    ] {
        let browser = rules.browser(package).unwrap_or_else(|| panic!("{package}"));
        assert_eq!((browser.role, browser.maker.as_str()), (Role::System, "Xiaomi"), "{package}");
    }
}

#[test]
fn an_application_is_recognised_by_path_name_package_or_process() {
    let rules = Rules::default();
    for (application, known) in [
        ("/usr/lib/chromium/chromium", Some("Chromium")),
        ("/usr/lib/chromium/chromium (deleted)", Some("Chromium")),
        ("/home/a/.cache/ms-playwright/chromium-1/chrome-linux/chrome", Some("Chromium")),
        // The same file name, and a more specific path.
        ("/opt/google/chrome/chrome", Some("Chrome")),
        ("/usr/lib/firefox-esr/firefox-esr", Some("Firefox")),
        ("/home/a/tor-browser/Browser/firefox.real", Some("Tor Browser")),
        ("/opt/microsoft/msedge/msedge", Some("Edge")),
        ("/opt/brave.com/brave/brave", Some("Brave")),
        ("/opt/vivaldi/vivaldi-bin", Some("Vivaldi")),
        ("/usr/lib/x86_64-linux-gnu/opera/opera", Some("Opera")),
        ("/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/WebKitNetworkProcess", Some("WebKitGTK")),
        ("w3m", Some("w3m")),
        ("com.android.chrome", Some("Chrome")),
        ("com.android.chrome:privileged_process0", Some("Chrome")),
        ("com.mi.globalbrowser", Some("Mi Browser")),
        ("com.android.chromes", None),
        ("com.android", None),
        // A package is not a file name, and vice versa.
        ("/data/app/com.android.chrome", None),
        ("/system/bin/app_process64", None),
        ("/usr/bin/python3", None),
        ("/", None),
        ("", None),
        (":", None),
        (" (deleted)", None),
    ] {
        assert_eq!(name(&rules, application).as_deref(), known, "{application}");
    }
}

#[test]
fn arguments_can_prove_private_mode_and_their_absence_proves_nothing() {
    let rules = Rules::default();
    let private = |application, args: &[&str]| rules.browser(application).unwrap().is_private(args);
    assert_eq!(private("chromium", &["chromium", "--incognito"]), Some(true));
    assert_eq!(private("chromium", &["chromium", "--incognito-mode"]), None);
    assert_eq!(private("chromium", &["chromium", "--", "--incognito"]), None);
    assert_eq!(private("chromium", &[]), None);
    assert_eq!(private("msedge", &["--inprivate"]), Some(true));
    assert_eq!(private("firefox", &["firefox", "-private", "https://a.test"]), Some(true));
    assert_eq!(private("epiphany", &["--incognito-mode"]), Some(true));
    assert_eq!(private("opera", &["--private"]), Some(true));
    assert_eq!(private("firefox.real", &[]), Some(true));
    assert_eq!(private("org.mozilla.focus", &[]), Some(true));
    assert_eq!(private("w3m", &["--incognito"]), Some(false));
}

#[test]
fn a_maker_is_recognised_only_at_its_own_hosts() {
    let rules = Rules::default();
    let mi = "com.mi.globalbrowser";
    let maker = |host, application| party(&rules, host, application).0;
    for host in
        ["sa.api.intl.miui.com", "SA.API.INTL.MIUI.COM.", "data.mistat.xiaomi.com", "miui.com"]
    {
        assert_eq!(maker(host, mi).as_deref(), Some("Xiaomi"), "{host}");
        assert_eq!(maker(host, "chromium"), None, "{host}");
        assert_eq!(maker(host, ""), None, "{host}");
    }
    for host in
        ["notmiui.com", "miui.com.evil.test", "miui.com-evil.test", "10.0.0.1", "[::1]", "com", ""]
    {
        assert_eq!(maker(host, mi), None, "{host}");
    }
    // The longest domain decides whether pages use it.
    for (host, expected) in [
        ("update.googleapis.com", "Google"),
        ("optimizationguide-pa.googleapis.com", "Google"),
        ("clients4.google.com", "Google"),
        ("edgedl.me.gvt1.com", "Google"),
        ("fonts.googleapis.com", "Google*"),
        ("notupdate.googleapis.com", "Google*"),
        ("www.google.com", "Google*"),
        ("www.google.co.uk", "Google*"),
        ("www.google-analytics.com", "Google*"),
    ] {
        assert_eq!(maker(host, "com.android.chrome").as_deref(), Some(expected), "{host}");
    }
    assert_eq!(maker("nav.smartscreen.microsoft.com", "msedge").as_deref(), Some("Microsoft"));
    assert_eq!(maker("bat.bing.com", "msedge").as_deref(), Some("Microsoft*"));
    assert_eq!(maker("mc.yandex.ru", "com.yandex.browser").as_deref(), Some("Yandex*"));
    assert_eq!(maker("api.browser.yandex.ru", "com.yandex.browser").as_deref(), Some("Yandex"));
    // A non-ASCII name in the form used on the wire.
    assert_eq!(maker("xn--d1acpjx3f.xn--p1ai", "com.yandex.browser").as_deref(), Some("Yandex*"));
    assert_eq!(maker("incoming.telemetry.mozilla.org", "firefox").as_deref(), Some("Mozilla"));
    assert_eq!(maker("www.vivo.com.cn", "com.vivo.browser").as_deref(), Some("vivo"));
    assert_eq!(maker("evil.com.cn", "com.vivo.browser"), None);
}

#[test]
fn a_service_is_recognised_for_every_sender() {
    let rules = Rules::default();
    for (host, service) in [
        ("www.google-analytics.com", Some("Google Analytics")),
        ("region1.analytics.google.com", Some("Google Analytics")),
        ("o1.ingest.sentry.io", Some("Sentry")),
        ("api.eu.mixpanel.com", Some("Mixpanel")),
        ("www.google.com", Some("Google Search")),
        ("update.googleapis.com", Some("Google updates")),
        ("safebrowsing.googleapis.com", Some("Google Safe Browsing")),
        ("sentry.io.evil.test", None),
        ("notsentry.io", None),
        ("collector.example", None),
    ] {
        for application in ["", "firefox"] {
            let found = party(&rules, host, application).1;
            assert_eq!(found.as_deref(), service, "{host}");
        }
    }
    // Both at once: a service of the maker, and its category.
    let (maker, service) = party(&rules, "tracking.intl.miui.com", "com.miui.home");
    assert_eq!(maker.as_deref(), Some("Xiaomi"));
    assert_eq!(service.as_deref(), Some("Xiaomi statistics"));
}

#[test]
fn the_owner_of_a_host_is_known_without_a_browser() {
    let rules = Rules::default();
    let owner = |host| rules.owner(host).map(|maker| maker.name.as_str());
    assert_eq!(owner("www.mi.com"), owner("tracking.miui.com"));
    assert_eq!(owner("www.youtube.com"), Some("Google"));
    assert_eq!(owner("news.example.org"), None);
}

const MAKER: &str = "[[maker]]\nname = 'Acme'\ndomains = ['acme.example']\n\
                     page_domains = ['acme.example', 'cdn.example']\nreason = 'r'\nsource = 's'\n";

fn browser(fields: &str) -> String {
    format!("[[browser]]\nname = 'B'\nmaker = 'Acme'\n{fields}\nreason = 'r'\nsource = 's'\n")
}

fn service(name: &str, domains: &str) -> String {
    format!(
        "[[service]]\nname = '{name}'\ncategory = 'analytics'\ndomains = {domains}\n\
         reason = 'r'\nsource = 's'\n"
    )
}

#[test]
fn a_domain_in_both_lists_is_embedded_by_pages() {
    let text = MAKER.to_owned() + &browser("executables = ['acme']");
    let rules = with(&[("/etc/tracer/browsers.toml", &text)]).unwrap();
    assert_eq!(party(&rules, "a.acme.example", "acme").0.as_deref(), Some("Acme*"));
    // The longer of two domains decides, whichever list it is in.
    let text = text.replace("['acme.example', 'cdn.example']", "['www.acme.example']");
    let rules = with(&[("browsers.toml", &text)]).unwrap();
    assert_eq!(party(&rules, "a.acme.example", "acme").0.as_deref(), Some("Acme"));
    assert_eq!(party(&rules, "www.acme.example", "acme").0.as_deref(), Some("Acme*"));
}

#[test]
fn entries_of_a_user_replace_those_with_the_same_name_or_are_added() {
    let embedded = Rules::default();
    let own = browser("packages = ['com.android.browser']").replace("'B'", "'Mi Browser'");
    let rules = with(&[
        ("own/browsers.toml", &(MAKER.to_owned() + &own)),
        ("own/recipients.toml", &service("Sentry", "['sentry.example']")),
        (
            "own/vocabularies.toml",
            "[[vocabulary]]\nprefix = 'ns.example/'\nreason = 'r'\nsource = 's'\n",
        ),
    ])
    .unwrap();
    assert_eq!(rules.makers().len(), embedded.makers().len() + 1);
    assert_eq!(rules.browsers().len(), embedded.browsers().len());
    assert_eq!(rules.services().len(), embedded.services().len());
    // Replaced as a whole, not merged.
    assert_eq!(rules.browser("com.android.browser").unwrap().maker.as_str(), "Acme");
    assert_eq!(name(&rules, "com.mi.globalbrowser"), None);
    assert_eq!(party(&rules, "o1.ingest.sentry.io", "").1, None);
    assert_eq!(party(&rules, "sentry.example", "").1.as_deref(), Some("Sentry"));
    assert!(rules.vocabularies().contains("https://ns.example/x"));
    assert!(rules.vocabularies().contains("http://www.w3.org/2000/svg"));
    assert!(!embedded.vocabularies().contains("https://ns.example/x"));
    // The last file wins.
    let rules = with(&[
        ("a/recipients.toml", &service("Sentry", "['a.example']")),
        ("b/recipients.toml", &service("Sentry", "['b.example']")),
    ])
    .unwrap();
    assert_eq!(party(&rules, "a.example", "").1, None);
    assert_eq!(party(&rules, "b.example", "").1.as_deref(), Some("Sentry"));
}

#[test]
fn errors_name_the_line() {
    let acme = |text: &str| MAKER.to_owned() + text;
    for (file, text, place, what) in [
        ("d/rules.toml", String::new(), "d/rules.toml:1:1: ", "use one of browsers.toml, "),
        ("d/browsers.toml", acme("x = 1\n"), "d/browsers.toml:7:1: ", "unknown field `x`"),
        (
            "d/browsers.toml",
            acme(&browser("packages = ['chrome']")),
            "d/browsers.toml:10:13: ",
            "`chrome` is not an Android package; write",
        ),
        (
            "d/browsers.toml",
            acme(&browser("executables = ['bin/acme']")),
            "d/browsers.toml:10:16: ",
            "neither a file name nor an absolute path",
        ),
        (
            "d/browsers.toml",
            acme(&browser("")),
            "d/browsers.toml:7:1: ",
            "neither packages nor executables; list at least one",
        ),
        (
            "d/browsers.toml",
            browser("executables = ['acme']"),
            "d/browsers.toml:1:1: ",
            "`B` is made by `Acme`, which has no entry; add",
        ),
        (
            "d/browsers.toml",
            acme(&browser("executables = ['acme', 'chromium']")),
            "d/browsers.toml:7:1: ",
            "`chromium` is listed by both `B` and `Chromium`; remove",
        ),
        (
            "d/browsers.toml",
            acme(&browser("packages = ['com.android.chrome']")),
            "d/browsers.toml:7:1: ",
            "is listed by both `B` and `Chrome`;",
        ),
        (
            "d/browsers.toml",
            acme(&browser("role = 'malware'")),
            "d/browsers.toml:10:8: ",
            "expected `browser` or `system`",
        ),
        (
            "d/browsers.toml",
            acme("").replace("cdn.example", "miui.com"),
            "d/browsers.toml:1:1: ",
            "`miui.com` is listed by both `Acme` and `Xiaomi`;",
        ),
        (
            "d/browsers.toml",
            acme("").replace("'cdn.example'", "'cdn.example', 'cdn.example'"),
            "d/browsers.toml:1:1: ",
            "is listed by both `Acme` and `Acme`;",
        ),
        (
            "d/browsers.toml",
            acme("").replace("cdn.example", "*.cdn.example"),
            "d/browsers.toml:4:33: ",
            "`*.cdn.example` is not a domain name; write",
        ),
        (
            "d/recipients.toml",
            "\n".to_owned() + &service("A", "['co.uk']"),
            "d/recipients.toml:5:12: ",
            "`co.uk` is a public suffix",
        ),
        (
            "d/recipients.toml",
            service("A", "['a.example']") + &service("B", "['b.example', 'a.example']"),
            "d/recipients.toml:7:1: ",
            "`a.example` is listed by both `B` and `A`;",
        ),
        ("d/recipients.toml", service("A", "[]"), "d/recipients.toml:1:1: ", "has no domain"),
        (
            "d/recipients.toml",
            service("A", "['a.example']").replace("analytics", "spying"),
            "d/recipients.toml:3:12: ",
            "unknown variant `spying`",
        ),
        (
            "d/recipients.toml",
            service("A", "['a.example']").replace("source = 's'", "source = ' '"),
            "d/recipients.toml:6:10: ",
            "the text is empty",
        ),
        (
            "d/vocabularies.toml",
            "[[vocabulary]]\nprefix = 'schema.example'\n".to_owned(),
            "d/vocabularies.toml:2:10: ",
            "with a slash at the end",
        ),
    ] {
        let err = error(&[(file, &text)]);
        assert!(err.starts_with(place) && err.contains(what), "{err}\n{text}");
    }
}

#[test]
fn look_ups_of_hostile_input_are_harmless() {
    let rules = Rules::default();
    let chrome = rules.browser("com.android.chrome");
    for host in [".".repeat(100_000), "a.".repeat(100_000), "\0".into(), "é.google.com".into()] {
        let party = rules.recipient(&host, chrome.map(|chrome| &**chrome));
        assert_eq!((party.maker, party.service), (None, None));
        assert_eq!(rules.browser(&host), None);
    }
}
