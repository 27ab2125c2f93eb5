//! `sslmode` as libpq reads it, spoken with rustls.

use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Splits the TLS settings off the address, which the driver would not all understand.
pub fn configure(url: &str) -> Result<(Config, MakeRustlsConnect), String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut rest) = ("prefer", None, Vec::new());
    // What is asked of one of several servers: without writes nothing works for long.
    let mut wanted = "read-write";
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = value,
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
    let (ssl, verified) = match mode {
        "disable" => (SslMode::Disable, false),
        "allow" | "prefer" => (SslMode::Prefer, false),
        "require" => (SslMode::Require, false),
        "verify-full" => (SslMode::Require, true),
        other => {
            return Err(format!(
                "DATABASE_URL has sslmode={other}: use disable, prefer, require (encrypted, not authenticated) or \
                 verify-full (with sslrootcert=FILE for an authority of your own)"
            ));
        }
    };
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
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    let client = if verified {
        builder.with_root_certificates(read_roots(roots.as_deref())?).with_no_client_auth()
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))).with_no_client_auth()
    };
    Ok((config, MakeRustlsConnect::new(client)))
}

fn read_roots(file: Option<&str>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if let Some(file) = file {
        let explain = |error: &dyn std::fmt::Display| {
            format!("cannot read sslrootcert {file} of DATABASE_URL: {error}. It must be a PEM file of certificates")
        };
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| explain(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| explain(&error))?;
            store.add(certificate).map_err(|error| explain(&error))?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if store.is_empty() {
        return Err(
            "sslmode=verify-full needs a certificate authority: add sslrootcert=FILE to DATABASE_URL or install \
                    the system's ca-certificates"
                .to_owned(),
        );
    }
    Ok(store)
}

/// Encrypts without authenticating: what `prefer` and `require` mean to every PostgreSQL client, and what servers with
/// a self-made certificate need.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
