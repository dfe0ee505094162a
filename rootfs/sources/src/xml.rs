//! As much of XML as the metadata of rpm's repositories and metalinks have: elements, attributes, text, as they come.
//!
//! Not known: namespaces (a prefix is left out), CDATA, declarations, entities beyond XML's five and those by number.

use std::io::{self, BufRead};

/// The longest tag or text that is kept; what is longer is cut.
const MOST: usize = 64 << 10;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// `<name a="b">`, without a prefix.
    Start(String, Vec<(String, String)>),
    /// `</name>`; also behind a `<name/>`.
    End(String),
    /// What is in front of the next tag, without blanks around it; never empty.
    Text(String),
}

impl Event {
    /// An attribute of a start.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let Event::Start(_, attributes) = self else {
            return None;
        };
        let mut named = attributes.iter().filter(|(have, _)| have == name);
        named.next().map(|(_, value)| &**value)
    }
}

/// Reads events.
pub(crate) struct Xml<R> {
    from: R,
    /// Read already, and to be given next.
    ready: Vec<Event>,
}

impl<R: BufRead> Xml<R> {
    pub(crate) fn new(from: R) -> Xml<R> {
        Xml {
            from,
            ready: Vec::new(),
        }
    }

    /// The next event; None at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event>> {
        while self.ready.is_empty() {
            let (text, more) = self.until(b'<')?;
            if !more {
                return Ok(None);
            }
            let (tag, closed) = self.tag()?;
            if !closed {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it ends within a tag",
                ));
            }
            // The last is given first.
            self.ready.extend(events(&tag).into_iter().rev());
            if !text.trim_ascii().is_empty() {
                self.ready.push(Event::Text(plain(text.trim_ascii())));
            }
        }
        Ok(self.ready.pop())
    }

    /// A tag up to its end, which a `>` within quotes is not. A comment may have quotes, and ends with `-->`.
    fn tag(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let (mut tag, mut closed) = self.until(b'>')?;
        while closed && !ends(&tag) && tag.len() < MOST {
            tag.push(b'>');
            let (more, again) = self.until(b'>')?;
            tag.extend(more);
            closed = again;
        }
        Ok((tag, closed))
    }

    /// What is in front of `end`, which is consumed, and whether it came.
    fn until(&mut self, end: u8) -> io::Result<(Vec<u8>, bool)> {
        let mut found = Vec::new();
        loop {
            let buffer = self.from.fill_buf()?;
            if buffer.is_empty() {
                return Ok((found, false));
            }
            let at = buffer.iter().position(|&b| b == end);
            let part = &buffer[..at.unwrap_or(buffer.len())];
            let room = MOST.saturating_sub(found.len());
            found.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(at.is_some());
            self.from.consume(used);
            if at.is_some() {
                return Ok((found, true));
            }
        }
    }
}

/// Whether a tag is whole.
fn ends(tag: &[u8]) -> bool {
    if tag.starts_with(b"!--") {
        return tag.len() >= 5 && tag.ends_with(b"--");
    }
    let mut quote = None;
    for &byte in tag {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    quote.is_none()
}

/// What a tag is: nothing for comments and declarations, two for an element that is empty.
fn events(tag: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(tag);
    let text = text.trim();
    if text.starts_with(['!', '?']) {
        return Vec::new();
    }
    let local = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
    if let Some(name) = text.strip_prefix('/') {
        return vec![Event::End(local(name.trim()))];
    }
    let (text, empty) = match text.strip_suffix('/') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (name, mut rest) = text
        .split_once(|c: char| c.is_ascii_whitespace())
        .unwrap_or((text, ""));
    let name = local(name);
    let mut attributes = Vec::new();
    while let Some((key, value)) = rest.split_once('=') {
        let value = value.trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            break;
        };
        let Some((value, after)) = value[1..].split_once(quote) else {
            break;
        };
        attributes.push((local(key.trim()), plain(value.as_bytes())));
        rest = after;
    }
    let mut events = vec![Event::Start(name.clone(), attributes)];
    if empty {
        events.push(Event::End(name));
    }
    events
}

/// Text with its entities taken out.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let Some((entity, after)) = after.split_once(';') else {
            plain.push('&');
            rest = after;
            continue;
        };
        let number = |digits: &str, base| u32::from_str_radix(digits, base).ok();
        let c = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match (entity.strip_prefix("#x"), entity.strip_prefix('#')) {
                (Some(digits), _) => number(digits, 16).and_then(char::from_u32),
                (_, Some(digits)) => number(digits, 10).and_then(char::from_u32),
                _ => None,
            },
        };
        plain.push(c.unwrap_or('\u{fffd}'));
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Event> {
        let mut xml = Xml::new(text.as_bytes());
        let mut events = Vec::new();
        while let Some(event) = xml.next().unwrap() {
            events.push(event);
        }
        events
    }

    fn start(name: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes
            .iter()
            .map(|&(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        Event::Start(name.into(), attributes)
    }

    #[test]
    fn elements_attributes_and_text() {
        let text = "<?xml version=\"1.0\"?>\n<!-- <a> \" -->\n<rpm:a x='1>2' y:z = \"&lt;&#65;&#x42;\">\n \
            t &amp; u\n<b/></rpm:a>";
        assert_eq!(
            all(text),
            [
                start("a", &[("x", "1>2"), ("z", "<AB")]),
                Event::Text("t & u".into()),
                start("b", &[]),
                Event::End("b".into()),
                Event::End("a".into()),
            ]
        );
        assert_eq!(start("a", &[("x", "1")]).attribute("x"), Some("1"));
    }

    #[test]
    fn what_is_no_xml_ends() {
        for text in [
            "",
            "text",
            "<a",
            "<a b=\"",
            "<a b=\"c>",
            "<>",
            "< a =>",
            "&;<&>",
            "</",
            "<!--",
        ] {
            let mut xml = Xml::new(text.as_bytes());
            for _ in 0..10 {
                if !matches!(xml.next(), Ok(Some(_))) {
                    break;
                }
            }
        }
        let long = format!("<a b=\"{}\">", "x".repeat(3 * MOST));
        assert_eq!(all(&long).len(), 1);
    }
}
