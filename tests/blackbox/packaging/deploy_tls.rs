//! `rcorn-deploy install --tls`: a site without nginx, under a real supervisord.

use std::fs;
use std::process::Command;

use super::deploy::plain;
use super::free_addresses;
use crate::support::site::{Deployed, Site};
use crate::support::{Need, Place, Wire, lacks, program};
use crate::tls::{Client, Pair};

/// Answers with the name of its release.
fn named(version: &str) -> String {
    format!(
        "
def wsgi_app(environ, start_response):
    start_response('200 OK', [('Content-Length', '3')])
    return [b'{version}']
"
    )
}

#[test]
fn a_site_with_tls_is_replaced_under_load() {
    if lacks(&[program("nginx"), program("supervisord"), Need::Venv]) {
        return;
    }
    let site = Site::start();
    let [certificate, key] = Pair::of(&["localhost"]).write(&site.at(""));
    let [https, http] = free_addresses();
    let one = plain(&site, "1.0", &named("1.0"));
    let acme = site.at("acme");
    let challenge = acme.join(".well-known/acme-challenge");
    fs::create_dir_all(&challenge).unwrap();
    fs::write(challenge.join("token"), "proof").unwrap();
    let (https_text, http_text) = (https.to_string(), http.to_string());
    let (folder, acme) = (site.at("conf.d"), acme.display().to_string());
    let mut words = vec!["first", "--name", "blog", "--download-url", &one];
    words.extend([
        "--app-dir",
        "personal-blog",
        "--wsgi-app",
        "wsgiapp:wsgi_app",
    ]);
    words.extend(["--service-dir", folder.to_str().unwrap()]);
    words.extend(["--tls", &certificate, &key, "--tls-listen", &https_text]);
    words.extend(["--redirect-listen", &http_text, "--acme-directory", &acme]);
    site.deploy(&words).done();

    let mut client = Client::at(https.port(), &[], site.deadline());
    let mut served = || client.try_get("/").unwrap().2;
    assert_eq!(served(), "1.0");
    let ask = |target: &str| Wire::connect(&Place::Tcp(http)).get(target);
    let redirected = ask("/a?b");
    // The name is that of the request.
    let expected = format!("https://test:{}/a?b", https.port());
    assert_eq!(
        (redirected.status, redirected.field("location")),
        (308, Some(&*expected))
    );
    assert_eq!(ask("/.well-known/acme-challenge/token").text(), "proof");

    let kept = Client::at(https.port(), &["load=2", "kept=1"], site.deadline());
    let each = Client::at(https.port(), &["load=1"], site.deadline());
    for version in ["2.0", "3.0"] {
        let next = plain(&site, version, &named(version));
        kept.wait_for(20);
        site.deploy(&["deploy", "--download-url", &next]).done();
        kept.wait_for(20);
        each.wait_for(5);
        assert_eq!(served(), version);
    }
    for load in [kept, each] {
        assert_eq!(load.stop(), Vec::<String>::new());
    }
    site.stop();
}

#[test]
fn what_does_not_fit_tls_is_refused_before_anything_is_made() {
    let site = tempfile::TempDir::new().unwrap();
    let at = |name: &str| site.path().join(name).display().to_string();
    let refused = |words: &[&str], code: i32| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/deploy/rcorn-deploy");
        let mut command = Command::new("python3");
        command.arg(script).args(["install", "--root", &at("blog")]);
        command.args(["--download-url", "x", "--wsgi-app", "a:b"]);
        command.args(["--service", "none"]).args(words);
        let output = command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let said = Deployed::of(&output);
        assert_eq!(said.code, Some(code), "{}", said.text);
        said.text
    };
    let tls = ["--tls", "/no/cert.pem", "/no/key.pem"];
    let said = refused(&tls, 1);
    assert!(said.contains("cannot read /no/cert.pem (--tls)"), "{said}");
    let said = refused(&[&tls[..], &["--nginx-dir", "/"]].concat(), 2);
    assert!(said.contains("leave --nginx-dir out"), "{said}");
    let said = refused(&["--acme-directory", "/"], 2);
    assert!(said.contains("--acme-directory needs --tls"), "{said}");
}
