//! A real nginx in front of the server, with all its files in a directory of its own. The test
//! binds its listening socket and passes it on (through nginx's own variable for upgrades), so that
//! nothing has to wait for it.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

use super::needs::NGINX_STREAM;
use super::process::{reap_group, start};
use super::{Deadline, Pidfd, Place, Wire, wait_until};

/// How long its processes may take to end.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// Its error log, shown when a test fails.
const LOG: &str = "error.log";

/// The file `uwsgi_params` of nginx's package.
pub(crate) const UWSGI_PARAMS: &str = "
    uwsgi_param QUERY_STRING $query_string;
    uwsgi_param REQUEST_METHOD $request_method;
    uwsgi_param CONTENT_TYPE $content_type;
    uwsgi_param CONTENT_LENGTH $content_length;
    uwsgi_param REQUEST_URI $request_uri;
    uwsgi_param PATH_INFO $document_uri;
    uwsgi_param DOCUMENT_ROOT $document_root;
    uwsgi_param SERVER_PROTOCOL $server_protocol;
    uwsgi_param REQUEST_SCHEME $scheme;
    uwsgi_param HTTPS $https if_not_empty;
    uwsgi_param REMOTE_ADDR $remote_addr;
    uwsgi_param REMOTE_PORT $remote_port;
    uwsgi_param SERVER_PORT $server_port;
    uwsgi_param SERVER_NAME $server_name;
";

/// The part that every http block has: sizes, and folders of its own.
pub(crate) const HTTP: &str = "
    client_max_body_size 64m; client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
";

/// A running nginx. It ends when the value is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    place: Place,
    directory: TempDir,
}

impl Nginx {
    /// Starts one that serves HTTP with these locations; they may include the file `uwsgi_params`.
    pub(crate) fn http(locations: &str) -> Self {
        Self::start(|listen| {
            format!(
                "http {{
                    {HTTP} access_log off; keepalive_timeout 60;
                    server {{ listen {listen}; server_name front.test; {locations} }}
                }}"
            )
        })
    }

    /// Starts one that forwards bytes, with these directives.
    pub(crate) fn stream(directives: &str) -> Self {
        Self::start(|listen| format!("stream {{ server {{ listen {listen}; {directives} }} }}"))
    }

    /// Starts one with these blocks, made for the address to listen on.
    pub(crate) fn start(blocks: impl Fn(&str) -> String) -> Self {
        let directory = TempDir::with_prefix("rcorn-nginx-").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let blocks = blocks(&address.to_string());
        let module = if Path::new(NGINX_STREAM).exists() {
            format!("load_module {NGINX_STREAM};")
        } else {
            String::new()
        };
        // The workers of root's nginx would otherwise be another user, who cannot reach our files.
        let user = if Uid::effective().is_root() {
            "user root root;"
        } else {
            ""
        };
        let text = format!(
            "{module} daemon off; worker_processes 1; pid nginx.pid; {user}
            error_log {LOG} info; events {{ worker_connections 256; }}
            {blocks}"
        );
        fs::write(directory.path().join("nginx.conf"), text).unwrap();
        fs::write(directory.path().join("uwsgi_params"), UWSGI_PARAMS).unwrap();
        // Debian installs it where only root's PATH looks.
        let debian = Path::new("/usr/sbin/nginx");
        let program = if debian.exists() {
            debian
        } else {
            Path::new("nginx")
        };
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(directory.path())
            .args(["-c", "nginx.conf", "-e", LOG])
            .env("NGINX", format!("{};", listener.as_raw_fd()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = start(&mut command, vec![listener.as_raw_fd()])
            .expect("nginx: the test should ask whether it is here");
        Self {
            child,
            place: Place::Tcp(address),
            directory,
        }
    }

    /// Opens a connection to it.
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(&self.place)
    }

    /// Lets it finish its requests, and returns one of its files.
    pub(crate) fn quit(self, file: &str) -> Vec<u8> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // It has not been waited for, so the pid is still its own.
        let pidfd = Pidfd::open(pid).unwrap();
        kill(pid, Signal::SIGQUIT).unwrap();
        assert!(
            pidfd.wait(Deadline::after(AFTERWARDS)),
            "waited too long for nginx"
        );
        fs::read(self.directory.path().join(file)).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // It has not been waited for, so the pid is still its own.
        killpg(group, Signal::SIGKILL).ok();
        self.child.wait().ok();
        if thread::panicking() {
            let text = fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default();
            eprintln!("--- nginx said\n{text}---");
        } else {
            let soon = Deadline::after(AFTERWARDS);
            wait_until(soon, "nginx is gone", || reap_group(group));
        }
    }
}
