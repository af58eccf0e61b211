//! What servers of two versions said, read.

use serde::de::DeserializeOwned;

use super::consumers::{ChannelFigures, Consumed};
use super::figures::{AlarmCheck, AlarmKind, AnyBinding, Binding, Page, QueueFigures};

/// What every version said of it.
macro_rules! samples {
    ($name:literal) => {
        [include_str!(concat!("samples/3.10/", $name)), include_str!(concat!("samples/4.0/", $name))]
    };
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn queues_of_every_kind() {
    for text in samples!("queues.json") {
        let page: Page<QueueFigures> = read(text);
        assert_eq!(page.page_count, 1);
        let [_log, orders, _plain] = &page.items[..] else { panic!("{:?}", page.items) };
        assert_eq!((orders.state.as_deref(), orders.ready, orders.unacked), (Some("running"), Some(1), Some(2)));
        assert_eq!(orders.arguments["x-single-active-consumer"], true);
    }
}

#[test]
fn totals_of_queues() {
    for text in samples!("totals.json") {
        let counts = |queue: &QueueFigures| (queue.ready, queue.unacked);
        let counts: Vec<_> = read::<Page<QueueFigures>>(text).items.iter().map(counts).collect();
        assert_eq!(counts, [(None, None), (Some(1), Some(2)), (Some(1), Some(0))]);
    }
}

#[test]
fn a_young_queue_has_no_figures_and_the_zeros_of_its_totals_are_none() {
    for text in samples!("young.json") {
        let young: QueueFigures = read(text);
        assert_eq!((young.ready, young.unacked), (None, None));
        let totals = |ready, unacked| QueueFigures { ready: Some(ready), unacked: Some(unacked), ..young.clone() };
        let refreshed = |mut queue: QueueFigures, totals: &QueueFigures| {
            queue.refresh(totals);
            (queue.ready, queue.unacked)
        };
        assert_eq!(refreshed(young.clone(), &totals(0, 0)), (None, None));
        assert_eq!(refreshed(young.clone(), &totals(0, 3)), (Some(0), Some(3)));
        assert_eq!(refreshed(totals(3, 0), &totals(0, 0)), (Some(0), Some(0)));
        assert_eq!(refreshed(totals(3, 0), &young), (Some(3), Some(0)));
    }
}

#[test]
fn consumers_with_their_channel() {
    for (consumers, channel) in samples!("consumers.json").into_iter().zip(samples!("channel.json")) {
        let channel: ChannelFigures = read(channel);
        let consumed: Consumed = read(consumers);
        let mut consumers: Vec<_> = consumed.into_consumers().map(|consumer| consumer.told(&channel)).collect();
        consumers.sort_by(|one, other| one.tag.cmp(&other.tag));
        let [first, second] = &consumers[..] else { panic!("{consumers:?}") };
        assert_eq!((first.tag.as_str(), first.prefetch, first.unacked), ("billing-1", Some(2), Some(2)));
        assert_eq!((second.tag.as_str(), second.prefetch), ("billing-2", Some(0)));
    }
}

#[test]
fn bindings_to_queues_only() {
    for text in samples!("bindings.json") {
        let bindings: Vec<AnyBinding> = read(text);
        assert_eq!(bindings.len(), 2);
        let of_queues: Vec<Binding> = bindings.into_iter().filter_map(AnyBinding::of_queue).collect();
        let (queue, routing_key) = ("orders.billing/0".into(), "1".into());
        assert_eq!(of_queues, [Binding { queue, routing_key, arguments: serde_json::Map::new() }]);
    }
}

#[test]
fn what_is_left_out_or_of_another_type_is_not_known() {
    let odd = r#"{"name":"q","type":"new","state":null,"arguments":[],"consumers":"","messages_ready":-1,
        "messages_unacknowledged":1.5}"#;
    let odd: QueueFigures = read(odd);
    let none: QueueFigures = read(r#"{"name":"q"}"#);
    assert_eq!(odd, none);
    assert_eq!((none.ready, none.unacked, none.state), (None, None, None));
}

#[test]
fn alarms_of_a_check() {
    let failed = r#"{"alarms":[{"node":"a","resource":"memory"},{"node":"b","resource":"disk"}],
        "reason":"There are alarms in effect in the cluster","status":"failed"}"#;
    let kinds: Vec<AlarmKind> = read::<AlarmCheck>(failed).alarms.iter().map(|alarm| alarm.kind).collect();
    assert_eq!(kinds, [AlarmKind::Memory, AlarmKind::Disk]);
    assert_eq!(read::<AlarmCheck>(r#"{"status":"ok"}"#).alarms, []);
}
