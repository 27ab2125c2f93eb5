//! ARCHITECTURE.md and CONTRIBUTING.md name files that are there, and every module and feature has its row.

use std::path::Path;

use crate::support::sources::files;

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a document")
}

/// What stands between backticks and is a file of code or a folder of ours. What a build leaves in `target/` is not:
/// it is there or not.
fn named(text: &str) -> Vec<&str> {
    let ours = |name: &&str| {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
        let is_file = name.ends_with(".rs") || name.ends_with('/') && !name.starts_with('/');
        plain && is_file && !name.starts_with("target/")
    };
    text.split('`').skip(1).step_by(2).filter(ours).collect()
}

/// Names of files that are nowhere: written from the repository, from `src`, or from the folder of a feature, or alone.
fn absent(text: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all: Vec<String> = ["src", "tests", "benches/src", "xtask/src"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .map(|(path, _)| path)
        .collect();
    let there = |name: &str| {
        let ends = format!("/{name}");
        root.join(name).exists()
            || root.join("src").join(name).exists()
            || all.iter().any(|path| path.ends_with(&ends) || path.contains(&ends))
    };
    named(text).into_iter().filter(|name| !there(name)).map(str::to_owned).collect()
}

#[test]
fn files_that_documents_name_are_there() {
    for name in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = text(name);
        assert!(named(&text).len() > 10, "{name} names files");
        // The example of a new step has no number yet.
        let absent: Vec<String> = absent(&text).into_iter().filter(|path| !path.contains("000N")).collect();
        assert!(absent.is_empty(), "{name} names what is nowhere: {absent:?}");
    }
    assert_eq!(absent("`src/nowhere.rs` and `codes/store.rs` and `/oauth/apps`"), ["src/nowhere.rs"]);
}

#[test]
fn every_module_and_feature_has_a_row_in_the_map() {
    let text = text("ARCHITECTURE.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for folder in ["", "features/"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a plain name");
            let name =
                if entry.path().is_dir() { format!("src/{folder}{name}/") } else { format!("src/{folder}{name}") };
            let known = ["src/lib.rs", "src/features/", "src/features/mod.rs"].contains(&name.as_str());
            assert!(known || text.contains(&format!("`{name}")), "no row for {name}");
        }
    }
}
