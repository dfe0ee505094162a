//! dpkg's list of packages: paragraphs of `Field: value`, deb822(5).

use crate::store::{Complaints, Lines, Store};
use crate::{Error, Family, Package};

/// More packages than any system has.
const MOST_PACKAGES: usize = 1 << 18;

/// What is said of a package; no record when it has no files on the system (any more).
pub(crate) struct Stanza {
    pub(crate) package: Package,
    pub(crate) record: Option<Record>,
}

/// Where the records of a package that has files are.
#[derive(Debug)]
pub(crate) struct Record {
    /// `Multi-Arch: same`: its files in `info/` are called `NAME:ARCHITECTURE.list`.
    pub(crate) same: bool,
    /// Where the line after `Conffiles:` begins.
    pub(crate) conffiles: Option<u64>,
}

#[derive(Default)]
struct Paragraph {
    began: u64,
    package: Option<String>,
    version: String,
    architecture: String,
    status: Option<String>,
    same: bool,
    conffiles: Option<u64>,
    /// The first line that is neither a field nor goes on with one.
    odd: Option<u64>,
    /// The second line that names a package.
    twice: Option<u64>,
}

/// All packages; paragraphs that make no sense are complained of.
pub(crate) fn read(store: &Store, complaints: &Complaints) -> Result<Vec<Stanza>, Error> {
    let mut stanzas = Vec::new();
    let mut zero = None;
    let mut lines = store.lines(0);
    let mut paragraph = Paragraph::default();
    loop {
        let offset = lines.offset();
        let line = lines.next()?;
        match line {
            Some(line) if !line.is_empty() => {
                if zero.is_none() && line.contains(&0) {
                    zero = Some(offset);
                    let why =
                        "there is a zero byte: what stood there is lost, whole packages perhaps";
                    complaints.add(store.damaged(offset, why).to_string());
                }
                paragraph.line(line, offset, store);
            }
            _ => {
                let end = line.is_none();
                let done = std::mem::take(&mut paragraph);
                paragraph.began = lines.offset();
                stanzas.extend(done.finish(store, complaints));
                if stanzas.len() > MOST_PACKAGES {
                    return Err(store.damaged(offset, "there are more packages than make sense"));
                }
                if end {
                    return Ok(stanzas);
                }
            }
        }
    }
}

/// Whether its last line has an end; dpkg writes an empty one behind every paragraph.
pub(crate) fn is_whole(store: &Store) -> Result<(), Error> {
    let last = store.length().saturating_sub(1);
    let mut byte = [0];
    store.read_at(last, &mut byte)?;
    match byte {
        [b'\n'] => Ok(()),
        _ => Err(store.damaged(
            store.length(),
            "it ends in the middle of a line: what came behind is lost",
        )),
    }
}

impl Paragraph {
    fn line(&mut self, line: &[u8], offset: u64, store: &Store) {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return;
        }
        let text = String::from_utf8_lossy(line);
        let Some((field, value)) = text.split_once(':') else {
            self.odd.get_or_insert(offset);
            return;
        };
        let value = value.trim();
        match field.to_ascii_lowercase().as_str() {
            "package" => {
                // The line between two paragraphs is gone, and what else?
                if self.package.replace(value.into()).is_some() {
                    self.twice.get_or_insert(offset);
                }
            }
            "version" => self.version = value.into(),
            "architecture" => self.architecture = value.into(),
            "status" => self.status = Some(value.into()),
            "multi-arch" => self.same = value == "same",
            "conffiles" => {
                let next = offset + line.len() as u64 + 1;
                self.conffiles = (next < store.length()).then_some(next);
            }
            name if name.bytes().all(|byte| byte.is_ascii_graphic()) => {}
            _ => {
                self.odd.get_or_insert(offset);
            }
        }
    }

    fn finish(self, store: &Store, complaints: &Complaints) -> Option<Stanza> {
        if let Some(offset) = self.odd {
            complaints.add(store.damaged(offset, "there is no field").to_string());
        }
        if let Some(offset) = self.twice {
            let why = "a second package is named in one paragraph";
            complaints.add(store.damaged(offset, why).to_string());
        }
        let named = self.package.is_some() || self.status.is_some();
        let Some(name) = self.package.filter(|name| is_name(name)) else {
            if named {
                let why = "a paragraph has no package's name";
                complaints.add(store.damaged(self.began, why).to_string());
            }
            return None;
        };
        if !self.architecture.is_empty() && !is_name(&self.architecture) {
            let why = format!("package {name} has no architecture that makes sense");
            complaints.add(store.damaged(self.began, why).to_string());
            return None;
        }
        // `want error state`; what distroless writes has no such line and is installed.
        let status = self.status.unwrap_or("install ok installed".into());
        let words: Vec<&str> = status.split_ascii_whitespace().collect();
        let &[_, error, state] = words.as_slice() else {
            let why = format!("package {name} has no status that makes sense");
            complaints.add(store.damaged(self.began, why).to_string());
            return None;
        };
        match state {
            "not-installed" | "config-files" => {}
            "half-installed" => complaints.add(format!(
                "package {name} is half-installed: unpacking it was interrupted, its files are of two versions"
            )),
            "installed" | "unpacked" | "half-configured" | "triggers-awaited" | "triggers-pending" => {}
            _ => {
                let why = format!("package {name} has a status that dpkg does not know");
                complaints.add(store.damaged(self.began, why).to_string());
            }
        }
        if error != "ok" {
            complaints.add(format!(
                "dpkg says that package {name} must be installed again"
            ));
        }
        let owns_files = !matches!(state, "not-installed" | "config-files");
        let record = owns_files.then_some(Record {
            same: self.same,
            conffiles: self.conffiles,
        });
        let package = Package {
            family: Family::Dpkg,
            name,
            version: self.version,
            architecture: self.architecture,
        };
        Some(Stanza { package, record })
    }
}

/// Names become parts of paths.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
    !name.is_empty() && name.len() < 200 && !name.starts_with('.') && name.bytes().all(fits)
}

/// A configuration file as the package brought it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conffile {
    pub(crate) path: Vec<u8>,
    /// In hexadecimal digits, or `newconffile`.
    pub(crate) md5: Vec<u8>,
    /// The installed version does not bring it any more.
    pub(crate) obsolete: bool,
}

/// The lines ` PATH MD5 [obsolete|remove-on-upgrade]` from here to the next field.
pub(crate) fn conffiles(lines: &mut Lines<'_>) -> Result<Vec<Conffile>, Error> {
    let mut found = Vec::new();
    while let Some([b' ' | b'\t', line @ ..]) = lines.next()? {
        let mut line = line.trim_ascii();
        let mut obsolete = false;
        for flag in [" obsolete", " remove-on-upgrade"] {
            if let Some(rest) = line.strip_suffix(flag.as_bytes()) {
                (line, obsolete) = (rest, true);
            }
        }
        if let Some(blank) = line.iter().rposition(|&byte| byte == b' ') {
            found.push(Conffile {
                path: line[..blank].into(),
                md5: line[blank + 1..].into(),
                obsolete,
            });
        }
    }
    Ok(found)
}
