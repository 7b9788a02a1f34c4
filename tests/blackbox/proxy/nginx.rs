//! A real nginx in front: `uwsgi_pass` over TCP and over a unix socket, and a stream with a PROXY
//! header.

use std::time::Duration;

use crate::support::{
    Broken, Need, Nginx, Place, Reply, Server, Wire, expect_lines, lacks, program,
};

/// A server that speaks uwsgi and an nginx before it, over TCP and over a unix socket.
fn both(app: &str, check: impl Fn(&Server, &Nginx, bool)) {
    let uwsgi = || Server::app(app).args(["--protocol", "uwsgi"]);
    for (builder, is_unix) in [(uwsgi(), false), (uwsgi().unix(), true)] {
        let server = builder
            .allow("raised on purpose")
            .allow("gave 5 bytes less")
            .start();
        let nginx = Nginx::http(&locations(&server));
        check(&server, &nginx, is_unix);
        drop(nginx);
        server.stop();
    }
}

fn locations(server: &Server) -> String {
    let upstream = upstream(server);
    format!(
        "location / {{ include uwsgi_params; uwsgi_param my.own \"a b\"; uwsgi_pass {upstream}; }}
         location /secure/ {{
             include uwsgi_params; uwsgi_param HTTPS on; uwsgi_param SCRIPT_NAME /secure;
             uwsgi_param PATH_INFO /types; uwsgi_pass {upstream};
         }}"
    )
}

fn upstream(server: &Server) -> String {
    match server.place() {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn ask(wire: &mut Wire, request: impl AsRef<[u8]>) -> Reply {
    wire.send(request);
    wire.read_reply()
}

#[test]
fn nginx_passes_requests_by_uwsgi() {
    if lacks(&[program("nginx")]) {
        return;
    }
    both("cases:app", |_server, nginx, _is_unix| {
        // The client keeps its connection to nginx, whatever happens to those behind it.
        let mut wire = nginx.connect();
        for _ in 0..3 {
            let reply = wire.get("/hello");
            assert_eq!((reply.status, reply.text().as_str()), (200, "OK\n"));
            assert!(!reply.closes());
        }
        let reply = ask(
            &mut wire,
            "GET /%74ypes?a=%20b&c HTTP/1.1\r\nHost: shop.test:81\r\nX-One: 1\r\nCookie: c=d\r\n\r\n",
        );
        expect_lines(
            &reply,
            &[
                "REQUEST_METHOD=str:GET",
                "PATH_INFO=str:/types",
                "REQUEST_URI=str:/%74ypes?a=%20b&c",
                "RAW_URI=str:/%74ypes?a=%20b&c",
                "QUERY_STRING=str:a=%20b&c",
                "SERVER_PROTOCOL=str:HTTP/1.1",
                "SERVER_NAME=str:front.test",
                "HTTP_HOST=str:shop.test:81",
                "HTTP_X_ONE=str:1",
                "HTTP_COOKIE=str:c=d",
                "REMOTE_ADDR=str:127.0.0.1",
                "wsgi.url_scheme=str:http",
                "my.own=str:a b",
            ],
        );
        let reply = wire.get("/secure/x");
        expect_lines(
            &reply,
            &[
                "wsgi.url_scheme=str:https",
                "SCRIPT_NAME=str:/secure",
                "PATH_INFO=str:/types",
            ],
        );
        for (target, text) in [
            ("/generator", "0 1 2 3 4 "),
            ("/write", "one two three"),
            ("/file_named", &"named".repeat(100)),
        ] {
            assert_eq!(wire.get(target).text(), text, "{target}");
        }
        assert_eq!(wire.get("/large").body.len(), 10240 * 1024);
        assert_eq!(wire.get("/file").body.len(), 1_000_000);
        assert_eq!(wire.get("/nothing").status, 404);
    });
}

#[test]
fn bodies_go_through_nginx() {
    if lacks(&[program("nginx")]) {
        return;
    }
    both("cases:app", |_server, nginx, _is_unix| {
        let mut wire = nginx.connect();
        let small = "POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(ask(&mut wire, small).text(), "abc");
        let chunked = "POST /read_all HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(ask(&mut wire, chunked).text(), "abcde");
        let waiting = "POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
        wire.send(waiting);
        assert_eq!(wire.read_head().status, 100);
        assert_eq!(ask(&mut wire, "abc").text(), "abc");
        let large: Vec<u8> = (0_u32..5 << 18).flat_map(u32::to_le_bytes).collect();
        assert_eq!(large.len(), 5 << 20);
        wire.send(format!(
            "POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            large.len()
        ));
        let reply = ask(&mut wire, &large);
        assert!(reply.body == large, "{} bytes", reply.body.len());
        // The app answers without reading it.
        wire.send("POST /ignore_body HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n");
        assert_eq!(ask(&mut wire, vec![b'x'; 2_000_000]).text(), "ignored");
        assert_eq!(wire.get("/hello").text(), "OK\n");
    });
}

#[test]
fn replies_without_a_body_go_through_nginx() {
    if lacks(&[program("nginx")]) {
        return;
    }
    both("cases:app", |_server, nginx, _is_unix| {
        let mut wire = nginx.connect();
        for target in ["/hello", "/generator", "/large", "/file"] {
            wire.send(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(wire.read_head().status, 200, "{target}");
        }
        for (target, status) in [("/no_content", 204), ("/not_modified", 304)] {
            let reply = wire.get(target);
            assert_eq!((reply.status, reply.body.len()), (status, 0), "{target}");
        }
        assert_eq!(wire.get("/hello").text(), "OK\n");
    });
}

#[test]
fn torn_replies_do_not_look_whole_through_nginx() {
    if lacks(&[program("nginx")]) {
        return;
    }
    both("cases:app", |server, nginx, is_unix| {
        assert_eq!(nginx.connect().get("/raises").status, 500);
        let torn = |target: &str| {
            let mut wire = nginx.connect();
            wire.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            match wire.try_read_reply(false) {
                Ok(reply) => reply.status == 502,
                Err(Broken::Cut(_) | Broken::Reset | Broken::NoReply) => true,
                Err(other) => panic!("{other}"),
            }
        };
        // A wrong length is noticed over every socket, a torn stream only where the connection can
        // be reset.
        assert!(torn("/too_short"));
        assert!(is_unix || torn("/raises_midway"));
        server.log().expect("gave 5 bytes less");
    });
}

#[test]
fn the_validator_finds_nothing_behind_nginx() {
    if lacks(&[program("nginx")]) {
        return;
    }
    both("validate:app", |_server, nginx, _is_unix| {
        let mut wire = nginx.connect();
        assert_eq!(wire.get("/").text(), "valid ");
        let posted = "POST /?q HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(ask(&mut wire, posted).text(), "valid abc");
        assert_eq!(wire.get("/streamed").text(), "end\n");
        assert_eq!(wire.get("/written").text(), "written returned");
    });
}

const SERVED: &str = r"
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served\n']
";

#[test]
fn a_small_uwsgi_configuration_moves_here() {
    if lacks(&[program("nginx")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Port 0 stands for the 8001 that such a file has.
    let ini = format!(
        "[uwsgi]\nchdir = {}\nmodule = server:application\nmaster = true\nprocesses = 4\nsocket = 127.0.0.1:0\nvacuum = true\nmax-requests = 128\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("server.py"), SERVED).unwrap();
    std::fs::write(folder.path().join("uwsgi.ini"), ini).unwrap();
    let migrated = std::process::Command::new(env!("CARGO_BIN_EXE_rcorn"))
        .args(["migrate", "uwsgi.ini"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    let yaml = String::from_utf8(migrated.stdout).unwrap();
    let server = Server::without_app()
        .unbound()
        .file("rcorn.yaml", yaml)
        .patience(Duration::from_mins(2))
        .start();
    let line = server.log().expect("Listening at: uwsgi://127.0.0.1:");
    let address = line.split("uwsgi://").nth(1).unwrap();
    let address = address.split(' ').next().unwrap();
    server.wait_serving(4);
    let nginx = Nginx::http(&format!(
        "location / {{ include uwsgi_params; uwsgi_pass {address}; }}"
    ));
    let mut wire = nginx.connect();
    // More requests than the workers serve before they are replaced.
    for number in 0..600 {
        assert_eq!(wire.get("/").text(), "served\n", "request {number}");
    }
    drop(nginx);
    server.stop();
}

#[test]
fn nginx_names_the_client_of_a_stream() {
    if lacks(&[Need::NginxStream]) {
        return;
    }
    let server = Server::app("cases:app")
        .args(["--proxy-protocol=auto"])
        .start();
    let nginx = Nginx::stream(&format!(
        "proxy_pass {}; proxy_protocol on;",
        upstream(&server)
    ));
    let mut wire = nginx.connect();
    let reply = wire.get("/types");
    expect_lines(
        &reply,
        &[
            "REMOTE_ADDR=str:127.0.0.1",
            "PROXY_PROTOCOL=str:TCP4",
            "PROXY_ADDR=str:127.0.0.1",
        ],
    );
    let port = wire.local_port().unwrap();
    expect_lines(&reply, &[&format!("REMOTE_PORT=str:{port}")]);
    let more = wire.get("/types");
    expect_lines(&more, &[&format!("REMOTE_PORT=str:{port}")]);
    drop(nginx);
    server.stop();
}
