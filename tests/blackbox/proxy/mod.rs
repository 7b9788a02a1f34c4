//! Behind proxies: PROXY headers, uwsgi, nginx.

mod nginx;
mod nginx_framing;
mod proxy_protocol;
mod uwsgi_protocol;
