//! The run: servers, data, rows, report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use referral::config::Hashing;
use referral::crypto::hashing::Hasher;
use testkit::Kept;

use crate::fill::{self, Filling};
use crate::load::{self, Group, Source, Span, Times};
use crate::meter::Meter;
use crate::people::{PASSWORD, People, owner};
use crate::report::Report;
use crate::rows;
use crate::servers::{Postgres, block_on};
use crate::service::{self, Options, Programs, Service};
use crate::{machine, sources};

pub struct Settings {
    pub quick: bool,
    pub rounds: usize,
    /// Of load on one side in a round.
    pub times: Times,
    pub seed: u64,
    /// How many the greatest referrer has brought.
    pub scale: u64,
    /// Parts that are wanted, by the beginning of their names; all when empty.
    pub parts: Vec<String>,
    /// Write the plans that are compared, rather than compare them.
    pub bless: bool,
    /// Whether the lengths of answers must be as expected, too.
    pub exact: bool,
    /// Whether load and service have a processor each. Left to the system they change places, and what a request costs
    /// then differs by half from one span to the next, for all who take part.
    pub apart: bool,
    pub report: PathBuf,
    /// The repository.
    pub root: PathBuf,
}

/// The processors of load and service that are kept apart.
const LOAD: usize = 0;
const SERVICE: usize = 1;

/// What all rows share.
pub struct Bench {
    pub settings: Settings,
    pub programs: Programs,
    pub postgres: Arc<Postgres>,
    /// People who have registered under load, in any database: each name is used once.
    pub newcomers: Arc<AtomicU64>,
    filling: Arc<Filling>,
    pub folder: PathBuf,
    /// Does nothing, but has the folder, which so goes with us even when we are killed.
    _files: Kept,
    began: Instant,
}

/// A filled database.
#[derive(Clone)]
pub struct Place {
    pub people: People,
    pub options: Options,
    /// PostgreSQL's name of it, if it is one of its databases.
    pub name: Option<String>,
}

pub fn run(options: &[&str]) -> Result<(), String> {
    let bench = Bench::new(read(options)?, Programs::beside_this()?, Arc::new(Postgres::start()?))?;
    let measured = measure(&bench);
    let report = measured?;
    let text = report.markdown();
    println!("{text}");
    let path = &bench.settings.report;
    std::fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    let (met, judged) = report.met();
    bench.say(&format!("{met} of {judged} goals met; the report is in {}", path.display()));
    match report.voids.len() {
        0 => Ok(()),
        count => Err(format!("{count} parts are void")),
    }
}

/// All parts, each with the databases it needs.
fn measure(bench: &Bench) -> Result<Report, String> {
    let quick = bench.settings.quick;
    let mut report = Report { machine: machine::describe(&bench.postgres), quick, ..Report::default() };
    let main = bench.fill_postgres("main", bench.settings.scale)?;
    let file = bench.fill_sqlite("main", bench.settings.scale)?;
    report.machine.push(("people".to_owned(), described(&main.people)));
    let parts: [(&str, rows::Part); 27] = [
        // Before others write: plans follow the data.
        ("plans", rows::plans::compare),
        ("cached", rows::reads::cached),
        ("database", rows::reads::from_postgres),
        ("page", rows::reads::page),
        ("register", rows::registrations::on_postgres),
        ("sqlite", rows::registrations::on_sqlite),
        ("raw", rows::reads::from_sqlite),
        ("last", rows::reads::last_page),
        ("logins", rows::hashing::beside_log_ins),
        ("memory", rows::process::memory_and_start),
        ("hot", rows::registrations::hot_referrer),
        ("mails", rows::mails::registrations),
        ("enumeration", rows::mails::enumeration),
        ("keyed", rows::keyed::writes),
        ("own", rows::pages::own),
        ("links", rows::program::links),
        ("participants", rows::program::participants),
        ("audit", rows::audit::writes),
        ("verify", rows::audit::verified),
        ("told", rows::webhooks::effects),
        ("deliveries", rows::webhooks::deliveries),
        ("rewards", rows::rewards::events),
        ("movements", rows::rewards::growth),
        ("signups", rows::rewards::sign_ups),
        ("nodes", rows::nodes::two_nodes),
        ("growth", rows::growth::table),
        ("build", rows::process::build),
    ];
    for (name, part) in parts {
        // Building takes minutes whatever the size of the data.
        let wanted = bench.wants(name) && (name != "build" || !quick || !bench.settings.parts.is_empty());
        if wanted {
            bench.say(name);
            if let Err(error) = part(bench, &main, &file, &mut report) {
                bench.say(&format!("{name} is void: {error}"));
                report.voids.push((name, error));
            }
        }
    }
    Ok(report)
}

fn described(people: &People) -> String {
    format!(
        "{} users, {} of them brought by one, {} by another, {} by {} others; one in fifty erased; {} owners of codes; \
         seed {}",
        people.count(),
        people.scale,
        people.scale / 100,
        people.scale / 10 + people.scale / 20,
        (people.scale / 10 + people.scale / 20) / 5,
        people.owners(),
        people.seed
    )
}

impl Bench {
    pub fn new(settings: Settings, programs: Programs, postgres: Arc<Postgres>) -> Result<Bench, String> {
        let people = People { scale: settings.scale, seed: settings.seed };
        let files = Kept::running("exec sleep infinity", "KILL")?;
        Ok(Bench {
            programs,
            postgres,
            newcomers: Arc::default(),
            filling: Arc::new(Filling { people, password_hash: hashed()?, exact: settings.exact }),
            folder: files.folder.clone(),
            _files: files,
            began: Instant::now(),
            settings,
        })
    }

    pub fn say(&self, text: &str) {
        eprintln!("{:6.1} s  {text}", self.began.elapsed().as_secs_f64());
    }

    fn wants(&self, part: &str) -> bool {
        let parts = &self.settings.parts;
        parts.is_empty() || parts.iter().any(|wanted| wanted == part)
    }

    pub fn fill_postgres(&self, name: &str, scale: u64) -> Result<Place, String> {
        let began = Instant::now();
        self.postgres.query("postgres", &format!("create database {name}"))?;
        let url = self.postgres.url(name);
        service::migrate(&self.programs, &url)?;
        let filling = self.filling(scale);
        fill::postgres(&url, &filling)?;
        self.say(&format!(
            "PostgreSQL has {} people, in {:.1} s",
            filling.people.count(),
            began.elapsed().as_secs_f64()
        ));
        Ok(Place { people: filling.people, options: self.options(url), name: Some(name.to_owned()) })
    }

    pub fn fill_sqlite(&self, name: &str, scale: u64) -> Result<Place, String> {
        let began = Instant::now();
        let path = self.folder.join(format!("{name}.db"));
        let url = format!("sqlite:{}", path.display());
        service::migrate(&self.programs, &url)?;
        let filling = self.filling(scale);
        fill::sqlite(&path, &filling)?;
        self.say(&format!("SQLite has {} people, in {:.1} s", filling.people.count(), began.elapsed().as_secs_f64()));
        Ok(Place { people: filling.people, options: self.options(url), name: None })
    }

    fn filling(&self, scale: u64) -> Arc<Filling> {
        let people = People { scale, seed: self.settings.seed };
        let Filling { password_hash, exact, .. } = &*self.filling;
        Arc::new(Filling { people, password_hash: password_hash.clone(), exact: *exact })
    }

    pub fn start(&self, place: &Place) -> Result<Service, String> {
        Service::start(&self.programs, &place.options)
    }

    fn options(&self, database: String) -> Options {
        Options { database, pinned: self.settings.apart.then_some(SERVICE), ..Options::default() }
    }

    /// The service on a database, with passwords that are not hashed.
    pub fn start_without_hashing(&self, place: &Place) -> Result<Service, String> {
        Service::start(&self.programs, &Options { without_hashing: true, ..place.options.clone() })
    }

    /// Loads a service with one connection for each source.
    pub fn load(&self, place: &Place, service: &Service, sources: Vec<Source>) -> Result<Span, String> {
        let group = Group { address: service.address, sources, measured: true, exact: self.settings.exact };
        let processor = self.settings.apart.then_some(LOAD);
        load::run_on(processor, vec![group], self.settings.times, &self.meter(place, service))
    }

    /// Counts a service, and the database it is on.
    pub fn meter(&self, place: &Place, service: &Service) -> Meter {
        let postmaster = place.name.as_ref().map(|_| self.postgres.pid());
        Meter { services: vec![service.pid()], postmaster, ..Meter::default() }
    }

    /// Tokens of a few people with codes: 64 clients share them. They live ten minutes, so each row asks for its own.
    pub fn tokens(&self, place: &Place, service: &Service) -> Result<Vec<String>, String> {
        (0..8).map(|turn| self.token(place, service, owner(place.people.findable_owner(turn)))).collect()
    }

    pub fn token(&self, place: &Place, service: &Service, person: u64) -> Result<String, String> {
        service::log_in(service, &place.people.person(person).username, PASSWORD)
    }

    /// So many codes of different owners.
    pub fn codes(&self, place: &Place) -> Vec<String> {
        sources::codes(&place.people, sources::CLIENTS as u64)
    }
}

impl Place {
    /// The file of a SQLite database.
    pub fn path(&self) -> &Path {
        Path::new(self.options.database.trim_start_matches("sqlite:"))
    }
}

/// A hash of everybody's password with today's parameters, the same in every run.
fn hashed() -> Result<String, String> {
    block_on(async {
        let settings = Hashing { memory_kib: 19_456, passes: 2, threads: 1, queue: 1 };
        let hashed = Hasher::start(&settings)?.hash(PASSWORD, [7; 16]).await;
        hashed.map_err(|error| format!("hashing: {error}"))
    })
}

fn read(options: &[&str]) -> Result<Settings, String> {
    let mut settings = Settings {
        quick: options.contains(&"--quick"),
        rounds: 7,
        times: Times { warm_up: Duration::from_secs(1), length: Duration::from_secs(3) },
        seed: 1,
        scale: 1_000_000,
        parts: Vec::new(),
        bless: false,
        apart: false,
        exact: true,
        report: PathBuf::new(),
        root: PathBuf::from("."),
    };
    if settings.quick {
        settings.times = Times { warm_up: Duration::from_millis(250), length: Duration::from_millis(400) };
        (settings.rounds, settings.scale) = (3, 250_000);
    }
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = || value.parse::<u64>().map_err(|_| format!("{name}=NUMBER, not `{option}`"));
        match name {
            "--quick" => {}
            "--bless" => settings.bless = true,
            "--rounds" => settings.rounds = number()?.max(1) as usize,
            "--millis" => settings.times.length = Duration::from_millis(number()?.max(100)),
            "--seed" => settings.seed = number()?,
            "--scale" => settings.scale = number()?.max(10_000) / 100 * 100,
            "--only" => settings.parts = value.split(',').map(str::to_owned).collect(),
            "--report" => settings.report = PathBuf::from(value),
            "--root" => settings.root = PathBuf::from(value),
            _ => return Err(format!("what is `{option}`?")),
        }
    }
    match settings.report.as_os_str().is_empty() {
        true => Err("--report=FILE is missing".to_owned()),
        false => Ok(settings),
    }
}
