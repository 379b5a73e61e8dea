//! Handles, attributes and arguments: what the C functions accept and what they refuse, by the HSA specification.

use std::ffi::{CStr, c_void};
use std::ptr;

use aqlprobe::hsa::sys::*;
use aqlprobe::runtime::abi::{
    hsa_agent_get_info, hsa_agent_iterate_isas, hsa_amd_memory_pool_free, hsa_amd_memory_pool_get_info,
    hsa_code_object_reader_destroy, hsa_executable_destroy, hsa_executable_freeze, hsa_isa_get_info_alt, hsa_iterate_agents,
    hsa_memory_copy, hsa_queue_add_write_index_relaxed, hsa_queue_add_write_index_scacq_screl, hsa_queue_cas_write_index_relaxed,
    hsa_queue_cas_write_index_scacq_screl, hsa_queue_create, hsa_queue_destroy, hsa_queue_inactivate,
    hsa_queue_load_read_index_relaxed, hsa_queue_load_write_index_relaxed, hsa_queue_load_write_index_scacquire,
    hsa_queue_store_write_index_screlease, hsa_signal_add_scacq_screl, hsa_signal_cas_scacq_screl, hsa_signal_create,
    hsa_signal_destroy, hsa_signal_exchange_scacq_screl, hsa_signal_load_relaxed, hsa_signal_load_scacquire,
    hsa_signal_store_relaxed, hsa_signal_store_screlease, hsa_signal_subtract_scacq_screl, hsa_signal_wait_relaxed,
    hsa_status_string, hsa_system_get_info,
};
use proptest::prelude::*;

use super::support::*;

const BAD: u64 = 0x1234_5678;

fn agent_text(agent: hsa_agent_t, attribute: u32) -> String {
    let mut text = [0_u8; 64];
    // SAFETY: the attributes asked for are arrays of at most 64 characters.
    assert_eq!(unsafe { hsa_agent_get_info(agent, attribute, text.as_mut_ptr().cast()) }, HSA_STATUS_SUCCESS);
    CStr::from_bytes_until_nul(&text).unwrap().to_str().unwrap().to_owned()
}

fn agent_u32(agent: hsa_agent_t, attribute: u32) -> u32 {
    let mut value = 0_u32;
    // SAFETY: the attributes asked for are uint32_t.
    assert_eq!(unsafe { hsa_agent_get_info(agent, attribute, (&raw mut value).cast()) }, HSA_STATUS_SUCCESS);
    value
}

#[test]
fn the_gpu_is_a_fiji_at_its_place_on_the_bus() {
    let session = Session::open();
    assert_eq!(agent_text(session.gpu, HSA_AGENT_INFO_NAME), "gfx803");
    assert_eq!(agent_u32(session.gpu, HSA_AMD_AGENT_INFO_CHIP_ID), 0x7300);
    assert_eq!(agent_u32(session.gpu, HSA_AMD_AGENT_INFO_BDFID), 0x0b00);
    assert_eq!(agent_u32(session.gpu, HSA_AGENT_INFO_WAVEFRONT_SIZE), 64);
    assert!(agent_text(session.gpu, HSA_AMD_AGENT_INFO_PRODUCT_NAME).contains("model"), "never mistaken for hardware");
}

unsafe extern "C" fn take_isa(isa: hsa_isa_t, data: *mut c_void) -> hsa_status_t {
    // SAFETY: data is the variable of the test below.
    unsafe { *data.cast::<hsa_isa_t>() = isa };
    HSA_STATUS_INFO_BREAK
}

#[test]
fn the_isa_has_its_full_name_and_a_break_ends_the_iteration() {
    let session = Session::open();
    let mut isa = hsa_isa_t { handle: 0 };
    let mut length = 0_u32;
    let mut name = [0_u8; 64];
    // SAFETY: the callback stores into isa; the attributes' types are uint32_t and a short array.
    unsafe {
        let status = hsa_agent_iterate_isas(session.gpu, Some(take_isa), (&raw mut isa).cast());
        assert_eq!(status, HSA_STATUS_INFO_BREAK);
        assert_eq!(hsa_isa_get_info_alt(isa, HSA_ISA_INFO_NAME_LENGTH, (&raw mut length).cast()), HSA_STATUS_SUCCESS);
        assert!(length as usize <= name.len());
        assert_eq!(hsa_isa_get_info_alt(isa, HSA_ISA_INFO_NAME, name.as_mut_ptr().cast()), HSA_STATUS_SUCCESS);
    }
    assert_eq!(CStr::from_bytes_until_nul(&name).unwrap(), c"amdgcn-amd-amdhsa--gfx803");
}

#[test]
fn handles_that_are_none_are_refused_by_kind() {
    let session = Session::open();
    let mut value = 0_u64;
    let out: *mut c_void = (&raw mut value).cast();
    let mut queue = ptr::null_mut();
    let no_agent = hsa_agent_t { handle: BAD };
    // SAFETY: every pointer is null, to a local variable, or a stale queue that must be refused unread.
    unsafe {
        assert_eq!(hsa_agent_get_info(no_agent, HSA_AGENT_INFO_NODE, out), HSA_STATUS_ERROR_INVALID_AGENT);
        assert_eq!(hsa_signal_destroy(hsa_signal_t { handle: BAD }), HSA_STATUS_ERROR_INVALID_SIGNAL);
        assert_eq!(hsa_queue_destroy(ptr::without_provenance_mut(BAD as usize)), HSA_STATUS_ERROR_INVALID_QUEUE);
        assert_eq!(hsa_queue_destroy(ptr::null_mut()), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(hsa_executable_destroy(hsa_executable_t { handle: BAD }), HSA_STATUS_ERROR_INVALID_EXECUTABLE);
        let status = hsa_code_object_reader_destroy(hsa_code_object_reader_t { handle: BAD });
        assert_eq!(status, HSA_STATUS_ERROR_INVALID_CODE_OBJECT_READER);
        assert_eq!(hsa_isa_get_info_alt(hsa_isa_t { handle: BAD }, 0, out), HSA_STATUS_ERROR_INVALID_ISA);
        let pool = hsa_amd_memory_pool_t { handle: BAD };
        assert_eq!(hsa_amd_memory_pool_get_info(pool, 0, out), 40, "HSA_STATUS_ERROR_INVALID_MEMORY_POOL");
        let create = |agent, packets, kind, queue| hsa_queue_create(agent, packets, kind, None, ptr::null_mut(), 0, 0, queue);
        assert_eq!(create(no_agent, 64, 0, &mut queue), HSA_STATUS_ERROR_INVALID_AGENT);
        assert_eq!(create(session.cpu, 64, 0, &mut queue), HSA_STATUS_ERROR_INVALID_QUEUE_CREATION);
        assert_eq!(create(session.gpu, 65, 0, &mut queue), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(create(session.gpu, 1 << 18, 0, &mut queue), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(create(session.gpu, 64, 9, &mut queue), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(create(session.gpu, 64, 0, ptr::null_mut()), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    }
    assert!(queue.is_null());
}

#[test]
fn null_results_and_unknown_attributes_are_invalid_arguments() {
    let session = Session::open();
    let mut value = [0_u64; 16];
    let out: *mut c_void = value.as_mut_ptr().cast();
    // SAFETY: null pointers must be refused, the others have room.
    unsafe {
        assert_eq!(hsa_agent_get_info(session.gpu, HSA_AGENT_INFO_NODE, ptr::null_mut()), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(hsa_agent_get_info(session.gpu, 0xdead, out), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(hsa_system_get_info(0xdead, out), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(hsa_iterate_agents(None, out), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(hsa_signal_create(0, 0, ptr::null(), ptr::null_mut()), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(hsa_signal_create(0, 1, ptr::null(), out.cast()), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(hsa_memory_copy(ptr::null_mut(), out, 1), HSA_STATUS_ERROR_INVALID_ARGUMENT);
        assert_eq!(hsa_status_string(0xdead, out.cast()), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    }
}

#[test]
fn every_status_that_the_runtime_returns_has_a_text_with_its_name() {
    let mut text = ptr::null();
    for (status, name) in [
        (HSA_STATUS_SUCCESS, "HSA_STATUS_SUCCESS"),
        (HSA_STATUS_ERROR_OUT_OF_RESOURCES, "HSA_STATUS_ERROR_OUT_OF_RESOURCES"),
        (42, "HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION"),
    ] {
        // SAFETY: the text that comes back is static and terminated.
        let text = unsafe {
            assert_eq!(hsa_status_string(status, &mut text), HSA_STATUS_SUCCESS);
            CStr::from_ptr(text)
        };
        assert!(text.to_str().unwrap().starts_with(name));
    }
}

#[test]
fn a_queue_is_described_as_it_was_asked_for() {
    let session = Session::open();
    let (small, large) = (session.queue(1), session.queue(4096));
    assert_eq!(small.description().size, agent_u32(session.gpu, HSA_AGENT_INFO_QUEUE_MIN_SIZE));
    let large_queue = large.description();
    assert_eq!((large_queue.size, large_queue.type_, large_queue.features), (4096, HSA_QUEUE_TYPE_MULTI, 1));
    assert_eq!(large_queue.base_address as usize % 64, 0);
    assert_ne!(large_queue.id, small.description().id);
    for slot in 0..4096 {
        // SAFETY: inside the ring, which nobody writes.
        let header = unsafe { large_queue.base_address.cast::<u32>().add(slot * 16).read_volatile() };
        assert_eq!(header & 0xff, HSA_PACKET_TYPE_INVALID);
    }
    small.destroy();
    large.destroy();
}

#[test]
fn queue_indices_follow_the_specification() {
    let session = Session::open();
    let queue = session.queue(64);
    let pointer = queue.as_ptr();
    // SAFETY: the queue is alive; no packet is published, so the device processes nothing.
    unsafe {
        assert_eq!(hsa_queue_add_write_index_relaxed(pointer, 2), 0);
        assert_eq!(hsa_queue_add_write_index_scacq_screl(pointer, 1), 2);
        assert_eq!(hsa_queue_cas_write_index_scacq_screl(pointer, 9, 10), 3, "a failed CAS gives the current value");
        assert_eq!(hsa_queue_cas_write_index_relaxed(pointer, 3, 4), 3);
        assert_eq!(hsa_queue_load_write_index_scacquire(pointer), 4);
        hsa_queue_store_write_index_screlease(pointer, 0);
        assert_eq!(hsa_queue_load_write_index_relaxed(pointer), 0);
        assert_eq!(hsa_queue_load_read_index_relaxed(pointer), 0);
    }
    queue.destroy();
}

#[test]
fn signal_operations_return_what_was_there_before() {
    let session = Session::open();
    let signal = session.signal(10);
    // SAFETY: no pointers.
    unsafe {
        hsa_signal_add_scacq_screl(signal, 5);
        hsa_signal_subtract_scacq_screl(signal, 1);
        assert_eq!(hsa_signal_load_relaxed(signal), 14);
        assert_eq!(hsa_signal_exchange_scacq_screl(signal, 20), 14);
        assert_eq!(hsa_signal_cas_scacq_screl(signal, 1, 2), 20);
        assert_eq!(hsa_signal_cas_scacq_screl(signal, 20, 3), 20);
        assert_eq!(hsa_signal_load_scacquire(signal), 3);
        hsa_signal_store_relaxed(signal, -7);
        assert_eq!(hsa_signal_wait_relaxed(signal, HSA_SIGNAL_CONDITION_EQ, -7, 0, HSA_WAIT_STATE_ACTIVE), -7);
        assert_eq!(hsa_signal_destroy(signal), HSA_STATUS_SUCCESS);
        assert_eq!(hsa_signal_destroy(signal), HSA_STATUS_ERROR_INVALID_SIGNAL);
    }
}

#[test]
fn a_host_store_wakes_a_blocked_wait() {
    let session = Session::open();
    let signal = session.signal(1);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait_below(signal, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED));
        // SAFETY: no pointers.
        unsafe { hsa_signal_store_screlease(signal, 0) };
        assert_eq!(waiter.join().unwrap(), 0);
    });
}

#[test]
fn more_queues_than_the_agent_has_are_refused_and_come_back_when_destroyed() {
    if !is_alone() {
        return run_alone("objects::more_queues_than_the_agent_has_are_refused_and_come_back_when_destroyed", &[]);
    }
    let session = Session::open();
    let mut queues = Vec::new();
    let refused = loop {
        let mut queue = ptr::null_mut();
        // SAFETY: no callback; a valid place for the result.
        let status = unsafe { hsa_queue_create(session.gpu, 64, HSA_QUEUE_TYPE_SINGLE, None, ptr::null_mut(), 0, 0, &mut queue) };
        if status != HSA_STATUS_SUCCESS {
            break status;
        }
        queues.push(queue);
        assert!(queues.len() <= agent_u32(session.gpu, HSA_AGENT_INFO_QUEUES_MAX) as usize);
    };
    assert_eq!(refused, HSA_STATUS_ERROR_OUT_OF_RESOURCES);
    for queue in queues {
        // SAFETY: each is destroyed once.
        assert_eq!(unsafe { hsa_queue_destroy(queue) }, HSA_STATUS_SUCCESS);
    }
    session.queue(64).destroy();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Handles are validated, never followed, whatever they hold.
    #[test]
    fn no_handle_is_ever_followed_unchecked(handle in prop_oneof![any::<u64>(), 0..0x2000_u64, Just(u64::MAX), Just(64)]) {
        let session = Session::open();
        let live = session.signal(5);
        for handle in [handle, live.handle.wrapping_add(handle % 4096 + 1)] {
            let signal = hsa_signal_t { handle };
            let queue: *mut hsa_queue_t = ptr::without_provenance_mut(handle as usize);
            // SAFETY: handles and queue pointers may hold anything; no other pointer is passed but null.
            unsafe {
                hsa_signal_store_screlease(signal, 1);
                hsa_signal_add_scacq_screl(signal, 1);
                hsa_signal_load_scacquire(signal);
                hsa_signal_wait_relaxed(signal, HSA_SIGNAL_CONDITION_EQ, i64::MAX, 0, HSA_WAIT_STATE_BLOCKED);
                prop_assert_ne!(hsa_signal_destroy(signal), HSA_STATUS_SUCCESS);
                prop_assert_eq!(hsa_queue_load_write_index_relaxed(queue), 0);
                prop_assert_eq!(hsa_queue_add_write_index_relaxed(queue, 1), 0);
                prop_assert_ne!(hsa_queue_destroy(queue), HSA_STATUS_SUCCESS);
                prop_assert_ne!(hsa_queue_inactivate(queue), HSA_STATUS_SUCCESS);
                prop_assert_ne!(hsa_executable_freeze(hsa_executable_t { handle: handle | 1 << 40 }, ptr::null()), HSA_STATUS_SUCCESS);
                if handle != 0 {
                    prop_assert_ne!(hsa_amd_memory_pool_free(queue.cast()), HSA_STATUS_SUCCESS);
                }
            }
        }
        // SAFETY: no pointers.
        unsafe {
            prop_assert_eq!(hsa_signal_load_relaxed(live), 5);
            prop_assert_eq!(hsa_signal_destroy(live), HSA_STATUS_SUCCESS);
        }
    }
}

#[test]
fn threads_may_create_and_destroy_at_once() {
    let session = Session::open();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..50 {
                    let (queue, done) = (session.queue(64), session.signal(1));
                    queue.barrier(HSA_PACKET_TYPE_BARRIER_AND, &[], done);
                    assert_eq!(wait_below(done, 1, DEADLINE_TICKS, HSA_WAIT_STATE_BLOCKED), 0, "round {round}");
                    queue.destroy();
                    // SAFETY: nobody else knows the signal.
                    assert_eq!(unsafe { hsa_signal_destroy(done) }, HSA_STATUS_SUCCESS);
                }
            });
        }
    });
}

#[test]
fn an_inactivated_queue_processes_nothing_more_and_can_be_destroyed() {
    let session = Session::open();
    let (queue, done) = (session.queue(64), session.signal(1));
    // SAFETY: the queue is alive.
    assert_eq!(unsafe { hsa_queue_inactivate(queue.as_ptr()) }, HSA_STATUS_SUCCESS);
    queue.barrier(HSA_PACKET_TYPE_BARRIER_AND, &[], done);
    assert_eq!(wait_below(done, 1, 1_000_000, HSA_WAIT_STATE_BLOCKED), 1);
    queue.destroy();
}
