//! Writing through the caller's pointers.

use std::ffi::{CStr, c_char, c_void};

use super::super::agents::Info;
use super::super::error::RuntimeError;

/// Stores a result.
///
/// # Safety
/// `target` is null or valid for a write of `Value`.
pub unsafe fn put<Value>(target: *mut Value, value: Value) -> Result<(), RuntimeError> {
    check(target)?;
    // SAFETY: not null, so the caller promises that it is valid.
    unsafe { target.write_unaligned(value) };
    Ok(())
}

/// Refuses a null pointer before anything is done that would have to be undone.
pub fn check<Value>(target: *mut Value) -> Result<(), RuntimeError> {
    if target.is_null() { Err(RuntimeError::InvalidArgument("a null pointer for a result")) } else { Ok(()) }
}

/// Stores the value of an attribute.
///
/// # Safety
/// `target` is null or valid for a write of the attribute's documented type.
pub unsafe fn put_info(target: *mut c_void, info: Option<Info>) -> Result<(), RuntimeError> {
    check(target)?;
    let bytes = info.ok_or(RuntimeError::InvalidArgument("an attribute that does not exist here"))?.bytes();
    // SAFETY: not null, so the caller promises room for the attribute's type, which `bytes` is.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target.cast::<u8>(), bytes.len()) };
    Ok(())
}

/// Reads a C string.
///
/// # Safety
/// `text` is null or a zero-terminated string that outlives the result.
pub unsafe fn text<'text>(text: *const c_char) -> Result<&'text str, RuntimeError> {
    if text.is_null() {
        return Err(RuntimeError::InvalidArgument("a null pointer for a string"));
    }
    // SAFETY: not null, so the caller promises a terminated string.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| RuntimeError::InvalidArgument("a string that is not UTF-8"))
}

/// Reads a C array.
///
/// # Safety
/// `items` is null or valid for `count` reads of `Item`.
pub unsafe fn array<Item: Copy>(items: *const Item, count: u32) -> Result<Vec<Item>, RuntimeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if items.is_null() {
        return Err(RuntimeError::InvalidArgument("a null pointer for an array"));
    }
    // SAFETY: not null, so the caller promises `count` items; each is read unaligned within them.
    Ok((0..count as usize).map(|index| unsafe { items.add(index).read_unaligned() }).collect())
}
