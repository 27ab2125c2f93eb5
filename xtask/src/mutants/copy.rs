//! A copy of the sources that holds many mutants, each asleep until the environment names it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Code, Mutant, Sql, quoted};

/// The variable that names the mutant that is active. Not one of the service's settings, which begin with REFERRAL_.
pub const VARIABLE: &str = "MUTANT";

/// What the copy's library has beside its own modules. A statement holds its mutants between marks.
const SWITCH: &str = r#"//! Which mutant is active.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

fn active() -> Option<&'static str> {
    static ACTIVE: OnceLock<Option<String>> = OnceLock::new();
    ACTIVE.get_or_init(|| std::env::var("MUTANT").ok()).as_deref()
}

pub fn is(name: &str) -> bool {
    active() == Some(name)
}

pub fn sql(text: &'static str) -> &'static str {
    static KNOWN: OnceLock<Mutex<HashMap<usize, &'static str>>> = OnceLock::new();
    if !text.contains('⟦') {
        return text;
    }
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(text.as_ptr().addr()).or_insert_with(|| {
        let mut whole = String::new();
        for part in text.split('⟦') {
            match part.split_once('⟧') {
                Some((marked, rest)) => {
                    let mut marked = marked.splitn(3, '¦');
                    let (name, find, put) = (marked.next(), marked.next(), marked.next());
                    whole.push_str(if name.is_some_and(is) { put } else { find }.unwrap_or_default());
                    whole.push_str(rest);
                }
                None => whole.push_str(part),
            }
        }
        Box::leak(whole.into_boxed_str())
    })
}
"#;

pub struct Subject {
    root: PathBuf,
    pub copy: PathBuf,
}

impl Subject {
    pub fn new(root: &Path, copy: &Path) -> Self {
        Self { root: root.to_owned(), copy: copy.to_owned() }
    }

    /// Where a mutant's text begins, if it is there once.
    pub fn place(&self, mutant: &Mutant) -> Result<usize, String> {
        let text = fs::read_to_string(self.root.join(mutant.file))
            .map_err(|error| format!("{} does not apply: {} cannot be read: {error}", mutant.name, mutant.file))?;
        let (find, put) = mutant.swap.texts();
        let mut places = text.match_indices(find);
        match (places.next(), places.count()) {
            (Some(_), 0) if find == put => Err(format!("{} changes nothing", mutant.name)),
            (Some((place, _)), 0) => Ok(place),
            (found, more) => Err(format!(
                "{} does not apply: its text is {} times in {}",
                mutant.name,
                usize::from(found.is_some()) + more,
                mutant.file
            )),
        }
    }

    /// Those that can be in one build together, and a sentence about each that does not apply.
    pub fn rounds<'m>(&self, mutants: &[&'m Mutant]) -> (Vec<Vec<&'m Mutant>>, Vec<String>) {
        let mut rounds: Vec<Vec<(&Mutant, usize)>> = Vec::new();
        let mut wrong = Vec::new();
        for mutant in mutants {
            let place = match self.place(mutant) {
                Ok(place) => place,
                Err(sentence) => {
                    wrong.push(sentence);
                    continue;
                }
            };
            let end = |mutant: &Mutant, place: usize| place + mutant.swap.texts().0.len();
            let apart = |other: &(&Mutant, usize)| {
                other.0.file != mutant.file || end(other.0, other.1) <= place || end(mutant, place) <= other.1
            };
            match rounds.iter_mut().find(|round| round.iter().all(apart)) {
                Some(round) => round.push((mutant, place)),
                None => rounds.push(vec![(mutant, place)]),
            }
        }
        let rounds = rounds.into_iter().map(|round| round.into_iter().map(|(mutant, _)| mutant).collect());
        (rounds.collect(), wrong)
    }

    /// Makes the copy hold these mutants and no others. Files that stay the same are not touched, so that little is
    /// built.
    pub fn write(&self, mutants: &[&Mutant]) -> Result<(), String> {
        let mut kept = BTreeSet::from([PathBuf::from("src/mutated.rs")]);
        files(&self.root, Path::new(""), &mut kept)?;
        for path in &kept {
            let from = self.root.join(path);
            let fault = |error| format!("{}: {error}", from.display());
            let mut content = match path.to_str() {
                Some("src/mutated.rs") => SWITCH.as_bytes().to_vec(),
                _ => fs::read(&from).map_err(fault)?,
            };
            let within: Vec<&Mutant> =
                mutants.iter().copied().filter(|mutant| Path::new(mutant.file) == path).collect();
            if path.starts_with("src") && path.extension().is_some_and(|end| end == "rs") {
                let text = String::from_utf8(content).map_err(|_| format!("{} is no text", from.display()))?;
                content = self.changed(path, text, &within)?.into_bytes();
            } else if !within.is_empty() {
                return Err(format!("{} is not below src", from.display()));
            }
            let to = self.copy.join(path);
            if fs::read(&to).is_ok_and(|there| there == content) {
                continue;
            }
            let fault = |error| format!("{}: {error}", to.display());
            fs::create_dir_all(to.parent().unwrap_or(&self.copy)).map_err(fault)?;
            fs::write(&to, content).map_err(fault)?;
        }
        let mut there = BTreeSet::new();
        files(&self.copy, Path::new(""), &mut there)?;
        for path in there.difference(&kept) {
            fs::remove_file(self.copy.join(path)).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn changed(&self, path: &Path, mut text: String, mutants: &[&Mutant]) -> Result<String, String> {
        let mut placed = mutants.iter().map(|m| Ok((self.place(m)?, *m))).collect::<Result<Vec<_>, String>>()?;
        // From the end, so that the places of the others stay.
        placed.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        for (place, mutant) in placed {
            let name = quoted(mutant.name);
            let (find, put) = mutant.swap.texts();
            let switched = match mutant.swap {
                Sql(..) => {
                    let (before, find, put, after) = apart(find, put);
                    format!("{before}⟦{}¦{find}¦{put}⟧{after}", mutant.name)
                }
                Code(..) if find.ends_with(';') => {
                    format!("{{ if crate::mutated::is({name}) {{ {put} }} else {{ {find} }} }}")
                }
                Code(..) => format!("(if crate::mutated::is({name}) {{ {put} }} else {{ {find} }})"),
            };
            text.replace_range(place..place + find.len(), &switched);
        }
        if path == Path::new("src/lib.rs") {
            text.push_str("\npub mod mutated;\n");
        }
        // Where statements are handed to a driver.
        text = text.replace("sql.sqlite", "sql.sqlite.map(crate::mutated::sql)");
        text = text.replace("sql.postgres", "crate::mutated::sql(sql.postgres)");
        Ok(text)
    }
}

/// Two texts by what they have in common before and behind: the beginning or the end of a literal may be part of that,
/// for a text to be unique.
fn apart<'t>(find: &'t str, put: &'t str) -> (&'t str, &'t str, &'t str, &'t str) {
    let before: usize = find.chars().zip(put.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let (head, find) = find.split_at(before);
    let put = &put[before..];
    let after: usize =
        find.chars().rev().zip(put.chars().rev()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let (find, tail) = find.split_at(find.len() - after);
    (head, find, &put[..put.len() - after], tail)
}

/// The files below a folder, but for what git and cargo keep there.
fn files(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> Result<(), String> {
    let folder = root.join(below);
    let fault = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(&folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let path = below.join(entry.file_name());
        let kind = entry.file_type().map_err(fault)?;
        if kind.is_dir() && path != Path::new("target") && path != Path::new(".git") {
            files(root, &path, found)?;
        } else if kind.is_file() && path != Path::new(".git") {
            found.insert(path);
        }
    }
    Ok(())
}
