//! Pieces of large files: requests with a range (RFC 9110, section 14), read as they come, over connections
//! that are kept.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{Response, StatusCode};
use ureq::tls::RootCerts;
use ureq::{Agent, Body, BodyReader};

use crate::{Address, Error, Problem, REDIRECTS, authorization, configured, roots};

/// Asks for pieces. May be shared by threads.
#[derive(Debug)]
pub struct Pieces {
    /// How long each phase, and each read, may take.
    patience: Duration,
    /// An agent for each set of authorities: who has connections, keeps them.
    agents: Mutex<Vec<(bool, Agent)>>,
    /// The set that knew who signed the server's certificate.
    known: AtomicUsize,
}

/// The bytes of a piece, as they come: never more than asked for. Fewer when the server says so.
pub struct Piece {
    reader: io::Take<BodyReader<'static>>,
    /// The answer ends where the piece does.
    partial: bool,
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0 && self.partial {
            // The connection is kept when the answer's end was seen.
            self.reader.get_mut().read(&mut [0])?;
            self.partial = false;
        }
        Ok(count)
    }
}

impl Pieces {
    /// Gives up on a server that says nothing for `patience`.
    pub fn new(patience: Duration) -> Pieces {
        Pieces {
            patience,
            agents: Mutex::new(Vec::new()),
            known: AtomicUsize::new(0),
        }
    }

    /// Asks for `length` bytes (one at least) from `offset` on. A server that knows no ranges sends the whole
    /// file; what is in front of the piece is read and thrown away then.
    ///
    /// # Errors
    /// When the URL is none, the server cannot be reached or trusted, or it does not give these bytes.
    pub fn get(&self, url: &str, offset: u64, length: u64) -> Result<Piece, Error> {
        let fail = |problem| Error::new(url, problem);
        let address = Address::parse(url).map_err(fail)?;
        let last = offset.saturating_add(length.max(1)).saturating_sub(1);
        let response = self.request(&address, offset, last).map_err(fail)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                if first_byte(&response) != Some(offset) {
                    let why = "it sends other bytes than it was asked for".into();
                    return Err(fail(Problem::Protocol(why)));
                }
                Ok(piece(response, length, true))
            }
            StatusCode::OK => {
                let mut whole = piece(response, offset.saturating_add(length), false);
                let mut before = whole.reader.by_ref().take(offset);
                match io::copy(&mut before, &mut io::sink()) {
                    Ok(skipped) if skipped == offset => Ok(whole),
                    // There is nothing behind its end.
                    Ok(_) => Err(fail(Problem::Status(416))),
                    Err(error) => Err(self.error(url, error)),
                }
            }
            status => Err(fail(Problem::Status(status.as_u16()))),
        }
    }

    /// What a failed read of a piece means.
    pub fn error(&self, url: &str, error: io::Error) -> Error {
        Error::new(url, Problem::of(error.into()))
    }

    /// With every set of authorities in turn until one knows who signed the server's certificate.
    fn request(&self, address: &Address, first: u64, last: u64) -> Result<Response<Body>, Problem> {
        loop {
            let number = self.known.load(Ordering::Relaxed);
            let (more, agent) = self.agent(number, address.secure)?;
            let mut request = agent
                .get(&address.url)
                .header("range", format!("bytes={first}-{last}"));
            if let Some(authorization) = authorization(address) {
                request = request.header("authorization", authorization);
            }
            match request.call().map_err(Problem::of) {
                Err(Problem::UnknownIssuer) if more => {
                    self.known.store(number + 1, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
    }

    /// The agent with that set, and whether there is a further one.
    fn agent(&self, number: usize, secure: bool) -> Result<(bool, Agent), Problem> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, _)) = agents.first()
            && *of != secure
        {
            agents.clear();
        }
        if agents.is_empty() {
            for set in roots::sets()? {
                agents.push((secure, self.made(set, secure)));
            }
        }
        let more = number + 1 < agents.len();
        let agent = agents.get(number).or(agents.last());
        agent.map_or(Err(Problem::UnknownIssuer), |(_, agent)| {
            Ok((more, agent.clone()))
        })
    }

    fn made(&self, set: RootCerts, secure: bool) -> Agent {
        configured(set, secure, REDIRECTS)
            .timeout_connect(Some(self.patience))
            .timeout_resolve(Some(self.patience))
            .timeout_recv_response(Some(self.patience))
            .timeout_per_read(Some(self.patience))
            .build()
            .into()
    }
}

fn piece(response: Response<Body>, length: u64, partial: bool) -> Piece {
    let body = response.into_body().into_with_config().limit(u64::MAX);
    Piece {
        reader: body.reader().take(length),
        partial,
    }
}

/// Where the bytes of the answer begin (RFC 9110, section 14.4).
fn first_byte(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    let range = range.trim().strip_prefix("bytes")?.trim_start();
    range.split_once('-')?.0.parse().ok()
}
