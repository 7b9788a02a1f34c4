//! The pointer part of a vectorcall (PEP 590), apart from CPython so that Miri can run it:
//! `cargo miri test -p rcorn-python --lib vectorcall`.
#![expect(unsafe_code, reason = "a C calling convention")]

use std::ptr;

/// `vectorcallfunc` of PEP 590. `T` is `PyObject`; the tests call a function of their own.
pub(crate) type Vectorcall<T> =
    unsafe extern "C" fn(*mut T, *const *mut T, usize, *mut T) -> *mut T;

/// `PY_VECTORCALL_ARGUMENTS_OFFSET`: the callee may use the slot before the first argument, and has
/// to restore what was in it. Bound methods put `self` there.
const ARGUMENTS_OFFSET: usize = 1 << (usize::BITS - 1);

/// Calls `callable(first, second)` and returns its result.
///
/// # Safety
///
/// `function` must accept these pointers: for CPython's, live objects, with the GIL held.
pub(crate) unsafe fn call2<T>(
    function: Vectorcall<T>,
    callable: *mut T,
    first: *mut T,
    second: *mut T,
) -> *mut T {
    let mut slots = [ptr::null_mut(), first, second];
    // Derived from the whole array, mutably: the callee may write to the slot before the first
    // argument.
    let arguments = (&raw mut slots).cast::<*mut T>().wrapping_add(1);
    // SAFETY: the caller's promise; two arguments, and one writable slot before them as the flag
    // says.
    unsafe { function(callable, arguments, 2 | ARGUMENTS_OFFSET, ptr::null_mut()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts itself in front of the arguments, as a bound method does, and adds all three up.
    unsafe extern "C" fn bound_method(
        callable: *mut u32,
        arguments: *const *mut u32,
        count: usize,
        names: *mut u32,
    ) -> *mut u32 {
        assert_eq!(count, 2 | ARGUMENTS_OFFSET);
        assert!(names.is_null());
        let front = arguments.cast_mut().wrapping_sub(1);
        // SAFETY: the flag allows the write, and there are two arguments behind it.
        let slots: &mut [*mut u32; 3] = unsafe { &mut *front.cast() };
        let before = std::mem::replace(&mut slots[0], callable);
        let sum = slots.iter().map(|slot| {
            // SAFETY: the test passes pointers to live numbers.
            unsafe { **slot }
        });
        let sum: u32 = sum.sum();
        slots[0] = before;
        // SAFETY: as above.
        unsafe { *callable = sum };
        callable
    }

    #[test]
    fn a_bound_method_may_write_before_the_first_argument() {
        let (mut method, mut first, mut second) = (1_u32, 20_u32, 300_u32);
        let method: *mut u32 = &raw mut method;
        // SAFETY: the function above accepts pointers to numbers.
        let sum = unsafe { call2(bound_method, method, &raw mut first, &raw mut second) };
        assert_eq!(sum, method);
        // SAFETY: it is the pointer to `method`.
        assert_eq!(unsafe { *sum }, 321);
    }
}
