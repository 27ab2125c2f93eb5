//! Whom a server's certificate convinces: PostgreSQL's own client is asked beside us, of the same server at the same time.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, PKCS_RSA_SHA256, date_time_ymd,
};
use referral::db::{Db, Options};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use x509_cert::certificate::Version;

use crate::support::certificates::{Made, authority, named, new_key, pem, with_hosts};
use crate::support::process::Operator;
use crate::support::servers::{Postgres, PostgresOptions, Redis};

const HOST: &str = "db.example.test";
const DEEPER: &str = "a.db.example.test";
const ELSEWHERE: &str = "other.example.test";
const NUMBER: &str = "127.0.0.1";

/// A server's certificate and who is believed.
struct Case {
    what: &'static str,
    /// What the server shows: its own, and those behind it.
    shown: String,
    key: String,
    /// What `sslrootcert` names.
    roots: String,
    /// The hosts that it is for; none where it is to convince nobody.
    hosts: &'static [&'static str],
    /// Whether psql may judge otherwise.
    differs: bool,
}

fn case(what: &'static str, shown: &[&Made], roots: &[&Made], hosts: &'static [&'static str]) -> Case {
    Case { what, shown: pem(shown), key: shown[0].key.serialize_pem(), roots: pem(roots), hosts, differs: false }
}

fn past(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    params
}

fn future(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2120, 1, 1), date_time_ymd(2121, 1, 1));
    params
}

fn no_authority(mut params: CertificateParams) -> CertificateParams {
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

fn used_for(mut params: CertificateParams, usages: &[KeyUsagePurpose]) -> CertificateParams {
    params.key_usages = usages.to_vec();
    params
}

fn for_clients(mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn at_most_under(mut params: CertificateParams, between: u8) -> CertificateParams {
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(between));
    params
}

fn only_under(mut params: CertificateParams, domain: &str) -> CertificateParams {
    let permitted_subtrees = vec![GeneralSubtree::DnsName(domain.to_owned())];
    params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    params
}

fn with_what_nobody_knows(mut params: CertificateParams) -> CertificateParams {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
    params
}

fn root() -> Made {
    Made::alone(authority("root"))
}

/// Of version 1, as the manual has them made.
fn by_the_manual(issuer: &Made, params: CertificateParams) -> Made {
    Made::by(issuer, params).of_version_1(&issuer.key)
}

/// Servers that are their own authorities: the file holds what they show.
fn own() -> Vec<Case> {
    let both = {
        let mut params = with_hosts("somebody", &[HOST, NUMBER]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (first, second) = (Made::alone(authority(HOST)), Made::alone(authority(HOST)));
    let (old_first, old_second) = (Made::alone_of_version_1(named(HOST)), Made::alone_of_version_1(named(HOST)));
    let mut cases = vec![
        case("alone, of version 1", &[&old_first], &[&old_first], &[HOST]),
        // Of several of one name psql may ask a wrong one.
        Case { differs: true, ..case("alone, one of two in the file", &[&first], &[&second, &first], &[HOST]) },
        case("alone, beside another of the same name", &[&first], &[&second], &[]),
        case("alone, beside another of the same name, with that one shown", &[&first, &second], &[&second], &[]),
        case("alone, beside another of version 1 of the same name", &[&old_first], &[&old_second], &[]),
    ];
    cases.extend(
        [
            // As `openssl req -new -x509` makes it.
            ("alone, an authority", authority(HOST), &[HOST][..]),
            ("alone, an authority with alternative names", both, &[HOST, NUMBER]),
            ("alone, no authority", no_authority(named(HOST)), &[HOST]),
            ("alone, without a word of authority", named(HOST), &[HOST]),
            ("alone, expired", past(authority(HOST)), &[]),
            ("alone, not valid yet", future(authority(HOST)), &[]),
            ("alone, for clients", for_clients(authority(HOST)), &[]),
            ("alone, to sign only", used_for(authority(HOST), &[KeyUsagePurpose::KeyCertSign]), &[]),
            ("alone, with what nobody knows", with_what_nobody_knows(authority(HOST)), &[]),
        ]
        .map(|(what, params, hosts)| {
            let server = Made::alone(params);
            case(what, &[&server], &[&server], hosts)
        }),
    );
    cases
}

/// Servers with certificates of version 1, by an authority or by somebody who would be one.
fn of_version_1() -> Vec<Case> {
    let (root, other) = (root(), root());
    let between = Made::by(&root, authority("between"));
    let between_expired = Made::by(&root, past(authority("between")));
    let server = by_the_manual(&root, named(HOST));
    let below = by_the_manual(&between, named(HOST));
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    let rsa = Made::with_key(rsa, &root, named(HOST)).of_version_1(&root.key);
    let old_root = Made::alone_of_version_1(named("root"));
    let expired_root = Made::alone(past(authority("root")));
    let forged = Made::by(&root, named(HOST)).of_version_1(&new_key());
    let renamed = by_the_manual(&root, named("al.example.test")).renamed("al.example.test", HOST);
    let short_root = Made::alone(at_most_under(authority("root"), 0));
    let too_far = Made::by(&short_root, authority("between"));
    let narrow_root = Made::alone(only_under(authority("root"), "example.test"));
    let believed_for_itself = Made::alone(no_authority(named(ELSEWHERE)));
    let mut cases = vec![
        case("version 1", &[&server], &[&root], &[HOST]),
        Case {
            differs: true,
            ..case("version 1, one of two roots of one name", &[&server], &[&other, &root], &[HOST])
        },
        case("version 1, an RSA key", &[&rsa], &[&root], &[HOST]),
        case("version 1, any host", &[&by_the_manual(&root, named("*.example.test"))], &[&root], &[HOST, ELSEWHERE]),
        case("version 1, a root of version 1", &[&by_the_manual(&old_root, named(HOST))], &[&old_root], &[HOST]),
        case("version 1, a short way", &[&by_the_manual(&short_root, named(HOST))], &[&short_root], &[HOST]),
        case("version 1, two steps", &[&below, &between], &[&root], &[HOST]),
        case("version 1, two steps, both in the file", &[&below], &[&root, &between], &[HOST]),
        case("version 1, a step missing", &[&below], &[&root], &[]),
        case("version 1, too long a way", &[&by_the_manual(&too_far, named(HOST)), &too_far], &[&short_root], &[]),
        case("version 1, expired", &[&by_the_manual(&root, past(named(HOST)))], &[&root], &[]),
        case("version 1, not valid yet", &[&by_the_manual(&root, future(named(HOST)))], &[&root], &[]),
        case("version 1, root expired", &[&by_the_manual(&expired_root, named(HOST))], &[&expired_root], &[]),
        case(
            "version 1, a step expired",
            &[&by_the_manual(&between_expired, named(HOST)), &between_expired],
            &[&root],
            &[],
        ),
        case("version 1, another root of the same name", &[&server], &[&other], &[]),
        case("version 1, another root of the same name, its own shown", &[&server, &root], &[&other], &[]),
        case("version 1, signed by nobody", &[&forged], &[&root], &[]),
        case("version 1, changed after it was signed", &[&renamed], &[&root], &[]),
        case("version 1, not its root but itself in the file", &[&server], &[&server], &[]),
        case(
            "version 1, by a server",
            &[&by_the_manual(&believed_for_itself, named(HOST))],
            &[&believed_for_itself],
            &[],
        ),
        Case {
            differs: true,
            ..case("version 1, a narrow root", &[&by_the_manual(&narrow_root, named(HOST))], &[&narrow_root], &[])
        },
        Case { differs: true, ..case("version 1, its authority without a root", &[&below], &[&between], &[HOST]) },
    ];
    // Whoever was given a certificate by the root signs another.
    cases.extend(
        [
            ("version 1, by a server below the root", no_authority(named(ELSEWHERE))),
            ("version 1, by a server without a word of authority", named(ELSEWHERE)),
            ("version 1, by a key that is not to sign", used_for(authority("x"), &[KeyUsagePurpose::DigitalSignature])),
            ("version 1, by an authority over clients", for_clients(authority("x"))),
            ("version 1, by what nobody knows", with_what_nobody_knows(authority("x"))),
        ]
        .map(|(what, params)| {
            let signer = Made::by(&root, params);
            case(what, &[&by_the_manual(&signer, named(HOST)), &signer], &[&root], &[])
        }),
    );
    for name in [ELSEWHERE, "root"] {
        let signer = by_the_manual(&root, named(name));
        let what = "version 1, by a server of version 1";
        cases.push(case(what, &[&by_the_manual(&signer, named(HOST)), &signer], &[&root], &[]));
    }
    cases
}

/// Servers with certificates of version 3, by an authority.
fn of_version_3() -> Vec<Case> {
    let root = root();
    let host = || with_hosts("x", &[HOST]);
    let between = Made::by(&root, authority("between"));
    let mut cases: Vec<Case> = [
        ("a name", host(), &[HOST][..]),
        ("a name and a number", with_hosts("x", &[HOST, NUMBER]), &[HOST, NUMBER]),
        ("any host", with_hosts("x", &["*.example.test"]), &[HOST, ELSEWHERE]),
        ("a common name alone", named(HOST), &[HOST]),
        ("any host by the common name alone", named("*.example.test"), &[HOST, ELSEWHERE]),
        ("a number as the common name", named(NUMBER), &[NUMBER]),
        ("a common name that does not count", with_hosts(HOST, &[ELSEWHERE]), &[ELSEWHERE]),
        ("a common name beside a number", with_hosts(HOST, &[NUMBER]), &[HOST, NUMBER]),
        ("an authority itself", authority(HOST), &[HOST]),
        ("expired", past(host()), &[]),
        ("not valid yet", future(host()), &[]),
        ("for clients", for_clients(host()), &[]),
        ("to sign only", used_for(host(), &[KeyUsagePurpose::KeyCertSign]), &[]),
        ("with what nobody knows", with_what_nobody_knows(host()), &[]),
    ]
    .into_iter()
    .map(|(what, params, hosts)| case(what, &[&Made::by(&root, params)], &[&root], hosts))
    .collect();
    cases.extend(
        [
            ("root expired", past(authority("root")), &[][..]),
            ("root not valid yet", future(authority("root")), &[]),
            ("by a server", no_authority(named(ELSEWHERE)), &[]),
            ("by a key that is not to sign", used_for(authority("x"), &[KeyUsagePurpose::DigitalSignature]), &[]),
            ("a name that may be", only_under(authority("root"), "example.test"), &[HOST]),
            ("a name that may not be", only_under(authority("root"), "example.org"), &[]),
            ("by an authority over clients", for_clients(authority("root")), &[]),
        ]
        .map(|(what, params, hosts)| {
            let root = Made::alone(params);
            case(what, &[&Made::by(&root, host())], &[&root], hosts)
        }),
    );
    // Names that stand in the common name alone are held to what an authority may name as well.
    let (narrow, elsewhere) = (only_under(authority("x"), "example.test"), only_under(authority("x"), "example.org"));
    let (narrow_root, narrow_below) = (Made::alone(narrow), Made::by(&root, elsewhere.clone()));
    let wide_of_mark = Made::alone(elsewhere);
    let short_root = Made::alone(at_most_under(authority("root"), 0));
    let too_far = Made::by(&short_root, authority("between"));
    cases.extend([
        case("a common name that may not be", &[&Made::by(&wide_of_mark, named(HOST))], &[&wide_of_mark], &[]),
        case(
            "a common name that may not be, a step below",
            &[&Made::by(&narrow_below, named(HOST)), &narrow_below],
            &[&root],
            &[],
        ),
        Case {
            differs: true,
            ..case("a common name that may be", &[&Made::by(&narrow_root, named(HOST))], &[&narrow_root], &[])
        },
        case("a short way", &[&Made::by(&short_root, host())], &[&short_root], &[HOST]),
        case("too long a way", &[&Made::by(&too_far, host()), &too_far], &[&short_root], &[]),
    ]);
    let server = Made::by(&root, host());
    let by_server = Made::by(&Made::alone(no_authority(named(ELSEWHERE))), authority(HOST));
    cases.extend([
        case("two steps", &[&Made::by(&between, host()), &between], &[&root], &[HOST]),
        Case {
            differs: true,
            ..case("its authority without a root", &[&Made::by(&between, host())], &[&between], &[HOST])
        },
        case("a step missing", &[&Made::by(&between, host())], &[&root], &[]),
        case("an authority two steps away", &[&Made::by(&between, authority(HOST)), &between], &[&root], &[HOST]),
        case("an authority, by nobody who is known", &[&by_server], &[&root], &[]),
        case("not its root but itself in the file", &[&server], &[&server], &[]),
        case("another root of the same name", &[&server], &[&self::root()], &[]),
        case("signed by nobody", &[&Made::by(&root, host()).changed(&new_key(), |_| ())], &[&root], &[]),
    ]);
    cases
}

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
