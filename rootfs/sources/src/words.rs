//! Text of a disk or of the network, for people.

/// As much of `text` as a line holds, in which nothing moves a cursor.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 160;
    let mut shown: String = text.chars().take(MOST).flat_map(safe).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

fn safe(c: char) -> Vec<char> {
    // Control characters, and those that turn the direction of writing around.
    let dangerous = c.is_control()
        || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if dangerous {
        c.escape_default().collect()
    } else {
        vec![c]
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(shown("a\x1b[2Jb\u{202e}ü"), "a\\u{1b}[2Jb\\u{202e}ü");
        assert_eq!(shown(&"x".repeat(500)).len(), 163);
    }
}
