//! Reads the files of certificates, in a helper process: a file may be on a disk that does not
//! answer. The arbiter does it, because a front has no rights of its own to read a private key.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::{Registry, Token};
use nix::sys::signal::Signal;

use rcorn_arbiter::Pid;
use rcorn_front_link::{ClientCertificates, Tls, TlsSite, TlsVersion, VerifyMode};
use rcorn_settings::{Ciphers, ClientCertificates as CertReqs, Settings, TlsVersions};
use rcorn_sys::exit_now;
use rcorn_sys::fork::{Fork, fork};
use rcorn_types::{Monotonic, with_remedy};

use crate::helper::{Helper, HelperError, answer_pipe};

/// How long it may take.
const READING_LIMIT: Duration = Duration::from_secs(10);
/// The largest file, in bytes: a list of all authorities of the web has a quarter of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// All files that a front is made from, for those who watch them.
pub(super) fn files(settings: &Settings) -> Vec<PathBuf> {
    let pairs = settings.certificate_files().into_iter();
    let mut files: Vec<PathBuf> = pairs.flat_map(|(one, other)| [one, other]).collect();
    files.extend(settings.ca_certs.clone());
    files.extend(settings.ocsp_staple.clone());
    files.sort();
    files.dedup();
    files
}

/// Files that are being read.
#[derive(Debug)]
pub(crate) struct Reading {
    helper: Helper,
}

impl Reading {
    /// Begins.
    ///
    /// # Errors
    ///
    /// No process can be made.
    pub(crate) fn start(settings: &Settings) -> io::Result<Self> {
        let (answer, theirs) = answer_pipe()?;
        let arbiter = std::process::id();
        match fork()? {
            Fork::Parent(pid) => Ok(Self {
                helper: Helper::new(Pid(pid.as_raw()), answer, READING_LIMIT),
            }),
            Fork::Child => {
                drop(answer);
                read_and_exit(settings, theirs, arbiter)
            }
        }
    }

    /// Makes the loop wake up for the end.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.helper.register(registry, token)
    }

    /// When it is given up.
    pub(crate) fn deadline(&self) -> Monotonic {
        self.helper.deadline()
    }

    /// What was read, or a sentence that says why not; `None`: not yet.
    pub(crate) fn poll(&mut self, now: Monotonic) -> Option<Result<Tls, String>> {
        self.helper.poll(now).map(decoded)
    }

    /// The same for commands that have no loop.
    ///
    /// # Errors
    ///
    /// A sentence that says why nothing was read.
    pub(crate) fn wait(self) -> Result<Tls, String> {
        decoded(self.helper.wait())
    }
}

fn decoded(answer: Result<Vec<u8>, HelperError>) -> Result<Tls, String> {
    let answer = answer.map_err(|error| format!("the files of certificates: {error}"))?;
    serde_json::from_slice(&answer).unwrap_or_else(|_cut| {
        Err("the files of certificates: the process that reads them ended early".to_owned())
    })
}

fn read_and_exit(settings: &Settings, answer: OwnedFd, arbiter: u32) -> ! {
    let is_orphan = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_err()
        || nix::unistd::getppid().as_raw().cast_unsigned() != arbiter;
    let write = || -> io::Result<()> {
        let text = serde_json::to_vec(&read(settings))?;
        File::from(answer).write_all(&text)
    };
    exit_now(i32::from(is_orphan || write().is_err()))
}

/// What a front needs to know of TLS, with the contents of the files; or a sentence that names the
/// file, the cause and the way out.
fn read(settings: &Settings) -> Result<Tls, String> {
    let mut sites = Vec::new();
    for (certificate, key) in settings.certificate_files() {
        sites.push(TlsSite {
            certificate: read_file("the certificate", "certfile", &certificate)?,
            key: read_file("the key", "keyfile", &key)?,
            certfile: shown(&certificate),
            keyfile: shown(&key),
            ocsp: None,
        });
    }
    if let (Some(first), Some(path)) = (sites.first_mut(), &settings.ocsp_staple) {
        first.ocsp = Some(read_file("the OCSP response", "ocsp_staple", path)?);
    }
    let mode = match settings.cert_reqs {
        CertReqs::None => VerifyMode::None,
        CertReqs::Optional => VerifyMode::Optional,
        CertReqs::Required => VerifyMode::Required,
    };
    let mut client_certificates = ClientCertificates {
        mode,
        ..ClientCertificates::default()
    };
    // Without `cert_reqs` nobody is asked.
    if let (Some(path), true) = (&settings.ca_certs, mode != VerifyMode::None) {
        client_certificates.certificates = read_file("the authorities", "ca_certs", path)?;
        client_certificates.ca_certs = shown(path);
    }
    let (min_version, max_version) = match settings.ssl_version {
        TlsVersions::All => (TlsVersion::V12, None),
        TlsVersions::Tls12 => (TlsVersion::V12, Some(TlsVersion::V12)),
        TlsVersions::Tls13 => (TlsVersion::V13, None),
    };
    let ciphers = settings.ciphers.iter().flat_map(Ciphers::names);
    Ok(Tls {
        sites,
        client_certificates,
        ciphers: ciphers.map(str::to_owned).collect(),
        min_version,
        max_version,
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn read_file(what: &str, setting: &str, path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        file.take(MAX_FILE_BYTES.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
            return Err(io::Error::other("it has more than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|error| {
        format!(
            "cannot read {what} {}: {}; hint: check {setting}, and that rcorn's user may read the file",
            path.display(),
            with_remedy(&error)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> Settings {
        for name in ["cert", "key", "ca", "staple"] {
            std::fs::write(folder.join(name), name).unwrap();
        }
        Settings {
            certfile: Some(folder.join("cert")),
            keyfile: Some(folder.join("key")),
            certificates: vec![(shown(&folder.join("cert")), shown(&folder.join("key")))],
            ca_certs: Some(folder.join("ca")),
            cert_reqs: CertReqs::Optional,
            ocsp_staple: Some(folder.join("staple")),
            ssl_version: TlsVersions::Tls12,
            ..Settings::default()
        }
    }

    #[test]
    fn files_are_read_in_the_order_of_the_settings() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let tls = read(&settings).unwrap();
        assert_eq!(tls.sites.len(), 2);
        assert_eq!(tls.sites[0].certificate, b"cert");
        assert_eq!(tls.sites[0].ocsp.as_deref(), Some(&b"staple"[..]));
        assert_eq!(tls.sites[1].key, b"key");
        assert_eq!(tls.sites[1].ocsp, None);
        assert_eq!(tls.client_certificates.certificates, b"ca");
        assert_eq!(tls.max_version, Some(TlsVersion::V12));
        assert_eq!(files(&settings).len(), 4);
        // It goes through the pipe of the helper.
        let text = serde_json::to_vec(&Ok::<_, String>(tls.clone())).unwrap();
        assert_eq!(decoded(Ok(text)), Ok(tls));
        assert!(
            decoded(Ok(b"{".to_vec()))
                .unwrap_err()
                .contains("ended early")
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        let large = vec![0; 1024 * 1024 + 1];
        std::fs::write(folder.path().join("large"), large).unwrap();
        for (name, reason) in [
            ("missing", "No such file"),
            ("large", "more than 1 MiB"),
            (".", "not a file"),
        ] {
            settings.keyfile = Some(folder.path().join(name));
            let error = read(&settings).unwrap_err();
            assert!(error.starts_with("cannot read the key /"), "{error}");
            assert!(
                error.contains(reason) && error.contains("hint: "),
                "{error}"
            );
        }
    }
}
