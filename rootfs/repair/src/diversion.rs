//! What a package calls a file that was moved out of the way by dpkg-divert(1).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

const DIVERSIONS: &str = "var/lib/dpkg/diversions";
const LONGEST: u64 = 16 << 20;

/// The name that `package` itself has for what is at `path` now.
pub(crate) fn packaged(root: &Sysroot, path: &Path, package: &str) -> PathBuf {
    let diversions = root
        .read(Path::new(DIVERSIONS), LONGEST)
        .unwrap_or_default();
    original(&diversions, path, package).unwrap_or_else(|| path.to_path_buf())
}

/// Three lines each: from, to, by whom (`:` for the administrator), whose own file stays.
fn original(diversions: &[u8], path: &Path, package: &str) -> Option<PathBuf> {
    let lines: Vec<&[u8]> = diversions.split(|&b| b == b'\n').collect();
    let below = |line| Path::new(OsStr::from_bytes(line)).strip_prefix("/").ok();
    lines.chunks_exact(3).find_map(|three| {
        let &[from, to, by] = three else { return None };
        (below(to)? == path && by != package.as_bytes())
            .then(|| below(from).map(Path::to_path_buf))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_diverts_keeps_its_own() {
        let text = b"/usr/bin/x\n/usr/bin/x.distrib\nother\n/a\n/b\n:\nbroken";
        let of = |path, package| original(text, Path::new(path), package);
        assert_eq!(of("usr/bin/x.distrib", "mine"), Some("usr/bin/x".into()));
        assert_eq!(of("usr/bin/x.distrib", "other"), None);
        assert_eq!(of("usr/bin/x", "other"), None);
        assert_eq!(of("b", "mine"), Some("a".into()));
    }
}
