//! `cargo xtask package`

mod deb;
mod image;
mod tried;

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Failure, Outcome, help, shell};

const HELP: &str = "\
Make what others install: an archive, a Debian package and a container image, each with its checksum.

Usage: cargo xtask package [--binary FILE] [--try]

They lie in target/package/: referral-VERSION-x86_64-linux.tar.gz, referral_VERSION_amd64.deb,
referral-VERSION-x86_64.oci.tar (an OCI image layout, made without a container engine: `podman load`, `skopeo copy
oci-archive:FILE …`), and SHA256SUMS. The binary needs the glibc of the machine that builds it, or a newer one: build
on the oldest distribution that it is for. The same binary gives the same files. dpkg-deb and GNU tar have to be there.

Options:
  --binary FILE  This binary, and not one that is built now (cargo build --profile dist --locked)
  --try          As root: unpack and start the archive, install, start and remove the package, start the image in a
                 root of its own (chroot)
";

/// What the packages are made of, and where they come to lie.
struct Parts {
    binary: PathBuf,
    version: String,
    /// target/package
    folder: PathBuf,
}

pub fn run(arguments: &[String]) -> Outcome {
    let (mut binary, mut tries, mut rest) = (None, false, arguments);
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        match first.as_str() {
            "-h" | "--help" => return help(HELP),
            "--try" => tries = true,
            "--binary" => {
                let (file, others) =
                    rest.split_first().ok_or_else(|| Failure::Usage("which binary?".to_owned(), HELP))?;
                (binary, rest) = (Some(PathBuf::from(file)), others);
            }
            other => return Err(Failure::Usage(format!("what is `{other}`?"), HELP)),
        }
    }
    if tries && !testkit::is_root() {
        return Err("--try installs a package and needs another root: run it as root".to_owned().into());
    }
    let binary = match binary {
        Some(binary) => fs::canonicalize(&binary).map_err(|error| format!("{}: {error}", binary.display()))?,
        None => {
            let mut cargo = shell::command("cargo", &["build", "--profile", "dist", "--locked", "--bin", "referral"]);
            if shell::run(&mut cargo)? != 0 {
                return Ok(1);
            }
            shell::target()?.join("dist/referral")
        }
    };
    let told = shell::output(&binary, &["--version"]).unwrap_or_default();
    let version = told.split(' ').nth(1).ok_or_else(|| "the binary tells no version".to_owned())?.to_owned();
    let folder = shell::target()?.join("package");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let parts = Parts { binary, version, folder };
    parts.folder("")?;
    let made = [parts.archive()?, deb::make(&parts)?, image::make(&parts)?];
    let names: Vec<&str> = made.iter().map(String::as_str).collect();
    let sums = shell::output_in(&parts.folder, "sha256sum", &names).ok_or_else(|| "sha256sum fails".to_owned())?;
    parts.write("SHA256SUMS", &sums)?;
    print!("{sums}");
    if tries { tried::all(&parts, &made) } else { Ok(0) }
}

impl Parts {
    /// A folder below the one that packages come to lie in.
    fn folder(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        Ok(folder)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let file = self.folder.join(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    /// Copies a file with its mode; the source is written from the repository's root.
    fn copy(&self, from: impl AsRef<Path>, name: &str) -> Result<(), String> {
        let (from, to) = (shell::root().join(from), self.folder.join(name));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        fs::copy(&from, &to).map(drop).map_err(|error| format!("cannot copy {}: {error}", from.display()))
    }

    /// Runs a shell's command in the folder of the packages.
    fn sh(&self, script: &str) -> Result<(), String> {
        match shell::run(shell::command("sh", &["-euc", script]).current_dir(&self.folder))? {
            0 => Ok(()),
            code => Err(format!("`{script}` has ended with {code}")),
        }
    }

    /// The manual pages and completions, below two folders.
    fn generated(&self, manual: &str, completions: [&str; 3]) -> Result<(), String> {
        let folder = self.folder(manual)?;
        let folder = folder.to_str().ok_or("a path that is no text")?;
        shell::output(&self.binary, &["man", folder]).ok_or("the binary writes no manual")?;
        for (shell, file) in ["bash", "zsh", "fish"].iter().zip(completions) {
            let text = shell::output(&self.binary, &["completions", shell]).ok_or("the binary has no completions")?;
            self.write(file, &text)?;
        }
        Ok(())
    }

    fn archive(&self) -> Result<String, String> {
        let name = format!("referral-{}-x86_64-linux", self.version);
        self.copy(&self.binary, &format!("{name}/referral"))?;
        for file in ["README.md", "README.ru.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT"] {
            self.copy(file, &format!("{name}/{file}"))?;
        }
        for file in ["referral.service", "nginx.conf", "Caddyfile", "alerts.yml", "grafana.json"] {
            self.copy(format!("deploy/{file}"), &format!("{name}/deploy/{file}"))?;
        }
        self.copy("referral.default.toml", &format!("{name}/referral.default.toml"))?;
        self.copy("docs/operations.md", &format!("{name}/docs/operations.md"))?;
        let completions =
            ["referral.bash", "_referral", "referral.fish"].map(|file| format!("{name}/completions/{file}"));
        self.generated(&format!("{name}/man/man1"), completions.each_ref().map(String::as_str))?;
        self.sh(&format!("chmod 755 {name}/referral; {TAR} {name} | gzip -9n > {name}.tar.gz"))?;
        Ok(format!("{name}.tar.gz"))
    }
}

/// Without what differs from one machine or minute to another.
const TAR: &str =
    "tar --create --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go-w,a+rX";
