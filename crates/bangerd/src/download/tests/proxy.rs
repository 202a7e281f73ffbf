//! Downloads through a proxy.

use super::server::{Server, reply, whole};
use super::*;

fn proxies(http: &str, https: &str) -> Proxies {
    Proxies::read(|name| match name {
        "http_proxy" => Some(http.into()),
        "https_proxy" => Some(https.into()),
        _ => None,
    })
}

#[test]
fn plain_http_is_fetched_by_the_proxy() {
    let proxy = Server::of(content());
    let address = format!("http://ada:secret@{}", proxy.host());
    let mut world = World::behind(proxies(&address, ""));
    world.succeed(&from(&["http://mirror.example/a/b?c"]));
    let asked = proxy.requests().remove(0);
    assert_eq!(asked.target, "http://mirror.example/a/b?c");
    assert_eq!(asked.header("host"), Some("mirror.example"));
    let login = asked.header("proxy-authorization");
    assert_eq!(login, Some("Basic YWRhOnNlY3JldA=="));
}

#[test]
fn a_proxy_error_is_reported_without_the_password() {
    let proxy = Server::start(|_, _, stream| {
        reply(
            stream,
            "407 Proxy Authentication Required",
            "content-length: 0\r\n",
            b"",
        );
    });
    let address = format!("http://ada:secret@{}", proxy.host());
    let mut world = World::behind(proxies(&address, &address));
    for source in ["http://mirror.example/x", "https://mirror.example/x"] {
        let report = world.fail(&from(&[source]));
        assert!(report.contains("407"), "{report}");
        assert!(!report.contains("secret"), "{report}");
    }
    assert_eq!(proxy.requests()[1].target, "mirror.example:443");
}

#[test]
fn an_unsupported_proxy_is_reported() {
    let mut world = World::behind(proxies("socks5://127.0.0.1:9", "nonsense://x"));
    for source in ["http://mirror.example/x", "https://mirror.example/x"] {
        let report = world.fail(&from(&[source]));
        assert!(report.contains("proxy address"), "{report}");
    }
}

#[test]
fn a_login_is_not_sent_to_another_server() {
    let other = Server::of(content());
    let to = other.url("/file");
    let server = Server::start(move |_, request, stream| match request.target.as_str() {
        "/first" => super::server::redirect(stream, "/second"),
        "/second" => super::server::redirect(stream, &to),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    let source = format!("http://ada:secret@{}/first", server.host());
    let mut world = World::new();
    world.succeed(&from(&[&source]));
    assert!(
        server
            .requests()
            .iter()
            .all(|it| it.header("authorization").is_some())
    );
    assert_eq!(other.requests()[0].header("authorization"), None);
    assert!(world.progress.iter().all(|it| !it.contains("secret")));
}
