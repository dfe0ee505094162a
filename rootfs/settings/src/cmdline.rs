//! The kernel's command line, split into words as the kernel splits it.
//!
//! Source: `next_arg()` in `lib/cmdline.c`. A double quote starts and ends a stretch in which
//! spaces do not separate; quotes are dropped only around a whole word or a whole value. A lone
//! `--` ends the kernel's arguments: what follows is for init, and kedge's takes none.

/// One word: `name` or `name=value`. Bytes, because nothing promises text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What stands before the first `=`.
    pub name: Vec<u8>,
    /// What stands after it; `None` without a `=`.
    pub value: Option<Vec<u8>>,
}

/// Splits `/proc/cmdline`.
pub fn arguments(raw: &[u8]) -> Vec<Argument> {
    let mut rest = raw;
    let mut found = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return found;
        }
        let (argument, after) = next(rest);
        rest = after;
        if argument.name == b"--" && argument.value.is_none() {
            return found;
        }
        found.push(argument);
    }
}

/// The first word of `raw`, which does not start with a space, and what follows it.
fn next(raw: &[u8]) -> (Argument, &[u8]) {
    let quoted = raw.first() == Some(&b'"');
    let word = if quoted { &raw[1..] } else { raw };
    let mut in_quotes = quoted;
    let mut equals = None;
    let mut end = word.len();
    for (at, &byte) in word.iter().enumerate() {
        match byte {
            b if b.is_ascii_whitespace() && !in_quotes => {
                end = at;
                break;
            }
            b'=' if equals.is_none() => equals = Some(at),
            b'"' => in_quotes = !in_quotes,
            _ => {}
        }
    }
    let rest = &word[end..];
    let mut word = &word[..end];
    if quoted {
        word = word.strip_suffix(b"\"").unwrap_or(word);
    }
    let argument = match equals {
        // A name of no bytes is no name: the kernel, too, looks for '=' from the second byte on.
        Some(at) if at > 0 && at < word.len() => {
            let mut value = &word[at + 1..];
            if let Some(inner) = value.strip_prefix(b"\"") {
                value = inner.strip_suffix(b"\"").unwrap_or(inner);
            }
            Argument {
                name: word[..at].to_vec(),
                value: Some(value.to_vec()),
            }
        }
        _ => Argument {
            name: word.to_vec(),
            value: None,
        },
    };
    (argument, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(raw: &str) -> Vec<(String, Option<String>)> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        arguments(raw.as_bytes())
            .into_iter()
            .map(|a| (text(a.name), a.value.map(text)))
            .collect()
    }

    #[test]
    fn words_and_values() {
        assert_eq!(
            split("quiet console=ttyS0,115200  a=b=c\n"),
            [
                ("quiet".into(), None),
                ("console".into(), Some("ttyS0,115200".into())),
                ("a".into(), Some("b=c".into())),
            ]
        );
    }

    #[test]
    fn quotes_as_the_kernel_takes_them() {
        assert_eq!(
            split(r#"a="x y" "b=p q" "c d" e=f" "g"#),
            [
                ("a".into(), Some("x y".into())),
                ("b".into(), Some("p q".into())),
                ("c d".into(), None),
                // Not around the whole value: the kernel leaves them.
                ("e".into(), Some("f\" \"g".into())),
            ]
        );
    }

    #[test]
    fn what_follows_two_dashes_is_not_the_kernels() {
        assert_eq!(split("a -- kedge.hostname=b"), [("a".into(), None)]);
    }

    #[test]
    fn hostile_bytes_do_not_panic() {
        for raw in [
            &b"\""[..],
            b"=",
            b"==",
            b"a=",
            b"a=\"",
            b"\"\"",
            b"\"a=\"",
            b"=\"\"=",
            b"\xff\xfe=\xff",
            b"   ",
            b"",
            b"\"=\"",
            b"\"a\"=\"",
            b"--",
            b"\0",
        ] {
            arguments(raw);
        }
        // Every word of up to five bytes out of those that mean something.
        let alphabet = b"a=\" -";
        for n in 0..5usize.pow(5) {
            let word: Vec<u8> = (0..5).map(|i| alphabet[n / 5usize.pow(i) % 5]).collect();
            arguments(&word);
        }
    }

    #[test]
    fn an_empty_value_is_not_the_same_as_none() {
        assert_eq!(
            split("a= b"),
            [("a".into(), Some(String::new())), ("b".into(), None)]
        );
    }
}
