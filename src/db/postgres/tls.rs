//! `sslmode` as libpq reads it, spoken with rustls.

use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::der::Encode;

use super::certificate::{self, Read, has_signed};

/// As `sslrootcert`: the system's authorities, not a file.
const SYSTEM: &str = "system";

/// What is asked of a server's certificate.
#[derive(Debug)]
enum Trust {
    /// Nothing: what is said is encrypted, to whom is not known.
    Any,
    /// One of these has signed it.
    Signed(Vec<Read>),
    /// That, and it is for the host of the address.
    SignedForHost(Vec<Read>),
}

/// Splits the TLS settings off the address, which the driver would not all understand.
pub fn configure(url: &str) -> Result<(Config, MakeRustlsConnect), String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
    // What is asked of one of several servers: without writes nothing works for long.
    let mut wanted = "read-write";
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("target_session_attrs", value)) => wanted = value,
            Some(("sslrootcert", value)) => {
                roots = Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned());
            }
            _ => rest.push(pair),
        }
    }
    let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    let mut config = Config::from_str(&plain).map_err(|_| {
        // The driver's own message could quote the password.
        "DATABASE_URL is not a PostgreSQL address: write postgres://USER:PASSWORD@HOST:5432/NAME, with reserved \
         characters of the password percent-encoded"
            .to_owned()
    })?;
    let (ssl, trust) = read_mode(mode, roots.as_deref())?;
    config.ssl_mode(ssl);
    config.target_session_attrs(match wanted {
        "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
        "any" => TargetSessionAttrs::Any,
        other => {
            return Err(format!(
                "DATABASE_URL has target_session_attrs={other}: leave it out, which means read-write, or use any (also a \
                 server that takes no writes)"
            ));
        }
    });
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier { trust, algorithms: provider.signature_verification_algorithms };
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((config, MakeRustlsConnect::new(client)))
}

/// As libpq does, but that a file of authorities has to be there when it is named.
fn read_mode(mode: Option<&str>, roots: Option<&str>) -> Result<(SslMode, Trust), String> {
    let mode = mode.unwrap_or(if roots == Some(SYSTEM) { "verify-full" } else { "prefer" });
    let ssl = match mode {
        "disable" => return Ok((SslMode::Disable, Trust::Any)),
        "allow" | "prefer" => SslMode::Prefer,
        "require" | "verify-ca" | "verify-full" => SslMode::Require,
        other => {
            return Err(format!(
                "DATABASE_URL has sslmode={other}: use disable, prefer, require (encrypted; authenticated only with \
                 sslrootcert=FILE), verify-ca (the host name is not checked) or verify-full, both with sslrootcert=FILE \
                 for an authority or a certificate of your own"
            ));
        }
    };
    let trust = match (mode, roots) {
        ("verify-full", None | Some(SYSTEM)) => Trust::SignedForHost(read_system_roots()?),
        ("verify-full", Some(file)) => Trust::SignedForHost(read_roots(file)?),
        // Anybody can have a certificate that one of the system's authorities has signed, for a name of their own.
        (_, Some(SYSTEM)) => {
            return Err(format!(
                "DATABASE_URL has sslmode={mode} with sslrootcert=system: write sslmode=verify-full, for the system's \
                 authorities vouch for anybody's servers"
            ));
        }
        ("verify-ca", None) => {
            return Err("sslmode=verify-ca needs a certificate authority of your own: add sslrootcert=FILE to \
                        DATABASE_URL, or use sslmode=verify-full"
                .to_owned());
        }
        (_, Some(file)) => Trust::Signed(read_roots(file)?),
        (_, None) => Trust::Any,
    };
    Ok((ssl, trust))
}

fn read_roots(file: &str) -> Result<Vec<Read>, String> {
    let explain = |error: &dyn std::fmt::Display| {
        format!("cannot read sslrootcert {file} of DATABASE_URL: {error}. It must be a PEM file of certificates")
    };
    let mut roots = Vec::new();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| explain(&error))? {
        let certificate = certificate.map_err(|error| explain(&error))?;
        roots.push(Read::of(&certificate).map_err(|error| explain(&error))?);
    }
    if roots.is_empty() { Err(explain(&"it holds no certificate")) } else { Ok(roots) }
}

fn read_system_roots() -> Result<Vec<Read>, String> {
    let found = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<Read> = found.iter().filter_map(|certificate| Read::of(certificate).ok()).collect();
    if roots.is_empty() {
        return Err(
            "sslmode=verify-full needs a certificate authority: add sslrootcert=FILE to DATABASE_URL or install \
                    the system's ca-certificates"
                .to_owned(),
        );
    }
    Ok(roots)
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (roots, for_host) = match &self.trust {
            Trust::Any => return Ok(ServerCertVerified::assertion()),
            Trust::Signed(roots) => (roots, false),
            Trust::SignedForHost(roots) => (roots, true),
        };
        let server = Read::of(server)?;
        certificate::check(&server, Some(host).filter(|_| for_host), others, roots, now, &self.algorithms)?;
        if for_host && !server.is_for(host) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    /// By the key alone: rustls' own way reads no certificates of version 1.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let server = Read::of(server)?;
        let known = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
        let mut known = known.into_iter().flat_map(|(_, algorithms)| algorithms.iter());
        if known.any(|algorithm| has_signed(server.key(), *algorithm, message, signature.signature())) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateError::BadSignature.into())
    }

    /// As for TLS 1.2.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = Read::of(server)?.key().to_der().map_err(|_| CertificateError::BadEncoding)?;
        verify_tls13_signature_with_raw_key(message, &key.into(), signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
