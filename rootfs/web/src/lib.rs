//! HTTP and HTTPS for kedge's tools: one request, bounded in time and size; or, for what is large, a
//! stream ([`download`]).
//!
//! ```no_run
//! use std::time::Duration;
//! let keys = kedge_web::get("https://example.org/admin.keys", 64 << 10, Duration::from_secs(30))?;
//! # Ok::<(), kedge_web::Error>(())
//! ```
//!
//! `user:password@` in a URL becomes basic authentication, and is never part of a message. What
//! begins encrypted is never redirected into the clear, and what is sent (`post`) is not
//! redirected at all. Whom to trust is in [`roots`]. Proxies are taken from the environment
//! (`HTTPS_PROXY`, `NO_PROXY`), as everywhere.

mod connection;
pub mod download;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod header;
mod pieces;
pub mod roots;
mod url;

use std::io::Read;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::config::ConfigBuilder;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body};

pub use error::{Error, Problem};
pub use pieces::{Piece, Pieces};
pub use url::{Address, join, raw_address, shown};

/// How many redirects are followed: GitHub's downloads take two.
const REDIRECTS: u32 = 5;
/// How much of an answer that is only a courtesy (to a post, to a failure) is read.
const COURTESY: u64 = 16 << 10;

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP, such as 200.
    pub status: u16,
    /// What came with it.
    pub body: Vec<u8>,
    /// When the server says that was (RFC 9110, section 6.6.1).
    pub date: Option<SystemTime>,
}

/// Fetches what is at `url`, at most `limit` bytes, within `timeout` for everything.
///
/// # Errors
/// When the URL is none, the server cannot be reached or trusted, its status is not 2xx, or it
/// sends more than `limit`.
pub fn get(url: &str, limit: u64, timeout: Duration) -> Result<Vec<u8>, Error> {
    let answer = get_whatever(url, limit, timeout)?;
    success(url, &answer)?;
    Ok(answer.body)
}

/// As [`get`], and gives the answer whatever its status is. At most 5 redirects are followed.
///
/// # Errors
/// As of [`get`], without that for the status.
pub fn get_whatever(url: &str, limit: u64, timeout: Duration) -> Result<Answer, Error> {
    request(url, limit, timeout, REDIRECTS, |agent, address| {
        let mut request = agent.get(&address.url);
        if let Some(authorization) = authorization(address) {
            request = request.header("authorization", authorization);
        }
        request.call()
    })
}

/// Sends `body` to `url`, within `timeout` for everything. A redirect is a failure.
///
/// # Errors
/// When the URL is none, the server cannot be reached or trusted, or its status is not 2xx.
pub fn post(url: &str, content_type: &str, body: &[u8], timeout: Duration) -> Result<(), Error> {
    let answer = request(url, COURTESY, timeout, 0, |agent, address| {
        let mut request = agent.post(&address.url).content_type(content_type);
        if let Some(authorization) = authorization(address) {
            request = request.header("authorization", authorization);
        }
        request.send(body)
    });
    match answer {
        // The server took it, and said more than anybody wants to know.
        Err(Error {
            problem: Problem::TooLong { .. },
            ..
        }) => Ok(()),
        answer => success(url, &answer?),
    }
}

fn success(url: &str, answer: &Answer) -> Result<(), Error> {
    match answer.status {
        200..300 => Ok(()),
        status => Err(Error::new(url, Problem::Status(status))),
    }
}

fn authorization(address: &Address) -> Option<String> {
    let (user, password) = address.login.as_ref()?;
    Some(format!(
        "Basic {}",
        STANDARD.encode(format!("{user}:{password}"))
    ))
}

/// Makes a request, with every set of roots in turn until one knows who signed the server's
/// certificate. Nothing is sent before that is known, so a request is made once.
fn request(
    url: &str,
    limit: u64,
    timeout: Duration,
    redirects: u32,
    call: impl Fn(&Agent, &Address) -> Result<Response<Body>, ureq::Error>,
) -> Result<Answer, Error> {
    let fail = |problem| Error::new(url, problem);
    let address = Address::parse(url).map_err(fail)?;
    let mut sets = roots::sets().map_err(fail)?.into_iter();
    let mut set = sets.next().unwrap_or(RootCerts::WebPki);
    loop {
        let agent = agent(set, address.secure, timeout, redirects);
        let problem = match call(&agent, &address) {
            Ok(response) => return read(response, limit).map_err(fail),
            Err(error) => Problem::of(error),
        };
        match (problem, sets.next()) {
            (Problem::UnknownIssuer, Some(next)) => set = next,
            (problem, _) => return Err(fail(problem)),
        }
    }
}

fn agent(roots: RootCerts, secure: bool, timeout: Duration, redirects: u32) -> Agent {
    configured(roots, secure, redirects)
        .timeout_global(Some(timeout))
        .build()
        .into()
}

/// What is the same for every request.
fn configured(roots: RootCerts, secure: bool, redirects: u32) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .max_redirects(redirects)
        .max_redirects_will_error(redirects > 0)
        .https_only(secure)
        .http_status_as_error(false)
        .user_agent(concat!("kedge/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
}

fn read(mut response: Response<Body>, limit: u64) -> Result<Answer, Problem> {
    let mut body = Vec::new();
    response
        .body_mut()
        .with_config()
        .limit(u64::MAX)
        .reader()
        .take(limit.saturating_add(1))
        .read_to_end(&mut body)
        .map_err(|error| Problem::of(error.into()))?;
    if body.len() as u64 > limit {
        return Err(Problem::TooLong { limit });
    }
    let date = response.headers().get("date");
    let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    Ok(Answer {
        status: response.status().as_u16(),
        body,
        date,
    })
}
