//! Which certificate a client gets (SNI, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::sites::Site;

/// The certificates by name.
#[derive(Debug)]
pub(super) struct Resolver {
    /// By exact names, and by wildcards without their `*.`; the first of a name first.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For all other names, and for clients that name none: all, the first first.
    others: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    pub(super) fn new(sites: &[Site]) -> Self {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for site in sites {
            for name in &site.facts.names {
                let (keys, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                let keys: &mut Vec<_> = keys.entry(name.to_owned()).or_default();
                keys.push(Arc::clone(&site.key));
            }
        }
        Self {
            exact,
            wildcard,
            others: sites.iter().map(|site| Arc::clone(&site.key)).collect(),
        }
    }

    /// Those for a name, the best first. A wildcard stands for exactly one label (RFC 9525 section
    /// 6.3).
    fn named(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let name = name.to_ascii_lowercase();
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact
            .get(&name)
            .or_else(by_wildcard)
            .unwrap_or(&self.others)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = match hello.server_name() {
            Some(name) => self.named(name),
            None => &self.others,
        };
        // A site may have one certificate of each kind of key.
        let fits = |key: &&Arc<CertifiedKey>| {
            let schemes = hello.signature_schemes();
            key.key.choose_scheme(schemes).is_some()
        };
        let fitting = candidates.iter().find(fits);
        fitting.or(candidates.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rcorn_front_link::TlsSite;

    use super::super::sites;
    use super::*;

    fn site(names: &[&str]) -> Site {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let site = TlsSite {
            certificate: made.cert.pem().into_bytes(),
            key: made.signing_key.serialize_pem().into_bytes(),
            ..TlsSite::default()
        };
        let provider = rustls::crypto::ring::default_provider();
        sites::load(&site, &provider, SystemTime::now()).unwrap()
    }

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_the_first_is_for_all_others() {
        let sites = [
            site(&["one.example"]),
            site(&["*.shop.example", "shop.example"]),
            site(&["a.shop.example"]),
        ];
        let resolver = Resolver::new(&sites);
        for (name, index) in [
            ("one.example", 0),
            ("shop.example", 1),
            ("b.shop.example", 1),
            ("B.Shop.Example", 1),
            ("a.shop.example", 2),
            ("x.b.shop.example", 0),
            ("other", 0),
            ("", 0),
        ] {
            let found = resolver.named(name).first().unwrap();
            assert!(Arc::ptr_eq(found, &sites[index].key), "{name}");
        }
    }
}
