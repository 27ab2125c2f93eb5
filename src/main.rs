//! The binary: an allocator, what it was built from, and the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use referral::kernel::version::{self, Commit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// See `build.rs`. Read by the compiler: only the hash comes into the binary, not whose commits there were.
const HEAD: Option<Commit> = version::last_commit(include_bytes!(env!("GIT_HEAD_LOG")));

fn main() -> ExitCode {
    // GIT_COMMIT is for builds without the repository: an image's, a package's.
    version::set(option_env!("GIT_COMMIT"), HEAD);
    referral::cli::main()
}
