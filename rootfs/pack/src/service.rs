//! `pack service`: what `kedge.pack=` asks for at boot. It waits for the network or the medium for as long as
//! that takes.

use std::time::Duration;

use kedge_message::{notice, warning};
use kedge_pack_index::Index;
use kedge_settings::Words;

use crate::load::{load, sources};
use crate::place::Place;
use crate::{Error, selection};
use kedge_progress::{Progress, interrupt};
use kedge_progress::{bytes, seconds};

/// The first wait; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A network takes a moment: what fails before is no news.
const QUIET_TRIES: u32 = 3;

/// The names that the words ask for, in order.
pub(crate) fn wanted(words: &Words) -> Vec<String> {
    let mut names = Vec::new();
    for value in words.all("kedge.pack") {
        for name in value.split(|byte| *byte == b',') {
            let name = String::from_utf8_lossy(name).into_owned();
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Loads them; says on the consoles what became of it.
pub(crate) fn run(place: &Place, index: &Index, words: &Words) {
    let mut names = wanted(words);
    names.retain(|name| {
        let known = selection::groups(index, name).is_some();
        if !known {
            warning!("kedge.pack: {}; skipped", selection::unknown(index, name));
        }
        known
    });
    let Ok(groups) = selection::all(index, &names) else {
        return;
    };
    if names.is_empty() {
        return;
    }
    let what = names.join(", ");
    let (mut wait, mut tries, mut said) = (FIRST_WAIT, 0, String::new());
    loop {
        let from = sources(place, index, words, None);
        match load(
            place,
            index,
            &groups,
            &what,
            from,
            &mut Progress::logged("pack"),
        ) {
            Ok(done) => {
                let time = seconds(done.time.as_secs_f64());
                notice!("pack: loaded {what}: {} in {time}", bytes(done.bytes));
                return;
            }
            Err(error @ (Error::Memory { .. } | Error::Room { .. } | Error::Unpack { .. })) => {
                warning!("kedge.pack={what}: {error}");
                return;
            }
            Err(Error::Interrupted) => return,
            Err(error) => {
                tries += 1;
                let why = error.to_string().replace('\n', " ");
                if tries > QUIET_TRIES && why != said {
                    notice!("pack: {what} not loaded yet: {why}");
                    said = why;
                }
            }
        }
        let until = std::time::Instant::now() + wait;
        while std::time::Instant::now() < until {
            if interrupt::pressed_already() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_stand_in_one_word_or_in_several() {
        let words = Words::parse(b"", b"kedge.pack=a,b,,a kedge.pack=c kedge.pack");
        assert_eq!(wanted(&words), ["a", "b", "c"]);
    }
}
