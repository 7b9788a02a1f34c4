//! What all requests of a worker have in common, whichever slot serves them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcorn_app::hooks::WorkerHooks;
use rcorn_http::{Limits, ProxyVersions};
use rcorn_scoreboard::Scoreboard;
use rcorn_settings::{HeaderMap, ProxyProtocol, Settings};
use rcorn_static_files::StaticFiles;
use rcorn_wsgi::WsgiApp;

use super::request_quota::RequestQuota;
use super::static_file;

/// The longest request line where `limit_request_line` is 0.
const MAX_REQUEST_LINE_BYTES: usize = 1024 * 1024;
/// The most fields where `limit_request_fields` is 0, as gunicorn has it.
const MAX_FIELDS: usize = 32_768;
/// The longest field where `limit_request_field_size` is 0, as gunicorn has it.
const DEFAULT_FIELD_BYTES: usize = 8190;

/// The settings in the form that requests need, and the app.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) settings: &'static Settings,
    pub(super) limits: Limits,
    pub(super) proxy_versions: ProxyVersions,
    pub(super) scoreboard: &'static Scoreboard,
    pub(super) app: WsgiApp,
    /// Files that answer some requests instead of the app.
    pub(super) static_files: Option<StaticFiles>,
    pub(super) hooks: Option<&'static WorkerHooks>,
    /// How many requests the worker may serve.
    pub(super) quota: Arc<RequestQuota>,
    /// Responses may still keep the connection open for another request.
    keeps_alive: AtomicBool,
    /// The order to leave at once has come.
    quit: Arc<AtomicBool>,
}

impl Rules {
    pub(super) fn new(
        settings: &'static Settings,
        scoreboard: &'static Scoreboard,
        app: WsgiApp,
        hooks: Option<&'static WorkerHooks>,
        quota: Arc<RequestQuota>,
        quit: Arc<AtomicBool>,
    ) -> Self {
        Self {
            settings,
            limits: limits(settings),
            proxy_versions: proxy_versions(settings.proxy_protocol),
            scoreboard,
            app,
            static_files: static_file::of(settings),
            hooks,
            quota,
            keeps_alive: AtomicBool::new(settings.keepalive.limit().is_some()),
            quit,
        }
    }

    /// Whether to leave at once.
    pub(super) fn quits(&self) -> bool {
        self.quit.load(Ordering::Relaxed)
    }

    /// Whether responses may still keep the connection open for another request.
    pub(super) fn keeps_alive(&self) -> bool {
        self.keeps_alive.load(Ordering::Relaxed)
    }

    /// No response keeps its connection open from now on.
    pub(super) fn keep_nothing_alive(&self) {
        self.keeps_alive.store(false, Ordering::Relaxed);
    }

    /// Whether other workers serve the same app (`wsgi.multiprocess`).
    pub(super) fn is_multiprocess(&self) -> bool {
        self.scoreboard.shared().wanted() > 1
    }

    /// Whether the next request is the last one of a connection on which `served` were served.
    pub(super) fn is_last(&self, served: u64) -> bool {
        let most = self.settings.max_keepalive_requests;
        most > 0 && served.saturating_add(1) >= most
    }
}

/// What the parser enforces.
pub(super) fn limits(settings: &Settings) -> Limits {
    let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let line = size(settings.limit_request_line.bytes());
    let field = size(settings.limit_request_field_size.bytes());
    Limits {
        request_line: if line == 0 {
            MAX_REQUEST_LINE_BYTES
        } else {
            line
        },
        fields: match settings.limit_request_fields {
            0 => MAX_FIELDS,
            fields => usize::try_from(fields).unwrap_or(usize::MAX),
        },
        field_size: if field == 0 {
            DEFAULT_FIELD_BYTES
        } else {
            field
        },
        require_host: settings.require_host,
        permit_obsolete_folding: settings.permit_obsolete_folding,
        permit_unconventional_http_method: settings.permit_unconventional_http_method,
        permit_unconventional_http_version: settings.permit_unconventional_http_version,
        casefold_http_method: settings.casefold_http_method,
        refuse_underscores: settings.header_map == HeaderMap::Refuse,
        is_relayed: false,
    }
}

pub(super) fn proxy_versions(setting: ProxyProtocol) -> ProxyVersions {
    let (v1, v2) = match setting {
        ProxyProtocol::Off => (false, false),
        ProxyProtocol::V1 => (true, false),
        ProxyProtocol::V2 => (false, true),
        ProxyProtocol::Auto => (true, true),
    };
    ProxyVersions { v1, v2 }
}
