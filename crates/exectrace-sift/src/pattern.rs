//! Patterns of paths and of command lines: globs, and regular expressions. Both look at bytes.

use std::collections::HashMap;

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

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

/// Many patterns, asked at once: an exec is looked at by a hundred of them.
#[derive(Debug)]
pub(crate) struct PatternSet {
    /// Those that are a file's name, letter by letter.
    names: HashMap<Vec<u8>, Vec<usize>>,
    of_names: Numbered,
    of_paths: Numbered,
}

/// A set, and the numbers that its members have elsewhere.
#[derive(Debug)]
struct Numbered {
    set: RegexSet,
    numbers: Vec<usize>,
}

impl Numbered {
    fn new(patterns: Vec<(usize, Pattern)>) -> Result<Numbered, PatternError> {
        let (numbers, patterns): (Vec<_>, Vec<_>) = patterns.into_iter().unzip();
        let set = RegexSetBuilder::new(patterns.iter().map(|pattern| pattern.regex.as_str()));
        let set = { set }.unicode(false).dot_matches_new_line(true).size_limit(SET_BYTES).build();
        let refused = |error: regex::Error| PatternError { pattern: "all of them".to_owned(), why: error.to_string() };
        Ok(Numbered { set: set.map_err(refused)?, numbers })
    }

    fn matches(&self, text: &[u8]) -> impl Iterator<Item = usize> {
        self.set.matches(text).into_iter().map(|at| self.numbers[at])
    }
}

/// What a set of patterns may take up when it is compiled.
const SET_BYTES: usize = 64 << 20;

impl PatternSet {
    /// Globs of paths, numbered from 0 on.
    pub(crate) fn paths<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<PatternSet, PatternError> {
        let mut names: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        let (mut of_names, mut of_paths) = (Vec::new(), Vec::new());
        for (number, glob) in globs.into_iter().enumerate() {
            let pattern = Pattern::path(glob)?;
            if !pattern.is_of_name {
                of_paths.push((number, pattern));
            } else if glob.contains(['*', '?', '[', ']', '{', '}', '\\']) {
                of_names.push((number, pattern));
            } else {
                names.entry(glob.as_bytes().to_vec()).or_default().push(number);
            }
        }
        Ok(PatternSet { names, of_names: Numbered::new(of_names)?, of_paths: Numbered::new(of_paths)? })
    }

    /// The numbers of those that match, in no order.
    pub(crate) fn matches(&self, path: &[u8]) -> impl Iterator<Item = usize> {
        let name = name(path);
        let literal = self.names.get(name).into_iter().flatten().copied();
        literal.chain(self.of_names.matches(name)).chain(self.of_paths.matches(path))
    }

    pub(crate) fn is_match(&self, path: &[u8]) -> bool {
        let name = name(path);
        self.names.contains_key(name) || self.of_names.set.is_match(name) || self.of_paths.set.is_match(path)
    }
}

/// Many patterns of command lines.
#[derive(Debug)]
pub(crate) struct WordsSet {
    /// Whether any of them matches: an alternation of what stands between stars, which is found much faster than which
    /// of them it is.
    any: Regex,
    set: Numbered,
}

impl WordsSet {
    /// Globs of command lines, numbered from 0 on.
    pub(crate) fn new<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<WordsSet, PatternError> {
        let globs: Vec<&str> = globs.into_iter().collect();
        let patterns = globs.iter().map(|glob| Pattern::words(glob)).collect::<Result<Vec<_>, _>>()?;
        let within = patterns.iter().map(|pattern| {
            let regex = pattern.regex.as_str();
            let from = regex.strip_prefix("(?-u)^.*").unwrap_or(regex);
            from.strip_suffix(".*$").unwrap_or(from).to_owned()
        });
        let within: Vec<String> = within.map(|regex| format!("(?:{regex})")).collect();
        // An alternation of nothing matches everything.
        let any = if within.is_empty() { "[a&&b]".to_owned() } else { within.join("|") };
        Ok(WordsSet {
            any: Pattern::regex(&any)?.regex,
            set: Numbered::new(patterns.into_iter().enumerate().collect())?,
        })
    }

    /// The numbers of those that match, in no order.
    pub(crate) fn matches(&self, words: &[u8]) -> impl Iterator<Item = usize> {
        let is_any = self.any.is_match(words);
        is_any.then(|| self.set.matches(words)).into_iter().flatten()
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
    fn a_set_knows_which_of_its_patterns_match() {
        let set = PatternSet::paths(["cc", "python*", "/usr/**", "cc", "**/cc"]).expect("globs");
        let of = |path: &[u8]| {
            let mut numbers: Vec<usize> = set.matches(path).collect();
            numbers.sort_unstable();
            assert_eq!(set.is_match(path), !numbers.is_empty());
            numbers
        };
        assert_eq!(of(b"/usr/bin/cc"), [0, 2, 3, 4]);
        assert_eq!(of(b"/opt/python3.11"), [1]);
        assert_eq!(of(b"/opt/x\ny"), Vec::<usize>::new());
        assert_eq!(of(b"/usr/x\n\xff"), [2]);
        let words = WordsSet::new(["* push *", "git *"]).expect("globs");
        assert_eq!(words.matches(b"git -c a=\n push x").count(), 2);
        assert_eq!(words.matches(b"a push x").collect::<Vec<_>>(), [0]);
        assert_eq!(words.matches(b"xgit ").count(), 0, "from the beginning");
        assert_eq!(WordsSet::new([]).expect("none").matches(b"git").count(), 0);
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
