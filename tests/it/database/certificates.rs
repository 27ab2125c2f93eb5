//! The certificates that a server shows, each with what the client's own rules say of it.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, PKCS_RSA_SHA256, date_time_ymd,
};

use crate::support::certificates::{Made, authority, named, new_key, pem, with_hosts};

pub const HOST: &str = "db.example.test";
pub const DEEPER: &str = "a.db.example.test";
pub const ELSEWHERE: &str = "other.example.test";
pub const NUMBER: &str = "127.0.0.1";

/// A server's certificate and who is believed.
pub struct Case {
    pub what: &'static str,
    /// What the server shows: its own, and those behind it.
    pub shown: String,
    pub key: String,
    /// What `sslrootcert` names.
    pub roots: String,
    /// The hosts that it is for; none where it is to convince nobody.
    pub hosts: &'static [&'static str],
    /// Whether psql may judge otherwise.
    pub differs: bool,
}

pub fn case(what: &'static str, shown: &[&Made], roots: &[&Made], hosts: &'static [&'static str]) -> Case {
    Case { what, shown: pem(shown), key: shown[0].key.serialize_pem(), roots: pem(roots), hosts, differs: false }
}

pub fn past(mut params: CertificateParams) -> CertificateParams {
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

pub fn root() -> Made {
    Made::alone(authority("root"))
}

/// Of version 1, as the manual has them made.
pub fn by_the_manual(issuer: &Made, params: CertificateParams) -> Made {
    Made::by(issuer, params).of_version_1(&issuer.key)
}

/// Servers that are their own authorities: the file holds what they show.
pub fn own() -> Vec<Case> {
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
pub fn of_version_1() -> Vec<Case> {
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
pub fn of_version_3() -> Vec<Case> {
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
