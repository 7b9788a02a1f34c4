//! Observing what Python code does, from below it: audit events (PEP 578), and calls of chosen
//! functions that are written in C.
//!
//! A C function is observed by a change of its `PyMethodDef`: the pointer to the function is
//! replaced by one of ours, which tells the observer and calls the original. CPython reads the
//! pointer at each call, so this costs nothing but at calls of these functions, sees calls from C
//! and from all threads, and is undone without a trace. A profile function
//! (`PyEval_SetProfile`) is called twice for every call of any function: an import of Django takes
//! 20 % longer under one that does nothing, and it takes the place of the app's own profiler.
//!
//! CPython has no way to remove an audit hook, and while there is one, each event costs: `id()`,
//! which Django calls several times a request, takes three times as long. So ours is taken out of
//! the interpreter's list by hand.
#![expect(
    unsafe_code,
    reason = "C functions that CPython calls, and its method tables"
)]
#![expect(
    clippy::as_conversions,
    reason = "the way from a function to its address"
)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::libc;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use rcorn_sys::fork::count_threads;
use rcorn_sys::procfs::Mapping;

use super::thread::has_gil;

/// What is told of the Python code that runs. Called by threads that are attached, without a GIL by
/// several at a time; what the observer itself
/// does is not observed, nor is anything after a subinterpreter was made: its objects must not be
/// used with ours.
pub trait Observer: Send + Sync {
    /// An audit event is raised.
    fn audited(&self, event: &CStr, arguments: &Bound<'_, PyTuple>);

    /// A function is about to be called that [`Observation::watch`] was given with this number.
    /// `this`: what it is bound to.
    fn called(
        &self,
        py: Python<'_>,
        function: usize,
        this: Option<&Bound<'_, PyAny>>,
        arguments: &CalledWith<'_>,
    );
}

/// What a function is called with.
#[derive(Debug, Default)]
pub struct CalledWith<'py> {
    values: Vec<Bound<'py, PyAny>>,
    /// Names of the last of the values.
    names: Vec<String>,
}

impl<'py> CalledWith<'py> {
    /// The argument at this place of those without a name.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<&Bound<'py, PyAny>> {
        let (positional, _) = self.split();
        positional.get(place)
    }

    /// The argument of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Bound<'py, PyAny>> {
        let (_, named) = self.split();
        let place = self.names.iter().position(|one| one == name)?;
        named.get(place)
    }

    fn split(&self) -> (&[Bound<'py, PyAny>], &[Bound<'py, PyAny>]) {
        let positional = self.values.len().saturating_sub(self.names.len());
        self.values.split_at(positional)
    }
}

/// Why something cannot be observed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotObserve {
    /// This Python has no audit hooks that a C function can be added to.
    #[error("this Python calls no audit hook of ours")]
    Audit,
    /// The function is not one of those whose definition can be changed.
    #[error("calls of {0} cannot be observed in this Python")]
    Function(String),
    /// Another observation goes on.
    #[error("an observation goes on already")]
    Busy,
    /// A subinterpreter was made.
    #[error("it has made a subinterpreter")]
    Subinterpreter,
    /// The observer panicked at something, which it has not judged.
    #[error("the observer panicked")]
    Panicked,
}

/// The largest number of functions that are watched at a time.
pub const MAX_FUNCTIONS: usize = 96;

/// The observer, while there is one. A global: CPython passes nothing to a function by which one
/// could be found.
static OBSERVER: Mutex<Option<Arc<dyn Observer>>> = Mutex::new(None);

/// Whether there is an observer.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Whether a subinterpreter was made since the observation has begun.
static HAS_SUBINTERPRETER: AtomicBool = AtomicBool::new(false);

/// Whether the observer has panicked.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Whether the audit hook is in the interpreter's list.
static HOOKED: AtomicBool = AtomicBool::new(false);

/// Whether the audit hook was called.
static HEARD: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread runs the observer.
    static IN_OBSERVER: Cell<bool> = const { Cell::new(false) };
}

/// The observation, until it is dropped.
#[derive(Debug)]
pub struct Observation {
    _private: (),
}

impl Observation {
    /// Begins to tell the observer of audit events.
    ///
    /// # Errors
    ///
    /// There are no audit events, or another observation goes on.
    pub fn begin(py: Python<'_>, observer: Arc<dyn Observer>) -> Result<Self, CannotObserve> {
        add_audit_hook(py)?;
        let mut place = OBSERVER.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return Err(CannotObserve::Busy);
        }
        *place = Some(observer);
        HAS_SUBINTERPRETER.store(false, Ordering::Relaxed);
        PANICKED.store(false, Ordering::Relaxed);
        ACTIVE.store(true, Ordering::Relaxed);
        Ok(Self { _private: () })
    }

    /// Ends it. `memory`: that of now.
    ///
    /// # Errors
    ///
    /// The observer has panicked, or a subinterpreter was made: it does not know all.
    pub fn end(self, py: Python<'_>, memory: &WritableMemory) -> Result<(), CannotObserve> {
        self.stop(py, memory);
        if PANICKED.load(Ordering::Relaxed) {
            return Err(CannotObserve::Panicked);
        }
        if HAS_SUBINTERPRETER.load(Ordering::Relaxed) {
            return Err(CannotObserve::Subinterpreter);
        }
        Ok(())
    }

    fn stop(&self, py: Python<'_>, memory: &WritableMemory) {
        let Self { _private: () } = self;
        ACTIVE.store(false, Ordering::Relaxed);
        for slot in &SLOTS {
            slot.put_back(py);
        }
        remove_audit_hook(py, memory);
        let observer = OBSERVER
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(observer);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if ACTIVE.load(Ordering::Relaxed) {
            Python::attach(|py| self.stop(py, &WritableMemory::now()));
        }
    }
}

fn add_audit_hook(py: Python<'_>) -> Result<(), CannotObserve> {
    type Add = unsafe extern "C" fn(Hook, *mut c_void) -> c_int;
    if HOOKED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: a NUL-terminated name; RTLD_DEFAULT searches what is already loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"PySys_AddAuditHook".as_ptr()) };
    if found.is_null() {
        return Err(CannotObserve::Audit);
    }
    // SAFETY: CPython's symbol of this name has this signature since 3.8.
    let add = unsafe { std::mem::transmute::<*mut c_void, Add>(found) };
    // SAFETY: the GIL is held (token), and the hook is never unloaded: CPython unloads no module.
    let status = unsafe { add(hook, (&raw const HEARD).cast_mut().cast()) };
    if status < 0 {
        drop(PyErr::take(py));
        return Err(CannotObserve::Audit);
    }
    // A hook that was there before can have kept ours out, without an error.
    let audit = py.import("sys").and_then(|sys| sys.getattr("audit"));
    drop(audit.and_then(|audit| audit.call1(("rcorn.observe",))));
    if !HEARD.load(Ordering::Relaxed) {
        return Err(CannotObserve::Audit);
    }
    HOOKED.store(true, Ordering::Relaxed);
    Ok(())
}

/// An entry of CPython's list of audit hooks, which has had this form since 3.8
/// (`_Py_AuditHookEntry`): the next entry, the function, and what it was added with. Ours was added
/// with the address of [`HEARD`], which nobody else uses.
type HookEntry = [Word; 3];

/// How far into the runtime's state the list's head can be. It is within the first few KiB in all
/// versions; from 3.12 on the state is some hundred KiB long.
const RUNTIME_STATE_BYTES: usize = 256 << 10;

/// Takes the audit hook out of the list, if it is the first; otherwise it stays, and looks at
/// [`ACTIVE`]. (If it is not the first, events cost because of the other.)
///
/// The place of the head differs from version to version. It is found by what it points to: an
/// entry with our function and our data, which is nowhere else in the runtime's state.
///
/// Without a GIL another thread could read or change the list now, so it stays if there is one.
fn remove_audit_hook(py: Python<'_>, memory: &WritableMemory) {
    if !has_gil(py) && count_threads().map_or(true, |count| count > 1) {
        return;
    }
    // SAFETY: a NUL-terminated name; RTLD_DEFAULT searches what is already loaded.
    let state = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_PyRuntime".as_ptr()) };
    let length = memory.length_from(state.addr()).min(RUNTIME_STATE_BYTES);
    let words = length.checked_div(size_of::<Word>()).unwrap_or(0);
    for place in 0..words {
        let head = state.cast::<*mut HookEntry>().wrapping_add(place);
        // SAFETY: aligned, as the state is, and in mapped memory, by its length.
        let entry = unsafe { head.read_volatile() };
        if !entry.is_aligned() || memory.length_from(entry.addr()) < size_of::<HookEntry>() {
            continue;
        }
        // SAFETY: aligned and in mapped memory; any bytes are valid for an entry that is only
        // compared.
        let [next, function, data] = unsafe { entry.read_volatile() };
        let is_ours = ptr::eq(function, hook as *const c_void)
            && ptr::eq(data, (&raw const HEARD).cast::<c_void>());
        if is_ours {
            // SAFETY: the head of the list, which is read with the GIL held only (token). The entry
            // is not freed: another thread may be on its way through it.
            unsafe { head.write_volatile(next.cast()) };
            HOOKED.store(false, Ordering::Relaxed);
            return;
        }
    }
}

type Hook = unsafe extern "C" fn(*const c_char, *mut ffi::PyObject, *mut c_void) -> c_int;

/// What CPython calls for each audit event.
unsafe extern "C" fn hook(
    event: *const c_char,
    arguments: *mut ffi::PyObject,
    _data: *mut c_void,
) -> c_int {
    if !ACTIVE.load(Ordering::Relaxed) {
        HEARD.store(true, Ordering::Relaxed);
        return 0;
    }
    // SAFETY: CPython gives a name that lives through the call.
    let name = unsafe { CStr::from_ptr(event) };
    if name == c"cpython.PyInterpreterState_New" {
        // Python 3.13 raises it without the GIL.
        HAS_SUBINTERPRETER.store(true, Ordering::Relaxed);
    }
    observe(|py, observer| {
        // SAFETY: null (while the interpreter ends), or a tuple that lives through the call.
        let arguments = unsafe { Bound::from_borrowed_ptr_or_opt(py, arguments) };
        if let Some(arguments) = arguments.and_then(|all| all.cast_into::<PyTuple>().ok()) {
            observer.audited(name, &arguments);
        }
    });
    0
}

/// Runs the observer, once in each thread. To be called by functions that CPython calls.
fn observe(run: impl FnOnce(Python<'_>, &dyn Observer)) {
    if HAS_SUBINTERPRETER.load(Ordering::Relaxed) {
        return;
    }
    if IN_OBSERVER.replace(true) {
        return;
    }
    let observer = OBSERVER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some(observer) = observer {
        // SAFETY: CPython raises audit events and calls built-in functions with the GIL held.
        let py = unsafe { Python::assume_attached() };
        // A panic must not cross into C. Its message is on standard error.
        if catch_unwind(AssertUnwindSafe(|| run(py, &*observer))).is_err() {
            PANICKED.store(true, Ordering::Relaxed);
        }
    }
    IN_OBSERVER.set(false);
}

/// The frame of the Python code that runs now.
#[must_use]
pub fn current_frame(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    // SAFETY: the GIL is held (token).
    let frame = unsafe { ffi::PyEval_GetFrame() };
    // SAFETY: null, or a borrowed reference to an object.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, frame.cast()) }
}

/// An argument or result of a C function: a pointer, or a number of the same size.
type Word = *mut c_void;

/// One watched function.
struct Slot {
    /// Its definition; null while nothing is watched here.
    definition: AtomicPtr<ffi::PyMethodDef>,
    /// The function that the definition had. Stays when the definition has it again: another
    /// thread may be on its way through our function.
    original: AtomicPtr<c_void>,
    /// The function object, which keeps the definition alive.
    object: Mutex<Option<Py<PyAny>>>,
}

static SLOTS: [Slot; MAX_FUNCTIONS] = [const {
    Slot {
        definition: AtomicPtr::new(ptr::null_mut()),
        original: AtomicPtr::new(ptr::null_mut()),
        object: Mutex::new(None),
    }
}; MAX_FUNCTIONS];

impl Slot {
    /// Gives the definition its own function back.
    fn put_back(&self, _py: Python<'_>) {
        let definition = self.definition.swap(ptr::null_mut(), Ordering::Relaxed);
        if definition.is_null() {
            return;
        }
        let original = self.original.load(Ordering::Relaxed);
        // SAFETY: `watch` has looked that it is a definition in writable memory, and `object` keeps
        // it alive; the GIL is held (token), under which alone CPython reads it.
        unsafe { set_function(definition, original) };
        let object = self
            .object
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(object);
    }
}

/// # Safety
///
/// A definition in writable memory, and a function of the signature that its flags tell. The thread
/// is attached.
unsafe fn set_function(definition: *mut ffi::PyMethodDef, function: Word) {
    // SAFETY: the caller's promise.
    let place = unsafe { &raw mut (*definition).ml_meth };
    // SAFETY: the caller's promise; all members of the union are pointers to functions. Without a
    // GIL other threads may read it now: CPython reads such a word in one piece.
    let place = unsafe { AtomicPtr::from_ptr(place.cast::<Word>()) };
    place.store(function, Ordering::Release);
}

impl Observation {
    /// Tells the observer of each call of a function that is written in C, under this number.
    ///
    /// # Errors
    ///
    /// It is no built-in function, or its definition is in memory that cannot be written.
    pub fn watch(
        function: &Bound<'_, PyAny>,
        number: usize,
        memory: &WritableMemory,
    ) -> Result<(), CannotObserve> {
        let failure = || {
            let name = function
                .getattr("__qualname__")
                .map(|name| name.to_string());
            CannotObserve::Function(name.unwrap_or_else(|_unnamed| "a function".to_owned()))
        };
        let slot = SLOTS.get(number).ok_or_else(failure)?;
        if !slot.definition.load(Ordering::Relaxed).is_null() {
            return Ok(());
        }
        let definition = definition_of(function).ok_or_else(failure)?;
        // SAFETY: `definition_of` has looked that it is one.
        let (flags, original) = unsafe { read_definition(definition) };
        let ours = trampoline(number, flags).ok_or_else(failure)?;
        if !memory.contains(definition.addr()) {
            return Err(failure());
        }
        slot.original.store(original, Ordering::Relaxed);
        slot.definition.store(definition, Ordering::Relaxed);
        *slot.object.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(function.clone().unbind());
        // SAFETY: a definition in writable memory, and a function of the signature that its flags
        // tell; the GIL is held (Bound).
        unsafe { set_function(definition, ours) };
        Ok(())
    }
}

/// The memory that this process can write to: definitions may be in constant data.
#[derive(Debug)]
pub struct WritableMemory(Vec<Range<usize>>);

impl WritableMemory {
    /// As it is now. What is mapped later is not in it; nothing is without `/proc`.
    #[must_use]
    pub fn now() -> Self {
        Self::of(&Mapping::all().unwrap_or_default())
    }

    /// As these mappings tell, which are all of this process.
    #[must_use]
    pub fn of(all: &[Mapping]) -> Self {
        let writable = all.iter().filter(|mapping| mapping.is_writable);
        let addresses = writable.map(|mapping| mapping.addresses.clone());
        Self(addresses.collect())
    }

    fn contains(&self, address: usize) -> bool {
        self.length_from(address) > 0
    }

    /// How many bytes there are from this address on, without a gap; 0 if it is not writable.
    fn length_from(&self, address: usize) -> usize {
        // In order, and without overlaps (`proc_pid_maps(5)`).
        let place = self.0.partition_point(|addresses| addresses.end <= address);
        let mut end = address;
        for addresses in self.0.iter().skip(place) {
            if addresses.start > end {
                break;
            }
            end = addresses.end;
        }
        end.saturating_sub(address)
    }
}

/// The definition that a built-in function was made of, read from the object's own memory:
/// `PyCFunctionObject` begins with the object's head and the pointer to it, in all versions. That
/// is checked against what the C API tells of the function.
fn definition_of(function: &Bound<'_, PyAny>) -> Option<*mut ffi::PyMethodDef> {
    let object = function.as_ptr();
    // SAFETY: a live object, and the GIL is held (Bound).
    if unsafe { ffi::PyCFunction_Check(object) } == 0 {
        return None;
    }
    // Builds have heads of several lengths: those without the GIL, and with `Py_TRACE_REFS`.
    let object_type = function.py().get_type::<PyAny>();
    let head: usize = object_type.getattr("__basicsize__").ok()?.extract().ok()?;
    let place = object
        .wrapping_byte_add(head)
        .cast::<*mut ffi::PyMethodDef>();
    // SAFETY: a built-in function; it is longer than a head and one pointer.
    let definition = unsafe { place.read() };
    // SAFETY: a built-in function, by the check above.
    let flags = unsafe { ffi::PyCFunction_GetFlags(object) };
    // SAFETY: as above.
    let function = unsafe { ffi::PyCFunction_GetFunction(object) }?;
    if definition.is_null() {
        return None;
    }
    // SAFETY: it is the definition unless CPython has changed the layout; then it is another
    // pointer of the object, to something that is as long as a definition.
    let (its_flags, its_function) = unsafe { read_definition(definition) };
    let is_it = its_flags == flags && ptr::eq(its_function, function as *const c_void);
    is_it.then_some(definition)
}

/// The flags and the function of a definition.
///
/// # Safety
///
/// A pointer to a definition, with the GIL held.
unsafe fn read_definition(definition: *const ffi::PyMethodDef) -> (c_int, Word) {
    // SAFETY: the caller's promise.
    let flags = unsafe { (*definition).ml_flags };
    // SAFETY: the caller's promise.
    let place = unsafe { &raw const (*definition).ml_meth };
    // SAFETY: the caller's promise; all members of the union are pointers to functions.
    let function = unsafe { place.cast::<Word>().read() };
    (flags, function)
}

/// The calling conventions (`METH_*` in `methodobject.h`); those that the stable ABI has no name
/// for in 3.9 are in every CPython since 3.9.
mod convention {
    use std::ffi::c_int;

    pub(super) const VARARGS: c_int = 0x0001;
    pub(super) const KEYWORDS: c_int = 0x0002;
    pub(super) const NOARGS: c_int = 0x0004;
    pub(super) const ONE: c_int = 0x0008;
    pub(super) const FASTCALL: c_int = 0x0080;
    pub(super) const METHOD: c_int = 0x0200;
    /// The flags that make a difference to a call.
    pub(super) const ALL: c_int = VARARGS | KEYWORDS | NOARGS | ONE | FASTCALL | METHOD;

    pub(super) const WITH_KEYWORDS: c_int = VARARGS | KEYWORDS;
    pub(super) const FAST_WITH_KEYWORDS: c_int = FASTCALL | KEYWORDS;
    pub(super) const FAST_METHOD: c_int = METHOD | FASTCALL | KEYWORDS;
}

/// Our function of this number, for a function with these flags.
fn trampoline(number: usize, flags: c_int) -> Option<Word> {
    use convention as c;
    Some(match flags & c::ALL {
        c::NOARGS | c::ONE | c::VARARGS => *TWO.get(number)? as Word,
        c::WITH_KEYWORDS | c::FASTCALL => *THREE.get(number)? as Word,
        c::FAST_WITH_KEYWORDS => *FOUR.get(number)? as Word,
        c::FAST_METHOD => *FIVE.get(number)? as Word,
        _ => return None,
    })
}

/// Tells the observer. `words`: what the function was called with, after `this`.
fn report(number: usize, this: Word, words: [Word; 4]) -> Word {
    let Some(slot) = SLOTS.get(number) else {
        return ptr::null_mut();
    };
    let definition = slot.definition.load(Ordering::Relaxed);
    if ACTIVE.load(Ordering::Relaxed) && !definition.is_null() {
        // SAFETY: `watch` has stored it, and keeps it alive while it is stored.
        let flags = unsafe { (*definition).ml_flags };
        observe(|py, observer| {
            // SAFETY: null (a static method), or the object that the function is bound to.
            let this = unsafe { Bound::from_borrowed_ptr_or_opt(py, this.cast()) };
            // SAFETY: what a function with these flags was called with.
            let arguments = unsafe { arguments(py, flags, words) };
            observer.called(py, number, this.as_ref(), &arguments);
        });
    }
    slot.original.load(Ordering::Relaxed)
}

/// The arguments of a call.
///
/// # Safety
///
/// `words` are what a function with these flags was called with, after `this`.
unsafe fn arguments(py: Python<'_>, flags: c_int, words: [Word; 4]) -> CalledWith<'_> {
    use convention as c;
    let [first, second, third, fourth] = words;
    let object = |word: Word| {
        // SAFETY: null, or an object that lives through the call, where the flags tell that the
        // word is one.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, word.cast::<ffi::PyObject>()) }
    };
    let (values, count, names) = match flags & c::ALL {
        c::ONE => {
            return CalledWith {
                values: object(first).into_iter().collect(),
                names: Vec::new(),
            };
        }
        c::VARARGS => return from_tuple(object(first), None),
        c::WITH_KEYWORDS => return from_tuple(object(first), object(second)),
        c::FASTCALL => (first, second.addr(), None),
        c::FAST_WITH_KEYWORDS => (first, second.addr(), object(third)),
        c::FAST_METHOD => (second, third.addr(), object(fourth)),
        _ => return CalledWith::default(),
    };
    let names = names.and_then(|names| names.extract::<Vec<String>>().ok());
    let names = names.unwrap_or_default();
    let count = count.saturating_add(names.len());
    if values.is_null() || count == 0 {
        return CalledWith::default();
    }
    // SAFETY: the protocol gives so many values, alive through the call: first those without a
    // name, then one for each name.
    let values = unsafe { std::slice::from_raw_parts(values.cast::<Word>(), count) };
    CalledWith {
        values: values.iter().filter_map(|value| object(*value)).collect(),
        names,
    }
}

/// The arguments of a function that gets a tuple, and a dict of those with a name.
fn from_tuple<'py>(
    positional: Option<Bound<'py, PyAny>>,
    named: Option<Bound<'py, PyAny>>,
) -> CalledWith<'py> {
    let positional = positional.and_then(|all| all.cast_into::<PyTuple>().ok());
    let mut arguments = CalledWith {
        values: positional.map_or_else(Vec::new, |all| all.iter().collect()),
        names: Vec::new(),
    };
    let named = named.and_then(|named| named.cast_into::<PyDict>().ok());
    for (name, value) in named.iter().flatten() {
        if let Ok(name) = name.extract() {
            arguments.names.push(name);
            arguments.values.push(value);
        }
    }
    arguments
}

/// Calls the original function; `None` cannot be.
macro_rules! call_original {
    ($original:expr, $this:expr $(, $word:ident)*) => {{
        let original = $original;
        if original.is_null() {
            // SAFETY: called with the GIL held.
            unsafe { ffi::PyErr_BadInternalCall() };
            return ptr::null_mut();
        }
        // SAFETY: `watch` has chosen this number of words by the function's flags.
        let original = unsafe {
            std::mem::transmute::<Word, unsafe extern "C" fn(Word $(, call_original!(@word $word))*) -> Word>(original)
        };
        // SAFETY: what CPython has called us with.
        unsafe { original($this $(, $word)*) }
    }};
    (@word $word:ident) => { Word };
}

unsafe extern "C" fn two<const NUMBER: usize>(this: Word, a: Word) -> Word {
    let none = ptr::null_mut();
    call_original!(report(NUMBER, this, [a, none, none, none]), this, a)
}

unsafe extern "C" fn three<const NUMBER: usize>(this: Word, a: Word, b: Word) -> Word {
    let none = ptr::null_mut();
    call_original!(report(NUMBER, this, [a, b, none, none]), this, a, b)
}

unsafe extern "C" fn four<const NUMBER: usize>(this: Word, a: Word, b: Word, c: Word) -> Word {
    let words = [a, b, c, ptr::null_mut()];
    call_original!(report(NUMBER, this, words), this, a, b, c)
}

unsafe extern "C" fn five<const NUMBER: usize>(
    this: Word,
    a: Word,
    b: Word,
    c: Word,
    d: Word,
) -> Word {
    call_original!(report(NUMBER, this, [a, b, c, d]), this, a, b, c, d)
}

/// One instance of a function for each number: a function that CPython calls is not told which
/// definition it was found in.
macro_rules! for_each_number {
    ($function:ident) => {
        for_each_number!($function:
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60
            61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89
            90 91 92 93 94 95)
    };
    ($function:ident: $($number:literal)*) => { [$($function::<$number>),*] };
}

type Two = unsafe extern "C" fn(Word, Word) -> Word;
type Three = unsafe extern "C" fn(Word, Word, Word) -> Word;
type Four = unsafe extern "C" fn(Word, Word, Word, Word) -> Word;
type Five = unsafe extern "C" fn(Word, Word, Word, Word, Word) -> Word;

static TWO: [Two; MAX_FUNCTIONS] = for_each_number!(two);
static THREE: [Three; MAX_FUNCTIONS] = for_each_number!(three);
static FOUR: [Four; MAX_FUNCTIONS] = for_each_number!(four);
static FIVE: [Five; MAX_FUNCTIONS] = for_each_number!(five);
