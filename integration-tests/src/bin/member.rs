//! A member in a process of its own, so that it can be killed: `member URL STREAM GROUP LEASE_MS PREFETCH`.
//!
//! Prints its name, and then a line with each payload before it acks that. Of the payload `abort` it dies.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [url, stream, group, lease, prefetch] = &given[..] else {
        return Err("give URL STREAM GROUP LEASE_MS PREFETCH".into());
    };
    let client = zephcast::connect(url).await?;
    let builder = client.consumer(stream).group(group).lease(Duration::from_millis(lease.parse()?));
    let mut consumer = builder.prefetch(prefetch.parse()?).start().await?;
    say(consumer.member().as_str())?;
    while let Some(delivery) = consumer.next().await.transpose()? {
        let payload = delivery.payload_str()?;
        if payload == "abort" {
            std::process::abort();
        }
        say(payload)?;
        // One that came too late comes again, which whoever reads the lines sees.
        let _ = delivery.ack();
    }
    Ok(())
}

/// In one write, so that a death leaves whole lines.
fn say(text: &str) -> std::io::Result<()> {
    std::io::stdout().write_all(format!("{text}\n").as_bytes())
}
