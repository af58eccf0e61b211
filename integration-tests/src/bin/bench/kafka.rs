//! Kafka: raw and ours in turns.

mod backlog;
mod batches;
mod frontier;
mod lab;
mod latency;
mod members;
mod moves;
mod raw_consume;
mod raw_publish;
mod reports;
mod settings;

use std::time::Duration;

use self::lab::Lab;
use self::members::Who;
use self::raw_consume::Handling;
use self::raw_publish::Flood;
use self::settings::Protocol;
use crate::joined::{self, CLOSING, WARM_UP};
use crate::measure::{Sample, in_turns};
use crate::options::Options;
use crate::report::{Mark, Report, Row};
use crate::{Outcome, stalled};

pub(crate) use self::backlog::stall;

const URL: &str = "ZEPHCAST_TEST_KAFKA_URL";
const PARTITIONS: usize = 6;
/// As many, so that a round takes long beside what clients do in bursts.
const PUBLISHED: usize = 2;
const CONSUMED: usize = 5;
/// The most messages in flight: ours by default, and more.
const WINDOWS: [usize; 3] = [1_000, 10_000, 100_000];
const LATENCY_ROUNDS: usize = 3;
const MOVE_ROUNDS: usize = 3;
/// How long nothing may come before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a raw consumer waits for a record at a time.
const SLICE: Duration = Duration::from_millis(50);

pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    let url = std::env::var(URL).map_err(|_| format!("{URL} is not set"))?;
    let lab = Lab::open(url).await?;
    for note in settings::COMPARED {
        report.note(note.to_owned());
    }
    for row in publish(&lab, options).await? {
        report.add(row)?;
    }
    let messages = options.messages * CONSUMED;
    let consumed = lab.with_topic(async |topic| {
        let flood = Flood { messages, in_flight: WINDOWS[2], ids: true };
        raw_publish::publish(lab.server.clone(), topic.clone(), flood).await?;
        for row in consume(&lab, &topic, messages, options).await? {
            report.add(row)?;
        }
        report.add(members(&lab, &topic, messages, options).await?)?;
        report.add(stalled::measure("kafka", &lab.url, &topic, [lab.name(), lab.name()])?)
    });
    consumed.await?;
    report.add(latency(&lab, options).await?)?;
    for (protocol, cases) in
        [(Protocol::Classic, ["join", "leave"]), (Protocol::Kip848, ["join (KIP-848)", "leave (KIP-848)"])]
    {
        for row in moves::measure(&lab, options.rounds.min(MOVE_ROUNDS), protocol, cases).await? {
            report.add(row)?;
        }
    }
    Ok(())
}

/// Each with as many messages in flight.
async fn publish(lab: &Lab, options: &Options) -> Outcome<[Row; 4]> {
    let messages = options.messages * PUBLISHED;
    let [narrow, wide, widest] = WINDOWS.map(|in_flight| Flood { messages, in_flight, ids: true });
    let bare = Flood { ids: false, ..widest };
    let raw = |flood| lab.side(move |lab, topic| raw_publish::publish(lab.server, topic, flood));
    let ours = |flood: Flood| lab.side(move |lab, topic| joined::publish(lab.client, topic, messages, flood.in_flight));
    let sides = [raw(narrow), ours(narrow), raw(wide), ours(wide), raw(widest), ours(widest), raw(bare)];
    let [raw, ours, raw_wide, ours_wide, raw_widest, ours_widest, bare] = in_turns(options.rounds, sides).await?;
    Ok([
        compared("publish", raw, ours),
        compared("publish, 10,000 in flight", raw_wide, ours_wide),
        compared("publish, 100,000 in flight", raw_widest, ours_widest),
        beside("publish, 100,000 in flight, raw without ids", bare, ours_widest),
    ])
}

async fn consume(lab: &Lab, topic: &str, messages: usize, options: &Options) -> Outcome<[Row; 5]> {
    let raw = |handling| {
        lab.reader(topic, move |lab, topic, group| raw_consume::consume(lab.server, topic, group, messages, handling))
    };
    let sides = [
        raw(Handling::InPlace),
        lab.reader(topic, move |lab, topic, group| joined::consume(lab.client, topic, group, messages)),
        raw(Handling::Copied),
        lab.reader(topic, move |lab, topic, group| joined::handle(lab.client, topic, group, messages)),
        lab.reader(topic, move |lab, topic, group| raw_consume::consume_polled(lab.server, topic, group, messages)),
    ];
    let [raw, ours, copied, handled, polled] = in_turns(options.rounds, sides).await?;
    Ok([
        compared("consume", raw, ours),
        beside("consume, raw copied with its id", copied, ours),
        beside("consume, raw by poll", polled, ours),
        compared("group", raw, handled),
        beside("group, raw by poll", polled, handled),
    ])
}

async fn members(lab: &Lab, topic: &str, messages: usize, options: &Options) -> Outcome<Row> {
    let side = |who| {
        lab.reader(topic, move |lab, topic, group| {
            members::consume(who, lab.client, lab.server, topic, group, messages)
        })
    };
    let [raw, ours] = in_turns(options.rounds, [side(Who::Raw), side(Who::Ours)]).await?;
    Ok(compared("3 members", raw, ours))
}

async fn latency(lab: &Lab, options: &Options) -> Outcome<Row> {
    let sides = [
        lab.side(|lab, topic| latency::raw(lab.server.clone(), topic, lab.name())),
        lab.side(|lab, topic| {
            let group = lab.name();
            joined::latency(lab.client, topic, group)
        }),
    ];
    let [raw, ours] = in_turns(options.rounds.min(LATENCY_ROUNDS), sides).await?;
    let p99 = |sample: &Sample| sample.p99_us.unwrap_or(f64::NAN);
    let marks = vec![
        Mark { text: "p99 <= raw + 500 us", reached: p99(&ours) <= p99(&raw) + 500.0 },
        Mark { text: "p99 < 5 ms", reached: p99(&ours) < 5_000.0 },
    ];
    Ok(Row { marks, ..beside("latency", raw, ours) })
}

fn compared(case: &'static str, raw: Sample, ours: Sample) -> Row {
    let marks = vec![
        Mark { text: ">= 0.95 x raw", reached: ours.per_second >= 0.95 * raw.per_second },
        Mark { text: "CPU <= 1.2 x raw", reached: ours.cpu_us <= 1.2 * raw.cpu_us },
    ];
    Row { marks, ..beside(case, raw, ours) }
}

/// Without marks: not the same work, or not the best of the raw client.
fn beside(case: &'static str, raw: Sample, ours: Sample) -> Row {
    Row { broker: "kafka", case, raw: Some(raw), ours: Some(ours), ..Row::default() }
}
