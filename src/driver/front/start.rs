//! What a front is started with, and what makes it another one.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use rcorn_front_link::{Descriptor, FrontListener, ListenerKind, Start, TicketKey, Tls, User};
use rcorn_settings::Settings;
use rcorn_sys::descriptor::duplicate;

use super::configuration::configuration;
use super::context::Context;
use crate::listener::Role;
use crate::owner::Owner;

/// What fronts cannot change while they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetKey {
    /// Descriptor, name and kind of each listener.
    listeners: Vec<(RawFd, String, ListenerKind)>,
    user: Option<User>,
    fronts: u32,
    acme_directory: Option<PathBuf>,
}

impl SetKey {
    /// What it is for these settings.
    pub(super) fn of(context: &Context<'_>) -> Self {
        let listeners = context.listeners.iter();
        let listeners = listeners.filter_map(|listener| {
            let kind = kind_of(listener.role(context.settings))?;
            Some((listener.number(), listener.name().to_owned(), kind))
        });
        Self {
            listeners: listeners.collect(),
            user: user(context.owner),
            fronts: context.settings.fronts,
            acme_directory: context.settings.acme_directory.clone(),
        }
    }
}

/// What a front is told at its start, and the descriptors that go with it. `inner` is where it
/// passes requests on to.
///
/// # Errors
///
/// A descriptor cannot be duplicated, or the directory of `acme_directory` cannot be opened.
pub(super) fn start_of(
    context: &Context<'_>,
    tls: Tls,
    keys: &[TicketKey],
    inner: OwnedFd,
) -> io::Result<(Start, Vec<OwnedFd>)> {
    let (listeners, mut descriptors) = listeners_of(context)?;
    let mut kinds = vec![Descriptor::Listener; descriptors.len()];
    let mut add = |kind, descriptor: OwnedFd| {
        kinds.push(kind);
        descriptors.push(descriptor);
    };
    add(Descriptor::Inner, inner);
    if let Some(directory) = acme_challenges(context.settings) {
        add(Descriptor::AcmeChallenges, directory?);
    }
    add(Descriptor::ErrorLog, duplicate(context.error_log)?);
    let start = Start {
        configuration: configuration(context.settings, tls, keys),
        listeners,
        descriptors: kinds,
        user: user(context.owner),
        threads: 0,
        generation: context.generation,
    };
    Ok((start, descriptors))
}

/// What a front speaks on a listener; `None`: it is not one of theirs.
fn kind_of(role: Role) -> Option<ListenerKind> {
    match role {
        Role::Workers => None,
        Role::Tls => Some(ListenerKind::Https),
        Role::Redirects => Some(ListenerKind::Redirect),
        Role::PlainHttp2 => Some(ListenerKind::Http),
    }
}

/// The listeners of fronts, with their descriptors.
fn listeners_of(context: &Context<'_>) -> io::Result<(Vec<FrontListener>, Vec<OwnedFd>)> {
    let mut listeners = (Vec::new(), Vec::new());
    for listener in context.listeners {
        if let Some(kind) = kind_of(listener.role(context.settings)) {
            listeners.0.push(FrontListener {
                address: listener.shown(context.settings),
                kind,
            });
            listeners.1.push(listener.as_fd().try_clone_to_owned()?);
        }
    }
    Ok(listeners)
}

fn user(owner: Owner) -> Option<User> {
    let (uid, gid) = owner.if_other()?;
    Some(User {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        groups: vec![gid.as_raw()],
    })
}

/// The directory of the files that prove to an authority that the host is ours (RFC 8555 section
/// 8.3). It is made, because certbot removes it after use if it has made it itself.
fn acme_challenges(settings: &Settings) -> Option<io::Result<OwnedFd>> {
    let root = settings.acme_directory.as_ref()?;
    let path = root.join(".well-known/acme-challenge");
    let opened = std::fs::create_dir_all(&path).and_then(|()| std::fs::File::open(&path));
    Some(opened.map(OwnedFd::from).map_err(|error| {
        let what = format!("acme_directory: {}: {error}", path.display());
        io::Error::new(error.kind(), what)
    }))
}
