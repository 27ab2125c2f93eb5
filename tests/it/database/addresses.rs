//! What the address of a database may say.

use std::path::Path;

use super::helpers::open;
use crate::support::app::Setup;
use crate::support::servers::{self, Postgres};

async fn refused(url: &str) -> String {
    match open(url).await {
        Ok(_) => panic!("{url} was opened"),
        Err(sentence) => sentence,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_as_the_address_asks() {
    let server = Postgres::start(servers::PostgresOptions { tls: true, ..Default::default() }).await;
    let url = server.database().await;
    let ca = server.ca_pem_path();
    let verified = format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());

    let test = Setup::Postgres.start_with(&[("DATABASE_URL", &verified)]).await;
    test.user("owner").await.create_code("SPRING2030AB").await.expect(201);

    for mode in ["", "?sslmode=prefer", "?sslmode=require"] {
        assert!(open(&format!("{url}{mode}")).await.is_ok(), "{mode}");
    }

    // The server takes TLS only.
    let plain = refused(&format!("{url}?sslmode=disable")).await;
    assert!(plain.starts_with("cannot connect to PostgreSQL: ") && plain.contains("no encryption"), "{plain}");
    assert!(plain.contains("check user and sslmode in DATABASE_URL"), "{plain}");

    // The certificate is for `localhost`.
    let by_number = refused(&verified.replace("@localhost:", "@127.0.0.1:")).await;
    assert!(by_number.starts_with("cannot connect to PostgreSQL: "), "{by_number}");
    assert!(by_number.contains("certificate") && by_number.contains("sslrootcert in DATABASE_URL"), "{by_number}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("other.pem");
    let with = |file: &Path| format!("{url}?sslmode=verify-full&sslrootcert={}", file.display());

    // An authority, but not the one that signed.
    std::fs::write(&file, other_authority()).expect("a file");
    let foreign = refused(&with(&file)).await;
    assert!(foreign.starts_with("cannot connect to PostgreSQL: ") && foreign.contains("certificate"), "{foreign}");

    // Files that are no authority at all.
    for content in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, content).expect("a file");
        let broken = refused(&with(&file)).await;
        assert!(broken.contains("sslrootcert"), "{content:?}: {broken}");
    }
    let missing = refused(&with(&folder.path().join("missing.pem"))).await;
    assert!(missing.contains("sslrootcert") && missing.contains("missing.pem"), "{missing}");

    // The system's authorities have not signed it either, whether there are any or not.
    let unsigned = refused(&format!("{url}?sslmode=verify-full")).await;
    assert!(unsigned.contains("DATABASE_URL"), "{unsigned}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let url = Postgres::shared().await.database().await;
    assert!(open(&format!("{url}?sslmode=prefer")).await.is_ok());
    for mode in ["require", "verify-full"] {
        let ca = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(ca.path(), other_authority()).expect("a file");
        let refused = refused(&format!("{url}?sslmode={mode}&sslrootcert={}", ca.path().display())).await;
        assert!(refused.starts_with("cannot connect to PostgreSQL: "), "{mode}: {refused}");
        assert!(refused.contains("TLS"), "{mode}: {refused}");
    }
}

fn other_authority() -> String {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    authority.self_signed(&key).expect("a certificate").pem()
}

#[tokio::test]
async fn an_unknown_sslmode_is_refused_with_a_remedy() {
    for mode in ["verify_ca", "on", "", "REQUIRE"] {
        let sentence = refused(&format!("postgres://u@127.0.0.1/n?sslmode={mode}")).await;
        assert!(sentence.contains(&format!("sslmode={mode}: use disable, prefer, require")), "{mode}: {sentence}");
    }
}

#[tokio::test]
async fn an_unknown_scheme_is_refused_and_never_taken_for_a_file_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = |text: &str| text.replace("FOLDER", &folder.path().display().to_string());
    for url in [
        "mysql://u@h/n",
        "FOLDER/referral.db",
        "file:FOLDER/referral.db",
        "sqlite3:FOLDER/referral.db",
        "Sqlite:FOLDER/referral.db",
        "postgres:u@h/n",
        "jdbc:postgresql://h/n",
        "",
    ] {
        let sentence = refused(&inside(url)).await;
        assert!(sentence.contains("unknown scheme") && sentence.contains("write sqlite:PATH"), "{url}: {sentence}");
    }
    for url in [
        "sqlite:",
        "sqlite::memory:",
        "sqlite:FOLDER/referral.db?mode=ro",
        "sqlite:file:FOLDER/referral.db",
        "sqlite://",
    ] {
        let sentence = refused(&inside(url)).await;
        assert!(sentence.contains("names no file"), "{url}: {sentence}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_password_in_the_address_is_in_no_sentence() {
    const SECRET: &str = "s3cr3t";
    let server = Postgres::shared().await.database().await;
    let (_, host) = server.split_once('@').expect("a host");
    let (address, _) = host.split_once('/').expect("a database");
    for url in [
        format!("postgres://postgres:{SECRET}@{address}/no_such_database"),
        format!("postgres://postgres:{SECRET}@127.0.0.1:1/n"),
        format!("postgres://postgres:{SECRET}@no-such-host.invalid/n"),
        format!("postgres://postgres:{SECRET}@{host}?sslmode=verify-all"),
        format!("postgres://postgres:{SECRET}@{host}?sslmode=verify-full&sslrootcert=/nowhere"),
        format!("postgres://postgres:{SECRET}@{host}?sslmode=require"),
        format!("postgres://postgres:{SECRET}@{host}?no_such_setting={SECRET}"),
        format!("postgres://postgres:{SECRET}@{address}:port/n"),
        format!("postgres://postgres:{SECRET}/%@h/n"),
        format!("postgres://postgres:%{SECRET}@h/n"),
        format!("mysql://root:{SECRET}@h/n"),
        format!("postgres:root:{SECRET}@h/n"),
        format!("jdbc:postgresql://h/n?password={SECRET}"),
    ] {
        let sentence = refused(&url).await;
        assert!(!sentence.contains(SECRET), "{sentence}");
        // Where the address of a server that was asked comes from is told by whoever knows it.
        let told = sentence.contains("DATABASE_URL") || sentence.starts_with("cannot connect to PostgreSQL: ");
        assert!(told, "{sentence}");
    }
}
