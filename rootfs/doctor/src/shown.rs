//! Names that come from a disk, fit to be shown on a terminal.

use std::path::Path;

/// Without characters that move the cursor, colour, or turn the direction of writing.
pub fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(c.escape_unicode());
            }
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_on_a_disk_moves_the_cursor() {
        assert_eq!(
            path(Path::new("usr/\x1b[2J\u{202e}\u{9b}é")),
            "/usr/\\u{1b}[2J\\u{202e}\\u{9b}é"
        );
        assert_eq!(
            typed(Path::new("/usr/lib/libstdc++.so.6")),
            "/usr/lib/libstdc++.so.6"
        );
        assert_eq!(typed(Path::new("/a b'c")), r"'/a b'\''c'");
    }
}
