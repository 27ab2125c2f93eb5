//! The container image as an OCI image layout, made of files alone: the binary, the libraries that it asks for, and the
//! authorities of this machine.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Parts, TAR};
use crate::shell;

/// As the `Dockerfile` has it.
const USER: &str = "10001:10001";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// The files that the loader takes a binary's libraries from, the loader included.
fn libraries(told: &str) -> BTreeSet<&str> {
    told.split_whitespace().filter(|word| word.starts_with('/')).collect()
}

pub fn make(parts: &Parts) -> Result<String, String> {
    let root = "image";
    parts.copy(&parts.binary, &format!("{root}/usr/local/bin/referral"))?;
    let told = shell::output("ldd", &[&parts.binary.display().to_string()]).ok_or("ldd does not know the binary")?;
    for library in libraries(&told) {
        parts.copy(library, &format!("{root}{library}"))?;
    }
    if Path::new("/").join(AUTHORITIES).exists() {
        parts.copy(Path::new("/").join(AUTHORITIES), &format!("{root}/{AUTHORITIES}"))?;
    }
    parts.write(&format!("{root}/etc/passwd"), "referral:x:10001:10001::/data:/nonexistent\n")?;
    parts.write(&format!("{root}/etc/group"), "referral:x:10001:\n")?;
    parts.write(&format!("{root}/etc/nsswitch.conf"), "hosts: files dns\n")?;
    parts.folder(&format!("{root}/data"))?;
    parts.folder(&format!("{root}/tmp"))?;
    // One archive for what is root's, and the folder of the data for whoever runs it.
    parts.sh(&format!(
        "chmod 755 {root}/usr/local/bin/referral; mkdir -p oci/blobs/sha256; \
         {TAR} --directory {root} --file layer.tar --exclude ./data --exclude ./tmp .; \
         tar --append --format=gnu --mtime=@0 --owner=10001 --group=10001 --numeric-owner --mode=0700 \
             --directory {root} --file layer.tar ./data; \
         tar --append --format=gnu --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=1777 \
             --directory {root} --file layer.tar ./tmp; \
         rm -r {root}"
    ))?;
    let open = digest(parts, "layer.tar")?;
    parts.sh("gzip -9n layer.tar")?;
    let layer = blob(parts, "layer.tar.gz")?;
    parts.write("config.json", &config(&open))?;
    let config = blob(parts, "config.json")?;
    parts.write("manifest.json", &manifest(&config, &layer))?;
    let manifest = blob(parts, "manifest.json")?;
    parts.write("oci/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    parts.write("oci/index.json", &index(&manifest, &parts.version))?;
    let name = format!("referral-{}-x86_64.oci.tar", parts.version);
    parts.sh(&format!("{TAR} --directory oci --file {name} .; rm -r oci"))?;
    Ok(name)
}

/// A file that others name by its digest.
struct Blob {
    digest: String,
    size: u64,
}

fn digest(parts: &Parts, name: &str) -> Result<String, String> {
    let told = shell::output_in(&parts.folder, "sha256sum", &[name]).ok_or("sha256sum fails")?;
    Ok(told.split(' ').next().unwrap_or_default().to_owned())
}

fn blob(parts: &Parts, name: &str) -> Result<Blob, String> {
    let size = parts.folder.join(name).metadata().map_err(|error| format!("{name}: {error}"))?.len();
    let digest = digest(parts, name)?;
    parts.sh(&format!("mv {name} oci/blobs/sha256/{digest}"))?;
    Ok(Blob { digest, size })
}

fn config(open_layer: &str) -> String {
    format!(
        r#"{{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","config":{{"User":"{USER}","WorkingDir":"/data","Env":["REFERRAL_LISTEN=0.0.0.0:8000"],"ExposedPorts":{{"8000/tcp":{{}}}},"Volumes":{{"/data":{{}}}},"Entrypoint":["/usr/local/bin/referral"],"Cmd":["serve"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{open_layer}"]}}}}"#
    )
}

fn manifest(config: &Blob, layer: &Blob) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:{}","size":{}}}]}}"#,
        config.digest, config.size, layer.digest, layer.size
    )
}

fn index(manifest: &Blob, version: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":{},"platform":{{"architecture":"amd64","os":"linux"}},"annotations":{{"org.opencontainers.image.ref.name":"referral:{version}"}}}}]}}"#,
        manifest.digest, manifest.size
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_files_that_the_loader_names() {
        let told = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(told).into_iter().collect::<Vec<_>>(), expected);
    }
}
