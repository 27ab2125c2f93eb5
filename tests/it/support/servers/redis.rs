//! Redis.

use std::path::PathBuf;

use testkit::Kept;

use super::{ATTEMPTS, PAUSE, ask, comes_up, free_port, give_up, program};

pub struct Redis {
    kept: Kept,
    program: PathBuf,
    port: u16,
    /// Where it speaks TLS, if it does.
    tls_port: Option<u16>,
    /// Options beside those of each one.
    more: &'static str,
}

impl Redis {
    pub async fn start() -> Redis {
        let mut redis = Redis::new();
        redis.launch(free_port).await;
        redis
    }

    /// One that also speaks TLS, with this certificate and key.
    pub async fn start_with_tls(certificate: &str, key: &str) -> Redis {
        let mut redis = Redis::new();
        redis.kept.write("server.pem", certificate).expect("the folder can be written");
        redis.kept.write("server.key", key).expect("the folder can be written");
        redis.tls_port = Some(0);
        redis.launch(free_port).await;
        redis
    }

    fn new() -> Redis {
        let program = program(&["redis-server"], "server v=");
        Redis { kept: Kept::new(None, "KILL", "").expect("a folder"), program, port: 0, tls_port: None, more: "" }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub async fn keys(&self) -> Vec<String> {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is up");
        redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("an answer")
    }

    /// Where it speaks TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.tls_port.expect("it was started with a certificate"))
    }

    /// SIGKILL: connections break, new ones are refused, everything it knew is gone.
    pub fn kill(&mut self) {
        self.kept.kill().expect("it ends");
    }

    /// Starts it again, empty, on the same port.
    pub async fn restart(&mut self) {
        self.kept.kill().expect("it ends");
        let port = self.port;
        self.launch(|| port).await;
    }

    /// Starts it again with what `SAVE` has kept, and has it load for longer than anybody waits.
    pub async fn restart_loading(&mut self) {
        self.kept.kill().expect("it ends");
        self.more = " --key-load-delay 20000 --loading-process-events-interval-bytes 1024";
        let port = self.port;
        self.launch(|| port).await;
    }

    /// Has it load the rest at once.
    pub fn load_the_rest(&self) {
        assert!(ask(self.port, "CONFIG SET key-load-delay 0\r\n", "+OK"), "it answers while it loads");
    }

    /// A black hole: connections are still accepted (by the kernel), nothing is answered.
    pub fn pause(&self) {
        self.kept.signal("STOP");
    }

    pub fn resume(&self) {
        self.kept.signal("CONT");
    }

    async fn launch(&mut self, port: impl Fn() -> u16) {
        for _ in 0..ATTEMPTS {
            let (program, port) = (self.program.display(), port());
            self.tls_port = self.tls_port.map(|_| free_port());
            let tls = self.tls_port.map(|port| {
                let files = "--tls-cert-file server.pem --tls-key-file server.key";
                format!("--tls-port {port} {files} --tls-auth-clients no")
            });
            let options = format!("--port {port} --bind 127.0.0.1 --save '' --appendonly no --dir .");
            let (tls, more) = (tls.unwrap_or_default(), self.more);
            self.kept.start(&format!("exec '{program}' {options} {tls}{more}")).expect("the keeper answers");
            self.port = port;
            // Another Redis may hold that port: only the one with our process number is ours.
            let ours = format!("process_id:{}\r\n", self.kept.pid);
            if comes_up(&self.kept, async || ask(port, "INFO server\r\n", &ours)).await {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        give_up(&self.kept)
    }
}
