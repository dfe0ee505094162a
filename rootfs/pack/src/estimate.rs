//! How long loading would take: by the rate that was last measured, or by one small read.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use kedge_pack_index::Index;
use kedge_settings::Words;

use crate::load::sources;
use crate::place::Place;
use crate::reader::Came;
use crate::source::{Source, Trouble};
use crate::state::State;

/// What is read to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// So many bytes at most.
    pub(crate) bytes: u64,
    /// In this time; otherwise it is not known.
    pub(crate) longest: Duration,
}

/// Bytes a second; or why nobody knows.
pub(crate) fn rate(
    place: &Place,
    index: &Index,
    words: &Words,
    from: Option<&str>,
    most: Sample,
) -> Result<f64, String> {
    let state = State::of(place, &index.id);
    if let (Some(rate), None) = (state.rate(), from) {
        return Ok(rate);
    }
    let (send, receive) = channel();
    let (place, index, words) = (place.clone(), index.clone(), words.clone());
    let from = from.map(str::to_string);
    // A source that hangs is left behind, with its thread.
    let thread = std::thread::Builder::new().spawn(move || {
        let mut found = sources(&place, &index, &words, from.as_deref());
        let mut whys = found.not;
        for source in &mut found.sources {
            match sample(source.as_mut(), &index, most.bytes) {
                Ok(measured) => {
                    let _ = send.send(Ok(measured));
                    return;
                }
                Err(why) => whys.push(format!("{}: {why}", source.name())),
            }
        }
        let _ = send.send(Err(whys.join("; ")));
    });
    thread.map_err(|e| e.to_string())?;
    let seconds = most.longest.as_secs();
    let (bytes, time) = receive
        .recv_timeout(most.longest)
        .unwrap_or_else(|_| Err(format!("no answer within {seconds} s")))?;
    state.save_rate(bytes, time);
    Ok(bytes as f64 / time.as_secs_f64().max(0.001))
}

fn sample(source: &mut dyn Source, index: &Index, most: u64) -> Result<(u64, Duration), String> {
    let first = index.groups.iter().find(|group| group.archive == 0);
    let archive = index.archives.first().ok_or("there is no pack")?;
    let length = first.map_or(0, |group| group.packed.min(most));
    let why = |trouble| match trouble {
        Trouble::Passing(why) | Trouble::Lasting(why) => why,
    };
    // Looking for the medium is no part of the rate: the first read is done then.
    source.begin(archive, 0, length).map_err(why)?;
    let began = Instant::now();
    let mut bytes = 0;
    while bytes < length {
        match source.next(Duration::from_millis(200)).map_err(why)? {
            Came::Data(data) => bytes += data.len() as u64,
            Came::End => break,
            Came::Nothing if began.elapsed() > source.patience() => break,
            Came::Nothing => {}
        }
    }
    match bytes {
        0 => Err("nothing comes".into()),
        _ => Ok((bytes, began.elapsed())),
    }
}
