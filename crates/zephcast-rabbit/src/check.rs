//! A look at the broker: its version, what is risky, what the user may not do.

use std::error::Error as _;

use zephcast_core::Result;
use zephcast_core::driver::{Check, Warning};

use crate::brokers::Brokers;
use crate::config::Credentials;
use crate::management::{AlarmKind, Management};

const OPERATION: &str = "check";

pub(crate) async fn run(brokers: &Brokers) -> Result<Check> {
    brokers.control.link(OPERATION).await?;
    let mut check = Check { version: "unknown".into(), warnings: Vec::new() };
    match &brokers.management {
        None => check.warnings.push(no_management("the management API has no URL".into(), NO_URL)),
        Some(management) => match management.version(OPERATION).await {
            Ok(version) => {
                check.version = version;
                check.warnings.extend(alarms(management).await);
                check.warnings.extend(permissions(management).await);
            }
            Err(error) => {
                let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
                let message = format!("{}{cause}", error.message());
                check.warnings.push(no_management(message, error.advice().unwrap_or(REFUSED)));
            }
        },
    }
    check.warnings.extend(credentials(brokers));
    if let Some(reason) = brokers.publishing.blocked() {
        check.warnings.push(Warning {
            kind: "blocked",
            message: format!("the server takes no messages: {reason}"),
            advice: "free memory or disk of its nodes".into(),
        });
    }
    Ok(check)
}

const NO_URL: &str = "name it with `management=https://HOST:15671`";

const REFUSED: &str =
    "give the user the tag `monitoring`, or name another one with `management=http://USER:PASSWORD%40HOST:15672`";

fn no_management(message: String, advice: &str) -> Warning {
    let advice = format!("{advice}; without it streams cannot be listed, and what other programs hold is not known");
    Warning { kind: "no_management", message, advice }
}

async fn alarms(management: &Management) -> Vec<Warning> {
    let alarms = match management.alarms(OPERATION).await {
        Ok(alarms) => alarms,
        Err(error) => {
            tracing::debug!(%error, "alarms are not known");
            return Vec::new();
        }
    };
    let warning = |what: &str, node: &str| Warning {
        kind: "alarm",
        message: format!("the node {node} has too little {what}: it takes no messages"),
        advice: format!("free {what} of the node, or raise its limit"),
    };
    let told = alarms.iter().map(|alarm| match alarm.kind {
        AlarmKind::Memory => warning("memory", &alarm.node),
        AlarmKind::Disk => warning("disk", &alarm.node),
        AlarmKind::Other => warning("of something", &alarm.node),
    });
    told.collect()
}

async fn permissions(management: &Management) -> Vec<Warning> {
    let Ok(Some(permissions)) = management.permissions(OPERATION).await else { return Vec::new() };
    let lacks = [("configure", &permissions.configure), ("write", &permissions.write), ("read", &permissions.read)];
    let warning = |(right, _): &(&str, &String)| Warning {
        kind: "permission",
        message: format!("the user has no {right} permission in the virtual host"),
        advice: "grant it with `rabbitmqctl set_permissions`, or use `topology=expect` where others create the queues"
            .into(),
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
            Some(Warning {
                kind: "password_in_clear",
                message: format!("the password of {user} goes over the network in clear"),
                advice: "connect with amqps://".into(),
            })
        }
        _ => None,
    }
}
