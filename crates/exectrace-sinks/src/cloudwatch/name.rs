//! The name of a log stream, from a template.

use std::collections::BTreeMap;

/// A stream's name has at most so many characters.
const MOST: usize = 512;

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamNameError {
    /// A brace without the other one.
    #[error("in the stream's name {0:?} a brace is not closed, or not opened")]
    Brace(String),
    /// No label has this name.
    #[error(
        "in the stream's name {template:?} there is {{{name}}}: that is no label of this log, whose are {known}, nor host or run"
    )]
    Unknown {
        /// The whole template.
        template: String,
        /// What stands in the braces.
        name: String,
        /// Names that could.
        known: String,
    },
    /// Nothing is left.
    #[error("the stream's name {0:?} comes to nothing")]
    Empty(String),
}

/// Labels that a log of a workspace has, and others may lack.
const USUAL: [&str; 6] = ["organization_id", "user_email", "user_id", "username", "workspace_id", "workspace_name"];

/// Fills a template: `{host}`, `{run}`, and any label by its name. A usual label that is not there is left out, with one of
/// the slashes around it. What a name may not have (`:`, `*`, control characters) becomes `_`.
pub fn stream_name(
    template: &str,
    labels: &BTreeMap<String, String>,
    host: &str,
    run: &str,
) -> Result<String, StreamNameError> {
    let mut name = String::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once('{') {
        push(&mut name, text);
        let unclosed = || StreamNameError::Brace(template.to_owned());
        let (key, behind) = behind.split_once('}').ok_or_else(unclosed)?;
        match key {
            "host" => name.push_str(host),
            "run" => name.push_str(run),
            key => match labels.get(key) {
                Some(value) => name.push_str(value),
                None if USUAL.contains(&key) => {}
                None => {
                    let known = labels.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    let (template, name) = (template.to_owned(), key.to_owned());
                    return Err(StreamNameError::Unknown { template, name, known });
                }
            },
        }
        rest = behind;
    }
    if rest.contains('}') || name.contains('{') {
        return Err(StreamNameError::Brace(template.to_owned()));
    }
    push(&mut name, rest);
    let is_forbidden = |char: char| matches!(char, ':' | '*') || char.is_control();
    let name: String = name.chars().map(|char| if is_forbidden(char) { '_' } else { char }).take(MOST).collect();
    let name = name.trim_matches('/').to_owned();
    if name.is_empty() { Err(StreamNameError::Empty(template.to_owned())) } else { Ok(name) }
}

/// Two slashes, where something was left out between them, are one.
fn push(name: &mut String, text: &str) {
    let is_doubled = text.starts_with('/') && (name.is_empty() || name.ends_with('/'));
    name.push_str(if is_doubled { &text[1..] } else { text });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, labels: &[(&str, &str)]) -> Result<String, StreamNameError> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        stream_name(template, &labels, "node-1", "0000002a")
    }

    const DEFAULT: &str = "{username}/{workspace_name}/{host}";

    #[test]
    fn labels_host_and_run_are_filled_in() {
        let labels = [("username", "jessie"), ("workspace_name", "main"), ("team", "a:b*")];
        assert_eq!(fill(DEFAULT, &labels).as_deref(), Ok("jessie/main/node-1"));
        assert_eq!(fill("x-{team}-{run}", &labels).as_deref(), Ok("x-a_b_-0000002a"));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(fill(DEFAULT, &[]).as_deref(), Ok("node-1"));
        assert_eq!(fill(DEFAULT, &[("workspace_name", "main")]).as_deref(), Ok("main/node-1"));
    }

    #[test]
    fn a_template_that_is_none_is_refused() {
        assert!(matches!(fill("{user", &[]), Err(StreamNameError::Brace(_))));
        assert!(matches!(fill("user}", &[]), Err(StreamNameError::Brace(_))));
        let unknown = fill("{temperature}", &[("team", "x")]).expect_err("no such label").to_string();
        assert!(unknown.contains("{temperature}") && unknown.contains("team"), "{unknown}");
        assert!(matches!(fill("{username}", &[]), Err(StreamNameError::Empty(_))));
        assert_eq!(fill("a", &[]).map(|name| name.len()), Ok(1));
        assert_eq!(fill(&"a".repeat(600), &[]).map(|name| name.len()), Ok(512));
    }
}
