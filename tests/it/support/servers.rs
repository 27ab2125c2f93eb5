//! Real servers for the tests: PostgreSQL, Redis and ChromeDriver, each in a folder of its own, on a port of
//! its own, and gone with the test process however that ends.
//!
//! The last part is the keeper's work: a small shell script, one for each server, which holds the read end of
//! a pipe whose write end is this process's alone. Only the kernel closes that end without fail (`kill -9`,
//! libtest's exit without destructors, a crash), and then the keeper ends the server and removes its folder.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, thread};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

/// Between two looks at a server that is starting or ending.
const PAUSE: Duration = Duration::from_millis(10);
/// A minute of such looks: a busy machine is slow, a minute of silence is a fault.
const LOOKS: usize = 6000;
/// A port can be taken, and a dead PostgreSQL's children can outlive it for a moment: start again this often.
const ATTEMPTS: usize = 50;

// ---------------------------------------------------------------------------------------------- PostgreSQL

#[derive(Clone, Copy, Default)]
pub struct PostgresOptions {
    /// Wait for the disk, as a real server does: for tests that kill it.
    pub fsync: bool,
    /// Accept connections over TLS only, as `localhost`, with a certificate signed by [`Postgres::ca_pem_path`].
    pub tls: bool,
}

pub struct Postgres {
    keeper: Keeper,
    programs: PathBuf, // the folder they are in
    options: PostgresOptions,
    port: u16,
    databases: AtomicU32,
    /// The port of the one that it follows.
    primary: Option<u16>,
}

impl Postgres {
    /// The one most tests share, each with a database of its own; started by the first who asks.
    pub async fn shared() -> &'static Postgres {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(|| Postgres::start(PostgresOptions::default())).await
    }

    /// An own one, for tests that kill it or need it set up otherwise; ends when dropped.
    pub async fn start(options: PostgresOptions) -> Postgres {
        let server = program(&["postgres"], "postgres (PostgreSQL)");
        let root = if options.fsync { "" } else { throwaway_root() };
        // Immediate shutdown: it frees the shared memory that a plain kill would leave behind.
        let keeper = Keeper::new(postgres_user(), "QUIT", root);
        if options.tls {
            keeper.write_certificates();
        }
        // A plain connection over TCP is refused when the server is for TLS; ours goes through the socket.
        let host = if options.tls { "hostssl" } else { "host" };
        let replication = "host replication all 127.0.0.1/32 trust";
        keeper.write("hba", &format!("local all all trust\n{host} all all 127.0.0.1/32 trust\n{replication}\n"));

        let programs = server.parent().expect("a program is in a folder").to_owned();
        let mut postgres = Postgres { keeper, programs, options, port: 0, databases: AtomicU32::new(0), primary: None };
        postgres.launch(free_port).await;
        postgres
    }

    /// A copy of another that follows it, until it is promoted.
    pub async fn standby_of(primary: &Postgres) -> Postgres {
        let keeper = Keeper::new(postgres_user(), "QUIT", throwaway_root());
        keeper.write("hba", "local all all trust\nhost all all 127.0.0.1/32 trust\n");
        let (programs, options) = (primary.programs.clone(), primary.options);
        let primary = Some(primary.port);
        let mut postgres = Postgres { keeper, programs, options, port: 0, databases: AtomicU32::new(0), primary };
        postgres.launch(free_port).await;
        postgres
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Statements of whoever looks after the server.
    pub async fn sql(&self, sql: &str) {
        let client = connect(&self.keeper.folder, self.port).await.expect("PostgreSQL is up");
        // Each by itself: some may not be part of a transaction.
        for statement in sql.split("; ") {
            client.simple_query(statement).await.expect("it is done");
        }
    }

    /// The one value that a statement answers.
    pub async fn value(&self, sql: &str) -> String {
        self.in_database("postgres", sql).await
    }

    /// The one value that a statement answers in a database.
    pub async fn in_database(&self, name: &str, sql: &str) -> String {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.keeper.folder).port(self.port).user("postgres").dbname(name);
        let (client, connection) = config.connect(NoTls).await.expect("PostgreSQL is up");
        tokio::spawn(connection);
        let rows = client.simple_query(sql).await.expect("an answer");
        let value = rows.iter().find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        value.expect("a row")
    }

    /// Creates an empty database and returns its address.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        let client = connect(&self.keeper.folder, self.port).await.expect("PostgreSQL is up");
        // Faster than writing 7 MB to the log, the default since PostgreSQL 15; older ones only copy, and do
        // not know the word.
        let create = format!("create database {name}");
        if client.batch_execute(&format!("{create} strategy file_copy")).await.is_err() {
            client.batch_execute(&create).await.expect("a new name");
        }
        let host = if self.options.tls { "localhost" } else { "127.0.0.1" };
        format!("postgres://postgres@{host}:{}/{name}", self.port)
    }

    /// SIGKILL; its children notice and end by themselves.
    pub fn kill(&mut self) {
        self.keeper.kill();
    }

    /// As if the machine had stopped: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.keeper.signal_all("STOP");
    }

    pub fn resume(&self) {
        self.keeper.signal_all("CONT");
    }

    /// Starts it again on the same data and port.
    pub async fn restart(&mut self) {
        self.keeper.kill();
        let port = self.port;
        self.launch(|| port).await;
    }

    /// The certificate authority to trust; only there with [`PostgresOptions::tls`].
    pub fn ca_pem_path(&self) -> PathBuf {
        self.keeper.folder.join("ca.pem")
    }

    /// From now on shows these certificates, the server's own first; only with [`PostgresOptions::tls`].
    pub async fn show(&self, certificates: &str, key: &str) {
        self.keeper.write("server.pem", certificates);
        self.keeper.write("server.key", key);
        let read_at = async || self.value("select pg_conf_load_time()").await;
        let before = read_at().await;
        self.sql("select pg_reload_conf()").await;
        for _ in 0..LOOKS {
            // Who connects after the server has read its settings again is shown the new ones.
            if read_at().await != before {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.keeper.give_up()
    }

    /// Whether PostgreSQL's own client connects to this address, and what it says.
    pub fn psql(&self, url: &str) -> (bool, String) {
        let mut psql = Command::new(self.programs.join("psql"));
        // Somebody may have authorities in their home.
        psql.args(["-X", "-c", "select 1", url]).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
        let output = psql.output().expect("psql is beside the server: run `cargo xtask test`, which installs it");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    async fn launch(&mut self, port: impl Fn() -> u16) {
        for _ in 0..ATTEMPTS {
            self.port = port();
            if self.run().await {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.keeper.give_up()
    }

    async fn run(&mut self) -> bool {
        let (folder, port) = (self.keeper.folder.clone(), self.port);
        // Hundreds of databases live for a second each: vacuuming them would only take the tests' processor.
        let mut settings = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='{}' -c hba_file='{}' \
             -c max_connections=400 -c shared_buffers=64MB -c max_wal_size=128MB -c autovacuum=off \
             -c dynamic_shared_memory_type=mmap",
            folder.display(),
            folder.join("hba").display(),
        );
        if !self.options.fsync {
            settings += " -c fsync=off -c full_page_writes=off";
        }
        if self.options.tls {
            let file = |name| folder.join(name).display().to_string();
            settings += &format!(
                " -c ssl=on -c ssl_ca_file='{}' -c ssl_cert_file='{}' -c ssl_key_file='{}'",
                file("ca.pem"),
                file("server.pem"),
                file("server.key"),
            );
        }
        let make = match self.primary {
            None => "initdb' -D data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync".to_owned(),
            Some(port) => format!(
                "pg_basebackup' -D data -h 127.0.0.1 -p {port} -U postgres --write-recovery-conf --checkpoint=fast \
                 --no-sync"
            ),
        };
        let programs = self.programs.display();
        self.keeper.start(&format!(
            "{{ [ -s data/PG_VERSION ] || '{programs}/{make}; }} && exec '{programs}/postgres' -D data {settings}"
        ));
        // Through the socket in our own folder: whatever else may listen on that port, this is ours.
        self.keeper.answers(async || connect(&folder, port).await.is_ok()).await
    }
}

/// A real pooler between the service and a PostgreSQL.
pub struct PgBouncer {
    port: u16,
    _keeper: Keeper,
}

impl PgBouncer {
    /// With few connections of its own, so that its clients are handed each other's.
    pub async fn before(server: &Postgres, mode: &str) -> PgBouncer {
        // Packages put it where only root looks.
        let program = program(&["pgbouncer", "/usr/sbin/pgbouncer"], "PgBouncer");
        // It refuses to run as root.
        let mut keeper = Keeper::new(postgres_user(), "KILL", "");
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let settings = format!(
                "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
                 default_pool_size = {}\nmax_client_conn = 500\n",
                server.port,
                if mode == "session" { 50 } else { 3 },
            );
            keeper.write("pgbouncer.ini", &settings);
            keeper.start(&format!("exec '{}' pgbouncer.ini", program.display()));
            let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
            let answers = async || match tokio_postgres::connect(&url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection); // ends with the client
                    client.simple_query("select 1").await.is_ok()
                }
                Err(_) => false,
            };
            if keeper.answers(answers).await && keeper.alive() {
                return PgBouncer { port, _keeper: keeper };
            }
        }
        keeper.give_up()
    }

    /// The address of a database of the server's, through the pooler.
    pub fn url(&self, direct: &str) -> String {
        let (_, database) = direct.rsplit_once('/').expect("a database");
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

async fn connect(folder: &Path, port: u16) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(folder).port(port).user("postgres").dbname("postgres");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection); // ends with the client
    Ok(client)
}

/// Root may not run PostgreSQL; its packages come with a user who may.
pub fn postgres_user() -> Option<(u32, u32)> {
    let root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let id = |which| {
        let output = Command::new("id").args([which, "postgres"]).output().expect("`id` runs");
        let text = String::from_utf8_lossy(&output.stdout).trim().parse();
        text.expect("there is no user `postgres`: run `cargo xtask test`, which installs PostgreSQL")
    };
    root.then(|| (id("-u"), id("-g")))
}

/// Data that nobody would miss is kept in memory where there is plenty of it (a test's database takes 8 MB):
/// making the 300 files of a new database was measured to take 10 ms there and up to 200 ms on a disk.
fn throwaway_root() -> &'static str {
    const ROOM_KB: u64 = 4 << 20;
    let number = |line: &str, column| line.split_whitespace().nth(column)?.parse::<u64>().ok();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find(|line| line.starts_with("MemAvailable")).and_then(|line| number(line, 1));
    let disk = Command::new("df").args(["-Pk", "/dev/shm"]).stderr(Stdio::null()).output();
    let disk = disk.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let disk = disk.lines().nth(1).and_then(|line| number(line, 3));
    let plenty = memory.is_some_and(|kb| kb > 2 * ROOM_KB) && disk.is_some_and(|kb| kb > ROOM_KB);
    if plenty { "/dev/shm" } else { "" }
}

// --------------------------------------------------------------------------------------------------- Redis

pub struct Redis {
    keeper: Keeper,
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
        redis.keeper.write("server.pem", certificate);
        redis.keeper.write("server.key", key);
        redis.tls_port = Some(0);
        redis.launch(free_port).await;
        redis
    }

    fn new() -> Redis {
        let program = program(&["redis-server"], "server v=");
        Redis { keeper: Keeper::new(None, "KILL", ""), program, port: 0, tls_port: None, more: "" }
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
        self.keeper.kill();
    }

    /// Starts it again, empty, on the same port.
    pub async fn restart(&mut self) {
        self.keeper.kill();
        let port = self.port;
        self.launch(|| port).await;
    }

    /// Starts it again with what `SAVE` has kept, and has it load for longer than anybody waits.
    pub async fn restart_loading(&mut self) {
        self.keeper.kill();
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
        self.keeper.signal("STOP");
    }

    pub fn resume(&self) {
        self.keeper.signal("CONT");
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
            self.keeper.start(&format!("exec '{program}' {options} {tls}{more}"));
            self.port = port;
            // Another Redis may hold that port: only the one with our process number is ours.
            let ours = format!("process_id:{}\r\n", self.keeper.pid);
            if self.keeper.answers(async || ask(port, "INFO server\r\n", &ours)).await {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.keeper.give_up()
    }
}

// -------------------------------------------------------------------------------------------- ChromeDriver

pub struct ChromeDriver {
    port: u16,
    /// Held for its end: it takes the browsers along, which ChromeDriver itself would leave running.
    _keeper: Keeper,
}

impl ChromeDriver {
    pub async fn start() -> ChromeDriver {
        program(&["chromium", "chromium-browser", "google-chrome"], "Chrom");
        let program = program(&["chromedriver"], "ChromeDriver");
        let mut keeper = Keeper::new(None, "KILL", "");
        keeper.start(&format!("exec '{}' --port=0", program.display()));
        // It finds a free port by itself, and tells.
        let log = keeper.folder.join("log");
        let port = || {
            let log = fs::read_to_string(&log).ok()?;
            let (_, rest) = log.split_once("started successfully on port ")?;
            rest.split_once('.')?.0.parse().ok()
        };
        let request = "GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        if !keeper.answers(async || port().is_some_and(|port| ask(port, request, "\"ready\":true"))).await {
            keeper.give_up()
        }
        ChromeDriver { port: port().expect("it has answered there"), _keeper: keeper }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

// -------------------------------------------------------------------------------------------------- keeper

/// `$1` is the signal that ends the server, `$2` where to make its folder when not in TMPDIR. Each line on stdin
/// is a command that starts the server; its process number is the answer.
///
/// The signal goes to the server only and is repeated, since a PostgreSQL still being set up ignores it, while
/// the programs that set it up would leave shared memory behind. What the server started is found by the HOME
/// it was given and by the process group: ChromeDriver's browsers keep one or the other.
///
/// The kernel itself sends HUP to a process group that loses its parent while one of it is stopped (a paused
/// Redis), so HUP must not be the keeper's end.
const KEEPER: &str = r#"
trap '' HUP
umask 077
folder=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/referral-test.XXXXXX") && cd "$folder" || exit 1
echo "$folder"
pid=
while read -r command; do
    [ -z "$pid" ] || { kill -s KILL "$pid"; wait "$pid"; }
    env HOME="$folder" TMPDIR="$folder" sh -c "$command" </dev/null >>log 2>&1 &
    pid=$!
    echo "$pid"
done

tries=0
while grep -qs '^State:.[^Z]' "/proc/$pid/status" && [ "$tries" -lt 500 ]; do
    kill -s "$1" "$pid"
    sleep 0.02
    tries=$((tries + 1))
done
for process in "$pid" $(grep -ls "HOME=$folder" /proc/[0-9]*/environ | cut -d / -f 3); do
    kill -s KILL "$process"
done
wait
# A PostgreSQL that was killed has left this file, which names its shared memory, and the memory.
[ ! -s data/postmaster.pid ] || ipcrm -m "$(sed -n '7s/.* //p' data/postmaster.pid)"
cd /
until rm -rf "$folder" || [ "$tries" -gt 600 ]; do sleep 0.02; tries=$((tries + 1)); done
kill -s KILL 0
"#;

struct Keeper {
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    owner: Option<(u32, u32)>,
    folder: PathBuf,
    pid: u32,
}

impl Keeper {
    fn new(owner: Option<(u32, u32)>, signal: &str, root: &str) -> Keeper {
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper", signal, root]);
        // No output of its own: a reader of the tests' output would wait for it to end as well. A process
        // group of its own: Ctrl-C at the terminal is for the tests, the keeper has work to do after it.
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        if let Some((user, group)) = owner {
            shell.uid(user).gid(group);
        }
        let mut shell = shell.spawn().expect("`sh` runs");
        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("it is piped"));
        let mut keeper = Keeper { shell, commands, answers, owner, folder: PathBuf::new(), pid: 0 };
        keeper.folder = keeper.answer().into();
        keeper
    }

    /// Starts the server; one that ran before must have ended.
    fn start(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("closed on drop only");
        commands.write_all(format!("{command}\n").as_bytes()).expect("the keeper reads");
        self.pid = self.answer().parse().expect("a process number");
    }

    /// The keeper answers within milliseconds: not worth an asynchronous pipe.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the keeper writes text");
        assert!(line.ends_with('\n'), "the keeper of a test server ended: can folders be made in TMPDIR?");
        line.trim_end().to_owned()
    }

    /// Waits until the server answers; false when it ended instead.
    async fn answers(&self, answers: impl AsyncFn() -> bool) -> bool {
        for _ in 0..LOOKS {
            if answers().await {
                return true;
            }
            if !self.alive() {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.give_up()
    }

    /// One that has ended stays listed as a zombie until the keeper waits for it, so its number is not reused.
    fn alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill -s {name} {}", self.pid);
        Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().expect("`sh` runs");
    }

    /// As [`signal`](Self::signal), to its children as well.
    fn signal_all(&self, name: &str) {
        let pid = self.pid;
        let kill = format!("kill -s {name} {pid} $(cat /proc/{pid}/task/{pid}/children)");
        Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().expect("`sh` runs");
    }

    fn kill(&self) {
        for _ in 0..LOOKS {
            if !self.alive() {
                return;
            }
            self.signal("KILL");
            thread::sleep(Duration::from_millis(1));
        }
        self.give_up()
    }

    fn give_up(&self) -> ! {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        panic!(
            "a test server does not do as told; its log ends:\n{}",
            lines[lines.len().saturating_sub(20)..].join("\n")
        )
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("the folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group)).expect("root may give files away");
        }
    }

    fn write_certificates(&self) {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "referral test authority");
        let new_key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, new_key()).expect("an authority");
        let key = new_key();
        let server = CertificateParams::new(["localhost".to_owned()]).expect("a host name");
        let server = server.signed_by(&key, &authority).expect("a certificate");
        self.write("ca.pem", &authority.pem());
        self.write("server.pem", &server.pem());
        self.write("server.key", &key.serialize_pem());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.shell.wait();
    }
}

// ------------------------------------------------------------------------------------------------- helpers

/// The first of the named programs that says what it should when asked for its version.
/// Packages keep PostgreSQL's servers out of PATH, and what is in PATH under these names may be something else.
fn program(names: &[&str], says: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.push(PathBuf::new()); // makes a bare name, which is looked up in PATH
    folders.sort(); // the empty one first, the newest last
    let works = |path: &PathBuf| {
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(says))
    };
    let mut paths = names.iter().flat_map(|name| folders.iter().rev().map(move |folder| folder.join(name)));
    let Some(path) = paths.find(works) else {
        panic!("{} is not on this machine: run `cargo xtask test`, which installs it", names[0]);
    };
    path
}

/// Below the range from which the system takes ports for outgoing connections: there, a client that keeps
/// knocking at a killed server's port may be given that very port as its own, and talk to itself.
pub fn free_port() -> u16 {
    let port = || 20_000 + (RandomState::new().hash_one(()) % 12_000) as u16;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(port).take(1000).find(free).expect("one port of thousands is free")
}

/// Whether the server at this port answers `request` with a text that holds `expected`.
fn ask(port: u16, request: &str, expected: &str) -> bool {
    let timeout = Duration::from_millis(200);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, timeout) else { return false };
    let _ = stream.set_read_timeout(Some(timeout));
    let _ = stream.write_all(request.as_bytes());
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..length]);
        if String::from_utf8_lossy(&answer).contains(expected) {
            return true;
        }
    }
    false
}
