//! The end of the process.
//!
//! The runtime never destroys its models. At exit its own static destructors run while the device's thread still works on its
//! memory, and a tree of the model's own would be left behind. Handlers of `atexit` run in the reverse order of their registration;
//! this one is registered when the first model is made, after the runtime was loaded, so it comes before those destructors.

use std::sync::{Mutex, Once, PoisonError};

use super::model::Model;
use super::say;

/// A model that has not been destroyed.
struct Live(*const Model);

// SAFETY: a Model is Sync (asserted below), and the pointer is used under the list's lock only.
unsafe impl Send for Live {}

const fn assert_sync<T: Sync>() {}
const _: () = assert_sync::<Model>();

static LIVE: Mutex<Vec<Live>> = Mutex::new(Vec::new());

/// Has the model switched off at the end of the process.
///
/// # Safety
/// The model stays valid until [`forget`] of it.
pub unsafe fn remember(model: *const Model) {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // SAFETY: the handler is a function without captures that may run at any time.
        if unsafe { libc::atexit(at_exit) } != 0 {
            say(&"cannot register for the end of the process; the device will run until the very end");
        }
    });
    LIVE.lock().unwrap_or_else(PoisonError::into_inner).push(Live(model));
}

/// Says whether the model was remembered, and forgets it.
pub fn forget(model: *const Model) -> bool {
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let at = live.iter().position(|known| std::ptr::eq(known.0, model));
    at.map(|at| live.swap_remove(at)).is_some()
}

extern "C" fn at_exit() {
    // A panic must not reach the C library, and there is no time left to say so.
    let _ = std::panic::catch_unwind(|| {
        for model in LIVE.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // SAFETY: what is in the list has not been freed (contract of remember).
            unsafe { &*model.0 }.switch_off();
        }
    });
}
