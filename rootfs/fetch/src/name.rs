//! Which name a file gets, by the URL that was typed. What the server says does not count: it must not choose what is
//! written here.

/// The last part of the URL's path, decoded where that gives a name that can be typed. `None` when there is none.
pub(crate) fn of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let path = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    let (_, last) = path
        .split_once('/')
        .map(|(_, path)| path.rsplit_once('/').unwrap_or(("", path)))?;
    let decoded = decoded(last).filter(|name| is_sane(name));
    decoded.or_else(|| is_sane(last).then(|| last.to_string()))
}

fn is_sane(name: &str) -> bool {
    // What is escaped when it is shown (controls, what turns the direction of text) is no part of a name.
    let shown = |c: char| c.is_ascii_graphic() || c.escape_debug().len() == 1;
    let typed = |c: char| shown(c) && !c.is_whitespace() && c != '/';
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(['.', '-'])
        && name.chars().all(typed)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_can_be_typed_and_stays_in_the_folder() {
        for (url, expected) in [
            (
                "http://h/a/libssl3_3.0%2bdeb_amd64.deb",
                Some("libssl3_3.0+deb_amd64.deb"),
            ),
            ("http://h/b?file=c/d#e/f", Some("b")),
            ("https://h/%C3%A9", Some("\u{e9}")),
            ("http://h/it's", Some("it's")),
            ("http://h/%E2%80%AEgpj.sh", Some("%E2%80%AEgpj.sh")),
            ("http://h/a%2f..%2fb", Some("a%2f..%2fb")),
            ("http://h/a%0ab", Some("a%0ab")),
            ("http://h/%ff", Some("%ff")),
            ("http://h/%4", Some("%4")),
            ("http://h/", None),
            ("http://h", None),
            ("http://h/a/", None),
            ("http://h/..", None),
            ("http://h/.bashrc", None),
            ("http://h/-rf", None),
            ("http://h/%2e%2e", Some("%2e%2e")),
        ] {
            assert_eq!(of(url).as_deref(), expected, "{url}");
        }
    }
}
