//! Lists for people, as kubectl writes them. Pure.

use jiff::SignedDuration;

use crate::text::in_one_line;

/// Columns as wide as their widest cell. What others have written moves no cursor.
pub fn align<Row: AsRef<[String]>>(rows: &[Row]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        let row = row.as_ref();
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &Row| {
        let cells = row.as_ref().iter().zip(&widths).map(|(cell, &width)| format!("{:<width$}", in_one_line(cell)));
        format!("{}\n", cells.collect::<Vec<_>>().join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// As kubectl writes an age: two or three figures, in the units that they need.
pub fn age(since: SignedDuration) -> String {
    /// Two units; the smaller one only when it is not zero.
    fn two(large: i64, unit: &str, small: i64, of: &str) -> String {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{of}") }
    }
    let seconds = since.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        // Clocks differ a little.
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 2 * 60 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 3 * 60 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if days < 8 * 365 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_write_beyond_its_place() {
        let rows = [["a", "\u{1b}[31mred\n"], ["longer", "\u{9b}31mb"]].map(|row| row.map(str::to_owned));
        assert_eq!(align(&rows), "a         [31mred\nlonger    31mb\n");
    }

    #[test]
    fn rows_may_be_of_any_length() {
        let rows = [vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()], vec![]];
        assert_eq!(align(&rows), "a\nb   c\n\n");
        assert_eq!(align::<Vec<String>>(&[]), "");
    }

    /// As `HumanDuration` of k8s.io/apimachinery writes them.
    #[test]
    fn ages_are_those_of_kubectl() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        const YEAR: i64 = 365 * DAY;
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (2 * MINUTE, "2m"),
            (2 * MINUTE + 1, "2m1s"),
            (10 * MINUTE - 1, "9m59s"),
            (10 * MINUTE + 1, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (8 * HOUR - 1, "7h59m"),
            (8 * HOUR, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (8 * DAY - 1, "7d23h"),
            (8 * DAY, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + DAY, "2y1d"),
            (8 * YEAR, "8y"),
        ] {
            assert_eq!(age(SignedDuration::from_secs(seconds)), text, "{seconds}");
        }
    }
}
