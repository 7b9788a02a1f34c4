//! A site's certificate and key, from the files that the arbiter has read. What would fail for each
//! client is refused here, in a sentence that names the file.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcorn_front_link::{CertificateFacts, TlsSite};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::certificate::Certificate;

/// A site that can be served.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: CertificateFacts,
}

/// Reads and checks one site.
///
/// # Errors
///
/// A sentence that names the file, the cause and the way out.
pub(super) fn load(
    site: &TlsSite,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<Site, String> {
    let chain = certificates(&site.certfile, &site.certificate)?;
    let facts = facts(site, &chain, now)?;
    let key = private_key(site)?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let (key, certificate) = (&site.keyfile, &site.certfile);
        if error == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
            return format!(
                "the key {key} does not fit the certificate {certificate}; hint: the first \
                 certificate in the file must be the site's own, and both files must be of the \
                 same issue"
            );
        }
        format!(
            "the key {key} for the certificate {certificate} cannot be used: {error}; hint: use \
             ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits"
        )
    })?;
    let key = CertifiedKey {
        ocsp: site.ocsp.clone(),
        ..key
    };
    let key = Arc::new(key);
    Ok(Site { key, facts })
}

/// The certificates of a PEM file.
///
/// # Errors
///
/// It is not PEM, or has none.
pub(super) fn certificates(file: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| {
        format!("the certificate {file} is not in PEM: {error}; hint: {PEM_HINT}")
    })?;
    if found.is_empty() {
        return Err(format!(
            "the file {file} has no certificate in PEM; hint: {PEM_HINT}"
        ));
    }
    Ok(found)
}

const PEM_HINT: &str = "it must have '-----BEGIN CERTIFICATE-----'; \
                        'openssl x509 -inform DER -in FILE -out NEW' converts from DER";

/// What the site's own certificate says, if it is valid now.
fn facts(
    site: &TlsSite,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<CertificateFacts, String> {
    let file = &site.certfile;
    let parsed = chain.first().and_then(|own| Certificate::parse(own));
    let Certificate {
        names,
        not_before,
        not_after,
    } = parsed.ok_or_else(|| {
        format!("the certificate {file} is malformed; hint: look at it with 'openssl x509 -text'")
    })?;
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(seconds).unwrap_or(i64::MAX);
    if now > not_after {
        let date = date(not_after);
        return Err(format!(
            "the certificate {file} has expired on {date}; hint: renew it"
        ));
    }
    if now < not_before {
        let date = date(not_before);
        return Err(format!(
            "the certificate {file} is not valid before {date}; hint: is this machine's clock \
             right?"
        ));
    }
    Ok(CertificateFacts {
        certfile: file.clone(),
        names,
        not_after,
    })
}

fn date(seconds: i64) -> String {
    let seconds = Duration::from_secs(seconds.try_into().unwrap_or(0));
    httpdate::fmt_http_date(UNIX_EPOCH.checked_add(seconds).unwrap_or(UNIX_EPOCH))
}

fn private_key(site: &TlsSite) -> Result<PrivateKeyDer<'static>, String> {
    let file = &site.keyfile;
    if is_encrypted(&site.key) {
        return Err(format!(
            "the key {file} is encrypted with a passphrase, which nobody can type at a start; \
             hint: 'openssl pkey -in {file} -out NEW' decrypts it; let only root read NEW"
        ));
    }
    PrivateKeyDer::from_pem_slice(&site.key).map_err(|error| {
        format!(
            "the file {file} has no private key in PEM: {error}; hint: it must have \
             '-----BEGIN PRIVATE KEY-----', or the same with EC or RSA"
        )
    })
}

/// Whether a PEM file has an encrypted key, of PKCS #8 (RFC 5958) or of OpenSSL's older form (RFC
/// 1421 section 4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let has = |text: &[u8]| memchr::memmem::find(pem, text).is_some();
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// The revocation lists of a PEM file (RFC 5280 section 5).
///
/// # Errors
///
/// One of them is not in PEM.
pub(super) fn revocations(
    file: &str,
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    found.map_err(|error| {
        format!("a revocation list in {file} is not in PEM: {error}; hint: fetch it again")
    })
}
