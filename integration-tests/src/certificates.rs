//! Certificates for tests, made by `openssl`: good ones, expired ones, and those of another host.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use tempfile::TempDir;

/// The names of a server on this machine, as [`Authority::issue`] takes them.
pub const LOOPBACK: &[&str] = &["DNS:localhost", "IP:127.0.0.1"];

/// Whether a certificate can be used now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validity {
    /// For a month.
    Good,
    /// Since yesterday.
    Expired,
}

/// A certificate authority of its own, whose files are removed when it is dropped.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

impl Authority {
    /// Makes a new one; another one's certificates are not trusted where this one is.
    ///
    /// # Errors
    ///
    /// When `openssl` is missing or fails.
    pub fn new() -> io::Result<Self> {
        let authority = Self { directory: TempDir::with_prefix("zephcast-certificates-")? };
        let subject = ["-subj", "/CN=zephcast-test-authority", "-days", "30", "-x509", "-keyout"];
        let files = [authority.file("ca.key"), "-out".into(), authority.certificate()];
        openssl(NEW_KEY.iter().chain(&subject).map(AsRef::as_ref).chain(files.iter().map(AsRef::as_ref)))?;
        Ok(authority)
    }

    /// The file that a client trusts.
    pub fn certificate(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// Signs a certificate for `name`, which must be unique here, and for servers at `hosts`, such as [`LOOPBACK`].
    ///
    /// # Errors
    ///
    /// When `openssl` fails.
    pub fn issue(&self, name: &str, hosts: &[&str], validity: Validity) -> io::Result<Certificate> {
        let file = |kind: &str| self.file(&format!("{name}.{kind}"));
        let (key, request, chain, both, extensions) =
            (file("key"), file("csr"), file("crt"), file("pem"), file("extensions"));
        let subject = format!("/CN={name}");
        let asked = ["-subj".as_ref(), subject.as_ref(), "-keyout".as_ref(), key.as_os_str()];
        let out = ["-out".as_ref(), request.as_os_str()];
        openssl(NEW_KEY.iter().map(AsRef::as_ref).chain(asked).chain(out))?;

        let names = hosts.join(",");
        fs::write(&extensions, if hosts.is_empty() { String::new() } else { format!("subjectAltName={names}\n") })?;
        let days = match validity {
            Validity::Good => "30",
            Validity::Expired => "-1",
        };
        let (authority, authority_key) = (self.certificate(), self.file("ca.key"));
        let signed: [&OsStr; 15] = [
            "x509".as_ref(),
            "-req".as_ref(),
            "-in".as_ref(),
            request.as_ref(),
            "-CA".as_ref(),
            authority.as_ref(),
            "-CAkey".as_ref(),
            authority_key.as_ref(),
            "-CAcreateserial".as_ref(),
            "-days".as_ref(),
            days.as_ref(),
            "-extfile".as_ref(),
            extensions.as_ref(),
            "-out".as_ref(),
            chain.as_ref(),
        ];
        openssl(signed)?;
        fs::write(&both, [fs::read(&key)?, fs::read(&chain)?].concat())?;
        Ok(Certificate { chain, key, both, authority })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// The files of a certificate, all PEM. They live as long as the [`Authority`] that issued it.
#[derive(Clone, Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    both: PathBuf,
    authority: PathBuf,
}

impl Certificate {
    /// What is shown to the other side.
    pub fn chain(&self) -> &Path {
        &self.chain
    }

    /// The private key, without a password.
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Both in one file.
    pub fn chain_and_key(&self) -> &Path {
        &self.both
    }

    /// The certificate of who signed it.
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

const NEW_KEY: &[&str] = &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn openssl<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> io::Result<()> {
    let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| io::Error::new(error.kind(), format!("openssl cannot be run: {error}")))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("openssl: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}
