//! The report as one page: nothing is fetched, nothing runs. Names come from who is logged, so none is trusted: control
//! characters are shown by their numbers, and all text is escaped by maud. The page's policy forbids scripts besides.

use std::sync::Arc;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::report::{Report, Talker};
use super::shipping::{Way, float};
use super::tally::{Place, Sum};
use super::text::{amount, bytes, bytes_of, percent};
use super::treemap::{Rect, squarify};
use crate::line::paint::printable;

const WHOLE: Rect = Rect { x: 0.0, y: 0.0, width: 1200.0, height: 640.0 };
/// A box that is smaller has no name in it.
const NAMED: [f64; 2] = [50.0, 16.0];
/// What a character takes.
const CHARACTER: f64 = 7.0;
/// What is shown how, by how much of it a roll-up saves.
const SAVINGS: [(&str, &str); 5] =
    [("s0", "under 20 %"), ("s1", "20 to 40 %"), ("s2", "40 to 60 %"), ("s3", "60 to 80 %"), ("s4", "80 % and more")];

impl Report {
    /// For a browser.
    pub(crate) fn page(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { "exectrace cost" }
                    style { (PreEscaped(include_str!("page.css"))) }
                }
                body {
                    h1 { "What the log costs" }
                    p { (self.basis.in_words()) " " (self.prices_in_words()) }
                    (self.cost_table())
                    (self.volume_table())
                    @if !self.boxes.is_empty() { (self.map()) }
                    @for (title, talkers) in self.lists() { (talker_table(title, talkers)) }
                    @if !self.notes.is_empty() {
                        h2 { "Notes" }
                        ul { @for note in &self.notes { li { (note) } } }
                    }
                }
            }
        };
        page.into_string() + "\n"
    }

    fn lists(&self) -> [(&'static str, &[Talker]); 4] {
        let top = &self.top;
        [("Users", &top.user), ("Workspaces", &top.workspace), ("Parents", &top.parent), ("Files", &top.exe)]
            .map(|(title, talkers)| (title, talkers.as_slice()))
    }

    fn cost_table(&self) -> Markup {
        let currency = printable(self.prices.currency.as_bytes());
        html! {
            table {
                caption { "A month: bytes, and " (currency) }
                thead { tr {
                    th scope="col" { "way" }
                    @for volume in &self.settings {
                        th scope="col" { (volume.setting.in_words()) }
                        th scope="col" { (currency) }
                    }
                } }
                tbody { @for way in Way::ALL { tr {
                    th scope="row" { (way.in_words()) }
                    @for volume in &self.settings {
                        @let shipped = volume.ways.iter().find(|shipped| shipped.way == way);
                        td { (shipped.and_then(|shipped| shipped.bytes_a_month).map_or_else(absent, bytes_of)) }
                        td { (shipped.and_then(|shipped| shipped.a_month).map_or_else(absent, |money| amount(money.all))) }
                    }
                } } }
            }
        }
    }

    fn volume_table(&self) -> Markup {
        let whole = self.settings.first().map_or(0, |volume| volume.bytes);
        html! {
            table {
                caption { "What was read, in each setting" }
                thead { tr { @for title in ["setting", "lines", "bytes", "of every exec", "in a file"] { th scope="col" { (title) } } } }
                tbody { @for volume in &self.settings { tr {
                    th scope="row" { (volume.setting.in_words()) }
                    td { (volume.lines) }
                    td { (bytes(volume.bytes)) }
                    td { (percent(volume.bytes, whole)) }
                    td { (volume.file_bytes.map_or_else(String::new, bytes)) }
                } } }
            }
        }
    }

    fn map(&self) -> Markup {
        let drawn = draw(&self.boxes);
        let about = "Each box is a file that was executed, below the one that led to it, in a workspace: these are the names in it. Its area is the bytes \
                     of its lines where every exec has one; its colour says how much of them a roll-up saves. The table \
                     below has the same numbers.";
        html! {
            h2 { "Where the bytes are" }
            p { (about) }
            p { "Saved:" @for (class, words) in SAVINGS { span class={ "key " (class) } {} (words) } }
            svg viewBox={ "0 0 " (WHOLE.width) " " (WHOLE.height) } role="img" aria-labelledby="map-title map-desc" {
                title id="map-title" { "Bytes of the log by workspace, parent and file" }
                desc id="map-desc" { (about) }
                @for ((place, sum), rect) in &drawn.boxes { (one_box(place, *sum, *rect)) }
                @for rect in &drawn.parents { (outline("parent", *rect)) }
                @for rect in &drawn.workspaces { (outline("workspace", *rect)) }
            }
            (self.box_table())
        }
    }

    fn box_table(&self) -> Markup {
        html! {
            details {
                summary { "The same as a table (" (self.boxes.len()) " rows)" }
                table {
                    thead { tr { @for title in ["workspace", "parent", "file", "execs", "bytes", "rolled up", "saved"] { th scope="col" { (title) } } } }
                    tbody { @for (place, sum) in &self.boxes { tr {
                        @for name in place { td.name { (printable(name.as_bytes())) } }
                        td { (sum.execs) }
                        td { (sum.bytes) }
                        td { (sum.rolled_up_bytes) }
                        td { (saved_in_words(*sum)) }
                    } } }
                }
            }
        }
    }
}

fn absent() -> String {
    "\u{2013}".to_owned()
}

fn talker_table(title: &str, talkers: &[Talker]) -> Markup {
    html! {
        table {
            caption { (title) }
            thead { tr { @for title in ["name", "execs", "bytes", "share", "rolled up"] { th scope="col" { (title) } } } }
            tbody { @for talker in talkers { tr {
                td.name { (printable(talker.name.as_bytes())) }
                td { (talker.sum.execs) }
                td { (bytes(talker.sum.bytes)) }
                td { (format!("{:.1} %", talker.share * 100.0)) }
                td { (bytes(talker.sum.rolled_up_bytes)) }
            } } }
        }
    }
}

fn one_box(place: &Place, sum: Sum, rect: Rect) -> Markup {
    let [workspace, parent, exe] = place.each_ref().map(|name| printable(name.as_bytes()));
    let [x, y, width, height] = [rect.x, rect.y, rect.width, rect.height].map(|length| format!("{length:.2}"));
    let about = format!(
        "{exe}\nbelow {parent}\nin {workspace}\n{} execs, {}, rolled up {}: {}",
        sum.execs,
        bytes(sum.bytes),
        bytes(sum.rolled_up_bytes),
        saved_in_words(sum)
    );
    html! {
        g.box {
            title { (about) }
            rect class=(class(sum)) x=(x) y=(y) width=(width) height=(height) {}
            @if rect.width >= NAMED[0] {
                @for (name, line) in [&exe, &parent, &workspace].into_iter().zip(1_u8..) {
                    @if rect.height >= NAMED[1] * f64::from(line) {
                        text class={ "level" (line) } x=(format!("{:.2}", rect.x + 4.0)) y=(format!("{:.2}", rect.y + 15.0 * f64::from(line) - 2.0)) {
                            (fitting(name, rect.width - 8.0))
                        }
                    }
                }
            }
        }
    }
}

fn outline(class: &str, rect: Rect) -> Markup {
    let [x, y, width, height] = [rect.x, rect.y, rect.width, rect.height].map(|length| format!("{length:.2}"));
    html! { rect class=(class) x=(x) y=(y) width=(width) height=(height) {} }
}

/// The end of a name, as much of it as there is room for.
fn fitting(name: &str, width: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let room = (width / CHARACTER).max(1.0) as usize;
    let short = name.rsplit('/').next().filter(|short| !short.is_empty()).unwrap_or(name);
    let count = short.chars().count();
    match count <= room {
        true => short.to_owned(),
        false => short.chars().take(room.saturating_sub(1)).chain(['\u{2026}']).collect(),
    }
}

/// The part that a roll-up saves; less than nothing where its line is longer than what it stands for.
fn saved(sum: Sum) -> f64 {
    1.0 - float(sum.rolled_up_bytes) / float(sum.bytes.max(1))
}

fn saved_in_words(sum: Sum) -> String {
    format!("{:.0} % saved", saved(sum) * 100.0)
}

fn class(sum: Sum) -> &'static str {
    let saved = saved(sum);
    let steps = [0.2, 0.4, 0.6, 0.8];
    SAVINGS[steps.iter().filter(|step| saved >= **step).count()].0
}

/// Rectangles of boxes, and of what they are in.
struct Drawn<'a> {
    boxes: Vec<(&'a (Place, Sum), Rect)>,
    parents: Vec<Rect>,
    workspaces: Vec<Rect>,
}

/// Level by level, each box as large as what it stands for.
fn draw(boxes: &[(Place, Sum)]) -> Drawn<'_> {
    let mut drawn = Drawn { boxes: Vec::new(), parents: Vec::new(), workspaces: Vec::new() };
    let all: Vec<&(Place, Sum)> = boxes.iter().filter(|(_, sum)| sum.bytes > 0).collect();
    for (in_workspace, rect) in divide(all, 0, WHOLE) {
        drawn.workspaces.push(rect);
        for (in_parent, rect) in divide(in_workspace, 1, rect) {
            drawn.parents.push(rect);
            let sizes: Vec<f64> = in_parent.iter().map(|(_, sum)| float(sum.bytes)).collect();
            drawn.boxes.extend(in_parent.into_iter().zip(squarify(&sizes, rect)));
        }
    }
    drawn
}

type Group<'a> = Vec<&'a (Place, Sum)>;

/// Groups by the name of a level, the largest first; within a group the order stays, which is that of the bytes.
fn divide<'a>(boxes: Group<'a>, level: usize, whole: Rect) -> Vec<(Group<'a>, Rect)> {
    let mut groups: Vec<(&Arc<str>, f64, Group<'a>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for one in boxes {
        let (place, sum) = one;
        let at = *places.entry(&place[level]).or_insert_with(|| {
            groups.push((&place[level], 0.0, Vec::new()));
            groups.len() - 1
        });
        groups[at].1 += float(sum.bytes);
        groups[at].2.push(one);
    }
    // What is left over comes last, however much it is, where that leaves boxes as square.
    groups.sort_by(|(_, a, _), (_, b, _)| b.total_cmp(a));
    let sizes: Vec<f64> = groups.iter().map(|(_, size, _)| *size).collect();
    groups.into_iter().map(|(_, _, group)| group).zip(squarify(&sizes, whole)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::OTHERS;
    use super::*;

    fn boxes(rows: &[(&str, &str, &str, u64)]) -> Vec<(Place, Sum)> {
        let sum = |bytes| Sum { execs: 1, bytes, rolled_up_bytes: bytes / 4 };
        rows.iter()
            .map(|(workspace, parent, exe, bytes)| ([*workspace, *parent, *exe].map(Arc::from), sum(*bytes)))
            .collect()
    }

    #[test]
    fn a_box_is_as_large_as_what_it_stands_for() {
        let boxes = boxes(&[
            ("a", "sh", "make", 600),
            ("b", "sh", "gcc", 300),
            ("a", "make", "gcc", 60),
            ("b", "sh", "ls", 40),
        ]);
        let drawn = draw(&boxes);
        assert_eq!((drawn.boxes.len(), drawn.parents.len(), drawn.workspaces.len()), (4, 3, 2));
        for ((_, sum), rect) in &drawn.boxes {
            assert!((rect.area() - float(sum.bytes) / 1_000.0 * WHOLE.area()).abs() < 1e-6);
        }
    }

    #[test]
    fn a_colour_says_what_is_saved() {
        let of = |bytes, rolled_up_bytes| class(Sum { execs: 1, bytes, rolled_up_bytes });
        assert_eq!([of(100, 120), of(100, 81), of(100, 50), of(100, 20), of(0, 0)], ["s0", "s0", "s2", "s4", "s4"]);
    }

    #[test]
    fn a_name_has_as_much_room_as_its_box() {
        assert_eq!(fitting("/usr/bin/make", 70.0), "make");
        assert_eq!(fitting("/usr/bin/x86_64-linux-gnu-gcc-14", 49.0), "x86_64\u{2026}");
        assert_eq!(fitting("/", 49.0), "/");
        assert_eq!(fitting(OTHERS, 70.0), OTHERS);
    }
}
