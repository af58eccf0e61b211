//! Groups: where they begin, how far they are, who is in them; also those of plain consumers.

use crate::foreign::Foreign;
use crate::prelude::*;

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

#[tokio::test]
async fn a_group_begins_where_it_was_told_to_and_stays() {
    let driver = driver().await;
    let stream = stream(&driver, 2).await;
    produce(stream.as_str(), 0, numbers(0..5)).await;
    produce(stream.as_str(), 1, numbers(0..3)).await;
    let admin = driver.admin();
    for (start, places, lag) in [
        (Start::Earliest, ["0", "0"], 8),
        (Start::Latest, ["5", "3"], 0),
        (Start::Time(0), ["0", "0"], 8),
        (Start::Time(u64::MAX), ["5", "3"], 0),
        // What was published to the other one later is after it.
        (Start::Position(at(0, 2)), ["2", "0"], 6),
        (Start::Position(at(1, 1)), ["5", "1"], 2),
        (Start::Position(at(1, 3)), ["5", "3"], 0),
    ] {
        let group = unique_group();
        admin.create_group(&stream, &group, start).await.unwrap();
        admin.create_group(&stream, &group, Start::Latest).await.unwrap();
        let status = driver.group_status(&stream, &group).await.unwrap();
        let committed: Vec<_> = status.units.iter().map(|unit| unit.committed.clone().unwrap()).collect();
        assert_eq!(committed, places, "{start:?}");
        assert_eq!((status.lag, status.in_flight), (Some(lag), Some(0)), "{start:?}");
        assert_eq!(status.published, Some(8));
        assert_eq!((status.delayed, status.dead_letters), (Some(0), Some(0)));
    }
    for bad in [at(2, 0), at(0, 6), at(0, u64::MAX), Position::new(PositionStyle::EntryId, UnitId(0), Token(1, 0))] {
        let error = admin.create_group(&stream, &unique_group(), Start::Position(bad)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let driver = driver().await;
    let (nothing, nobody) = (unique_stream(), unique_group());
    let admin = driver.admin();
    let errors = [
        driver.group_status(&nothing, &nobody).await.unwrap_err(),
        admin.stream(&nothing).await.unwrap_err(),
        admin.delete_stream(&nothing).await.unwrap_err(),
        admin.create_group(&nothing, &nobody, Start::Earliest).await.unwrap_err(),
        admin.browse(&nothing, &Cursor::default(), 1).await.unwrap_err(),
        admin.dead_letters(&nothing, &nobody, None, 1).await.unwrap_err(),
        admin.redrive(&nothing, &nobody, at(0, 0)).await.unwrap_err(),
        admin.purge_dead_letters(&nothing, &nobody).await.unwrap_err(),
        admin.trim(&nothing).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains(nothing.as_str()), "{error}");
    }
    let stream = stream(&driver, 1).await;
    let errors = [
        driver.group_status(&stream, &nobody).await.unwrap_err(),
        admin.dead_letters(&stream, &nobody, None, 1).await.unwrap_err(),
        admin.redrive(&stream, &nobody, at(0, 0)).await.unwrap_err(),
        admin.purge_dead_letters(&stream, &nobody).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains(nobody.as_str()), "{error}");
    }
}

#[tokio::test]
async fn a_group_of_plain_consumers_is_shown() {
    for settings in [&[][..], &[("group.protocol", "consumer")]] {
        let driver = driver().await;
        let stream = stream(&driver, 3).await;
        let group = unique_group();
        let first = Foreign::join(stream.as_str(), &group, "worker 1", settings);
        let second = Foreign::join(stream.as_str(), &group, "worker-2", settings);
        Foreign::share(&[&first, &second]).await;
        for partition in 0..3 {
            produce(stream.as_str(), partition, numbers(0..10)).await;
        }
        first.consume(4).await;
        let status = driver.group_status(&stream, &group).await.unwrap();
        assert_eq!((status.lag, status.published), (Some(26), Some(30)), "{status:#?}");
        assert_eq!((status.in_flight, status.oldest_pending), (None, None));
        let mut names: Vec<_> = status.members.iter().map(|member| member.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["worker-2", "worker_1"]);
        let owned: usize = status.members.iter().map(|member| member.units.len()).sum();
        assert_eq!(owned, 3, "{status:#?}");
        assert!(status.units.iter().all(|unit| unit.owner.is_some()), "{status:#?}");
        assert!(status.members.iter().all(|member| member.state == MemberState::Active));
        assert_eq!(driver.admin().stream(&stream).await.unwrap().groups, Some(vec![group.clone()]));
        // Only a member may commit now.
        let error = driver.admin().create_group(&stream, &group, Start::Latest).await;
        assert!(error.is_ok() || error.is_err_and(|error| error.kind() == ErrorKind::Conflict));
        first.leave().await;
        second.leave().await;
        let status = driver.group_status(&stream, &group).await.unwrap();
        assert!(status.members.is_empty() && status.in_flight == Some(0), "{status:#?}");
        driver.admin().delete_stream(&stream).await.unwrap();
    }
}

#[tokio::test]
async fn a_plain_consumer_goes_on_where_a_group_was_created() {
    let driver = driver().await;
    let stream = stream(&driver, 1).await;
    let group = unique_group();
    produce(stream.as_str(), 0, numbers(0..3)).await;
    driver.admin().create_group(&stream, &group, Start::Latest).await.unwrap();
    produce(stream.as_str(), 0, numbers(3..5)).await;
    let consumer = Foreign::join(stream.as_str(), &group, "plain", &[]);
    assert_eq!(consumer.consume(2).await, ["3", "4"]);
    consumer.leave().await;
    assert_eq!(driver.group_status(&stream, &group).await.unwrap().lag, Some(0));
}

#[tokio::test]
async fn a_group_whose_members_consume_something_else_is_left_to_them() {
    let driver = driver().await;
    let (here, elsewhere) = (stream(&driver, 1).await, stream(&driver, 1).await);
    let group = unique_group();
    let consumer = Foreign::join(elsewhere.as_str(), &group, "elsewhere", &[]);
    Foreign::share(&[&consumer]).await;
    let error = driver.admin().create_group(&here, &group, Start::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(driver.group_status(&here, &group).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(driver.group_status(&elsewhere, &group).await.unwrap().members.len(), 1);
    // Its own group is there although it never committed anything.
    driver.admin().create_group(&elsewhere, &group, Start::Latest).await.unwrap();
    consumer.leave().await;
    driver.admin().create_group(&here, &group, Start::Latest).await.unwrap();
    let status = driver.group_status(&here, &group).await.unwrap();
    assert!(status.members.is_empty());
}

#[tokio::test]
async fn looking_takes_no_long_time() {
    let driver = driver().await;
    let stream = stream(&driver, 12).await;
    let group = unique_group();
    driver.admin().create_group(&stream, &group, Start::Latest).await.unwrap();
    driver.group_status(&stream, &group).await.unwrap();
    let began = Instant::now();
    for _ in 0..10 {
        driver.group_status(&stream, &group).await.unwrap();
    }
    let each = began.elapsed() / 10;
    assert!(each < Duration::from_millis(500), "{each:?} for each look");
    eprintln!("{each:?} for each look");
}
