//! What something else says that listens where the API should be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use zephcast_core::Error;

use super::server::Stream;
use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// A listener that answers every request, and counts connections.
struct Impostor {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// Bytes, after which it hangs up or not.
type Reply = (Vec<u8>, bool);

impl Impostor {
    /// `reply` is given the path.
    async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                answer(&mut stream, &reply).await;
            }
        });
        Self { address, connections, task }
    }

    fn management(&self) -> Management {
        management(&format!("http://{}", self.address), None)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn management(url: &str, tls: Option<&Tls>) -> Management {
    let endpoint: Endpoint = url.parse().unwrap();
    Management::new(&[endpoint], &user("app"), "/".into(), tls, LIMIT).unwrap()
}

fn user(name: &str) -> Credentials {
    Credentials::Password { user: name.into(), password: "canary".into() }
}

/// Until one of the two hangs up.
async fn answer(stream: &mut impl Stream, reply: &impl Fn(&str) -> Reply) {
    let mut request = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        request.push(byte);
        if request.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8(std::mem::take(&mut request)).unwrap();
            let (bytes, hangs_up) = reply(text.split(' ').nth(1).unwrap());
            if stream.write_all(&bytes).await.is_err() || hangs_up {
                break;
            }
        }
    }
    // It is of no importance whether the other side hears of it.
    let _ = stream.shutdown().await;
}

fn http(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

fn json(status: &str, body: &str) -> Vec<u8> {
    http(status, "application/json", body)
}

/// With what asking for the version fails when this is said.
async fn failure(reply: Vec<u8>) -> Error {
    let impostor = Impostor::start(move |_| (reply.clone(), true)).await;
    let error = impostor.management().version("test").await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(&impostor.address.to_string()) && !shown.contains("canary"), "{shown}");
    error
}

#[tokio::test]
async fn what_is_no_management_api_is_told_apart() {
    for reply in [
        b"AMQP\0\0\x09\x01".to_vec(),
        b"-ERR unknown command 'GET'\r\n".to_vec(),
        http("200 OK", "text/html", "<html>"),
        http("404 Not Found", "text/html", "<html>"),
        http("301 Moved Permanently", "text/html", ""),
        json("404 Not Found", r#"{"error":"Object Not Found","reason":"Not Found"}"#),
    ] {
        let error = failure(reply).await;
        assert_eq!(error.kind(), ErrorKind::Broker, "{error:?}");
        assert!(error.message().contains("not RabbitMQ's management API"), "{error}");
        assert!(error.advice().is_some_and(|advice| advice.contains("`management=")), "{error}");
    }
}

#[tokio::test]
async fn answers_that_are_bad_have_their_kind() {
    let endless = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".to_vec();
    let endless = [endless, vec![b' '; 17 * 1024 * 1024]].concat();
    let cut_off = json("200 OK", r#"{"rabbitmq_version":"3.10.8"}"#);
    let cut_off = cut_off[..cut_off.len() - 5].to_vec();
    let reason = r#"{"error":"bad_request","reason":"line\none"}"#;
    for (reply, kind, part) in [
        (endless, ErrorKind::Broker, "16 MiB"),
        (cut_off, ErrorKind::Unavailable, "hung up"),
        (Vec::new(), ErrorKind::Unavailable, "hung up"),
        (json("200 OK", "{"), ErrorKind::Broker, "not understood"),
        (json("200 OK", "[]"), ErrorKind::Broker, "not understood"),
        (json("200 OK", &"[".repeat(10_000)), ErrorKind::Broker, "not understood"),
        (json("400 Bad Request", reason), ErrorKind::Broker, "(line one)"),
        (http("500 Internal Server Error", "text/plain", ""), ErrorKind::Broker, "500"),
        (http("502 Bad Gateway", "text/html", "<html>"), ErrorKind::Unavailable, "502"),
        (json("401 Unauthorized", ""), ErrorKind::Auth, "credentials"),
        (json("401 Unauthorized", r#"{"error":"not_authorized"}"#), ErrorKind::Auth, "credentials"),
        (json("401 Unauthorized", r#"{"error":"not_authorised"}"#), ErrorKind::PermissionDenied, "`monitoring`"),
        (http("403 Forbidden", "text/html", ""), ErrorKind::PermissionDenied, "`monitoring`"),
    ] {
        let error = failure(reply).await;
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_good_connection_is_kept_and_a_closed_one_made_anew() {
    let version = || json("200 OK", r#"{"rabbitmq_version":"3.10.8"}"#);
    let impostor = Impostor::start(move |_| (version(), false)).await;
    let management = impostor.management();
    for _ in 0..3 {
        assert_eq!(management.version("test").await.unwrap(), "3.10.8");
    }
    assert_eq!(impostor.connections(), 1);

    let impostor = Impostor::start(move |_| (version(), true)).await;
    let management = impostor.management();
    for n in 1..=3 {
        assert_eq!(management.version("test").await.unwrap(), "3.10.8");
        assert_eq!(impostor.connections(), n);
    }
}

/// A place where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// One that takes connections and says nothing.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn who_cannot_be_reached_is_passed_over() {
    let version = || json("200 OK", r#"{"rabbitmq_version":"3.10.8"}"#);
    let away = Impostor::start(|_| (http("503 Service Unavailable", "text/html", ""), false)).await;
    let good = Impostor::start(move |_| (version(), true)).await;
    let (_listener, silent) = silent().await;
    let urls = format!("http://{},{silent},{},{}", nobody().await, away.address, good.address);
    let endpoint: Endpoint = urls.parse().unwrap();
    let soon = Duration::from_millis(200);
    let management = Management::new(&[endpoint], &user("app"), "/".into(), None, soon).unwrap();
    for n in 1..=3 {
        assert_eq!(management.version("test").await.unwrap(), "3.10.8");
        // The one that answered is asked first from then on.
        assert_eq!((away.connections(), good.connections()), (1, n));
    }
}

#[tokio::test]
async fn where_none_can_be_reached_each_is_asked_once_and_the_last_one_is_named() {
    let away = || Impostor::start(|_| (http("502 Bad Gateway", "text/html", ""), false));
    let (one, other, nobody) = (away().await, away().await, nobody().await);
    let endpoints = [one.address, other.address, nobody].map(|at| format!("http://{at}").parse::<Endpoint>().unwrap());
    let management = Management::new(&endpoints, &user("app"), "/".into(), None, LIMIT).unwrap();
    let error = management.version("test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains(&nobody.to_string()), "{error}");
    assert!(error.advice().is_some_and(|advice| advice.contains("rabbitmq_management")), "{error}");
    assert_eq!((one.connections(), other.connections()), (1, 1));
}

#[tokio::test]
async fn who_refuses_is_believed() {
    let refusing = Impostor::start(|_| (json("401 Unauthorized", ""), false)).await;
    let good = Impostor::start(|_| (json("200 OK", r#"{"rabbitmq_version":"3.10.8"}"#), false)).await;
    let management = management(&format!("http://{},{}", refusing.address, good.address), None);
    let error = management.version("test").await.unwrap_err();
    assert_eq!((error.kind(), good.connections()), (ErrorKind::Auth, 0), "{error}");
    assert!(error.message().contains(&refusing.address.to_string()), "{error}");
}

#[tokio::test]
async fn a_question_that_is_given_up_leaves_nothing_behind() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let management = management(&format!("http://{}", silent.local_addr().unwrap()), None);
    let mut stream = tokio::select! {
        answer = management.version("test") => panic!("{answer:?}"),
        asked = async {
            let mut stream: TcpStream = silent.accept().await.unwrap().0;
            stream.read_u8().await.unwrap();
            stream
        } => asked,
    };
    // What was asked, and then the end.
    let rest = tokio::time::timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await;
    rest.expect("the connection was closed").unwrap();
}

#[tokio::test]
async fn names_arrive_escaped_and_pages_are_asked_for_until_the_last() {
    let paths = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = paths.clone();
    let impostor = Impostor::start(move |path| {
        seen.lock().unwrap().push(path.to_owned());
        let page = |n: u32| format!(r#"{{"items":[{{"name":"a/{n}"}},{{"name":"other"}}],"page_count":3}}"#);
        match path {
            path if path.contains("page=1&") => (json("200 OK", &page(1)), false),
            path if path.contains("page=2&") => (json("200 OK", &page(2)), false),
            // One was deleted meanwhile.
            _ => (json("400 Bad Request", r#"{"error":"page_out_of_range","reason":"..."}"#), false),
        }
    })
    .await;
    let management = management(&format!("http://{}/mq", impostor.address), None);
    let queues = management.queues("test", "a/").await.unwrap();
    assert_eq!(queues, ["a/1", "a/2"]);
    let paths = paths.lock().unwrap();
    assert_eq!(paths.len(), 3);
    let begin = "/mq/api/queues/%2F?page=1&page_size=500&name=%5Ea%5C%2F&use_regex=true&";
    assert!(paths[0].starts_with(begin), "{paths:?}");
}

#[tokio::test]
async fn a_list_without_an_end_is_not_read_for_ever() {
    let page = |name: &str| json("200 OK", &format!(r#"{{"items":[{{"name":"{name}"}}],"page_count":{}}}"#, u64::MAX));
    for (page, most) in [(page("a/1"), 2_000), (page(&"a".repeat(15 * 1024 * 1024)), 9)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let impostor = Impostor::start(move |_| {
            // Whoever goes on is told a last one, so that the test ends.
            match count.fetch_add(1, Ordering::Relaxed) < 3_000 {
                true => (page.clone(), false),
                false => (json("400 Bad Request", r#"{"error":"page_out_of_range"}"#), false),
            }
        })
        .await;
        let error = impostor.management().queues("test", "a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broker, "{error:?}");
        assert!(error.message().contains("does not end"), "{error}");
        assert!(error.message().contains(&impostor.address.to_string()), "{error}");
        assert_eq!(asked.load(Ordering::Relaxed), most);
    }
}

#[test]
fn what_cannot_be_used_is_refused_and_no_secret_is_shown() {
    let new = |url: &str, name: &str| {
        let endpoint: Endpoint = url.parse().unwrap();
        Management::new(&[endpoint], &user(name), "/".into(), None, LIMIT)
    };
    for (url, part) in [("amqp://h", "amqp"), ("http://", "host"), ("http://h?tls-ca=/x", "tls-ca")] {
        let error = new(url, "app").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!(new("http://h", "a:b").unwrap_err().kind(), ErrorKind::InvalidInput);
    let none = Management::new(&[], &user("app"), "/".into(), None, LIMIT).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidInput);
    let management = new("http://other:canary@h:1,[::1]/base", "app").unwrap();
    assert_eq!(format!("{management:?}"), r#"Management { server: "h:1, [::1]:80", vhost: "/", .. }"#);
    assert_eq!(management.requests.server().login("test").unwrap().user, "other");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_is_verified() {
    use integration_tests::certificates::{Authority, LOOPBACK, Validity};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let certificate = authority.issue("server", LOOPBACK, Validity::Good).unwrap();
    let chain = CertificateDer::pem_file_iter(certificate.chain()).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                answer(&mut stream, &|_| (json("200 OK", r#"{"rabbitmq_version":"4.0.5"}"#), true)).await;
            }
        }
    });
    let trusting = |authority: &Authority| management(&url, Some(&Tls::new().ca(authority.certificate())));
    assert_eq!(trusting(&authority).version("test").await.unwrap(), "4.0.5");
    let error = trusting(&stranger).version("test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    let without = management(&url.replace("https", "http"), None).version("test").await.unwrap_err();
    assert_eq!(without.kind(), ErrorKind::Broker, "{without:?}");
    task.abort();

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    });
    let error = management(&url, Some(&Tls::new().ca(authority.certificate()))).version("test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broker, "{error:?}");
    assert!(error.message().contains("no TLS"), "{error}");
    drop(task.await.unwrap());
}
