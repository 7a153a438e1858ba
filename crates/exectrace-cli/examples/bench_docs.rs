//! Puts what `exectrace bench` measured into the documentation: its tables between two marks, and a plot of its figures.
//!
//! Usage: `bench_docs FIGURES.json TABLES.md docs/benchmarks.md docs/benchmarks.svg` (`make bench-docs`)

use std::env;
use std::fs;

use anyhow::{Context, bail};
use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::Value;

const BEGIN: &str = "<!-- begin of what `make bench-docs` writes -->";
const END: &str = "<!-- end of what `make bench-docs` writes -->";

const WIDTH: u32 = 1080;
const HEIGHT: u32 = 340;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [figures, tables, page, plot] = words.as_slice() else {
        bail!("usage: bench_docs FIGURES.json TABLES.md PAGE.md PLOT.svg");
    };
    let read = |path: &String| fs::read_to_string(path).with_context(|| path.clone());
    let figures: Value = serde_json::from_str(&read(figures)?).with_context(|| figures.clone())?;
    let page_now = read(page)?;
    fs::write(page, with_tables(&page_now, &read(tables)?)?).with_context(|| page.clone())?;
    draw(&figures, plot).with_context(|| plot.clone())
}

fn with_tables(page: &str, tables: &str) -> anyhow::Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("the page lacks {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the page lacks {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim()))
}

fn draw(figures: &Value, path: &str) -> anyhow::Result<()> {
    let root = SVGBackend::new(path, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((1, 3));
    workload(&areas[0], &rows(figures, "tools"))?;
    lines(
        &areas[1],
        "An exec that is nobody's: ns in the kernel",
        "scopes",
        &[("one tracer", points(&rows(figures, "scopes"), "scopes", "ns_per_exec"))],
    )?;
    // One tracer for one scope is where both begin.
    let sidecars = |is_one_of: fn(&Value) -> bool| {
        let rows: Vec<Value> = rows(figures, "sidecars").into_iter().filter(is_one_of).collect();
        points(&rows, "scopes", "kernel_ns_per_exec")
    };
    lines(
        &areas[2],
        "An exec of one scope of many: ns in the kernel",
        "scopes",
        &[
            ("a tracer for each", sidecars(|row| row["tracers"] == row["scopes"])),
            ("one tracer for all", sidecars(|row| row["tracers"] == 1)),
        ],
    )?;
    root.present()?;
    Ok(())
}

fn rows(figures: &Value, name: &str) -> Vec<Value> {
    figures[name].as_array().cloned().unwrap_or_default()
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_default()
}

fn points(rows: &[Value], x: &str, y: &str) -> Vec<(f64, f64)> {
    rows.iter().map(|row| (number(row, x), number(row, y))).collect()
}

/// A bar for each tool: its median round, and a line from the worst to the best.
fn workload(area: &Area<'_>, rows: &[Value]) -> anyhow::Result<()> {
    let mut tools: Vec<(String, Vec<f64>)> = Vec::new();
    for row in rows {
        let share = number(row, "traced_execs_per_second") / number(row, "untraced_execs_per_second") * 100.0;
        let tool = row["tool"].as_str().unwrap_or_default();
        let name = tool.split(' ').next().unwrap_or_default().to_owned();
        match tools.iter_mut().find(|(known, _)| *known == name) {
            Some((_, shares)) => shares.push(share),
            None => tools.push((name, vec![share])),
        }
    }
    let count = i32::try_from(tools.len())?;
    let mut chart = ChartBuilder::on(area)
        .caption("Execs a second, % of untraced", ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(36)
        .build_cartesian_2d((0..count - 1).into_segmented(), 0.0..110.0)?;
    let label = |position: &SegmentValue<i32>| match position {
        SegmentValue::CenterOf(at) => {
            usize::try_from(*at).ok().and_then(|at| tools.get(at)).map_or_else(String::new, |(name, _)| name.clone())
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(tools.len())
        .x_label_formatter(&label)
        .draw()?;
    for (at, (_, shares)) in (0..count).zip(&tools) {
        let mut sorted = shares.clone();
        sorted.sort_by(f64::total_cmp);
        let color = Palette99::pick(usize::try_from(at)?).filled();
        let (left, right) = (SegmentValue::Exact(at), SegmentValue::Exact(at + 1));
        let mut bar = Rectangle::new([(left, 0.0), (right, sorted[sorted.len() / 2])], color);
        bar.set_margin(0, 0, 12, 12);
        chart.draw_series([bar])?;
        let middle = || SegmentValue::CenterOf(at);
        let ends = [(middle(), sorted[0]), (middle(), sorted[sorted.len() - 1])];
        chart.draw_series([PathElement::new(ends, BLACK.stroke_width(2))])?;
    }
    Ok(())
}

fn lines(area: &Area<'_>, caption: &str, x: &str, series: &[(&str, Vec<(f64, f64)>)]) -> anyhow::Result<()> {
    let all = || series.iter().flat_map(|(_, points)| points);
    let right = all().map(|point| point.0).fold(1.0, f64::max);
    let top = all().map(|point| point.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d((0.8..right * 1.3).log_scale(), 0.0..top * 1.15)?;
    chart
        .configure_mesh()
        .x_desc(x)
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|at: &f64| format!("{at:.0}"))
        .y_label_formatter(&|at: &f64| format!("{at:.0}"))
        .draw()?;
    for (at, (name, points)) in series.iter().enumerate() {
        let color = Palette99::pick(at).to_rgba();
        chart
            .draw_series(LineSeries::new(points.clone(), color.stroke_width(2)).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    if series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()?;
    }
    Ok(())
}
