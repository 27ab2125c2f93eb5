//! Two versions, measured in turns: this one, and another whose programs somebody has built. `cargo xtask bench
//! --against` does so, and judges what is printed here.

mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::load::Times;
use crate::run::{Bench, Place, Settings};
use crate::servers::Postgres;
use crate::service::Programs;

/// One of the versions, with databases of its own. Both versions' hold the same people, but each has the schema that
/// its own binary has made: an older one would refuse the newer one's.
struct Side {
    name: &'static str,
    bench: Bench,
    main: Place,
    file: Place,
    /// Codes that were looked up already.
    turns: Arc<AtomicU64>,
}

struct Options {
    settings: Settings,
    pairs: usize,
    /// The folders of both versions' programs.
    here: PathBuf,
    other: PathBuf,
}

/// Measures all rows that are wanted. Each pair is a line on the standard output: row, unit, this version's figure and
/// the other's, of which less is better. A row that cannot be measured is a line of its own.
pub fn run(options: &[&str]) -> Result<(), String> {
    let ours = read(options)?;
    let theirs = read(options)?;
    if let Some(unknown) = ours.settings.parts.iter().find(|part| !rows::ROWS.iter().any(|row| row.is(part))) {
        let names: Vec<&str> = rows::ROWS.iter().map(|row| row.part).collect();
        return Err(format!("there is no row `{unknown}`; there are {}", names.join(", ")));
    }
    let pairs = ours.pairs;
    // One for both: of two, the one that was started first is dearer.
    let postgres = Arc::new(Postgres::start()?);
    let ours = Side::open("here", ours.settings, Programs::of(&ours.here), postgres.clone())?;
    let theirs = Side::open("there", theirs.settings, Programs::of(&theirs.other), postgres)?;
    for row in rows::ROWS {
        let wanted = &ours.bench.settings.parts;
        if wanted.is_empty() || wanted.iter().any(|part| row.is(part)) {
            ours.bench.say(row.title);
            if let Err(error) = measure(row, pairs, &ours, &theirs) {
                println!("void\t{}\t{}", row.title, error.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }
    Ok(())
}

fn measure(row: &rows::Row, pairs: usize, ours: &Side, theirs: &Side) -> Result<(), String> {
    let of = |side: &Side, error| format!("{}: {error}", side.name);
    let mut this = (row.prepare)(ours).map_err(|error| of(ours, error))?;
    let mut other = (row.prepare)(theirs).map_err(|error| of(theirs, error))?;
    for pair in 0..pairs {
        let mut this = || this().map_err(|error| of(ours, error));
        let mut other = || other().map_err(|error| of(theirs, error));
        // Each is first in every second pair: what has just ended beside them hits both alike.
        let (this, other) = if pair % 2 == 0 {
            let this = this()?;
            (this, other()?)
        } else {
            let other = other()?;
            (this()?, other)
        };
        println!("pair\t{}\t{}\t{this}\t{other}", row.title, row.unit);
    }
    Ok(())
}

impl Side {
    fn open(
        name: &'static str,
        settings: Settings,
        programs: Programs,
        postgres: Arc<Postgres>,
    ) -> Result<Side, String> {
        let opened = || {
            let scale = settings.scale;
            let bench = Bench::new(settings, programs, postgres)?;
            bench.say(name);
            let (mut main, mut file) = (bench.fill_postgres(name, scale)?, bench.fill_sqlite(name, scale)?);
            main.options.unlimited = true;
            file.options.unlimited = true;
            Ok(Side { name, bench, main, file, turns: Arc::default() })
        };
        opened().map_err(|error: String| format!("{name}: {error}"))
    }
}

fn read(options: &[&str]) -> Result<Options, String> {
    let quick = options.contains(&"--quick");
    let (millis, warm_up, pairs, scale) = if quick { (500, 250, 5, 250_000) } else { (1500, 500, 9, 500_000) };
    let mut read = Options {
        settings: Settings {
            quick,
            rounds: 0,
            times: Times { warm_up: Duration::from_millis(warm_up), length: Duration::from_millis(millis) },
            seed: 1,
            scale,
            parts: Vec::new(),
            bless: false,
            exact: false,
            apart: std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1),
            report: PathBuf::new(),
            root: PathBuf::new(),
        },
        pairs,
        here: PathBuf::new(),
        other: PathBuf::new(),
    };
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = || value.parse::<u64>().map_err(|_| format!("{name}=NUMBER, not `{option}`"));
        match name {
            "--quick" => {}
            "--pairs" => read.pairs = number()?.max(1) as usize,
            "--millis" => read.settings.times.length = Duration::from_millis(number()?.max(100)),
            "--seed" => read.settings.seed = number()?,
            "--scale" => read.settings.scale = number()?.max(10_000) / 100 * 100,
            "--only" => read.settings.parts = value.split(',').map(str::to_owned).collect(),
            "--here" => read.here = Path::new(value).to_owned(),
            "--other" => read.other = Path::new(value).to_owned(),
            _ => return Err(format!("`{option}` has no meaning beside --against")),
        }
    }
    Ok(read)
}
