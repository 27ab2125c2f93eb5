//! The way to webhook endpoints: addresses that others have named, so each is looked at before we connect to it. A name
//! is resolved by us, all that it stands for has to pass, and the connection goes to what has passed. Redirects are not
//! followed, no proxy is asked, and nothing of an answer is kept but its status.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use url::{Host, Url};

use super::addresses::{is_public, is_this_machine};
use crate::config::{Config, Webhooks};
use crate::words;

/// For all of an attempt: connecting, sending, and the answer.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// For a name to be resolved when somebody waits for the answer.
const LOOKUP: Duration = Duration::from_secs(5);
/// Read of an answer's body and dropped, so that the connection can be used again.
const MOST_BYTES: usize = 64 * 1024;
/// Connections without work are kept for so long, so many to a host.
const IDLE: Duration = Duration::from_secs(30);
const MOST_IDLE: usize = 8;
/// Ways that are kept, one for each port.
const MOST_WAYS: usize = 32;

words! {
    /// Why an attempt has got no answer.
    pub enum Failure as "AttemptFailure" {
        /// The address may not be connected to.
        Blocked = "blocked",
        /// There is no such host.
        Unresolved = "unresolved",
        /// Nobody takes the connection, or it is not one by TLS that can be trusted.
        Unreachable = "unreachable",
        TimedOut = "timed_out",
        /// What was answered is not HTTP, or broke off.
        Broken = "broken",
        /// The service itself cannot sign: the master key does not open the endpoint's secret.
        Unsigned = "unsigned",
    }
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// With `Retry-After`, if there was one.
    Answered(u16, Option<String>),
    Failed(Failure),
}

/// Gives the addresses of a name.
pub type Lookup = fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;

pub struct Receivers {
    rules: Rules,
    lookup: Lookup,
    /// By whether they speak TLS, and the port.
    ways: Mutex<HashMap<(bool, u16), reqwest::Client>>,
}

/// What may be connected to.
#[derive(Clone)]
struct Rules {
    settings: Webhooks,
    /// Ports that we listen at.
    ours: Arc<RwLock<Vec<u16>>>,
}

impl Rules {
    fn let_pass(&self, address: IpAddr, (tls, port): (bool, u16)) -> bool {
        let address = address.to_canonical();
        let is_allowed = self.settings.allows(address);
        (is_allowed || is_public(address) && self.settings.lists(port))
            && (tls || is_allowed && address.is_loopback())
            && !self.are_ours(address, port)
    }

    fn are_ours(&self, address: IpAddr, port: u16) -> bool {
        let ours = self.ours.read().unwrap_or_else(PoisonError::into_inner);
        ours.contains(&port) && is_this_machine(address)
    }
}

impl Receivers {
    pub fn open(config: &Config) -> Self {
        let http = &config.http;
        let port = |text: &String| text.parse::<SocketAddr>().ok().map(|address| address.port());
        let ours = [&http.listen, &http.metrics_listen].into_iter().filter_map(port).filter(|port| *port > 0).collect();
        Self::resolving_by(&config.webhooks, ours, look_up)
    }

    /// As [`open`](Self::open), with other names than the system's.
    pub fn resolving_by(settings: &Webhooks, ours: Vec<u16>, lookup: Lookup) -> Self {
        let rules = Rules { settings: settings.clone(), ours: Arc::new(RwLock::new(ours)) };
        Self { rules, lookup, ways: Mutex::default() }
    }

    /// Notes a port that we listen at.
    pub fn are_not(&self, port: u16) {
        self.rules.ours.write().unwrap_or_else(PoisonError::into_inner).push(port);
    }

    /// Whether an address may be sent to, as far as one can tell now.
    pub async fn may_be(&self, url: &Url) -> bool {
        let Some(way) = way(url) else { return false };
        let addresses = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            Some(Host::Domain(name)) => match tokio::time::timeout(LOOKUP, (self.lookup)(name.to_owned())).await {
                Ok(Ok(addresses)) => addresses,
                _ => return false,
            },
            None => return false,
        };
        !addresses.is_empty() && addresses.into_iter().all(|address| self.rules.let_pass(address, way))
    }

    /// Makes one attempt.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: String) -> Receipt {
        let Some(way) = way(url) else { return Receipt::Failed(Failure::Blocked) };
        // What is no name is not resolved.
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        if literal.is_some_and(|address| !self.rules.let_pass(address, way)) {
            return Receipt::Failed(Failure::Blocked);
        }
        let Ok(client) = self.way(way) else { return Receipt::Failed(Failure::Broken) };
        let request = client.post(url.clone()).headers(headers).header(CONTENT_TYPE, "application/json").body(body);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Receipt::Failed(failure(&error)),
        };
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut read = 0;
        while let Ok(Some(part)) = response.chunk().await {
            read += part.len();
            if read > MOST_BYTES {
                break;
            }
        }
        Receipt::Answered(response.status().as_u16(), after)
    }

    fn way(&self, way: (bool, u16)) -> Result<reqwest::Client, reqwest::Error> {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = ways.get(&way) {
            return Ok(client.clone());
        }
        if ways.len() >= MOST_WAYS {
            ways.clear();
        }
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(Resolver { rules: self.rules.clone(), lookup: self.lookup, way }))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .timeout(PATIENCE)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .user_agent(concat!("referral/", env!("CARGO_PKG_VERSION"), " (webhooks)"))
            .build()?;
        ways.insert(way, client.clone());
        Ok(client)
    }
}

/// Whether an address speaks TLS, and its port; nothing for one that speaks neither HTTP nor HTTPS.
fn way(url: &Url) -> Option<(bool, u16)> {
    let tls = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    Some((tls, url.port_or_known_default()?))
}

fn look_up(name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
    Box::pin(async move {
        let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    })
}

/// Resolves names for connections by one way, and gives what may be connected to.
struct Resolver {
    rules: Rules,
    lookup: Lookup,
    way: (bool, u16),
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, found, way) = (self.rules.clone(), (self.lookup)(name.as_str().to_owned()), self.way);
        Box::pin(async move {
            let found = found.await.map_err(|_| Refused(Failure::Unresolved))?;
            if found.is_empty() {
                return Err(Refused(Failure::Unresolved).into());
            }
            if !found.iter().all(|address| rules.let_pass(*address, way)) {
                return Err(Refused(Failure::Blocked).into());
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// Why a name is not connected to.
#[derive(Debug)]
struct Refused(Failure);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.word())
    }
}

impl StdError for Refused {}

fn failure(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Refused(failure)) = error.downcast_ref() {
            return *failure;
        }
        cause = error.source();
    }
    if error.is_timeout() {
        Failure::TimedOut
    } else if error.is_connect() {
        Failure::Unreachable
    } else {
        Failure::Broken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::load;

    fn settings(networks: &str) -> Webhooks {
        load(None, &vec![("REFERRAL_WEBHOOKS_ALLOW_NETWORKS".to_owned(), networks.to_owned())]).unwrap().webhooks
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    async fn post(receivers: &Receivers, text: &str) -> Receipt {
        receivers.post(&url(text), HeaderMap::new(), "{}".to_owned()).await
    }

    const BLOCKED: Receipt = Receipt::Failed(Failure::Blocked);

    #[tokio::test]
    async fn an_address_in_any_notation_is_judged_by_what_it_is() {
        let receivers = Receivers::resolving_by(&settings(""), Vec::new(), |_| panic!("these are no names"));
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "0",
            "10.0.0.1",
            "0xa.0.0.1",
            "192.168.0.1",
            "3232235521",
            "169.254.169.254",
            "0xA9FEA9FE",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::169.254.169.254]",
            "[fd00::1]",
            "[fe80::1]",
            "[2002:7f00:1::]",
            "\u{ff11}27.0.0.1",
        ] {
            let text = format!("https://{host}/hook");
            assert!(!receivers.may_be(&url(&text)).await, "{host}");
            assert_eq!(post(&receivers, &text).await, BLOCKED, "{host}");
        }
        for text in ["https://8.8.8.8/", "https://[2606:4700::1111]/", "https://0x08080808/"] {
            assert!(receivers.may_be(&url(text)).await, "{text}");
        }
        for text in ["http://8.8.8.8/", "https://8.8.8.8:8443/", "ftp://8.8.8.8/", "https://8.8.8.8:22/"] {
            assert!(!receivers.may_be(&url(text)).await, "{text}");
            assert_eq!(post(&receivers, text).await, BLOCKED, "{text}");
        }
    }

    #[tokio::test]
    async fn what_a_network_is_allowed_for_is_let_pass_but_for_our_own_listeners() {
        let receivers = Receivers::resolving_by(&settings("127.0.0.0/8,10.0.0.0/8"), vec![8000], |_| panic!());
        receivers.are_not(9000);
        for text in ["http://127.0.0.1:3000/", "https://127.0.0.2:8443/", "https://10.1.2.3:9000/"] {
            assert!(receivers.may_be(&url(text)).await, "{text}");
        }
        // Without TLS on this machine alone.
        for text in ["http://10.1.2.3/", "http://127.0.0.1:8000/", "https://127.0.0.2:9000/", "https://192.168.0.1/"] {
            assert!(!receivers.may_be(&url(text)).await, "{text}");
            assert_eq!(post(&receivers, text).await, BLOCKED, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_again_at_each_connection_by_all_that_it_stands_for() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn rebinding(name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
            Box::pin(async move {
                let first = ASKED.fetch_add(1, Ordering::SeqCst) == 0;
                let public = IpAddr::from([8, 8, 8, 8]);
                Ok(match name.as_str() {
                    "rebinds.example" if first => vec![public],
                    "rebinds.example" => vec![IpAddr::from([127, 0, 0, 1])],
                    "both.example" => vec![public, IpAddr::from([10, 0, 0, 1])],
                    "nobody.example" => Vec::new(),
                    _ => return Err(std::io::Error::other("no such host")),
                })
            })
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receivers = Receivers::resolving_by(&settings(""), Vec::new(), rebinding);
        assert!(receivers.may_be(&url("https://rebinds.example/")).await);
        assert_eq!(post(&receivers, "https://rebinds.example/").await, BLOCKED);
        assert!(ASKED.load(Ordering::SeqCst) >= 2);
        for (name, why) in [
            ("both.example", Failure::Blocked),
            ("nobody.example", Failure::Unresolved),
            ("other.example", Failure::Unresolved),
        ] {
            let text = format!("https://{name}/");
            assert!(!receivers.may_be(&url(&text)).await, "{name}");
            assert_eq!(post(&receivers, &text).await, Receipt::Failed(why), "{name}");
        }
        // The port that a name is asked for is ours to say, and nobody has come by.
        let port = listener.local_addr().unwrap().port();
        assert_eq!(post(&receivers, &format!("http://rebinds.example:{port}/")).await, BLOCKED);
        let came = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(came.is_err());
    }

    /// What is answered is read up to a point, and its status is all that is known of it.
    #[tokio::test]
    async fn a_redirect_is_not_followed_and_a_long_answer_is_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let mut heads = Vec::new();
            for answer in ["302 Found\r\nlocation: http://169.254.169.254/latest\r\nretry-after: 7", "200 OK"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                heads.push(String::from_utf8_lossy(&head[..length]).into_owned());
                let head = format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 10000000\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            }
            heads
        });
        let receivers = Receivers::resolving_by(&settings("127.0.0.0/8"), Vec::new(), |_| panic!());
        let target = format!("http://127.0.0.1:{port}/hook");
        assert_eq!(post(&receivers, &target).await, Receipt::Answered(302, Some("7".to_owned())));
        assert_eq!(post(&receivers, &target).await, Receipt::Answered(200, None));
        let heads = served.await.unwrap();
        assert!(heads.iter().all(|head| head.starts_with("POST /hook HTTP/1.1\r\n")), "{heads:?}");
        assert_eq!(post(&receivers, &target).await, Receipt::Failed(Failure::Unreachable));
    }
}
