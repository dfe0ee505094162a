//! Large files: a stream, redirects one by one, going on where another download stopped.
//!
//! ```no_run
//! use kedge_web::download::{Settings, open};
//! let mut answer = open("https://example.org/a.deb", None, &Settings::default(), &mut |hop| eprintln!("{hop}"))?;
//! std::io::copy(&mut answer, &mut std::fs::File::create("a.deb")?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the server announced (content-length, range, chunks) is what comes, or reading fails: an `Ok(0)` is the whole.
//! Only an answer that ends with the connection can be too short without anybody knowing ([`Stream::length`] is `None`
//! then, and [`Stream::chunked`] false).

use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use ureq::http::header::{HeaderMap, HeaderName};
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, BodyReader};

pub use crate::connection::Raw;
use crate::connection::{self, Watch};
use crate::error::Stopped;
use crate::header::{ContentRange, Validator, number};
use crate::{Address, Error, Problem, authorization, configured, join, roots, shown};

/// How many redirects are followed.
const REDIRECTS: usize = 10;
/// How much of what a server says to a refusal is read, and how much of that is shown.
const SAID: u64 = 4 << 10;
const SHOWN: usize = 160;

/// How to download.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long looking up a name may take; connecting to its addresses; the greeting of TLS.
    pub connect: Duration,
    /// How long the server may say nothing. The whole may take any time.
    pub silence: Duration,
    /// Names whose addresses are known better.
    pub resolve: Vec<Resolve>,
    /// Believe whatever certificate a server shows.
    pub insecure: bool,
    /// Asked several times a second, also while nothing comes: whether this shall end, with [`Problem::Stopped`].
    pub stop: Option<fn() -> bool>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(60),
            resolve: Vec::new(),
            insecure: false,
            stop: None,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.stop.is_some_and(|stop| stop()) {
            true => Err(io::Error::other(Stopped)),
            false => Ok(()),
        }
    }
}

/// The address of a name: `example.org:192.0.2.1`, `example.org:2001:db8::1`, or, for one port, as curl has it,
/// `example.org:443:[2001:db8::1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// The name.
    pub host: String,
    /// For this port only.
    pub port: Option<u16>,
    /// Its address.
    pub address: IpAddr,
}

impl Resolve {
    /// Out of what somebody typed.
    pub fn parse(text: &str) -> Option<Resolve> {
        let (host, rest) = text.split_once(':')?;
        let address = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
            bare.unwrap_or(text).parse().ok()
        };
        let (port, address) = match address(rest) {
            Some(found) => (None, found),
            None => {
                let (port, rest) = rest.split_once(':')?;
                (Some(port.parse().ok()?), address(rest)?)
            }
        };
        (!host.is_empty()).then(|| Resolve {
            host: host.into(),
            port,
            address,
        })
    }

    pub(crate) fn is_for(&self, host: &str, port: u16) -> bool {
        self.host.eq_ignore_ascii_case(host) && self.port.is_none_or(|only| only == port)
    }
}

/// Where another download stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// How many bytes there are.
    pub offset: u64,
    /// Of which content. Without, the rest of whatever is there is given: only for who checks the whole afterwards.
    pub validator: Option<Validator>,
}

/// An answer on the way: the last one, or one that leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What was asked for, as it may be shown.
    pub url: String,
    /// Who was connected to (a proxy, where there is one).
    pub address: Option<SocketAddr>,
    /// The status of HTTP.
    pub status: u16,
    /// Where it leads, as it may be shown.
    pub to: Option<String>,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)?;
        if let Some(address) = self.address {
            write!(f, " at {address}")?;
        }
        write!(f, ": {}", self.status)?;
        match &self.to {
            Some(to) => write!(f, ", go to {to}"),
            None => Ok(()),
        }
    }
}

/// The body of an answer, as it comes.
pub struct Stream {
    url: String,
    /// Where its first byte belongs: 0, or the offset that was asked for.
    first: u64,
    left: Option<u64>,
    announced: Option<u64>,
    headers: HeaderMap,
    /// `None` after the end.
    body: Option<BodyReader<'static>>,
    watch: Watch,
}

/// Asks for `url`, from where `resume` stopped when the content is still the same. `told` is given every answer.
///
/// # Errors
/// When the URL is none, the server cannot be reached or trusted, it redirects into the clear or without end, or its
/// answer is no success.
pub fn open(
    url: &str,
    resume: Option<&Resume>,
    settings: &Settings,
    told: &mut dyn FnMut(&Hop),
) -> Result<Stream, Error> {
    let mut address = Address::parse(url).map_err(|problem| Error::new(url, problem))?;
    for _ in 0..=REDIRECTS {
        let url = address.url.clone();
        let fail = |problem| Error::new(&url, problem);
        let (response, watch) = request(&address, resume, settings).map_err(fail)?;
        let mut hop = Hop {
            url: shown(&url),
            address: watch.seen().address,
            status: response.status().as_u16(),
            to: None,
        };
        let Some(location) = location(&response) else {
            told(&hop);
            return Stream::new(url.clone(), response, watch, resume).map_err(fail);
        };
        let mut next = join(&url, location).map_err(fail)?;
        hop.to = Some(shown(&next.url));
        told(&hop);
        if address.secure && !next.secure {
            return Err(fail(Problem::Downgrade));
        }
        // A login is for whom it was given.
        if next.login.is_none() && origin(&next.url) == origin(&address.url) {
            next.login = address.login;
        }
        address = next;
    }
    Err(Error::new(url, Problem::Redirects))
}

/// Connects to `host` (a name or an address) for bytes without a protocol.
///
/// # Errors
/// When the name is not known, or nobody takes the connection.
pub fn raw(host: &str, port: u16, settings: &Settings) -> Result<Raw, Problem> {
    let known = settings.resolve.iter().find(|r| r.is_for(host, port));
    let addresses: Vec<SocketAddr> = match known {
        Some(resolve) => vec![SocketAddr::new(resolve.address, port)],
        None => {
            let name = (host.to_string(), port);
            let lookup = move || Ok(name.to_socket_addrs()?.collect());
            connection::wait(settings, settings.connect, lookup)
                .map_err(|error| Problem::of(error.into()))?
                .ok_or(Problem::Timeout("asking for its name"))?
        }
    };
    let stream = connection::connect(settings, &addresses).map_err(Problem::of)?;
    Raw::new(stream, settings).map_err(Problem::Connect)
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[start..].find(['/', '?', '#']);
    &url[..end.map_or(url.len(), |end| start + end)]
}

/// With every set of authorities in turn until one knows who signed the server's certificate.
fn request(
    address: &Address,
    resume: Option<&Resume>,
    settings: &Settings,
) -> Result<(Response<Body>, Watch), Problem> {
    let mut sets = roots::sets()?.into_iter();
    let mut set = sets.next().unwrap_or(RootCerts::WebPki);
    loop {
        let tls = TlsConfig::builder()
            .root_certs(set)
            .disable_verification(settings.insecure)
            .build();
        let config = configured(RootCerts::WebPki, address.secure, 0)
            .tls_config(tls)
            .timeout_connect(Some(settings.connect))
            .timeout_recv_response(Some(settings.silence))
            .build();
        let watch = Watch::default();
        let agent = connection::agent(config, settings, &watch);
        match (call(&agent, address, resume), sets.next()) {
            (Ok(response), _) => return Ok((response, watch)),
            (Err(Problem::UnknownIssuer), Some(next)) => set = next,
            (Err(problem), _) => return Err(problem),
        }
    }
}

/// By one agent.
pub(crate) fn call(
    agent: &Agent,
    address: &Address,
    resume: Option<&Resume>,
) -> Result<Response<Body>, Problem> {
    let mut request = agent
        .get(&address.url)
        .header(header::CONNECTION, "close")
        .header(header::ACCEPT_ENCODING, "identity");
    if let Some(authorization) = authorization(address) {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if let Some(Resume { offset, validator }) = resume {
        request = request.header(header::RANGE, format!("bytes={offset}-"));
        if let Some(validator) = validator {
            request = request.header(header::IF_RANGE, validator.as_str());
        }
    }
    request.call().map_err(Problem::of)
}

/// Where an answer leads (RFC 9110, 15.4).
pub(crate) fn location(response: &Response<Body>) -> Option<&[u8]> {
    match response.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => Some(response.headers().get(header::LOCATION)?.as_bytes()),
        _ => None,
    }
}

impl Stream {
    pub(crate) fn new(
        url: String,
        response: Response<Body>,
        watch: Watch,
        resume: Option<&Resume>,
    ) -> Result<Stream, Problem> {
        let (parts, body) = response.into_parts();
        // Not that of chunks, which have lengths of their own (RFC 9112, 6.3).
        let mut left = body.content_length();
        let body = body.into_with_config().limit(u64::MAX).reader();
        if !parts.status.is_success() {
            watch.seen().waiting = Some(Instant::now());
            return Err(Problem::Rejected {
                status: parts.status.as_u16(),
                text: excerpt(body),
            });
        }
        let text = |name: HeaderName| parts.headers.get(name)?.to_str().ok();
        if text(header::CONTENT_LENGTH).and_then(number) == Some(0) {
            left = Some(0);
        }
        let mut first = 0;
        if parts.status == StatusCode::PARTIAL_CONTENT {
            // The rest, all of it, and nothing else was asked for.
            let wanted = resume.map(|resume| resume.offset);
            let range = text(header::CONTENT_RANGE).and_then(ContentRange::parse);
            let range = range.filter(|range| {
                Some(range.first) == wanted
                    && range.whole.is_none_or(|whole| whole == range.last + 1)
                    && left.is_none_or(|left| left == range.last - range.first + 1)
            });
            let Some(range) = range else {
                let why = "it sends other bytes than it was asked for";
                return Err(Problem::Protocol(why.into()));
            };
            first = range.first;
            left = Some(range.last - range.first + 1);
        }
        Ok(Stream {
            url,
            first,
            left,
            announced: left,
            headers: parts.headers,
            body: Some(body),
            watch,
        })
    }

    /// Where it comes from in the end, without login: not to be shown before [`shown`].
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its first byte belongs: the offset of [`Resume`], or 0 when the content is another, or the server knows no
    /// ranges.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How long the whole is, with what is in front of [`Self::first`], where the server says so.
    pub fn length(&self) -> Option<u64> {
        Some(self.first.saturating_add(self.announced?))
    }

    /// Whether it comes in chunks, whose end is seen also when its length is not known.
    pub fn chunked(&self) -> bool {
        self.headers.contains_key(header::TRANSFER_ENCODING)
    }

    /// With what to ask for the rest later. `None` when the server gives nothing to compare by.
    pub fn validator(&self) -> Option<Validator> {
        Validator::of(self.header("etag"), self.header("last-modified"))
    }

    /// A header field's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What a failed read means.
    pub fn error(&self, error: io::Error) -> Error {
        let problem = match error.downcast::<Problem>() {
            Ok(problem) => problem,
            Err(error) => Problem::of(error.into()),
        };
        Error::new(&self.url, problem)
    }

    /// After the last byte: ends the connection, and looks whether there are more.
    fn end(&mut self) -> io::Result<()> {
        let Some(mut body) = self.body.take() else {
            return Ok(());
        };
        {
            let mut seen = self.watch.seen();
            seen.complete = true;
            seen.waiting = Some(Instant::now());
        }
        let more = body.read(&mut [0])? > 0;
        drop(body);
        match more || self.watch.seen().surplus {
            true => Err(io::Error::other(Problem::Surplus {
                announced: self.announced.unwrap_or(0),
            })),
            false => Ok(()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == Some(0) {
            return self.end().map(|()| 0);
        }
        let Some(body) = &mut self.body else {
            return Ok(0);
        };
        let most = self.left.map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        let most = most.min(buffer.len());
        self.watch.seen().waiting = Some(Instant::now());
        let read = body.read(&mut buffer[..most]);
        let short = |left| {
            let of = self.announced.unwrap_or(left);
            io::Error::other(Problem::Short { got: of - left, of })
        };
        match (read, self.left) {
            (Ok(0), Some(left)) => Err(short(left)),
            (Ok(0), None) => {
                self.body = None;
                Ok(0)
            }
            (Ok(count), left) => {
                self.left = left.map(|left| left - count as u64);
                Ok(count)
            }
            (Err(e), Some(left)) if e.kind() == io::ErrorKind::UnexpectedEof => Err(short(left)),
            (Err(e), _) => Err(e),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", shown(&self.url))
    }
}

/// The beginning of what a server says, in one printable line, without the tags of HTML.
fn excerpt(body: impl Read) -> String {
    let mut bytes = Vec::new();
    // Whatever came before a failure is worth showing.
    let _ = body.take(SAID).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (mut plain, mut tag) = (String::new(), false);
    for c in text.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => {
                tag = false;
                plain.push(' ');
            }
            _ if tag => {}
            c => plain.push(c),
        }
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line: String = words.join(" ").escape_debug().to_string();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_address() {
        let resolve = |host: &str, port, address: &str| {
            Some(Resolve {
                host: host.into(),
                port,
                address: address.parse().unwrap(),
            })
        };
        for (text, expected) in [
            ("a.b:192.0.2.1", resolve("a.b", None, "192.0.2.1")),
            ("a:2001:db8::1", resolve("a", None, "2001:db8::1")),
            ("a:[::1]", resolve("a", None, "::1")),
            ("a:443:192.0.2.1", resolve("a", Some(443), "192.0.2.1")),
            ("a:443:[::1]", resolve("a", Some(443), "::1")),
            ("a", None),
            (":192.0.2.1", None),
            ("a:b", None),
            ("a:b:192.0.2.1", None),
        ] {
            assert_eq!(Resolve::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_a_server_says_is_one_printable_line() {
        let text = "<html><title>404\nNot Found</title>\x1b[2J</html>";
        assert_eq!(excerpt(text.as_bytes()), "404 Not Found \\u{1b}[2J");
        assert!(excerpt("x".repeat(10_000).as_bytes()).len() <= SHOWN + 3);
    }
}
