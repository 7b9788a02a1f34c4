//! PROXY headers: tables of right and wrong, and every way of cutting them.

use proptest::prelude::*;

use super::*;

const ALL: ProxyVersions = ProxyVersions { v1: true, v2: true };
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

type Outcome = Result<Progress<Preface>, Refusal>;

fn preface(bytes: &[u8]) -> Outcome {
    parse_preface(bytes, ALL, true)
}

/// The outcome for a header of this length that names these two.
#[expect(clippy::unnecessary_wraps, reason = "compared with outcomes")]
fn names(length: usize, client: &str, proxy: &str) -> Outcome {
    Ok(Progress::Done(Preface {
        length,
        addresses: Some(ProxiedAddresses {
            client: client.parse().unwrap(),
            proxy: proxy.parse().unwrap(),
        }),
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "compared with outcomes")]
fn nobody(length: usize) -> Outcome {
    let addresses = None;
    Ok(Progress::Done(Preface { length, addresses }))
}

fn v2(kinds: [u8; 2], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &kinds, &length, body].concat()
}

const FOUR: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0, 80];

#[test]
fn proxy_headers_in_text() {
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n";
    let both = names(line.len(), "192.0.2.1:5000", "192.0.2.2:80");
    assert_eq!(preface(line), both);
    assert_eq!(preface(&[line, &b"GET / HTTP/1.1\r\n"[..]].concat()), both);
    let line = b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n";
    assert_eq!(
        preface(line),
        names(line.len(), "[2001:db8::1]:0", "[::1]:65535")
    );
    assert_eq!(preface(b"PROXY UNKNOWN\r\nG"), nobody(15));
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(longest.len(), 107);
    assert_eq!(preface(longest.as_bytes()), nobody(107));
}

#[test]
fn wrong_proxy_headers_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80 \r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 5000 80\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 +80\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 05000 80\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 5000 80\r\n",
        "PROXY TCP4 ::1 ::1 5000 80\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 5000 80\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 5000 80\r\n",
        "PROXY unknown\r\n",
        "PROXY \u{e9}\r\n",
    ] {
        assert_eq!(
            preface(line.as_bytes()),
            Err(Refusal::ProxyHeader),
            "{line:?}"
        );
    }
    let long = format!("PROXY UNKNOWN {}", "f".repeat(93));
    assert_eq!(preface(long.as_bytes()), Err(Refusal::ProxyTooLong));
    assert_eq!(Refusal::ProxyTooLong.status(), 400);
}

#[test]
fn proxy_headers_in_bytes() {
    let header = v2([0x21, 0x11], FOUR);
    assert_eq!(
        preface(&header),
        names(28, "192.0.2.1:5000", "192.0.2.2:80")
    );
    let six: Vec<u8> = [&[0xfd; 16][..], &[0; 15], &[1], &[0, 7, 1, 0]].concat();
    assert_eq!(
        preface(&v2([0x21, 0x21], &six)),
        names(
            52,
            "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:7",
            "[::1]:256"
        )
    );
    // Extensions are skipped, and so is whatever comes with families that are not ours, and with
    // LOCAL.
    let extended = [FOUR, &[4, 0, 1, 0]].concat();
    assert_eq!(
        preface(&v2([0x21, 0x11], &extended)),
        names(32, "192.0.2.1:5000", "192.0.2.2:80")
    );
    assert_eq!(preface(&v2([0x21, 0x31], &[7; 216])), nobody(232));
    assert_eq!(preface(&v2([0x21, 0x12], FOUR)), nobody(28));
    assert_eq!(preface(&v2([0x21, 0], &[])), nobody(16));
    assert_eq!(preface(&v2([0x20, 0], &[])), nobody(16));
    assert_eq!(preface(&v2([0x20, 0x11], FOUR)), nobody(28));
    assert_eq!(preface(&v2([0x20, 0], &[0; 4080])), nobody(4096));
}

#[test]
fn wrong_proxy_bytes_are_refused() {
    for (kinds, body) in [
        ([0x11, 0x11], FOUR),
        ([0x31, 0x11], FOUR),
        ([0x22, 0x11], FOUR),
        ([0x21, 0x41], FOUR),
        ([0x21, 0x13], FOUR),
        ([0x21, 0x11], &FOUR[..11]),
        ([0x21, 0x21], FOUR),
    ] {
        assert_eq!(
            preface(&v2(kinds, body)),
            Err(Refusal::ProxyHeader),
            "{kinds:?}"
        );
    }
    let long = v2([0x20, 0], &[0; 4081]);
    assert_eq!(preface(&long), Err(Refusal::ProxyTooLong));
    assert_eq!(preface(&long[..16]), Err(Refusal::ProxyTooLong));
}

#[test]
fn who_may_send_a_proxy_header() {
    let line = b"PROXY UNKNOWN\r\n";
    let refused = Err(Refusal::ProxyPeer);
    assert_eq!(parse_preface(line, ALL, false), refused);
    assert_eq!(
        parse_preface(&v2([0x20, 0], &[]), ALL, false),
        Err(Refusal::ProxyPeer)
    );
    assert_eq!(Refusal::ProxyPeer.status(), 403);
    // Nobody needs a permission to send none, and what is not looked for is not found.
    assert_eq!(parse_preface(b"POST", ALL, false), nobody(0));
    let (v1, v2_only) = (
        ProxyVersions {
            v1: true,
            v2: false,
        },
        ProxyVersions {
            v1: false,
            v2: true,
        },
    );
    assert_eq!(parse_preface(line, v2_only, true), nobody(0));
    assert_eq!(parse_preface(SIGNATURE, v1, true), nobody(0));
    assert_eq!(
        parse_preface(b"\r\nGET / HTTP/1.1\r\n", ALL, true),
        nobody(0)
    );
}

/// PROXY headers that are nearly right, with a request behind them.
fn nearly_proxied() -> impl Strategy<Value = Vec<u8>> {
    let right = prop::sample::select(vec![
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"\r\n".to_vec(),
        v2([0x21, 0x11], FOUR),
        v2([0x20, 0], &[1, 2, 3]),
    ]);
    (
        right,
        prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(mut bytes, wrong)| {
            if let Some((place, byte)) = wrong {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.extend(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes are cut, the answer is the same; a refusal may come before the end has.
    #[test]
    fn a_cut_preface_changes_nothing(bytes in nearly_proxied()) {
        let whole = preface(&bytes);
        for cut in 0..bytes.len() {
            let part = preface(&bytes[..cut]);
            if part != Ok(Progress::More) {
                prop_assert_eq!(&part, &whole, "at {}", cut);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for beginning in [&b""[..], SIGNATURE, b"PROXY ", b"PROXY TCP4 "] {
            let all = [beginning, &bytes].concat();
            if let Ok(Progress::Done(preface)) = preface(&all) {
                prop_assert!(preface.length <= all.len());
            }
        }
    }
}
