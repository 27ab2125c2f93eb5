//! Figures for Prometheus. Labels are routes, methods, statuses: never anything a person could be known by.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

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

pub struct Metrics {
    /// Open now.
    pub connections: Gauge,
    /// Whether all connections seem to come from a proxy that the settings do not name.
    pub unnamed_proxy: Gauge,
    closed: Family<ClosingLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    jobs: Family<JobLabels, Counter>,
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
        let (connections, unnamed_proxy, closed) = (Gauge::default(), Gauge::default(), Family::default());
        registry.register("http_connections", "Connections open", connections.clone());
        registry.register("http_connections_closed", "Connections closed to make room for others", closed.clone());
        registry.register(
            "unnamed_proxy",
            "Whether all connections come from one private address that limits.trusted_proxies does not name",
            unnamed_proxy.clone(),
        );
        Self { connections, unnamed_proxy, closed, requests, seconds, jobs, registry }
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
