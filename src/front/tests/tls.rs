//! TLS: which certificate, which versions, who is let in, and what comes back.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rcorn_front_link::{
    CertificateFacts, ClientCertificates, Configuration, Facts, FromFront, HttpVersion, Scheme,
    TicketKey, Tls, TlsVersion, ToFront, Verify, VerifyMode,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, ProtocolVersion, SignatureScheme,
};

use crate::support::client::{Client, Session, plain, secure, trusting};
use crate::support::front::{Front, Process};
use crate::support::keys::{Authority, Pair, tls};
use crate::support::worker::{Worker, echo, field, ok};

fn with(tls: Tls) -> Configuration {
    Configuration {
        tls: Some(tls),
        ..Configuration::default()
    }
}

/// The certificate that the front has presented.
fn presented(session: &Session) -> CertificateDer<'static> {
    session.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

fn facts_of(head: &str) -> Facts {
    Facts::parse(field(head, "rcorn-front").unwrap().as_bytes()).unwrap()
}

fn key(byte: u8) -> TicketKey {
    TicketKey {
        secret: vec![byte; 32],
    }
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let first = authority.issue(&["shop.example", "127.0.0.1"]);
    let wild = authority.issue(&["*.shop.example"]);
    let exact = authority.issue(&["a.shop.example"]);
    let front = Front::https(&worker, with(tls(&[&first, &wild, &exact])));
    let config = Arc::new(trusting(authority.roots(), None));
    for (name, pair) in [
        ("shop.example", &first),
        ("b.shop.example", &wild),
        ("a.shop.example", &exact),
        ("A.Shop.example", &exact),
        // No name is sent for an address.
        ("127.0.0.1", &first),
    ] {
        let session = secure(front.address(), name, &config).unwrap();
        assert_eq!(presented(&session), pair.der, "{name}");
    }
}

#[test]
fn a_worker_is_told_of_the_session() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let pair = authority.issue(&["shop.example"]);
    let configuration = Configuration {
        hsts: Some("max-age=31536000".to_owned()),
        ..with(tls(&[&pair]))
    };
    let mut front = Front::https(&worker, configuration);
    let config = Arc::new(trusting(authority.roots(), None));
    let session = secure(front.address(), "shop.example", &config).unwrap();
    let mut client = Client::over(session);
    let reply = client.get("/");
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.field("strict-transport-security"),
        Some("max-age=31536000")
    );
    let facts = facts_of(&worker.seen().head);
    assert_eq!(
        (facts.scheme, facts.http),
        (Scheme::Https, HttpVersion::Http1)
    );
    assert_eq!(facts.tls.as_deref(), Some("TLSv1.3"));
    assert_eq!(facts.cipher.as_deref(), Some("TLS_AES_256_GCM_SHA384"));
    assert_eq!(facts.sni.as_deref(), Some("shop.example"));
    assert_eq!(
        (facts.verify, facts.certificate),
        (Some(Verify::None), None)
    );
    assert_eq!(front.status("handshakes").0, 1);
}

#[test]
fn what_the_app_says_of_transport_security_stands() {
    let (authority, worker) = (
        Authority::new("ca"),
        Worker::new(|_request| {
            b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=0\r\nContent-Length: 0\r\n\r\n"
                .to_vec()
        }),
    );
    let pair = authority.issue(&["shop.example"]);
    let configuration = Configuration {
        hsts: Some("max-age=31536000".to_owned()),
        ..with(tls(&[&pair]))
    };
    let front = Front::https(&worker, configuration);
    let config = Arc::new(trusting(authority.roots(), None));
    let mut client = Client::over(secure(front.address(), "shop.example", &config).unwrap());
    let head = client.get("/").head;
    assert_eq!(field(&head, "strict-transport-security"), Some("max-age=0"));
    assert_eq!(
        head.matches("Strict-Transport-Security").count(),
        1,
        "{head}"
    );
}

#[test]
fn versions_and_ciphers_are_those_of_the_settings() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let pair = authority.issue(&["shop.example"]);
    let client = |version| {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        Arc::new(config)
    };
    let serve = |min_version, max_version, ciphers: &[&str]| {
        let configuration = with(Tls {
            min_version,
            max_version,
            ciphers: ciphers.iter().map(|name| (*name).to_owned()).collect(),
            ..tls(&[&pair])
        });
        Front::https(&worker, configuration)
    };
    let connect =
        |front: &Front, version| secure(front.address(), "shop.example", &client(version));
    let both = serve(TlsVersion::V12, None, &[]);
    let version = |session: Session| session.conn.protocol_version();
    assert_eq!(
        version(connect(&both, &TLS12).unwrap()),
        Some(ProtocolVersion::TLSv1_2)
    );
    assert_eq!(
        version(connect(&both, &TLS13).unwrap()),
        Some(ProtocolVersion::TLSv1_3)
    );
    let newest = serve(TlsVersion::V13, None, &[]);
    connect(&newest, &TLS12).unwrap_err();
    connect(&newest, &TLS13).unwrap();
    let older = serve(TlsVersion::V12, Some(TlsVersion::V12), &[]);
    connect(&older, &TLS13).unwrap_err();
    let chacha = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    let one = serve(TlsVersion::V12, None, &[chacha]);
    connect(&one, &TLS13).unwrap_err();
    let session = connect(&one, &TLS12).unwrap();
    let suite = session.conn.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(format!("{suite:?}"), chacha);
}

/// What cannot be served is said in one sentence: the file, the cause and the way out.
fn assert_refused<const N: usize>(cases: [(Tls, &str); N]) {
    let mut process = Process::new();
    for (tls, expected) in cases {
        let answer = process.check(tls);
        let FromFront::Refused { reason } = answer else {
            panic!("{answer:?} instead of: {expected}");
        };
        assert!(reason.starts_with(expected), "{reason}");
        assert!(reason.contains("; hint: "), "{reason}");
    }
}

#[test]
fn certificates_that_are_not_valid_now_are_refused() {
    let authority = Authority::new("ca");
    let expired = authority.issue_with(&["shop.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let future = authority.issue_with(&["shop.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    });
    assert_refused([
        (
            tls(&[&expired]),
            "the certificate cert.pem has expired on Sat, 01 Feb 2020",
        ),
        (
            tls(&[&future]),
            "the certificate cert.pem is not valid before Sun, 01 Jan 2090",
        ),
        (tls(&[]), "TLS needs a certificate"),
    ]);
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let authority = Authority::new("ca");
    let good = authority.issue(&["shop.example"]);
    let other = authority.issue(&["other.example"]);
    let changed = |change: fn(&mut Tls, &Pair)| {
        let mut tls = tls(&[&good]);
        change(&mut tls, &other);
        tls
    };
    assert_refused([
        (
            changed(|tls, other| tls.sites[0].key = other.key.clone().into_bytes()),
            "the key key.pem does not fit the certificate cert.pem",
        ),
        (
            changed(|tls, _other| tls.sites[0].certificate = b"no PEM".to_vec()),
            "the file cert.pem has no certificate in PEM",
        ),
        (
            changed(|tls, _other| tls.sites[0].key = Vec::new()),
            "the file key.pem has no private key in PEM",
        ),
        (
            changed(|tls, _other| {
                let key = String::from_utf8(tls.sites[0].key.clone()).unwrap();
                let key = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
                tls.sites[0].key = key.into_bytes();
            }),
            "the key key.pem is encrypted with a passphrase",
        ),
    ]);
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let authority = Authority::new("ca");
    let good = authority.issue(&["shop.example"]);
    let changed = |change: fn(&mut Tls)| {
        let mut tls = tls(&[&good]);
        change(&mut tls);
        tls
    };
    assert_refused([
        (
            changed(|tls| tls.ciphers = vec!["RC4-MD5".to_owned()]),
            "there is no cipher suite 'RC4-MD5'",
        ),
        (
            changed(|tls| {
                tls.min_version = TlsVersion::V13;
                tls.max_version = Some(TlsVersion::V12);
            }),
            "the oldest version of TLS is newer than the newest one",
        ),
        (
            changed(|tls| {
                tls.client_certificates.mode = VerifyMode::Required;
                tls.client_certificates.ca_certs = "ca.pem".to_owned();
            }),
            "the file ca.pem has no certificate in PEM",
        ),
    ]);
}

#[test]
fn good_certificates_are_told() {
    let authority = Authority::new("ca");
    let one = authority.issue(&["shop.example"]);
    let other = authority.issue(&["other.example"]);
    let mut process = Process::new();
    let FromFront::Checked { certificates } = process.check(tls(&[&one, &other])) else {
        panic!("refused");
    };
    let names: Vec<_> = certificates
        .iter()
        .map(|facts| facts.names.join(","))
        .collect();
    assert_eq!(names, ["shop.example", "other.example"]);
    let CertificateFacts { certfile, .. } = &certificates[0];
    assert_eq!(certfile, "cert.pem");
}

fn clients(authority: &Authority, mode: VerifyMode) -> ClientCertificates {
    ClientCertificates {
        mode,
        ca_certs: "ca.pem".to_owned(),
        certificates: authority.pem.clone().into_bytes(),
    }
}

#[test]
fn clients_show_a_certificate() {
    let (authority, theirs, worker) = (Authority::new("ca"), Authority::new("theirs"), echo());
    let pair = authority.issue(&["shop.example"]);
    let (known, unknown) = (theirs.issue(&["client"]), authority.issue(&["client"]));
    let connect = |front: &Front, own| {
        let config = Arc::new(trusting(authority.roots(), own));
        let mut session = secure(front.address(), "shop.example", &config)?;
        // With TLS 1.3 a client learns only when it reads that it is not let in.
        session.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut reply = String::new();
        session.read_to_string(&mut reply)?;
        std::io::Result::Ok(reply)
    };
    for mode in [VerifyMode::Optional, VerifyMode::Required] {
        let configuration = with(Tls {
            client_certificates: clients(&theirs, mode),
            ..tls(&[&pair])
        });
        let front = Front::https(&worker, configuration);
        assert!(
            connect(&front, Some(&known))
                .unwrap()
                .starts_with("HTTP/1.1 200 ")
        );
        let facts = facts_of(&worker.seen().head);
        assert_eq!(facts.verify, Some(Verify::Success));
        assert_eq!(facts.certificate.as_deref(), Some(known.der.as_ref()));
        connect(&front, Some(&unknown)).unwrap_err();
        let without = connect(&front, None);
        if mode == VerifyMode::Required {
            without.unwrap_err();
        } else {
            assert!(without.unwrap().starts_with("HTTP/1.1 200 "));
            assert_eq!(facts_of(&worker.seen().head).verify, Some(Verify::None));
        }
    }
    assert!(worker.has_seen_all());
}

#[test]
fn a_session_is_resumed_by_every_front_with_the_same_keys() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let pair = authority.issue(&["shop.example"]);
    let with_keys = |keys: &[u8]| Configuration {
        ticket_keys: keys.iter().copied().map(key).collect(),
        ..with(tls(&[&pair]))
    };
    let mut one = Front::https(&worker, with_keys(&[1]));
    let mut two = Front::https(&worker, with_keys(&[2, 1]));
    let other = Front::https(&worker, with_keys(&[3]));
    let without = Front::https(&worker, with_keys(&[]));
    let resumes = |config: &Arc<ClientConfig>, front: &Front| {
        let session = secure(front.address(), "shop.example", config).unwrap();
        let mut client = Client::over(session);
        // The tickets of TLS 1.3 come after the handshake.
        assert_eq!(client.get("/").status, 200);
        client.0.get_ref().conn.handshake_kind() == Some(HandshakeKind::Resumed)
    };
    for version in [&TLS12, &TLS13] {
        let client = || {
            let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(authority.roots())
                .with_no_client_auth();
            Arc::new(config)
        };
        let config = client();
        assert!(!resumes(&config, &one));
        assert!(resumes(&config, &one));
        assert!(resumes(&config, &two));
        assert!(!resumes(&config, &other));
        let config = client();
        assert!(!resumes(&config, &without));
        assert!(!resumes(&config, &without));
    }
    assert_eq!(two.status("resumptions").0, 2);
    // The key of the old tickets goes.
    let config = Arc::new(trusting(authority.roots(), None));
    assert!(!resumes(&config, &one));
    one.process
        .send(&ToFront::TicketKeys(vec![key(9)]), Vec::new());
    one.status("requests");
    assert!(!resumes(&config, &one));
    assert!(resumes(&config, &one));
    // Over a reload they stay.
    assert!(matches!(
        one.reload(with_keys(&[9])),
        FromFront::Ready { .. }
    ));
    assert!(resumes(&config, &one));
}

/// Keeps the OCSP response that came with the certificate.
#[derive(Debug)]
struct Stapled {
    inner: Arc<WebPkiServerVerifier>,
    response: Mutex<Vec<u8>>,
}

impl ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.response.lock().unwrap() = ocsp_response.to_vec();
        let inner = &self.inner;
        inner.verify_server_cert(end_entity, intermediates, name, &[], now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[test]
fn an_ocsp_response_is_stapled() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let pair = authority.issue(&["shop.example"]);
    let mut tls = tls(&[&pair]);
    tls.sites[0].ocsp = Some(b"response".to_vec());
    let front = Front::https(&worker, with(tls));
    let provider = Arc::new(default_provider());
    let roots = Arc::new(authority.roots());
    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    let verifier = Arc::new(Stapled {
        inner: inner.unwrap(),
        response: Mutex::default(),
    });
    let mut config = trusting(authority.roots(), None);
    let seen: Arc<Stapled> = Arc::clone(&verifier);
    config.dangerous().set_certificate_verifier(verifier);
    secure(front.address(), "shop.example", &Arc::new(config)).unwrap();
    assert_eq!(*seen.response.lock().unwrap(), b"response");
}

#[test]
fn a_new_certificate_is_for_new_connections_and_a_bad_one_changes_nothing() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let [old, new] = [0, 1].map(|_number| authority.issue(&["shop.example"]));
    let mut front = Front::https(&worker, with(tls(&[&old])));
    let config = Arc::new(trusting(authority.roots(), None));
    let connect = |front: &Front| secure(front.address(), "shop.example", &config).unwrap();
    let mut open = Client::over(connect(&front));
    assert_eq!(open.get("/").status, 200);
    let FromFront::Ready { certificates } = front.reload(with(tls(&[&new]))) else {
        panic!("refused");
    };
    assert_eq!(certificates[0].names, ["shop.example"]);
    assert_eq!(presented(&connect(&front)), new.der);
    assert_eq!(open.get("/").status, 200);
    let mut wrong = tls(&[&old]);
    wrong.sites[0].key = new.key.clone().into_bytes();
    let answer = front.reload(with(wrong));
    assert!(matches!(answer, FromFront::Refused { .. }), "{answer:?}");
    assert_eq!(presented(&connect(&front)), new.der);
}

#[test]
fn certificates_change_a_hundred_times_under_load() {
    let (authority, worker) = (Authority::new("ca"), Worker::new(|_request| ok(b"hi")));
    let pairs = [0, 1].map(|_number| authority.issue(&["shop.example"]));
    let mut front = Front::https(&worker, with(tls(&[&pairs[0]])));
    let config = Arc::new(trusting(authority.roots(), None));
    let address = front.address();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_thread| {
            let (config, stop) = (Arc::clone(&config), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut served = 0;
                while !stop.load(Ordering::Relaxed) {
                    let session = secure(address, "shop.example", &config).unwrap();
                    assert_eq!(Client::over(session).get("/").text(), "hi");
                    served += 1;
                }
                served
            })
        })
        .collect();
    for number in 1..=100 {
        let answer = front.reload(with(tls(&[&pairs[number % 2]])));
        assert!(matches!(answer, FromFront::Ready { .. }), "{answer:?}");
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        assert!(thread.join().unwrap() > 0);
    }
    assert_eq!(front.status("failed_handshakes").0, 0);
}

#[test]
fn who_speaks_no_tls_fails_alone() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let pair = authority.issue(&["shop.example"]);
    let mut front = Front::https(&worker, with(tls(&[&pair])));
    let mut socket = crate::support::client::socket(front.address());
    socket.write_all(&[0x16; 100]).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok();
    // An alert.
    assert_eq!(answer[0], 0x15);
    front
        .process
        .record("TLS handshake with ip=127.0.0.1 failed: ");
    let mut unencrypted = plain(front.address());
    let reply = unencrypted.get("/");
    assert_eq!(
        (reply.status, reply.field("connection")),
        (400, Some("close"))
    );
    assert!(reply.text().contains("use https://"), "{}", reply.text());
    assert!(unencrypted.is_closed());
    front
        .process
        .record("failed: the client speaks HTTP without TLS");
    assert_eq!(front.status("failed_handshakes").0, 2);
    let config = Arc::new(trusting(authority.roots(), None));
    let session = secure(front.address(), "shop.example", &config).unwrap();
    assert_eq!(Client::over(session).get("/").status, 200);
}

/// SSL 3.0, TLS 1.0 and TLS 1.1, and the form of SSL 2.0 in which their clients have begun, get an
/// alert that ends it (RFC 8996). openssl does not speak all of them any more.
#[test]
fn old_versions_get_an_alert() {
    let (authority, worker) = (Authority::new("ca"), echo());
    let pair = authority.issue(&["shop.example"]);
    let mut front = Front::https(&worker, with(tls(&[&pair])));
    // Their suites, without extensions: RSA with AES and 3DES, ECDHE with AES.
    let suites = [0, 0x2f, 0, 0x0a, 0xc0, 0x09, 0xc0, 0x13];
    let hello = |minor: u8| {
        let mut body = vec![3, minor];
        body.extend([7; 32]);
        body.extend([0, 0, 8]);
        body.extend(suites);
        body.extend([1, 0]);
        let length = u8::try_from(body.len()).unwrap();
        [&[0x16, 3, minor, 0, length + 4, 1, 0, 0, length], &body[..]].concat()
    };
    // CLIENT-HELLO of SSL 2.0 for SSL 3.0 (RFC 6101 appendix E): one suite, 16 bytes of challenge.
    let mut oldest = vec![0x80, 28, 1, 3, 0, 0, 3, 0, 0, 0, 16, 0, 0, 0x0a];
    oldest.extend([7; 16]);
    let hellos = [oldest, hello(0), hello(1), hello(2)];
    for (number, hello) in (1..).zip(&hellos) {
        let mut socket = crate::support::client::socket(front.address());
        socket.write_all(hello).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        // An alert, and one that is fatal.
        assert_eq!((answer[0], answer[5]), (0x15, 2), "{number}: {answer:?}");
        assert_eq!(answer.len(), 7, "{number}: {answer:?}");
        assert_eq!(front.status("failed_handshakes").0, number);
    }
}
