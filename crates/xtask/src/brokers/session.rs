//! Brokers lent to a piece of work: started before, stopped after, whatever happens in between.

use tokio::process::Command;

use super::{Broker, Wanted, ensure_up, stop};
use crate::process::{Interrupted, interruption};
use crate::workspace::Workspace;

/// The brokers that a piece of work may use.
pub(crate) struct Session {
    urls: Vec<(Broker, Result<String, String>)>,
}

impl Session {
    /// Where a broker is, or why it is not.
    pub(crate) fn url(&self, broker: Broker) -> Result<&str, &str> {
        let found = self.urls.iter().find(|(lent, _)| *lent == broker);
        let (_, url) = found.ok_or("not asked for")?;
        url.as_deref().map_err(String::as_str)
    }

    /// Tells a command where the brokers are.
    pub(crate) fn tell(&self, command: &mut Command) {
        for broker in Broker::ALL {
            match self.url(*broker) {
                Ok(url) => command.env(broker.test_variable(), url),
                Err(_) => command.env_remove(broker.test_variable()),
            };
        }
    }
}

/// Runs `work` with the brokers it needs, and stops those that were started for it, also when it is interrupted.
///
/// A broker that cannot be had is no error here: the work shows it as its failure.
pub(crate) async fn with_brokers<T>(
    needed: &[Broker],
    workspace: &Workspace,
    work: impl AsyncFnOnce(&Session) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut started = Vec::new();
    let outcome = tokio::select! {
        outcome = async {
            let mut session = Session { urls: Vec::new() };
            for broker in needed {
                let url = match ensure_up(*broker, &Wanted::default(), workspace).await {
                    Ok(found) => {
                        if found.started {
                            started.push(*broker);
                        }
                        eprintln!("{}: {} ({})", broker.name(), found.shown, found.how);
                        Ok(found.url)
                    }
                    Err(error) => {
                        eprintln!("{}: {error:#}", broker.name());
                        Err(format!("{error:#}"))
                    }
                };
                session.urls.push((*broker, url));
            }
            work(&session).await
        } => outcome,
        interrupted = interruption() => Err(interrupted.map_or_else(|error| error, Interrupted::into)),
    };
    for broker in started {
        match stop(broker, workspace).await {
            Ok(said) => eprintln!("{}: {said}", broker.name()),
            Err(error) => eprintln!("{}: {error:#}", broker.name()),
        }
    }
    outcome
}
