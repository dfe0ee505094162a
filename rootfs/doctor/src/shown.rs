//! Names and sentences, fit to be shown on a terminal, whoever wrote them.

use std::path::Path;

pub use kedge_progress::shown as text;

/// A serial console has 80 columns, and some leave the last one empty.
const WIDE: usize = 79;

/// A path below ROOT as ROOT's own programs know it: with a leading `/`.
pub fn path(path: &Path) -> String {
    let path = path.to_string_lossy();
    text(&format!("/{}", path.trim_start_matches('/')))
}

/// What can be typed into a shell for it.
pub fn typed(word: &Path) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,~".contains(c);
    match word.chars().all(plain) {
        true => word.into_owned(),
        false => text(&format!("'{}'", word.replace('\'', "'\\''"))),
    }
}

/// Breaks a long line at blanks; what follows is indented so far. Longer words are left as they are.
pub fn wrapped(line: &str, indent: usize) -> String {
    let mut out = String::new();
    let leading = line.len() - line.trim_start().len();
    out.push_str(&line[..leading]);
    let mut width = leading;
    for (index, word) in line[leading..].split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && width + 1 + length > WIDE && width > indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            width = indent;
        } else if index > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_on_a_disk_moves_the_cursor() {
        assert_eq!(
            path(Path::new("usr/\x1b[2J\u{202e}\u{61c}\u{9b}é")),
            "/usr/\\u{1b}[2J\\u{202e}\\u{61c}\\u{9b}é"
        );
        assert_eq!(
            typed(Path::new("/usr/lib/libstdc++.so.6")),
            "/usr/lib/libstdc++.so.6"
        );
        assert_eq!(typed(Path::new("/a b'c")), r"'/a b'\''c'");
    }

    #[test]
    fn long_sentences_are_broken_and_long_words_are_not() {
        let words = "word ".repeat(40);
        let wrapped_words = wrapped(&format!("  fact     {}", words.trim()), 11);
        assert!(
            wrapped_words.lines().all(|line| line.len() <= WIDE),
            "{wrapped_words}"
        );
        assert!(
            wrapped_words
                .lines()
                .skip(1)
                .all(|line| line.starts_with("           word"))
        );
        assert_eq!(wrapped_words.split_whitespace().count(), 41);
        let path = "x".repeat(300);
        assert_eq!(wrapped(&path, 2), path);
    }
}
