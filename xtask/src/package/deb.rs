//! The Debian package: the binary, its service and user, manual pages and completions.

use super::Parts;
use crate::shell;

/// The oldest glibc that has all that a binary asks for: its package's version.
fn glibc(symbols: &str) -> String {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let text: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let numbers: Vec<u32> = text.split('.').filter_map(|number| number.parse().ok()).collect();
        (!numbers.is_empty()).then_some((numbers, text))
    });
    versions.max().map_or_else(|| "2.31".to_owned(), |(_, text)| text)
}

fn control(version: &str, glibc: &str, kilobytes: u64) -> String {
    format!(
        "Package: referral\nVersion: {version}\nArchitecture: amd64\nSection: web\nPriority: optional\n\
         Maintainer: Referral's authors <referral@localhost>\nInstalled-Size: {kilobytes}\n\
         Depends: libc6 (>= {glibc}), passwd\nRecommends: ca-certificates\nSuggests: postgresql-client, redis-server\n\
         Description: self-hosted referral-program service\n People share a link or a code that expires, friends \
         register by it, and everybody sees\n who brought whom. One binary with a database inside; PostgreSQL and Redis \
         if wanted.\n"
    )
}

const POSTINST: &str = "#!/bin/sh
set -e
if [ \"$1\" = configure ]; then
    if ! getent passwd referral > /dev/null; then
        useradd --system --user-group --home-dir /var/lib/referral --no-create-home --shell /usr/sbin/nologin referral
    fi
    install -d -m 700 -o referral -g referral /var/lib/referral
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        if [ -n \"$2\" ]; then systemctl try-restart referral.service; fi
    fi
fi
";

const PRERM: &str = "#!/bin/sh
set -e
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then systemctl --no-reload disable --now referral.service; fi
";

/// The database stays: nobody loses people by removing a package.
const POSTRM: &str = "#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
";

/// The unit as it stands in `deploy/`, for a binary and a user that a package brings.
fn unit(text: &str) -> String {
    let rest: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("[Unit]")).collect();
    rest.join("\n")
        .replace("/usr/local/bin/referral", "/usr/bin/referral")
        .replace("DynamicUser=yes", "User=referral\nGroup=referral")
        + "\n"
}

/// Settings that say nothing yet: everything is as the binary has it.
const SETTINGS: &str = "# Settings of Referral; `referral config` prints all of them with their defaults.\n\
                        # Readable by everybody: secrets belong into files of their own, see the unit.\n";

pub fn make(parts: &Parts) -> Result<String, String> {
    let (root, version) = ("deb", &parts.version);
    parts.copy(&parts.binary, &format!("{root}/usr/bin/referral"))?;
    let service = shell::root().join("deploy/referral.service");
    let service = std::fs::read_to_string(service).map_err(|error| format!("deploy/referral.service: {error}"))?;
    parts.write(&format!("{root}/lib/systemd/system/referral.service"), &unit(&service))?;
    parts.write(&format!("{root}/etc/referral/referral.toml"), SETTINGS)?;
    let share = format!("{root}/usr/share");
    let completions = [
        format!("{share}/bash-completion/completions/referral"),
        format!("{share}/zsh/vendor-completions/_referral"),
        format!("{share}/fish/vendor_completions.d/referral.fish"),
    ];
    parts.generated(&format!("{share}/man/man1"), completions.each_ref().map(String::as_str))?;
    let docs = format!("{share}/doc/referral");
    for file in ["README.md", "CHANGELOG.md", "SECURITY.md", "docs/operations.md"] {
        let name = file.rsplit('/').next().unwrap_or(file);
        parts.copy(file, &format!("{docs}/{name}"))?;
    }
    let licence =
        "Referral is licensed as MIT OR Apache-2.0; the latter is in /usr/share/common-licenses/Apache-2.0.\n\n";
    let mit =
        std::fs::read_to_string(shell::root().join("LICENSE-MIT")).map_err(|error| format!("LICENSE-MIT: {error}"))?;
    parts.write(&format!("{docs}/copyright"), &format!("{licence}{mit}"))?;
    let symbols = shell::output("objdump", &["-T", &parts.binary.display().to_string()]).unwrap_or_default();
    let size = parts.binary.metadata().map_or(0, |metadata| metadata.len() / 1024);
    parts.write(&format!("{root}/DEBIAN/control"), &control(version, &glibc(&symbols), size))?;
    parts.write(&format!("{root}/DEBIAN/conffiles"), "/etc/referral/referral.toml\n")?;
    for (name, script) in [("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)] {
        parts.write(&format!("{root}/DEBIAN/{name}"), script)?;
    }
    let name = format!("referral_{version}_amd64.deb");
    parts.sh(&format!(
        "gzip -9n {share}/man/man1/*.1; chmod -R go-w,a+rX {root}; \
         chmod 755 {root}/usr/bin/referral {root}/DEBIAN/postinst {root}/DEBIAN/prerm {root}/DEBIAN/postrm; \
         find {root} -exec touch -h -d @0 {{}} +; SOURCE_DATE_EPOCH=0 dpkg-deb --root-owner-group -Zxz --build {root} {name} > /dev/null; rm -r {root}"
    ))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_says_which_glibc_is_needed() {
        let symbols = "0000 DF *UND* (GLIBC_2.2.5) free\n0000 DF *UND* (GLIBC_2.34) x\n0000 DF *UND* (GLIBC_2.17) y\n";
        assert_eq!(glibc(symbols), "2.34");
        assert_eq!(glibc(""), "2.31");
    }

    #[test]
    fn the_unit_is_that_of_the_repository_for_the_packages_user() {
        let text = std::fs::read_to_string(shell::root().join("deploy/referral.service")).unwrap();
        let unit = unit(&text);
        assert!(unit.starts_with("[Unit]") && unit.contains("ExecStart=/usr/bin/referral serve --config"), "{unit}");
        assert!(unit.contains("User=referral\n") && !unit.contains("DynamicUser"), "{unit}");
        assert!(control("1.2.3", "2.34", 9).contains("Version: 1.2.3\n"));
    }
}
