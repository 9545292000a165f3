//! When things happen: more of late, in trading hours and on weekdays.

use chrono::DateTime;

use super::ink::two_digits;

const HOUR: i64 = 3600;

/// How busy the hours of a day are, UTC: the New York session, 14 to 21, is the peak.
const BUSY: [u32; 24] = [
    14, 12, 9, 7, 5, 4, 4, 5, 7, 9, 12, 18, 30, 60, 96, 92, 80, 72, 70, 82, 60, 36, 24, 18,
];
/// How busy the days of a week are, from Monday, in percent.
const WEEKDAYS: [u32; 7] = [100, 104, 106, 103, 92, 24, 34];

/// A span of time, hour by hour.
pub(super) struct Clock {
    /// Start of each hour, and the end of the span.
    edges: Vec<i64>,
    /// What weight lies before each edge.
    before: Vec<f64>,
}

impl Clock {
    /// The hours from that of `start` up to, not including, the second `end`.
    pub(super) fn new(start: i64, end: i64) -> Self {
        let first = start - start.rem_euclid(HOUR);
        let mut edges = Vec::new();
        let mut before = vec![0.0];
        let mut sum = 0.0;
        let mut hour = first;
        while hour < end {
            edges.push(hour);
            // 1970-01-01 was a Thursday.
            let weekday = (hour.div_euclid(86_400) + 3).rem_euclid(7) as usize;
            let hour_of_day = (hour.rem_euclid(86_400) / HOUR) as usize;
            // Twice as much at the end as at the beginning.
            let growth = 1.0 + (hour - first) as f64 / (end - first) as f64;
            let part = (end - hour).min(HOUR) as f64 / HOUR as f64;
            sum += f64::from(BUSY[hour_of_day] * WEEKDAYS[weekday]) * growth * part;
            before.push(sum);
            hour += HOUR;
        }
        edges.push(end);
        Self { edges, before }
    }

    /// A hand for growing shares of all that happens.
    pub(super) fn hand(&self) -> Hand<'_> {
        Hand {
            clock: self,
            hour: 0,
            date: None,
        }
    }
}

/// A moment of a [`Clock`] that only moves on.
pub(super) struct Hand<'a> {
    clock: &'a Clock,
    hour: usize,
    /// The hour for which `date` was written, and `2019-10-02 14:`.
    date: Option<(usize, [u8; 14])>,
}

impl Hand<'_> {
    /// The second at which the `share` (in [0, 1), never less than last time) has happened.
    pub(super) fn at(&mut self, share: f64) -> i64 {
        let before = &self.clock.before;
        let Some(&all) = before.last() else { return 0 };
        let position = share * all;
        if self.date.is_none() {
            // The first call of a chunk may be far from the start.
            self.hour = before
                .partition_point(|&sum| sum <= position)
                .saturating_sub(1);
        }
        let last = before.len().saturating_sub(2);
        while self.hour < last && before[self.hour + 1] <= position {
            self.hour += 1;
        }
        let (from, to) = (self.clock.edges[self.hour], self.clock.edges[self.hour + 1]);
        let (low, high) = (before[self.hour], before[self.hour + 1]);
        let part = (position - low) / (high - low);
        from + ((part * (to - from) as f64) as i64).clamp(0, to - from - 1)
    }

    /// `2019-10-02 14:03:59` of a second in the hour of the last [`Hand::at`].
    pub(super) fn stamp(&mut self, second: i64) -> [u8; 19] {
        let date = match self.date {
            Some((hour, date)) if hour == self.hour => date,
            _ => {
                let date = date_and_hour(second);
                self.date = Some((self.hour, date));
                date
            }
        };
        with_minutes(date, second)
    }
}

/// `2019-10-02 14:03:59`.
pub(super) fn stamp(second: i64) -> [u8; 19] {
    with_minutes(date_and_hour(second), second)
}

fn with_minutes(date: [u8; 14], second: i64) -> [u8; 19] {
    let of_hour = second.rem_euclid(HOUR) as u64;
    let mut stamp = [b':'; 19];
    stamp[..14].copy_from_slice(&date);
    stamp[14..16].copy_from_slice(&two_digits(of_hour / 60));
    stamp[17..].copy_from_slice(&two_digits(of_hour % 60));
    stamp
}

fn date_and_hour(second: i64) -> [u8; 14] {
    let mut date = *b"0000-00-00 00:";
    // The options were checked: every date has four digits of a year.
    let text = DateTime::from_timestamp(second, 0)
        .map(|moment| moment.format("%Y-%m-%d %H:").to_string())
        .unwrap_or_default();
    if text.len() == date.len() {
        date.copy_from_slice(text.as_bytes());
    }
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_stays_within_the_span_and_goes_on() {
        // From 1970-01-02 00:12:00 to 1970-01-11 00:05:00.
        let (start, end) = (86_400 + 720, 10 * 86_400 + 300);
        let clock = Clock::new(start, end);
        let mut hand = clock.hand();
        let mut last = 86_400;
        for i in 0..100_000 {
            let second = hand.at(f64::from(i) / 100_000.0);
            assert!(second >= last && second < end);
            assert_eq!(hand.stamp(second), stamp(second));
            // A fresh hand finds the same place.
            if i % 997 == 0 {
                assert_eq!(clock.hand().at(f64::from(i) / 100_000.0), second);
            }
            last = second;
        }
        assert!(last > end - 600, "{last}");
        assert!(hand.at(1.0) < end);
    }

    #[test]
    fn stamps_are_utc() {
        assert_eq!(&stamp(1_569_974_400 - 1), b"2019-10-01 23:59:59");
        assert_eq!(&stamp(951_782_400), b"2000-02-29 00:00:00");
    }
}
