//! The report for people.

use super::report::{Basis, Report, Talker, Volume};
use super::shipping::Way;
use crate::line::paint::printable;

/// Between two columns.
const GAP: usize = 2;
/// A name that is longer is cut in its middle: the beginning and the end of a path say most.
const NAME: usize = 60;

impl Report {
    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut sections = vec![self.basis(), self.volumes(), self.costs()];
        if self.whole.bytes > 0 {
            let top = &self.top;
            let lists =
                [("USER", &top.user), ("WORKSPACE", &top.workspace), ("PARENT", &top.parent), ("FILE", &top.exe)];
            sections.extend(lists.into_iter().map(|(title, talkers)| list(title, talkers)));
        }
        if !self.notes.is_empty() {
            sections.push(self.notes.iter().map(|note| format!("note: {note}\n")).collect());
        }
        sections.join("\n")
    }

    fn basis(&self) -> String {
        format!("{}\n{}\n", self.basis.in_words(), self.prices_in_words())
    }

    /// What prices these are.
    pub(super) fn prices_in_words(&self) -> String {
        let (currency, date) = (printable(self.prices.currency.as_bytes()), printable(self.prices.date.as_bytes()));
        format!("Prices in {currency}, of {date}; a GB is 10^9 bytes.")
    }

    fn volumes(&self) -> String {
        let mut rows = vec![words(["SETTING", "LINES", "BYTES", "OF EVERY EXEC", "IN A FILE"])];
        let whole = self.settings.first().map_or(0, |volume| volume.bytes);
        rows.extend(self.settings.iter().map(|volume| {
            let Volume { setting, lines, bytes: count, file_bytes, .. } = volume;
            let file = file_bytes.map_or_else(String::new, bytes);
            vec![setting.in_words().to_owned(), lines.to_string(), bytes(*count), percent(*count, whole), file]
        }));
        columns(&rows)
    }

    fn costs(&self) -> String {
        let mut title = words(["A MONTH"]);
        for volume in &self.settings {
            title.extend([volume.setting.in_words().to_uppercase(), self.prices.currency.clone()]);
        }
        let rows = Way::ALL.into_iter().map(|way| {
            let mut row = words([way.in_words()]);
            for volume in &self.settings {
                let shipped = volume.ways.iter().find(|shipped| shipped.way == way);
                let bytes = shipped.and_then(|shipped| shipped.bytes_a_month).map_or_else(absent, bytes_of);
                let money = shipped.and_then(|shipped| shipped.a_month);
                row.extend([bytes, money.map_or_else(absent, |money| amount(money.all))]);
            }
            row
        });
        columns(&std::iter::once(title).chain(rows).collect::<Vec<_>>())
    }
}

impl Basis {
    /// What it is reckoned from.
    pub(super) fn in_words(&self) -> String {
        let Basis { from, to, seconds, lines, bytes: count, execs, runs, hours_a_month, times, .. } = self;
        let span = humantime::format_duration(std::time::Duration::from_secs_f64(seconds.round()));
        let of = if (times - 1.0).abs() < f64::EPSILON { String::new() } else { format!(", {times} times") };
        format!(
            "{from} to {to} ({span}): {}, {}, {}, {}. A month is {hours_a_month} hours of that{of}.",
            counted(*lines, "line"),
            bytes(*count),
            counted(*execs, "exec"),
            counted(*runs, "run")
        )
    }
}

fn list(title: &str, talkers: &[Talker]) -> String {
    let mut rows = vec![words([title, "EXECS", "BYTES", "SHARE", "ROLLED UP"])];
    rows.extend(talkers.iter().map(|talker| {
        let sum = talker.sum;
        let share = format!("{:.1} %", talker.share * 100.0);
        vec![short(&talker.name), sum.execs.to_string(), bytes(sum.bytes), share, bytes(sum.rolled_up_bytes)]
    }));
    columns(&rows)
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// So many of something.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn absent() -> String {
    "-".to_owned()
}

/// A name that cannot steer a terminal, nor fill it.
fn short(name: &str) -> String {
    let name: Vec<char> = printable(name.as_bytes()).chars().collect();
    if name.len() <= NAME {
        return name.into_iter().collect();
    }
    let (begin, end) = (&name[..NAME / 2], &name[name.len() - NAME / 2 + 1..]);
    begin.iter().chain(&['\u{2026}']).chain(end).collect()
}

pub(super) fn bytes(count: u64) -> String {
    bytes_of(super::shipping::float(count))
}

/// In powers of 1000, as prices are.
pub(super) fn bytes_of(count: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.2} {unit}", count / size),
        None => format!("{count:.0} B"),
    }
}

/// To the hundredth, and what is less to three digits.
pub(super) fn amount(money: f64) -> String {
    match money {
        _ if money >= 0.1 || money <= 0.0 => format!("{money:.2}"),
        _ if money >= 0.000_1 => format!("{money:.5}"),
        _ => "<0.0001".to_owned(),
    }
}

pub(super) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", super::shipping::float(part) / super::shipping::float(whole.max(1)) * 100.0)
}

/// The first column to the left, the others to the right.
fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..).map_while(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let blanks = " ".repeat(width - cell.chars().count());
            match at {
                0 => line.extend([cell.as_str(), &blanks]),
                _ => line.extend([" ".repeat(GAP).as_str(), &blanks, cell]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_people_read_them() {
        assert_eq!([bytes(0), bytes(999), bytes(1_000), bytes(2_500_000)], ["0 B", "999 B", "1.00 kB", "2.50 MB"]);
        assert_eq!(
            [amount(0.0), amount(12.345), amount(0.012_3), amount(0.000_001)],
            ["0.00", "12.35", "0.01230", "<0.0001"]
        );
        assert_eq!([percent(1, 3), percent(0, 0)], ["33.3 %", "0.0 %"]);
    }

    #[test]
    fn columns_are_even() {
        let rows = [words(["A", "BB"]), words(["long", "c"])];
        assert_eq!(columns(&rows), "A     BB\nlong   c\n");
    }

    #[test]
    fn names_are_tame() {
        assert_eq!(short("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        let long = short(&"/x".repeat(100));
        assert!(long.starts_with("/x/x") && long.ends_with("/x") && long.chars().count() == NAME, "{long}");
    }
}
