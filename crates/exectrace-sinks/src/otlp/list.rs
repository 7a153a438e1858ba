//! Lists as OpenTelemetry's variables of the environment have them: `NAME=VALUE,NAME=VALUE`, values percent-encoded.
//!
//! <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>

use percent_encoding::percent_decode_str;

/// A part of a list is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It has no name, or no value. What it says is left out, because it can be secret.
    #[error("part {0} of the list is not NAME=VALUE (a comma in a value is written %2C)")]
    Part(usize),
    /// Its value is not UTF-8.
    #[error("the value of {0:?} is not UTF-8")]
    Value(String),
}

/// Takes a list apart; an empty one is none.
pub fn parse_list(list: &str) -> Result<Vec<(String, String)>, ListError> {
    let parts = list.split(',').zip(1..).filter(|(part, _)| !part.trim().is_empty());
    parts
        .map(|(part, at)| {
            let (name, value) = part.split_once('=').ok_or(ListError::Part(at))?;
            let name = name.trim();
            if name.is_empty() {
                return Err(ListError::Part(at));
            }
            let value = percent_decode_str(value.trim()).decode_utf8();
            let value = value.map_err(|_| ListError::Value(name.to_owned()))?;
            Ok((name.to_owned(), value.into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_names_and_values() {
        let list = parse_list("a=1, b = x%2Cy ,,c=k=v").expect("a list");
        let list: Vec<_> = list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(list, [("a", "1"), ("b", "x,y"), ("c", "k=v")]);
        assert_eq!(parse_list(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_value() {
        assert_eq!(parse_list("a=1,Bearer s3cret"), Err(ListError::Part(2)));
        assert_eq!(parse_list("=s3cret"), Err(ListError::Part(1)));
        assert_eq!(parse_list("a=%ff"), Err(ListError::Value("a".to_owned())));
    }
}
