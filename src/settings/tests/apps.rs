//! Reading `APP_MODULE`.

use proptest::prelude::*;

use crate::value::within;
use crate::{AppRef, Bounds, Expression, Literal, Refused, Value};

fn parsed(text: &str) -> Result<AppRef, Refused> {
    within(text, Bounds::NONE).map(|(app, _note)| app)
}

fn app(text: &str) -> AppRef {
    parsed(text).unwrap_or_else(|refused| panic!("{refused}"))
}

fn int(text: &str) -> Literal {
    Literal::Int(text.to_owned())
}

fn string(text: &str) -> Literal {
    Literal::Str(text.to_owned())
}

/// The value of the only argument.
fn argument(text: &str) -> Literal {
    match app(&format!("x:f({text})")).expression {
        Expression::Call {
            mut args, kwargs, ..
        } if args.len() == 1 && kwargs.is_empty() => args.remove(0),
        other @ (Expression::Call { .. } | Expression::Attribute(_)) => {
            panic!("{text} gives {other:?}")
        }
    }
}

#[test]
fn names() {
    let attribute =
        |path: &[&str]| Expression::Attribute(path.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(app("shop.wsgi").expression, attribute(&["application"]));
    assert_eq!(app(" shop.wsgi:app ").module, "shop.wsgi");
    assert_eq!(app("my-shop:app").module, "my-shop");
    assert_eq!(
        app("shop:a.b_1.ç").expression,
        attribute(&["a", "b_1", "ç"])
    );
    assert_eq!(app("shop").to_string(), "shop:application");
}

#[test]
fn factories() {
    let text = r#"m:a.factory("literal", k=1, x=[1,2], d={'a': None}, t=(1,), b=b"x", f=-1.5, s='it\'s',)"#;
    let Expression::Call { path, args, kwargs } = app(text).expression else {
        panic!("no call")
    };
    assert_eq!(path, ["a", "factory"]);
    assert_eq!(args, [string("literal")]);
    let expected = [
        ("k", int("1")),
        ("x", Literal::List(vec![int("1"), int("2")])),
        ("d", Literal::Dict(vec![(string("a"), Literal::None)])),
        ("t", Literal::Tuple(vec![int("1")])),
        ("b", Literal::Bytes(b"x".to_vec())),
        ("f", Literal::Float(-1.5)),
        ("s", string("it's")),
    ];
    assert_eq!(
        kwargs,
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    assert_eq!(app("m:f ( )").to_string(), "m:f()");
    assert_eq!(app("m:f(k = 'a:b')").to_string(), "m:f(k='a:b')");
}

#[test]
fn numbers() {
    for (text, value) in [
        ("0", int("0")),
        ("000", int("0")),
        ("1_000", int("1000")),
        ("-17", int("-17")),
        ("+17", int("17")),
        ("- 5", int("-5")),
        ("0xFF", int("0xff")),
        ("-0x_ff", int("-0xff")),
        ("0o17", int("0o17")),
        ("0b101", int("0b101")),
        (
            "123456789012345678901234567890",
            int("123456789012345678901234567890"),
        ),
        ("1.", Literal::Float(1.0)),
        (".5", Literal::Float(0.5)),
        ("1_0.2_5e-1", Literal::Float(1.025)),
        ("1E+3", Literal::Float(1000.0)),
        ("00.5", Literal::Float(0.5)),
        ("-1e999", Literal::Float(f64::NEG_INFINITY)),
    ] {
        assert_eq!(argument(text), value, "{text}");
    }
    for text in [
        "01", "1__0", "_1", "1_", "0x", "0xg", "0b2", "1e", "1.2.3", ".", "1j", "--1", "12abc",
        "0x1.5", "-",
    ] {
        assert!(parsed(&format!("x:f({text})")).is_err(), "{text}");
    }
}

#[test]
fn texts() {
    for (text, value) in [
        (r#""""a"b"""#, None),
        (r#""""a"b""""#, Some(string("a\"b"))),
        ("'''a'b'''", Some(string("a'b"))),
        ("''", Some(string(""))),
        (r#"'a' "b" 'c'"#, Some(string("abc"))),
        (r"r'\n' '\n'", Some(string("\\n\n"))),
        (r"'\x41\u00e9\U0001F600\101\0'", Some(string("Aé😀A\0"))),
        (r"'\q'", Some(string("\\q"))),
        ("u'é'", Some(string("é"))),
        (
            r#"b'\xff\'' b"\u0041""#,
            Some(Literal::Bytes(b"\xff'\\u0041".to_vec())),
        ),
        (r"Rb'\x'", Some(Literal::Bytes(b"\\x".to_vec()))),
        ("'a\\\nb'", Some(string("ab"))),
        ("'''a\nb'''", Some(string("a\nb"))),
        ("'é' b'a'", None),
        ("b'é'", None),
        ("f'a'", None),
        ("z'a'", None),
        ("'a", None),
        ("'a\nb'", None),
        (r"'\", None),
        (r"'\x4'", None),
        (r"'\ud800'", None),
        (r"'\N{BULLET}'", None),
        (r"b'\777'", None),
    ] {
        match value {
            Some(value) => assert_eq!(argument(text), value, "{text}"),
            None => assert!(parsed(&format!("x:f({text})")).is_err(), "{text}"),
        }
    }
}

#[test]
fn collections() {
    assert_eq!(argument("()"), Literal::Tuple(Vec::new()));
    assert_eq!(argument("(1)"), int("1"));
    assert_eq!(argument("( 1 , )"), Literal::Tuple(vec![int("1")]));
    assert_eq!(argument("{}"), Literal::Dict(Vec::new()));
    assert_eq!(
        argument("{(1, 'a'): True, 2: [False, None,],}"),
        Literal::Dict(vec![
            (
                Literal::Tuple(vec![int("1"), string("a")]),
                Literal::Bool(true)
            ),
            (
                int("2"),
                Literal::List(vec![Literal::Bool(false), Literal::None])
            ),
        ])
    );
    for text in [
        "[1 2]",
        "[,]",
        "(,)",
        "[1,,2]",
        "[1",
        "(1",
        "{1:2",
        "{1}",
        "{1:}",
        "{[]: 1}",
        "{({},): 1}",
        "[1)",
    ] {
        assert!(parsed(&format!("x:f({text})")).is_err(), "{text}");
    }
    let deep = |depth: usize| format!("x:f({}{})", "[".repeat(depth), "]".repeat(depth));
    assert!(parsed(&deep(30)).is_ok());
    assert!(parsed(&deep(100_000)).is_err());
}

const WRONG: &[(&str, &str, &str)] = &[
    (
        "x:f(y)",
        "is wrong at character 5: 'y' is a name, and names are not looked up",
        "arguments may be None",
    ),
    (
        "x:f(1, k=g())",
        "is wrong at character 10: 'g' is a name",
        "arguments may be None",
    ),
    (
        "x:f(k=1, 2)",
        "is wrong at character 10: an argument without a name",
        "arguments may be",
    ),
    (
        "x:f(k=1, k=2)",
        "is wrong at character 10: the argument 'k' is given twice",
        "arguments may be",
    ),
    (
        "x:f(*a)",
        "is wrong at character 5: arguments cannot be unpacked here",
        "arguments may be",
    ),
    (
        "x:f(1",
        "is wrong at character 4: the closing ')' is missing",
        "arguments may be",
    ),
    (
        "x:f(1 2)",
        "is wrong at character 7: a comma or ')' is missing",
        "arguments may be",
    ),
    (
        "é:f(@)",
        "is wrong at character 5: '@' begins no literal",
        "arguments may be",
    ),
    (
        "x:f({1})",
        "is wrong at character 7: a colon is missing after the key (sets are not possible)",
        "argu",
    ),
    (
        "x:f().run",
        "is wrong at character 6: nothing can follow the call",
        "write module:name",
    ),
    (
        "x:a b",
        "is wrong at character 5: 'b' is not expected here",
        "write module:name",
    ),
    (
        "x:a.",
        "is wrong at character 5: the name of an attribute is expected here",
        "write module:name",
    ),
    (
        "x:1",
        "is wrong at character 3: the name of an attribute is expected here",
        "write module:name",
    ),
    ("x:", "names nothing after the colon", "write module:name"),
    (
        ":app",
        "names no module before the colon",
        "write module:name",
    ),
    (".x:app", "is a relative import", "write module:name"),
    ("a..b:app", "has a dot without a name", "write module:name"),
    (
        "a b:app",
        "has ' ' in the name of the module",
        "write module:name",
    ),
    (
        "x.py",
        "is the path of a file, not a module",
        "name the module, not its file: x:app",
    ),
    (
        "./x.py:run",
        "is the path of a file, not a module",
        "name the module, not its file: --chdir . x:run",
    ),
    (
        "/srv/shop/x:app",
        "is the path of a file, not a module",
        "its file: --chdir /srv/shop x:app",
    ),
    (
        "/x.py:app",
        "is the path of a file, not a module",
        "its file: --chdir / x:app",
    ),
    (
        "src/:app",
        "is the path of a file, not a module",
        "its file: src:app",
    ),
];

#[test]
fn errors_name_place_cause_and_way_out() {
    for &(text, what, hint) in WRONG {
        let refused = parsed(text).expect_err(text);
        assert!(refused.what.starts_with(what), "{text}: {}", refused.what);
        assert!(
            refused
                .hint
                .as_ref()
                .is_some_and(|found| found.contains(hint)),
            "{text}: {:?}",
            refused.hint
        );
    }
}

fn literals() -> impl Strategy<Value = Literal> {
    let leaf = prop_oneof![
        Just(Literal::None),
        any::<bool>().prop_map(Literal::Bool),
        any::<i128>().prop_map(|number| Literal::Int(number.to_string())),
        any::<f64>()
            .prop_filter("no literal", |number| !number.is_nan())
            .prop_map(Literal::Float),
        any::<String>().prop_map(Literal::Str),
        any::<Vec<u8>>().prop_map(Literal::Bytes),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof![
            any::<String>().prop_map(Literal::Str),
            any::<u8>().prop_map(|n| int(&n.to_string()))
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Literal::List),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Literal::Tuple),
            prop::collection::vec((key, inner), 0..4).prop_map(Literal::Dict),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn apps_round_trip(
        module in "[a-z_][a-z0-9_]{0,8}(\\.[a-z_][a-z0-9_-]{0,8}){0,2}[a-oq-x]",
        path in prop::collection::vec("[a-zé_][a-z0-9_]{0,6}", 1..3),
        args in prop::collection::vec(literals(), 0..3),
        kwargs in prop::collection::btree_map("[a-z_][a-z0-9_]{0,6}", literals(), 0..3),
        call: bool,
    ) {
        let kwargs = kwargs.into_iter().collect();
        let expression = if call { Expression::Call { path, args, kwargs } } else { Expression::Attribute(path) };
        let app = AppRef { module, expression };
        let again = parsed(&app.show()).map_err(|refused| TestCaseError::fail(refused.to_string()))?;
        prop_assert_eq!(again, app);
    }

    #[test]
    fn no_text_is_too_odd(inside in "\\PC{0,30}|[-\\[\\](){},:'\"\\\\ a-f0-9xb.=_\n]{0,30}") {
        for text in [inside.clone(), format!("x:{inside}"), format!("x:f({inside})")] {
            if let Ok(app) = parsed(&text) {
                prop_assert_eq!(parsed(&app.show()).ok(), Some(app), "{}", text);
            }
        }
    }
}
