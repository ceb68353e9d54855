//! Events by hour and by day as inline SVG: the geometry of the small chart in a row and of the large one on the
//! details page. Only attributes, because the Content-Security-Policy forbids inline style. Pure.

use std::fmt::Write as _;

use jiff::{Timestamp, ToSpan};

use super::format::{count, counted};

/// Hours that a chart shows; the last one is the running hour.
pub const HOURS: usize = 24;
/// Days that a chart shows; the last one is the running day.
const DAYS: usize = 14;

/// Events of the last [`HOURS`] hours of the clock in UTC, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    counts: [u64; HOURS],
    /// Start of the running hour.
    last: Timestamp,
    /// What is counted, one of them.
    what: &'static str,
}

impl Hours {
    /// Hours outside the window are left out, so callers may hand in what they have.
    pub fn new(now: Timestamp, counted: impl IntoIterator<Item = (Timestamp, u64)>) -> Self {
        let last = start_of_hour(now);
        let mut counts = [0; HOURS];
        for (hour, events) in counted {
            let age = last.duration_since(start_of_hour(hour)).as_hours();
            if let Some(slot) = usize::try_from(age).ok().and_then(|age| (HOURS - 1).checked_sub(age)) {
                counts[slot] += events;
            }
        }
        Self { counts, last, what: "event" }
    }

    /// The same numbers of something else than events; `what` is one of them.
    #[must_use]
    pub fn of(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    /// Start of the oldest hour of the window that ends at `now`.
    #[must_use]
    pub fn first(now: Timestamp) -> Timestamp {
        hours_before(start_of_hour(now), HOURS - 1)
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn start(&self, hour: usize) -> Timestamp {
        hours_before(self.last, HOURS - 1 - hour)
    }

    /// Where a moment is in a [`Sparkline`], from the left.
    fn place(&self, at: Timestamp) -> Option<u64> {
        let seconds = u64::try_from(at.duration_since(self.start(0)).as_secs()).ok()?;
        let place = seconds * STEP as u64 / 3600;
        (place < (HOURS * STEP) as u64).then_some(place)
    }

    /// What the picture says, for those who do not see it.
    fn summary(&self) -> String {
        match peak(&self.counts) {
            None => format!("No {}s in the last 24 hours", self.what),
            Some(peak) => {
                let (events, most) = (counted(self.total(), self.what), count(self.counts[peak]));
                format!("{events} in the last 24 hours, most at {} UTC: {most}", self.start(peak).strftime("%H:%M"))
            }
        }
    }
}

/// Events of the last [`DAYS`] days of the calendar in UTC, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Days {
    counts: [u64; DAYS],
    /// Start of the running day.
    last: Timestamp,
}

impl Days {
    /// From events by hour; those outside the window are left out.
    pub fn new(now: Timestamp, counted: impl IntoIterator<Item = (Timestamp, u64)>) -> Self {
        let last = start_of_day(now);
        let mut counts = [0; DAYS];
        for (hour, events) in counted {
            let age = last.duration_since(start_of_day(hour)).as_hours() / 24;
            if let Some(slot) = usize::try_from(age).ok().and_then(|age| (DAYS - 1).checked_sub(age)) {
                counts[slot] += events;
            }
        }
        Self { counts, last }
    }

    /// Start of the oldest day of the window that ends at `now`.
    #[must_use]
    pub fn first(now: Timestamp) -> Timestamp {
        hours_before(start_of_day(now), (DAYS - 1) * 24)
    }

    fn summary(&self) -> String {
        match peak(&self.counts) {
            None => format!("No events in the last {DAYS} days"),
            Some(peak) => {
                let (events, most) = (counted(self.counts.iter().sum(), "event"), count(self.counts[peak]));
                let day = hours_before(self.last, (DAYS - 1 - peak) * 24).strftime("%Y-%m-%d");
                format!("{events} in the last {DAYS} days, most on {day}: {most}")
            }
        }
    }
}

/// The largest, its latest if several are as large; `None` without events.
fn peak(counts: &[u64]) -> Option<usize> {
    (0..counts.len()).filter(|slot| counts[*slot] > 0).max_by_key(|slot| counts[*slot])
}

/// Height of a bar in a chart whose largest bar is `highest`; one with any event is seen.
fn height(counts: &[u64], slot: usize, highest: u64) -> u64 {
    let largest = peak(counts).map_or(1, |peak| counts[peak]);
    match counts[slot] {
        0 => 0,
        events => (u128::from(events) * u128::from(highest) / u128::from(largest)).try_into().unwrap_or(highest).max(2),
    }
}

fn start_of_hour(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(at)
}

fn start_of_day(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(24 * 3600)).unwrap_or(at)
}

/// Saturates at the beginning of jiff's time.
fn hours_before(at: Timestamp, hours: usize) -> Timestamp {
    at.checked_sub(i64::try_from(hours).unwrap_or(i64::MAX).hours()).unwrap_or(Timestamp::MIN)
}

/// A small chart, as in a row of the list: one path, so that fifty of them stay small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparkline {
    pub width: u64,
    pub height: u64,
    pub path: String,
    /// Moments that are marked, from the left.
    pub marks: Vec<u64>,
    pub summary: String,
}

/// Width of an hour or a day in a [`Sparkline`].
const STEP: usize = 5;

impl From<&Hours> for Sparkline {
    fn from(hours: &Hours) -> Self {
        Self::of(&hours.counts, hours.summary())
    }
}

impl From<&Days> for Sparkline {
    fn from(days: &Days) -> Self {
        Self::of(&days.counts, days.summary())
    }
}

impl Sparkline {
    fn of(counts: &[u64], summary: String) -> Self {
        const HEIGHT: u64 = 28;
        let mut path = String::new();
        for slot in 0..counts.len() {
            let bar = height(counts, slot, HEIGHT - 2);
            if bar > 0 {
                // Writing to a String cannot fail.
                let _ = write!(path, "M{} {HEIGHT}v-{bar}h4v{bar}z", slot * STEP);
            }
        }
        Self { width: (counts.len() * STEP) as u64, height: HEIGHT, path, marks: Vec::new(), summary }
    }

    /// With marks at moments; those outside of the hours are left out.
    #[must_use]
    pub fn marked(hours: &Hours, moments: impl IntoIterator<Item = Timestamp>) -> Self {
        Self { marks: moments.into_iter().filter_map(|at| hours.place(at)).collect(), ..Self::from(hours) }
    }
}

/// The chart of the details page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayChart {
    pub width: u64,
    pub height: u64,
    /// Where the bars stand.
    pub base: u64,
    pub bars: Vec<Bar>,
    pub summary: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    pub x: u64,
    pub y: u64,
    pub width: u64,
    pub height: u64,
    /// Centre, where its texts are anchored.
    pub middle: u64,
    pub count: u64,
    pub number: String,
    /// `2026-11-22 14:00`
    pub hour: String,
    /// Said when the pointer rests on it.
    pub label: String,
    pub peak: bool,
    /// Hour under the axis.
    pub tick: Option<String>,
    /// Left out where there is little room.
    pub minor_tick: bool,
}

impl DayChart {
    pub fn newest_first(&self) -> impl Iterator<Item = &Bar> {
        self.bars.iter().rev()
    }
}

impl From<&Hours> for DayChart {
    fn from(hours: &Hours) -> Self {
        const STEP: u64 = 36;
        const BAR: u64 = 26;
        const TOP: u64 = 26;
        const BASE: u64 = 84;
        let peak = peak(&hours.counts);
        let bars = (0..HOURS).map(|hour| {
            let x = hour as u64 * STEP + (STEP - BAR) / 2;
            let height = height(&hours.counts, hour, BASE - TOP);
            let start = hours.start(hour);
            let end = start.checked_add(1.hour()).unwrap_or(start);
            let of_day = start.as_second().rem_euclid(24 * 3600) / 3600;
            let events = hours.counts[hour];
            Bar {
                x,
                y: BASE - height,
                width: BAR,
                height,
                middle: x + BAR / 2,
                count: events,
                number: count(events),
                hour: start.strftime("%Y-%m-%d %H:%M").to_string(),
                label: format!(
                    "{}–{} UTC: {}",
                    start.strftime("%H:%M"),
                    end.strftime("%H:%M"),
                    counted(events, hours.what)
                ),
                peak: peak == Some(hour),
                tick: (of_day % 3 == 0).then(|| start.strftime("%H:%M").to_string()),
                minor_tick: of_day % 6 != 0,
            }
        });
        Self {
            width: HOURS as u64 * STEP,
            height: BASE + 24,
            base: BASE,
            bars: bars.collect(),
            summary: hours.summary(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-22T14:20:00Z")
    }

    #[test]
    fn hours_fall_into_the_window_of_the_clock() {
        let hours = Hours::new(
            now(),
            [
                (at("2026-11-22T14:00:00Z"), 3),
                (at("2026-11-21T15:00:00Z"), 5),
                (at("2026-11-21T14:00:00Z"), 7), // one hour too old
                (at("2026-11-22T15:00:00Z"), 9), // a clock ahead of ours
            ],
        );
        assert_eq!((hours.counts[23], hours.counts[0], hours.total()), (3, 5, 8));
        assert_eq!(Hours::first(now()), at("2026-11-21T15:00:00Z"));
        assert_eq!(hours.summary(), "8 events in the last 24 hours, most at 15:00 UTC: 5");
    }

    #[test]
    fn hours_fall_into_the_days_of_the_calendar() {
        let hours = [
            ("2026-11-22T14:00:00Z", 3),
            ("2026-11-22T00:00:00Z", 4),
            ("2026-11-21T23:00:00Z", 9),
            ("2026-11-09T00:00:00Z", 2),
            ("2026-11-08T23:00:00Z", 7), // one day too old
        ];
        let days = Days::new(now(), hours.map(|(hour, events)| (at(hour), events)));
        assert_eq!((days.counts[13], days.counts[12], days.counts[0]), (7, 9, 2));
        assert_eq!(Days::first(now()), at("2026-11-09T00:00:00Z"));
        assert_eq!(days.summary(), "18 events in the last 14 days, most on 2026-11-21: 9");
        assert_eq!(Days::new(now(), []).summary(), "No events in the last 14 days");
        assert_eq!(Sparkline::from(&days).width, 70);
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let hours = Hours::new(now(), []);
        assert_eq!(Sparkline::from(&hours).path, "");
        assert_eq!(Sparkline::from(&hours).summary, "No events in the last 24 hours");
        assert!(DayChart::from(&hours).bars.iter().all(|bar| bar.height == 0 && !bar.peak));
    }

    #[test]
    fn a_single_event_is_seen_beside_a_million() {
        let hours = Hours::new(now(), [(at("2026-11-22T14:00:00Z"), 1), (at("2026-11-22T13:00:00Z"), 1_000_000)]);
        assert_eq!(Sparkline::from(&hours).path, "M110 28v-26h4v26zM115 28v-2h4v2z");
        let chart = DayChart::from(&hours);
        assert_eq!(chart.bars[22].y + chart.bars[22].height, chart.base);
        assert!(chart.bars[22].peak && !chart.bars[23].peak);
        assert_eq!(chart.bars[23].label, "14:00–15:00 UTC: 1 event");
    }

    #[test]
    fn moments_are_marked_where_their_hour_is() {
        let moments = ["2026-11-21T14:59:59Z", "2026-11-21T15:00:00Z", "2026-11-22T14:12:00Z", "2026-11-22T15:00:00Z"];
        let marked = Sparkline::marked(&Hours::new(now(), []), moments.map(at));
        assert_eq!(marked.marks, [0, 116]);
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let hours = Hours::new(now(), [(now(), u64::MAX)]);
        assert_eq!(DayChart::from(&hours).bars[23].height, 58);
    }

    #[test]
    fn hours_are_named_every_third() {
        let ticks: Vec<_> =
            DayChart::from(&Hours::new(now(), [])).bars.into_iter().filter_map(|bar| bar.tick).collect();
        assert_eq!(ticks, ["15:00", "18:00", "21:00", "00:00", "03:00", "06:00", "09:00", "12:00"]);
    }
}
