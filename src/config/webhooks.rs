//! `[webhooks]`: where others may be told.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use super::complaints::Complaints;
use super::{days, network, within};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    pub feed: bool,
    allow_networks: Vec<String>,
    ports: Vec<String>,
    disable_after_days: u64,
}

impl Webhooks {
    /// Whether an address is in a network that endpoints may be in although it is private.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allow_networks.iter().filter_map(|text| network(text)).any(|(net, bits)| within(address, net, bits))
    }

    /// Whether endpoints may be at this port wherever they are.
    pub fn lists(&self, port: u16) -> bool {
        self.ports.iter().any(|text| text.parse() == Ok(port))
    }

    pub fn disable_after(&self) -> Duration {
        days(self.disable_after_days)
    }

    pub(super) fn check(&self, wrong: &mut Complaints) {
        for bad in self.allow_networks.iter().filter(|text| network(text).is_none()) {
            let text = format!("holds \"{bad}\": write an address or a network such as 10.0.0.0/8");
            wrong.add("webhooks.allow_networks", text);
        }
        for bad in self.ports.iter().filter(|text| !text.parse::<u16>().is_ok_and(|port| port > 0)) {
            wrong.add("webhooks.ports", format!("holds \"{bad}\": write numbers from 1 to 65535, such as \"443\""));
        }
        wrong.range("webhooks.disable_after_days", self.disable_after_days, 1, 30);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;

    #[test]
    fn networks_and_ports_that_are_none_are_told() {
        let with = |name: &str, value: &str| load(None, &vec![(format!("REFERRAL_WEBHOOKS_{name}"), value.to_owned())]);
        let webhooks = with("ALLOW_NETWORKS", "10.0.0.0/8, ::1").unwrap().webhooks;
        let allows = |text: &str| webhooks.allows(text.parse().unwrap());
        assert!(allows("10.1.2.3") && allows("::1") && allows("::ffff:10.1.2.3"));
        assert!(!allows("11.0.0.1") && !allows("::2"));
        assert!(webhooks.lists(443) && !webhooks.lists(80));
        let webhooks = with("PORTS", "443,8443").unwrap().webhooks;
        assert!(webhooks.lists(443) && webhooks.lists(8443));
        for (name, value) in [("ALLOW_NETWORKS", "10.0.0.0/33"), ("PORTS", "0"), ("PORTS", "https"), ("PORTS", "65536")]
        {
            let told = format!("{:?}", with(name, value).err());
            assert!(told.contains(&format!("webhooks.{}", name.to_lowercase())) && told.contains("holds"), "{told}");
        }
    }
}
