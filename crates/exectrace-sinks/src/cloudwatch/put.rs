//! Lines as events of a log stream.

use std::time::UNIX_EPOCH;

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, RejectedLogEventsInfo};

use super::client::{self, ClientOptions, code, meaning};
use crate::destination::{Destination, Limits, Line, Receipt, SendError};

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudWatchOptions {
    /// Where CloudWatch Logs is.
    pub client: ClientOptions,
    /// The log group; made if missing.
    pub group: String,
    /// The log stream; made if missing.
    pub stream: String,
    /// Days that a group which is made here keeps events; `None`: for ever. AWS knows some numbers only.
    pub retention_days: Option<i32>,
}

/// A log stream.
pub struct CloudWatch {
    options: CloudWatchOptions,
    client: Option<Client>,
}

impl CloudWatch {
    /// Nothing is asked before the first batch.
    pub fn new(options: CloudWatchOptions) -> CloudWatch {
        CloudWatch { options, client: None }
    }

    async fn put(&self, client: &Client, events: Vec<InputLogEvent>) -> Result<Receipt, Missing> {
        let count = events.len();
        let put = client
            .put_log_events()
            .log_group_name(&self.options.group)
            .log_stream_name(&self.options.stream)
            .set_log_events(Some(events))
            .send()
            .await;
        match put {
            Ok(put) => {
                let rejected = put.rejected_log_events_info().map(|info| rejected(info, count)).unwrap_or_default();
                Ok(Receipt { rejected, ..Receipt::default() })
            }
            // Whatever such an answer says, or lacks: the request was taken.
            Err(error) if error.raw_response().is_some_and(|answer| answer.status().is_success()) => {
                Ok(Receipt::default())
            }
            Err(error) => match code(&error) {
                "DataAlreadyAcceptedException" => Ok(Receipt::default()),
                "ResourceNotFoundException" => Err(Missing::Resource),
                _ => Err(Missing::Other(meaning(&error, "logs:PutLogEvents"))),
            },
        }
    }

    /// Makes the stream, and the group if that is missing too.
    async fn create(&self, client: &Client) -> Result<(), SendError> {
        let CloudWatchOptions { group, stream, .. } = &self.options;
        let create_stream = || client.create_log_stream().log_group_name(group).log_stream_name(stream).send();
        match create_stream().await {
            Ok(_) => return Ok(()),
            Err(error) => match code(&error) {
                "ResourceAlreadyExistsException" => return Ok(()),
                "ResourceNotFoundException" => {}
                _ => return Err(meaning(&error, "logs:CreateLogStream")),
            },
        }
        self.create_group(client).await?;
        match create_stream().await {
            Err(error) if code(&error) != "ResourceAlreadyExistsException" => {
                Err(meaning(&error, "logs:CreateLogStream"))
            }
            _ => Ok(()),
        }
    }

    async fn create_group(&self, client: &Client) -> Result<(), SendError> {
        let group = &self.options.group;
        match client.create_log_group().log_group_name(group).send().await {
            Err(error) if code(&error) == "ResourceAlreadyExistsException" => return Ok(()),
            Err(error) => return Err(meaning(&error, "logs:CreateLogGroup")),
            Ok(_) => tracing::info!(group = group.as_str(), "made the log group"),
        }
        let Some(days) = self.options.retention_days else { return Ok(()) };
        let kept = client.put_retention_policy().log_group_name(group).retention_in_days(days).send().await;
        if let Err(error) = kept {
            // The events are worth more than when they are to go.
            let error = meaning(&error, "logs:PutRetentionPolicy");
            tracing::error!(group = group.as_str(), days, "the log group keeps events for ever: {error}");
        }
        Ok(())
    }
}

enum Missing {
    /// The group or the stream is not there.
    Resource,
    Other(SendError),
}

impl Destination for CloudWatch {
    const NAME: &'static str = "cloudwatch";

    /// Of PutLogEvents, as documented. An event may have 1 MB today and had 256 KB before; lines are far below.
    fn limits(&self) -> Limits {
        Limits {
            batch_bytes: 1_048_576,
            overhead: 26,
            line_bytes: 262_118,
            batch_lines: 10_000,
            span: Some(std::time::Duration::from_secs(24 * 3600)),
        }
    }

    async fn send(&mut self, lines: &[Line]) -> Result<Receipt, SendError> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(client::connect(&self.options.client).await).clone(),
        };
        let events = events(lines)?;
        match self.put(&client, events.clone()).await {
            Ok(receipt) => return Ok(receipt),
            Err(Missing::Other(error)) => return Err(error),
            Err(Missing::Resource) => {}
        }
        self.create(&client).await?;
        match self.put(&client, events).await {
            Ok(receipt) => Ok(receipt),
            Err(Missing::Other(error)) => Err(error),
            // It takes a moment until what was made is known everywhere.
            Err(Missing::Resource) => Err(SendError::Retryable {
                why: "the log stream was made and is not known yet".to_owned(),
                after: None,
            }),
        }
    }
}

fn events(lines: &[Line]) -> Result<Vec<InputLogEvent>, SendError> {
    let event = |line: &Line| {
        let since = line.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        InputLogEvent::builder()
            .timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            .message(String::from_utf8_lossy(&line.bytes))
            .build()
            .map_err(|error| SendError::Rejected { why: error.to_string() })
    };
    lines.iter().map(event).collect()
}

/// Places in a batch of which an answer tells where some begin and others end.
fn rejected(info: &RejectedLogEventsInfo, count: usize) -> Vec<(std::ops::Range<usize>, String)> {
    let place = |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok()).map(|index| index.min(count));
    let begin = [
        (place(info.too_old_log_event_end_index), "older than 14 days"),
        (place(info.expired_log_event_end_index), "older than the log group keeps events"),
    ];
    // Both count from the first event.
    let (old, why) = begin.into_iter().map(|(end, why)| (end.unwrap_or(0), why)).max().unwrap_or((0, ""));
    let new = place(info.too_new_log_event_start_index).unwrap_or(count).max(old);
    let ranges = [(0..old, why), (new..count, "more than two hours in the future")];
    ranges.into_iter().filter(|(range, _)| !range.is_empty()).map(|(range, why)| (range, why.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rejected_is_told_by_its_place() {
        let info = |old, expired, new| {
            RejectedLogEventsInfo::builder()
                .set_too_old_log_event_end_index(old)
                .set_expired_log_event_end_index(expired)
                .set_too_new_log_event_start_index(new)
                .build()
        };
        let places =
            |info| rejected(&info, 10).into_iter().map(|(range, _)| (range.start, range.end)).collect::<Vec<_>>();
        assert_eq!(places(info(None, None, None)), []);
        assert_eq!(places(info(Some(3), None, Some(8))), [(0, 3), (8, 10)]);
        assert_eq!(places(info(Some(3), Some(5), None)), [(0, 5)]);
        assert_eq!(places(info(Some(99), None, Some(0))), [(0, 10)]);
    }
}
