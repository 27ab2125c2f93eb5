//! Figures for Prometheus. Labels are routes, methods, statuses: never anything a person could be known by.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::kernel::mail::MailKind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The template, not the path.
    pub route: String,
    pub method: &'static str,
    pub status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JobLabels {
    pub kind: &'static str,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClosingLabels {
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MailLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// A word out of few, under one name or another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NextStep {
    way: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    from: &'static str,
}

pub struct Metrics {
    /// Open now.
    pub connections: Gauge,
    /// Whether all connections seem to come from a proxy that the settings do not name.
    pub unnamed_proxy: Gauge,
    closed: Family<ClosingLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    jobs: Family<JobLabels, Counter>,
    registrations: Family<NextStep, Counter>,
    referrals: Family<Status, Counter>,
    log_ins: Family<Outcome, Counter>,
    sign_ins: Family<Outcome, Counter>,
    verdicts: Family<Verdict, Counter>,
    mails: Family<MailLabels, Counter>,
    deliveries: Family<Outcome, Counter>,
    audit_head_seq: Gauge,
    /// The first 48 bits: as many as any reader of figures keeps exactly.
    audit_head_hash: Gauge,
    audit_alien: Counter,
    /// Apart, for they are counted at every request.
    tokens_remembered: Counter,
    tokens_checked: Counter,
    registry: Registry,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

fn histogram() -> Histogram {
    // 0.5 ms to 8 s
    Histogram::new(exponential_buckets(0.0005, 2.0, 15))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("referral");
        let requests = Family::default();
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let jobs = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit("http_request", "Time to answer", Unit::Seconds, seconds.clone());
        registry.register("jobs", "Jobs tried", jobs.clone());
        let (connections, unnamed_proxy) = (Gauge::default(), Gauge::default());
        let closed = Family::<ClosingLabels, Counter>::default();
        registry.register("http_connections", "Connections open", connections.clone());
        registry.register("http_connections_closed", "Connections closed to make room for others", closed.clone());
        registry.register(
            "unnamed_proxy",
            "Whether all connections come from one private address that limits.trusted_proxies does not name",
            unnamed_proxy.clone(),
        );
        let registrations = Family::<NextStep, Counter>::default();
        let referrals = Family::<Status, Counter>::default();
        let (log_ins, sign_ins) = (Family::<Outcome, Counter>::default(), Family::<Outcome, Counter>::default());
        let verdicts = Family::<Verdict, Counter>::default();
        let mails = Family::<MailLabels, Counter>::default();
        let tokens = Family::<Source, Counter>::default();
        let (audit_head_seq, audit_head_hash, audit_alien) = (Gauge::default(), Gauge::default(), Counter::default());
        registry.register("audit_head_seq", "Rows in the chain of the audit", audit_head_seq.clone());
        registry.register(
            "audit_head_hash",
            "The first 48 bits of the hash of the audit's last row, as a number",
            audit_head_hash.clone(),
        );
        registry.register(
            "audit_alien_rows",
            "Rows of the audit that this service has not written",
            audit_alien.clone(),
        );
        registry.register("registrations", "Accounts made", registrations.clone());
        registry.register("referrals", "Referrals made, by what they were at first", referrals.clone());
        registry.register("log_ins", "Passwords tried at log-in", log_ins.clone());
        registry.register("provider_sign_ins", "People back from another provider", sign_ins.clone());
        registry.register("email_verdicts", "Verdicts on addresses", verdicts.clone());
        registry.register("mails", "Mails tried to be sent", mails.clone());
        let deliveries = Family::<Outcome, Counter>::default();
        registry.register("webhook_attempts", "Attempts to deliver a webhook", deliveries.clone());
        registry.register("tokens_verified", "Good access tokens", tokens.clone());
        // From the start: what appears with its first case has no rate at it.
        for why in ["idle", "crowd"] {
            drop(closed.get_or_create(&ClosingLabels { why }));
        }
        for way in ["password", "provider"] {
            drop(registrations.get_or_create(&NextStep { way }));
        }
        for status in ["confirmed", "pending"] {
            drop(referrals.get_or_create(&Status { status }));
        }
        for outcome in ["ok", "bad_credentials", "rate_limited", "overloaded"] {
            drop(log_ins.get_or_create(&Outcome { outcome }));
        }
        for outcome in ["known", "new", "expired", "denied", "failed"] {
            drop(sign_ins.get_or_create(&Outcome { outcome }));
        }
        for outcome in ["delivered", "failed"] {
            drop(deliveries.get_or_create(&Outcome { outcome }));
        }
        for verdict in ["valid", "accept_all", "webmail", "unknown", "invalid", "disposable"] {
            drop(verdicts.get_or_create(&Verdict { verdict }));
        }
        for kind in MailKind::ALL {
            for outcome in ["sent", "again", "refused", "expired"] {
                drop(mails.get_or_create(&MailLabels { kind: kind.word(), outcome }));
            }
        }
        let tokens_remembered = tokens.get_or_create_owned(&Source { from: "memory" });
        let tokens_checked = tokens.get_or_create_owned(&Source { from: "signature" });
        Self {
            connections,
            unnamed_proxy,
            closed,
            requests,
            seconds,
            jobs,
            registrations,
            referrals,
            log_ins,
            sign_ins,
            verdicts,
            mails,
            deliveries,
            tokens_remembered,
            tokens_checked,
            audit_head_seq,
            audit_head_hash,
            audit_alien,
            registry,
        }
    }
}

impl Metrics {
    pub fn request(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let labels = RequestLabels { route: route.to_owned(), method, status };
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&RouteLabels { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// Connections were closed to make room: `idle` ones, or those of the client that had the most (`crowd`).
    pub fn connections_closed(&self, why: &'static str, count: usize) {
        self.closed.get_or_create(&ClosingLabels { why }).inc_by(count as u64);
    }

    pub fn job(&self, kind: &'static str, outcome: &'static str) {
        self.jobs.get_or_create(&JobLabels { kind, outcome }).inc();
    }

    /// An account was made: with a password, by another provider, or by a host's app.
    pub fn registered(&self, way: &'static str) {
        self.registrations.get_or_create(&NextStep { way }).inc();
    }

    pub fn referred(&self, status: &'static str) {
        self.referrals.get_or_create(&Status { status }).inc();
    }

    /// By `ok` or the word of what kept somebody out.
    pub fn log_in(&self, outcome: &'static str) {
        self.log_ins.get_or_create(&Outcome { outcome }).inc();
    }

    pub fn sign_in(&self, outcome: &'static str) {
        self.sign_ins.get_or_create(&Outcome { outcome }).inc();
    }

    pub fn verdict(&self, verdict: &'static str) {
        self.verdicts.get_or_create(&Verdict { verdict }).inc();
    }

    /// A mail was sent, is tried again, was refused by the mail server, or was too late.
    pub fn mail(&self, kind: &'static str, outcome: &'static str) {
        self.mails.get_or_create(&MailLabels { kind, outcome }).inc();
    }

    /// An attempt to deliver a webhook has got through, or not.
    pub fn delivery(&self, outcome: &'static str) {
        self.deliveries.get_or_create(&Outcome { outcome }).inc();
    }

    /// Where the audit's chain ends.
    pub fn audit_head(&self, seq: i64, hash: &[u8; 32]) {
        self.audit_head_seq.set(seq);
        let first = hash.iter().take(6).fold(0, |number: i64, byte| number << 8 | i64::from(*byte));
        self.audit_head_hash.set(first);
    }

    /// Rows were found that this service has not written.
    pub fn audit_alien(&self, rows: u64) {
        self.audit_alien.inc_by(rows);
    }

    /// A good token, whose signature was remembered or had to be checked.
    pub fn token(&self, remembered: bool) {
        if remembered {
            self.tokens_remembered.inc()
        } else {
            self.tokens_checked.inc()
        };
    }

    /// The text exposition, with the gauges given besides.
    pub fn text(&self, gauges: &[(&str, &str, i64)]) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for (name, help, value) in gauges {
            text.push_str(&format!(
                "# HELP referral_{name} {help}\n# TYPE referral_{name} gauge\nreferral_{name} {value}\n"
            ));
        }
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
