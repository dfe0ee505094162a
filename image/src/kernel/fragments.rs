//! Fragments of a kernel configuration: which symbol should have which value, and who says so.
//!
//! Accepted: `CONFIG_NAME=value` with y, n, a number, or a quoted string; comments; empty lines.
//! Not accepted: `# CONFIG_NAME is not set` (write `=n`), `=m` (the kernel has no modules), the
//! same symbol twice.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why fragments cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the fragment {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A line says nothing that is understood.
    #[error("{fragment}.config:{line}: {text:?} is neither a comment nor CONFIG_NAME=value")]
    Line {
        /// The fragment's name.
        fragment: String,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// The value is none that a monolithic kernel can have.
    #[error(
        "{fragment}.config:{line}: {symbol}={value}: the value must be y, n, a number or a quoted string"
    )]
    Value {
        /// The fragment's name.
        fragment: String,
        /// Line number, from 1.
        line: usize,
        /// The symbol.
        symbol: String,
        /// What it should be.
        value: String,
    },
    /// A symbol has two owners.
    #[error("{fragment}.config:{line}: {symbol} is set in {first}.config already")]
    Twice {
        /// The fragment's name.
        fragment: String,
        /// Line number, from 1.
        line: usize,
        /// The symbol.
        symbol: String,
        /// The fragment that came first.
        first: String,
    },
}

/// One line of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// With its CONFIG_ prefix.
    pub symbol: String,
    /// As in a .config; `n` where that says "is not set".
    pub value: String,
    /// Name of the fragment.
    pub fragment: String,
}

/// All requests, by symbol.
#[derive(Debug, Clone)]
pub struct Fragments {
    requests: BTreeMap<String, Request>,
}

impl Fragments {
    /// Reads the fragments called `names` in `folder`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(folder: &Path, names: &[String]) -> Result<Fragments, Error> {
        let mut texts = Vec::new();
        for name in names {
            let path = folder.join(format!("{name}.config"));
            let text = fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
            texts.push((name.as_str(), text));
        }
        let texts: Vec<(&str, &str)> = texts
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        Fragments::parse(&texts)
    }

    /// Parses fragments, each given by name and content.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse(texts: &[(&str, &str)]) -> Result<Fragments, Error> {
        let mut requests: BTreeMap<String, Request> = BTreeMap::new();
        for (fragment, text) in texts {
            let fragment = (*fragment).to_string();
            for (index, content) in text.lines().enumerate() {
                let line = index + 1;
                let content = content.trim_end();
                let is_disguised = content.starts_with("# CONFIG_");
                if content.is_empty() || (content.starts_with('#') && !is_disguised) {
                    continue;
                }
                let Some((symbol, value)) = content
                    .split_once('=')
                    .filter(|(symbol, _)| is_symbol(symbol))
                else {
                    return Err(Error::Line {
                        fragment,
                        line,
                        text: content.into(),
                    });
                };
                let (symbol, value) = (symbol.to_string(), value.to_string());
                if !is_value(&value) {
                    return Err(Error::Value {
                        fragment,
                        line,
                        symbol,
                        value,
                    });
                }
                if let Some(first) = requests.get(&symbol) {
                    let first = first.fragment.clone();
                    return Err(Error::Twice {
                        fragment,
                        line,
                        symbol,
                        first,
                    });
                }
                let request = Request {
                    symbol: symbol.clone(),
                    value,
                    fragment: fragment.clone(),
                };
                requests.insert(symbol, request);
            }
        }
        Ok(Fragments { requests })
    }

    /// Every request, sorted by symbol.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    /// The request for `symbol` (with its prefix).
    pub fn get(&self, symbol: &str) -> Option<&Request> {
        self.requests.get(symbol)
    }
}

fn is_symbol(text: &str) -> bool {
    text.strip_prefix("CONFIG_").is_some_and(|name| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn is_value(text: &str) -> bool {
    let is_number = |text: &str| {
        text.strip_prefix("0x").map_or_else(
            || text.parse::<i64>().is_ok(),
            |digits| u64::from_str_radix(digits, 16).is_ok(),
        )
    };
    let is_string = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    matches!(text, "y" | "n") || is_string || is_number(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Fragments::parse(&[("base", text)]).unwrap_err().to_string()
    }

    #[test]
    fn lines_become_requests_with_their_fragment() {
        let fragments = Fragments::parse(&[
            ("base", "# a reason\n\nCONFIG_SMP=y\nCONFIG_NR_CPUS=512\n"),
            (
                "network",
                "CONFIG_WIRELESS=n\nCONFIG_NAME=\"kedge\"\nCONFIG_BASE=0x1000\n",
            ),
        ])
        .unwrap();
        assert_eq!(fragments.requests().count(), 5);
        let request = fragments.get("CONFIG_WIRELESS").unwrap();
        assert_eq!(
            (request.value.as_str(), request.fragment.as_str()),
            ("n", "network")
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        assert!(error("\nSMP=y\n").starts_with("base.config:2: \"SMP=y\""));
        assert!(error("# CONFIG_SMP is not set\n").starts_with("base.config:1:"));
        assert!(error("CONFIG_SMP=m\n").contains("CONFIG_SMP=m: the value must be"));
        assert!(error("CONFIG_SMP=\n").contains("the value must be"));
        assert!(error("CONFIG_S P=y\n").starts_with("base.config:1:"));
        let twice = Fragments::parse(&[("base", "CONFIG_A=y\n"), ("crypto", "CONFIG_A=y\n")]);
        assert_eq!(
            twice.unwrap_err().to_string(),
            "crypto.config:1: CONFIG_A is set in base.config already"
        );
    }
}
