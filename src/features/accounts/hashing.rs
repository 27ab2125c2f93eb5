//! Password hashes, computed on threads of their own: as many at once as there are processors to spare, with as much
//! memory as that takes, and no more waiting than callers have patience for.

use std::panic::{AssertUnwindSafe, catch_unwind};
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

const OUTPUT: usize = 32;
/// What an imported hash may ask of us; a forged row must not take the machine.
const MOST_MEMORY_KIB: u32 = 1 << 21;
const MOST_PASSES: u32 = 20;
/// When to come back if too many wait.
const BUSY: Duration = Duration::from_secs(2);

/// Makes the output of a hash from a password and a salt, with scratch memory that is kept from one to the next. The
/// service knows argon2id alone; a load run that looks at everything but hashing links this library and brings another.
pub type Compute = fn(&Params, &[u8], &[u8], &mut Vec<Block>) -> Result<[u8; OUTPUT]>;

#[derive(Clone)]
pub struct Hasher {
    queue: Sender<Task>,
    params: Params,
    /// Verified against when there is no such user, so that the answer takes as long.
    dummy: String,
}

enum Work {
    Hash { salt: [u8; 16] },
    Verify { stored: String },
}

struct Task {
    password: Vec<u8>,
    work: Work,
    reply: oneshot::Sender<Result<Done>>,
}

enum Done {
    Hash(String),
    Verified(bool),
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
        for _ in 0..threads {
            let (tasks, params) = (tasks.clone(), params.clone());
            std::thread::Builder::new()
                .name("password-hash".to_owned())
                .spawn(move || serve(&tasks, &params, compute))
                .map_err(|error| format!("cannot start a thread for password hashes: {error}"))?;
        }
        let mut noise = [0; 48];
        aws_lc_rs::rand::fill(&mut noise).map_err(|_| "the system has no random numbers".to_owned())?;
        let (salt, output) = noise.split_at(16);
        let dummy = phc(&params, salt, output);
        Ok(Self { queue, params, dummy })
    }

    /// Refuses while no more can wait. Asked before work that would be in vain; who is let in may still be refused.
    pub fn admit(&self) -> Result<()> {
        if self.queue.is_full() { Err(Error::Busy(BUSY)) } else { Ok(()) }
    }

    /// A PHC string with a salt of its own.
    pub async fn hash(&self, password: &str, salt: [u8; 16]) -> Result<String> {
        match self.run(password, Work::Hash { salt }).await? {
            Done::Hash(text) => Ok(text),
            Done::Verified(_) => Err(Error::Internal("a hash task verified".into())),
        }
    }

    /// Whether a password is right; without a stored hash, false after the same work.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool> {
        let work = Work::Verify { stored: stored.unwrap_or(&self.dummy).to_owned() };
        let right = matches!(self.run(password, work).await?, Done::Verified(true));
        Ok(right && stored.is_some())
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

    async fn run(&self, password: &str, work: Work) -> Result<Done> {
        let (reply, answer) = oneshot::channel();
        let task = Task { password: password.as_bytes().to_vec(), work, reply };
        self.queue.try_send(task).map_err(|_| Error::Busy(BUSY))?;
        answer.await.map_err(|_| Error::Internal("a password thread has ended".into()))?
    }
}

fn serve(tasks: &Receiver<Task>, params: &Params, compute: Compute) {
    // Made by the first hash and kept: hashing is bound by memory as it is, and an idle service has none of it.
    let mut scratch = Vec::new();
    yield_to_others();
    while let Ok(task) = tasks.recv() {
        // Callers that have left are not worth 20 ms.
        if task.reply.is_closed() {
            continue;
        }
        let done = catch_unwind(AssertUnwindSafe(|| match &task.work {
            Work::Hash { salt } => {
                compute(params, &task.password, salt, &mut scratch).map(|output| Done::Hash(phc(params, salt, &output)))
            }
            Work::Verify { stored } => verify(&task.password, stored, &mut scratch, compute).map(Done::Verified),
        }));
        // The thread lives on whatever a hash does to it.
        let done = done.unwrap_or_else(|_| Err(Error::Internal("a password hash panicked".into())));
        let _ = task.reply.send(done);
    }
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

fn verify(password: &[u8], stored: &str, scratch: &mut Vec<Block>, compute: Compute) -> Result<bool> {
    if stored.starts_with("$2") {
        return bcrypt::verify(password, stored)
            .map_err(|error| Error::Internal(format!("inconsistent data: users.password_hash: {error}")));
    }
    let broken = || Error::Internal("inconsistent data: users.password_hash is no argon2id or bcrypt hash".into());
    let parsed = PasswordHash::new(stored).map_err(|_| broken())?;
    let params = Params::try_from(&parsed).map_err(|_| broken())?;
    let (Some(salt), Some(expected)) = (parsed.salt.as_ref(), parsed.hash.as_ref()) else { return Err(broken()) };
    let ours = parsed.algorithm.as_str() == "argon2id"
        && params.m_cost() <= MOST_MEMORY_KIB
        && params.t_cost() <= MOST_PASSES
        && params.p_cost() == 1
        && expected.as_bytes().len() == OUTPUT;
    if !ours {
        return Err(broken());
    }
    let output = compute(&params, password, salt, scratch)?;
    Ok(output.ct_eq(expected.as_bytes()).into())
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

    #[tokio::test]
    async fn a_password_is_verified_against_its_own_hash_only() {
        let hasher = hasher(19_456);
        let stored = hasher.hash("Q123werty!23", [7; 16]).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(hasher.verify("Q123werty!23", Some(&stored)).await.unwrap());
        assert!(!hasher.verify("Q123werty!24", Some(&stored)).await.unwrap());
        assert!(!hasher.verify("Q123werty!23", None).await.unwrap());
        assert!(!hasher.is_weak(&stored));
    }

    #[tokio::test]
    async fn hashes_of_other_programs_verify_and_weak_ones_are_known() {
        use argon2::password_hash::PasswordHasher;
        let hasher = hasher(20_000);
        let theirs = Argon2::default().hash_password(b"Q123werty!23").unwrap().to_string();
        assert!(hasher.verify("Q123werty!23", Some(&theirs)).await.unwrap());
        assert!(hasher.is_weak(&theirs));
        let bcrypt = bcrypt::hash("Q123werty!23", 4).unwrap();
        assert!(hasher.verify("Q123werty!23", Some(&bcrypt)).await.unwrap());
        assert!(!hasher.verify("Q123werty!24", Some(&bcrypt)).await.unwrap());
        assert!(hasher.is_weak(&bcrypt));
    }

    #[tokio::test]
    async fn what_is_no_hash_is_an_error_of_ours_and_not_a_match() {
        let hasher = hasher(19_456);
        let huge =
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for broken in ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ", huge, "$2b$10$short"] {
            assert!(hasher.verify("x", Some(broken)).await.is_err(), "{broken}");
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
