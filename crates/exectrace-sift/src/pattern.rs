//! Patterns of paths and of command lines: globs, and regular expressions. Both look at bytes.

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};

/// A pattern that an admin wrote.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Looks at the last part of a path only.
    is_of_name: bool,
    /// What the kernel program can look for instead.
    start: Option<Start>,
}

/// Paths by how they begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// This path, and no other.
    Exact(Vec<u8>),
    /// All that begin so.
    Prefix(Vec<u8>),
}

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("{pattern:?} is no pattern: {why}")]
pub struct PatternError {
    pattern: String,
    why: String,
}

impl Pattern {
    /// A glob of paths. `*` and `?` stop at a slash, `**` does not. One without a slash is of the last part of a path.
    pub(crate) fn path(glob: &str) -> Result<Pattern, PatternError> {
        let is_of_name = !glob.contains('/');
        if !is_of_name && !glob.starts_with(['/', '*', '{', '[']) {
            let why = "a path begins with / or **/, and the name of a file has no /".to_owned();
            return Err(PatternError { pattern: glob.to_owned(), why });
        }
        Ok(Pattern { regex: compile(glob, true)?, is_of_name, start: start(glob) })
    }

    /// A glob of a command line: `*` and `?` stand for anything.
    pub(crate) fn words(glob: &str) -> Result<Pattern, PatternError> {
        Ok(Pattern { regex: compile(glob, false)?, is_of_name: false, start: None })
    }

    /// A regular expression, which need not match from the beginning to the end.
    pub(crate) fn regex(pattern: &str) -> Result<Pattern, PatternError> {
        let regex = RegexBuilder::new(pattern).unicode(false).dot_matches_new_line(true).build();
        let regex = regex.map_err(|error| PatternError { pattern: pattern.to_owned(), why: error.to_string() })?;
        Ok(Pattern { regex, is_of_name: false, start: None })
    }

    /// Paths that begin so, byte for byte.
    pub(crate) fn prefix(prefix: &str) -> Result<Pattern, PatternError> {
        let mut pattern = Pattern::regex(&format!("^{}", regex::escape(prefix)))?;
        pattern.start = Some(Start::Prefix(prefix.as_bytes().to_vec()));
        Ok(pattern)
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let text = if self.is_of_name { name(text) } else { text };
        self.regex.is_match(text)
    }

    /// The same, where it is no more than the beginning of a path.
    pub(crate) fn start(&self) -> Option<&Start> {
        self.start.as_ref()
    }
}

/// The last part of a path.
pub(crate) fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn compile(glob: &str, of_path: bool) -> Result<Regex, PatternError> {
    let refused = |why: String| PatternError { pattern: glob.to_owned(), why };
    let parsed = GlobBuilder::new(glob).literal_separator(of_path).empty_alternates(true).build();
    let parsed = parsed.map_err(|error| refused(error.kind().to_string()))?;
    // Names and arguments can hold line breaks.
    let regex = RegexBuilder::new(parsed.regex()).dot_matches_new_line(true).build();
    regex.map_err(|error| refused(error.to_string()))
}

/// What a glob of whole paths says without its last `**`, if that is the only thing in it that stands for others.
fn start(glob: &str) -> Option<Start> {
    let is_literal = |text: &str| text.starts_with('/') && !text.contains(['*', '?', '[', ']', '{', '}', '\\']);
    match glob.strip_suffix("**") {
        Some(folder) => {
            (is_literal(folder) && folder.ends_with('/')).then(|| Start::Prefix(folder.as_bytes().to_vec()))
        }
        None => is_literal(glob).then(|| Start::Exact(glob.as_bytes().to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_of_paths_stops_at_a_slash() {
        let pattern = Pattern::path("/usr/*/cc").expect("a glob");
        assert!(pattern.matches(b"/usr/bin/cc") && !pattern.matches(b"/usr/local/bin/cc"));
        let deep = Pattern::path("/usr/**").expect("a glob");
        assert!(deep.matches(b"/usr/local/bin/\xff") && !deep.matches(b"/usr2/x"));
        let anywhere = Pattern::path("**/node_modules/**").expect("a glob");
        assert!(anywhere.matches(b"/a/b/node_modules/.bin/tsc"));
    }

    #[test]
    fn one_without_a_slash_is_of_the_file_s_name() {
        let pattern = Pattern::path("cc{,1}").expect("a glob");
        assert!(pattern.matches(b"/usr/lib/gcc/cc1") && pattern.matches(b"cc") && !pattern.matches(b"/cc/ld"));
    }

    #[test]
    fn a_glob_of_words_stops_at_nothing() {
        let pattern = Pattern::words("git status*").expect("a glob");
        assert!(pattern.matches(b"git status --porcelain /a/b") && !pattern.matches(b"git push"));
    }

    #[test]
    fn only_the_beginning_of_a_path_is_the_kernel_s() {
        let start = |glob| Pattern::path(glob).expect("a glob").start().cloned();
        assert_eq!(start("/usr/lib/**"), Some(Start::Prefix(b"/usr/lib/".to_vec())));
        assert_eq!(start("/usr/bin/cc"), Some(Start::Exact(b"/usr/bin/cc".to_vec())));
        for glob in ["/usr/*", "/usr/**/cc", "cc", "**/cc", "/usr**", "/a/{b,c}", "/a/[b]", "/a/?"] {
            assert_eq!(start(glob), None, "{glob}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_named() {
        for error in [
            Pattern::path("bin/cc").expect_err("a relative path"),
            Pattern::path("/a/[").expect_err("an open class"),
            Pattern::regex("(").expect_err("an open group"),
        ] {
            assert!(error.to_string().contains("is no pattern: "), "{error}");
        }
    }
}
