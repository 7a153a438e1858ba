//! A query that is sent, waited for, and whose rows are printed.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use exectrace_sinks::cloudwatch::ClientOptions;
use exectrace_sinks::cloudwatch::insights::{Insights, Question, Rows, Running, Statistics};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::print;
use crate::cli::query::{QueryArgs, ResultFormat};
use crate::line::paint::printable;

/// How far back, if nothing was said.
const SINCE: Duration = Duration::from_secs(3600);
/// How long stopping a query may take.
const STOPPING: Duration = Duration::from_secs(5);

pub(super) fn run(args: &QueryArgs, query: String) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let now = SystemTime::now();
    let until = args.until.unwrap_or(now);
    let question = Question {
        groups: args.run.group.clone(),
        query,
        since: args.since.unwrap_or_else(|| until.checked_sub(SINCE).unwrap_or(until)),
        until,
        limit: args.run.limit,
    };
    let rows = runtime.block_on(ask(args, &question))?;
    tracing::info!(
        rows = rows.rows.len(),
        matched = rows.statistics.matched,
        scanned_bytes = rows.statistics.bytes,
        "the query is complete"
    );
    if rows.statistics.matched > rows.rows.len() as f64 {
        tracing::warn!(
            "these are not all events that match: ask for less time, or for less (--since, --until, --text)"
        );
    }
    print(&match args.run.output {
        ResultFormat::Table => table(&rows),
        ResultFormat::Json => json_text(&rows)?,
    })
}

/// Asks, and waits for the answer. Who does not want to wait any more stops the query, for which AWS bills.
async fn ask(args: &QueryArgs, question: &Question) -> anyhow::Result<Rows> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let options = ClientOptions {
        region: args.run.region.clone(),
        endpoint_url: args.run.endpoint.clone(),
        ..ClientOptions::default()
    };
    let insights = Insights::connect(&options).await;
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    progress.enable_steady_tick(Duration::from_millis(100));
    progress.set_message("asking");
    let running = tokio::select! {
        running = insights.start(question) => running.context("asking CloudWatch Logs")?,
        _ = interrupt.recv() => bail!("interrupted before the query began"),
        _ = terminate.recv() => bail!("interrupted before the query began"),
    };
    let tell = |Statistics { matched, scanned, bytes }| {
        let [matched, scanned, bytes] = [matched, scanned, bytes].map(whole);
        progress.set_message(format!(
            "{} events match of {} that were read, {}",
            HumanCount(matched),
            HumanCount(scanned),
            HumanBytes(bytes)
        ));
    };
    let result = tokio::select! {
        rows = insights.finish(&running, tell) => rows.context("waiting for the query"),
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("interrupted")),
        () = tokio::time::sleep(args.run.timeout) => Err(anyhow::anyhow!("no result in time (--timeout)")),
    };
    progress.finish_and_clear();
    if result.is_err() {
        stop(&insights, &running).await;
    }
    result
}

async fn stop(insights: &Insights, running: &Running) {
    match tokio::time::timeout(STOPPING, insights.stop(running)).await {
        Ok(Ok(())) => tracing::info!("the query was stopped"),
        Ok(Err(error)) => tracing::warn!("the query could not be stopped, or has ended: {error}"),
        Err(_) => tracing::warn!("nobody answers that the query was stopped"),
    }
}

/// A count that AWS gives as a fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts below 2^53, never negative")]
fn whole(count: f64) -> u64 {
    count as u64
}

/// A row in each line, columns side by side; what is there can neither move a cursor nor break a line.
fn table(rows: &Rows) -> String {
    let cell = |text: &Option<String>| text.as_deref().map_or(String::new(), |text| printable(text.as_bytes()));
    let mut lines = vec![rows.columns.iter().map(|name| printable(name.as_bytes())).collect::<Vec<_>>()];
    lines.extend(rows.rows.iter().map(|row| row.iter().map(cell).collect()));
    let last = rows.columns.len().saturating_sub(1);
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..last).map(width).collect();
    let mut out = String::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        for (text, width) in line.iter().zip(&widths) {
            out.push_str(&format!("{text:width$}  "));
        }
        out.push_str(&line[last]);
        out.push('\n');
    }
    out
}

fn json_text(rows: &Rows) -> anyhow::Result<String> {
    let object = |row: &Vec<Option<String>>| {
        let cells = rows.columns.iter().zip(row).filter_map(|(name, cell)| Some((name.clone(), json!(cell.as_ref()?))));
        Value::Object(cells.collect::<Map<_, _>>())
    };
    let Statistics { matched, scanned, bytes } = rows.statistics;
    let found: Vec<Value> = rows.rows.iter().map(object).collect();
    let statistics = json!({ "matched": whole(matched), "scanned": whole(scanned), "bytes": whole(bytes) });
    Ok(serde_json::to_string_pretty(&json!({ "rows": found, "statistics": statistics }))? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let row = |time: &str, command: Option<&str>| vec![Some(time.to_owned()), command.map(str::to_owned)];
        Rows {
            columns: vec!["@timestamp".to_owned(), "fields.cmdline".to_owned()],
            rows: vec![row("2026-11-28 09:00:00.000", Some("ls \u{1b}[2J\n")), row("x", None)],
            statistics: Statistics { matched: 2.0, scanned: 10.0, bytes: 4096.0 },
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_row_whatever_it_holds() {
        let table = table(&rows());
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(table.starts_with("@timestamp               fields.cmdline\n2026-11-28 09:00:00.000  ls "), "{table}");
        assert!(!table.contains('\u{1b}'));
        let nothing = super::table(&Rows::default());
        assert_eq!(nothing, "");
    }

    #[test]
    fn json_has_what_there_is_and_what_it_cost() {
        let json: Value = serde_json::from_str(&json_text(&rows()).expect("JSON")).expect("JSON");
        assert_eq!(json["rows"][0]["fields.cmdline"], "ls \u{1b}[2J\n");
        assert_eq!(json["rows"][1], json!({ "@timestamp": "x" }));
        assert_eq!(json["statistics"]["bytes"], 4096);
    }
}
