//! Bytes from a mirror or from a folder.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use kedge_digest::{Digest, Hasher};
use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;
use kedge_web::download::{self, Raw, Resume, Settings, Stream};
use kedge_web::header::Validator;
use kedge_web::{Error as WebError, Problem};

/// How often a cut connection is taken up again without a further byte having come, and altogether.
const TRIES: u32 = 3;
const TRIES_IN_ALL: u32 = 100;

/// When nothing came from a port for so long, it may be the end; after so many of these without the right digest, it is given up.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSES: u32 = 60;

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `http://`, `https://`.
    Url(String),
    /// Named by whoever runs this.
    File(PathBuf),
    /// In the installed system, whose links lead nowhere else: ROOT, and the path below it.
    Inside(PathBuf, PathBuf),
    /// What comes from a host's port, and what it must be.
    Tcp(String, u16, Option<Digest>),
}

impl Place {
    /// For people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Place::Url(url) => kedge_web::shown(url),
            Place::File(path) => crate::words::shown(&path.to_string_lossy()),
            Place::Inside(root, path) => crate::words::shown(&root.join(path).to_string_lossy()),
            Place::Tcp(host, port, _) if host.contains(':') => format!("tcp://[{host}]:{port}"),
            Place::Tcp(host, port, _) => format!("tcp://{host}:{port}"),
        }
    }

    /// Whether it is of HTTP.
    pub(crate) fn is_web(&self) -> bool {
        matches!(self, Place::Url(url) if url.starts_with("http://") || url.starts_with("https://"))
    }

    /// Whether it comes over a network.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Place::Url(_) | Place::Tcp(..))
    }

    /// The file `path`, relative, under this folder and nowhere else.
    pub(crate) fn join(&self, path: &str) -> Place {
        let tame = || {
            let parts = Path::new(path).components();
            parts.filter(|part| matches!(part, Component::Normal(_)))
        };
        match self {
            Place::Url(url) => {
                Place::Url(format!("{}/{}", url.trim_end_matches('/'), escaped(path)))
            }
            Place::File(folder) => Place::File(folder.components().chain(tame()).collect()),
            Place::Inside(root, folder) => {
                let inside = folder.components().chain(tame()).collect();
                Place::Inside(root.clone(), inside)
            }
            // It has no folders.
            Place::Tcp(..) => self.clone(),
        }
    }

    /// The file beside it with an ending more.
    pub(crate) fn sibling(&self, ending: &str) -> Place {
        let longer = |path: &Path| {
            let mut path = path.as_os_str().to_owned();
            path.push(ending);
            PathBuf::from(path)
        };
        match self {
            Place::Url(url) => Place::Url(format!("{url}{ending}")),
            Place::File(path) => Place::File(longer(path)),
            Place::Inside(root, path) => Place::Inside(root.clone(), longer(path)),
            Place::Tcp(..) => self.clone(),
        }
    }

    /// Opens it, and goes on where a connection was cut.
    pub(crate) fn open(&self) -> Result<Box<dyn Read>, Trouble> {
        self.open_sized().map(|(reader, _)| reader)
    }

    /// As [`Self::open`], and how long it says to be.
    pub(crate) fn open_sized(&self) -> Result<(Box<dyn Read>, Option<u64>), Trouble> {
        match self {
            Place::Url(url) => {
                let download = Download::open(url)?;
                let length = download.stream.as_ref().and_then(Stream::length);
                Ok((Box::new(download), length))
            }
            Place::Tcp(host, port, must) => {
                let settings = Settings {
                    silence: PAUSE,
                    ..settings()
                };
                let raw = download::raw(host, *port, &settings).map_err(|problem| {
                    Trouble::Other(format!("{problem}; is anybody waiting there?"))
                })?;
                let must = must.map(|must| (must, Hasher::new(must.algorithm())));
                let sent = Sent {
                    raw,
                    must,
                    pauses: 0,
                };
                Ok((Box::new(sent), None))
            }
            place => {
                let file = place.open_file()?;
                let length = file.metadata().map(|data| data.len()).ok();
                Ok((Box::new(file), length))
            }
        }
    }

    /// Opens what is on this machine.
    pub(crate) fn open_file(&self) -> Result<File, Trouble> {
        match self {
            Place::Url(_) | Place::Tcp(..) => {
                Err(Trouble::Other("it is on another machine".into()))
            }
            Place::File(path) => open_regular(path),
            Place::Inside(root, path) => {
                let root = Sysroot::open(root).map_err(Trouble::of_sysroot)?;
                root.open_file(path).map_err(Trouble::of_sysroot)
            }
        }
    }

    /// Asks whether it is there, and no more.
    pub(crate) fn probe(&self) -> Result<(), Trouble> {
        self.open().map(drop)
    }

    /// As [`Self::probe`], in words.
    pub(crate) fn is_there(&self) -> Result<bool, String> {
        match self.probe() {
            Ok(()) => Ok(true),
            Err(Trouble::Missing) => Ok(false),
            Err(trouble) => Err(trouble.to_string()),
        }
    }

    /// All of it, at most `limit` bytes.
    pub(crate) fn read(&self, limit: u64) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let read = self.open()?.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| Trouble::Other(error.to_string()))?;
        if bytes.len() as u64 > limit {
            return Err(Trouble::Other(format!(
                "it is longer than the {} that make sense there",
                kedge_progress::bytes(limit)
            )));
        }
        Ok(bytes)
    }
}

/// Why a file cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Whoever was asked has no such file.
    Missing,
    /// Anything else, for people.
    Other(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Missing => f.write_str("it is not there"),
            Trouble::Other(why) => f.write_str(why),
        }
    }
}

impl Trouble {
    fn of_web(error: &WebError) -> Trouble {
        match &error.problem {
            Problem::Status(404 | 410)
            | Problem::Rejected {
                status: 404 | 410, ..
            } => Trouble::Missing,
            problem => Trouble::Other(problem.to_string()),
        }
    }

    fn of_sysroot(error: kedge_sysroot::Error) -> Trouble {
        if error.is_missing() {
            Trouble::Missing
        } else {
            Trouble::Other(error.to_string())
        }
    }
}

/// A path within a URL: what may not stand there is percent-encoded (RFC 3986, 2.1). What is encoded already stays.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b' ' | b'"' | b'#' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            0..=0x1f | 0x7f.. => escaped.push_str(&format!("%{byte:02X}")),
            _ => escaped.push(char::from(byte)),
        }
    }
    escaped
}

/// Opens what somebody named, if it is a file: a FIFO would wait for ever.
fn open_regular(path: &Path) -> Result<File, Trouble> {
    let opened = File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .and_then(|file| Ok((file.metadata()?.is_file(), file)));
    match opened {
        Ok((true, file)) => Ok(file),
        Ok((false, _)) => Err(Trouble::Other("it is no regular file".into())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(Trouble::Missing)
        }
        Err(error) => Err(Trouble::Other(error.to_string())),
    }
}

/// Linux' number, on all processors that kedge is built for.
const O_NONBLOCK: i32 = 0o4000;

/// ctrl-C is heard.
fn settings() -> Settings {
    Settings {
        stop: Some(interrupt::pressed_already),
        ..Settings::default()
    }
}

/// What comes from a port. Not every `nc` hangs up at the end of its file (busybox's, OpenBSD's without `-N`), so the end is also
/// where nothing more comes and the digest is right.
struct Sent {
    raw: Raw,
    must: Option<(Digest, Hasher)>,
    /// Since the last that came.
    pauses: u32,
}

impl Sent {
    fn is_whole(&self) -> bool {
        let is = |(must, hasher): &(Digest, Hasher)| hasher.clone().finish() == *must;
        self.must.as_ref().is_some_and(is)
    }
}

impl Read for Sent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.raw.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    self.pauses += 1;
                    if self.is_whole() {
                        return Ok(0);
                    }
                    if self.pauses == PAUSES {
                        let silence = kedge_progress::seconds(f64::from(PAUSES));
                        let end = match self.must {
                            Some(_) => "",
                            None => {
                                "; without a checksum it ends where the sender hangs up (nc -N or nc -q 0 does)"
                            }
                        };
                        return Err(io::Error::other(format!("nothing came for {silence}{end}")));
                    }
                }
                Ok(count) => {
                    self.pauses = 0;
                    if let Some((_, hasher)) = &mut self.must {
                        hasher.update(&buffer[..count]);
                    }
                    return Ok(count);
                }
                error => return error,
            }
        }
    }
}

/// A file of a web server, whose connection may be cut.
struct Download {
    url: String,
    settings: Settings,
    stream: Option<Stream>,
    validator: Option<Validator>,
    offset: u64,
    /// Where it was cut last.
    cut_at: Option<u64>,
    tries: u32,
    tries_in_all: u32,
}

impl Download {
    fn open(url: &str) -> Result<Download, Trouble> {
        let mut download = Download {
            url: url.to_owned(),
            settings: settings(),
            stream: None,
            validator: None,
            offset: 0,
            cut_at: None,
            tries: 0,
            tries_in_all: 0,
        };
        loop {
            match download.connect() {
                Ok(()) => return Ok(download),
                Err(error) => {
                    let trouble = Trouble::of_web(&error);
                    if !passing(&error.problem) || !download.again() {
                        return Err(trouble);
                    }
                }
            }
        }
    }

    /// Connects, and is where it was.
    fn connect(&mut self) -> Result<(), WebError> {
        let resume = self.validator.clone().filter(|_| self.offset > 0);
        let resume = resume.map(|validator| Resume {
            offset: self.offset,
            validator: Some(validator),
        });
        let mut stream = download::open(&self.url, resume.as_ref(), &self.settings, &mut |_| {})?;
        // A server that knows no ranges begins anew. That it is the same content still, the digest will tell.
        let again = self.offset.saturating_sub(stream.first());
        let skipped = io::copy(&mut (&mut stream).take(again), &mut io::sink());
        skipped.map_err(|error| stream.error(error))?;
        self.validator = stream.validator();
        self.stream = Some(stream);
        Ok(())
    }

    /// Whether it is worth another try; waits a little before.
    fn again(&mut self) -> bool {
        if self.cut_at.replace(self.offset) != Some(self.offset) {
            self.tries = 0;
        }
        self.tries += 1;
        self.tries_in_all += 1;
        if self.tries > TRIES || self.tries_in_all > TRIES_IN_ALL {
            return false;
        }
        for _ in 0..self.tries * 5 {
            if interrupt::pressed_already() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }
}

/// Whether the next try may be luckier.
fn passing(problem: &Problem) -> bool {
    match problem {
        Problem::Connect(_)
        | Problem::Timeout(_)
        | Problem::Protocol(_)
        | Problem::Short { .. } => true,
        Problem::Rejected { status, .. } | Problem::Status(status) => {
            matches!(status, 429 | 500 | 502 | 503 | 504)
        }
        _ => false,
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let error = match &mut self.stream {
                Some(stream) => match stream.read(buffer) {
                    Ok(count) => {
                        self.offset += count as u64;
                        return Ok(count);
                    }
                    Err(error) => stream.error(error),
                },
                None => match self.connect() {
                    Ok(()) => continue,
                    Err(error) => error,
                },
            };
            self.stream = None;
            if !passing(&error.problem) || !self.again() {
                return Err(io::Error::other(error.problem.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_urls_hold_what_a_url_may() {
        let base = Place::Url("http://h/debian/".into());
        for (path, expected) in [
            (
                "pool/g++_1.0~rc1%3a2.deb",
                "http://h/debian/pool/g++_1.0~rc1%3a2.deb",
            ),
            ("a b\r\nEvil: x", "http://h/debian/a%20b%0D%0AEvil:%20x"),
            ("x?y#z", "http://h/debian/x%3Fy%23z"),
        ] {
            assert_eq!(base.join(path), Place::Url(expected.into()));
        }
    }

    #[test]
    fn an_index_names_no_file_outside_of_its_folder() {
        let base = Place::File("/mirror".into());
        for path in ["/a/b", "../../a/./b", "a//../b"] {
            assert_eq!(base.join(path), Place::File("/mirror/a/b".into()));
        }
    }

    #[test]
    fn who_never_hangs_up_is_told_to_where_nothing_else_is_the_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = Settings {
            silence: Duration::from_millis(10),
            ..settings()
        };
        let why = |must: Option<Digest>| {
            let mut sent = Sent {
                raw: download::raw("127.0.0.1", port, &settings).unwrap(),
                must: must.map(|must| (must, Hasher::new(must.algorithm()))),
                pauses: PAUSES - 1,
            };
            sent.read(&mut [0]).unwrap_err().to_string()
        };
        let must = Digest::from_hex(kedge_digest::Algorithm::Md5, &"0".repeat(32));
        assert!(must.is_some() && !why(must).contains("nc -N"));
        assert!(why(None).contains("nc -N"));
    }

    #[test]
    fn only_regular_files_are_opened() {
        let missing = Place::File("/nonexistent/x".into());
        assert_eq!(missing.read(1), Err(Trouble::Missing));
        for path in ["/dev/zero", "/proc", "/dev/tty"] {
            let read = Place::File(path.into()).read(1);
            assert!(matches!(read, Err(Trouble::Other(_))), "{path}: {read:?}");
        }
    }
}
