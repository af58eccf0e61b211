//! `zephcast bench`: how fast this broker is from here.

mod figures;
mod ground;
mod run;

use zephcast::Client;

use self::ground::Ground;
use crate::args::bench::BenchArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, complain};
use crate::signals::Shutdown;

/// Measures, tells, and leaves nothing behind but in a stream that was given.
pub(crate) async fn run(
    client: &Client,
    arguments: &BenchArgs,
    output: &Output,
    mut shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let mark = fastrand::u64(..);
    let prepared = shutdown.finish(Ground::prepare(client, arguments, mark)).await;
    let mut ground = prepared.ok_or_else(|| match &arguments.stream {
        Some(_) => Failure::unknown(format_args!("the group {} was created", ground::group(mark))),
        None => Failure::unknown(format_args!("the stream {} was created", ground::stream(mark))),
    })??;
    let measured = shutdown.unless_asked(run::measure(&mut ground, arguments, output)).await;
    output.progress("");
    let cleared = ground.clear(client, output).await;
    match (measured, cleared) {
        (Some(Ok(figures)), cleared) => {
            output.show(&figures, figures::Figures::text).await?;
            cleared.map(|()| Exit::Done)
        }
        (measured, cleared) => {
            // What was asked for failed; that something is left is told beside it.
            if let Err(failure) = cleared {
                complain(failure);
            }
            measured.map_or(Ok(Exit::Interrupted), |failed| failed.map(|_| Exit::Done))
        }
    }
}
