//! Words of several fields, with colons between them: `192.0.2.7::192.0.2.1:24::eth0:none`.

use crate::mac::is_pair;

/// Splits at colons, but not within brackets, which IPv6 addresses stand in, and not within what can
/// only be a MAC address: six pairs of hexadecimal digits.
pub(crate) fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => {
                fields.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = fields.last_mut() {
            last.push(c);
        }
    }
    with_macs_joined(fields)
}

fn with_macs_joined(fields: Vec<String>) -> Vec<String> {
    let mut joined = Vec::with_capacity(fields.len());
    let mut rest = fields.as_slice();
    while let Some((first, after)) = rest.split_first() {
        match rest.get(..6) {
            Some(six) if six.iter().all(|field| is_pair(field)) => {
                joined.push(six.join(":"));
                rest = &rest[6..];
            }
            _ => {
                joined.push(first.clone());
                rest = after;
            }
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_macs_hold_together() {
        assert_eq!(fields("a::b"), ["a", "", "b"]);
        assert_eq!(
            fields("[2001:db8::1]:64:[::]"),
            ["[2001:db8::1]", "64", "[::]"]
        );
        assert_eq!(
            fields("1.2.3.4::::h:52:54:00:00:00:01:none:1500:02:00:00:00:00:09"),
            [
                "1.2.3.4",
                "",
                "",
                "",
                "h",
                "52:54:00:00:00:01",
                "none",
                "1500",
                "02:00:00:00:00:09"
            ]
        );
        assert_eq!(fields(""), [""]);
        assert_eq!(fields("[a:b"), ["[a:b"]);
        assert_eq!(fields("a]:b"), ["a]", "b"]);
    }
}
