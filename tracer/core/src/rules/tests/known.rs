//! Tests of the embedded rules with well-known hosts and applications.

use super::*;
use crate::finding::Category;

/// Returns the category of the service at `host`.
fn category(rules: &Rules, host: &str) -> Option<Category> {
    rules.recipient(host, None).service.map(|service| service.category)
}

#[test]
fn services_that_a_browser_needs_are_not_analytics() {
    use Category::*;
    let rules = Rules::default();
    for (host, expected) in [
        // Updates.
        ("versioncheck-bg.addons.mozilla.org", Updates),
        ("services.addons.mozilla.org", Updates),
        ("crxdownload.brave.com", Updates),
        ("crlsets.brave.com", Updates),
        ("msedge.api.cdp.microsoft.com", Updates),
        ("msedge.b.tlu.dl.delivery.mp.microsoft.com", Updates),
        ("update.vivaldi.com", Updates),
        ("aus1.torproject.org", Updates),
        // Lists of dangerous sites.
        ("safebrowsing2.brave.com", SafeBrowsing),
        ("sb-ssl.brave.com", SafeBrowsing),
        ("nav-edge.smartscreen.microsoft.com", SafeBrowsing),
        ("checkappexec.microsoft.com", SafeBrowsing),
        // Search suggestions, on separate hosts.
        ("ac.ecosia.org", Search),
        ("api.qwant.com", Search),
        ("sug.so.360.cn", Search),
        ("ar.search.yahoo.com", Search),
        ("ac.search.naver.com", Search),
        ("suggest.seznam.cz", Search),
        ("suggests.go.mail.ru", Search),
        ("suggest.search.daum.net", Search),
    ] {
        assert_eq!(category(&rules, host), Some(expected), "{host}");
    }
}

#[test]
fn an_analytics_host_is_distinguished_from_other_hosts_of_its_maker() {
    let rules = Rules::default();
    for (counts, other) in [
        ("improving.duckduckgo.com", "duckduckgo.com"),
        ("p3a.brave.com", "go-updater.brave.com"),
        ("incoming.telemetry.mozilla.org", "aus5.mozilla.org"),
        ("sia.internet.apps.samsung.com", "www.samsung.com"),
        ("mc.yandex.ru", "suggest.yandex.ru"),
        ("applog.uc.cn", "www.uc.cn"),
        ("stat.browser.heytapmobi.com", "www.heytapmobi.com"),
        ("logservice.dt.hihonorcloud.com", "www.honor.com"),
        ("data.mistat.intl.xiaomi.com", "www.mi.com"),
        ("tracking.eu.miui.com", "www.miui.com"),
        ("metrics3.data.hicloud.com", "www.huawei.com"),
    ] {
        assert_eq!(category(&rules, counts), Some(Category::Analytics), "{counts}");
        assert_ne!(category(&rules, other), Some(Category::Analytics), "{other}");
    }
}

/// A host that receives everything of a site does not reveal the purpose of a request.
#[test]
fn a_host_with_many_purposes_is_not_a_service() {
    let rules = Rules::default();
    for host in ["www.facebook.com", "www.mi.com", "www.opera.com", "www.vivo.com", "www.sogou.cn"]
    {
        assert_eq!(category(&rules, host), None, "{host}");
    }
}

#[test]
fn services_that_pages_embed_are_marked() {
    let rules = Rules::default();
    for (application, own, embedded) in [
        ("com.opera.browser", "autoupdate.geo.opera.com", "s.adx.opera.com"),
        ("com.opera.mini.native", "mini5.opera-mini.net", "s-adx.op-mobile.opera.com"),
        ("msedge", "edge.activity.windows.com", "fp.msedge.net"),
        ("com.sec.android.app.sbrowser.lite", "sia.internet.apps.samsung.com", "go.samsungads.com"),
        ("/opt/naver/whale/whale", "update.whale.naver.net", "ssl.pstatic.net"),
        ("com.qihoo.browser", "sug.so.360.cn", "s.360.cn"),
    ] {
        let maker = |host| party(&rules, host, application).0.unwrap_or_default();
        assert!(!maker(own).ends_with('*') && !maker(own).is_empty(), "{own}: {}", maker(own));
        assert!(maker(embedded).ends_with('*'), "{embedded}: {}", maker(embedded));
    }
}

#[test]
fn phone_makers_receive_data_from_their_browsers() {
    let rules = Rules::default();
    for (application, host, maker) in [
        ("com.heytap.browser", "browser-api-in.heytapmobile.com", "OPPO"),
        ("com.nearme.browser", "conn-service-eu-01.allawnos.com", "OPPO"),
        ("com.huawei.browser", "browsercfg-drcn.cloud.dbankcloud.cn", "Huawei"),
        ("com.hihonor.baidu.browser", "log-dre.platform.hihonorcloud.com", "Honor"),
        ("com.mi.globalbrowser", "api.browser.intl.miui.com", "Xiaomi"),
        ("com.tencent.mtt", "wup.html5.qq.com", "Tencent"),
        ("com.tencent.mtt", "qbwup.imtt.qq.com", "Tencent"),
    ] {
        assert_eq!(party(&rules, host, application).0.as_deref(), Some(maker), "{host}");
    }
    // Honor was separated from Huawei, so their hosts have different owners.
    assert_eq!(party(&rules, "dt.hihonorcloud.com", "com.huawei.browser").0, None);
}

#[test]
fn builds_by_other_vendors_are_recognised() {
    let rules = Rules::default();
    for (application, known) in [
        ("/usr/lib/librewolf/librewolf", "LibreWolf"),
        ("/app/opt/waterfox/waterfox-bin", "Waterfox"),
        ("/app/lib/floorp/floorp", "Floorp"),
        ("/opt/zen/zen-bin", "Zen"),
        ("/usr/bin/midori", "Midori"),
        ("/app/extra/chrome", "Chrome"),
        ("/app/chromium/chrome", "Chromium"),
        ("/app/extra/msedge", "Edge"),
        ("/home/a/mullvad-browser/Browser/mullvadbrowser.real", "Mullvad Browser"),
        ("/opt/yandex/browser-beta/yandex_browser", "Yandex Browser"),
        ("org.mozilla.fennec_fdroid", "Firefox builds of others"),
        ("org.ironfoxoss.ironfox", "IronFox"),
        ("app.vanadium.browser", "Vanadium"),
        ("org.bromite.bromite", "Cromite"),
        ("com.brave.browser_dev", "Brave"),
        ("com.yandex.browser.lite", "Yandex Browser"),
        ("com.uc.browser.en", "UC Browser"),
        ("com.quark.browser", "Quark"),
        ("com.amazon.cloud9", "Silk"),
        ("com.coccoc.trinhduyet", "Coc Coc Browser"),
        ("sogou.mobile.explorer", "Sogou Browser"),
        ("com.mx.browser", "Maxthon Browser"),
        ("com.aloha.browser", "Aloha"),
        ("com.mycompany.app.soulbrowser", "Soul Browser"),
        ("mark.via.gg", "Via"),
    ] {
        assert_eq!(name(&rules, application).as_deref(), Some(known), "{application}");
    }
}

/// Firefox's `--private-window` opens one window, beside which ordinary windows can be
/// open. Epiphany's `--private-instance` uses a profile of its own.
#[test]
fn an_argument_that_opens_a_private_window_does_not_make_the_process_private() {
    let rules = Rules::default();
    for (application, argument, private) in [
        ("firefox", "--private-window", None),
        ("firefox-esr", "-private-window", None),
        ("firefox", "--private", Some(true)),
        ("librewolf", "--private-window", None),
        ("librewolf", "-private", Some(true)),
        ("epiphany", "--private-instance", None),
        ("epiphany", "-p", None),
        ("epiphany", "-i", Some(true)),
        ("falkon", "-i", Some(true)),
    ] {
        let browser = rules.browser(application).unwrap();
        assert_eq!(browser.is_private(&[argument]), private, "{application} {argument}");
    }
}

#[test]
fn the_documented_counts_match_the_rules() {
    let rules = Rules::default();
    let (makers, browsers) = (rules.makers().len(), rules.browsers().len());
    let services = rules.services().len();
    let manual = include_str!("../../../../../docs/guides/rules.md");
    for line in [
        format!("browsers.toml (embedded): {makers} makers, {browsers} browsers"),
        format!("recipients.toml (embedded): {services} services"),
    ] {
        assert!(manual.lines().any(|of_manual| of_manual == line), "{line}");
    }
}
