//! From the network to its place, as long as it takes.

use std::cell::Cell;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use kedge_progress::{Progress, bytes, interrupt, seconds};
use kedge_web::Problem;
use kedge_web::download::{self, Hop, Stream};

use crate::arguments::{From, Wish};
use crate::error::Error;
use crate::place::Place;

/// Read at once, at most: what the socket's buffer gives. TLS gives 16 kB at a time.
const CHUNK: usize = 128 << 10;
/// How long to wait after a break; after the last of these without anything new, it is a failure.
const WAITS: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// What was done.
pub(crate) struct Done {
    /// How many bytes there are.
    pub(crate) length: u64,
    /// How many of them came now.
    pub(crate) came: u64,
    pub(crate) time: Duration,
    /// Whether the other side said how many there are, or where they end.
    pub(crate) end_known: bool,
}

/// Fetches everything that was wished for to `place`.
pub(crate) fn run(wish: &Wish, place: &mut Place, progress: &mut Progress) -> Result<Done, Error> {
    let (began, before) = (Instant::now(), place.written());
    let end_known = match &wish.from {
        From::Web(url) => web(url, wish, place, progress)?,
        From::Tcp { host, port } => {
            tcp(host, *port, wish, place, progress)?;
            false
        }
    };
    progress.clear();
    Ok(Done {
        length: place.written(),
        came: place.written().saturating_sub(before),
        time: began.elapsed(),
        end_known,
    })
}

fn tcp(
    host: &str,
    port: u16,
    wish: &Wish,
    place: &mut Place,
    progress: &mut Progress,
) -> Result<(), Error> {
    let fail = |problem| match problem {
        Problem::Stopped => Error::Interrupted,
        problem => Error::Tcp {
            host: host.into(),
            port,
            problem: Box::new(problem),
        },
    };
    let mut raw = download::raw(host, port, &wish.settings).map_err(fail)?;
    if let (Some(address), false) = (raw.address(), wish.quiet) {
        progress.note(&format!("tcp://{host}:{port} at {address}"));
    }
    progress.go_on(0, None);
    copy(&mut raw, place, progress, wish.quiet)?.map_err(|error| fail(Problem::of_read(error)))
}

/// Gives whether the server said where it ends.
fn web(url: &str, wish: &Wish, place: &mut Place, progress: &mut Progress) -> Result<bool, Error> {
    let (mut failures, mut most) = (0, place.written());
    loop {
        let error = match attempt(url, wish, place, progress)? {
            Ok(end_known) => return Ok(end_known),
            Err(error) => error,
        };
        if !is_passing(&error.problem) {
            if matches!(error.problem, Problem::Surplus { .. }) {
                place.discard();
            }
            return Err(error.into());
        }
        if place.written() > most {
            (failures, most) = (0, place.written());
        }
        // When nothing ever came, it is as likely that the URL is wrong.
        let wait = match WAITS.get(failures) {
            Some(&wait) if most > 0 => wait,
            _ => return Err(error.into()),
        };
        failures += 1;
        let how = match place.can_go_on() {
            true => "goes on there",
            false => "starts anew, since the server gives nothing to compare by",
        };
        progress.note(&format!(
            "{error} ({} are there); {how} in {}",
            bytes(place.written()),
            seconds(wait.as_secs_f64())
        ));
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if interrupt::pressed_already() {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// One request, and what comes of it. The inner error is one of the network.
fn attempt(
    url: &str,
    wish: &Wish,
    place: &mut Place,
    progress: &mut Progress,
) -> Result<Result<bool, kedge_web::Error>, Error> {
    let resume = place.resume();
    if place.written() > 0 && resume.is_none() {
        place.restart()?;
    }
    let status = Cell::new(0);
    let told = &mut |hop: &Hop| {
        status.set(hop.status);
        if !wish.quiet {
            progress.note(&hop.to_string());
        }
    };
    let mut stream = match download::open(url, resume.as_ref(), &wish.settings, told) {
        Ok(stream) => stream,
        // There is nothing from there on: it has become shorter.
        Err(error) if resume.is_some() && error.problem.status() == Some(416) => {
            place.restart()?;
            match download::open(url, None, &wish.settings, told) {
                Ok(stream) => stream,
                Err(error) => return Ok(Err(error)),
            }
        }
        Err(error) => return Ok(Err(error)),
    };
    has_content(url, status.get())?;
    if !place.accept(&stream)? {
        place.restart()?;
        stream = match download::open(url, None, &wish.settings, told) {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        has_content(url, status.get())?;
        place.accept(&stream)?;
    }
    if !wish.quiet {
        remark(&stream, resume.map(|resume| resume.offset), progress);
    }
    progress.go_on(stream.first(), stream.length());
    let copied = copy(&mut stream, place, progress, wish.quiet)?;
    let end_known = stream.length().is_some() || stream.chunked();
    Ok(copied
        .map(|()| end_known)
        .map_err(|error| stream.error(error)))
}

/// A success without content (RFC 9110, 15.3.5 and 15.3.6) is no empty file.
fn has_content(url: &str, status: u16) -> Result<(), Error> {
    match status {
        204 | 205 => Err(Error::Nothing {
            url: kedge_web::shown(url),
            status,
        }),
        _ => Ok(()),
    }
}

/// What somebody should know before it is there.
fn remark(stream: &Stream, resumed: Option<u64>, progress: &mut Progress) {
    match resumed {
        Some(offset) if stream.first() > 0 => {
            progress.note(&format!("goes on after {}", bytes(offset)));
        }
        Some(offset) => progress.note(&format!(
            "starts anew: the content has changed since the first {}, or the server knows no ranges",
            bytes(offset)
        )),
        None => {}
    }
    if let Some(encoding) = stream.header("content-encoding")
        && !encoding.trim().eq_ignore_ascii_case("identity")
    {
        progress.note(&format!(
            "the server calls these bytes {}-encoded, unasked; they are saved as they come",
            encoding.escape_debug()
        ));
    }
    let html = |kind: &str| kind.trim().to_ascii_lowercase().starts_with("text/html");
    if stream.header("content-type").is_some_and(html) {
        progress.note("the server calls this a web page (text/html)");
    }
}

/// Everything to the end, each piece written as it comes. The inner error is the reader's.
fn copy(
    reader: &mut impl Read,
    place: &mut Place,
    progress: &mut Progress,
    quiet: bool,
) -> Result<io::Result<()>, Error> {
    let mut buffer = vec![0; CHUNK];
    loop {
        if interrupt::pressed_already() {
            return Err(Error::Interrupted);
        }
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(count) => place.write(&buffer[..count])?,
            Err(error) => return Ok(Err(error)),
        }
        if !quiet {
            progress.set(place.written());
        }
    }
}

/// What may be otherwise in a moment.
fn is_passing(problem: &Problem) -> bool {
    match problem {
        Problem::Connect(_) | Problem::Timeout(_) | Problem::Name(_) => true,
        Problem::Short { .. } | Problem::Protocol(_) => true,
        problem => matches!(problem.status(), Some(408 | 425 | 429 | 500..=599)),
    }
}
