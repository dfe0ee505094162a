//! Back to what was: a repair that was no repair.

use std::path::{Path, PathBuf};

use kedge_doctor::shown;
use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;
use rustix::fs::FileType;

use crate::quarantine::Quarantine;
use crate::record::Record;
use crate::replace::{Stopped, TOO_LARGE, exchange, now, sha256};
use crate::report::Teller;
use crate::target::Target;
use crate::{Error, lock::Lock};

/// Tells what can be undone.
pub(crate) fn list(root: &Sysroot, teller: &mut Teller) -> Result<(), Error> {
    let numbers = Quarantine::numbers(root)?;
    let known: Vec<_> = numbers
        .into_iter()
        .filter_map(|number| Some((number, Quarantine::record(root, number)?)))
        .collect();
    if known.is_empty() {
        teller.word("repair", "nothing was replaced here");
    }
    for (number, record) in known {
        let path = record.get_path("path").unwrap_or_default();
        let text = |key| record.get(key).unwrap_or("?").to_string();
        let said = format!(
            "{} of {} {}, {}; was {}",
            shown::path(&path),
            text("package"),
            text("version"),
            when(&text("when")),
            text("was"),
        );
        teller.word(&number.to_string(), &said);
    }
    Ok(())
}

/// A replacement that can be taken back.
pub(crate) struct Undo {
    number: u64,
    record: Record,
    /// Where it is, below ROOT.
    pub(crate) path: PathBuf,
}

impl Undo {
    /// Number `number`.
    pub(crate) fn of(root: &Sysroot, number: u64) -> Result<Undo, Error> {
        let record = Quarantine::record(root, number).ok_or_else(|| {
            Error::Word(format!(
                "there is no number {number}; repair ROOT --undo lists what there is"
            ))
        })?;
        let path = record
            .get_path("path")
            .ok_or_else(|| Error::Word(format!("the record of number {number} is damaged")))?;
        Ok(Undo {
            number,
            record,
            path,
        })
    }

    /// The place, and that it may be done.
    fn target(&self, root: &Sysroot, force: bool) -> Result<Target, Error> {
        let target = Target::open(root, &self.path)?;
        target.is_changeable()?;
        let ours = force || is_ours(root, &self.path, &self.record);
        if interrupt::pressed_already() {
            return Err(Error::Interrupted);
        }
        match ours {
            true => Ok(target),
            false => Err(Error::Word(format!(
                "{} is not what repair number {} put there, somebody changed it since; --force puts the old one back all \
                 the same",
                target.outside.display(),
                self.number
            ))),
        }
    }

    /// Says what would be done.
    pub(crate) fn show(
        &self,
        root: &Sysroot,
        force: bool,
        teller: &mut Teller,
    ) -> Result<(), Error> {
        self.target(root, force)?;
        let was = self.record.get("was").unwrap_or("?");
        teller.word(
            &shown::path(&self.path),
            &format!("would be as it was before number {}: {was}", self.number),
        );
        Ok(())
    }
}

/// Puts back what was replaced.
pub(crate) fn undo(
    root: &Sysroot,
    number: u64,
    force: bool,
    teller: &mut Teller,
) -> Result<(), Error> {
    let _lock = Lock::take(root)?;
    let quarantine = Quarantine::open(root)?;
    for found in quarantine.tidy()? {
        eprintln!("repair: {}", shown::text(&found));
    }
    // Only now is it known what was done, by a run that was cut short too.
    let undo = Undo::of(root, number)?;
    let target = undo.target(root, force)?;
    let Undo { record, path, .. } = undo;
    let now_there = target.stat()?;
    let kept = quarantine.case(number)?;
    // The same as a repair, so that a power cut leaves one or the other.
    let (case, temporary) = quarantine.begin(&path)?;
    let missing = record.get("was") == Some("missing");
    let done = (|| {
        if !missing {
            kept.put_beside(&target, &temporary)
                .map_err(Stopped::Before)?;
        }
        let made = target.stat_of(&temporary).map_err(Stopped::Before)?;
        let mut now_record = Record::default()
            .path("path", &path)
            .text("when", now())
            .text("package", record.get("package").unwrap_or_default())
            .text("version", record.get("version").unwrap_or_default())
            .text("from", format!("undo of {number}"))
            .text("was", record.get("is").unwrap_or_default())
            .text("is", record.get("was").unwrap_or_default())
            .new_file(made.as_ref());
        if let Some(there) = &now_there {
            now_record = now_record.text("old-inode", there.st_ino);
        }
        match missing {
            true => {
                let kept = case.keep(&target, now_there.as_ref(), &now_record);
                kept.and_then(|()| now_there.map_or(Ok(()), |_| target.remove()))
                    .map_err(Stopped::Before)?;
                let written = target.sync().and_then(|()| case.done());
                written.map_err(Stopped::After)
            }
            false => {
                target.sync().map_err(Stopped::Before)?;
                exchange(&case, &target, &temporary, now_there.as_ref(), &now_record)
            }
        }
    })();
    match done {
        Ok(()) => {
            let again = case.number;
            kept.abandon();
            let said = format!("is as it was before; --undo {again} takes that back");
            teller.word(&shown::path(&path), &said);
            Ok(())
        }
        Err(stopped) => Err(stopped.tidied(case, &target, &temporary)),
    }
}

/// Whether what is there is what the repair put there.
fn is_ours(root: &Sysroot, path: &Path, record: &Record) -> bool {
    let is = record.get("is").unwrap_or_default();
    let Ok(stat) = root.symlink_metadata(path) else {
        return is == "missing";
    };
    match FileType::from_raw_mode(stat.st_mode) {
        // Older records do not say how long it is.
        FileType::RegularFile
            if record
                .get("new-size")
                .is_some_and(|size| size != stat.st_size.to_string()) =>
        {
            false
        }
        FileType::RegularFile if is == TOO_LARGE => record.is_new_file(&stat),
        FileType::RegularFile => {
            let file = root.open_file_itself(path);
            let digest = file.ok().and_then(|file| sha256(file).ok());
            digest.is_some_and(|digest| digest.to_string() == is)
        }
        FileType::Symlink => root
            .read_link(path)
            .is_ok_and(|leads| format!("symlink to {}", leads.display()) == is),
        _ => false,
    }
}

/// Days and times of seconds since 1970, in UTC (Howard Hinnant's civil_from_days).
fn when(seconds: &str) -> String {
    let Ok(seconds) = seconds.parse::<i64>() else {
        return "some day".into();
    };
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02} UTC",
        rest / 3600,
        rest / 60 % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        // date -u -d @N
        assert_eq!(when("0"), "1970-01-01 00:00 UTC");
        assert_eq!(when("951827696"), "2000-02-29 12:34 UTC");
        assert_eq!(when("1795288140"), "2026-11-21 19:09 UTC");
        assert_eq!(when("x"), "some day");
    }
}
