use zephcast_core::ErrorKind;

use super::*;

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_sent() {
    let one = || RabbitConfig::new("h", 1);
    let nobody: [(String, u16); 0] = [];
    for (config, part) in [
        (RabbitConfig::nodes(nobody), "at least one"),
        (RabbitConfig::new("", 1), "a host"),
        (one().connect_timeout(Duration::ZERO), "timeout"),
        (one().request_timeout(Duration::ZERO), "timeout"),
        (one().heartbeat(Duration::from_millis(10)), "heartbeat"),
        (one().consumer_timeout(Some(Duration::ZERO)), "consumer timeout"),
        (one().credentials(Credentials::Certificate), "amqps"),
        (one().queue("amq.gen"), "amq."),
        (one().queue(""), "not empty"),
        (one().max_priority(5), "classic"),
        (one().bindings([Binding::key("k".repeat(256))]), "255"),
        (one().bindings([Binding::default().argument("n".repeat(256), "x")]), "255"),
        (one().exchange(Exchange::Headers).bindings([Binding::key("a=1")]), "by headers"),
    ] {
        let error = config.validate("connect").expect_err(part);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{part}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(one().vhost("shop").queue("shared").validate("connect").is_ok());
}

#[test]
fn a_password_is_shown_nowhere() {
    let config = RabbitConfig::new("h", 1).user("app", "canary");
    assert!(format!("{config:?}").contains("app:***"));
    assert!(!format!("{config:?}").contains("canary"));
}
