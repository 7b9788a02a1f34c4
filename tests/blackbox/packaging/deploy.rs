//! The tar.gz deployment, as on a machine of its own: real nginx, real supervisord, the blog of
//! `examples`, and `rcorn-deploy`, which replaces it under load.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::site::{Deployed, Site, pid_of};
use crate::support::{Connections, Load, Need, ROOT, Wire, lacks, program, pythons, wait_until};

/// Packs the blog in this version, and returns the path of the package.
fn blog(site: &Site, version: &str) -> String {
    let folder = site.at(&format!("blog-{version}"));
    let blog = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/blog"));
    copy(blog, &folder);
    let path = folder.join("personal-blog/model/articles.py");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"1.0\""), "{text}");
    fs::write(&path, text.replace("\"1.0\"", &format!("\"{version}\""))).unwrap();
    pack(site, version)
}

/// Packs an app without requirements.
pub(super) fn plain(site: &Site, version: &str, text: &str) -> String {
    let folder = site.at(&format!("blog-{version}"));
    fs::create_dir_all(folder.join("personal-blog")).unwrap();
    fs::write(folder.join("personal-blog/wsgiapp.py"), text).unwrap();
    pack(site, version)
}

fn pack(site: &Site, version: &str) -> String {
    let folder = site.at(&format!("blog-{version}"));
    let package = site.at(&format!("blog-{version}.tar.gz"));
    let packed = Command::new("tar")
        .arg("-czf")
        .arg(&package)
        .arg("-C")
        .arg(folder.parent().unwrap())
        .arg(folder.file_name().unwrap())
        .status()
        .unwrap();
    assert!(packed.success());
    package.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_name() == "__pycache__" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// An app that can be loaded, and answers every request with 500.
const UNHEALTHY: &str = "
def wsgi_app(environ, start_response):
    start_response('500 No', [])
    return []
";

fn install(site: &Site, package: &str) -> Deployed {
    site.deploy(&[
        "install",
        "--name",
        "blog",
        "--download-url",
        package,
        "--package-base-dir",
        "blog-1.0",
        "--app-dir",
        "personal-blog",
        "--wsgi-app",
        "wsgiapp:wsgi_app",
        "--env",
        "STAGE=live & kicking",
        "--probe",
        "/version",
        "--keep",
        "2",
        "--service-dir",
        site.at("conf.d").to_str().unwrap(),
        "--nginx-dir",
        site.at("sites").to_str().unwrap(),
        "--listen",
        &format!("unix:{}", site.at("front").display()),
    ])
}

/// A package that cannot be loaded, one that answers with 500, and one whose checksum is wrong.
fn refuses_bad_packages(site: &Site, good: &str) {
    let unloadable = plain(site, "3.0", "def wsgi_app oh no");
    let text = site
        .deploy(&["deploy", "--download-url", &unloadable])
        .failed();
    assert!(
        text.contains("nothing was changed") && text.contains("SyntaxError"),
        "{text}"
    );
    let unhealthy = plain(site, "4.0", UNHEALTHY);
    let text = site
        .deploy(&["deploy", "--download-url", &unhealthy])
        .failed();
    assert!(
        text.contains("does not serve") && text.contains("still does"),
        "{text}"
    );
    let text = site
        .deploy(&[
            "deploy",
            "--download-url",
            good,
            "--sha256",
            &"0".repeat(64),
        ])
        .failed();
    assert!(text.contains("not the expected file"), "{text}");
}

/// It has been one rcorn all the time; a new one starts with the current release.
fn starts_again_with_the_current_release(site: &Site, arbiter: Pid) {
    assert_eq!(pid_of(&site.at(""), "blog"), Some(arbiter));
    kill(arbiter, Signal::SIGKILL).unwrap();
    wait_until(site.deadline(), "supervisord starts it again", || {
        pid_of(&site.at(""), "blog").is_some_and(|pid| pid != arbiter)
            && site.supervisorctl(&["status", "blog"]).contains("RUNNING")
    });
    wait_until(site.deadline(), "it serves", || {
        Wire::connect(&site.place()).get("/version").status == 200
    });
    assert!(site.get("/version").contains("\"2.0\""));
    site.deploy(&["rollback"]).done();
    assert!(site.get("/version").contains("\"1.0\""));
    let listed = site.deploy(&["list"]).done();
    assert!(
        listed.contains("current") && listed.contains("previous"),
        "{listed}"
    );
}

#[test]
fn a_package_is_deployed_replaced_under_load_and_kept_when_the_next_is_broken() {
    if lacks(&[program("nginx"), program("supervisord"), Need::Packages]) {
        return;
    }
    let site = Site::start();
    let one = blog(&site, "1.0");
    install(&site, &one).done();
    assert!(site.get("/").contains("live &amp; kicking"));
    assert!(site.get("/version").contains("\"1.0\""));
    assert!(site.get("/static/css/blog.css").contains("max-width"));
    // A second time nothing is built or changed.
    assert!(
        install(&site, &one)
            .done()
            .contains("is already built from this package")
    );
    let arbiter = pid_of(&site.at(""), "blog").unwrap();

    let two = blog(&site, "2.0");
    let kept = Load::start(&site.place(), "/version", 2, Connections::Kept);
    let each = Load::start(&site.place(), "/", 1, Connections::Each);
    kept.wait_for(20, site.deadline());
    site.deploy(&["deploy", "--download-url", &two]).done();
    kept.wait_for(20, site.deadline());
    each.wait_for(5, site.deadline());
    let said = site.get("/version");
    let release = fs::canonicalize(site.at("blog/current")).unwrap();
    // It has its own modules and its own Python.
    assert!(said.contains("\"2.0\""), "{said}");
    assert!(
        said.contains(&release.join("venv").display().to_string()),
        "{said}"
    );

    refuses_bad_packages(&site, &two);
    kept.wait_for(20, site.deadline());
    kept.stop().assert_clean();
    each.stop().assert_clean();
    assert!(site.get("/version").contains("\"2.0\""));
    assert_eq!(fs::canonicalize(site.at("blog/current")).unwrap(), release);

    starts_again_with_the_current_release(&site, arbiter);
    site.stop();
}

/// Runs unit tests of the script.
fn unittest(python: &Path, names: &str) {
    let output = Command::new(python)
        .args(["-W", "error", "-m", "unittest", names])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("Ran 0"),
        "{}: {said}",
        python.display()
    );
}

#[test]
fn a_deployment_can_be_killed_anywhere() {
    unittest(Path::new("python3"), "deploy_test.Killed");
}

#[test]
fn the_unit_of_systemd_gets_the_certificate() {
    unittest(Path::new("python3"), "deploy_test.Tls");
}

#[test]
fn nothing_gets_out_of_a_package_on_any_python() {
    for (python, version) in pythons() {
        if version >= (3, 9) {
            unittest(&python, "deploy_test.Unpacking");
        }
    }
}

/// Answers with a variable of the deployment.
const HEALTHY: &str = "
import os
def wsgi_app(environ, start_response):
    start_response('200 OK', [])
    return [os.environ['STAGE'].encode()]
";

#[test]
fn a_machine_in_a_cloud_sets_itself_up() {
    if lacks(&[program("nginx"), program("supervisord"), Need::Venv]) {
        return;
    }
    let site = Site::start();
    let package = plain(&site, "1.0", HEALTHY);
    let user = Command::new("id").arg("-un").output().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let ours = Path::new(env!("CARGO_BIN_EXE_rcorn")).parent().unwrap();
    let packaging = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");
    let settings = [
        ("DOWNLOAD_URL", package),
        ("APP_DIR", "personal-blog".to_owned()),
        ("WSGI_APP", "wsgiapp:wsgi_app".to_owned()),
        ("ENVS", "'STAGE=it is live'".to_owned()),
        ("PROBE", "/".to_owned()),
        ("NAME", "blog".to_owned()),
        ("ROOT", site.at("blog").display().to_string()),
        (
            "USER",
            String::from_utf8(user.stdout).unwrap().trim().to_owned(),
        ),
        ("NGINX_DIR", site.at("sites").display().to_string()),
        ("SERVICE_DIR", site.at("conf.d").display().to_string()),
        ("LISTEN", format!("unix:{}", site.at("front").display())),
        ("SHARE", packaging.to_owned()),
    ];
    // As cloud-init writes it: values in the shell's quotes.
    let quoted =
        settings.map(|(name, value)| format!("DEPLOY_{name}='{}'\n", value.replace('\'', "'\\''")));
    fs::write(site.at("site.env"), quoted.concat()).unwrap();
    for _ in 0..2 {
        // The second time there is nothing left to do.
        let mut command = site.command(&[]);
        let known: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command = Command::new("sh");
        command
            .arg(format!("{packaging}/cloud/setup.sh"))
            .envs(known)
            .env("PATH", format!("{}:{path}", ours.display()))
            .env("RCORN_SITE_ENV", site.at("site.env"))
            .env("RCORN_APT", "no")
            .env("RCORN_DEPLOY", format!("{packaging}/deploy/rcorn-deploy"));
        Deployed::of(&command.output().unwrap()).done();
        assert_eq!(site.get("/"), "it is live");
    }
    site.stop();
}

#[test]
fn terraform_makes_user_data_that_fits() {
    if lacks(&[program("terraform")]) {
        return;
    }
    let terraform = |folder: &Path, words: &[&str]| {
        let output = Command::new("terraform")
            .arg(format!("-chdir={ROOT}/packaging/cloud/user-data"))
            .args(words)
            .env("TF_DATA_DIR", folder.join("data"))
            .output();
        Deployed::of(&output.unwrap()).done()
    };
    let folder = tempfile::TempDir::new().unwrap();
    let state = format!("-state={}", folder.path().join("state").display());
    let run = |words: &[&str]| terraform(folder.path(), words);
    run(&["fmt", "-check", "-recursive", ".."]);
    run(&["init", "-backend=false"]);
    run(&["validate"]);
    run(&[
        "apply",
        "-auto-approve",
        &state,
        "-var=download_url=https://example.org/blog.tar.gz",
        "-var=envs={\"STAGE\": \"it's live\"}",
    ]);
    let made = fs::read_to_string(folder.path().join("state")).unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let output = |name: &str| made["outputs"][name]["value"].as_str().unwrap().to_owned();
    // 16 KiB before base64, which some clouds allow.
    assert!(output("compressed").len() / 4 * 3 < 16 * 1024);
    let config = output("user_data");
    let config = config.strip_prefix("#cloud-config\n").unwrap();
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    let files = config["write_files"].as_array().unwrap();
    let site = files
        .iter()
        .find(|file| file["path"] == "/etc/rcorn-site.env")
        .unwrap();
    fs::write(
        folder.path().join("site.env"),
        site["content"].as_str().unwrap(),
    )
    .unwrap();
    let read = Command::new("sh")
        .args([
            "-c",
            ". ./site.env; eval \"set -- $DEPLOY_ENVS\"; echo \"$1 $DEPLOY_DOWNLOAD_URL\"",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&read.stdout),
        "STAGE=it's live https://example.org/blog.tar.gz\n"
    );
}
