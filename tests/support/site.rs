//! A site in a scratch root: a real supervisord, a real nginx, and `rcorn-deploy`, as on a machine
//! of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

use super::{Deadline, Place, Server, Wire, wait_until};

/// How long a whole deployment may take: several virtual environments, on a slow machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// The scratch root and what runs in it.
#[derive(Debug)]
pub(crate) struct Site {
    folder: TempDir,
    nginx: Server,
    supervisord: Server,
}

/// How an `rcorn-deploy` ended.
#[derive(Debug)]
pub(crate) struct Deployed {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// All that it printed.
    pub(crate) text: String,
}

impl Site {
    /// Starts an nginx without sites and a supervisord without programs.
    pub(crate) fn start() -> Self {
        let folder = TempDir::with_prefix("rcorn-site-").unwrap();
        let supervisord = supervisord(folder.path(), "");
        let nginx = nginx(folder.path());
        let deadline = nginx.deadline();
        wait_until(deadline, "nginx and supervisord run", || {
            folder.path().join("nginx.pid").exists() && folder.path().join("ctl").exists()
        });
        Self {
            folder,
            nginx,
            supervisord,
        }
    }

    /// A path in the scratch root.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// When the test has taken too long.
    pub(crate) fn deadline(&self) -> Deadline {
        self.nginx.deadline()
    }

    /// Where nginx answers, once it has a site.
    pub(crate) fn place(&self) -> Place {
        Place::Unix(self.at("front"))
    }

    /// One page, through nginx.
    pub(crate) fn get(&self, target: &str) -> String {
        // nginx may still be at its reload.
        let place = self.place();
        wait_until(self.deadline(), "nginx has the site", || {
            Wire::try_connect(&place).is_ok()
        });
        let reply = Wire::connect(&place).get(target);
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply.text()
    }

    /// `rcorn-deploy` with these arguments, set up for this site.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/deploy/rcorn-deploy");
        let mut command = Command::new("python3");
        command
            .arg(script)
            .args(words)
            .arg("--root")
            .arg(self.at("blog"))
            .args(["--rcorn", env!("CARGO_BIN_EXE_rcorn")])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env(
                "SUPERVISORCTL",
                format!("supervisorctl -c {}", self.at("supervisord.conf").display()),
            )
            .env("NGINX", words_of_nginx(self.folder.path()).join(" "))
            .stdin(Stdio::null());
        for name in ["RCORN_CMD_ARGS", "GUNICORN_CMD_ARGS", "VIRTUAL_ENV"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs it to its end.
    pub(crate) fn deploy(&self, words: &[&str]) -> Deployed {
        Deployed::of(&self.command(words).output().unwrap())
    }

    /// Runs `supervisorctl`, and returns what it printed.
    pub(crate) fn supervisorctl(&self, words: &[&str]) -> String {
        supervisorctl(self.folder.path(), words)
    }

    /// Stops everything, and checks that no process is left.
    pub(crate) fn stop(self) {
        self.supervisord.stop();
        self.nginx.stop();
    }
}

impl Deployed {
    /// How a command ended.
    pub(crate) fn of(output: &Output) -> Self {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Self {
            code: output.status.code(),
            text,
        }
    }

    /// What it printed; it must have succeeded.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.text
    }

    /// What it printed; it must have failed.
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{}", self.text);
        self.text
    }
}

/// A supervisord whose files are all in this folder, with these sections beside those in `conf.d`.
pub(crate) fn supervisord(folder: &Path, sections: &str) -> Server {
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "[supervisord]\nnodaemon=true\npidfile={}\nlogfile={}\nchildlogdir={}\n{}[unix_http_server]\nfile={}\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [supervisorctl]\nserverurl=unix://{}\n[include]\nfiles = {}\n{sections}\n",
        at("supervisord.pid"),
        at("supervisord.log"),
        folder.display(),
        // Otherwise it warns at each start.
        if Uid::effective().is_root() {
            "user=root\n"
        } else {
            ""
        },
        at("ctl"),
        at("ctl"),
        at("conf.d/*.conf"),
    );
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    fs::write(folder.join("supervisord.conf"), text).unwrap();
    Server::without_app()
        .program(["supervisord", "-c", &at("supervisord.conf")])
        .unbound()
        .patience(PATIENCE)
        .start()
}

/// Runs `supervisorctl` for the supervisord of this folder, and returns what it printed.
pub(crate) fn supervisorctl(folder: &Path, words: &[&str]) -> String {
    let output = Command::new("supervisorctl")
        .arg("-c")
        .arg(folder.join("supervisord.conf"))
        .args(words)
        .output()
        .expect("supervisorctl runs; .ci/run installs it where it is missing");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The pid of a program that supervisord runs.
pub(crate) fn pid_of(folder: &Path, program: &str) -> Option<Pid> {
    let said = supervisorctl(folder, &["pid", program]);
    let pid = said.trim().parse().ok().filter(|pid| *pid > 0)?;
    Some(Pid::from_raw(pid))
}

/// An nginx whose files are all in this folder, and that serves what `sites` has.
pub(crate) fn nginx(folder: &Path) -> Server {
    fs::create_dir_all(folder.join("sites")).unwrap();
    let user = if Uid::effective().is_root() {
        "user root root;"
    } else {
        ""
    };
    let text = format!(
        "daemon off; worker_processes 1; pid nginx.pid; {user} error_log stderr notice;
        events {{ worker_connections 512; }}
        http {{
            access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi; scgi_temp_path scgi; include sites/*.conf;
        }}"
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
    Server::without_app()
        .program(words_of_nginx(folder))
        .unbound()
        .patience(PATIENCE)
        .start()
}

/// The command line of this nginx.
fn words_of_nginx(folder: &Path) -> Vec<String> {
    // Debian installs it where only root's PATH looks.
    let debian = "/usr/sbin/nginx";
    let program = if Path::new(debian).exists() {
        debian
    } else {
        "nginx"
    };
    let folder = folder.display().to_string();
    [
        program,
        "-p",
        &folder,
        "-c",
        "nginx.conf",
        "-e",
        "error.log",
    ]
    .map(str::to_owned)
    .to_vec()
}
