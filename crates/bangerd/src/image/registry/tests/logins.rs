//! Tokens and logins.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::download::tests::server::redirect;

/// A registry that wants a token for this login, and proposes one for another repository.
fn guarded(content: Content, login: Option<&str>, lifetime: u64) -> Server {
    let login = login.map(|it| format!("Basic {}", BASE64_STANDARD.encode(it)));
    Server::start(move |number, request, stream| {
        let authorization = request.header("authorization");
        if let Some(query) = request.target.strip_prefix("/token?") {
            assert_eq!(
                query,
                "service=my%20registry&scope=repository:ada/tool:pull"
            );
            if login.as_deref() != authorization {
                return reply(stream, "401 Unauthorized", "content-length: 0\r\n", b"");
            }
            let body = format!(r#"{{"token": "t0ken-{number}", "expires_in": {lifetime}}}"#);
            let length = format!("content-length: {}\r\n", body.len());
            return reply(stream, "200 OK", &length, body.as_bytes());
        }
        if authorization.is_some_and(|it| it.starts_with("Bearer t0ken-")) {
            return content.answer(request, stream);
        }
        let host = request.header("host").unwrap();
        let challenge = format!(
            "www-authenticate: Bearer realm=\"http://{host}/token\",service=\"my registry\",scope=\"repository:other/tool:pull\"\r\ncontent-length: 0\r\n"
        );
        reply(stream, "401 Unauthorized", &challenge, b"");
    })
}

#[test]
fn a_token_is_got_where_the_registry_says_and_is_never_shown() {
    let server = guarded(Content::image("latest"), None, 300);
    let mut world = World::new();
    assert_is_whole(&world.pull(&server, "").unwrap());
    let asked = server.requests();
    assert_eq!(
        asked
            .iter()
            .filter(|it| it.target.starts_with("/token"))
            .count(),
        1
    );
    let report = world.fail(&server, ":nosuch");
    assert!(!(world.told() + &report).contains("t0ken"), "{report}");
    assert!(report.contains("docker login"), "{report}");
}

#[test]
fn a_token_that_has_ended_is_replaced_and_the_download_resumes() {
    let content = Content::image("latest");
    let tokens = guarded(content.clone(), None, 0);
    let host = tokens.host();
    let server = Server::start(move |_, request, stream| {
        let authorization = request.header("authorization").unwrap_or_default();
        let is_layer = request.target == blob_of_layer();
        match (authorization, is_layer, request.from()) {
            ("", _, _) => {
                let challenge = format!(
                    "www-authenticate: Bearer realm=\"http://{host}/token\",service=\"my registry\"\r\ncontent-length: 0\r\n"
                );
                reply(stream, "401 Unauthorized", &challenge, b"");
            }
            (_, true, 0) => cut(stream, &layer(), 1000, "\"v1\""),
            // The token of the first request, again.
            ("Bearer t0ken-2", true, _) => {
                reply(stream, "401 Unauthorized", "content-length: 0\r\n", b"");
            }
            _ => content.answer(request, stream),
        }
    });
    assert_is_whole(&World::new().pull(&server, "").unwrap());
    let requests = server.requests();
    let of_layer = requests.iter().filter(|it| it.target == blob_of_layer());
    let from: Vec<usize> = of_layer.map(Request::from).collect();
    assert_eq!(from, [0, 1000, 1000]);
}

/// A registry that lets anybody with a token read its manifests, and answers requests for its layer as
/// `of_layer` says, which gets the number of the token. Each token lasts for `lifetime` seconds by its own
/// words.
fn registry_of_layer(
    lifetime: u64,
    of_layer: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static,
) -> Server {
    let content = Content::image("latest");
    let given = AtomicUsize::new(0);
    Server::start(move |_, request, stream| {
        if request.target.starts_with("/token") {
            let number = given.fetch_add(1, Ordering::SeqCst);
            let body = format!(r#"{{"token": "t0ken-{number}", "expires_in": {lifetime}}}"#);
            let length = format!("content-length: {}\r\n", body.len());
            return reply(stream, "200 OK", &length, body.as_bytes());
        }
        let authorization = request.header("authorization").unwrap_or_default();
        let Some(number) = authorization.strip_prefix("Bearer t0ken-") else {
            let host = request.header("host").unwrap();
            let challenge = format!(
                "www-authenticate: Bearer realm=\"http://{host}/token\"\r\ncontent-length: 0\r\n"
            );
            return reply(stream, "401 Unauthorized", &challenge, b"");
        };
        match request.target == blob_of_layer() {
            true => of_layer(number.parse().unwrap(), request, stream),
            false => content.answer(request, stream),
        }
    })
}

fn refuse(stream: &mut TcpStream, status: &str) {
    reply(stream, status, "content-length: 0\r\n", b"");
}

/// The numbers of requests for the layer and for tokens.
fn counts(server: &Server) -> (usize, usize) {
    let asked = server.requests();
    let of_layer = asked.iter().filter(|it| it.target == blob_of_layer());
    let tokens = asked.iter().filter(|it| it.target.starts_with("/token"));
    (of_layer.count(), tokens.count())
}

#[test]
fn a_token_that_ends_before_its_time_is_replaced() {
    let server = registry_of_layer(3600, |token, request, stream| match token {
        0 => refuse(stream, "401 Unauthorized"),
        1 => cut(stream, &layer(), 1000, "\"v1\""),
        _ => whole(request, stream, &layer(), "\"v1\""),
    });
    let mut world = World::new();
    // The second token is cut off again and again, but is not refused.
    let report = world.fail(&server, "");
    assert!(report.contains("closed the connection early"), "{report}");
    let server = registry_of_layer(3600, |token, request, stream| {
        match (token, request.from()) {
            (0, _) | (1, 1000) => refuse(stream, "401 Unauthorized"),
            (1, _) => cut(stream, &layer(), 1000, "\"v1\""),
            _ => whole(request, stream, &layer(), "\"v1\""),
        }
    });
    assert_is_whole(&World::new().pull(&server, "").unwrap());
    assert_eq!(counts(&server), (4, 3));
}

#[test]
fn a_layer_that_is_refused_for_good_is_given_up_and_the_login_is_what_helps() {
    for (status, counted) in [("401 Unauthorized", (4, 4)), ("403 Forbidden", (1, 1))] {
        let server = registry_of_layer(3600, move |_, _, stream| refuse(stream, status));
        let report = World::new().fail(&server, "");
        assert!(report.contains(&status[..3]), "{report}");
        assert!(report.contains("docker login"), "{report}");
        assert!(!report.contains("PASSWORD"), "{report}");
        assert_eq!(counts(&server), counted);
    }
}

#[test]
fn a_layer_that_lies_is_fetched_once_however_short_tokens_live() {
    let server = registry_of_layer(0, |_, request, stream| {
        whole(request, stream, &vec![0; layer_length()], "\"v1\"");
    });
    let report = World::new().fail(&server, "");
    assert!(report.contains("SHA-256"), "{report}");
    assert_eq!(counts(&server).0, 1);
}

#[test]
fn the_login_goes_to_its_registry_and_to_no_other_server() {
    let login = "ada:s3cret";
    let mut world = World::new();
    let report = world.fail(&guarded(Content::image("latest"), Some(login), 300), "");
    assert!(report.contains("it gives anybody none"), "{report}");
    assert!(report.contains("docker login"), "{report}");
    let content = Content::image("latest");
    let store = Server::of(Box::leak(layer().into_boxed_slice()));
    let elsewhere = store.url("/somewhere?signature=s1gned");
    let registry = Server::start(move |_, request, stream| {
        let expected = format!("Basic {}", BASE64_STANDARD.encode(login));
        if request.header("authorization") != Some(&expected) {
            let challenge = "www-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\n";
            return reply(stream, "401 Unauthorized", challenge, b"");
        }
        if request.target == blob_of_layer() {
            return redirect(stream, &elsewhere);
        }
        content.answer(request, stream);
    });
    let folder = tempfile::tempdir().unwrap();
    let auth = BASE64_STANDARD.encode(login);
    let file = format!(
        r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
        registry.host()
    );
    std::fs::write(folder.path().join("config.json"), file).unwrap();
    world.logins = Logins::read(|name| (name == "DOCKER_CONFIG").then(|| folder.path().into()));
    assert_is_whole(&world.pull(&registry, "").unwrap());
    let elsewhere = &store.requests()[0];
    assert!(elsewhere.target.contains("s1gned"));
    assert_eq!(elsewhere.header("authorization"), None);
    for secret in ["s3cret", &auth, "s1gned"] {
        assert!(!world.told().contains(secret), "{}", world.told());
    }
}
