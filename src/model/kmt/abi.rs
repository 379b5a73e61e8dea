//! The table of functions that the runtime calls, and the structures that it passes.
//!
//! **Invariant of the interface**: the runtime passes to each function the model that `create` returned, until `destroy` of it; a
//! queue is passed to `destroy_queue` once and only with its model; a queue's description lives for the length of the call. The
//! runtime holds its own lock during every call but `create` and the setters, which come first and alone. Every `unsafe` block below
//! rests on it.

use std::ffi::c_void;
use std::mem::{offset_of, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use super::model::{Aperture, Model, QueueInfo, QueueKind, SetEvent};
use super::{exit, say};
use crate::model::address::GpuVa;
use crate::model::gpu::QueueId;

/// Changes that break callers.
const VERSION_MAJOR: u32 = 0;
/// Additions: 4 has `destroy_queue` and the addresses of allocations.
const VERSION_MINOR: u32 = 4;

/// A queue, as the runtime names it.
struct Queue(QueueId);

/// `hsakmt_model_queue_info`. All addresses are the GPU's.
#[repr(C)]
struct RawQueueInfo {
    ring_base_address: u64,
    write_pointer_address: u64,
    read_pointer_address: u64,
    /// Never filled in.
    doorbell: *mut u64,
    ring_bytes: u32,
    /// `KFD_IOC_QUEUE_TYPE_*`.
    queue_type: u32,
}

const _: () = {
    assert!(size_of::<RawQueueInfo>() == 40);
    assert!(offset_of!(RawQueueInfo, write_pointer_address) == 8);
    assert!(offset_of!(RawQueueInfo, read_pointer_address) == 16);
    assert!(offset_of!(RawQueueInfo, doorbell) == 24);
    assert!(offset_of!(RawQueueInfo, ring_bytes) == 32);
    assert!(offset_of!(RawQueueInfo, queue_type) == 36);
};

type SetEventFunction = unsafe extern "C" fn(data: *mut c_void, event_id: u32);

/// `hsakmt_model_functions`, in the order of the header.
#[repr(C)]
pub struct ModelFunctions {
    version_major: u32,
    version_minor: u32,
    create: extern "C" fn() -> *mut Model,
    destroy: unsafe extern "C" fn(*mut Model),
    set_global_aperture: unsafe extern "C" fn(*mut Model, *mut c_void, u64),
    alloced_memory: unsafe extern "C" fn(*mut Model, *mut c_void, u64, u32),
    freed_memory: unsafe extern "C" fn(*mut Model, *mut c_void, u64),
    set_notify_event: unsafe extern "C" fn(*mut Model, *mut c_void, *mut c_void),
    set_wait_event: unsafe extern "C" fn(*mut Model, *mut c_void, *mut c_void),
    register_queue: unsafe extern "C" fn(*mut Model, *mut RawQueueInfo) -> *mut Queue,
    set_set_event: unsafe extern "C" fn(*mut Model, Option<SetEventFunction>, *mut c_void),
    destroy_queue: unsafe extern "C" fn(*mut Model, *mut Queue),
}

const _: () = {
    assert!(size_of::<ModelFunctions>() == 8 + 10 * 8);
    assert!(offset_of!(ModelFunctions, create) == 8);
    assert!(offset_of!(ModelFunctions, set_global_aperture) == 24);
    assert!(offset_of!(ModelFunctions, alloced_memory) == 32);
    assert!(offset_of!(ModelFunctions, register_queue) == 64);
    assert!(offset_of!(ModelFunctions, set_set_event) == 72);
    assert!(offset_of!(ModelFunctions, destroy_queue) == 80);
};

static FUNCTIONS: ModelFunctions = ModelFunctions {
    version_major: VERSION_MAJOR,
    version_minor: VERSION_MINOR,
    create,
    destroy,
    set_global_aperture,
    alloced_memory,
    freed_memory,
    set_notify_event,
    set_wait_event,
    register_queue,
    set_set_event,
    destroy_queue,
};

/// What the library that `HSA_MODEL_LIB` names must export.
#[unsafe(no_mangle)]
pub extern "C" fn get_hsakmt_model_functions() -> *const ModelFunctions {
    &raw const FUNCTIONS
}

/// Ends the process when the call panics: an unwinding panic must not reach the runtime's frames, and the runtime could not
/// go on anyway.
fn guarded<T>(call: &str, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        say(&format_args!("{call} panicked (the reason stands above); ending the process"));
        std::process::abort()
    })
}

/// Calls with the model, if there is one.
///
/// # Safety
/// The invariant of the interface holds for `model`.
unsafe fn with_model<T>(call: &str, model: *mut Model, none: T, work: impl FnOnce(&Model) -> T) -> T {
    guarded(call, || {
        // SAFETY: a model is leaked when it is made and freed by destroy only (invariant of the interface). It is shared with
        // the exit handler, so no exclusive reference is ever made.
        match unsafe { model.as_ref() } {
            Some(model) => work(model),
            None => {
                say(&format_args!("{call} without a model"));
                none
            }
        }
    })
}

extern "C" fn create() -> *mut Model {
    guarded("create", || match Model::start() {
        Ok(model) => {
            let model = Box::into_raw(Box::new(model));
            // SAFETY: the model is leaked; destroy forgets it before it frees it.
            unsafe { exit::remember(model) };
            model
        }
        Err(error) => {
            say(&error);
            ptr::null_mut()
        }
    })
}

unsafe extern "C" fn destroy(model: *mut Model) {
    guarded("destroy", || {
        if exit::forget(model) {
            // SAFETY: create made it from a Box, and it was remembered, so it has not been freed yet.
            drop(unsafe { Box::from_raw(model) });
        }
    });
}

unsafe extern "C" fn set_global_aperture(model: *mut Model, base: *mut c_void, bytes: u64) {
    let work = |model: &Model| {
        let Some(base) = NonNull::new(base.cast::<u8>()) else { return say(&"the runtime's aperture is at address zero") };
        // SAFETY: the runtime reserves the aperture for the device, keeps it to the end of the process, and changes in it only
        // what it maps for the GPU; it tells of every range before it maps it (invariant of an aperture, hsakmtmodel.c).
        let aperture = unsafe { Aperture::new(base, bytes) };
        if let Err(error) = model.set_aperture(aperture) {
            say(&error);
        }
    };
    // SAFETY: the invariant of the interface.
    unsafe { with_model("set_global_aperture", model, (), work) };
}

unsafe extern "C" fn alloced_memory(model: *mut Model, va: *mut c_void, bytes: u64, flags: u32) {
    let work = |model: &Model| {
        if let Err(error) = model.register(GpuVa(va as u64), bytes, flags) {
            say(&error);
        }
    };
    // SAFETY: the invariant of the interface.
    unsafe { with_model("alloced_memory", model, (), work) };
}

unsafe extern "C" fn freed_memory(model: *mut Model, va: *mut c_void, bytes: u64) {
    let work = |model: &Model| {
        if let Err(error) = model.unregister(GpuVa(va as u64), bytes) {
            say(&error);
        }
    };
    // SAFETY: the invariant of the interface.
    unsafe { with_model("freed_memory", model, (), work) };
}

/// Deprecated in the header and never called.
unsafe extern "C" fn set_notify_event(_model: *mut Model, _callback: *mut c_void, _data: *mut c_void) {}

/// The model never waits for the runtime's events.
unsafe extern "C" fn set_wait_event(_model: *mut Model, _callback: *mut c_void, _data: *mut c_void) {}

unsafe extern "C" fn register_queue(model: *mut Model, info: *mut RawQueueInfo) -> *mut Queue {
    let work = |model: &Model| {
        // SAFETY: the description lives for the length of the call (invariant of the interface).
        let Some(raw) = (unsafe { info.as_ref() }) else {
            say(&"register_queue without a description");
            return ptr::null_mut();
        };
        let info = QueueInfo {
            kind: QueueKind::of(raw.queue_type),
            ring: GpuVa(raw.ring_base_address),
            ring_bytes: raw.ring_bytes,
            read_pointer: GpuVa(raw.read_pointer_address),
            write_pointer: GpuVa(raw.write_pointer_address),
        };
        match model.create_queue(&info) {
            Ok(id) => Box::into_raw(Box::new(Queue(id))),
            Err(error) => {
                say(&format_args!("cannot create a queue: {error}"));
                ptr::null_mut()
            }
        }
    };
    // SAFETY: the invariant of the interface.
    unsafe { with_model("register_queue", model, ptr::null_mut(), work) }
}

unsafe extern "C" fn set_set_event(model: *mut Model, function: Option<SetEventFunction>, data: *mut c_void) {
    let work = |model: &Model| {
        // SAFETY: the runtime's function may be called from any thread while the model lives (invariant of the interface).
        model.set_event_function(function.map(|function| unsafe { SetEvent::new(function, data) }));
    };
    // SAFETY: the invariant of the interface.
    unsafe { with_model("set_set_event", model, (), work) };
}

unsafe extern "C" fn destroy_queue(model: *mut Model, queue: *mut Queue) {
    let work = |model: &Model| {
        if queue.is_null() {
            return;
        }
        // SAFETY: register_queue made it from a Box, and it is destroyed once (invariant of the interface).
        let queue = unsafe { Box::from_raw(queue) };
        model.destroy_queue(queue.0);
    };
    // SAFETY: the invariant of the interface.
    unsafe { with_model("destroy_queue", model, (), work) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_version_0_4_which_is_what_rocr_7_2_4_asks_for() {
        // SAFETY: the table is a static.
        let functions = unsafe { &*get_hsakmt_model_functions() };
        assert_eq!((functions.version_major, functions.version_minor), (0, 4));
    }

    #[test]
    fn calls_without_a_model_do_nothing() {
        let none = ptr::null_mut();
        // SAFETY: null is what the functions check for.
        unsafe {
            (FUNCTIONS.alloced_memory)(none, ptr::null_mut(), 4096, 0);
            (FUNCTIONS.destroy)(none);
            (FUNCTIONS.destroy_queue)(none, ptr::null_mut());
            assert!((FUNCTIONS.register_queue)(none, ptr::null_mut()).is_null());
        }
    }
}
