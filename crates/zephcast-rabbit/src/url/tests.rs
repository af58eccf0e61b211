use proptest::prelude::*;
use zephcast_core::ErrorKind;

use super::*;

#[test]
fn reads_every_part() {
    let url = "amqp://app:s%20p@[::1]:7000,b/shop%2fa?management=http://h:1&heartbeat=5&queue=shared&exchange=direct\
               &binding=a.%23,b&queue-type=classic&max-priority=5&consumer-priority=-2&topology=check";
    let config = RabbitConfig::from_url(url).unwrap();
    assert_eq!(config.servers(), "[::1]:7000,b:5672");
    assert_eq!((config.vhost.as_str(), config.heartbeat), ("shop/a", Duration::from_secs(5)));
    assert_eq!(config.queue.as_deref(), Some("shared"));
    assert_eq!(management(&config), ["http://h:1"]);
    assert_eq!((config.exchange, config.queue_type), (Exchange::Direct, QueueType::Classic));
    assert_eq!(config.bindings, [Binding::key("a.#"), Binding::key("b")]);
    assert_eq!((config.max_priority, config.consumer_priority), (Some(5), -2));
    assert_eq!(config.topology, Topology::Check);
}

#[test]
fn a_binding_may_have_arguments_of_every_type() {
    let arguments = r#"binding-arguments={"x-match":"any","paid":true,"size":-3,"format":null}"#;
    let read = |query: &str| RabbitConfig::from_url(&format!("amqp://h?exchange=headers&{query}")).unwrap().bindings;
    let all = |binding: Binding| {
        binding
            .argument("x-match", "any")
            .argument("paid", true)
            .argument("size", -3)
            .argument("format", BindingValue::Any)
    };
    assert_eq!(read(arguments), [all(Binding::default())]);
    assert_eq!(read(&format!("binding=a,b&{arguments}")), [all(Binding::key("a")), all(Binding::key("b"))]);
}

/// Each as scheme, hosts and path.
fn management(config: &RabbitConfig) -> Vec<String> {
    let host = |(name, port): &(String, Option<u16>)| format!("{name}:{}", port.unwrap_or_default());
    let shown = config.management.iter().map(|url| {
        let hosts = url.hosts().iter().map(host).collect::<Vec<_>>().join(",");
        format!("{}://{hosts}{}", url.scheme(), if url.path().is_empty() { "" } else { "/.." })
    });
    shown.collect()
}

#[test]
fn the_management_may_be_at_several_places() {
    let read = |value: &str| RabbitConfig::from_url(&format!("amqp://h?management={value}")).unwrap();
    assert_eq!(management(&read("http://a:1,b:2,[::1]:3")), ["http://a:1,b:2,::1:3"]);
    assert_eq!(
        management(&read("http://a:1,https://b:2/mq,http://c:3,d:4")),
        ["http://a:1", "https://b:2/..", "http://c:3,d:4"]
    );
    let shared = read("http://app:s,x%40a:1,b:2");
    assert_eq!(management(&shared), ["http://a:1,b:2"]);
    assert_eq!(shared.management[0].user(), Some("app"));
    assert!(!format!("{shared:?}").contains("s,x"), "{shared:?}");
}

#[test]
fn has_the_usual_defaults() {
    let config = RabbitConfig::from_url("amqp://").unwrap();
    assert_eq!((config.servers().as_str(), config.vhost.as_str()), ("localhost:5672", "/"));
    assert_eq!(format!("{:?}", config.credentials), "guest:***");
    assert_eq!(RabbitConfig::from_url("amqps://h").unwrap().servers(), "h:5671");
    assert_eq!(RabbitConfig::from_url("amqp://h/%2f").unwrap().vhost, "/");
}

#[test]
fn says_what_is_wrong() {
    for (url, part) in [
        ("http://h", "no scheme of RabbitMQ"),
        ("amqp://h?x=1", "unknown key"),
        ("amqp://h/#x", "fragment"),
        ("amqp://h?tls-ca=/x", "unknown key"),
        ("amqp://h?auth=external", "amqps"),
        ("amqps://u:p@h?auth=external", "certificate"),
        ("amqp://h?auth=magic", "`plain` or `external`"),
        ("amqp://h?exchange=x", "one of `topic`"),
        ("amqp://h?queue-type=mirrored", "one of `quorum`"),
        ("amqp://h?exclusive-consumer=true", "only a classic queue"),
        ("amqp://h?queue-type=stream&max-length=1", "a stream queue"),
        ("amqp://h?exchange=default&binding=a", "nothing is bound"),
        (r#"amqp://h?binding-arguments={"format":"pdf"}"#, "exchange=headers"),
        ("amqp://h?exchange=headers&binding-arguments=format:pdf", "is a JSON object"),
        (r#"amqp://h?exchange=headers&binding-arguments={"size":1.5}"#, "is a JSON object"),
        (r#"amqp://h?exchange=headers&binding-arguments={"of":{"a":1}}"#, "is a JSON object"),
        ("amqp://h?exchange=headers&binding-arguments={}", "by headers"),
        ("amqp://h?exchange=fanout&binding=a", "leave the bindings away"),
        ("amqp://h?exchange=x-consistent-hash&binding=2,a", "a weight"),
        ("amqp://h?alternate-exchange=", "not empty"),
        ("amqp://h?message-ttl=4294967296", "4294967295 ms"),
        ("amqp://h?heartbeat=0", "heartbeat"),
        ("amqp://h?request-timeout=x", "milliseconds"),
        ("amqp://h?management=ftp://h", "http://"),
        ("amqp://h?management=http://", "host is missing"),
        ("amqp://h?management=http://a,ftp://b", "http://"),
        ("amqp://h?management=http://a/mq,b/mq", "in full"),
        ("amqp://h?management=a:15672", "management API"),
        ("amqp://h?single-active-consumer=1", "`true` or `false`"),
        ("amqp://:p@h", "without a user"),
    ] {
        let error = RabbitConfig::from_url(url).expect_err(url);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        assert!(error.to_string().contains(part), "{url}: {error}");
    }
}

proptest! {
    #[test]
    fn any_url_is_read_or_refused_and_shows_no_password(rest in "[a-z0-9:/?&=,@%]{0,40}") {
        for url in [format!("amqp://u:canary@{rest}"), format!("amqp://h?management=http://u:canary@{rest}")] {
            let shown = match RabbitConfig::from_url(&url) {
                Ok(config) => format!("{config:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("canary"), "{}", shown);
        }
    }
}
