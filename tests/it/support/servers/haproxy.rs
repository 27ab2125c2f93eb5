//! HAProxy.

use testkit::Kept;

use super::{ATTEMPTS, ask, comes_up, free_port, give_up, program};

/// A load balancer before two nodes, which asks each of them all the time whether it is ready.
pub struct HaProxy {
    port: u16,
    _kept: Kept,
}

impl HaProxy {
    pub async fn before(nodes: [u16; 2]) -> HaProxy {
        let program = program(&["haproxy", "/usr/sbin/haproxy"], "HAProxy");
        let mut kept = Kept::new(None, "KILL", "").expect("a folder");
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let [one, other] = nodes;
            let settings = format!(
                "defaults\n mode http\n timeout connect 2s\n timeout client 60s\n timeout server 60s\n \
                 option redispatch\n option http-server-close\n retries 3\n default-server check inter 50ms fall 1 rise 1\n\
                 frontend all\n bind 127.0.0.1:{port}\n default_backend nodes\n\
                 backend nodes\n option httpchk\n \
                 http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host referral.test\n \
                 server one 127.0.0.1:{one}\n server other 127.0.0.1:{other}\n"
            );
            kept.write("haproxy.cfg", &settings).expect("the folder can be written");
            kept.start(&format!("exec '{}' -db -f haproxy.cfg", program.display())).expect("the keeper answers");
            let request = "GET /livez HTTP/1.1\r\nHost: referral.test\r\nConnection: close\r\n\r\n";
            if comes_up(&kept, async || ask(port, request, "200")).await && kept.alive() {
                return HaProxy { port, _kept: kept };
            }
        }
        give_up(&kept)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
