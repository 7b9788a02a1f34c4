//! The corpus (`tests/corpus`) against the parsers alone: the bytes of each connection whole, byte
//! by byte, and split in two at every offset. The result is always the same. Then the same bytes
//! with mutations, against the properties of `fuzz`.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::reader::{Reader, Rules};
use super::{Framing, ProxyVersions, fuzz};

#[path = "../../tests/corpus/format.rs"]
mod format;

use format::{Body, Case, End, Outcome, Request};

/// Longer input is split at about this many offsets.
const CUTS: usize = 1500;

/// The settings of a case, for the parser.
fn rules(case: &Case) -> Rules {
    let mut rules = Rules::default();
    for (name, value) in &case.settings {
        let (number, yes) = (|| value.parse().unwrap(), value == "true");
        let limits = &mut rules.limits;
        match name.as_str() {
            "limit_request_line" => limits.request_line = number(),
            "limit_request_fields" => limits.fields = number(),
            "limit_request_field_size" => limits.field_size = number(),
            "require_host" => limits.require_host = yes,
            "permit_obsolete_folding" => limits.permit_obsolete_folding = yes,
            "permit_unconventional_http_method" => limits.permit_unconventional_http_method = yes,
            "permit_unconventional_http_version" => limits.permit_unconventional_http_version = yes,
            "casefold_http_method" => limits.casefold_http_method = yes,
            "header_map" => limits.refuse_underscores = value == "refuse",
            "proxy_protocol" => {
                let (v1, v2) = (value != "v2", value != "v1");
                rules.proxy = ProxyVersions { v1, v2 };
            }
            "proxy_allow_ips" => rules.proxy_refused = true,
            "protocol" => rules.uwsgi = value == "uwsgi",
            _ => panic!("{}: {name} is nothing to the parser", case.name),
        }
    }
    rules
}

/// The result in the terms of the corpus.
fn outcome(reader: &Reader) -> Outcome {
    let requests = reader.heard.iter().map(|heard| Request {
        line: heard.line.clone(),
        fields: heard
            .fields
            .iter()
            .map(|(name, value)| [name.as_slice(), value].join(&b": "[..]))
            .collect(),
        authority: heard.authority.clone(),
        expects: heard.expects,
        body: match heard.framing {
            Framing::None => Body::None,
            Framing::Length(_) => Body::Length(heard.body.clone()),
            Framing::Chunked => Body::Chunked(heard.body.clone()),
        },
    });
    let end = match reader.refusal {
        Some(refusal) => End::Refused(refusal.status(), format!("{refusal:?}")),
        None if reader.is_closed() => End::Closed,
        None if reader.wants_more() => End::More,
        None => End::Open,
    };
    let addresses = reader.preface.addresses;
    Outcome {
        client: addresses.map(|addresses| addresses.client.to_string()),
        requests: requests.collect(),
        end,
    }
}

#[test]
fn the_corpus_is_read_as_it_says_however_it_is_cut() {
    let mut wrong = Vec::new();
    for case in Case::all() {
        let (rules, sent) = (rules(&case), case.sent.as_slice());
        let expected = case.outcome.to_string();
        let singly: Vec<&[u8]> = sent.chunks(1).collect();
        let mut expect = |how: &str, reader: &Reader| {
            let found = outcome(reader).to_string();
            if found != expected {
                wrong.push(format!("{}, {how}:\n{found}", case.name));
            }
            found == expected
        };
        if !expect("whole", &Reader::read(&rules, &[sent]))
            || !expect("byte by byte", &Reader::read(&rules, &singly))
        {
            continue;
        }
        for cut in (1..sent.len()).step_by(sent.len().div_ceil(CUTS)) {
            let (first, second) = sent.split_at(cut);
            if !expect(
                &format!("cut at {cut}"),
                &Reader::read(&rules, &[first, second]),
            ) {
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Bytes of the corpus, of the files whose names begin so, with the first of these texts and all
/// before it left out.
fn seeds(prefix: &str, without: &[u8]) -> Vec<Vec<u8>> {
    let cases = Case::all().into_iter();
    let cases = cases.filter(|case| case.name.starts_with(prefix) && case.sent.len() < 1000);
    let cut = |case: Case| {
        let found = case.sent.windows(without.len().max(1));
        let at = found.take_while(|window| *window != without).count();
        match case.sent.get(at + without.len()..) {
            Some(rest) if !without.is_empty() => rest.to_vec(),
            _ => case.sent,
        }
    };
    cases.map(cut).collect()
}

/// What parsers have stumbled over.
const ODD: [&[u8]; 30] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b",",
    b";",
    b"_",
    b"0",
    b"1",
    b"ffffffffffffffff",
    b"+1",
    b"0x1",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Content_Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"transfer_encoding: chunked\r\n",
    b"Host: y\r\n",
    b" folded\r\n",
    b"HTTP/1.0",
    b"GET http://y/ HTTP/1.1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n",
    b"\xe9",
    b"\xff\xff",
];

/// One of these, spoilt in a few places, behind two bytes for choices.
fn spoilt(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<Index>(),
        0..4_usize,
        select(ODD.to_vec()),
        any::<u8>(),
    );
    let changes = prop::collection::vec(change, 0..4);
    (any::<[u8; 2]>(), select(seeds), changes).prop_map(|(choices, mut bytes, changes)| {
        for (place, kind, odd, byte) in changes {
            let at = place.index(bytes.len() + 1);
            let end = (at + odd.len()).min(bytes.len());
            match kind {
                0 => drop(bytes.splice(at..at, odd.iter().copied())),
                1 => drop(bytes.splice(at..end, odd.iter().copied())),
                2 => drop(bytes.splice(at..end, [])),
                _ => drop(bytes.splice(at..end.min(at + 1), [byte])),
            }
        }
        [&choices[..], &bytes].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_must_hold_for_connections(data in spoilt(seeds("", b""))) {
        fuzz::connection(&data);
    }

    #[test]
    fn what_must_hold_for_chunks(data in spoilt(seeds("chunks/", b"\r\n\r\n"))) {
        fuzz::chunked(&data[1..]);
    }

    #[test]
    fn what_must_hold_for_proxy_headers(data in spoilt(seeds("proxy/", b""))) {
        fuzz::preface(&data[1..]);
    }

    #[test]
    fn what_must_hold_for_packets(data in spoilt(seeds("uwsgi/", b""))) {
        fuzz::packet(&data[1..]);
    }
}
