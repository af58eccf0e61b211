//! A look at the broker: its version, what is risky, what the user may not do.

use zephcast_core::driver::Check;
use zephcast_core::{Endpoint, Result, Warning};

use crate::brokers::Brokers;
use crate::config::{Credentials, RabbitConfig};
use crate::management::Management;
use crate::warnings;

const OPERATION: &str = "check";

pub(crate) async fn run(brokers: &Brokers) -> Result<Check> {
    let link = brokers.control.link(OPERATION).await?;
    let mut check = Check { version: link.version().unwrap_or("unknown").to_owned(), warnings: Vec::new() };
    match &brokers.management {
        None => check.warnings.push(warnings::no_management_url()),
        Some(management) => match management.version(OPERATION).await {
            Ok(version) => {
                check.version = version;
                check.warnings.extend(warnings::alarms(OPERATION, management).await);
                check.warnings.extend(permissions(management).await);
            }
            Err(error) => check.warnings.push(warnings::management_failed(&error)),
        },
    }
    check.warnings.extend(credentials(brokers.control.config()));
    check.warnings.extend(warnings::blocked(brokers));
    Ok(check)
}

async fn permissions(management: &Management) -> Vec<Warning> {
    let Ok(Some(permissions)) = management.permissions(OPERATION).await else { return Vec::new() };
    let lacks = [("configure", &permissions.configure), ("write", &permissions.write), ("read", &permissions.read)];
    let warning = |(right, _): &(&str, &String)| {
        let message = format!("the user has no {right} permission in the virtual host");
        let advice =
            "grant it with `rabbitmqctl set_permissions`, or use `topology=expect` where others create the queues";
        Warning::new("permission", message, advice)
    };
    lacks.iter().filter(|(_, pattern)| pattern.is_empty()).map(warning).collect()
}

/// Whether a password goes in clear to the broker, or else to its management API.
fn credentials(config: &RabbitConfig) -> Option<Warning> {
    let is_local = |host: &str| matches!(host, "localhost" | "127.0.0.1" | "::1");
    let in_clear = |message: String, advice: &str| Some(Warning::new("password_in_clear", message, advice));
    match &config.credentials {
        Credentials::Password { user, .. }
            if config.tls.is_none() && config.hosts.iter().any(|(host, _)| !is_local(host)) =>
        {
            return in_clear(format!("the password of {user} goes over the network in clear"), "connect with amqps://");
        }
        _ => {}
    }
    let has_password = |url: &Endpoint| url.user().is_some() || !matches!(config.credentials, Credentials::Certificate);
    let mut open = config.management.iter().filter(|url| url.scheme() == "http" && has_password(url));
    let (host, _) = open.find_map(|url| url.hosts().iter().find(|(host, _)| !is_local(host)))?;
    let message = format!("a password goes over the network in clear, to the management API at {host}");
    in_clear(message, "name it with `management=https://HOST:15671`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(url: &str) -> Option<String> {
        credentials(&RabbitConfig::from_url(url).unwrap()).map(|warning| warning.message)
    }

    #[test]
    fn a_password_in_clear_is_told_of() {
        for (url, part) in [
            ("amqp://u:p@h", "the password of u"),
            ("amqp://u:p@localhost,h?management=http://h:15672", "the password of u"),
            ("amqp://u:p@localhost?management=http://h:15672", "management API at h"),
            ("amqps://u:p@h?management=http://localhost:1,h:15672", "management API at h"),
            ("amqps://u:p@h?management=https://h,http://eye@[::2]", "management API at ::2"),
            ("amqps://h?auth=external&management=http://eye:sight%40h", "management API at h"),
        ] {
            let message = warned(url).unwrap_or_else(|| panic!("{url}: nothing is told"));
            assert!(message.contains(part), "{url}: {message}");
        }
        for url in [
            "amqp://u:p@[::1]?management=http://127.0.0.1:15672",
            "amqps://u:p@h?management=https://h",
            "amqps://u:p@h?management=http://localhost:15672",
            "amqps://h?auth=external&management=http://h",
        ] {
            assert_eq!(warned(url), None, "{url}");
        }
    }
}
