//! A fleet: a thousand copies of kedge.iso, each with a name, an address and the host's key of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use kedge_tests::child::output;

/// Makes the copies with the program $1 of the image $2 and the key $3 in the current folder, and prints
/// the milliseconds that it took, and bash's `times`. On a file system that shares blocks all of them are kept; elsewhere the
/// last twenty, or they would fill disks.
const STAMP: &str = r#"
began=$(date +%s%N)
for n in $(seq 0 999); do
    to=rescue$((n % KEPT)).iso
    [ "$KEPT" = 1000 ] || [ ! -e "$to" ] || rm "$to"
    "$1" stamp "$2" --hostname "rescue$n" --host-key "$3" \
        --ip "10.0.$((n / 250)).$((n % 250 + 1))::10.0.255.254:16::eth0:none" \
        -o "$to" 2>said || { cat said >&2; exit 1; }
done
echo $((($(date +%s%N) - began) / 1000000))
times
sha256sum --check --quiet rescue19.iso.sha256
"$1" stamp rescue$((999 % KEPT)).iso --show | grep -q kedge.hostname=rescue999
"#;

/// On xfs with reflinks, which is made and mounted in a namespace of its own.
const ON_XFS: &str = r#"
truncate -s 4G xfs.img
mkfs.xfs -q -f -m reflink=1 xfs.img
mkdir -p xfs
mount -o loop xfs.img xfs
cp "$2" xfs/kedge.iso
cd xfs
set -- "$1" kedge.iso "$3"
KEPT=1000
"#;

/// Whether this user may mount a file system.
pub(crate) fn may_mount() -> bool {
    let mut test = Command::new("unshare");
    test.args(["--mount", "sh", "-c", "test -w /dev/loop-control"]);
    output(&mut test, None).is_ok()
}

/// What a thousand stamps take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// From start to end, with whatever else runs on this machine.
    pub(crate) elapsed: Duration,
    /// Of the processor, for the stamps themselves.
    pub(crate) processor: Duration,
}

/// A thousand stamps of `image` in `folder`, on xfs with reflinks or on the file system that is there.
pub(crate) fn stamp(
    folder: &Path,
    program: &Path,
    image: &Path,
    key: &Path,
    on_xfs: bool,
) -> Result<Took> {
    let mut command = if on_xfs {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "bash"]);
        unshare
    } else {
        Command::new("bash")
    };
    let first = if on_xfs { ON_XFS } else { "KEPT=20" };
    command
        .args(["-e", "-c", &format!("{first}\n{STAMP}"), "bash"])
        .args([program, image, key])
        .current_dir(folder);
    let said = String::from_utf8(output(&mut command, None)?)?;
    // What is not needed any more, and large.
    std::fs::remove_file(folder.join("xfs.img")).ok();
    parse(&said).with_context(|| format!("reading {said:?}"))
}

/// The milliseconds, then two lines: the shell's own time and its children's, each in user and system.
fn parse(said: &str) -> Option<Took> {
    let mut lines = said.lines();
    let elapsed = Duration::from_millis(lines.next()?.parse().ok()?);
    let mut processor = Duration::ZERO;
    for time in lines.nth(1)?.split(' ') {
        let (minutes, seconds) = time.strip_suffix('s')?.split_once('m')?;
        let minutes: f64 = minutes.parse().ok()?;
        let seconds: f64 = seconds.parse().ok()?;
        processor += Duration::from_secs_f64(minutes * 60.0 + seconds);
    }
    Some(Took { elapsed, processor })
}
