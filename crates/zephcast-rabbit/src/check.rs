//! A look at the broker: its version, what is risky, what the user may not do.

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
        None => check.warnings.push(no_management("it has no URL")),
        Some(management) => match management.version(OPERATION).await {
            Ok(version) => {
                check.version = version;
                check.warnings.extend(alarms(management).await);
                check.warnings.extend(permissions(management).await);
            }
            Err(error) => check.warnings.push(no_management(error.message())),
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

fn no_management(why: &str) -> Warning {
    Warning {
        kind: "no_management",
        message: format!("the management API does not answer: {why}"),
        advice:
            "name it with `management=http://HOST:15672`, and give the user the tag `monitoring`; without it streams \
                 cannot be listed, and what other programs hold is not known"
                .into(),
    }
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
