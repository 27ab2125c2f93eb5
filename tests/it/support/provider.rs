//! A stand-in for an identity provider on a free port of this machine. It checks what a real one checks (client,
//! redirect URI, PKCE, single use of codes), signs with real keys, and lies where the test wants it to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, hmac, rand, rsa};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use referral::kernel::time::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const CLIENT: &str = "referral at the provider";
/// With what a form must encode, and what a header cannot hold without it.
pub const SECRET: &str = "s3cr3t of+the:client/é";

/// What becomes of a request instead of an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection stays open without a word.
    Silence,
    /// 500 with a body that would be good with 200.
    Broken,
    /// 200 with something else than JSON.
    Garbage,
    /// A good answer with two mebibytes of blanks behind it.
    Huge,
    /// 302, or 307, which would have the body sent again.
    Redirect(u16, String),
}

/// How ID tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    Rs256,
    Es256,
    EdDsa,
    /// `alg: none` and no signature.
    Unsigned,
    /// RS256 is claimed, the signature is empty.
    Stripped,
    /// HS256 with the bytes of the public RSA key.
    WithThePublicKey,
    /// HS256 with the client's secret.
    WithTheSecret,
}

/// The part that the provider plays. [`Provider::plays`] changes it; [`Provider::is_honest`] takes everything back.
pub struct Play {
    /// Claims about the person who is asked for.
    pub person: Value,
    /// Whether the ID token has all of them, or user information the rest.
    pub all_in_the_token: bool,
    pub signing: Signing,
    /// Which of the key sets signs, and which are published.
    pub keys: usize,
    pub published: Vec<usize>,
    /// Merged over what an honest one would say; null takes a member away.
    pub header: Value,
    pub claims: Value,
    pub metadata: Value,
    pub answer: Value,
    pub userinfo: Value,
    /// Merged over each published key; and what stands beside them.
    pub jwk: Value,
    pub more_keys: Vec<Value>,
    /// What the token endpoint answers instead of tokens: a status and the word of an error.
    pub refuses: Option<(u16, &'static str)>,
    /// The parameter `iss` at the redirect URI.
    pub iss: Option<String>,
    /// The next thing to go wrong, by path.
    pub faults: BTreeMap<&'static str, Fault>,
    /// Whether the secret must be in the body; else it must be in the header.
    pub secret_in_the_body: bool,
    /// Nothing for a public client.
    pub secret: Option<String>,
}

pub struct Provider {
    pub url: String,
    /// By which its tokens are dated.
    pub clock: Clock,
    inner: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

struct Inner {
    url: String,
    clock: Clock,
    play: Play,
    grants: HashMap<String, Grant>,
    /// By access token.
    people: HashMap<String, Value>,
    asked: Vec<String>,
    counter: u64,
}

struct Grant {
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
}

type Shared = Arc<Mutex<Inner>>;
type Answer = Response<Body>;

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Provider {
    /// Honest, and of the opinion that whoever asks is Olga.
    pub async fn start() -> Provider {
        Self::start_with(Clock::default()).await
    }

    /// With the clock of a node, so that both move together.
    pub async fn start_with(clock: Clock) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Arc::new(Mutex::new(Inner {
            url: url.clone(),
            clock: clock.clone(),
            play: honest(&url),
            grants: HashMap::new(),
            people: HashMap::new(),
            asked: Vec::new(),
            counter: 0,
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .layer(from_fn_with_state(inner.clone(), go_wrong))
            .with_state(inner.clone());
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Provider { url, clock, inner, serving }
    }

    pub fn plays(&self, change: impl FnOnce(&mut Play)) {
        change(&mut lock(&self.inner).play);
    }

    pub fn is_honest(&self) {
        lock(&self.inner).play = honest(&self.url);
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        lock(&self.inner).asked.iter().filter(|asked| *asked == path).count()
    }

    /// The settings that make it one of the service's providers.
    pub fn settings(&self, name: &str) -> Vec<(String, String)> {
        let name = format!("REFERRAL_PROVIDERS_{}", name.to_uppercase());
        vec![
            (format!("{name}_ISSUER"), self.url.clone()),
            (format!("{name}_CLIENT_ID"), CLIENT.to_owned()),
            (format!("{name}_CLIENT_SECRET"), SECRET.to_owned()),
        ]
    }
}

fn honest(url: &str) -> Play {
    Play {
        person: json!({"sub": "olga-7", "email": "olga@example.com", "email_verified": true, "name": "Olga"}),
        all_in_the_token: true,
        signing: Signing::Rs256,
        keys: 0,
        published: vec![0],
        header: json!({}),
        claims: json!({}),
        metadata: json!({}),
        answer: json!({}),
        userinfo: json!({}),
        jwk: json!({}),
        more_keys: Vec::new(),
        refuses: None,
        iss: Some(url.to_owned()),
        faults: BTreeMap::new(),
        secret_in_the_body: false,
        secret: Some(SECRET.to_owned()),
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().expect("no panic in here")
}

// -------------------------------------------------------------------------------------------------------- answers

async fn go_wrong(State(shared): State<Shared>, request: Request, next: Next) -> Answer {
    let path = request.uri().path().to_owned();
    let fault = {
        let mut inner = lock(&shared);
        inner.asked.push(path.clone());
        inner.play.faults.get(path.as_str()).cloned()
    };
    let Some(fault) = fault else { return next.run(request).await };
    match fault {
        Fault::Silence => std::future::pending().await,
        Fault::Broken => {
            let mut answer = next.run(request).await;
            *answer.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            answer
        }
        Fault::Garbage => said(200, "application/json", "<html>no</html>".to_owned()),
        Fault::Huge => {
            let good = to_bytes(next.run(request).await.into_body(), 1 << 20).await.expect("a body");
            let good = String::from_utf8(good.to_vec()).expect("a text");
            said(200, "application/json", good + &" ".repeat(2 << 20))
        }
        Fault::Redirect(status, to) => {
            let mut answer = said(status, "text/plain", String::new());
            answer.headers_mut().insert("location", to.parse().expect("a header"));
            answer
        }
    }
}

fn said(status: u16, kind: &str, body: String) -> Answer {
    Response::builder().status(status).header("content-type", kind).body(Body::from(body)).expect("an answer")
}

fn said_json(status: u16, body: &Value) -> Answer {
    said(status, "application/json", body.to_string())
}

fn refused(status: u16, word: &str) -> Answer {
    // Real ones quote what they were sent.
    said_json(status, &json!({"error": word, "error_description": format!("{word}: {SECRET}")}))
}

/// Members of `over` replace those of `under`; null takes them away.
fn merged(mut under: Value, over: &Value) -> Value {
    let members = under.as_object_mut().expect("an object");
    for (name, value) in over.as_object().expect("an object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    under
}

async fn metadata(State(shared): State<Shared>) -> Answer {
    let inner = lock(&shared);
    let url = &inner.url;
    let way = if inner.play.secret_in_the_body { "client_secret_post" } else { "client_secret_basic" };
    let honest = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize?tenant=7"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA", "HS256", "none", "XX999"],
        "token_endpoint_auth_methods_supported": [way, "tls_client_auth"],
        "authorization_response_iss_parameter_supported": true,
    });
    said_json(200, &merged(honest, &inner.play.metadata))
}

async fn keys(State(shared): State<Shared>) -> Answer {
    let inner = lock(&shared);
    let keys = inner.play.published.iter().flat_map(|set| KEYS[*set].published(*set));
    let keys = inner.play.more_keys.iter().cloned().chain(keys.map(|key| merged(key, &inner.play.jwk)));
    said_json(200, &json!({"keys": keys.collect::<Vec<Value>>()}))
}

fn pairs(text: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

async fn authorize(State(shared): State<Shared>, request: Request) -> Answer {
    let asked = pairs(request.uri().query().unwrap_or_default().as_bytes());
    let get = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let scopes = get("scope");
    let right = get("tenant") == "7"
        && get("response_type") == "code"
        && get("client_id") == CLIENT
        && get("code_challenge_method") == "S256"
        && scopes.split(' ').filter(|scope| *scope == "openid").count() == 1;
    if !right {
        return said(400, "text/plain", format!("not a request that a provider takes: {asked:?}"));
    }
    let mut inner = lock(&shared);
    inner.counter += 1;
    let code = format!("code-{}-{}", inner.counter, inner.url);
    let grant = Grant {
        redirect_uri: get("redirect_uri"),
        challenge: get("code_challenge"),
        nonce: asked.get("nonce").cloned(),
    };
    inner.grants.insert(code.clone(), grant);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("code", &code).append_pair("state", &get("state"));
    if let Some(iss) = &inner.play.iss {
        query.append_pair("iss", iss);
    }
    let mut answer = said(303, "text/plain", String::new());
    let to = format!("{}?{}", get("redirect_uri"), query.finish());
    answer.headers_mut().insert("location", to.parse().expect("a header"));
    answer
}

async fn token(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Answer {
    let asked = pairs(&body);
    let get = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let mut inner = lock(&shared);
    if let Some((status, word)) = inner.play.refuses {
        return refused(status, word);
    }
    let basic = headers.get("authorization").map(|value| basic(value.to_str().expect("ASCII")));
    let given = match (&inner.play.secret, inner.play.secret_in_the_body) {
        (Some(_), false) => basic,
        (Some(_), true) if basic.is_none() => {
            Some((get("client_id").to_owned(), asked.get("client_secret").cloned().unwrap_or_default()))
        }
        (None, _) if basic.is_none() && !asked.contains_key("client_secret") => {
            Some((get("client_id").to_owned(), String::new()))
        }
        _ => None,
    };
    if given != Some((CLIENT.to_owned(), inner.play.secret.clone().unwrap_or_default())) {
        return refused(401, "invalid_client");
    }
    // Taken out: a code is good once, right or wrong.
    let Some(grant) = inner.grants.remove(get("code")) else { return refused(400, "invalid_grant") };
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, get("code_verifier").as_bytes()));
    if get("grant_type") != "authorization_code"
        || grant.redirect_uri != get("redirect_uri")
        || grant.challenge != challenge
    {
        return refused(400, "invalid_grant");
    }
    inner.counter += 1;
    let access_token = format!("at-{}", inner.counter);
    let person = inner.play.person.clone();
    let id_token = id_token(&inner, &person, grant.nonce.as_deref());
    inner.people.insert(access_token.clone(), person);
    let honest = json!({
        "access_token": access_token, "token_type": "Bearer", "expires_in": 600, "id_token": id_token,
    });
    said_json(200, &merged(honest, &inner.play.answer))
}

/// Name and secret of RFC 6749, 2.3.1: each encoded as in a form, then both together.
fn basic(header: &str) -> (String, String) {
    let decoded = STANDARD.decode(header.strip_prefix("Basic ").expect("Basic")).expect("base64");
    let text = String::from_utf8(decoded).expect("a text");
    let (name, secret) = text.split_once(':').expect("a colon");
    let decode = |part: &str| pairs(format!("x={part}").as_bytes()).remove("x").expect("a value");
    (decode(name), decode(secret))
}

async fn userinfo(State(shared): State<Shared>, headers: HeaderMap) -> Answer {
    let inner = lock(&shared);
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(person) = token.and_then(|token| inner.people.get(token)) else { return refused(401, "invalid_token") };
    said_json(200, &merged(person.clone(), &inner.play.userinfo))
}

// ---------------------------------------------------------------------------------------------------- tokens, keys

fn id_token(inner: &Inner, person: &Value, nonce: Option<&str>) -> String {
    let (play, now) = (&inner.play, inner.clock.now().seconds());
    let keys = &KEYS[play.keys];
    let (alg, kid) = match play.signing {
        Signing::Rs256 | Signing::Stripped => ("RS256", "rsa"),
        Signing::Es256 => ("ES256", "ec"),
        Signing::EdDsa => ("EdDSA", "ed"),
        Signing::Unsigned => ("none", "rsa"),
        Signing::WithThePublicKey | Signing::WithTheSecret => ("HS256", "rsa"),
    };
    let header = json!({"alg": alg, "typ": "JWT", "kid": format!("{kid}-{}", play.keys)});
    let mut claims = json!({
        "iss": inner.url, "aud": CLIENT, "sub": person["sub"], "iat": now, "exp": now + 600, "nonce": nonce,
    });
    if play.all_in_the_token {
        claims = merged(claims, person);
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&merged(header, &play.header)), encode(&merged(claims, &play.claims)));
    let message = text.as_bytes();
    let random = rand::SystemRandom::new();
    let signature = match play.signing {
        Signing::Rs256 => {
            let mut signature = vec![0; keys.rsa.public_modulus_len()];
            keys.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
            signature
        }
        Signing::Es256 => keys.ec.sign(&random, message).expect("a signature").as_ref().to_vec(),
        Signing::EdDsa => keys.ed.sign(message).as_ref().to_vec(),
        Signing::Unsigned | Signing::Stripped => Vec::new(),
        Signing::WithThePublicKey => symmetric(keys.rsa.public_key().as_ref(), message),
        Signing::WithTheSecret => symmetric(SECRET.as_bytes(), message),
    };
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn symmetric(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

struct Keys {
    rsa: rsa::KeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

/// Today's, the next ones, and those of somebody else.
static KEYS: LazyLock<[Keys; 3]> = LazyLock::new(|| {
    std::array::from_fn(|_| Keys {
        rsa: rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key"),
        ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
        ed: Ed25519KeyPair::generate().expect("a key"),
    })
});

impl Keys {
    fn published(&self, set: usize) -> Vec<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // RFC 8017, A.1.1: a sequence of modulus and exponent, the latter 65537.
        let rsa = self.rsa.public_key().as_ref();
        let n = &rsa[rsa.len() - 5 - 256..rsa.len() - 5];
        // RFC 5480, 2.2: 4, x, y.
        let ec = self.ec.public_key().as_ref();
        let ed = self.ed.public_key().as_ref();
        vec![
            json!({"kty": "RSA", "use": "sig", "kid": format!("rsa-{set}"), "n": text(n), "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": format!("ec-{set}"), "alg": "ES256",
                   "x": text(&ec[1..33]), "y": text(&ec[33..])}),
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": format!("ed-{set}"), "x": text(ed)}),
            // What we do not know is passed over.
            json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": format!("pq-{set}"), "pub": "AAAA"}),
        ]
    }
}
