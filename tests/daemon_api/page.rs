//! The page's headers. `.ci/page` tests the page itself in a browser.

use crate::support::daemon_api::DaemonApi;
use crate::support::http::get;

#[test]
fn the_page_loads_nothing_from_elsewhere_and_may_not_be_framed() {
    let api = DaemonApi::start(0);
    let page = get(api.http, "/");
    let policy = page.header("content-security-policy").expect("a policy");
    for rule in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(rule), "{rule} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
}
