//! The kernel's .config: fragments merged into it, and compared with what became of them.

use std::collections::BTreeMap;
use std::fmt;

use super::fragments::{Fragments, Request};

/// A symbol that did not become what a fragment asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What was asked for, and by whom.
    pub request: Request,
    /// What the final configuration says; `n` where it has no such symbol.
    pub actual: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request {
            symbol,
            value,
            fragment,
        } = &self.request;
        write!(
            formatter,
            "{symbol}: {fragment}.config wants {value}, got {}",
            self.actual
        )
    }
}

/// `config` with every requested symbol set as requested.
pub(super) fn merge(config: &str, fragments: &Fragments) -> String {
    let mut text: String = config
        .lines()
        .filter(|line| assignment(line).is_none_or(|(symbol, _)| fragments.get(symbol).is_none()))
        .map(|line| format!("{line}\n"))
        .collect();
    for Request { symbol, value, .. } in fragments.requests() {
        match value.as_str() {
            "n" => text.push_str(&format!("# {symbol} is not set\n")),
            _ => text.push_str(&format!("{symbol}={value}\n")),
        }
    }
    text
}

/// The requests that `config` does not fulfil.
pub(super) fn compare(config: &str, fragments: &Fragments) -> Vec<Mismatch> {
    let actual: BTreeMap<&str, &str> = config.lines().filter_map(assignment).collect();
    fragments
        .requests()
        .filter_map(|request| {
            let actual = *actual.get(request.symbol.as_str()).unwrap_or(&"n");
            (actual != request.value).then(|| Mismatch {
                request: request.clone(),
                actual: actual.to_string(),
            })
        })
        .collect()
}

/// Symbol and value of a line of a .config; a symbol that "is not set" has the value n.
fn assignment(line: &str) -> Option<(&str, &str)> {
    if let Some(symbol) = line
        .strip_prefix("# ")
        .and_then(|l| l.strip_suffix(" is not set"))
    {
        return Some((symbol, "n"));
    }
    line.split_once('=')
        .filter(|(symbol, _)| symbol.starts_with("CONFIG_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments() -> Fragments {
        Fragments::parse(&[
            ("base", "CONFIG_SMP=y\nCONFIG_NR_CPUS=512\n"),
            ("network", "CONFIG_WIRELESS=n\n"),
        ])
        .unwrap()
    }

    #[test]
    fn a_merge_replaces_what_stood_there() {
        let merged = merge(
            "# by hand\n# CONFIG_SMP is not set\nCONFIG_WIRELESS=y\nCONFIG_X=3\n",
            &fragments(),
        );
        assert_eq!(
            merged,
            "# by hand\nCONFIG_X=3\nCONFIG_NR_CPUS=512\nCONFIG_SMP=y\n# CONFIG_WIRELESS is not set\n"
        );
        assert_eq!(compare(&merged, &fragments()), []);
    }

    #[test]
    fn a_symbol_that_did_not_take_is_named_with_fragment_and_both_values() {
        let seen: Vec<String> = compare("CONFIG_NR_CPUS=8\nCONFIG_WIRELESS=y\n", &fragments())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            seen,
            [
                "CONFIG_NR_CPUS: base.config wants 512, got 8",
                "CONFIG_SMP: base.config wants y, got n",
                "CONFIG_WIRELESS: network.config wants n, got y",
            ]
        );
    }

    #[test]
    fn absent_counts_as_not_set() {
        let config = "CONFIG_SMP=y\nCONFIG_NR_CPUS=512\n";
        assert_eq!(compare(config, &fragments()), []);
    }
}
