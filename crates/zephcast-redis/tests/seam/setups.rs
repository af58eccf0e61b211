//! Servers of other kinds: TLS, restricted users, a cluster, sentinels.

use std::path::Path;
use std::process::{Command, Stdio};

use zephcast_core::driver::StreamSpec;
use zephcast_redis::Tls;

use crate::member::dead;
use crate::prelude::*;
use crate::server::free_port;

/// One message there and back, once to the dead letters and once more, on whatever this is.
pub(crate) async fn everything_works(config: RedisConfig) {
    let driver = RedisDriver::connect(config).await.expect("a connection");
    let stream = unique_stream("setup");
    publish(&driver, &stream, &messages(2)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let held = member.receive(2).await;
    assert!(member.renew(&held).await.is_empty());
    assert!(member.ack(&held[..1]).await.is_empty());
    assert!(member.other(&held[1], dead(&held[1])).await.is_empty());
    let letters = driver.admin().dead_letters(&stream, &group(), None, 10).await.expect("dead letters");
    driver.admin().redrive(&stream, &group(), letters[0].position).await.expect("redriven");
    let again = member.receive(1).await;
    let later = Disposition::Later {
        delay: Duration::from_millis(20),
        attempts: 1,
        message: Box::new(again[0].message.clone()),
        origin: crate::member::position(&again[0]),
        published_ms: None,
        first_failed_ms: None,
    };
    assert!(member.other(&again[0], later).await.is_empty());
    let again = member.receive(1).await;
    assert_eq!((again[0].attempt, again[0].origin.1), (2, held[1].origin.1));
    let status = driver.group_status(&stream, &group()).await.expect("a status");
    assert_eq!((status.lag, status.in_flight), (Some(1), Some(1)));
    assert!(member.ack(&again).await.is_empty());
    member.leave(&[]).await;
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).current_dir(directory).stderr(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "openssl {arguments:?} failed; it must be installed");
}

/// A root in `NAME.crt`, and a certificate of it for this host in `NAME-server.crt` and `.key`.
pub(crate) fn certificates(directory: &Path, name: &str, host: &str) {
    certificates_for(directory, name, host, "2");
}

/// As [`certificates`], of which the host's is valid for so many days.
pub(crate) fn certificates_for(directory: &Path, name: &str, host: &str, days: &str) {
    let (ca, key) = (format!("{name}.crt"), format!("{name}.key"));
    let (server, server_key, request) =
        (format!("{name}-server.crt"), format!("{name}-server.key"), format!("{name}-server.csr"));
    let extensions = format!("{name}.ext");
    std::fs::write(directory.join(&extensions), format!("subjectAltName={host}\n")).expect("written");
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let mut root = vec!["req", "-x509", "-subj", "/CN=root", "-days", "2", "-keyout", &key, "-out", &ca];
    root.extend(new_key);
    openssl(directory, &root);
    let mut asked = vec!["req", "-subj", "/CN=server", "-keyout", &server_key, "-out", &request];
    asked.extend(new_key);
    openssl(directory, &asked);
    let signed = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &key, "-CAcreateserial", "-days", days];
    let signed = [&signed[..], &["-extfile", &extensions, "-out", &server]].concat();
    openssl(directory, &signed);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_verified_and_distrust_fails_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    certificates(path, "good", "IP:127.0.0.1");
    certificates(path, "stranger", "IP:127.0.0.1");
    certificates(path, "misnamed", "DNS:other.example");
    let file = |name: &str| path.join(name).to_str().unwrap().to_owned();
    let start = |name: &str| {
        let tls_port = free_port();
        let (certificate, key, ca) =
            (file(&format!("{name}-server.crt")), file(&format!("{name}-server.key")), file(&format!("{name}.crt")));
        let port = tls_port.to_string();
        let options = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let options = [&options[..], &["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"]].concat();
        (Server::own(&options), tls_port)
    };
    let (_good, port) = start("good");
    let (_misnamed, misnamed_port) = start("misnamed");
    let config = |port: u16, ca: &str| {
        let url = format!("rediss://127.0.0.1:{port}?tls-ca={}", file(ca));
        RedisConfig::from_url(&url).unwrap().connect_timeout(Duration::from_secs(3))
    };
    everything_works(config(port, "good.crt")).await;
    let system_roots = RedisConfig::new("127.0.0.1", port).tls(Tls::new());
    for untrusted in [config(port, "stranger.crt"), config(misnamed_port, "misnamed.crt"), system_roots] {
        let began = Instant::now();
        let error = RedisDriver::connect(untrusted).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Auth | ErrorKind::InvalidInput), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "at once");
    }
    let began = Instant::now();
    let plain_on_tls = RedisConfig::new("127.0.0.1", port);
    let error = RedisDriver::connect(plain_on_tls).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.to_string().contains("the port speaks TLS: connect with rediss://"), "{error}");
    let tls_on_plain = config(_good.port, "good.crt");
    let error = RedisDriver::connect(tls_on_plain).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.to_string().contains("the port speaks no TLS"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3), "at once");
    let no_such_file = config(port, "absent.crt");
    assert_eq!(RedisDriver::connect(no_such_file).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// What the documentation has an administrator type, for the streams of these cases and another command or key.
fn documented_user(changes: &[&str]) -> Vec<String> {
    let line = include_str!("../../README.md").lines().find(|line| line.starts_with("ACL SETUSER"));
    let word = |word: &str| match word {
        ">PASSWORD" => ">pw".to_owned(),
        "~orders" => "~setup*".to_owned(),
        "~{orders}.*" => "~{setup*".to_owned(),
        word => word.to_owned(),
    };
    let words = line.expect("the line is in the documentation").split(' ').map(word);
    words.chain(changes.iter().map(|word| (*word).to_owned())).collect()
}

fn set_user(server: &Server, changes: &[&str]) {
    let words = documented_user(changes);
    assert_eq!(server.cli(&words.iter().map(String::as_str).collect::<Vec<_>>()), "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_and_a_missing_one_is_named_as_such() {
    let server = Server::own(&[]);
    set_user(&server, &[]);
    everything_works(server.config().user("app").password("pw")).await;

    // Streams are made, trimmed and deleted with the same rights.
    let driver = RedisDriver::connect(server.config().user("app").password("pw")).await.unwrap();
    let stream = unique_stream("setup");
    driver.admin().create_stream(&StreamSpec::new(stream.clone())).await.expect("created");
    driver.admin().trim(&stream).await.expect("trimmed");
    driver.admin().delete_stream(&stream).await.expect("deleted");

    // Another's stream is left out of the list, and the check says that it cannot know.
    server.cli(&["XADD", "another", "*", "data", "x"]);
    let listed = driver.admin().streams().await.expect("listed");
    assert!(listed.iter().all(|status| status.stream.as_str() != "another"), "{listed:?}");
    let check = driver.admin().check().await.unwrap();
    let unknown = check.warnings.iter().find(|warning| warning.kind == "rights_unknown").expect("a warning");
    assert!(unknown.message.contains("XREADGROUP, XGROUP CREATE"), "{unknown:?}");

    // The check knows the same list, and asks for nothing that is not in it.
    set_user(&server, &["+acl"]);
    let driver = RedisDriver::connect(server.config().user("app").password("pw")).await.unwrap();
    let check = driver.admin().check().await.unwrap();
    assert!(check.warnings.iter().all(|warning| warning.kind != "missing_rights"), "{:?}", check.warnings);

    set_user(&server, &["+acl", "-xinfo|consumers"]);
    let driver = RedisDriver::connect(server.config().user("app").password("pw")).await.unwrap();
    let check = driver.admin().check().await.unwrap();
    let missing = check.warnings.iter().find(|warning| warning.kind == "missing_rights").expect("a warning");
    assert!(missing.message.ends_with("may not run XINFO CONSUMERS"), "{missing:?}");

    set_user(&server, &["-xadd"]);
    let driver = RedisDriver::connect(server.config().user("app").password("pw")).await.unwrap();
    let sink = driver.open_sink(&unique_stream("setup"), true).await.unwrap();
    let denied = sink.publish(&messages(1)).await.pop().unwrap().unwrap_err();
    assert_eq!((denied.kind(), denied.is_unknown()), (ErrorKind::PermissionDenied, false));
    let elsewhere = driver.join(Subscription::new(StreamName::new("elsewhere").unwrap(), group())).await;
    assert_eq!(elsewhere.err().unwrap().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_works() {
    // Its second port would lie 10,000 above the first, where the system hands out ports to everybody.
    let second = free_port().to_string();
    let clustered = ["--cluster-enabled", "yes", "--cluster-port", &second, "--cluster-announce-ip", "127.0.0.1"];
    let server = Server::own(&clustered);
    assert_eq!(server.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    let until = Instant::now() + Duration::from_secs(10);
    while !server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
        assert!(Instant::now() < until, "the cluster did not form");
    }
    let url = format!("redis+cluster://127.0.0.1:{}", server.port);
    everything_works(RedisConfig::from_url(&url).unwrap()).await;
    let driver = RedisDriver::connect(RedisConfig::from_url(&url).unwrap()).await.unwrap();
    assert_eq!(driver.admin().streams().await.unwrap().len(), 1);

    let alone = Server::own(&[]);
    let wrong = RedisConfig::cluster([("127.0.0.1".to_owned(), alone.port)]);
    let error = RedisDriver::connect(wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_to_their_primary() {
    let primary = Server::own(&[]);
    let mut sentinel = Server::idle();
    let config = sentinel.directory().join("sentinel.conf");
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1\n", primary.port);
    std::fs::write(&config, monitor).unwrap();
    sentinel.start_with(Some(&config), &["--sentinel"]);
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    everything_works(RedisConfig::from_url(&url).unwrap()).await;
    assert!(primary.cli(&["KEYS", "setup*"]).starts_with("setup"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_refuses_the_password_is_a_refusal_at_once() {
    let primary = Server::own(&[]);
    let mut sentinel = Server::idle();
    let config = sentinel.directory().join("sentinel.conf");
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1\n", primary.port);
    std::fs::write(&config, monitor).unwrap();
    sentinel.start_with(Some(&config), &["--sentinel", "--requirepass", "s3cret"]);
    let url = |rest: &str| format!("redis+sentinel://127.0.0.1:{}/main{rest}", sentinel.port);
    for wrong in ["", "?sentinel-password=canary"] {
        let began = Instant::now();
        let error = RedisDriver::connect(RedisConfig::from_url(&url(wrong)).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    everything_works(RedisConfig::from_url(&url("?sentinel-password=s3cret")).unwrap()).await;
}
