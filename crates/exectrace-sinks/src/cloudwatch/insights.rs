//! Queries of CloudWatch Logs Insights: asked, waited for, read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::QueryStatus;

use super::client::{self, ClientOptions, meaning};
use crate::destination::SendError;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Log groups.
    pub groups: Vec<String>,
    /// In the language of Logs Insights.
    pub query: String,
    /// Events from here on.
    pub since: SystemTime,
    /// Up to here.
    pub until: SystemTime,
    /// Rows at most; AWS gives 10,000 and no more.
    pub limit: i32,
}

/// What a query came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Names of columns, in the order in which they first came.
    pub columns: Vec<String>,
    /// A cell for each column; `None` where an event has no such field.
    pub rows: Vec<Vec<Option<String>>>,
    /// What AWS read for it.
    pub statistics: Statistics,
}

/// How far a query is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Statistics {
    /// Events that fit.
    pub matched: f64,
    /// Events that were read.
    pub scanned: f64,
    /// Bytes of these; what AWS bills.
    pub bytes: f64,
}

impl Eq for Statistics {}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It could not be asked.
    #[error(transparent)]
    Request(#[from] SendError),
    /// AWS ended it.
    #[error("the query ended as {0}: ask for less time, or for fewer log groups")]
    Ended(String),
    /// An answer lacks what it must have.
    #[error("the answer to the query has no {0}")]
    Answer(&'static str),
}

/// A client of Logs Insights.
pub struct Insights(Client);

/// A query that runs.
pub struct Running {
    id: String,
}

/// The first wait between two looks at a query, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));
/// A request that failed for a moment is made so often.
const ATTEMPTS: u32 = 5;

impl Insights {
    /// Nothing is asked before the first query.
    pub async fn connect(options: &ClientOptions) -> Insights {
        Insights(client::connect(options).await)
    }

    /// Starts a query.
    pub async fn start(&self, question: &Question) -> Result<Running, QueryError> {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            i64::try_from(since).unwrap_or(i64::MAX)
        };
        // What happened in the second that has begun is asked for as well.
        let until = question.until.checked_add(Duration::from_nanos(999_999_999)).unwrap_or(question.until);
        let mut failures = 0;
        loop {
            let started = self
                .0
                .start_query()
                .set_log_group_names(Some(question.groups.clone()))
                .query_string(&question.query)
                .start_time(seconds(question.since))
                .end_time(seconds(until))
                .limit(question.limit)
                .send()
                .await;
            match started {
                Ok(started) => {
                    let id = started.query_id.ok_or(QueryError::Answer("id"))?;
                    return Ok(Running { id });
                }
                Err(error) => wait_or_fail(meaning(&error, "logs:StartQuery"), &mut failures).await?,
            }
        }
    }

    /// Waits until a query is done; `progress` is told how far it is.
    pub async fn finish(&self, running: &Running, mut progress: impl FnMut(Statistics)) -> Result<Rows, QueryError> {
        let (mut wait, longest) = WAITS;
        let mut failures = 0;
        loop {
            let results = match self.0.get_query_results().query_id(&running.id).send().await {
                Ok(results) => results,
                Err(error) => {
                    wait_or_fail(meaning(&error, "logs:GetQueryResults"), &mut failures).await?;
                    continue;
                }
            };
            failures = 0;
            let statistics = results.statistics().map_or_else(Statistics::default, |statistics| Statistics {
                matched: statistics.records_matched(),
                scanned: statistics.records_scanned(),
                bytes: statistics.bytes_scanned(),
            });
            progress(statistics);
            match results.status() {
                Some(QueryStatus::Complete) => {
                    let cells = results.results().iter().map(|row| {
                        let cell = |field: &aws_sdk_cloudwatchlogs::types::ResultField| {
                            Some((field.field()?.to_owned(), field.value()?.to_owned()))
                        };
                        row.iter().filter_map(cell).collect::<Vec<_>>()
                    });
                    return Ok(table(cells, statistics));
                }
                Some(QueryStatus::Scheduled | QueryStatus::Running) => {}
                Some(status) => return Err(QueryError::Ended(status.as_str().to_owned())),
                None => return Err(QueryError::Answer("status")),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// Stops a query, so that nobody pays for what nobody reads.
    pub async fn stop(&self, running: &Running) -> Result<(), QueryError> {
        let stopped = self.0.stop_query().query_id(&running.id).send().await;
        stopped.map(drop).map_err(|error| meaning(&error, "logs:StopQuery").into())
    }
}

async fn wait_or_fail(error: SendError, failures: &mut u32) -> Result<(), QueryError> {
    *failures += 1;
    match error {
        SendError::Retryable { after, .. } if *failures < ATTEMPTS => {
            tokio::time::sleep(after.unwrap_or(WAITS.0 * 2_u32.pow(*failures))).await;
            Ok(())
        }
        error => Err(error.into()),
    }
}

/// What points to an event in its log group; no query that people read asks for it.
const POINTER: &str = "@ptr";

fn table(rows: impl Iterator<Item = Vec<(String, String)>>, statistics: Statistics) -> Rows {
    let mut columns: Vec<String> = Vec::new();
    let rows: Vec<Vec<(String, String)>> =
        rows.map(|row| row.into_iter().filter(|(name, _)| name != POINTER).collect()).collect();
    for (name, _) in rows.iter().flatten() {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let cell = |row: &[(String, String)], column: &String| {
        row.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone())
    };
    let rows = rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
    Rows { columns, rows, statistics }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_a_cell_for_each_column() {
        let row = |cells: &[(&str, &str)]| {
            cells.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let rows = [row(&[("@timestamp", "1"), ("@ptr", "x")]), row(&[("@timestamp", "2"), ("fields.cmdline", "id")])];
        let rows = table(rows.into_iter(), Statistics::default());
        assert_eq!(rows.columns, ["@timestamp", "fields.cmdline"]);
        assert_eq!(rows.rows, [[Some("1".to_owned()), None], [Some("2".to_owned()), Some("id".to_owned())]]);
    }
}
