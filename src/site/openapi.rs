//! The document that describes the API: what no handler knows by itself.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    AuthorizationCode, ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Password, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContactBuilder, Header, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Response,
    ServerBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use crate::features::webhooks::api::document;
use crate::kernel::error::Refusal;
use crate::kernel::scope::{Scope, Scopes};
use crate::web::problem::Body9457;

const DESCRIPTION: &str = "People get a code, share it, friends register with it, and everybody sees who brought whom.

Log in with **Authorize** (user name or e-mail and password), or with `POST /api/v1/auth/token`.

Times are UTC (RFC 3339). Errors are `application/problem+json` (RFC 9457): `code` is for programs and stable, `detail` is \
for people. A slash at the end of a path changes nothing. Unknown fields of a body are ignored.

Bodies have at most 64 KiB (those of batches 1 MiB), addresses 8 KiB. What may be asked a minute is counted over all \
nodes, by client address (of IPv6, by network of 64 bits); beyond it there is 429, with `Retry-After` in seconds. Answers of limited operations tell \
what is left in `RateLimit` and `RateLimit-Policy`, which are drafts \
(draft-ietf-httpapi-ratelimit-headers-11) and change as these do. Numbers are defaults: behind each stands the setting \
by which the operator may change it. Words of enums stay, and later versions may add some.";

/// Each scope with what it allows.
fn scopes(set: Scopes) -> utoipa::openapi::security::Scopes {
    set.iter().map(|scope| (scope.word().to_owned(), allows(scope).to_owned())).collect()
}

/// What a scope allows, for developers.
fn allows(scope: Scope) -> &'static str {
    match scope {
        Scope::Openid => "Be told who it is (an ID token)",
        Scope::Email => "See the address in userinfo",
        Scope::Profile => "See the account",
        Scope::Account => "Change the account",
        Scope::CodesRead => "See one's codes, find the codes of others",
        Scope::CodesWrite => "Make and revoke codes",
        Scope::ReferralsRead => "See whom a referrer brought",
        Scope::Admin => "Run the program (managers only)",
        Scope::ProgramRead => "Read any referrer's list in full and find codes, as a program",
        Scope::ProgramWrite => {
            "Add, change and remove participants, tell of events, and read what is told of them, as a program"
        }
    }
}

/// Where an operation is limited, its answers say what is left.
pub fn tell_of_limits(document: &mut OpenApi) {
    for operation in document.paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
    }) {
        limited(operation);
        keyed(operation);
    }
}

/// Where a write may come again, it says how.
fn keyed(operation: &mut Operation) {
    let is_keyed = |answer: &RefOr<Response>| match answer {
        RefOr::T(answer) => answer.content.values().any(|content| match content {
            RefOr::T(content) => content.examples.contains_key(Refusal::IdempotencyKeyReused.word()),
            RefOr::Ref(_) => false,
        }),
        RefOr::Ref(_) => false,
    };
    let answers = &mut operation.responses.responses;
    if !answers.get("422").is_some_and(is_keyed) {
        return;
    }
    for (status, answer) in answers.iter_mut() {
        if let RefOr::T(answer) = answer
            && status.starts_with('2')
        {
            answer.headers.insert("Idempotency-Replayed".to_owned(), RefOr::T(text_header(REPLAYED)));
        }
    }
    let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(257));
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(KEY))
        .schema(Some(key))
        .example(Some("01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11".into()));
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter.build()));
}

const KEY: &str = "Makes it safe to send the request again: within 24 hours the same caller gets the first answer to the \
    same request with the same key, and nothing is done twice. 1 to 255 printable ASCII characters, in quotes or bare; a \
    UUID is best. What was refused was not done, and may be sent again with the same key. A draft: \
    draft-ietf-httpapi-idempotency-key-header-07";
const REPLAYED: &str = "`true` when this is the first answer to the request, given again";

fn limited(operation: &mut Operation) {
    let answers = &mut operation.responses.responses;
    if !answers.contains_key("429") {
        return;
    }
    for (_, answer) in answers.iter_mut() {
        if let RefOr::T(answer) = answer {
            let headers = [("RateLimit-Policy", LIMIT_POLICY), ("RateLimit", LIMIT)];
            answer.headers.extend(headers.map(|(name, told)| (name.to_owned(), RefOr::T(text_header(told)))));
        }
    }
}

const LIMIT_POLICY: &str = "The limits that the request was counted against: of `q` at once, and each comes back within \
    `w` seconds. A draft: draft-ietf-httpapi-ratelimit-headers-11";
const LIMIT: &str = "How many are left of each (`r`), and for how many seconds there will be no more (`t`); of a refused \
    request those that have refused it. A draft: draft-ietf-httpapi-ratelimit-headers-11";

fn text_header(told: &str) -> Header {
    let text = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().schema(Some(text)).description(Some(told)).build()
}

/// Everything but the paths.
pub fn base() -> OpenApi {
    let mut components = Components::new();
    let mut schemas = vec![(Body9457::name().into_owned(), Body9457::schema())];
    Body9457::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let password = Flow::Password(Password::with_refresh_url(
        "/api/v1/auth/token",
        utoipa::openapi::security::Scopes::default(),
        "/api/v1/auth/token",
    ));
    let mut password = OAuth2::new([password]);
    password.description = Some(
        "**The simplest**: your user name or address and your password. The token is good for all that you may do under `/api`.".into(),
    );
    components.add_security_scheme("password", SecurityScheme::OAuth2(password));
    let people = scopes(Scopes::PERSON);
    let code = AuthorizationCode::new("/oauth/authorize", "/oauth/token", people);
    let mut oauth = OAuth2::new([Flow::AuthorizationCode(code)]);
    oauth.description = Some(
        "**As other programs do it**: you log in on our page and allow what is asked for (code with PKCE). A token may do \
         no more than its scopes. Programs have a `client_id` of their own; that of the documentation page is `docs`."
            .into(),
    );
    components.add_security_scheme("oauth", SecurityScheme::OAuth2(oauth));
    let machine = Flow::ClientCredentials(ClientCredentials::new("/oauth/token", scopes(Scopes::MACHINE)));
    let mut machine = OAuth2::new([machine]);
    machine.description = Some(
        "**A program that acts for nobody**: the id and the secret of a client that a manager has registered with \
         `client_credentials`."
            .into(),
    );
    components.add_security_scheme("machine", SecurityScheme::OAuth2(machine));
    let client = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(
        "**A client itself**, where it asks for tokens or about them: its id as user name, its secret as password.",
    ));
    components.add_security_scheme("client", SecurityScheme::Http(client.build()));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("**A token that you have**: the `access_token` of any of the other ways."));
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    let tag = |name: &str, text: &str| TagBuilder::new().name(name).description(Some(text)).build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Referral")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .contact(Some(ContactBuilder::new().name(Some("The operator of this service")).build()))
                .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
                .build(),
        )
        .servers(Some([ServerBuilder::new().url("/").description(Some("Where this document came from")).build()]))
        .tags(Some([
            tag("Accounts", "Registration, log-in, one's own account"),
            tag("Codes", "What a referrer shares. At most one of an owner's codes is active."),
            tag("Links", "What people send to those whom they invite, and what came of it"),
            tag("Referrals", "Who brought whom"),
            tag("People", "Who takes part; for managers"),
            tag("Audit", "Who did what; for managers"),
            tag("Programs", "What a referral program is like; for managers, and for programs to read"),
            tag("Participants", "People whom a host's app has among its own accounts; for its back end"),
            tag("Rewards", "What people get for what happens at a host's; for its back end, and for managers"),
            tag("Webhooks", "What is told to others when it happens, and to whom; for managers"),
            tag("Clients", "Which programs there are; for managers"),
            tag("OAuth", "For programs that act for people who allow it, or for themselves"),
            tag("Operating", "For load balancers and other programs"),
        ]))
        .webhooks(Some(document::webhooks()))
        .components(Some(components))
        .build()
}
