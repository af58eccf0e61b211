//! The two ways in which the API writes a moment, both in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Since when a channel is idle: `2026-11-29T17:14:16.148+00:00`, or `2026-11-29 17:14:16` of servers before 3.10.
pub(super) fn of_figures(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let time = time.trim_end_matches("+00:00").trim_end_matches('Z');
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    Some(moment(year, month, day, time)? + Duration::try_from_secs_f64(fraction).ok()?)
}

/// When an answer was given, by its header `date`: `Sun, 29 Nov 2026 17:15:22 GMT`.
pub(super) fn of_header(text: &str) -> Option<SystemTime> {
    let mut parts = text.split_ascii_whitespace().skip(1);
    let day = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let year = parts.next()?.parse().ok()?;
    moment(year, month, day, parts.next()?)
}

fn moment(year: u64, month: u64, day: u64, time: &str) -> Option<SystemTime> {
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut time = time.splitn(3, ':').map(|part| part.parse::<u64>().ok().filter(|part| *part <= 60));
    let seconds = time.next()?? * 3600 + time.next()?? * 60 + time.next()??;
    // A year begins in March here, so that the day that not every year has is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // From the first of March of the year 0.
    let since_1970 = days.checked_sub(719_468)?;
    Some(UNIX_EPOCH + Duration::from_secs(since_1970 * 86_400 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(moment: Option<SystemTime>) -> Option<u128> {
        Some(moment?.duration_since(UNIX_EPOCH).ok()?.as_millis())
    }

    #[test]
    fn moments_are_read() {
        assert_eq!(millis(of_figures("1970-01-01T00:00:00.000+00:00")), Some(0));
        assert_eq!(millis(of_figures("2024-02-29T23:59:59.5Z")), Some(1_709_251_199_500));
        assert_eq!(millis(of_figures("2026-11-29 17:14:16")), Some(1_795_972_456_000));
        assert_eq!(millis(of_figures("2026-11-29T17:14:16.148+00:00")), Some(1_795_972_456_148));
        assert_eq!(millis(of_header("Sun, 29 Nov 2026 17:14:16 GMT")), Some(1_795_972_456_000));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in ["", "yesterday", "2026-11-29", "2026-13-01T00:00:00", "0000-01-01T00:00:00", "2026-11-29T17:14"] {
            assert_eq!(of_figures(text), None, "{text}");
            assert_eq!(of_header(text), None, "{text}");
        }
        assert_eq!(of_header("Sun, 29 Nev 2026 17:14:16 GMT"), None);
    }
}
