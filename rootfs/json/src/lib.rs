//! JSON (RFC 8259) out of values that kedge's tools know, for `--json`.
//!
//! Written by hand: it is fifty lines, and serde is a hundred kilobytes.

use std::fmt::Write;

/// An object of members whose values are JSON already.
pub fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// An array of values that are JSON already.
pub fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

/// A number, or `null`.
pub fn number<T: ToString>(value: Option<T>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

/// A string, or `null`.
pub fn optional(value: Option<&str>) -> String {
    value.map_or("null".into(), text)
}

/// A string: ASCII, with everything else escaped.
pub fn text(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(
            text("a\"b\\c\n\u{1b}\u{1f600}"),
            r#""a\"b\\c\u000a\u001b\ud83d\ude00""#
        );
    }
}
