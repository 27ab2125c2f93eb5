//! Each package is installed as others would, and what it brings is started and asked.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Parts;
use crate::{Outcome, shell};

/// Longer than a start takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn all(parts: &Parts, made: &[String; 3]) -> Outcome {
    let [archive, package, image] = made;
    for (name, tried) in
        [(archive, unpacked(parts, archive)), (package, installed(parts, package)), (image, rooted(parts, image))]
    {
        tried.map_err(|why| format!("{name}: {why}"))?;
        println!("{name}: installed, started, asked, stopped");
    }
    Ok(0)
}

fn unpacked(parts: &Parts, archive: &str) -> Result<(), String> {
    parts.sh(&format!("sha256sum --quiet --check SHA256SUMS; mkdir -p tried; tar -xzf {archive} -C tried"))?;
    let binary = parts.folder.join("tried").join(archive.trim_end_matches(".tar.gz")).join("referral");
    let data = parts.folder("tried/archive-data")?;
    let tried = ask(|command, listen| begin(Command::new(&binary).arg(command).current_dir(&data), listen));
    parts.sh("rm -r tried")?;
    tried
}

/// By dpkg, beside what this machine has: it is removed again, and its database with it.
fn installed(parts: &Parts, package: &str) -> Result<(), String> {
    if Path::new("/usr/bin/referral").exists() {
        return Err("this machine has a package of Referral's already, which stays as it is".to_owned());
    }
    // A package that was removed has left its database, which would be removed below.
    if Path::new("/var/lib/referral").exists() {
        return Err("/var/lib/referral is there: somebody's people may be in it, which stay as they are".to_owned());
    }
    parts.sh(&format!("dpkg --install {package} > /dev/null; dpkg --verify referral"))?;
    let tried = ask(|command, listen| {
        let user = ["--reuid=referral", "--regid=referral", "--init-groups", "/usr/bin/referral"];
        let mut binary = Command::new("setpriv");
        binary.args(user).args([command, "--config", SETTINGS]).current_dir("/var/lib/referral");
        begin(&mut binary, listen)
    });
    let kept = Path::new("/var/lib/referral/referral.db").exists();
    let complete = ["/usr/share/man/man1/referral.1.gz", "/lib/systemd/system/referral.service", SETTINGS]
        .iter()
        .all(|file| Path::new(file).exists());
    parts.sh("dpkg --purge referral > /dev/null; rm -rf /var/lib/referral; userdel referral")?;
    tried?;
    if !kept || !complete || Path::new("/usr/bin/referral").exists() {
        return Err("it leaves no database where it should, or does not bring or take away its files".to_owned());
    }
    Ok(())
}

const SETTINGS: &str = "/etc/referral/referral.toml";

/// In a root that has nothing but the image's only layer.
fn rooted(parts: &Parts, image: &str) -> Result<(), String> {
    parts.sh(&format!(
        "mkdir -p tried/oci tried/root; tar -xf {image} -C tried/oci; \
         for blob in tried/oci/blobs/sha256/*; do \
             echo \"${{blob##*/}}  $blob\" | sha256sum --quiet --check; \
             if gzip -t \"$blob\" 2> /dev/null; then tar -xpzf \"$blob\" -C tried/root; fi; \
         done"
    ))?;
    let root = parts.folder("tried/root")?;
    let tried = ask(|command, listen| {
        let mut binary = Command::new("chroot");
        binary.arg("--userspec=10001:10001").arg(&root).args(["/usr/local/bin/referral", command]);
        begin(binary.env("DATABASE_URL", "sqlite:/data/referral.db"), listen)
    });
    parts.sh("rm -r tried")?;
    tried
}

/// Without what it says, and listening there.
fn begin(command: &mut Command, listen: &str) -> std::io::Result<Child> {
    command.env("REFERRAL_LISTEN", listen).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Starts the service on a free port, asks it by its own command whether it is ready, and stops it.
fn ask(start: impl Fn(&str, &str) -> std::io::Result<Child>) -> Result<(), String> {
    let listen = format!("127.0.0.1:{}", testkit::free_port()?);
    let run = |command| start(command, &listen).map_err(|error| format!("it cannot be started: {error}"));
    let mut serving = run("serve")?;
    let began = Instant::now();
    let outcome = loop {
        if run("health")?.wait().is_ok_and(|ended| ended.success()) {
            break Ok(());
        }
        if let Ok(Some(ended)) = serving.try_wait() {
            break Err(format!("the service has ended: {ended}"));
        }
        if began.elapsed() > PATIENCE {
            break Err("the service is not ready within a minute".to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let kill = format!("kill -s TERM {}", serving.id());
    let _ = shell::run(&mut shell::command("sh", &["-c", &kill]));
    let ended = serving.wait().map_err(|error| format!("it is lost: {error}"))?;
    outcome.and(if ended.success() { Ok(()) } else { Err(format!("its stop ends with {ended}")) })
}
