//! Whether an index that the system fetched before names a package that somebody offers: then the index vouches for it.
//!
//! A .deb has no signature, and that of an .apk is by whoever built it. But apt and apk keep the signed indices that they fetched
//! last, and these name packages by their digests. What they do not name is not refused for that: somebody may have built the same
//! version anew. It is what it was then, a package that nobody vouches for.

use std::fs::File;

use kedge_packages::Family;
use kedge_progress::{Progress, interrupt};

use crate::query::Query;
use crate::{Candidate, apk, apt, proof, version};

/// How many packages of one name and version are compared with what was offered: each source may have one.
const MOST: usize = 16;

/// Says of each package that was found, and that nothing vouches for, whether an index does. Of what is on another machine that is
/// not known yet.
pub(crate) fn vouch(query: &mut Query) {
    for (family, listed) in [
        (Family::Dpkg, apt::listed as fn(&mut Query) -> _),
        (Family::Apk, apk::listed),
    ] {
        let is_unvouched = |one: &Candidate| one.package.family == family && one.trust.is_empty();
        let mut any = false;
        query.each_found(&mut |candidate, _| any |= is_unvouched(candidate));
        if !any {
            continue;
        }
        let (listed, wrong) = listed(query);
        let mut unknown = false;
        query.each_found(&mut |candidate, progress| {
            if is_unvouched(candidate) {
                let named = named(candidate, &listed);
                unknown |= named.is_empty();
                candidate.proof.perhaps = named;
                if !candidate.place.is_remote() {
                    let place = candidate.place.clone();
                    let open = || place.open_file().map_err(|trouble| trouble.to_string());
                    settle(candidate, &open, progress);
                }
            }
        });
        if unknown {
            wrong.iter().for_each(|why| query.note(why));
        }
    }
}

/// What the indices have under the name and version of `candidate`.
fn named(candidate: &Candidate, listed: &[Candidate]) -> Vec<Candidate> {
    let package = &candidate.package;
    let mut found: Vec<Candidate> = Vec::new();
    for one in listed {
        let is_same = one.package.name == package.name
            && one.package.architecture == package.architecture
            && version::same(&one.package, package);
        let is_known = found.iter().any(|known| {
            known.size == one.size
                && (&known.proof.digests, known.proof.apk) == (&one.proof.digests, one.proof.apk)
        });
        if is_same && !is_known && found.len() < MOST {
            found.push(one.clone());
        }
    }
    found
}

/// Whether the file that `open` opens is what an index names: then all that the index says of it is in `candidate`, and else somebody
/// should know.
pub(crate) fn settle(
    candidate: &mut Candidate,
    open: &dyn Fn() -> Result<File, String>,
    progress: &mut Progress,
) {
    let mut why_not = None;
    for mut named in std::mem::take(&mut candidate.proof.perhaps) {
        match proof::digests_hold(&named, open, progress) {
            Ok(()) => {
                named
                    .trust
                    .push("the package that was named is that one".into());
                candidate.trust = named.trust;
                candidate.size = named.size;
                candidate.proof = named.proof;
                return;
            }
            Err(why) => why_not = Some(why),
        }
    }
    if let Some(why) = why_not.filter(|_| !interrupt::pressed_already()) {
        let Candidate {
            location, package, ..
        } = candidate;
        progress.note(&format!(
            "{location}: nobody vouches for it, since the signed index names another {} {}: {why}",
            package.name, package.version
        ));
    }
}
