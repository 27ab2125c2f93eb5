//! How many files and sockets the process may have open, and how many of them are for callers.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors that are not for callers: the database's files, connections to Redis, Hunter and identity providers, the
/// listeners, and what the runtime needs.
const KEPT: u64 = 128;

/// Raises this process's limit to what its supervisor allows: many systems begin at 1,024 for programs that cannot
/// handle more.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        // Some systems say "unlimited" and refuse it.
        tracing::info!(%error, "the limit of open files stays as it is");
    }
}

/// How many the process may have; none where there is no limit.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The most connections of callers at once.
pub fn connections(config: &Config) -> usize {
    let descriptors = limit().map_or(usize::MAX, |limit| for_callers(limit, config.database.connections as u64));
    config.http.connections.min(descriptors)
}

/// What is left for callers of so many descriptors, beside so many connections to the database: half of them at least,
/// for with a very low limit the service needs less for itself than is kept otherwise.
fn for_callers(limit: u64, database: u64) -> usize {
    usize::try_from(limit.saturating_sub(KEPT + database).max(limit / 2)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_the_service_does_not_need_and_half_at_least() {
        assert_eq!(for_callers(1024, 16), 880);
        assert_eq!(for_callers(65_536, 100), 65_308);
        assert_eq!(for_callers(128, 16), 64);
        assert_eq!(for_callers(0, 16), 0);
    }
}
