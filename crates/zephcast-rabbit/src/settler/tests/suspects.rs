//! What may have killed a member, in hand one at a time: it is in one place only, whatever becomes of its settlement.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_while_it_is_sent_back_as_a_suspect_comes_too_late() {
    let mut lab = Lab::start_with(0, 10, "&consumer-timeout=2").await;
    lab.publish_suspect(b"slow").await;
    let slow = lab.suspect().await;
    let taken_back = lab.sends_back_in_vain().await;
    assert_eq!(lab.settle(acked(&slow)).await.unwrap(), [(SUSPECTS, slow.token)]);
    lab.server.clear_memory_alarm().await.unwrap();
    assert_eq!(taken_back.await.unwrap(), [(SUSPECTS, slow.token)]);
    assert_eq!(lab.settle(acked(&slow)).await.unwrap(), [(SUSPECTS, slow.token)]);
    let again = lab.suspect().await;
    assert_eq!((again.message.payload().as_ref(), again.attempt), (&b"slow"[..], 1));
    assert_eq!(lab.settle(acked(&again)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_of_which_a_copy_is_on_its_way_is_not_sent_back_however_old() {
    let mut lab = Lab::start_with(0, 10, "&consumer-timeout=2").await;
    lab.publish_suspect(b"dies").await;
    let (dies, taken) = (lab.suspect().await, Instant::now());
    lab.server.raise_memory_alarm().await.unwrap();
    let error = lab.settle(dead(&dies)).await.expect_err("it takes none");
    assert_eq!(error.kind(), zephcast_core::ErrorKind::Blocked, "{error}");
    lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::Blocked(_)))).await;
    tokio::time::sleep_until(taken + Duration::from_secs(2)).await;
    assert_eq!(lab.member.settler.renew(Renewal::default()).await.unwrap(), [], "its copy is on its way");
    lab.server.clear_memory_alarm().await.unwrap();
    lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::Unblocked(_)))).await;
    lab.has_dead(1).await;
    assert_eq!(lab.member.settler.renew(Renewal::default()).await.unwrap(), [], "its copy is stored");
    assert_eq!(lab.settle(dead(&dies)).await.unwrap(), []);
    assert_eq!((lab.dead().await, lab.ready("s.g.suspects").await), (1, 0));
    lab.member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    assert_eq!((lab.dead().await, lab.ready("s.g.suspects").await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_of_which_a_copy_is_stored_elsewhere_does_not_go_back() {
    let mut lab = Lab::start(0, 10).await;
    lab.publish_suspect(b"dies").await;
    let dies = lab.suspect().await;
    lab.server.raise_memory_alarm().await.unwrap();
    lab.settle(dead(&dies)).await.expect_err("it takes none");
    lab.server.clear_memory_alarm().await.unwrap();
    lab.has_dead(1).await;
    lab.member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    assert_eq!((lab.dead().await, lab.ready("s.g.suspects").await, lab.ready("s.g").await), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_is_no_killer_whose_connection_broke_while_it_was_sent_back() {
    let mut lab = Lab::start_with(0, 10, "&consumer-timeout=2").await;
    lab.publish_suspect(b"slow").await;
    let slow = lab.suspect().await;
    let taken_back = lab.sends_back_in_vain().await;
    let listed = lab.server.ctl(&["list_channels", "--no-table-headers", "connection", "messages_unacknowledged"]);
    let listed = listed.await.unwrap();
    let consuming = listed.lines().find_map(|line| line.strip_suffix("\t1")).expect("holds the suspect");
    lab.server.ctl(&["close_connection", consuming, "test"]).await.unwrap();
    lab.hears(|fetched| matches!(fetched, Fetched::Lost(_))).await;
    lab.server.clear_memory_alarm().await.unwrap();
    assert_eq!(taken_back.await.unwrap(), [(SUSPECTS, slow.token)]);
    lab.hears(|fetched| matches!(fetched, Fetched::Assigned(_))).await;
    // The copy, and that which the server gave back.
    for _ in 0..2 {
        let again = lab.suspect().await;
        assert_eq!((again.message.payload().as_ref(), again.attempt), (&b"slow"[..], 1));
        assert_eq!(lab.settle(acked(&again)).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_that_cannot_be_given_back_keeps_nothing_else_from_it() {
    let mut lab = Lab::start_with(1, 10, "&consumer-timeout=2").await;
    lab.publish_suspect(&vec![b'x'; LARGE]).await;
    lab.publish_suspect(b"small").await;
    let (message, large, small) = (lab.take(1).await.remove(0), lab.suspect().await, lab.suspect().await);
    lab.take_less().await;
    let mut expected: BTreeSet<_> = [(UNIT, message.token), (SUSPECTS, large.token), (SUSPECTS, small.token)].into();
    while !expected.is_empty() {
        let lost = take_back(&lab.member.settler).await;
        expected.retain(|expected| !lost.contains(expected));
    }
    let mut given_back = 0;
    while given_back < 2 {
        let told = lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::GivenBack { .. }))).await;
        let Fetched::Event(Event::GivenBack { count, .. }) = told else { unreachable!("is heard") };
        given_back += count;
    }
    assert_eq!(given_back, 2, "the large one is here still");
    let again = lab.suspect().await;
    assert_eq!(again.message.payload().as_ref(), b"small");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_attempts_of_a_suspect_that_failed_in_place_outlive_its_connection_and_its_member() {
    let mut lab = Lab::start(0, 10).await;
    lab.publish_suspect(b"fails").await;
    let suspect = lab.suspect().await;
    assert_eq!(suspect.attempt, 1);
    assert_eq!(lab.settle(kept(&suspect, 2)).await.unwrap(), []);
    assert_eq!(lab.settle(kept(&suspect, 3)).await.unwrap(), []);
    lab.server.close_all_connections().await.unwrap();
    lab.hears(|fetched| matches!(fetched, Fetched::Lost(_))).await;
    let again = lab.suspect().await;
    assert_eq!(again.attempt, 4, "nobody died");
    assert_eq!(lab.settle(kept(&again, 5)).await.unwrap(), []);
    lab.die().await;
    assert_eq!(lab.suspect().await.attempt, 7, "one more died of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_in_hand_is_as_old_as_anything_else() {
    let mut lab = Lab::start(0, 10).await;
    lab.publish_suspect(b"hangs").await;
    let begin = Instant::now();
    let _hangs = lab.suspect().await;
    let taken = Instant::now();
    let driver = RabbitDriver::connect(lab.config.clone()).await.unwrap();
    let look = async || driver.group_status(&"s".parse().unwrap(), &"g".parse().unwrap()).await.unwrap();
    let status = look().await;
    assert_eq!(status.in_flight, Some(1));
    let oldest = status.oldest_pending.expect("is known");
    assert!(oldest <= begin.elapsed(), "{oldest:?}");
    // Something younger beside it changes nothing.
    let before = taken.elapsed();
    lab.publish("s.g", b"younger").await;
    lab.take(1).await;
    let status = look().await;
    assert_eq!(status.in_flight, Some(2));
    assert!(status.oldest_pending.is_some_and(|oldest| oldest + Duration::from_millis(1) >= before), "{status:?}");
}
