//! Certificates of clients that their authorities have revoked (RFC 5280, section 5).
//!
//! TLS refuses them when they are shown; connections that have shown one before it was revoked are found by its
//! [`serial`], which is all that is kept of a certificate.

use std::collections::HashSet;

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::ClientCertificate;
use super::certificate::hexadecimal;

/// What is revoked, as the files said when they were read.
#[derive(Debug, Default)]
pub struct Revocations {
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    serials: HashSet<String>,
    /// When the first of the lists is out of date; `None`: none says it.
    pub(super) expires: Option<Timestamp>,
}

impl Revocations {
    /// Reads lists in PEM.
    ///
    /// # Errors
    /// Why they are of no use.
    pub(super) fn parse(pem: &[u8]) -> Result<Self, String> {
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
        let lists = lists.map_err(|error| error.to_string())?;
        if lists.is_empty() {
            return Err("there is no list of revoked certificates".to_owned());
        }
        let (mut serials, mut expires) = (HashSet::new(), None::<Timestamp>);
        for list in &lists {
            let (_, list) = CertificateRevocationList::from_der(list).map_err(|error| error.to_string())?;
            let issuer = list.issuer().as_raw();
            serials
                .extend(list.iter_revoked_certificates().map(|revoked| name(issuer, revoked.raw_serial())));
            let next = list.next_update().and_then(|next| Timestamp::from_second(next.timestamp()).ok());
            expires = expires.into_iter().chain(next).min();
        }
        Ok(Self { lists, serials, expires })
    }

    /// Whether a certificate, or one between it and its authority, is revoked.
    pub(crate) fn hold(&self, certificate: &ClientCertificate) -> bool {
        certificate.serials.iter().any(|serial| self.serials.contains(serial))
    }

    /// Whether nothing is.
    pub(crate) fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }
}

/// What lists call a certificate: nobody but its issuer gives out its number, and each of them once (RFC 5280,
/// 4.1.2.2).
pub(super) fn serial(certificate: &X509Certificate<'_>) -> String {
    name(certificate.issuer().as_raw(), certificate.raw_serial())
}

/// SHA-256 of an issuer, as it is encoded, and a number, as hexadecimal digits.
fn name(issuer: &[u8], number: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    // An issuer says itself how long it is.
    context.update(issuer);
    // Some encode a sign that others leave out.
    context.update(number.strip_prefix(&[0]).unwrap_or(number));
    hexadecimal(context.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "nothing", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"] {
            assert!(Revocations::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_means_a_certificate_of_its_issuer_alone() {
        assert_eq!(name(b"\x30\x01a", b"\x00\x80"), name(b"\x30\x01a", b"\x80"));
        assert_ne!(name(b"\x30\x01a", b"\x80"), name(b"\x30\x01b", b"\x80"));
        assert_ne!(name(b"\x30\x01a", b"\x80"), name(b"\x30\x01a", b"\x81"));
    }
}
