//! A look at the broker: its version, what is risky, what the user may not do.

use zephcast_core::driver::Check;
use zephcast_core::{Result, Warning};

use crate::brokers::Brokers;
use crate::config::Credentials;
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
    check.warnings.extend(credentials(brokers));
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

fn credentials(brokers: &Brokers) -> Option<Warning> {
    let config = brokers.control.config();
    let is_local = |host: &str| matches!(host, "localhost" | "127.0.0.1" | "::1");
    match &config.credentials {
        Credentials::Password { user, .. }
            if config.tls.is_none() && config.hosts.iter().any(|(host, _)| !is_local(host)) =>
        {
            let message = format!("the password of {user} goes over the network in clear");
            Some(Warning::new("password_in_clear", message, "connect with amqps://"))
        }
        _ => None,
    }
}
