//! A file of an installed system as it lies elsewhere, without a package around it. What proves it is the digest that the
//! system's own package database has of it; nobody else has to be believed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kedge_digest::Digest;
use kedge_packages::Package;

use crate::offered::is_package;
use crate::proof::Proof;
use crate::transport::Place;
use crate::{Candidate, From};

/// Where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    /// On this machine.
    File(PathBuf),
    /// In another system on this machine, whose links lead nowhere else: its root, and the path below it.
    Inside(PathBuf, PathBuf),
    /// Behind a web server.
    Url(String),
    /// Sent by whoever waits for a connection there, once (`nc -l -p 9000 <FILE`).
    Tcp {
        /// A name or an address.
        host: String,
        /// Which is not 0.
        port: u16,
    },
}

impl Copy {
    /// The file `path` of a system whose root a web server shows at `url`.
    pub fn below(url: &str, path: &Path) -> Copy {
        let mut url = url.trim_end_matches('/').to_string() + "/";
        for &byte in path.as_os_str().as_bytes() {
            // RFC 3986, 3.3: what stands for itself in a path.
            match byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
                true => url.push(char::from(byte)),
                false => url += &format!("%{byte:02X}"),
            }
        }
        Copy::Url(url)
    }

    /// For people.
    pub fn shown(&self) -> String {
        self.place(None).shown()
    }

    /// Whether it is there. Nobody who answers only once is asked.
    ///
    /// # Errors
    /// Why nobody can tell.
    pub fn is_there(&self) -> Result<bool, String> {
        match self.place(None) {
            Place::Tcp(..) => Ok(true),
            place => place.is_there(),
        }
    }

    /// To be fetched as a package would be: it must have this length and digest, where they are known.
    pub fn candidate(
        &self,
        package: &Package,
        size: Option<u64>,
        digest: Option<Digest>,
    ) -> Candidate {
        Candidate {
            package: package.clone(),
            location: self.shown(),
            size,
            trust: Vec::new(),
            place: self.place(digest),
            proof: Proof {
                digests: digest.into_iter().collect(),
                is_bare: true,
                ..Proof::default()
            },
        }
    }

    fn place(&self, digest: Option<Digest>) -> Place {
        match self {
            Copy::File(path) => Place::File(path.clone()),
            Copy::Inside(root, path) => Place::Inside(root.clone(), path.clone()),
            Copy::Url(url) => Place::Url(url.clone()),
            Copy::Tcp { host, port } => Place::Tcp(host.clone(), *port, digest),
        }
    }
}

impl From {
    /// The file that this is itself, and no package: one on this machine of whatever name, or what a URL has as `name`.
    pub fn as_file(&self, name: &OsStr) -> Option<Copy> {
        match self {
            From::Path(path) if is_package(&path.to_string_lossy()) => None,
            From::Path(path) => {
                let mut file = Place::File(path.clone()).open_file().ok()?;
                let is_package = kedge_archive::identify(&mut file).is_ok();
                (!is_package).then(|| Copy::File(path.clone()))
            }
            From::Url(url) => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                let (_, below) = path.split_once("://")?;
                let (_, last) = below.rsplit_once('/')?;
                let is_named = unescaped(last) == name.as_bytes();
                (is_named && !is_package(path)).then(|| Copy::Url(url.clone()))
            }
        }
    }
}

/// Without what is percent-encoded (RFC 3986, 2.1): `libstdc++.so.6` is `libstdc%2B%2B.so.6` where a web server lists it.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.filter(|code| code.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = &after[if byte.is_some() { 2 } else { 0 }..];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_in_a_url_as_it_is() {
        for (path, expected) in [
            ("usr/bin/[", "http://h:1/usr/bin/%5B"),
            (
                "usr/lib/libstdc++.so.6",
                "http://h:1/usr/lib/libstdc++.so.6",
            ),
            ("a b/%41?#\u{e9}", "http://h:1/a%20b/%2541%3F%23%C3%A9"),
        ] {
            let url = Copy::Url(expected.into());
            assert_eq!(Copy::below("http://h:1/", Path::new(path)), url);
            assert_eq!(Copy::below("http://h:1", Path::new(path)), url);
        }
    }

    #[test]
    fn a_url_that_ends_as_the_file_does_is_the_file() {
        let of = |url: &str, name: &str| From::Url(url.into()).as_file(name.as_ref());
        for (url, name) in [
            ("http://h/lib/libssl.so.3", "libssl.so.3"),
            ("http://h/%5B", "["),
            ("http://h/libstdc%2B%2b.so.6", "libstdc++.so.6"),
            ("http://h/a%41%25", "aA%"),
            ("http://h/get/tool?version=3", "tool"),
        ] {
            assert_eq!(of(url, name), Some(Copy::Url(url.into())), "{url}");
        }
        for (url, name) in [
            ("http://h/debian", "libssl.so.3"),
            ("http://h/lib/libssl.so.3/", "libssl.so.3"),
            ("http://h/a.deb", "a.deb"),
            ("http://h/a%4", "a%04"),
            ("http://h/lib%2Fa", "a"),
            ("http://h", "h"),
        ] {
            assert_eq!(of(url, name), None, "{url}");
        }
    }
}
