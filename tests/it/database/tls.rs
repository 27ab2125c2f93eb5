//! Whom a server's certificate convinces: PostgreSQL's own client is asked beside us, of the same server at the same
//! time.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{KeyPair, PKCS_RSA_SHA256};
use referral::db::{Db, Options};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use x509_cert::certificate::Version;

use super::certificates::{
    Case, DEEPER, ELSEWHERE, HOST, NUMBER, by_the_manual, case, of_version_1, of_version_3, own, past, root,
};
use crate::support::certificates::{Made, authority, named, new_key, with_hosts};
use crate::support::process::Operator;
use crate::support::servers::{Postgres, PostgresOptions, Redis};

fn address(server: &Postgres, host: &str, rest: &str) -> String {
    format!("postgres://postgres@{host}:{}/postgres?hostaddr=127.0.0.1{rest}", server.port())
}

async fn opens(url: &str) -> Result<(), String> {
    let options =
        Options { connections: 1, prepared_statements: true, request: Duration::from_secs(30), mapped_mib: 0 };
    Db::open(url, options).await.map(drop)
}

/// What psql or we judge otherwise than the case has it.
async fn both_judge(server: &Postgres, case: &Case, is_judge: bool, folder: &Path) -> Vec<String> {
    let file = folder.join("roots.pem");
    std::fs::write(&file, &case.roots).expect("a file");
    server.show(&case.shown, &case.key).await;
    let of_host = [HOST, DEEPER, ELSEWHERE, NUMBER].map(|host| ("verify-full", host, case.hosts.contains(&host)));
    let of_authority = [("prefer", HOST), ("require", HOST), ("verify-ca", "no.example.test")];
    let of_authority = of_authority.map(|(mode, host)| (mode, host, !case.hosts.is_empty()));
    let mut wrong = Vec::new();
    for (mode, host, expected) in of_authority.into_iter().chain(of_host) {
        let url = address(server, host, &format!("&sslmode={mode}&sslrootcert={}", file.display()));
        let (connects, said) = server.psql(&url);
        if is_judge && !case.differs && connects != expected {
            wrong.push(format!("psql: {}, {mode} {host}: {connects} {said}", case.what));
        }
        let opened = opens(&url).await;
        let told = opened.as_ref().err().is_none_or(|sentence| {
            sentence.starts_with("cannot connect to PostgreSQL: ") && sentence.contains("certificate")
        });
        if opened.is_ok() != expected || !told {
            wrong.push(format!("Referral: {}, {mode} {host}: {opened:?}; psql: {said}", case.what));
        }
    }
    // Without authorities nothing is asked of a certificate.
    for mode in ["prefer", "require"] {
        let opened = opens(&address(server, HOST, &format!("&sslmode={mode}"))).await;
        wrong.extend(opened.err().map(|sentence| format!("{}, {mode}: {sentence}", case.what)));
    }
    wrong
}

async fn a_new_server_convinces_alike(cases: Vec<Case>) {
    let server = Postgres::start(PostgresOptions { tls: true, ..Default::default() }).await;
    convinces_alike(&server, cases).await;
}

async fn convinces_alike(server: &Postgres, cases: Vec<Case>) {
    let folder = tempfile::tempdir().expect("a folder");
    // Before version 15 psql did not look for numbers among the alternative names.
    let is_judge = server.value("show server_version_num").await.parse::<u32>().expect("a number") >= 150_000;
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(both_judge(server, &case, is_judge, folder.path()).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_its_own_authority_convinces_as_it_does_psql() {
    a_new_server_convinces_alike(own()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_the_manuals_making_convinces_as_it_does_psql() {
    a_new_server_convinces_alike(of_version_1()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_an_authority_convinces_as_it_does_psql() {
    a_new_server_convinces_alike(of_version_3()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_is_spoken_with_certificates_of_each_version() {
    let server = Postgres::start(PostgresOptions { tls: true, ..Default::default() }).await;
    server.sql("alter system set ssl_max_protocol_version = 'TLSv1.2'").await;
    let root = root();
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    let rsa = Made::with_key(rsa, &root, with_hosts("x", &[HOST]));
    let cases = [&by_the_manual(&root, named(HOST)), &rsa].map(|made| case("TLS 1.2", &[made], &[&root], &[HOST]));
    convinces_alike(&server, cases.into()).await;
}

/// Extensions came with version 3: some would read them, others would not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_contradicts_itself_is_refused_in_every_mode() {
    let server = Postgres::start(PostgresOptions { tls: true, ..Default::default() }).await;
    let root = root();
    let made = Made::by(&root, with_hosts("x", &[HOST]));
    let made = made.changed(&root.key, |certificate| certificate.tbs_certificate.version = Version::V1);
    server.show(&made.pem(), &made.key.serialize_pem()).await;
    for mode in ["prefer", "require"] {
        let sentence = opens(&address(&server, HOST, &format!("&sslmode={mode}"))).await.expect_err("it is refused");
        assert!(sentence.contains("certificate"), "{mode}: {sentence}");
    }
}

/// Shows a certificate whose key it does not have.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesServerCert for Thief {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Where it listens. It speaks TLS as PostgreSQL does, and nothing after that.
fn shows_a_stolen(made: &Made, version: &'static SupportedProtocolVersion) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(new_key().serialize_der()).expect("a key");
    let key = provider.key_provider.load_private_key(key).expect("a key");
    let thief = Thief(Arc::new(CertifiedKey::new(vec![CertificateDer::from(made.der.clone())], key)));
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("a version");
    let config = Arc::new(config.with_no_client_auth().with_cert_resolver(Arc::new(thief)));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 8];
            if stream.read_exact(&mut request).and_then(|()| stream.write_all(b"S")).is_ok() {
                let mut connection = ServerConnection::new(config.clone()).expect("a connection");
                // Until the client has had enough.
                while connection.complete_io(&mut stream).is_ok_and(|(read, written)| read + written > 0) {}
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_worth_nothing_without_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = root();
    let alone = Made::alone(authority(HOST));
    for (made, root) in [
        (&by_the_manual(&root, named(HOST)), &root),
        (&Made::by(&root, with_hosts("x", &[HOST])), &root),
        (&alone, &alone),
    ] {
        let file = folder.path().join("root.pem");
        std::fs::write(&file, root.pem()).expect("a file");
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let port = shows_a_stolen(made, version);
            let roots = format!("&sslrootcert={}", file.display());
            for rest in
                ["&sslmode=require", &format!("&sslmode=verify-full{roots}"), &format!("&sslmode=prefer{roots}")]
            {
                let url = format!("postgres://postgres@{HOST}:{port}/postgres?hostaddr=127.0.0.1{rest}");
                let sentence = opens(&url).await.expect_err("the key is another");
                assert!(sentence.contains("BadSignature"), "{rest}: {sentence}");
            }
        }
    }
}

#[tokio::test]
async fn what_would_not_authenticate_anybody_is_refused_with_a_remedy() {
    for (query, parts) in [
        ("sslmode=verify-ca", &["sslmode=verify-ca", "sslrootcert=FILE", "verify-full"][..]),
        ("sslmode=require&sslrootcert=system", &["sslmode=require", "sslrootcert=system", "verify-full"]),
        ("sslmode=verify-ca&sslrootcert=system", &["sslmode=verify-ca", "sslrootcert=system", "verify-full"]),
        ("sslmode=prefer&sslrootcert=system", &["sslmode=prefer", "sslrootcert=system", "verify-full"]),
        // libpq would connect to anybody.
        ("sslmode=require&sslrootcert=/nowhere", &["sslrootcert", "/nowhere"]),
        ("sslmode=prefer&sslrootcert=/nowhere", &["sslrootcert", "/nowhere"]),
        ("sslrootcert=/dev/null", &["sslrootcert", "/dev/null", "no certificate"]),
    ] {
        let sentence = opens(&format!("postgres://u@h/n?{query}")).await.expect_err("it is refused");
        for part in parts {
            assert!(sentence.contains(part), "{query}: no {part:?} in {sentence}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_systems_authorities_are_asked_where_no_file_is_named() {
    let server = Postgres::start(PostgresOptions { tls: true, ..Default::default() }).await;
    let mut operator = Operator::on_a_free_port();
    let root = root();
    operator.write("known.pem", root.pem());
    operator.write("other.pem", Made::alone(authority("root")).pem());
    let made = Made::by(&root, with_hosts("x", &[HOST]));
    server.show(&made.pem(), &made.key.serialize_pem()).await;
    let check = |operator: &mut Operator, system: &str, host: &str, rest: &str| {
        operator.set("SSL_CERT_FILE", operator.path(system));
        operator.set("DATABASE_URL", address(&server, host, rest));
        operator.run(&["check"]).stdout
    };
    for rest in ["&sslmode=verify-full", "&sslmode=verify-full&sslrootcert=system", "&sslrootcert=system"] {
        let told = check(&mut operator, "known.pem", HOST, rest);
        assert!(told.contains("ok    database: reached"), "{rest}: {told}");
        for (system, host) in [("known.pem", ELSEWHERE), ("other.pem", HOST)] {
            let told = check(&mut operator, system, host, rest);
            assert!(told.contains("WRONG database: cannot connect") && told.contains("certificate"), "{rest}: {told}");
        }
        let told = check(&mut operator, "none.pem", HOST, rest);
        assert!(told.contains("WRONG database: ") && told.contains("sslrootcert=FILE"), "{rest}: {told}");
    }
}

/// Redis is asked by the system's authorities alone, and webpki judges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_behind_tls_convinces_by_the_systems_authorities() {
    let root = root();
    let mut operator = Operator::on_a_free_port();
    operator.write("known.pem", root.pem());
    operator.write("other.pem", Made::alone(authority("root")).pem());
    for (made, expected) in [
        (Made::by(&root, with_hosts("x", &["localhost"])), true),
        (Made::by(&root, with_hosts("x", &[ELSEWHERE])), false),
        (Made::by(&root, named("localhost")), false),
        (Made::by(&root, past(with_hosts("x", &["localhost"]))), false),
    ] {
        let redis = Redis::start_with_tls(&made.pem(), &made.key.serialize_pem()).await;
        operator.set("REDIS_URL", redis.tls_url());
        for (system, known) in [("known.pem", expected), ("other.pem", false)] {
            operator.set("SSL_CERT_FILE", operator.path(system));
            let told = operator.run(&["check"]).stdout;
            assert_eq!(told.contains("ok    redis: reached"), known, "{told}");
        }
    }
}
