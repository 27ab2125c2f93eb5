//! Tells the binary where git notes what HEAD is.
//!
//! `src/main.rs` includes that file, so the compiler watches it: when HEAD moves the few lines of the binary are built
//! anew and linked, and nothing else. This script does not run then, for that would build everything anew.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a build script fails by panicking")]

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let none = folder("OUT_DIR").join("no-repository");
    fs::write(&none, "").expect("the build's own folder can be written");
    let git = repository(&folder("CARGO_MANIFEST_DIR"));
    // They stay as they are for as long as the repository is where it is.
    for name in ["commondir", "description"] {
        let lasting = git.join(name);
        if lasting.is_file() {
            println!("cargo:rerun-if-changed={}", lasting.display());
        }
    }
    // Sources without a repository, an archive for example, are built as well.
    let log = Some(git.join("logs/HEAD")).filter(|log| fs::File::open(log).is_ok());
    // `cargo run` hands it on to the service, to which everything that begins with REFERRAL_ is a setting.
    println!("cargo:rustc-env=GIT_HEAD_LOG={}", log.unwrap_or(none).display());
}

#[expect(clippy::disallowed_methods, reason = "that is how cargo speaks to build scripts")]
fn folder(variable: &str) -> PathBuf {
    env::var_os(variable).expect("cargo sets it").into()
}

/// The folder of the repository whose root this is; a working tree beside another has a file that names it.
fn repository(root: &Path) -> PathBuf {
    let git = root.join(".git");
    let text = fs::read_to_string(&git).unwrap_or_default();
    match text.trim().strip_prefix("gitdir: ") {
        Some(path) => root.join(path),
        None => git,
    }
}
