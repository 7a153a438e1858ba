//! A string as a shell would divide it into commands and their words; places only, nothing is unquoted.

use std::ops::Range;

/// The words of each command, as ranges of bytes with their quotes.
pub(crate) fn commands(script: &[u8]) -> Vec<Vec<Range<usize>>> {
    let mut commands = vec![Vec::new()];
    let mut start = None;
    let mut at = 0;
    while at < script.len() {
        let byte = script[at];
        let ends_command = matches!(byte, b';' | b'|' | b'&' | b'\n' | b'(' | b')');
        if ends_command || byte.is_ascii_whitespace() {
            end_word(&mut commands, &mut start, at);
            if ends_command {
                commands.push(Vec::new());
            }
            at += 1;
            continue;
        }
        start.get_or_insert(at);
        at = match byte {
            b'\\' => at + 2,
            b'\'' => closing(script, at + 1, b'\'', false),
            b'"' => closing(script, at + 1, b'"', true),
            _ => at + 1,
        };
    }
    end_word(&mut commands, &mut start, script.len());
    commands
}

fn end_word(commands: &mut [Vec<Range<usize>>], start: &mut Option<usize>, end: usize) {
    if let (Some(command), Some(start)) = (commands.last_mut(), start.take()) {
        command.push(start..end);
    }
}

/// Behind the quote that closes, or the end.
fn closing(script: &[u8], mut at: usize, quote: u8, escapes: bool) -> usize {
    while at < script.len() {
        match script[at] {
            byte if byte == quote => return at + 1,
            b'\\' if escapes => at += 2,
            _ => at += 1,
        }
    }
    script.len()
}

/// A range without the pair of quotes around it.
pub(crate) fn without_quotes(script: &[u8], range: Range<usize>) -> Range<usize> {
    let text = &script[range.clone()];
    match (text.first(), text.last()) {
        (Some(first @ (b'"' | b'\'')), Some(last)) if first == last && text.len() >= 2 => {
            range.start + 1..range.end - 1
        }
        _ => range,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<Vec<&str>> {
        let text = |range: Range<usize>| &script[range];
        commands(script.as_bytes()).into_iter().map(|words| words.into_iter().map(text).collect()).collect()
    }

    #[test]
    fn commands_and_words_are_a_shell_s() {
        assert_eq!(words("a -b 'c d'; e|f"), [vec!["a", "-b", "'c d'"], vec!["e"], vec!["f"]]);
        assert_eq!(words(r#"x "a \" b" y\ z"#), [vec!["x", r#""a \" b""#, r"y\ z"]]);
        assert_eq!(words("--p='a b'c"), [vec!["--p='a b'c"]]);
        assert_eq!(words("a 'b"), [vec!["a", "'b"]]);
        assert_eq!(words(""), [Vec::<&str>::new()]);
        assert_eq!(words("a\\"), [vec!["a\\"]]);
    }
}
