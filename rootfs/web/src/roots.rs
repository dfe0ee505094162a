//! Whom to trust: certificate authorities.
//!
//! Mozilla's, built in; and, where they do not know a server, those in `/etc/ssl/kedge/*.pem`, for
//! servers of one's own. `SSL_CERT_FILE` names a file to use instead of all that, as OpenSSL and
//! curl have it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::Problem;

/// The folder of one's own authorities.
pub const FOLDER: &str = "/etc/ssl/kedge";
/// The variable that names a file to use instead.
pub const VARIABLE: &str = "SSL_CERT_FILE";

/// The sets of authorities to try, in order.
pub(crate) fn sets() -> Result<Vec<RootCerts>, Problem> {
    match std::env::var_os(VARIABLE) {
        Some(path) if !path.is_empty() => {
            let mut certificates = Vec::new();
            read(Path::new(&path), &mut certificates)?;
            Ok(vec![specific(certificates)])
        }
        _ => mozilla_and(Path::new(FOLDER)),
    }
}

fn mozilla_and(folder: &Path) -> Result<Vec<RootCerts>, Problem> {
    let mut sets = vec![RootCerts::WebPki];
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(|e| Some(e.ok()?.path())).collect())
        .unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|e| e == "pem" || e == "crt"));
    files.sort();
    let mut certificates = Vec::new();
    for file in &files {
        read(file, &mut certificates)?;
    }
    if !certificates.is_empty() {
        sets.push(specific(certificates));
    }
    Ok(sets)
}

fn specific(certificates: Vec<Certificate<'static>>) -> RootCerts {
    RootCerts::Specific(Arc::new(certificates))
}

fn read(path: &Path, certificates: &mut Vec<Certificate<'static>>) -> Result<(), Problem> {
    let fail = |why: String| Problem::Roots {
        path: path.to_owned(),
        why,
    };
    let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let before = certificates.len();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| fail(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.len() == before {
        return Err(fail("there is no certificate in it".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_certificate_is_named() {
        let folder = std::env::temp_dir().join(format!("kedge-roots-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("own.pem"), "no certificate\n").unwrap();
        let error = mozilla_and(&folder).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(error.contains("own.pem"), "{error}");
        assert_eq!(mozilla_and(&folder).unwrap().len(), 1);
    }
}
