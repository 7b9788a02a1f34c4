//! The configuration that connections are served by, ready to be used.

use rcorn_front_link::{Configuration, Limits};

use crate::tls;

/// A configuration that was checked.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) configuration: Configuration,
    /// The limits of a head, as the parser takes them.
    pub(crate) head_limits: rcorn_http::Limits,
    /// The longest head that may be within those limits, in bytes.
    pub(crate) max_head: usize,
    pub(crate) tls: Option<tls::Server>,
}

impl Running {
    /// Checks a configuration.
    ///
    /// # Errors
    ///
    /// A sentence that says what it cannot be served by.
    pub(crate) fn new(configuration: Configuration) -> Result<Self, String> {
        if let Some(value) = &configuration.hsts {
            let is_value = rcorn_http::response::check_value(value.as_bytes()).is_ok();
            if value.is_empty() || !is_value {
                return Err(format!(
                    "'{}' cannot be a value of Strict-Transport-Security; hint: max-age=31536000",
                    value.escape_debug()
                ));
            }
        }
        let keys = &configuration.ticket_keys;
        let http2 = configuration.http2.enabled;
        let build = |tls| tls::build(tls, keys, http2);
        let tls = configuration.tls.as_ref().map(build).transpose()?;
        let head_limits = head_limits(&configuration.limits);
        // With the name, colon and line end of each field, which `field_size` includes.
        let fields = head_limits.fields.saturating_mul(head_limits.field_size);
        let max_head = fields
            .saturating_add(head_limits.request_line)
            .saturating_add(4);
        Ok(Self {
            configuration,
            head_limits,
            max_head,
            tls,
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.configuration.limits
    }
}

fn head_limits(limits: &Limits) -> rcorn_http::Limits {
    rcorn_http::Limits {
        request_line: limits.request_line,
        fields: limits.fields,
        field_size: limits.field_size,
        require_host: true,
        permit_obsolete_folding: limits.permit_obsolete_folding,
        permit_unconventional_http_method: limits.permit_unconventional_http_method,
        permit_unconventional_http_version: limits.permit_unconventional_http_version,
        casefold_http_method: limits.casefold_http_method,
        refuse_underscores: limits.refuse_underscores,
        is_relayed: false,
    }
}
