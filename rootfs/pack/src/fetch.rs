//! Fetches groups from a source: in order, each byte once, whatever happens to the source meanwhile; what
//! does not have the right digest is fetched once more and then refused.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kedge_pack_index::Index;
use ring::digest::{SHA256, digest};

use crate::Error;
use crate::reader::Came;
use crate::source::{Source, Trouble};
use kedge_progress::{Progress, interrupt};

/// A source that was there and went away is waited for so long.
const GIVE_UP: Duration = Duration::from_secs(300);
/// One that never answered, so many times.
const FIRST_TRIES: u32 = 3;
/// How often somebody who waits looks whether ctrl-C was pressed.
const GLANCE: Duration = Duration::from_millis(200);
/// The longest wait before another try.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Groups that lie one behind the other in an archive: one request, one sweep over a medium.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    archive: usize,
    offset: u64,
    length: u64,
    groups: Vec<usize>,
}

/// In the order in which they lie on a medium.
fn runs(index: &Index, groups: &BTreeSet<usize>) -> Vec<Run> {
    let mut sorted: Vec<usize> = groups.iter().copied().collect();
    let place = |number: &usize| {
        let group = &index.groups[*number];
        (group.archive, group.offset)
    };
    sorted.sort_by_key(place);
    let mut runs: Vec<Run> = Vec::new();
    for number in sorted {
        let group = &index.groups[number];
        match runs.last_mut() {
            Some(run)
                if run.archive == group.archive && run.offset + run.length == group.offset =>
            {
                run.length += group.packed;
                run.groups.push(number);
            }
            _ => runs.push(Run {
                archive: group.archive,
                offset: group.offset,
                length: group.packed,
                groups: vec![number],
            }),
        }
    }
    runs
}

/// Why a source did not give everything.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It cannot; another one may.
    Source(String),
    /// Nothing else helps.
    Final(Error),
}

/// What was fetched, and where it stands.
pub(crate) struct Fetch<'a> {
    pub(crate) index: &'a Index,
    pub(crate) progress: &'a mut Progress,
    /// What is still to come: those that were handed over are taken out.
    pub(crate) missing: BTreeSet<usize>,
    /// Bytes that have come and were right.
    pub(crate) done: u64,
    /// Bytes that have come from the source, and in which time.
    pub(crate) measured: (u64, Duration),
    /// What loading is called in messages.
    pub(crate) what: &'a str,
}

impl Fetch<'_> {
    /// Fetches all that is missing, and hands each group over when its digest is right.
    pub(crate) fn from(
        &mut self,
        source: &mut dyn Source,
        hand_over: &mut dyn FnMut(usize, Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let before = self.measured;
        let result = self.twice(source, hand_over);
        self.measured.1 = before.1 + began.elapsed();
        result
    }

    fn twice(
        &mut self,
        source: &mut dyn Source,
        hand_over: &mut dyn FnMut(usize, Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        for again in [false, true] {
            for run in runs(self.index, &self.missing) {
                self.run(source, &run, hand_over)?;
            }
            let Some(number) = self.missing.first() else {
                return Ok(());
            };
            let group = &self.index.groups[*number];
            let archive = &self.index.archives[group.archive];
            if again {
                return Err(Failure::Final(Error::Damaged {
                    pack: self.what.into(),
                    place: source.place(archive),
                    first: group.offset,
                    last: group.offset + group.packed.saturating_sub(1),
                }));
            }
            self.progress.note(&format!(
                "{}: damaged on its way (SHA-256); fetched once more",
                source.place(archive)
            ));
        }
        Ok(())
    }

    /// One run, from where it stopped each time, until it is whole.
    fn run(
        &mut self,
        source: &mut dyn Source,
        run: &Run,
        hand_over: &mut dyn FnMut(usize, Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let archive = &self.index.archives[run.archive];
        let mut groups = run.groups.iter();
        let mut current = groups.next();
        let mut bytes = Vec::new();
        let mut at = 0;
        let mut patience = Patience::new();
        while at < run.length {
            let before = at;
            let mut stretch = |data: &[u8]| -> Result<(), Error> {
                self.progress.draw();
                at += data.len() as u64;
                self.measured.0 += data.len() as u64;
                let mut data = data;
                while let Some(number) = current
                    && !data.is_empty()
                {
                    let group = &self.index.groups[*number];
                    let wanted = group.packed as usize - bytes.len();
                    let (mine, rest) = data.split_at(wanted.min(data.len()));
                    bytes.extend_from_slice(mine);
                    data = rest;
                    self.progress.set(self.done + bytes.len() as u64);
                    if bytes.len() as u64 == group.packed {
                        let whole = std::mem::take(&mut bytes);
                        if digest(&SHA256, &whole).as_ref() == group.sha256 {
                            self.done += group.packed;
                            self.missing.remove(number);
                            hand_over(*number, whole)?;
                        }
                        current = groups.next();
                    }
                }
                Ok(())
            };
            let trouble = match stream(
                source,
                archive,
                run.offset + before,
                run.length - before,
                &mut stretch,
            ) {
                Ok(()) => continue,
                Err(Stop::Final(error)) => return Err(Failure::Final(error)),
                Err(Stop::Trouble(trouble)) => trouble,
            };
            patience.note(at > before, self.measured.0 > 0);
            let why = match trouble {
                Trouble::Lasting(why) => return Err(Failure::Source(why)),
                Trouble::Passing(why) if patience.over() => return Err(Failure::Source(why)),
                Trouble::Passing(why) => why,
            };
            let wait = patience.wait();
            self.progress.note(&format!(
                "{}: {why}; tried again in {} s (ctrl-C stops)",
                source.name(),
                wait.as_secs()
            ));
            self.pause(wait)?;
        }
        Ok(())
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Failure> {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if interrupt::pressed_already() {
                return Err(Failure::Final(Error::Interrupted));
            }
            self.progress.draw();
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }
}

enum Stop {
    Trouble(Trouble),
    Final(Error),
}

/// One request: all of its bytes, or the reason why they do not come.
fn stream(
    source: &mut dyn Source,
    archive: &str,
    offset: u64,
    length: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Stop> {
    let interrupted = || match interrupt::pressed_already() {
        true => Err(Stop::Final(Error::Interrupted)),
        false => Ok(()),
    };
    interrupted()?;
    let begun = source.begin(archive, offset, length);
    interrupted()?;
    begun.map_err(Stop::Trouble)?;
    let mut left = length;
    let mut heard = Instant::now();
    while left > 0 {
        let came = source.next(GLANCE);
        interrupted()?;
        match came.map_err(Stop::Trouble)? {
            Came::Data(data) => {
                heard = Instant::now();
                left = left.saturating_sub(data.len() as u64);
                take(&data).map_err(Stop::Final)?;
            }
            Came::End => {
                let why = "it ended in the middle".into();
                return Err(Stop::Trouble(Trouble::Passing(why)));
            }
            Came::Nothing if heard.elapsed() > source.patience() => {
                let seconds = source.patience().as_secs();
                let why = format!("no byte has come for {seconds} s");
                return Err(Stop::Trouble(Trouble::Passing(why)));
            }
            Came::Nothing => take(&[]).map_err(Stop::Final)?,
        }
    }
    Ok(())
}

/// When to try again, and when no more.
struct Patience {
    /// Failures in a row without a byte between.
    failures: u32,
    /// Whether the source has ever given anything.
    known: bool,
    since: Instant,
}

impl Patience {
    fn new() -> Patience {
        Patience {
            failures: 0,
            known: false,
            since: Instant::now(),
        }
    }

    fn note(&mut self, progress: bool, known: bool) {
        if progress {
            self.failures = 0;
        }
        if self.failures == 0 {
            self.since = Instant::now();
        }
        self.failures += 1;
        self.known = known;
    }

    fn over(&self) -> bool {
        if self.known {
            self.since.elapsed() > GIVE_UP
        } else {
            self.failures >= FIRST_TRIES
        }
    }

    /// 1, 2, 4, 8, 10, 10 … s.
    fn wait(&self) -> Duration {
        let exponent = self.failures.saturating_sub(1).min(10);
        Duration::from_secs(1 << exponent).min(LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests;
