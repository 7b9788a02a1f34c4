//! From the settings to what rustls needs. All is checked before anything is used.

use std::sync::Arc;
use std::time::SystemTime;

use rcorn_front_link::{CertificateFacts, ClientCertificates, Tls, TlsVersion, VerifyMode};
use ring::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::resolver::Resolver;
use super::sites::{self, Site};
use super::tickets::Tickets;

/// What new connections are accepted with.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) certificates: Vec<CertificateFacts>,
}

/// What the checks need, and what they make.
struct Parts {
    provider: CryptoProvider,
    versions: Vec<&'static SupportedProtocolVersion>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    sites: Vec<Site>,
}

/// Makes what connections are accepted with.
///
/// # Errors
///
/// A sentence that names what cannot be used, the cause and the way out.
pub(crate) fn build(
    tls: &Tls,
    ticket_keys: &[rcorn_front_link::TicketKey],
    http2: bool,
) -> Result<Server, String> {
    let parts = parts(tls)?;
    let resolver = Arc::new(Resolver::new(&parts.sites));
    let builder = ServerConfig::builder_with_provider(Arc::new(parts.provider))
        .with_protocol_versions(&parts.versions)
        .map_err(|error| format!("these ciphers cannot be used: {error}; hint: {CIPHER_HINT}"))?;
    let builder = match parts.verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    let tickets = Arc::new(Tickets::new(ticket_keys, context(&tls.client_certificates)));
    config.ticketer = Arc::<Tickets>::clone(&tickets);
    // Sessions are in tickets, so that any front knows them.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let protocols: &[&[u8]] = if http2 {
        &[b"h2", b"http/1.1"]
    } else {
        &[b"http/1.1"]
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let certificates = parts.sites.into_iter().map(|site| site.facts).collect();
    Ok(Server {
        config: Arc::new(config),
        tickets,
        certificates,
    })
}

/// Checks all of it, and returns what the certificates say.
///
/// # Errors
///
/// As for [`build`].
pub(crate) fn check(tls: &Tls) -> Result<Vec<CertificateFacts>, String> {
    build(tls, &[], true).map(|server| server.certificates)
}

fn parts(tls: &Tls) -> Result<Parts, String> {
    let mut provider = rustls::crypto::ring::default_provider();
    choose_ciphers(&mut provider, &tls.ciphers)?;
    let versions = versions(tls)?;
    let now = SystemTime::now();
    let load = |site| sites::load(site, &provider, now);
    let sites: Vec<Site> = tls.sites.iter().map(load).collect::<Result<_, _>>()?;
    if sites.is_empty() {
        return Err("TLS needs a certificate; hint: set certfile and keyfile".to_owned());
    }
    let verifier = verifier(&tls.client_certificates, &provider)?;
    Ok(Parts {
        provider,
        versions,
        verifier,
        sites,
    })
}

const CIPHER_HINT: &str = "TLS 1.2 and TLS 1.3 have suites of their own";

/// Leaves the suites that are named, in their order.
fn choose_ciphers(provider: &mut CryptoProvider, names: &[String]) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    let name_of = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
    let mut chosen = Vec::new();
    for name in names {
        let suite = provider
            .cipher_suites
            .iter()
            .find(|suite| name_of(suite) == *name);
        chosen.push(*suite.ok_or_else(|| {
            let all: Vec<String> = provider.cipher_suites.iter().map(name_of).collect();
            format!(
                "there is no cipher suite '{name}'; hint: choose among {}",
                all.join(", ")
            )
        })?);
    }
    provider.cipher_suites = chosen;
    Ok(())
}

fn versions(tls: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let newest = tls.max_version.unwrap_or(TlsVersion::V13);
    let wanted = |version| tls.min_version <= version && version <= newest;
    let all = [(TlsVersion::V13, &TLS13), (TlsVersion::V12, &TLS12)];
    let chosen: Vec<_> = all
        .into_iter()
        .filter_map(|(version, known)| wanted(version).then_some(known))
        .collect();
    if chosen.is_empty() {
        return Err(
            "the oldest version of TLS is newer than the newest one; hint: allow 1.2 to 1.3"
                .to_owned(),
        );
    }
    Ok(chosen)
}

fn verifier(
    clients: &ClientCertificates,
    provider: &CryptoProvider,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let file = &clients.ca_certs;
    if clients.mode == VerifyMode::None {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for certificate in sites::certificates(file, &clients.certificates)? {
        roots.add(certificate).map_err(|error| {
            format!(
                "a certificate in {file} cannot be that of an authority: {error}; hint: look at \
                 it with 'openssl x509 -text'"
            )
        })?;
    }
    let provider = Arc::new(provider.clone());
    let revoked = sites::revocations(file, &clients.certificates)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(revoked)
        // A list is of one authority; one without a list is trusted as before.
        .allow_unknown_revocation_status();
    if clients.mode == VerifyMode::Optional {
        builder = builder.allow_unauthenticated();
    }
    let verifier = builder.build().map_err(|error| {
        format!("the authorities in {file} cannot be used: {error}; hint: look at the file")
    })?;
    Ok(Some(verifier))
}

/// What a session's client was checked by.
fn context(clients: &ClientCertificates) -> Vec<u8> {
    let mode: &[u8] = match clients.mode {
        VerifyMode::None => return Vec::new(),
        VerifyMode::Optional => b"optional\n",
        VerifyMode::Required => b"required\n",
    };
    let checked_by = [mode, &clients.certificates].concat();
    digest(&SHA256, &checked_by).as_ref().to_vec()
}
