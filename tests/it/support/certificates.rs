//! Certificates as people make them, and as they should not.

use base64::Engine;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SigningKey};
use x509_cert::certificate::Version;
use x509_cert::der::asn1::BitString;
use x509_cert::der::{Decode, Encode};

/// A certificate with its key.
pub struct Made {
    pub params: CertificateParams,
    pub key: KeyPair,
    pub der: Vec<u8>,
}

/// What a certificate says that names its owner in the common name alone.
pub fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// As [`named`], of an authority.
pub fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// As [`named`], with names of hosts beside it.
pub fn with_hosts(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = named(name);
    params.subject_alt_names = CertificateParams::new(hosts).expect("names of hosts").subject_alt_names;
    params
}

pub fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Made {
    /// Signed by itself.
    pub fn alone(params: CertificateParams) -> Made {
        let key = new_key();
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        Made { params, key, der }
    }

    pub fn by(issuer: &Made, params: CertificateParams) -> Made {
        Made::with_key(new_key(), issuer, params)
    }

    pub fn with_key(key: KeyPair, issuer: &Made, params: CertificateParams) -> Made {
        let by = Issuer::from_params(&issuer.params, &issuer.key);
        let der = params.signed_by(&key, &by).expect("a certificate").der().to_vec();
        Made { params, key, der }
    }

    /// Of version 1, which has no extensions: as `openssl x509 -req` makes them without being told of any.
    pub fn of_version_1(self, signed_by: &KeyPair) -> Made {
        self.changed(signed_by, |certificate| {
            certificate.tbs_certificate.version = Version::V1;
            certificate.tbs_certificate.extensions = None;
        })
    }

    /// As [`of_version_1`](Self::of_version_1), signed by its own key.
    pub fn alone_of_version_1(params: CertificateParams) -> Made {
        let made = Made::alone(params);
        let key = KeyPair::from_pem(&made.key.serialize_pem()).expect("its own key");
        made.of_version_1(&key)
    }

    /// With something about it changed, and signed again.
    pub fn changed(mut self, signed_by: &KeyPair, change: impl FnOnce(&mut x509_cert::Certificate)) -> Made {
        let mut certificate = x509_cert::Certificate::from_der(&self.der).expect("a certificate");
        change(&mut certificate);
        let signed = certificate.tbs_certificate.to_der().expect("it can be written");
        let signature = signed_by.sign(&signed).expect("a signature");
        certificate.signature = BitString::from_bytes(&signature).expect("bits");
        self.der = certificate.to_der().expect("it can be written");
        self
    }

    /// With another name of the same length, and not signed again.
    pub fn renamed(mut self, from: &str, to: &str) -> Made {
        assert_eq!(from.len(), to.len(), "as long as it was");
        let place = self.der.windows(from.len()).position(|bytes| bytes == from.as_bytes()).expect("its name");
        self.der[place..place + to.len()].copy_from_slice(to.as_bytes());
        self
    }

    pub fn pem(&self) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(&self.der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("base64")).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }
}

/// Several, one after the other.
pub fn pem(certificates: &[&Made]) -> String {
    certificates.iter().map(|made| made.pem()).collect()
}
