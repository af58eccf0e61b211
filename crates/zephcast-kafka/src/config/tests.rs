use std::time::SystemTime;

use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::BaseProducer;
use zephcast_core::{GroupName, MemberName, StreamName};

use super::*;

const LEASE: Duration = Duration::from_secs(30);

fn one() -> KafkaConfig {
    KafkaConfig::new("h", 1)
}

fn refused(config: &KafkaConfig, part: &str) -> Error {
    let error = config.validate("connect").expect_err(part);
    assert!(error.to_string().contains(part), "{error}");
    error
}

fn names(group: &str, member: &str) -> (GroupName, MemberName) {
    (group.parse().unwrap(), member.parse().unwrap())
}

fn token() -> OauthToken {
    OauthToken::new("canary", SystemTime::now() + LEASE)
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_sent() {
    let nobody: [(String, u16); 0] = [];
    for (config, part) in [
        (KafkaConfig::brokers(nobody), "at least one"),
        (KafkaConfig::new("", 1), "a host"),
        (KafkaConfig::new("a,b", 1), "a name or an address"),
        (one().connect_timeout(Duration::ZERO), "timeout"),
        (one().request_timeout(Duration::ZERO), "request timeout"),
        (one().commit_interval(Duration::ZERO), "commit interval"),
        (one().linger(Duration::from_secs(901)), "linger"),
        (one().max_message_bytes(60_000_001), "payload"),
        (one().max_poll_interval(Duration::ZERO), "max poll interval"),
        (one().password("canary"), "needs a user"),
        (one().sasl(Sasl::Plain), "needs a user"),
        (one().user("u"), "a password"),
        (one().user("").password("canary"), "a name"),
        (one().user("u").password("canary").sasl(Sasl::Plain), "clear text"),
        (one().user("u").password("canary").sasl(Sasl::OauthBearer), "token provider"),
        (one().token_provider(|| Ok(token())), "clear text"),
        (one().user("u").token_provider(|| Ok(token())), "not both"),
        (one().tls(Tls::new()).sasl(Sasl::Plain).token_provider(|| Ok(token())), "OAUTHBEARER alone"),
    ] {
        let error = refused(&config, part);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{part}");
        assert!(!format!("{error} {error:?} {config:?}").contains("canary"), "{error:?} {config:?}");
    }
}

#[test]
fn groups_by_stream_are_told_apart_and_found_again() {
    let config = one().groups_by_stream(true);
    let pairs = [("a", "x.y"), ("a.x", "y"), ("a", "x:y")]
        .map(|(stream, group)| (StreamName::new(stream).expect("a name"), GroupName::new(group).expect("a name")));
    for (stream, group) in &pairs {
        let id = config.group_id(stream, group);
        let owners = pairs.iter().filter(|(other, _)| config.group_of(other, &id).is_some_and(|found| found == *group));
        assert!(owners.clone().all(|(other, _)| other == stream) && owners.count() > 0, "{id}");
    }
}

#[test]
fn properties_that_would_break_a_promise_are_refused() {
    for name in [
        "bootstrap.servers",
        "metadata.broker.list",
        "security.protocol",
        "sasl.password",
        "sasl.kerberos.kinit.cmd",
        "ssl.endpoint.identification.algorithm",
        "enable.ssl.certificate.verification",
        "ssl.ca.location",
        "plugin.library.paths",
        "ssl.engine.location",
        "client.id",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "partition.assignment.strategy",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "socket.timeout.ms",
        "max.poll.interval.ms",
        "linger.ms",
        "delivery.timeout.ms",
        "acks",
        "enable.idempotence",
        "transactional.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "offset.store.method",
        "auto.offset.reset",
        "isolation.level",
        "allow.auto.create.topics",
        "log.queue",
        "test.mock.num.brokers",
    ] {
        let error = refused(&one().tls(Tls::new()).property(name, "canary"), &format!("{name:?} cannot be set: "));
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    for (name, value, part) in [
        ("fetch.min.byte", "1", "No such configuration property"),
        ("fetch.min.bytes", "0", "outside allowed range"),
        ("compression.type", "best", "compression.type"),
        ("ssl.key.password", "canary", "without TLS"),
        ("rebalance_cb", "1", "rebalance_cb"),
        ("client.rack", "a\0b", "cannot be used"),
    ] {
        let error = refused(&one().property(name, value), part);
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
}

#[test]
fn properties_are_taken_and_shown_by_name_alone() {
    let config = one().property("compression.type", "zstd").property("client.rack", "b").property("client.rack", "a");
    config.validate("connect").unwrap();
    let native = config.client_config().create_native_config().unwrap();
    assert_eq!(
        (native.get("compression.type").unwrap(), native.get("client.rack").unwrap()),
        ("zstd".into(), "a".into())
    );
    let shown = format!("{:?}", one().tls(Tls::new()).property("ssl.key.password", "canary"));
    assert!(shown.contains("ssl.key.password") && !shown.contains("canary"), "{shown}");
    let (group, member) = names("g", "m");
    let member = config.property("queued.max.messages.kbytes", "1").member_config(group.as_str(), &member, LEASE);
    assert_eq!(member.get("queued.max.messages.kbytes"), Some("1"));
}

#[test]
fn the_library_takes_every_way_to_log_in() {
    let secure = || one().tls(Tls::new());
    for (config, protocol, mechanism) in [
        (one(), "plaintext", None),
        (secure(), "ssl", None),
        (one().user("u").password("p"), "sasl_plaintext", Some("SCRAM-SHA-512")),
        (secure().user("u").password("p").sasl(Sasl::Plain), "sasl_ssl", Some("PLAIN")),
        (secure().user("u").password("p").sasl(Sasl::ScramSha256), "sasl_ssl", Some("SCRAM-SHA-256")),
        (secure().token_provider(|| Ok(token())), "sasl_ssl", Some("OAUTHBEARER")),
    ] {
        config.validate("connect").unwrap();
        let native = config.client_config();
        assert_eq!((native.get("security.protocol"), native.get("sasl.mechanism")), (Some(protocol), mechanism));
        let password = config.user.as_ref().map(|_| "p");
        assert_eq!(native.get("sasl.password"), password);
        let _: BaseProducer = native.create().expect(protocol);
        if config.tls.is_some() {
            let native = native.create_native_config().unwrap();
            assert_eq!(native.get("ssl.endpoint.identification.algorithm").unwrap(), "https");
            assert_eq!(native.get("enable.ssl.certificate.verification").unwrap(), "true");
        }
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    for (tls, part) in [
        (Tls::new().ca("/nowhere/ca.pem"), "/nowhere/ca.pem cannot be read"),
        (Tls::new().ca("Cargo.toml").identity("/nowhere/chain.pem", "Cargo.toml"), "/nowhere/chain.pem cannot be read"),
    ] {
        let error = one().tls(tls).validate_files("connect").expect_err(part);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(part), "{error}");
    }
    let config = one().tls(Tls::new().ca("Cargo.toml"));
    config.validate_files("connect").unwrap();
    let refusal = config.client_config().create::<BaseProducer>().map(drop).expect_err("no certificate");
    let error = crate::error::translate("connect", refusal);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("ssl.ca.location"), "{error}");
}

#[test]
fn the_library_takes_a_member_of_every_protocol() {
    let (group, member) = names("bílling", "mémber@1");
    let classic = [("session.timeout.ms", "30000"), ("heartbeat.interval.ms", "1000")];
    for (protocol, strategy) in [
        (GroupProtocol::Classic, Some("cooperative-sticky")),
        (GroupProtocol::Eager, Some("range,roundrobin")),
        (GroupProtocol::Consumer, None),
    ] {
        for static_membership in [false, true] {
            let config = one().group_protocol(protocol).static_membership(static_membership);
            config.validate_member("join", &member, LEASE).unwrap();
            let native = config.member_config(group.as_str(), &member, LEASE);
            assert_eq!((native.get("group.id"), native.get("client.id")), (Some("bílling"), Some("mémber@1")));
            let instance = static_membership.then_some("m_xC3_xA9mber_x401");
            assert_eq!(native.get("group.instance.id"), instance);
            assert_eq!(native.get("partition.assignment.strategy"), strategy);
            for (name, value) in classic {
                assert_eq!(native.get(name), strategy.map(|_| value), "{protocol:?} {name}");
            }
            let promised = [
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "earliest"),
                ("isolation.level", "read_committed"),
                ("allow.auto.create.topics", "false"),
            ];
            for (name, value) in promised {
                assert_eq!(native.get(name), Some(value), "{name}");
            }
            let _: BaseConsumer = native.create().unwrap_or_else(|refusal| panic!("{protocol:?}: {refusal}"));
        }
    }
}

#[test]
fn a_lease_and_a_poll_interval_fit_together() {
    let (group, member) = names("g", "m");
    for lease in [Duration::from_millis(500), Duration::from_secs(1), LEASE, Duration::from_secs(300)] {
        one().validate_member("join", &member, lease).unwrap();
        let _: BaseConsumer = one().member_config(group.as_str(), &member, lease).create().unwrap();
    }
    let short = one().max_poll_interval(Duration::from_secs(20));
    for (config, lease, part) in [
        (short.clone(), LEASE, "max poll interval of 20s"),
        (one(), Duration::from_secs(301), "max poll interval of 300s"),
        (one().max_poll_interval(Duration::from_secs(7_200)), Duration::from_secs(3_601), "at most 3600s"),
    ] {
        let error = config.validate_member("join", &member, lease).expect_err(part);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(part), "{error}");
    }
    short.group_protocol(GroupProtocol::Consumer).validate_member("join", &member, LEASE).unwrap();
    let (_, long) = names("g", &"é".repeat(42));
    let error = one().static_membership(true).validate_member("join", &long, LEASE).expect_err("too long");
    assert!(error.to_string().contains("at most 249 bytes"), "{error}");
}

#[test]
fn the_environment_is_read_or_refused() {
    let read = |variables: &[(&str, &str)]| {
        KafkaConfig::from_variables(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).into()))
    };
    let url = read(&[("KAFKA_URL", "kafka://a:1"), ("KAFKA_BOOTSTRAP_SERVERS", "b:2")]).unwrap();
    assert_eq!(url.servers(), "a:1");
    let servers = ("KAFKA_BOOTSTRAP_SERVERS", "a:1, [::1]:2,c");
    let plain = read(&[servers, ("KAFKA_URL", ""), ("KAFKA_SSL_CA_LOCATION", "")]).unwrap();
    assert_eq!((plain.servers().as_str(), plain.tls, plain.user), ("a:1,[::1]:2,c:9092", None, None));
    let secure = read(&[
        servers,
        ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
        ("KAFKA_SASL_MECHANISM", "scram-sha-256"),
        ("KAFKA_SASL_USERNAME", "app"),
        ("KAFKA_SASL_PASSWORD", "canary"),
        ("KAFKA_SSL_CA_LOCATION", "/ca"),
        ("KAFKA_SSL_CERTIFICATE_LOCATION", "/c"),
        ("KAFKA_SSL_KEY_LOCATION", "/k"),
        ("KAFKA_SSL_KEY_PASSWORD", "canary"),
    ])
    .unwrap();
    assert_eq!((secure.user.as_deref(), secure.sasl), (Some("app"), Some(Sasl::ScramSha256)));
    assert_eq!(secure.tls, Some(Tls::new().ca("/ca").identity("/c", "/k")));
    assert_eq!(secure.secrets().collect::<Vec<_>>(), ["canary", "canary"]);

    let protocol = |name| ("KAFKA_SECURITY_PROTOCOL", name);
    let (user, password) = (("KAFKA_SASL_USERNAME", "u"), ("KAFKA_SASL_PASSWORD", "canary"));
    for (variables, part) in [
        (vec![], "neither KAFKA_URL nor KAFKA_BOOTSTRAP_SERVERS"),
        (vec![("KAFKA_BOOTSTRAP_SERVERS", ",")], "at least one"),
        (vec![("KAFKA_BOOTSTRAP_SERVERS", "u:canary@h:1")], "HOST:PORT"),
        (vec![servers, protocol("TLS")], "KAFKA_SECURITY_PROTOCOL is"),
        (vec![servers, user], "KAFKA_SASL_USERNAME is set"),
        (vec![servers, protocol("SSL"), ("KAFKA_SASL_PASSWORD", "canary")], "KAFKA_SASL_PASSWORD is set"),
        (vec![servers, ("KAFKA_SSL_CA_LOCATION", "/ca")], "KAFKA_SSL_CA_LOCATION is set"),
        (vec![servers, protocol("SASL_SSL")], "KAFKA_SASL_USERNAME is not set"),
        (vec![servers, protocol("SSL"), ("KAFKA_SSL_KEY_LOCATION", "/k")], "stand together"),
        (vec![servers, protocol("SASL_PLAINTEXT"), user], "a password"),
        (vec![servers, protocol("SASL_PLAINTEXT"), user, password, ("KAFKA_SASL_MECHANISM", "PLAIN")], "clear text"),
    ] {
        let error = read(&variables).expect_err(part);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}
