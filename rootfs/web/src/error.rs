//! Why a request failed, and what can be done.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::CertificateError;

/// A request that failed.
#[derive(Debug)]
pub struct Error {
    /// The URL, as it may be shown: see [`crate::shown`].
    pub url: String,
    /// What went wrong.
    pub problem: Problem,
}

impl Error {
    pub(crate) fn new(url: &str, problem: Problem) -> Error {
        Error {
            url: crate::shown(url),
            problem,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.problem)
    }
}

impl std::error::Error for Error {}

/// What can go wrong. The texts stand after a URL and a colon.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Not a URL of HTTP or HTTPS.
    #[error("is no URL that begins with http:// or https:// and names a host")]
    NoUrl,
    /// The name is unknown.
    #[error("its name is not known: {0} (net status shows which servers are asked for names)")]
    Name(String),
    /// No connection.
    #[error("no connection: {0} (net status shows addresses and routes)")]
    Connect(io::Error),
    /// It took too long.
    #[error("no answer in time, while {0}")]
    Timeout(&'static str),
    /// An answer of HTTP that is no success.
    #[error("the server answered with status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    /// The same, where the answer was to be saved: with the beginning of what the server says to it, in one line.
    #[error("the server answered with status {status}{hint}{}", said(text), hint = hint(*.status))]
    Rejected {
        /// The status of HTTP.
        status: u16,
        /// Printable, and short; may be empty.
        text: String,
    },
    /// Fewer bytes than the server itself announced.
    #[error("it ended after {got} of {of} bytes")]
    Short {
        /// What came.
        got: u64,
        /// What was announced.
        of: u64,
    },
    /// More bytes than the server itself announced.
    #[error("it sends more than the {announced} bytes that it announced")]
    Surplus {
        /// What was announced.
        announced: u64,
    },
    /// More than was asked for.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// How much was allowed.
        limit: u64,
    },
    /// From HTTPS to HTTP.
    #[error("the server redirects from https to http, which is not followed")]
    Downgrade,
    /// A redirect that leads to no URL of HTTP.
    #[error("the server redirects to '{0}', which is not followed: only http:// and https:// are")]
    Elsewhere(String),
    /// Round and round.
    #[error("the server redirects again and again")]
    Redirects,
    /// Nobody trusted signed the certificate.
    #[error(
        "the server's certificate is signed by nobody known here (an authority of your own goes \
         into {folder}/NAME.pem)", folder = crate::roots::FOLDER
    )]
    UnknownIssuer,
    /// The certificate is not valid at this time.
    #[error(
        "the server's certificate {0}, if this machine's clock is right (clock shows it, and \
         sets it)"
    )]
    Time(&'static str),
    /// The certificate is for another name.
    #[error("the server's certificate is for another name")]
    WrongName,
    /// Anything else of TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Authorities that were given, but cannot be read.
    #[error("cannot read the certificates in {path}: {why}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Somebody pressed ctrl-C.
    #[error("interrupted")]
    Stopped,
    /// What came was not HTTP, or ended early.
    #[error("the server does not speak HTTP as it should: {0}")]
    Protocol(String),
}

fn said(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(", and says: {text}"),
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => " (is the login right?)",
        404 => " (there is nothing of that name)",
        300..=399 => " (a redirect, which is not followed here)",
        500..=599 => " (it has trouble of its own)",
        _ => "",
    }
}

impl Problem {
    /// The status of HTTP, when that is what went wrong.
    pub fn status(&self) -> Option<u16> {
        match self {
            Problem::Status(status) | Problem::Rejected { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What a failed read of a connection means.
    pub fn of_read(error: io::Error) -> Problem {
        match error.kind() {
            io::ErrorKind::TimedOut => Problem::Timeout("waiting"),
            _ => Problem::of(error.into()),
        }
    }

    /// Sorts what the libraries say by what can be done about it.
    pub(crate) fn of(error: ureq::Error) -> Problem {
        match error {
            ureq::Error::HostNotFound => Problem::Name("no address".into()),
            ureq::Error::Io(error) => Problem::of_io(error),
            ureq::Error::Rustls(error) => Problem::of_tls(error),
            ureq::Error::Timeout(when) => Problem::Timeout(phase(when)),
            ureq::Error::RequireHttpsOnly(_) => Problem::Downgrade,
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => Problem::Redirects,
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Problem::NoUrl,
            ureq::Error::Tls(why) => Problem::Tls(why.into()),
            other => Problem::Protocol(other.to_string()),
        }
    }

    fn of_io(error: io::Error) -> Problem {
        if error.get_ref().is_some_and(|e| e.is::<Stopped>()) {
            return Problem::Stopped;
        }
        if let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref()) {
            return Problem::of_tls(rustls::Error::clone(tls));
        }
        // std gives what getaddrinfo says no kind of its own.
        let text = error.to_string();
        if let Some(why) = text.strip_prefix("failed to lookup address information: ") {
            return Problem::Name(why.into());
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Problem::Protocol("it ended the connection too early".into())
            }
            io::ErrorKind::InvalidData => Problem::Protocol(text),
            _ => Problem::Connect(error),
        }
    }

    fn of_tls(error: rustls::Error) -> Problem {
        let rustls::Error::InvalidCertificate(certificate) = &error else {
            return Problem::Tls(error.to_string());
        };
        match certificate {
            CertificateError::UnknownIssuer => Problem::UnknownIssuer,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Problem::Time("is not valid yet")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Problem::Time("is no longer valid")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Problem::WrongName
            }
            _ => Problem::Tls(error.to_string()),
        }
    }
}

/// What a connection that is to end says, inside an error of I/O.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Stopped;

fn phase(timeout: ureq::Timeout) -> &'static str {
    match timeout {
        ureq::Timeout::Resolve => "asking for its name",
        ureq::Timeout::Connect => "connecting",
        ureq::Timeout::SendRequest | ureq::Timeout::SendBody => "sending",
        _ => "waiting",
    }
}
