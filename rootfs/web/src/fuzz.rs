//! What this crate makes of any answer of a server: for the fuzz targets of tests/fuzz, and for nobody else. No network
//! takes part.

use std::io::Read;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::RootCerts;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error as Failure};

use crate::connection::{INPUT, Last, OUTPUT, Watch};
use crate::download::{Resume, Stream, call, location};
use crate::{Address, Error, Problem, configured, join, read};

const URL: &str = "http://192.0.2.1/file";

/// An answer to who has `offset` bytes already, as [`crate::download`] and as [`crate::get_whatever`] read it.
pub fn answer(data: &[u8], offset: u64) {
    if let Ok((stream, body)) = downloaded(data, offset) {
        // What was announced is what came.
        let end = stream.first() + body.len() as u64;
        assert!(stream.length().is_none_or(|length| length == end));
        assert!(stream.first() == 0 || stream.first() == offset);
        if let Some(validator) = stream.validator() {
            assert!(validator.as_str().bytes().all(|b| matches!(b, b' '..=b'~')));
        }
    }
    const LIMIT: u64 = 1000;
    let watch = Watch::default();
    if let Ok(response) = agent(data, &watch).get(URL).call()
        && let Ok(answer) = read(response, LIMIT)
    {
        assert!(answer.body.len() as u64 <= LIMIT);
    }
}

fn downloaded(data: &[u8], offset: u64) -> Result<(Stream, Vec<u8>), Error> {
    let fail = |problem| Error::new(URL, problem);
    let address = Address::parse(URL).map_err(fail)?;
    let resume = (offset > 0).then_some(Resume {
        offset,
        validator: None,
    });
    let watch = Watch::default();
    let response = call(&agent(data, &watch), &address, resume.as_ref()).map_err(fail)?;
    if let Some(location) = location(&response) {
        join(URL, location).map_err(fail)?;
        return Err(fail(Problem::Redirects));
    }
    let mut stream = Stream::new(URL.into(), response, watch, resume.as_ref()).map_err(fail)?;
    let mut body = Vec::new();
    let read = stream.read_to_end(&mut body);
    read.map_err(|error| stream.error(error))?;
    Ok((stream, body))
}

/// An agent that connects to nobody and is given `answer`.
fn agent(answer: &[u8], watch: &Watch) -> Agent {
    let config = configured(RootCerts::WebPki, false, 0).proxy(None).build();
    let chain = ().chain(Told(answer.into())).chain(Last(watch.clone()));
    Agent::with_parts(config, chain, Nowhere)
}

/// No name is looked up.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Failure> {
        let mut found = self.empty();
        found.push((Ipv4Addr::LOCALHOST, 80).into());
        Ok(found)
    }
}

#[derive(Clone, Debug)]
struct Told(Arc<[u8]>);

impl<In: Transport> Connector<In> for Told {
    type Out = Telling;

    fn connect(&self, _: &ConnectionDetails, _: Option<In>) -> Result<Option<Telling>, Failure> {
        Ok(Some(Telling {
            answer: Arc::clone(&self.0),
            at: 0,
            buffers: LazyBuffers::new(INPUT, OUTPUT),
        }))
    }
}

#[derive(Debug)]
struct Telling {
    answer: Arc<[u8]>,
    at: usize,
    buffers: LazyBuffers,
}

impl Transport for Telling {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), Failure> {
        Ok(())
    }

    /// In small pieces, as a slow network gives them.
    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Failure> {
        const PIECE: usize = 61;
        let left = &self.answer[self.at..];
        let input = self.buffers.input_append_buf();
        let count = left.len().min(input.len()).min(PIECE);
        input[..count].copy_from_slice(&left[..count]);
        self.at += count;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}
