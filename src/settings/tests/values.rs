//! Text into values and back.

use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use crate::shell::split;
use crate::value::within;
use crate::{
    Address, AllowList, Bounds, HeaderMap, Level, LogTarget, Mode, Preload, Refused, Seconds, Size,
    Value,
};

fn parsed<T: Value>(text: &str) -> Result<T, Refused> {
    within(text, Bounds::NONE).map(|(value, _note)| value)
}

fn right<T: Value>(text: &str) -> T {
    parsed(text).unwrap_or_else(|refused| panic!("{refused}"))
}

fn wrong<T: Value + Debug>(text: &str) -> String {
    parsed::<T>(text).expect_err(text).to_string()
}

#[test]
fn times_have_units() {
    for (text, millis) in [
        ("30", 30_000),
        ("0", 0),
        ("0.5", 500),
        ("30s", 30_000),
        (" 30 s ", 30_000),
        ("500ms", 500),
        ("1.5ms", 1),
        ("2m", 120_000),
        ("2min", 120_000),
        ("1.5H", 5_400_000),
        ("1000000000", 1_000_000_000_000),
    ] {
        let time: Seconds = right(text);
        assert_eq!(time.duration().as_millis(), millis, "{text}");
    }
    for text in [
        "", "-3", "x", "s", ".5", "5.", "1.2.3", "3 weeks", "1e3", "٣", "+5", "0x10",
    ] {
        let error = wrong::<Seconds>(text);
        assert_eq!(
            error,
            format!("'{text}' is not a time such as 30, 0.5, 500ms or 2m")
        );
    }
    for text in [
        "1000000001",
        "99999999999999999999999999999999999999999999",
        "999999999h",
    ] {
        assert_eq!(wrong::<Seconds>(text), format!("'{text}' is too long"));
    }
    assert!(wrong::<Seconds>("0.0000000001").contains("too many decimals"));
    assert_eq!(Seconds::new(0).limit(), None);
    assert_eq!(Seconds::new(3).limit(), Some(Duration::from_secs(3)));
    assert_eq!(right::<Seconds>("0.50").show(), "0.5");
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [
        ("4094", 4094),
        ("64KiB", 65_536),
        ("64k", 65_536),
        ("1 MiB", 1 << 20),
        ("2g", 2 << 30),
        ("0", 0),
        ("7B", 7),
    ] {
        assert_eq!(right::<Size>(text).bytes(), bytes, "{text}");
    }
    for text in ["", "-1", "k", "1.5k", "1e3", "12x", "1 000"] {
        assert!(
            wrong::<Size>(text).contains("is not a size in bytes such as"),
            "{text}"
        );
    }
    assert_eq!(
        wrong::<Size>("99999999999999999999g"),
        "'99999999999999999999g' is too large"
    );
    assert_eq!(Size::new(3 << 30).show(), "3GiB");
    assert_eq!(Size::new(1025).show(), "1025");
}

#[test]
fn modes_are_octal_with_a_leading_zero_only() {
    for (text, bits) in [
        ("0", 0),
        ("022", 0o22),
        ("0022", 0o22),
        ("0o22", 0o22),
        ("0O22", 0o22),
        ("0x12", 0x12),
        ("0b10010", 0o22),
        ("18", 0o22),
        ("22", 0o26),
        ("00", 0),
        ("0777", 0o777),
    ] {
        assert_eq!(right::<Mode>(text).bits(), bits, "{text}");
    }
    for text in [
        "", "-1", "+7", "0o", "0o+7", "0o9", "09", "0x", "rw", "0x+1",
    ] {
        assert!(
            wrong::<Mode>(text).contains("is not a file mode such as"),
            "{text}"
        );
    }
    assert!(wrong::<Mode>("777").contains("more than the nine permission bits"));
}

#[test]
fn whole_numbers_are_what_python_takes() {
    assert_eq!(right::<u32>(" +4\n"), 4);
    assert_eq!(wrong::<u32>("4.5"), "'4.5' is not a whole number");
    assert_eq!(wrong::<u32>("5000000000"), "'5000000000' is too large");
    let refused = within::<u32>("-3", Bounds::between(1, u64::MAX)).expect_err("negative");
    assert_eq!(
        refused.to_string(),
        "'-3' is not a whole number of at least 1"
    );
    let refused = within::<u64>("9", Bounds::between(1, 8)).expect_err("too large");
    assert_eq!(refused.to_string(), "'9' is not a whole number from 1 to 8");
    let (lowered, note) = within::<u32>("9", Bounds::lowered_to(8)).expect("lowered");
    assert_eq!((lowered, note.is_some()), (8, true));
}

#[test]
fn choices_do_not_mind_case() {
    assert_eq!(right::<Level>("DEBUG"), Level::Debug);
    assert_eq!(right::<HeaderMap>(" Refuse "), HeaderMap::Refuse);
    assert_eq!(right::<Preload>("off"), Preload::Off);
    let refused = parsed::<Level>("warn").expect_err("no level");
    assert_eq!(refused.to_string(), "'warn' is not a log level");
    assert_eq!(
        refused.hint.as_deref(),
        Some("choose one of: debug, info, warning, error, critical")
    );
    assert!(Level::Warning < Level::Critical);
}

#[test]
fn addresses_in_all_forms() {
    let tcp = |host: &str, port| Address::tcp(host, port);
    let unix = |path: &str| Address::Unix(PathBuf::from(path));
    for (text, address, shown) in [
        ("127.0.0.1:9000", tcp("127.0.0.1", 9000), "127.0.0.1:9000"),
        ("localhost", tcp("localhost", 8000), "localhost:8000"),
        ("Example.ORG:80", tcp("example.org", 80), "example.org:80"),
        (":8080", tcp("0.0.0.0", 8080), "0.0.0.0:8080"),
        ("0.0.0.0:0", tcp("0.0.0.0", 0), "0.0.0.0:0"),
        ("[::1]:80", tcp("::1", 80), "[::1]:80"),
        ("[::]", tcp("::", 8000), "[::]:8000"),
        (
            "[fe80::1%eth0]:80",
            tcp("fe80::1%eth0", 80),
            "[fe80::1%eth0]:80",
        ),
        ("tcp://[::1]:80", tcp("::1", 80), "[::1]:80"),
        ("tcp://127.0.0.1:80", tcp("127.0.0.1", 80), "127.0.0.1:80"),
        ("http://127.0.0.1:80/", tcp("127.0.0.1", 80), "127.0.0.1:80"),
        (
            "unix:/run/app.sock",
            unix("/run/app.sock"),
            "unix:/run/app.sock",
        ),
        (
            "unix:///run/app.sock",
            unix("/run/app.sock"),
            "unix:/run/app.sock",
        ),
        ("unix:app.sock", unix("app.sock"), "unix:app.sock"),
        (
            "unix:@shop",
            Address::Abstract("shop".to_owned()),
            "unix:@shop",
        ),
        ("fd://3", Address::Fd(3), "fd://3"),
        (
            "uwsgi://127.0.0.1:8001",
            Address::Uwsgi(Box::new(tcp("127.0.0.1", 8001))),
            "uwsgi://127.0.0.1:8001",
        ),
        (
            "uwsgi://:8001/",
            Address::Uwsgi(Box::new(tcp("0.0.0.0", 8001))),
            "uwsgi://0.0.0.0:8001",
        ),
        (
            "uwsgi://unix:/run/app.sock",
            Address::Uwsgi(Box::new(unix("/run/app.sock"))),
            "uwsgi://unix:/run/app.sock",
        ),
        (
            "uwsgi://fd://3",
            Address::Uwsgi(Box::new(Address::Fd(3))),
            "uwsgi://fd://3",
        ),
    ] {
        assert_eq!(right::<Address>(text), address, "{text}");
        assert_eq!(address.to_string(), shown);
    }
}

#[test]
fn addresses_with_tls() {
    for (text, socket, shown) in [
        (
            "https://localhost",
            Address::tcp("localhost", 443),
            "https://localhost:443",
        ),
        (
            "https://[::1]:8443/",
            Address::tcp("::1", 8443),
            "https://[::1]:8443",
        ),
        ("https://fd://3", Address::Fd(3), "https://fd://3"),
    ] {
        let address = right::<Address>(text);
        assert_eq!(address.socket(), &socket, "{text}");
        assert!(address.is_https());
        assert_eq!(address.to_string(), shown);
        assert_eq!(right::<Address>(shown), address);
    }
}

#[test]
fn wrong_addresses_are_told_what_is_wrong() {
    let long = format!("unix:/{}", "x".repeat(200));
    for (text, what) in [
        ("", "is empty"),
        ("8000", "has a number for a host"),
        ("::1", "is an IPv6 address without brackets"),
        ("[::1", "has no closing bracket"),
        ("[::1]80", "goes on after the bracket without a colon"),
        ("[localhost]:80", "has no IPv6 address between its brackets"),
        ("localhost:", "has no port after the colon"),
        ("localhost:http", "has no valid port"),
        ("localhost:70000", "has no valid port"),
        ("localhost:-1", "has no valid port"),
        ("localhost:+1", "has no valid port"),
        ("a:1:2", "has no valid port"),
        ("/run/app.sock", "looks like a path"),
        ("http://localhost:80/app", "has no valid port"),
        ("https://unix:/run/app.sock", "has no port to speak TLS on"),
        ("https://uwsgi://:80", "has no port to speak TLS on"),
        ("uwsgi://https://:80", "names the protocol twice"),
        ("https://localhost:", "has no port after the colon"),
        ("udp://localhost:80", "has an unknown kind of address, udp"),
        ("my host:80", "has ' ' in the name of the host"),
        ("unix:", "names no file after 'unix:'"),
        ("unix:@", "names no file after 'unix:'"),
        ("unix:a\0b", "has a zero byte in it"),
        (&long, "is longer than the 107 bytes"),
        ("fd://", "names no descriptor"),
        ("fd://-1", "names no descriptor"),
        ("fd://x", "names no descriptor"),
    ] {
        let refused = parsed::<Address>(text).expect_err(text);
        assert!(refused.what.starts_with(what), "{text}: {}", refused.what);
        assert!(refused.hint.is_some(), "{text}");
    }
}

#[test]
fn lists_of_trust() {
    let list: AllowList = right("127.0.0.1, 10.0.0.0/8,::1,fd00::/8,");
    let allows = |peer: &str| list.allows(peer.parse::<IpAddr>().expect(peer));
    for peer in [
        "127.0.0.1",
        "10.200.3.4",
        "::1",
        "fd12::7",
        "::ffff:10.0.0.1",
    ] {
        assert!(allows(peer), "{peer}");
    }
    for peer in ["127.0.0.2", "11.0.0.1", "::2", "fe80::1", "::ffff:11.0.0.1"] {
        assert!(!allows(peer), "{peer}");
    }
    assert_eq!(list.to_string(), "127.0.0.1,10.0.0.0/8,::1,fd00::/8");
    assert!(!list.allows_all());
    let all: AllowList = right("*");
    assert!(all.allows_all() && all.allows("192.0.2.1".parse().expect("address")));
    let none: AllowList = right("");
    assert!(!none.allows("127.0.0.1".parse().expect("address")));
    assert!(wrong::<AllowList>("localhost").contains("not an IP address: 'localhost'"));
    assert!(wrong::<AllowList>("10.0.0.0/33").contains("not a network"));
    assert!(wrong::<AllowList>("10.0.0.7/8").contains("bits of a host"));
}

#[test]
fn pairs_and_lists() {
    assert_eq!(
        right::<(String, String)>("A=b=c "),
        ("A".to_owned(), "b=c ".to_owned())
    );
    assert_eq!(
        right::<(String, String)>("A="),
        ("A".to_owned(), String::new())
    );
    assert_eq!(
        wrong::<(String, String)>("A"),
        "'A' is not of the form NAME=VALUE"
    );
    assert!(wrong::<(String, String)>("=b").contains("no name"));
    let (list, _) =
        Vec::<String>::parse_all(&["a, b,", "c"], Bounds::NONE, Some(',')).expect("list");
    assert_eq!(list, ["a", "b", "c"]);
    let (list, _) = Vec::<String>::parse_all(&["a,b", ""], Bounds::NONE, None).expect("list");
    assert_eq!(list, ["a,b", ""]);
    assert_eq!(right::<Option<LogTarget>>(""), None);
    assert_eq!(right::<Option<LogTarget>>("-"), Some(LogTarget::Standard));
    assert_eq!(
        wrong::<LogTarget>(" "),
        "' ' is not a file, or - for the standard stream"
    );
}

#[test]
fn words_are_split_as_by_a_shell() {
    for (line, words) in [
        ("-w 4  --name='a b'", vec!["-w", "4", "--name=a b"]),
        (r#""a \"b\" \x" c\ d"#, vec![r#"a "b" \x"#, "c d"]),
        ("'' \"\"", vec!["", ""]),
        (r"'a\'b", vec![r"a\b"]),
        ("a\\\nb\t\nc # d", vec!["ab", "c", "#", "d"]),
        ("", vec![]),
    ] {
        assert_eq!(split(line).expect(line), words, "{line}");
    }
    assert!(split("'a").is_err());
    assert!(split("\"a\\").is_err());
    assert!(split("a\\").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn times_round_trip(nanos in 0..1_000_000_000_000_000_000_u64) {
        let time = Seconds::from(Duration::from_nanos(nanos));
        prop_assert_eq!(right::<Seconds>(&time.show()), time);
    }

    #[test]
    fn sizes_round_trip(bytes: u64, power in 0..64_u32) {
        let size = Size::new(bytes.checked_shl(power).unwrap_or_default());
        prop_assert_eq!(right::<Size>(&size.show()), size);
    }

    #[test]
    fn modes_round_trip(bits in 0..0o1000_u32) {
        prop_assert_eq!(right::<Mode>(&Mode::new(bits).show()), Mode::new(bits));
    }

    #[test]
    fn addresses_round_trip(host in "[a-z][a-z0-9.-]{0,20}", v6: u128, port: u16, path in "[a-z./_ -]{0,40}[a-z]") {
        let v6 = std::net::Ipv6Addr::from(v6).to_string();
        for address in [
            Address::tcp(host.clone(), port),
            Address::tcp(v6, port),
            Address::Unix(PathBuf::from(format!("/{path}"))),
            Address::Abstract(path.clone()),
            Address::Fd(i32::from(port)),
        ] {
            prop_assert_eq!(right::<Address>(&address.show()), address);
        }
    }

    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,20}|[-0-9a-z:/.@\\[\\]%*,=']{0,20}") {
        prop_assert!(parsed::<Address>(&text).map_or_else(|e| e.hint.is_some(), |v| right::<Address>(&v.show()) == v));
        prop_assert!(parsed::<AllowList>(&text).map_or(true, |v| right::<AllowList>(&v.show()) == v));
        prop_assert!(parsed::<Seconds>(&text).map_or(true, |v| right::<Seconds>(&v.show()) == v));
        prop_assert!(parsed::<Size>(&text).map_or(true, |v| right::<Size>(&v.show()) == v));
        prop_assert!(parsed::<Mode>(&text).map_or(true, |v| right::<Mode>(&v.show()) == v));
        let _words = split(&text);
    }
}
