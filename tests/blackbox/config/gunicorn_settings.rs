//! All 120 settings of gunicorn, by command line, YAML and `gunicorn.conf.py`: each has its value and its origin, or the
//! documented answer.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use Comes::{Hook, Nothing, Refused, To};

/// What comes of naming a setting.
enum Comes {
    /// It has the value, shown like this.
    To(&'static str),
    /// It has no effect, and a line says so.
    Nothing,
    /// It is refused.
    Refused,
    /// It is a hook with these parameters: Python only.
    Hook(&'static str),
}

/// Name, flag (`-` when there is none), value (`true` and `false` for switches), what comes of it.
#[rustfmt::skip]
const ALL: &[(&str, &str, &str, Comes)] = &[
    ("config", "--config", "", Nothing),
    ("wsgi_app", "-", "shop:app", To("shop:app")),
    ("bind", "--bind", "127.0.0.1:81", To("127.0.0.1:81")),
    ("backlog", "--backlog", "64", To("64")),
    ("workers", "--workers", "3", To("3")),
    ("worker_class", "--worker-class", "sync", To("sync")),
    ("threads", "--threads", "4", Refused),
    ("worker_connections", "--worker-connections", "50", To("50")),
    ("max_requests", "--max-requests", "128", To("128")),
    ("max_requests_jitter", "--max-requests-jitter", "12", To("12")),
    ("timeout", "--timeout", "9", To("9")),
    ("graceful_timeout", "--graceful-timeout", "8", To("8")),
    ("keepalive", "--keep-alive", "7", To("7")),
    ("asgi_loop", "--asgi-loop", "uvloop", Nothing),
    ("asgi_lifespan", "--asgi-lifespan", "on", Nothing),
    ("asgi_disconnect_grace_period", "--asgi-disconnect-grace-period", "4", Nothing),
    ("websocket_max_message_size", "--websocket-max-message-size", "5", Nothing),
    ("http_parser", "--http-parser", "python", Nothing),
    ("limit_request_line", "--limit-request-line", "1000", To("1000")),
    ("limit_request_fields", "--limit-request-fields", "50", To("50")),
    ("limit_request_field_size", "--limit-request-field_size", "500", To("500")),
    ("reload", "--reload", "true", To("true")),
    ("reload_engine", "--reload-engine", "poll", To("poll")),
    ("reload_extra_files", "--reload-extra-file", "a.html", To("a.html")),
    ("spew", "--spew", "true", Nothing),
    ("check_config", "--check-config", "true", To("true")),
    ("print_config", "--print-config", "true", To("true")),
    ("preload_app", "--preload", "true", To("on")),
    ("sendfile", "--no-sendfile", "false", To("false")),
    ("reuse_port", "--reuse-port", "true", To("true")),
    ("chdir", "--chdir", "/", To("/")),
    ("daemon", "--daemon", "true", To("true")),
    ("raw_env", "--env", "A=b", To("A=b")),
    ("pidfile", "--pid", "/run/x.pid", To("/run/x.pid")),
    ("worker_tmp_dir", "--worker-tmp-dir", "/dev/shm", Nothing),
    ("user", "--user", "nobody", To("nobody")),
    ("group", "--group", "nogroup", To("nogroup")),
    ("umask", "--umask", "022", To("0o22")),
    ("initgroups", "--initgroups", "true", To("true")),
    ("tmp_upload_dir", "-", "/tmp", Nothing),
    ("secure_scheme_headers", "-", "X-A=https", To("X-A=https")),
    ("forwarded_allow_ips", "--forwarded-allow-ips", "10.0.0.0/8", To("10.0.0.0/8")),
    ("pythonpath", "--pythonpath", "/lib", To("/lib")),
    ("paste", "--paste", "a.ini", Refused),
    ("proxy_protocol", "--proxy-protocol", "v1", To("v1")),
    ("proxy_allow_ips", "--proxy-allow-from", "10.0.0.1", To("10.0.0.1")),
    ("protocol", "--protocol", "uwsgi", To("uwsgi")),
    ("uwsgi_allow_ips", "--uwsgi-allow-from", "10.0.0.2", To("10.0.0.2")),
    ("raw_paste_global_conf", "--paste-global", "a=b", Refused),
    ("permit_obsolete_folding", "--permit-obsolete-folding", "true", To("true")),
    ("strip_header_spaces", "--strip-header-spaces", "true", Refused),
    ("permit_unconventional_http_method", "--permit-unconventional-http-method", "true", To("true")),
    ("permit_unconventional_http_version", "--permit-unconventional-http-version", "true", To("true")),
    ("casefold_http_method", "--casefold-http-method", "true", To("true")),
    ("forwarder_headers", "--forwarder-headers", "REMOTE_USER", To("REMOTE_USER")),
    ("header_map", "--header-map", "refuse", To("refuse")),
    ("root_path", "--root-path", "/x", Nothing),
    ("accesslog", "--access-logfile", "-", To("-")),
    ("disable_redirect_access_to_syslog", "--disable-redirect-access-to-syslog", "true", Nothing),
    ("access_log_format", "--access-logformat", "%(h)s", To("%(h)s")),
    ("errorlog", "--error-logfile", "/tmp/e.log", To("/tmp/e.log")),
    ("loglevel", "--log-level", "debug", To("debug")),
    ("capture_output", "--capture-output", "true", To("true")),
    ("logger_class", "--logger-class", "a.B", Nothing),
    ("logconfig", "--log-config", "/a.ini", To("/a.ini")),
    ("logconfig_dict", "-", r#"{"version":1}"#, To(r#"{"version":1}"#)),
    ("logconfig_json", "--log-config-json", "/a.json", To("/a.json")),
    ("syslog_addr", "--log-syslog-to", "udp://a:1", Nothing),
    ("syslog", "--log-syslog", "true", Nothing),
    ("syslog_prefix", "--log-syslog-prefix", "a", Nothing),
    ("syslog_facility", "--log-syslog-facility", "daemon", Nothing),
    ("enable_stdio_inheritance", "--enable-stdio-inheritance", "true", Nothing),
    ("statsd_host", "--statsd-host", "a:1", Nothing),
    ("dogstatsd_tags", "--dogstatsd-tags", "a:b", Nothing),
    ("statsd_prefix", "--statsd-prefix", "a", Nothing),
    ("enable_backlog_metric", "--enable-backlog-metric", "true", Nothing),
    ("proc_name", "--name", "shop", To("shop")),
    ("default_proc_name", "-", "shop", Nothing),
    ("on_starting", "-", "", Hook("server")),
    ("on_reload", "-", "", Hook("server")),
    ("when_ready", "-", "", Hook("server")),
    ("pre_fork", "-", "", Hook("server, worker")),
    ("post_fork", "-", "", Hook("server, worker")),
    ("post_worker_init", "-", "", Hook("worker")),
    ("worker_int", "-", "", Hook("worker")),
    ("worker_abort", "-", "", Hook("worker")),
    ("pre_exec", "-", "", Hook("server")),
    ("pre_request", "-", "", Hook("worker, req")),
    ("post_request", "-", "", Hook("worker, req, environ, resp")),
    ("child_exit", "-", "", Hook("server, worker")),
    ("worker_exit", "-", "", Hook("server, worker")),
    ("nworkers_changed", "-", "", Hook("server, new_value, old_value")),
    ("on_exit", "-", "", Hook("server")),
    ("ssl_context", "-", "x", Refused),
    ("keyfile", "--keyfile", "k", Refused),
    ("certfile", "--certfile", "c", Refused),
    ("ssl_version", "--ssl-version", "TLS", Nothing),
    ("cert_reqs", "--cert-reqs", "2", Refused),
    ("ca_certs", "--ca-certs", "c", Refused),
    ("suppress_ragged_eofs", "--suppress-ragged-eofs", "true", Nothing),
    ("do_handshake_on_connect", "--do-handshake-on-connect", "true", Nothing),
    ("ciphers", "--ciphers", "A", Nothing),
    ("http_protocols", "--http-protocols", "h2", Refused),
    ("http2_cleartext", "--http2-cleartext", "true", Refused),
    ("http2_max_concurrent_streams", "--http2-max-concurrent-streams", "1", Nothing),
    ("http2_initial_window_size", "--http2-initial-window-size", "1", Nothing),
    ("http2_max_frame_size", "--http2-max-frame-size", "1", Nothing),
    ("http2_max_header_list_size", "--http2-max-header-list-size", "1", Nothing),
    ("dirty_apps", "--dirty-app", "a:b", Refused),
    ("dirty_workers", "--dirty-workers", "2", Nothing),
    ("dirty_timeout", "--dirty-timeout", "2", Nothing),
    ("dirty_threads", "--dirty-threads", "2", Nothing),
    ("dirty_graceful_timeout", "--dirty-graceful-timeout", "2", Nothing),
    ("on_dirty_starting", "-", "x", Nothing),
    ("dirty_post_fork", "-", "x", Nothing),
    ("dirty_worker_init", "-", "x", Nothing),
    ("dirty_worker_exit", "-", "x", Nothing),
    ("control_socket", "--control-socket", "/run/c", To("/run/c")),
    ("control_socket_mode", "--control-socket-mode", "0640", To("0o640")),
    ("control_socket_disable", "--no-control-socket", "true", To("true")),
];

/// `rcorn explain NAME`, with these arguments, where this file is.
fn explained(folder: &Path, name: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rcorn"));
    command
        .args(["explain", name])
        .args(words)
        .current_dir(folder);
    for variable in [
        "GUNICORN_CMD_ARGS",
        "RCORN_CMD_ARGS",
        "WEB_CONCURRENCY",
        "PORT",
        "FORWARDED_ALLOW_IPS",
        "SENDFILE",
    ] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

/// What must come of it, from this source. `value_in` is how the value stands there.
fn holds(output: &Output, (name, comes): (&str, &Comes), origin: &str, refused: i32) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let told = format!("{name} by {origin}: {:?} {out}{err}", output.status);
    match comes {
        To(value) => {
            assert!(output.status.success(), "{told}");
            assert!(
                out.starts_with(&format!("{name} = {value}  # {origin}\n")),
                "{told}"
            );
        }
        Nothing => {
            assert!(output.status.success(), "{told}");
            assert_eq!(err.matches(" has no effect").count(), 1, "{told}");
        }
        Refused => {
            assert_eq!(output.status.code(), Some(refused), "{told}");
            assert_eq!(err.lines().count(), 1, "{told}");
            assert!(
                err.contains("is not possible: ") && err.contains("; hint: "),
                "{told}"
            );
        }
        Hook(parameters) => {
            assert!(output.status.success(), "{told}");
            assert!(
                out.starts_with(&format!("{name}({parameters})\n")),
                "{told}"
            );
        }
    }
}

#[test]
fn there_are_120() {
    assert_eq!(ALL.len(), 120);
}

#[test]
fn by_command_line() {
    let folder = tempfile::tempdir().unwrap();
    for (name, flag, value, comes) in ALL.iter().filter(|(name, ..)| *name != "config") {
        let words = match (*flag, *value) {
            ("-", _) if *name == "wsgi_app" => vec![*value],
            ("-", _) => continue,
            (flag, "true" | "false") => vec![flag, "x:y"],
            (flag, value) => vec![flag, value, "x:y"],
        };
        holds(
            &explained(folder.path(), name, &words),
            (name, comes),
            "command line",
            2,
        );
    }
}

#[test]
fn by_yaml() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _, value, comes) in ALL {
        let value = if *name == "config" { "x" } else { value };
        let value = if value.starts_with('{') {
            (*value).to_owned()
        } else {
            format!("{value:?}")
        };
        fs::write(
            folder.path().join("rcorn.yaml"),
            format!("# first\n{name}: {value}\n"),
        )
        .unwrap();
        // No app is needed to ask.
        let output = explained(folder.path(), name, &[]);
        if matches!(comes, Hook(_)) {
            assert_eq!(output.status.code(), Some(2), "{name}");
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(
                err.contains("rcorn.yaml:2:") && err.contains("gunicorn.conf.py"),
                "{err}"
            );
        } else {
            holds(&output, (name, comes), "rcorn.yaml:2", 2);
        }
    }
}

#[test]
fn by_gunicorn_conf_py() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _, value, comes) in ALL {
        let text = match comes {
            Hook(parameters) => format!("# first\ndef {name}({parameters}):\n    pass\n"),
            To(_) | Nothing | Refused => {
                let value = if *name == "config" { "x" } else { value };
                let value = if value.starts_with('{') {
                    (*value).to_owned()
                } else {
                    format!("{value:?}")
                };
                format!("# first\n{name} = {value}\n")
            }
        };
        fs::write(folder.path().join("gunicorn.conf.py"), text).unwrap();
        let output = explained(
            folder.path(),
            name,
            &if *name == "wsgi_app" {
                vec![]
            } else {
                vec!["x:y"]
            },
        );
        holds(&output, (name, comes), "gunicorn.conf.py:2", 1);
    }
}
