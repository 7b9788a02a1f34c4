//! Finds the code that did something, in the stack of Python frames, from the innermost one.

use pyo3::prelude::*;

use super::places::{Owner, Places};
use super::verdict::Place;

/// A number of frames that no import reaches.
const MAX_FRAMES: usize = 2000;

/// The origin of one event, by the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The line that it is attributed to: of the app's code, or of a library's module that is being
    /// imported, whichever is nearer.
    pub(crate) place: Option<Place>,
    /// It happened in an import of a module of the standard library.
    pub(crate) is_standard: bool,
    /// The nearest code that is not the standard library's is the app's.
    pub(crate) by_app_itself: bool,
    /// The nearest code is Python's import machinery.
    pub(crate) by_import_system: bool,
    /// Functions of libraries and of the standard library that were passed, the nearest first, as
    /// `file:function`.
    pub(crate) passed: Vec<String>,
}

impl Trace {
    /// Examines the stack from this frame on.
    pub(crate) fn of(frame: Option<Bound<'_, PyAny>>, places: &Places) -> Self {
        let mut trace = Self::default();
        let mut next = frame;
        let mut is_first = true;
        let mut only_standard = true;
        for _ in 0..MAX_FRAMES {
            let Some(frame) = next else {
                break;
            };
            let Ok((file, name, line)) = read(&frame) else {
                break;
            };
            if is_first {
                trace.by_import_system = file.starts_with("<frozen importlib");
            }
            match places.owner(&file) {
                Owner::Nobody => {}
                Owner::App(file) => {
                    trace.by_app_itself = only_standard;
                    trace.place = Some(Place { file, line });
                    return trace;
                }
                Owner::Standard(file) => {
                    trace.passed.push(format!("{file}:{name}"));
                    if name == "<module>" {
                        trace.is_standard = true;
                        return trace;
                    }
                }
                Owner::Library(file) => {
                    only_standard = false;
                    trace.passed.push(format!("{file}:{name}"));
                    if name == "<module>" {
                        trace.place = Some(Place { file, line });
                        return trace;
                    }
                }
            }
            is_first = false;
            next = frame.getattr("f_back").ok().filter(|back| !back.is_none());
        }
        trace
    }

    /// Whether the code of this frame is the app's.
    pub(crate) fn is_app_line(frame: Option<&Bound<'_, PyAny>>, places: &Places) -> bool {
        let file = frame.and_then(|frame| {
            let code = frame.getattr("f_code").ok()?;
            code.getattr("co_filename").ok()?.extract::<String>().ok()
        });
        file.is_some_and(|file| matches!(places.owner(&file), Owner::App(_)))
    }

    /// The line of the app's code that led to it, whatever code is in between.
    pub(crate) fn app_place(frame: Option<Bound<'_, PyAny>>, places: &Places) -> Option<Place> {
        let mut next = frame;
        for _ in 0..MAX_FRAMES {
            let frame = next?;
            let (file, _, line) = read(&frame).ok()?;
            if let Owner::App(file) = places.owner(&file) {
                return Some(Place { file, line });
            }
            next = frame.getattr("f_back").ok().filter(|back| !back.is_none());
        }
        None
    }
}

/// The file, the name and the line of a frame.
fn read(frame: &Bound<'_, PyAny>) -> PyResult<(String, String, u32)> {
    let code = frame.getattr("f_code")?;
    let file = code.getattr("co_filename")?.extract()?;
    let name = code.getattr("co_name")?.extract()?;
    // `None` for some frames without a line.
    let line = frame.getattr("f_lineno")?.extract().unwrap_or(0);
    Ok((file, name, line))
}
