//! Session tickets (RFC 8446 section 4.6.1, RFC 5077), encrypted with keys that all fronts share: a
//! client may come back to another front, after a reload, or after an upgrade.
//!
//! A ticket is the key's name (16 bytes), a nonce (12 bytes), and what rustls keeps of a session,
//! by AES-256-GCM with both as additional data.

use std::sync::{Arc, PoisonError, RwLock};

use rcorn_front_link::TicketKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

const NAME_BYTES: usize = 16;

/// How long a client may come back with a ticket, in seconds: the arbiter keeps keys as long.
const LIFETIME_SECONDS: u32 = 12 * 60 * 60;

/// A key that is ready to be used.
struct Key {
    name: [u8; NAME_BYTES],
    aead: LessSafeKey,
}

/// The keys that are used now, the newest first.
pub(crate) struct Tickets {
    keys: RwLock<Arc<[Key]>>,
    /// What a session was allowed under: a ticket from before a change of it is worth nothing.
    context: Vec<u8>,
    random: SystemRandom,
}

/// Without the keys.
impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// The length of derived material, in bytes.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Tickets {
    /// Tickets of sessions that were begun under `context`: who may sign clients' certificates.
    pub(super) fn new(keys: &[TicketKey], context: Vec<u8>) -> Self {
        let tickets = Self {
            keys: RwLock::new(Arc::new([])),
            context,
            random: SystemRandom::new(),
        };
        tickets.replace(keys);
        tickets
    }

    /// Uses these keys from now on.
    pub(crate) fn replace(&self, keys: &[TicketKey]) {
        let keys = keys.iter().filter_map(|key| self.derive(key)).collect();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn derive(&self, key: &TicketKey) -> Option<Key> {
        let secret = Salt::new(HKDF_SHA256, b"rcorn ticket 1").extract(&key.secret);
        let mut material = [0; NAME_BYTES + 32];
        let info = [self.context.as_slice()];
        let derived = secret.expand(&info, Length(material.len())).ok()?;
        derived.fill(&mut material).ok()?;
        let (name, secret) = material.split_first_chunk()?;
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).ok()?);
        Some(Key { name: *name, aead })
    }

    fn keys(&self) -> Arc<[Key]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys().is_empty()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys();
        let key = keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let head = [&key.name[..], &nonce].concat();
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.aead
            .seal_in_place_append_tag(nonce, Aad::from(&head), &mut sealed)
            .ok()?;
        Some([head, sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (head, sealed) = ticket.split_at_checked(NAME_BYTES.saturating_add(NONCE_LEN))?;
        let (name, nonce) = head.split_at_checked(NAME_BYTES)?;
        let keys = self.keys();
        let key = keys.iter().find(|key| key.name == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = key.aead.open_in_place(nonce, Aad::from(head), &mut sealed);
        plain.ok().map(|plain| plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> TicketKey {
        TicketKey {
            secret: vec![byte; 32],
        }
    }

    #[test]
    fn the_newest_key_encrypts_and_older_ones_decrypt() {
        let tickets = Tickets::new(&[key(1)], Vec::new());
        let old = tickets.encrypt(b"session").unwrap();
        tickets.replace(&[key(2), key(1)]);
        assert_eq!(tickets.decrypt(&old).unwrap(), b"session");
        let new = tickets.encrypt(b"session").unwrap();
        assert_ne!(old[..NAME_BYTES], new[..NAME_BYTES]);
        // Another front with the same keys.
        let other = Tickets::new(&[key(2)], Vec::new());
        assert_eq!(other.decrypt(&new).unwrap(), b"session");
        assert_eq!(other.decrypt(&old), None, "its key is gone");
    }

    #[test]
    fn a_ticket_of_other_authorities_or_that_was_changed_is_worth_nothing() {
        let tickets = Tickets::new(&[key(1)], b"authorities".to_vec());
        let ticket = tickets.encrypt(b"session").unwrap();
        assert_eq!(Tickets::new(&[key(1)], Vec::new()).decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "{at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at}");
        }
    }

    #[test]
    fn without_keys_there_are_no_tickets() {
        let tickets = Tickets::new(&[], Vec::new());
        assert!(!tickets.enabled());
        assert_eq!(tickets.encrypt(b"session"), None);
    }
}
