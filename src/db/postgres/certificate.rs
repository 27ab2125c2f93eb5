//! Whose certificate a PostgreSQL server may show: what libpq, which asks OpenSSL, takes and webpki does not.
//!
//! webpki refuses certificates that PostgreSQL's own manual has its readers make: of version 1, of a server that is its
//! own authority, and with a host name in the common name alone. The first two are judged here, all others by webpki.

use std::net::IpAddr;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use x509_cert::certificate::Version;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::oid::db::rfc5280::ID_KP_SERVER_AUTH;
use x509_cert::der::{self, Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{Certificate, TbsCertificate};

/// So many authorities may stand between a server and one of the file's, where they are judged here.
const MOST_BETWEEN: u8 = 5;

/// A certificate that has been read; nothing is known of its truth.
#[derive(Debug)]
pub struct Read {
    der: CertificateDer<'static>,
    /// The bytes that its issuer has signed.
    signed: Vec<u8>,
    parts: Certificate,
}

impl Read {
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, Error> {
        let read = || -> der::Result<Self> {
            let signed = SliceReader::new(der)?.sequence(|parts| {
                let signed = parts.tlv_bytes()?;
                parts.read_slice(parts.remaining_len()).map(|_| signed.to_vec())
            })?;
            Ok(Self { der: der.clone().into_owned(), signed, parts: Certificate::from_der(der)? })
        };
        // Extensions came with version 3: whoever writes them into another means to deceive somebody.
        let honest = |read: &Self| read.tbs().version == Version::V3 || read.tbs().extensions.is_none();
        read().ok().filter(honest).ok_or(CertificateError::BadEncoding.into())
    }

    fn tbs(&self) -> &TbsCertificate {
        &self.parts.tbs_certificate
    }

    pub fn key(&self) -> &SubjectPublicKeyInfoOwned {
        &self.tbs().subject_public_key_info
    }

    /// An extension, if there is one. One that cannot be read, or is there twice, is an error.
    fn extension<'a, T: Decode<'a> + AssociatedOid>(&'a self) -> Result<Option<T>, CertificateError> {
        let found = self.tbs().get::<T>().map_err(|_| CertificateError::BadEncoding)?;
        Ok(found.map(|(_, extension)| extension))
    }

    fn is_its_own_issuer(&self) -> bool {
        self.tbs().issuer == self.tbs().subject
    }

    fn check_time(&self, now: UnixTime) -> Result<(), CertificateError> {
        let validity = &self.tbs().validity;
        if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet);
        }
        if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
            return Err(CertificateError::Expired);
        }
        Ok(())
    }

    /// Whether it may be a server's, or an authority's over servers.
    fn check_purpose(&self) -> Result<(), CertificateError> {
        match self.extension::<ExtendedKeyUsage>()? {
            Some(purposes) if !purposes.0.contains(&ID_KP_SERVER_AUTH) => Err(CertificateError::InvalidPurpose),
            _ => Ok(()),
        }
    }

    /// Whether its key may be a server's.
    fn check_use(&self) -> Result<(), CertificateError> {
        let usage = self.extension::<KeyUsage>()?;
        let serves = |usage: KeyUsage| usage.digital_signature() || usage.key_encipherment() || usage.key_agreement();
        if usage.is_none_or(serves) { Ok(()) } else { Err(CertificateError::InvalidPurpose) }
    }

    fn is_authority(&self) -> Result<bool, CertificateError> {
        Ok(self.extension::<BasicConstraints>()?.is_some_and(|constraints| constraints.ca))
    }

    /// Whether it may sign a certificate, with so many authorities between that and a server's.
    fn may_sign(&self, between: u8) -> Result<bool, CertificateError> {
        let constraints = self.extension::<BasicConstraints>()?;
        let usage = self.extension::<KeyUsage>()?;
        Ok(constraints.is_some_and(|it| it.ca && it.path_len_constraint.is_none_or(|most| between <= most))
            && usage.is_none_or(|usage| usage.key_cert_sign()))
    }

    /// As [`may_sign`](Self::may_sign), for one of the file's: of version 1 they have nothing that could say so.
    fn may_sign_as_root(&self, between: u8) -> Result<bool, CertificateError> {
        Ok(self.may_sign(between)? || self.tbs().version == Version::V1 && self.is_its_own_issuer())
    }

    /// Whether all that it says of itself is understood here.
    fn is_plain(&self) -> Result<bool, CertificateError> {
        let known = [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID];
        let mut extensions = self.tbs().extensions.iter().flatten();
        Ok(extensions.all(|extension| !extension.critical || known.contains(&extension.extn_id))
            && self.extension::<NameConstraints>()?.is_none())
    }

    fn is_signed_by(&self, issuer: &Self, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let (algorithm, signature) = (&self.parts.signature_algorithm, &self.parts.signature);
        self.tbs().issuer == issuer.tbs().subject
            && self.tbs().signature == *algorithm
            && signature.as_bytes().is_some_and(|signature| {
                let named = algorithms.all.iter().filter(|known| is(algorithm, &known.signature_alg_id()));
                named.into_iter().any(|known| has_signed(issuer.key(), *known, &self.signed, signature))
            })
    }

    /// Whether any of its alternative names is of the kind of a host: else its common name is the host's.
    fn has_name_like(&self, host: Option<&ServerName<'_>>) -> Result<bool, CertificateError> {
        let is_number = matches!(host, Some(ServerName::IpAddress(_)));
        let names = self.extension::<SubjectAltName>()?;
        Ok(names.into_iter().flat_map(|names| names.0).any(|name| match name {
            GeneralName::DnsName(_) => !is_number,
            GeneralName::IpAddress(_) => is_number,
            _ => false,
        }))
    }

    /// Whether a server of this name may show it, by libpq's rules: the alternative names count, and the common name
    /// where none of them is of the host's kind.
    pub fn is_for(&self, host: &ServerName<'_>) -> bool {
        let (name, number) = match host {
            ServerName::DnsName(name) => (name.as_ref().to_owned(), None),
            ServerName::IpAddress(number) => {
                let number = IpAddr::from(*number);
                (number.to_string(), Some(number))
            }
            _ => return false,
        };
        let octets = match number {
            Some(IpAddr::V4(number)) => number.octets().to_vec(),
            Some(IpAddr::V6(number)) => number.octets().to_vec(),
            None => Vec::new(),
        };
        let is_name = |pattern: &[u8]| matches(pattern, name.as_bytes(), number.is_none());
        let Ok(alternatives) = self.extension::<SubjectAltName>() else { return false };
        let mut of_its_kind = false;
        for alternative in alternatives.into_iter().flat_map(|names| names.0) {
            let is_host = match alternative {
                GeneralName::DnsName(pattern) => {
                    of_its_kind |= number.is_none();
                    is_name(pattern.as_bytes())
                }
                GeneralName::IpAddress(bytes) => {
                    of_its_kind |= number.is_some();
                    number.is_some() && bytes.as_bytes() == octets
                }
                _ => false,
            };
            if is_host {
                return true;
            }
        }
        let mut subject = self.tbs().subject.0.iter().flat_map(|names| names.0.iter());
        !of_its_kind && subject.find(|name| name.oid == CN).is_some_and(|name| is_name(name.value.value()))
    }
}

/// Whether a name of a certificate is that of a host. A `*` stands for its first part and nothing else.
fn matches(pattern: &[u8], host: &[u8], has_parts: bool) -> bool {
    let by_star = || {
        let rest = pattern.strip_prefix(b"*").filter(|rest| has_parts && rest.len() > 1 && rest.starts_with(b"."))?;
        let (first, same) = host.split_at_checked(host.len().checked_sub(rest.len())?)?;
        Some(!first.is_empty() && !first.contains(&b'.') && same.eq_ignore_ascii_case(rest))
    };
    pattern.eq_ignore_ascii_case(host) || by_star() == Some(true)
}

/// Whether an algorithm is the one that is named: all of what stands in its sequence.
fn is(named: &AlgorithmIdentifierOwned, known: &[u8]) -> bool {
    let parameters = named.parameters.as_ref().map(Encode::to_der).transpose();
    match (named.oid.to_der(), parameters) {
        (Ok(oid), Ok(parameters)) => [oid, parameters.unwrap_or_default()].concat() == known,
        _ => false,
    }
}

/// Whether the owner of a key has signed a message.
pub fn has_signed(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: &dyn SignatureVerificationAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    is(&key.algorithm, &algorithm.public_key_alg_id())
        && key
            .subject_public_key
            .as_bytes()
            .is_some_and(|key| algorithm.verify_signature(key, message, signature).is_ok())
}

/// Whether a server's certificate can be trusted, whether or not its name is that of `host`: one of `roots` has signed
/// it, or an authority whom one of them has signed, or it is one of them itself.
pub fn check(
    server: &Read,
    host: Option<&ServerName<'_>>,
    others: &[CertificateDer<'_>],
    roots: &[Read],
    now: UnixTime,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), Error> {
    server.check_time(now)?;
    server.check_purpose()?;
    server.check_use()?;
    let is_root = server.is_its_own_issuer() && roots.iter().any(|root| root.der == server.der);
    if is_root || server.tbs().version == Version::V1 || server.is_authority()? {
        return Ok(check_here(server, others, roots, now, algorithms, is_root)?);
    }
    // webpki holds no common name to what an authority may name: where that name is the host's, such an authority is
    // none.
    let by_common_name = !server.has_name_like(host)?;
    let may_name_it = |it: &Read| !by_common_name || it.extension::<NameConstraints>() == Ok(None);
    let others: Vec<Read> = others.iter().filter_map(|der| Read::of(der).ok()).filter(may_name_it).collect();
    let between = others.iter().filter(|other| !other.is_its_own_issuer()).count().try_into().unwrap_or(u8::MAX);
    let mut store = RootCertStore::empty();
    for root in roots {
        // webpki itself believes that whatever it is given as an authority is one, for everything, and for ever. How
        // many stand between it does not say: that is all that may.
        let is_one = root.may_sign_as_root(between) == Ok(true) && root.check_purpose().is_ok();
        if is_one && root.check_time(now).is_ok() && may_name_it(root) {
            // One that it cannot read is none of those it is asked for.
            let _ = store.add(root.der.clone());
        }
    }
    let parsed = ParsedCertificate::try_from(&server.der)?;
    let others: Vec<CertificateDer<'_>> = others.into_iter().map(|other| other.der).collect();
    verify_server_cert_signed_by_trust_anchor(&parsed, &store, &others, now, algorithms.all)
}

fn check_here(
    server: &Read,
    others: &[CertificateDer<'_>],
    roots: &[Read],
    now: UnixTime,
    algorithms: &WebPkiSupportedAlgorithms,
    is_root: bool,
) -> Result<(), CertificateError> {
    if !server.is_plain()? {
        return Err(CertificateError::UnhandledCriticalExtension);
    }
    if is_root {
        return Ok(());
    }
    let others: Vec<Read> = others.iter().take(MOST_BETWEEN.into()).filter_map(|der| Read::of(der).ok()).collect();
    let issues = |issuer: &Read, may_sign: Result<bool, CertificateError>, to: &Read| {
        let may = may_sign == Ok(true) && issuer.check_purpose().is_ok() && issuer.is_plain() == Ok(true);
        may && issuer.check_time(now).is_ok() && to.is_signed_by(issuer, algorithms)
    };
    let mut last = server;
    for between in 0..=MOST_BETWEEN {
        if roots.iter().any(|root| issues(root, root.may_sign_as_root(between), last)) {
            return Ok(());
        }
        let next = others.iter().find(|other| issues(other, other.may_sign(between), last));
        last = next.ok_or(CertificateError::UnknownIssuer)?;
    }
    Err(CertificateError::UnknownIssuer)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_the_first_part_of_a_name() {
        for (pattern, host, expected) in [
            ("db.example.org", "db.example.org", true),
            ("DB.example.org", "db.EXAMPLE.org", true),
            ("db.example.org", "db.example.or", false),
            ("*.example.org", "db.example.org", true),
            ("*.EXAMPLE.org", "db.example.org", true),
            ("*.example.org", "a.db.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.example.org", "dbxexample.org", false),
            ("*.org", "example.org", true),
            ("*", "localhost", false),
            ("*.", "localhost.", false),
            ("d*.example.org", "db.example.org", false),
            ("db.*.org", "db.example.org", false),
            ("*example.org", "db.example.org", false),
            ("", "db", false),
            ("db\0.example.org", "db", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), host.as_bytes(), true), expected, "{pattern} for {host}");
        }
        assert!(!matches(b"*.0.0.1", b"127.0.0.1", false), "numbers have no parts");
    }
}
