//! Stanzas of `Field: value` (deb822(5)): sources, Release, Packages, dpkg's status.

use std::io::{self, BufRead};

use crate::unpacked::line;

/// Goes through the stanzas; gives `each` the values of `fields`, in their order, empty where there is none, without the
/// lines that go on. It ends when `each` says false.
pub(super) fn stanzas(
    from: &mut dyn BufRead,
    fields: &[&str],
    each: &mut dyn FnMut(&[String]) -> bool,
) -> io::Result<()> {
    let mut values = vec![String::new(); fields.len()];
    let mut text = Vec::new();
    loop {
        let more = line(from, &mut text)?;
        if !more || text.trim_ascii().is_empty() {
            if values.iter().any(|value| !value.is_empty()) && !each(&values) {
                return Ok(());
            }
            values.iter_mut().for_each(String::clear);
            if !more {
                return Ok(());
            }
            continue;
        }
        let Some(colon) = text.iter().position(|&b| b == b':') else {
            continue;
        };
        let name = &text[..colon];
        for (field, value) in fields.iter().zip(&mut values) {
            if field.as_bytes().eq_ignore_ascii_case(name) {
                let found = text[colon + 1..].trim_ascii();
                *value = String::from_utf8_lossy(found).into_owned();
            }
        }
    }
}

/// One stanza that is kept whole: fields in small letters, and their values with the lines that go on, each after a newline.
pub(super) fn whole(text: &str) -> Vec<Vec<(String, String)>> {
    let mut all = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if !stanza.is_empty() {
                all.push(std::mem::take(&mut stanza));
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    all
}

/// The value of a field, by its name in small letters.
pub(super) fn value<'a>(stanza: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = stanza.iter().filter(|(have, _)| have == name);
    named.next().map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_each_stanza() {
        let text = "Package: a\nVersion: 1\nDescription: x\n more: y\n\n\nversion:2 \nPackage: b";
        let mut found = Vec::new();
        stanzas(
            &mut text.as_bytes(),
            &["Package", "Version"],
            &mut |values| {
                found.push(values.join(" "));
                true
            },
        )
        .unwrap();
        assert_eq!(found, ["a 1", "b 2"]);
    }

    #[test]
    fn lines_that_go_on_and_comments() {
        let text = "# c\nTypes: deb\nSigned-By:\n -----BEGIN\n .\n# d\n x\n\n\nTypes: deb-src\n";
        let all = whole(text);
        assert_eq!(all.len(), 2);
        assert_eq!(value(&all[0], "signed-by"), Some("\n-----BEGIN\n.\nx"));
        assert_eq!(value(&all[1], "types"), Some("deb-src"));
        assert_eq!(value(&all[1], "uris"), None);
    }
}
