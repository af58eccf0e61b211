//! The checker refuses what it must, and lets through what a fault explains.

use super::*;

const PREFETCH: usize = 50;

fn terms() -> Terms {
    let seconds = Duration::from_secs;
    Terms {
        stream: "storm",
        group: "all",
        lease: seconds(1),
        prefetch: PREFETCH,
        aftermath: seconds(3),
        in_flight: seconds(1),
        patience: seconds(60),
    }
}

fn at(begin: Instant, seconds: f64) -> Instant {
    begin + Duration::from_secs_f64(seconds)
}

/// One member, killed between the tenth second and the eleventh.
fn kill(begin: Instant) -> Vec<Window> {
    vec![Window::new(terms(), "kill".into(), at(begin, 10.0), at(begin, 11.0), 1)]
}

fn repeat(begin: Instant, first: f64, again: f64) -> Repeat {
    Repeat {
        number: 7,
        first_by: "a".into(),
        again_by: "b".into(),
        first: at(begin, first),
        again: at(begin, again),
        settled_before: false,
        maybe_published_twice: false,
    }
}

fn findings(repeated: Vec<Repeat>) -> Findings {
    let (lost, unpublished, corrupt) = (Vec::new(), Vec::new(), Vec::new());
    Findings { confirmed: 1_000, delivered: 1_000 + repeated.len(), lost, unpublished, corrupt, repeated }
}

#[test]
fn what_was_in_flight_may_come_again_in_the_aftermath() {
    let begin = Instant::now();
    for (first, again) in [(9.9, 11.5), (10.2, 10.9), (9.2, 13.9)] {
        assert_eq!(check(&findings(vec![repeat(begin, first, again)]), &kill(begin)), Ok(vec![1]), "{first} {again}");
    }
}

#[test]
fn a_repeat_in_a_calm_time_is_refused() {
    let begin = Instant::now();
    for (first, again) in [(2.0, 2.1), (9.9, 9.99), (9.9, 14.1), (14.2, 14.3), (3.0, 11.0)] {
        let refused = check(&findings(vec![repeat(begin, first, again)]), &kill(begin));
        assert!(refused.is_err_and(|why| why.contains("no fault explains it")), "{first} {again}");
    }
    assert!(check(&findings(vec![repeat(begin, 9.9, 10.5)]), &[]).is_err(), "without a fault nothing is explained");
}

#[test]
fn more_than_was_in_flight_is_refused() {
    let begin = Instant::now();
    let many = |count| findings((0..count).map(|_| repeat(begin, 9.9, 11.5)).collect());
    assert_eq!(check(&many(PREFETCH), &kill(begin)), Ok(vec![PREFETCH]));
    let refused = check(&many(PREFETCH + 1), &kill(begin));
    assert!(refused.is_err_and(|why| why.contains("were in flight at most")));
}

#[test]
fn what_was_settled_before_the_fault_is_settled_for_good() {
    let begin = Instant::now();
    let settled = |first, again| {
        let repeat = Repeat { settled_before: true, ..repeat(begin, first, again) };
        check(&findings(vec![repeat]), &kill(begin))
    };
    assert!(settled(9.9, 11.5).is_err(), "confirmed, and no lease had ended");
    assert_eq!(settled(10.5, 11.5), Ok(vec![1]), "taken over and settled while the one it was taken from was frozen");
}

#[test]
fn two_publishes_of_one_message_are_no_repeat() {
    let begin = Instant::now();
    let twice = Repeat { maybe_published_twice: true, ..repeat(begin, 2.0, 2.1) };
    assert_eq!(check(&findings(vec![twice]), &kill(begin)), Ok(vec![0]));
}

#[test]
fn the_aftermath_lasts_while_its_suspects_wait_and_no_longer() {
    let begin = Instant::now();
    let late = findings(vec![repeat(begin, 9.9, 16.5)]);
    let with = |spell: Spell| {
        let mut windows = kill(begin);
        windows[0].prolong(&[spell]);
        check(&late, &windows)
    };
    assert_eq!(with((at(begin, 12.0), at(begin, 16.0))), Ok(vec![1]));
    assert!(with((at(begin, 12.0), at(begin, 15.0))).is_err(), "they were handled before");
    assert!(with((at(begin, 14.5), at(begin, 16.0))).is_err(), "suspects out of nowhere are of no fault");
    assert!(with((at(begin, 8.0), at(begin, 9.0))).is_err(), "those were there before");
}

#[test]
fn calm_is_what_no_window_covers() {
    let begin = Instant::now();
    let mut windows = kill(begin);
    windows.push(Window::new(terms(), "next".into(), at(begin, 12.0), at(begin, 13.0), 1));
    assert_eq!(calm(&windows, begin, at(begin, 20.0)), Duration::from_secs(10 + 4));
    assert_eq!(calm(&[], begin, at(begin, 20.0)), Duration::from_secs(20));
}
