//! `zephcast check`: what is at the other end, and what is risky there.

use zephcast::Client;

use crate::exit::{Exit, Failure};
use crate::output::records::{Record, Warning};
use crate::output::{Output, capabilities};
use crate::signals::Shutdown;

/// Shows broker, version, capabilities and warnings.
pub(crate) async fn run(client: &Client, output: &Output, mut shutdown: Shutdown) -> Result<Exit, Failure> {
    let Some(check) = shutdown.unless_asked(client.admin().check()).await else { return Ok(Exit::Interrupted) };
    let check = check?;
    let capabilities = client.capabilities();
    let record = Record::Check {
        broker: capabilities.broker.as_str(),
        version: check.version,
        capabilities: capabilities::Shown::from(capabilities),
        warnings: check.warnings.into_iter().map(Warning::from).collect(),
    };
    output.show(&record, text).await?;
    Ok(Exit::Done)
}

fn text(record: &Record) -> String {
    let Record::Check { broker, version, capabilities, warnings } = record else { return String::new() };
    let mut lines = vec![format!("{broker} {version}"), capabilities.text()];
    if warnings.is_empty() {
        lines.push("no warnings".into());
    }
    lines.extend(warnings.iter().map(Warning::to_string));
    lines.join("\n")
}
