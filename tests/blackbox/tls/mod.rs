//! TLS: the front, its certificates, and what the app sees of them.

mod certificates;
mod clients;
mod environ;
mod large_bodies;
mod lifecycle;
mod packaged;
mod redirect;
mod secrets;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::Value;

use crate::support::{Builder, Deadline, Place, Server, python};

/// Answers with its environ, as JSON.
const APP: &str = r"
import json, os

def app(environ, start_response):
    texts = {name: value for name, value in environ.items() if isinstance(value, str)}
    texts['body'] = len(environ['wsgi.input'].read())
    texts['pid'] = os.getpid()
    body = json.dumps(texts).encode()
    fields = [('Content-Length', str(len(body))), ('Content-Type', 'application/json')]
    start_response('200 OK', fields)
    return [body]
";

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/blackbox/tls/client.py");

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    /// One that is signed by itself.
    pub(crate) fn of(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes both into a folder, and returns their paths.
    pub(crate) fn write(&self, folder: &Path) -> [String; 2] {
        [("cert.pem", &self.certificate), ("key.pem", &self.key)].map(|(name, text)| {
            let file = folder.join(name);
            fs::write(&file, text).unwrap();
            file.display().to_string()
        })
    }
}

/// An authority that signs certificates of clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Test Authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A client of this name.
    fn sign(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Shop, Inc.");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A server that speaks TLS with this certificate, which is in `cert.pem` and `key.pem`.
pub(crate) fn server(pair: &Pair) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .file("cert.pem", pair.certificate.as_str())
        .file("key.pem", pair.key.as_str())
        .args(["--certfile", "cert.pem", "--keyfile", "key.pem"])
}

fn port(server: &Server) -> u16 {
    match server.place() {
        Place::Tcp(address) => address.port(),
        Place::Unix(path) => panic!("{} has no port", path.display()),
    }
}

/// A client in Python: `client.py`.
#[derive(Debug)]
pub(crate) struct Client {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    deadline: Deadline,
}

impl Client {
    /// A client of this server. `options`: see `client.py`.
    fn of(server: &Server, options: &[&str]) -> Self {
        Self::at(port(server), options, server.deadline())
    }

    pub(crate) fn at(port: u16, options: &[&str], deadline: Deadline) -> Self {
        let mut process = Command::new(python())
            .arg(CLIENT)
            .arg(port.to_string())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            let read = output.lines().map_while(Result::ok);
            // Nobody wants them any more when the test has ended.
            read.map(|line| sender.send(line)).find(Result::is_err)
        });
        Self {
            input: process.stdin.take(),
            process,
            lines,
            deadline,
        }
    }

    /// The next line of its output.
    fn line(&self) -> String {
        match self.lines.recv_timeout(self.deadline.left()) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("the client does not answer"),
            Err(RecvTimeoutError::Disconnected) => panic!("the client has ended"),
        }
    }

    fn ask(&mut self, line: &str) -> Value {
        self.begin(line);
        self.answer()
    }

    /// Asks, and does not wait for the answer.
    fn begin(&mut self, line: &str) {
        let mut input = self.input.as_ref().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    fn answer(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Sends a request; returns its status, its fields and its body.
    pub(crate) fn try_get(
        &mut self,
        words: &str,
    ) -> Result<(u64, BTreeMap<String, String>, String), String> {
        let answer = self.ask(&format!("get {words}"));
        if let Some(error) = answer.get("error") {
            return Err(error.as_str().unwrap().to_owned());
        }
        Ok(serde_json::from_value(answer).unwrap())
    }

    /// The environ of a request to [`APP`].
    fn environ(&mut self, words: &str) -> Value {
        let (status, _, body) = self.try_get(words).unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The server's certificate, in base 64, on the connection that there is or a new one.
    fn certificate(&mut self) -> String {
        let answer = self.ask("certificate");
        answer
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// Waits for so many answers to a load.
    pub(crate) fn wait_for(&self, answers: usize) {
        for _ in 0..answers {
            assert_eq!(self.line(), "ok");
        }
    }

    /// Ends a load; returns what has failed.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.input = None;
        let mut line = self.line();
        while line == "ok" {
            line = self.line();
        }
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.input = None;
        self.process.kill().ok();
        self.process.wait().unwrap();
    }
}

/// Bytes in base 64, as `client.py` has them.
fn base64(bytes: &[u8]) -> String {
    let pem = String::from_utf8(bytes.to_vec()).unwrap();
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.collect()
}
