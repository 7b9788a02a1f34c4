//! With an interpreter: see this crate's `Cargo.toml` for the command.

use std::ffi::CStr;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use super::observe::{CalledWith, CannotObserve, Observation, Observer, WritableMemory};
use super::{Arguments, Builtin, bind_builtin, call, text, traceback};

/// Runs the source and gives its names.
fn names<'py>(py: Python<'py>, source: &CStr) -> Bound<'py, PyDict> {
    let names = PyDict::new(py);
    py.run(source, Some(&names), Some(&names)).expect("it runs");
    names
}

fn get<'py>(names: &Bound<'py, PyDict>, name: &str) -> Bound<'py, PyAny> {
    names
        .get_item(name)
        .expect("a dict")
        .expect("it has the name")
}

#[test]
fn two_arguments_reach_functions_methods_and_classes() {
    Python::initialize();
    Python::attach(|py| {
        let names = names(
            py,
            c"
def function(a, b): return ('function', a, b)
class Class:
    def __init__(self, *args): self.args = args
    def method(self, a, b): return ('method', a, b)
    def __call__(self, a, b): return ('object', a, b)
    def __repr__(self): return 'Class%r' % (self.args,)
def fails(a, b): raise RuntimeError(a)
method = Class().method
instance = Class()
",
        );
        let (one, two) = (PyString::new(py, "one"), PyString::new(py, "two"));
        let called = |name| {
            let result = call::call2(&get(&names, name), one.as_any(), two.as_any());
            result.map(|result| result.repr().expect("a repr").to_string())
        };
        for (name, expected) in [
            ("function", "('function', 'one', 'two')"),
            ("method", "('method', 'one', 'two')"),
            ("instance", "('object', 'one', 'two')"),
            ("Class", "Class('one', 'two')"),
        ] {
            assert_eq!(called(name).expect("it returns"), expected);
        }
        let error = called("fails").expect_err("it raises");
        assert!(error.is_instance_of::<PyRuntimeError>(py));
        assert_eq!(traceback::summary(py, &error), "RuntimeError: one");
    });
}

#[test]
fn an_attribute_may_be_missing_or_raise() {
    Python::initialize();
    Python::attach(|py| {
        let names = names(
            py,
            c"
class Class:
    here = 1
    @property
    def raises(self): raise RuntimeError
instance = Class()
",
        );
        let instance = get(&names, "instance");
        let find = |name| call::optional_attribute(&instance, &PyString::new(py, name));
        assert!(find("here").expect("it is found").is_some());
        assert!(find("missing").expect("it is looked for").is_none());
        assert!(find("raises").is_err());
    });
}

/// Gives its arguments back, as text.
struct Echo;

impl Builtin for Echo {
    const NAME: &'static CStr = c"echo";

    fn call<'py>(
        this: &Bound<'py, PyAny>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let first = arguments.get(0, "first")?.map(|object| object.to_string());
        let second = arguments.get(1, "second")?.map(|object| object.to_string());
        if second.as_deref() == Some("panic") {
            std::panic::resume_unwind(Box::new(()));
        }
        let count = (arguments.count(), arguments.positional());
        let text = format!("{this} {first:?} {second:?} {count:?}");
        Ok(PyString::new(this.py(), &text).into_any())
    }
}

#[test]
fn a_built_in_function_gets_its_arguments_and_survives_a_panic() {
    Python::initialize();
    Python::attach(|py| {
        let echo = bind_builtin::<Echo>(PyString::new(py, "bound").as_any()).expect("a function");
        let globals = PyDict::new(py);
        globals.set_item("echo", echo).expect("a name");
        let eval = |source: &CStr| {
            let result = py.eval(source, Some(&globals), None);
            result.map(|result| result.to_string())
        };
        for (source, expected) in [
            (c"echo()", "bound None None (0, 0)"),
            (c"echo(1)", r#"bound Some("1") None (1, 1)"#),
            (c"echo(1, second=2)", r#"bound Some("1") Some("2") (2, 1)"#),
            (
                c"echo(second=2, first=1)",
                r#"bound Some("1") Some("2") (2, 0)"#,
            ),
        ] {
            assert_eq!(eval(source).expect("it returns"), expected);
        }
        let error = eval(c"echo(1, 'panic')").expect_err("it raises");
        assert!(error.is_instance_of::<PyRuntimeError>(py));
    });
}

#[test]
fn text_is_latin_1_on_the_wire() {
    Python::initialize();
    Python::attach(|py| {
        let all: Vec<u8> = (0..=255).collect();
        let text = text::latin1(py, &all).expect("a str");
        let mut back = b"before".to_vec();
        assert!(text::append_latin1(&text, &mut back).expect("it is looked at"));
        assert_eq!(back.strip_prefix(b"before"), Some(all.as_slice()));
        for beyond in [c"'a\\u0100'", c"'\\ud800'"] {
            let text = py.eval(beyond, None, None).expect("a str");
            let text = text.cast_into::<PyString>().expect("a str");
            let mut out = b"before".to_vec();
            assert!(!text::append_latin1(&text, &mut out).expect("it is looked at"));
            assert_eq!(out, b"before");
        }
        let one = text::interned(py, b"wsgi.key").expect("a str");
        assert!(one.is(&text::interned(py, b"wsgi.key").expect("a str")));
    });
}

#[test]
fn a_bytes_object_is_as_long_as_what_was_put_into_it() {
    Python::initialize();
    Python::attach(|py| {
        let made = |used| {
            let made = text::bytes_with(py, 4, |buffer| {
                buffer.fill(b'x');
                if used > 4 { Err(used) } else { Ok(used) }
            });
            made.expect("there is memory")
                .map(|bytes: Bound<'_, PyBytes>| bytes.as_bytes().to_vec())
        };
        assert_eq!(made(4), Ok(b"xxxx".to_vec()));
        assert_eq!(made(1), Ok(b"x".to_vec()));
        assert_eq!(made(9), Err(9));
    });
}

#[test]
fn what_an_app_gives_as_exc_info_is_checked() {
    Python::initialize();
    Python::attach(|py| {
        let names = names(
            py,
            c"
import sys
try:
    raise KeyError('a')
except KeyError:
    info = sys.exc_info()
",
        );
        let error = traceback::from_exc_info(&get(&names, "info")).expect("an exception");
        assert!(traceback::format(py, &error).starts_with("Traceback"));
        let wrong = traceback::from_exc_info(PyString::new(py, "a").as_any());
        assert!(
            wrong
                .expect_err("no tuple")
                .is_instance_of::<PyTypeError>(py)
        );
    });
}

/// Panics at one event.
struct Panics;

impl Observer for Panics {
    fn audited(&self, event: &CStr, _arguments: &Bound<'_, PyTuple>) {
        assert_ne!(event, c"rcorn.panic", "on purpose");
    }

    fn called(
        &self,
        _py: Python<'_>,
        _function: usize,
        _this: Option<&Bound<'_, PyAny>>,
        _arguments: &CalledWith<'_>,
    ) {
    }
}

#[test]
fn an_observer_that_panics_is_known_to_have_missed_something() {
    Python::initialize();
    Python::attach(|py| {
        for (source, expected) in [
            (
                c"import sys; sys.audit('rcorn.panic')",
                Err(CannotObserve::Panicked),
            ),
            (c"import sys; sys.audit('rcorn.calm')", Ok(())),
        ] {
            let observation = Observation::begin(py, Arc::new(Panics)).expect("it begins");
            py.run(source, None, None).expect("it runs");
            let ended = observation.end(py, &WritableMemory::now());
            assert_eq!(ended, expected);
        }
    });
}
