//! Packs on a web server: the one that the system was booted from, or one that somebody named.
//!
//! Each request is a thread's: a server that says nothing holds up nobody who presses ctrl-C.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use kedge_web::{Pieces, Problem, shown};

use crate::reader::Came;
use crate::source::{Source, Trouble};

/// No byte for so long is trouble.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes are handed over in pieces of this size, of which so many may wait.
const PIECE: usize = 32 << 10;
const WAITING: usize = 16;

type Handed = Result<Came, Trouble>;

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    /// The folder's URL, without a slash at its end.
    folder: String,
    /// Connections that are kept.
    pieces: Arc<Pieces>,
    answer: Option<Receiver<Handed>>,
}

impl Server {
    /// Nothing is asked before the first read.
    pub(crate) fn new(folder: &str) -> Server {
        Server {
            folder: folder.trim_end_matches('/').into(),
            pieces: Arc::new(Pieces::new(PATIENCE)),
            answer: None,
        }
    }

    fn url(&self, archive: &str) -> String {
        format!("{}/{archive}.cpio.xz", self.folder)
    }
}

impl Source for Server {
    fn name(&self) -> String {
        shown(&self.folder)
    }

    fn place(&self, archive: &str) -> String {
        shown(&self.url(archive))
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn begin(&mut self, archive: &str, offset: u64, length: u64) -> Result<(), Trouble> {
        let (send, receive) = sync_channel(WAITING);
        let (url, pieces) = (self.url(archive), Arc::clone(&self.pieces));
        self.answer = Some(receive);
        let thread = std::thread::Builder::new().spawn(move || {
            let end = hand_over(&pieces, &url, offset, length, &send);
            // Nobody listens any more: it was given up.
            let _ = send.send(end.map(|()| Came::End));
        });
        match thread {
            Ok(_) => Ok(()),
            Err(e) => Err(Trouble::Lasting(format!("cannot start a thread: {e}"))),
        }
    }

    fn next(&mut self, wait: Duration) -> Result<Came, Trouble> {
        let Some(answer) = &self.answer else {
            return Ok(Came::End);
        };
        match answer.recv_timeout(wait) {
            Ok(handed) => handed,
            Err(RecvTimeoutError::Timeout) => Ok(Came::Nothing),
            Err(RecvTimeoutError::Disconnected) => Ok(Came::End),
        }
    }
}

fn hand_over(
    pieces: &Pieces,
    url: &str,
    offset: u64,
    length: u64,
    to: &SyncSender<Handed>,
) -> Result<(), Trouble> {
    let mut piece = pieces.get(url, offset, length).map_err(trouble)?;
    loop {
        let mut bytes = vec![0; PIECE];
        match piece.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                bytes.truncate(count);
                if to.send(Ok(Came::Data(bytes))).is_err() {
                    return Ok(());
                }
            }
            Err(e) => return Err(trouble(pieces.error(url, e))),
        }
    }
}

/// What passes by itself, and what does not. A clock that is wrong is set when a time server answers.
fn trouble(error: kedge_web::Error) -> Trouble {
    let passing = match &error.problem {
        Problem::Name(_) | Problem::Connect(_) | Problem::Timeout(_) | Problem::Time(_) => true,
        Problem::Protocol(_) => true,
        Problem::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
        _ => false,
    };
    let text = match error.problem {
        Problem::Status(404) => format!(
            "{error}; it should be there beside boot.ipxe, as the build leaves it in netboot/packs"
        ),
        Problem::Status(416) => {
            format!("{error}: the file there is shorter than it should be, or of another build")
        }
        _ => error.to_string(),
    };
    if passing {
        Trouble::Passing(text)
    } else {
        Trouble::Lasting(text)
    }
}
