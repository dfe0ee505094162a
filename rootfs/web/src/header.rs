//! Header fields that are read here and not by the HTTP library: ranges and validators.

/// What a partial answer holds (RFC 9110, 14.4): `bytes 100-199/200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte's offset.
    pub first: u64,
    /// The last byte's.
    pub last: u64,
    /// The length of the whole, where the server knows it.
    pub whole: Option<u64>,
}

impl ContentRange {
    /// Reads the field's value. `None` when it makes no sense, or is that of an answer without bytes.
    pub fn parse(value: &str) -> Option<ContentRange> {
        let (unit, range) = value.trim().split_once(' ')?;
        let (range, whole) = range.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let whole = match whole.trim() {
            "*" => None,
            whole => Some(number(whole)?),
        };
        let sound = unit.eq_ignore_ascii_case("bytes")
            && first <= last
            && last < u64::MAX
            && whole.is_none_or(|whole| last < whole);
        sound.then_some(ContentRange { first, last, whole })
    }
}

/// Digits and nothing else: `parse` of the standard library takes a sign.
pub fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// What tells whether two downloads were of the same bytes (RFC 9110, 8.8): a strong entity tag, or, where the server
/// gives none, when it was modified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator(String);

impl Validator {
    /// Out of the fields `ETag` and `Last-Modified`. A weak tag says that two contents mean the same, which is not enough.
    pub fn of(tag: Option<&str>, modified: Option<&str>) -> Option<Validator> {
        tag.and_then(Validator::parse)
            .or_else(|| modified.and_then(Validator::parse))
    }

    /// The value of an `If-Range` field (RFC 9110, 13.1.5).
    pub fn parse(value: &str) -> Option<Validator> {
        let value = value.trim();
        let tag = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
        let sound = value.len() <= 256 && value.bytes().all(|b| matches!(b, 0x20..=0x7e));
        (sound && (tag || httpdate::parse_http_date(value).is_ok()))
            .then(|| Validator(value.into()))
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ranges_that_make_sense_are_taken() {
        let range = |first, last, whole| Some(ContentRange { first, last, whole });
        for (value, expected) in [
            ("bytes 0-0/1", range(0, 0, Some(1))),
            (" Bytes 5-9/* ", range(5, 9, None)),
            ("bytes 5-9/9", None),
            ("bytes 9-5/20", None),
            ("bytes */20", None),
            ("bytes 5-9", None),
            ("bytes +5-9/20", None),
            ("bytes 5-18446744073709551615/*", None),
            ("bytes 5-99999999999999999999/*", None),
            ("lines 5-9/20", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn a_weak_tag_is_no_validator() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let of = |tag, modified| Validator::of(tag, modified).map(|v| v.as_str().to_string());
        assert_eq!(of(Some("\"a\""), Some(date)).as_deref(), Some("\"a\""));
        assert_eq!(of(Some("W/\"a\""), Some(date)).as_deref(), Some(date));
        assert_eq!(of(Some("W/\"a\""), None), None);
        assert_eq!(of(Some("\"a\r\nX: y\""), Some("yesterday")), None);
    }
}
