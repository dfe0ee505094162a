//! Certificate authorities of the operator's own, which kedge's HTTPS client trusts beside Mozilla's.
//!
//! A file in which it finds none makes the client refuse every server, so such a file stops the build.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::public_keys::is_private;

/// Why a file is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A secret, and of no use here.
    #[error("{} holds a private key; give the file of the certificate alone", _0.display())]
    Private(PathBuf),
    /// No certificate, or one that is not whole.
    #[error(
        "there is no whole certificate in {}; it must be PEM (-----BEGIN CERTIFICATE-----); \
         openssl x509 -inform DER -in CA.crt -out ca.pem makes that of DER",
        _0.display()
    )]
    None(PathBuf),
    /// Two of one name.
    #[error("{} and another file are called {name}; rename one of them", path.display())]
    Twice {
        /// The second.
        path: PathBuf,
        /// Their name in the image.
        name: String,
    },
}

/// A file with one or more certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    path: PathBuf,
    name: String,
    pem: Vec<u8>,
}

impl Authority {
    pub(super) fn parse(path: &Path, pem: Vec<u8>) -> Result<Authority, Wrong> {
        if is_private(&pem) {
            return Err(Wrong::Private(path.into()));
        }
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        // A certificate is a SEQUENCE (X.690), of which 0x30 is the first byte.
        let fine = certificates.is_ok_and(|all| {
            !all.is_empty() && all.iter().all(|one| one.as_ref().first() == Some(&0x30))
        });
        if !fine {
            return Err(Wrong::None(path.into()));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Authority {
            path: path.into(),
            name: format!("{stem}.pem"),
            pem,
        })
    }

    /// Itself, if none of the others has its name.
    pub(super) fn beside(self, others: &[Authority]) -> Result<Authority, Wrong> {
        if others.iter().any(|other| other.name == self.name) {
            return Err(Wrong::Twice {
                path: self.path,
                name: self.name,
            });
        }
        Ok(self)
    }

    /// The file's name in the image.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its content, as given.
    pub(super) fn pem(&self) -> &[u8] {
        &self.pem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Not a certificate, but as much of one as is looked at: an empty SEQUENCE.
    const PEM: &str = "my own\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    fn parse(path: &str, pem: &str) -> Result<Authority, Wrong> {
        Authority::parse(Path::new(path), pem.into())
    }

    #[test]
    fn the_file_goes_in_as_it_is_under_its_own_name() {
        let authority = parse("/a/own-ca.crt", PEM).unwrap();
        assert_eq!(authority.name(), "own-ca.pem");
        assert_eq!(authority.pem(), PEM.as_bytes());
        let twice = parse("/b/own-ca.pem", PEM).unwrap().beside(&[authority]);
        assert!(matches!(twice, Err(Wrong::Twice { name, .. }) if name == "own-ca.pem"));
    }

    #[test]
    fn what_would_make_every_server_untrusted_is_refused() {
        let none = Err(Wrong::None("f".into()));
        for pem in [
            "",
            "no certificate",
            "-----BEGIN CERTIFICATE-----\nMAA=\n",
            "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n",
            "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n",
        ] {
            assert_eq!(parse("f", pem), none, "{pem}");
            let after_a_good_one = format!("{PEM}{pem}");
            if pem.contains("BEGIN CERT") {
                assert_eq!(parse("f", &after_a_good_one), none, "{pem}");
            }
        }
        let both = format!("{PEM}-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
        assert_eq!(parse("f", &both), Err(Wrong::Private("f".into())));
    }
}
