//! Password hashes, computed on threads of their own: as many at once as there are processors to spare, with as much
//! memory as that takes, and no more waiting than callers have patience for.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use crossbeam_channel::{Receiver, Sender, bounded};
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

use crate::config::Hashing;
use crate::kernel::error::{Error, Result};
use crate::kernel::fold::nfc;

const OUTPUT: usize = 32;
/// What an imported hash may ask of us; a forged row must not take the machine.
const MOST_MEMORY_KIB: u32 = 1 << 21;
const MOST_PASSES: u32 = 20;
/// Of bcrypt: some four seconds.
const MOST_COST: u32 = 16;
/// When to come back if too many wait.
const BUSY: Duration = Duration::from_secs(2);

/// Makes the output of a hash from a password and a salt, with scratch memory that is kept from one to the next. The
/// service knows argon2id alone; a load run that looks at everything but hashing links this library and brings another.
pub type Compute = fn(&Params, &[u8], &[u8], &mut Vec<Block>) -> Result<[u8; OUTPUT]>;

/// What it costs to check a password against a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Argon2id { memory_kib: u32, passes: u32 },
    Bcrypt { cost: u32 },
}

impl Kind {
    /// Of a stored hash, or of its beginning as far as the parameters go; nothing for what we cannot check.
    pub fn of(stored: &str) -> Option<Self> {
        if let Some(rest) = stored.strip_prefix("$2") {
            let (_, rest) = rest.split_once('$')?;
            let cost = rest.split('$').next()?.parse().ok()?;
            return (4..=MOST_COST).contains(&cost).then_some(Self::Bcrypt { cost });
        }
        let rest = stored.strip_prefix("$argon2id$")?;
        let parameters = rest.split('$').find(|part| part.starts_with("m="))?;
        let mut words = parameters.split(',');
        let memory_kib = words.next()?.strip_prefix("m=")?.parse().ok()?;
        let passes = words.next()?.strip_prefix("t=")?.parse().ok()?;
        let bearable = memory_kib <= MOST_MEMORY_KIB && passes <= MOST_PASSES;
        (bearable && Params::new(memory_kib, passes, 1, Some(OUTPUT)).is_ok())
            .then_some(Self::Argon2id { memory_kib, passes })
    }
}

#[derive(Clone)]
pub struct Hasher {
    queue: Sender<Task>,
    params: Params,
    /// How many of each kind were computed.
    computed: Arc<Mutex<BTreeMap<Kind, u64>>>,
}

/// What became of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right, in this form.
    Right(String),
    Wrong,
    /// What is stored is no hash that could be checked.
    Unreadable,
}

enum Work {
    Hash { password: String, salt: [u8; 16] },
    Verify { forms: Vec<String>, stored: Option<String>, kinds: BTreeSet<Kind> },
}

struct Task {
    work: Work,
    reply: oneshot::Sender<Result<Done>>,
}

enum Done {
    Hash(String),
    Verified(Verdict),
}

impl Hasher {
    pub fn start(settings: &Hashing) -> Result<Self, String> {
        Self::start_with(settings, argon2id)
    }

    pub fn start_with(settings: &Hashing, compute: Compute) -> Result<Self, String> {
        let params = Params::new(settings.memory_kib, settings.passes, 1, Some(OUTPUT))
            .map_err(|error| format!("the settings in [hashing] are not valid: {error}"))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if settings.threads == 0 { processors.saturating_sub(1).max(1) } else { settings.threads };
        let (queue, tasks) = bounded(settings.queue);
        let computed = Arc::default();
        for _ in 0..threads {
            let worker = Worker {
                tasks: tasks.clone(),
                params: params.clone(),
                compute,
                computed: Arc::clone(&computed),
                scratch: Vec::new(),
            };
            std::thread::Builder::new()
                .name("password-hash".to_owned())
                .spawn(move || worker.serve())
                .map_err(|error| format!("cannot start a thread for password hashes: {error}"))?;
        }
        Ok(Self { queue, params, computed })
    }

    /// Refuses while no more can wait. Asked before work that would be in vain; who is let in may still be refused.
    pub fn admit(&self) -> Result<()> {
        if self.queue.is_full() { Err(Error::Busy(BUSY)) } else { Ok(()) }
    }

    /// A PHC string with a salt of its own, of the password in NFC (NIST SP 800-63B-4, 3.1.1.2).
    pub async fn hash(&self, password: &str, salt: [u8; 16]) -> Result<String> {
        match self.run(Work::Hash { password: nfc(password), salt }).await? {
            Done::Hash(text) => Ok(text),
            Done::Verified(_) => Err(Error::Internal("a hash task verified".into())),
        }
    }

    /// Whether a password is right, in NFC or else as it was typed: hashes from before are of that.
    ///
    /// Each form is checked against each of the kinds, and against today's, whichever the stored hash is of and whether
    /// there is one: so the work does not tell.
    pub async fn verify(
        &self,
        password: &str,
        stored: Option<&str>,
        kinds: impl IntoIterator<Item = Kind>,
    ) -> Result<Verdict> {
        let mut forms = vec![nfc(password)];
        if !forms.iter().any(|form| form == password) {
            forms.push(password.to_owned());
        }
        let kinds = kinds.into_iter().chain([self.today()]).collect();
        match self.run(Work::Verify { forms, stored: stored.map(str::to_owned), kinds }).await? {
            Done::Verified(verdict) => Ok(verdict),
            Done::Hash(_) => Err(Error::Internal("a task of verifying hashed".into())),
        }
    }

    /// The kind of the hashes that are made.
    pub fn today(&self) -> Kind {
        Kind::Argon2id { memory_kib: self.params.m_cost(), passes: self.params.t_cost() }
    }

    /// How many hashes of each kind were computed so far.
    pub fn computed(&self) -> BTreeMap<Kind, u64> {
        self.computed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a stored hash is weaker than what would be made today.
    pub fn is_weak(&self, stored: &str) -> bool {
        let Ok(parsed) = PasswordHash::new(stored) else { return true };
        let Ok(params) = Params::try_from(&parsed) else { return true };
        parsed.algorithm.as_str() != "argon2id"
            || params.m_cost() < self.params.m_cost()
            || params.t_cost() < self.params.t_cost()
    }

    /// How many may wait.
    pub fn room(&self) -> usize {
        self.queue.capacity().unwrap_or(usize::MAX)
    }

    /// Tasks that wait now.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    async fn run(&self, work: Work) -> Result<Done> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Task { work, reply }).map_err(|_| Error::Busy(BUSY))?;
        answer.await.map_err(|_| Error::Internal("a password thread has ended".into()))?
    }
}

struct Worker {
    tasks: Receiver<Task>,
    params: Params,
    compute: Compute,
    computed: Arc<Mutex<BTreeMap<Kind, u64>>>,
    /// Made by the first hash and kept: hashing is bound by memory as it is, and an idle service has none of it.
    scratch: Vec<Block>,
}

impl Worker {
    fn serve(mut self) {
        yield_to_others();
        while let Ok(task) = self.tasks.recv() {
            // Callers that have left are not worth 20 ms.
            if task.reply.is_closed() {
                continue;
            }
            let done = catch_unwind(AssertUnwindSafe(|| self.work(&task.work)));
            // The thread lives on whatever a hash does to it.
            let done = done.unwrap_or_else(|_| Err(Error::Internal("a password hash panicked".into())));
            let _ = task.reply.send(done);
        }
    }

    fn work(&mut self, work: &Work) -> Result<Done> {
        match work {
            Work::Hash { password, salt } => {
                let params = self.params.clone();
                let output = self.argon2id(&params, password, salt)?;
                Ok(Done::Hash(phc(&params, salt, &output)))
            }
            Work::Verify { forms, stored, kinds } => self.verify(forms, stored.as_deref(), kinds).map(Done::Verified),
        }
    }

    fn verify(&mut self, forms: &[String], stored: Option<&str>, kinds: &BTreeSet<Kind>) -> Result<Verdict> {
        let own = stored.and_then(Kind::of);
        let mut verdict = if stored.is_some() && own.is_none() { Verdict::Unreadable } else { Verdict::Wrong };
        // One that has come to the database a moment ago is of a kind that nobody has told us yet.
        let kinds: BTreeSet<Kind> = kinds.iter().copied().chain(own).collect();
        for kind in kinds {
            for form in forms {
                let right = match stored.filter(|_| own == Some(kind)) {
                    Some(stored) => self.check(kind, form, stored)?,
                    None => self.check(kind, form, &decoy(kind)?)?.map(|_| false),
                };
                match right {
                    Some(true) if verdict == Verdict::Wrong => verdict = Verdict::Right(form.clone()),
                    None => verdict = Verdict::Unreadable,
                    _ => (),
                }
            }
        }
        Ok(verdict)
    }

    /// Nothing when it turns out that the stored hash, whose kind we know, is none.
    fn check(&mut self, kind: Kind, password: &str, stored: &str) -> Result<Option<bool>> {
        match kind {
            Kind::Bcrypt { .. } => {
                self.count(kind);
                let right = bcrypt::verify(password, stored).ok();
                if right.is_none() {
                    // As much work as for one that is whole.
                    let _ = bcrypt::verify(password, &decoy(kind)?);
                }
                Ok(right)
            }
            Kind::Argon2id { memory_kib, passes } => {
                let params = parameters(memory_kib, passes)?;
                let parsed = PasswordHash::new(stored).ok();
                let ours = parsed.as_ref().and_then(|parsed| Some((parsed, Params::try_from(parsed).ok()?)));
                let ours = ours.filter(|(_, params)| params.p_cost() == 1);
                let whole = ours.and_then(|(parsed, _)| Some((parsed.salt.as_ref()?, parsed.hash.as_ref()?)));
                let Some((salt, expected)) = whole.filter(|(_, expected)| expected.as_bytes().len() == OUTPUT) else {
                    self.argon2id(&params, password, &[0; 16])?;
                    return Ok(None);
                };
                let output = self.argon2id(&params, password, salt)?;
                Ok(Some(output.ct_eq(expected.as_bytes()).into()))
            }
        }
    }

    fn argon2id(&mut self, params: &Params, password: &str, salt: &[u8]) -> Result<[u8; OUTPUT]> {
        self.count(Kind::Argon2id { memory_kib: params.m_cost(), passes: params.t_cost() });
        (self.compute)(params, password.as_bytes(), salt, &mut self.scratch)
    }

    fn count(&self, kind: Kind) {
        *self.computed.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }
}

/// What is checked where there is no stored hash of a kind.
fn decoy(kind: Kind) -> Result<String> {
    Ok(match kind {
        Kind::Argon2id { memory_kib, passes } => phc(&parameters(memory_kib, passes)?, &[0; 16], &[0; OUTPUT]),
        Kind::Bcrypt { cost } => format!("$2b${cost:02}${}", ".".repeat(53)),
    })
}

fn parameters(memory_kib: u32, passes: u32) -> Result<Params> {
    Params::new(memory_kib, passes, 1, Some(OUTPUT))
        .map_err(|error| Error::Internal(format!("no parameters of argon2id: {error}")))
}

/// How much nicer than the rest of the service the threads that hash are: of a processor that both want they get a
/// quarter.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// Lets everybody else go first: whoever logs in waits anyway, and a wave of log-ins is not to hold up what is cheap.
fn yield_to_others() {
    // On Linux this is about the calling thread alone; where a sandbox forbids it, hashing takes its even share.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICENESS);
}

fn argon2id(params: &Params, password: &[u8], salt: &[u8], scratch: &mut Vec<Block>) -> Result<[u8; OUTPUT]> {
    if scratch.len() < params.block_count() {
        scratch.resize(params.block_count(), Block::default());
    }
    let mut output = [0; OUTPUT];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password, salt, &mut output, &mut scratch[..])
        .map_err(|error| Error::Internal(format!("cannot hash a password: {error}")))?;
    Ok(output)
}

fn phc(params: &Params, salt: &[u8], output: &[u8]) -> String {
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    format!("$argon2id$v=19$m={},t={},p={}${salt}${output}", params.m_cost(), params.t_cost(), params.p_cost())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(memory_kib: u32) -> Hasher {
        Hasher::start(&Hashing { memory_kib, passes: 2, threads: 1, queue: 4 }).unwrap()
    }

    async fn is_right(hasher: &Hasher, password: &str, stored: &str) -> bool {
        matches!(hasher.verify(password, Some(stored), []).await.unwrap(), Verdict::Right(_))
    }

    #[tokio::test]
    async fn a_password_is_verified_against_its_own_hash_only() {
        let hasher = hasher(19_456);
        let stored = hasher.hash("Q123werty!23", [7; 16]).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(is_right(&hasher, "Q123werty!23", &stored).await);
        assert!(!is_right(&hasher, "Q123werty!24", &stored).await);
        assert_eq!(hasher.verify("Q123werty!23", None, []).await.unwrap(), Verdict::Wrong);
        assert!(!hasher.is_weak(&stored));
    }

    #[tokio::test]
    async fn hashes_of_other_programs_verify_and_weak_ones_are_known() {
        use argon2::password_hash::PasswordHasher;
        let hasher = hasher(20_000);
        let theirs = Argon2::default().hash_password(b"Q123werty!23").unwrap().to_string();
        assert!(is_right(&hasher, "Q123werty!23", &theirs).await);
        assert!(hasher.is_weak(&theirs));
        let bcrypt = bcrypt::hash("Q123werty!23", 4).unwrap();
        assert!(is_right(&hasher, "Q123werty!23", &bcrypt).await);
        assert!(!is_right(&hasher, "Q123werty!24", &bcrypt).await);
        assert!(hasher.is_weak(&bcrypt));
    }

    #[tokio::test]
    async fn one_password_written_in_two_ways_is_one_and_hashes_of_either_stay_good() {
        let hasher = hasher(19_456);
        let (composed, taken_apart) = ("Zaunk\u{f6}nig-7890", "Zaunko\u{308}nig-7890");
        let stored = hasher.hash(taken_apart, [7; 16]).await.unwrap();
        assert_eq!(stored, hasher.hash(composed, [7; 16]).await.unwrap());
        let former = phc(
            &hasher.params,
            &[7; 16],
            &argon2id(&hasher.params, taken_apart.as_bytes(), &[7; 16], &mut Vec::new()).unwrap(),
        );
        assert_ne!(former, stored);
        for typed in [composed, taken_apart] {
            let verdict = hasher.verify(typed, Some(&stored), []).await.unwrap();
            assert_eq!(verdict, Verdict::Right(composed.to_owned()));
        }
        let verdict = hasher.verify(taken_apart, Some(&former), []).await.unwrap();
        assert_eq!(verdict, Verdict::Right(taken_apart.to_owned()));
    }

    #[tokio::test]
    async fn the_work_is_that_of_every_kind_whatever_is_stored() {
        let hasher = hasher(64);
        let bcrypt = bcrypt::hash("Q123werty!23", 4).unwrap();
        let older = "$argon2id$v=19$m=32,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let torn = "$argon2id$v=19$m=32,t=3,p=1$c29tZXNhbHRzb21lc2FsdA";
        let today = hasher.hash("Q123werty!23", [7; 16]).await.unwrap();
        let kinds = [&*bcrypt, older].map(|stored| Kind::of(stored).unwrap());
        let mut before = hasher.computed();
        for (password, forms) in [("Q123werty!23", 1), ("Q123wertyo\u{308}", 2)] {
            for stored in
                [None, Some(&*bcrypt), Some(older), Some(&*today), Some(torn), Some("$2b$04$short"), Some("plain")]
            {
                hasher.verify(password, stored, kinds).await.unwrap();
                let after = hasher.computed();
                let done: BTreeMap<Kind, u64> =
                    after.iter().map(|(kind, count)| (*kind, count - before.get(kind).unwrap_or(&0))).collect();
                let expected: BTreeMap<Kind, u64> =
                    kinds.into_iter().chain([hasher.today()]).map(|kind| (kind, forms)).collect();
                assert_eq!(done, expected, "{stored:?}");
                before = after;
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_hash_is_told_and_no_match() {
        let hasher = hasher(19_456);
        let huge =
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let hour = format!("$2b$31${}", ".".repeat(53));
        for broken in ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ", huge, &hour, "$2b$10$short"] {
            assert_eq!(hasher.verify("x", Some(broken), []).await.unwrap(), Verdict::Unreadable, "{broken}");
        }
    }

    #[tokio::test]
    async fn who_comes_while_no_more_can_wait_is_refused_before_anything_is_done() {
        use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
        static BEGUN: AtomicBool = AtomicBool::new(false);
        static OPEN: AtomicBool = AtomicBool::new(false);
        let stuck: Compute = |_, _, _, _| {
            BEGUN.store(true, SeqCst);
            while !OPEN.load(SeqCst) {
                std::thread::yield_now();
            }
            Ok([0; OUTPUT])
        };
        let settings = Hashing { memory_kib: 8, passes: 1, threads: 1, queue: 4 };
        let hasher = Hasher::start_with(&settings, stuck).unwrap();
        let hash = || {
            tokio::spawn({
                let hasher = hasher.clone();
                async move { hasher.hash("Q123werty!23", [7; 16]).await }
            })
        };
        let mut waiting = vec![hash()];
        while !BEGUN.load(SeqCst) {
            tokio::task::yield_now().await;
        }
        // One is computed, and four may wait.
        for place in 0..4 {
            assert!(hasher.admit().is_ok(), "{place}");
            waiting.push(hash());
            tokio::task::yield_now().await;
        }
        assert!(matches!(hasher.admit(), Err(Error::Busy(_))));
        OPEN.store(true, SeqCst);
        for hash in waiting {
            hash.await.unwrap().unwrap();
        }
        assert!(hasher.admit().is_ok());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashes_are_computed_by_a_thread_that_lets_others_go_first() {
        let hasher = hasher(8);
        hasher.hash("Q123werty!23", [7; 16]).await.unwrap();
        // The name is in brackets; the niceness is the 17th word behind it.
        let niceness =
            |stat: &str| stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse::<i32>().unwrap();
        let ours = niceness(&std::fs::read_to_string("/proc/self/stat").unwrap());
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        // Other tests' threads come and go.
        let stats: Vec<String> =
            threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok()).collect();
        let hashing = |stat: &&String| stat.contains("(password-hash)");
        assert!(stats.iter().filter(hashing).any(|stat| niceness(stat) == (ours + NICENESS).min(19)), "{stats:#?}");
    }

    #[tokio::test]
    async fn beyond_the_queue_callers_are_told_to_come_back() {
        let hasher = hasher(19_456);
        let many = (0..32).map(|_| hasher.hash("Q123werty!23", [7; 16]));
        let outcomes = futures_util::future::join_all(many).await;
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(Error::Busy(_)))));
        assert!(outcomes.iter().any(|outcome| outcome.is_ok()));
    }
}
