//! Text that is fit to be shown on a terminal, whoever wrote it.

/// Without characters that move the cursor, colour, or turn the direction of writing. What was shown once stays as it is.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => shown.extend(c.escape_unicode()),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// The same, but for line ends. Lines behind the first are indented, so that none of them looks like another message.
pub fn shown_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            out.push('\n');
            if !line.starts_with("  ") {
                out.push_str("  ");
            }
        }
        out.push_str(&shown(line));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_strangers_moves_the_cursor() {
        let odd = "a\x1b[2J\u{202e}\u{61c}\u{9b}é\r\x07\n";
        assert_eq!(
            shown(odd),
            "a\\u{1b}[2J\\u{202e}\\u{61c}\\u{9b}é\\r\\u{7}\\n"
        );
        assert_eq!(shown(&shown(odd)), shown(odd));
        assert_eq!(
            shown_lines("one:\n  two\x1b\nrepair: all is well\n"),
            "one:\n  two\\u{1b}\n  repair: all is well"
        );
    }
}
