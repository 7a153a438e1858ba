//! Queries of CloudWatch Logs Insights for the log, as text.
//!
//! Where a line is in an event depends on who ships it: Fluent Bit puts the object that it parsed under a key, our own
//! sink sends the line itself.

use clap::ValueEnum;

/// How the log got to CloudWatch Logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// Fluent Bit as Container Insights sets it up: the line is under log_processed
    ContainerInsights,
    /// Fluent Bit as the chart aws-for-fluent-bit of eks-charts sets it up: the line is under data
    EksCharts,
    /// The sink cloudwatch: the event is the line
    Direct,
}

impl Layout {
    /// What stands before the names of a line.
    fn prefix(self) -> &'static str {
        match self {
            Layout::ContainerInsights => "log_processed.",
            Layout::EksCharts => "data.",
            Layout::Direct => "",
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) user: Option<String>,
    pub(crate) workspace: Option<String>,
    /// A command line: with `*` or `?` a pattern for all of it, otherwise a part of it.
    pub(crate) text: Option<String>,
}

/// Why a value cannot be looked for: it has a control character, which the language has no form for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsearchable(pub(crate) &'static str);

/// The query, a clause in each line.
pub(crate) fn query(layout: Layout, wanted: &Wanted) -> Result<String, Unsearchable> {
    let prefix = layout.prefix();
    let mut clauses = vec![format!("fields @timestamp, {prefix}fields.cmdline"), "sort @timestamp asc".to_owned()];
    if layout != Layout::Direct {
        clauses.push(r#"filter kubernetes.container_name="exectrace""#.to_owned());
    }
    for (label, option, value) in
        [("username", "--user", &wanted.user), ("workspace_name", "--workspace", &wanted.workspace)]
    {
        if let Some(value) = value {
            clauses.push(format!("filter {prefix}fields.labels.{label}={}", literal(option, value)?));
        }
    }
    if let Some(text) = &wanted.text {
        let like = if text.contains(['*', '?']) { pattern("--text", text)? } else { literal("--text", text)? };
        clauses.push(format!("filter {prefix}fields.cmdline like {like}"));
    }
    Ok(clauses.join("\n| "))
}

/// A string of the language.
fn literal(option: &'static str, value: &str) -> Result<String, Unsearchable> {
    refuse_control_characters(option, value)?;
    Ok(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A regular expression that fits what a pattern fits, from the first character to the last.
fn pattern(option: &'static str, pattern: &str) -> Result<String, Unsearchable> {
    refuse_control_characters(option, pattern)?;
    let mut regex = String::from("/(?s)^");
    for character in pattern.chars() {
        match character {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '/' | '\\' | '.' | '+' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' | '|' => {
                regex.push('\\');
                regex.push(character);
            }
            other => regex.push(other),
        }
    }
    regex.push_str("$/");
    Ok(regex)
}

fn refuse_control_characters(option: &'static str, value: &str) -> Result<(), Unsearchable> {
    if value.chars().any(char::is_control) { Err(Unsearchable(option)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(user: &str, workspace: &str) -> Wanted {
        Wanted { user: Some(user.to_owned()), workspace: Some(workspace.to_owned()), text: None }
    }

    fn clauses(layout: Layout, wanted: &Wanted) -> Vec<String> {
        let query = query(layout, wanted).expect("a query");
        query.split('\n').map(|clause| clause.trim_start_matches("| ").to_owned()).collect()
    }

    #[test]
    fn the_query_is_the_documented_one_clause_for_clause() {
        assert_eq!(
            clauses(Layout::ContainerInsights, &wanted("zac", "code")),
            [
                "fields @timestamp, log_processed.fields.cmdline",
                "sort @timestamp asc",
                r#"filter kubernetes.container_name="exectrace""#,
                r#"filter log_processed.fields.labels.username="zac""#,
                r#"filter log_processed.fields.labels.workspace_name="code""#,
            ]
        );
    }

    #[test]
    fn each_layout_has_the_line_elsewhere() {
        let eks = clauses(Layout::EksCharts, &wanted("zac", "code"));
        assert_eq!(eks[0], "fields @timestamp, data.fields.cmdline");
        assert_eq!(
            eks[2..4],
            [r#"filter kubernetes.container_name="exectrace""#, r#"filter data.fields.labels.username="zac""#]
        );
        let direct = clauses(Layout::Direct, &wanted("zac", "code"));
        let of_labels = [r#"filter fields.labels.username="zac""#, r#"filter fields.labels.workspace_name="code""#];
        assert_eq!(direct[..2], ["fields @timestamp, fields.cmdline", "sort @timestamp asc"]);
        assert_eq!(direct[2..], of_labels);
    }

    #[test]
    fn a_value_cannot_become_a_part_of_the_query() {
        let named = clauses(Layout::Direct, &wanted("a\" | limit 1\\", "b"));
        assert_eq!(named[2], r#"filter fields.labels.username="a\" | limit 1\\""#);
        assert_eq!(query(Layout::Direct, &wanted("a\nb", "c")), Err(Unsearchable("--user")));
        let text = |text: &str| {
            let wanted = Wanted { text: Some(text.to_owned()), ..Wanted::default() };
            clauses(Layout::Direct, &wanted).pop().expect("a clause")
        };
        assert_eq!(text("curl *"), "filter fields.cmdline like /(?s)^curl .*$/");
        assert_eq!(text("rm -rf /tmp/?.[a]$ | x"), r"filter fields.cmdline like /(?s)^rm -rf \/tmp\/.\.\[a\]\$ \| x$/");
        assert_eq!(text(r#"say "hi""#), r#"filter fields.cmdline like "say \"hi\"""#);
    }
}
