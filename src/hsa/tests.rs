//! What the wrappers own and how they fail, on a runtime that logs what is done to it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fake;
use super::*;

fn runtime() -> Runtime {
    let runtime = Runtime::start(fake::api()).unwrap();
    assert_eq!(fake::log(), ["hsa_init"]);
    runtime
}

fn gpu(runtime: &Runtime) -> Agent {
    runtime.agents_of_kind(AgentKind::Gpu).unwrap().remove(0)
}

#[test]
fn the_runtime_is_shut_down_once_when_everything_made_from_it_is_gone() {
    let first = runtime();
    let clone = first.clone();
    let signal = Signal::create(&clone, 1).unwrap();
    drop((first, clone));
    assert_eq!(fake::log(), ["hsa_signal_create"]);
    drop(signal);
    assert_eq!(fake::log(), ["hsa_signal_destroy", "hsa_shut_down"]);
}

#[test]
fn a_failed_hsa_init_is_not_shut_down() {
    fake::fail("hsa_init", sys::HSA_STATUS_ERROR_OUT_OF_RESOURCES);
    let error = Runtime::start(fake::api()).unwrap_err();
    assert_eq!(error.status(), Some(Status::OutOfResources));
    assert_eq!(fake::log(), ["hsa_init"]);
}

#[test]
fn a_clock_that_stands_still_is_a_defect_and_the_runtime_is_shut_down() {
    fake::set_timestamp_hz(0);
    assert!(matches!(Runtime::start(fake::api()), Err(HsaError::Defective { call: "hsa_system_get_info", .. })));
    assert_eq!(fake::log(), ["hsa_init", "hsa_shut_down"]);
}

#[test]
fn ticks_become_time_by_the_runtimes_frequency() {
    fake::set_timestamp_hz(27_000_000);
    assert_eq!(runtime().duration(Ticks(27)), Duration::from_micros(1));
}

#[test]
fn agents_say_what_they_are_and_lack_what_the_runtime_does_not_know() {
    let runtime = runtime();
    let agents = runtime.agents().unwrap();
    assert_eq!(agents.iter().map(Agent::kind).collect::<Vec<_>>(), [AgentKind::Cpu, AgentKind::Gpu]);
    let gpu = gpu(&runtime);
    assert_eq!((gpu.name(), gpu.isas()), ("gfx803", ["amdgcn-amd-amdhsa--gfx803".to_owned()].as_slice()));
    assert_eq!(gpu.pci().map(|address| address.to_string()).as_deref(), Some("0000:0b:00.0"));
    assert_eq!((gpu.queue_packets(), gpu.product(), gpu.uuid()), (Some(64..=131_072), None, None));
    assert_eq!((agents[0].queue_packets(), agents[0].pci(), agents[0].isas().len()), (None, None, 0));
}

#[test]
fn a_failing_iteration_is_an_error_that_names_it() {
    fake::fail("hsa_iterate_agents", sys::HSA_STATUS_ERROR_NOT_INITIALIZED);
    let error = runtime().agents().unwrap_err().to_string();
    assert!(error.starts_with("hsa_iterate_agents failed with HSA_STATUS_ERROR_NOT_INITIALIZED (0x100b)"), "{error}");
}

#[test]
fn data_prefers_a_pool_that_is_not_for_kernel_arguments() {
    let runtime = runtime();
    assert!(runtime.host_pool(PoolUse::KernelArguments).unwrap().holds_kernel_arguments());
    let fine = runtime.host_pool(PoolUse::FineGrained).unwrap();
    assert_eq!((fine.grain(), fine.holds_kernel_arguments()), (Some(Grain::Fine), false));
    let missing = gpu(&runtime).pool(PoolUse::KernelArguments).unwrap_err().to_string();
    assert_eq!(missing, "agent gfx803 has no memory pool for kernel arguments that allows allocation");
}

#[test]
fn a_buffer_is_opened_to_its_agents_and_freed_once() {
    let runtime = runtime();
    let buffer = Buffer::allocate(&runtime.host_pool(PoolUse::FineGrained).unwrap(), 13, &[&gpu(&runtime)]).unwrap();
    assert_eq!((buffer.bytes(), buffer.u32s().len(), buffer.u64s().len()), (16, 4, 2));
    buffer.fill_u32(0x1122_3344);
    buffer.write_bytes(2, &[0xaa, 0xbb]).unwrap();
    assert_eq!(buffer.u32s()[0].load(Ordering::Relaxed), 0xbbaa_3344);
    drop(buffer);
    assert_eq!(fake::log(), ["hsa_amd_memory_pool_allocate", "hsa_amd_agents_allow_access", "hsa_amd_memory_pool_free"]);
    assert_eq!(fake::live_bytes(), 0);
}

#[test]
fn a_range_outside_a_buffer_is_refused_without_writing() {
    let runtime = runtime();
    let buffer = Buffer::allocate(&runtime.host_pool(PoolUse::FineGrained).unwrap(), 8, &[]).unwrap();
    for (offset, bytes) in [(5, 4), (9, 0), (usize::MAX, 1)] {
        let refused = HsaError::OutsideBuffer { offset, bytes, buffer_bytes: 8 };
        assert_eq!(buffer.write_bytes(offset, &vec![0xff; bytes]), Err(refused));
    }
    assert_eq!(buffer.u64s()[0].load(Ordering::Relaxed), 0);
}

#[test]
fn memory_of_a_gpu_is_no_host_buffer() {
    let runtime = runtime();
    let local = gpu(&runtime).pool(PoolUse::CoarseGrained).unwrap();
    assert_eq!(Buffer::allocate(&local, 8, &[]).unwrap_err(), HsaError::NotHostMemory { agent: "gfx803".to_owned() });
    assert_eq!(DeviceBuffer::allocate(&local, 8).unwrap().bytes(), 8);
}

#[test]
fn memory_is_given_back_when_it_cannot_be_opened_or_is_misaligned() {
    let runtime = runtime();
    let pool = runtime.host_pool(PoolUse::FineGrained).unwrap();
    fake::fail("hsa_amd_agents_allow_access", sys::HSA_STATUS_ERROR_INVALID_AGENT);
    let error = Buffer::allocate(&pool, 8, &[&gpu(&runtime)]).unwrap_err();
    assert_eq!((error.status(), fake::live_bytes()), (Some(Status::InvalidAgent), 0));
    fake::set_misalignment(4);
    assert!(matches!(Buffer::allocate(&pool, 64, &[]), Err(HsaError::Defective { .. })));
    assert_eq!(fake::live_bytes(), 0);
}

#[test]
fn a_wait_that_the_runtime_ends_early_lasts_until_its_deadline_and_reports_the_value() {
    let signal = Signal::create(&runtime(), 1).unwrap();
    let deadline = Deadline::after(Duration::from_millis(5));
    let outcome = signal.wait(Condition::Less(1), deadline, WaitMode::Blocked);
    assert_eq!(outcome, WaitOutcome::TimedOut { value: 1 });
    assert!(deadline.has_passed());
    signal.store(0);
    assert_eq!(signal.wait(Condition::Less(1), deadline, WaitMode::Active), WaitOutcome::Satisfied(0));
}

#[test]
fn a_snapshot_shows_the_fields_of_amd_signal_t() {
    let signal = Signal::create(&runtime(), -5).unwrap();
    let fields = signal.snapshot().unwrap();
    assert_eq!((fields.kind, fields.value, fields.event_id), (SignalKind::User, Some(-5), 7));
    // amd_hsa_signal.h: the value follows the 64-bit kind.
    assert_eq!(signal.value_address(), Some(signal.handle() + 8));
}

#[test]
fn queue_errors_reach_the_queue_and_the_queue_goes_before_the_runtime() {
    let runtime = runtime();
    let queue = Queue::create(&gpu(&runtime), 64, QueueKind::Multi).unwrap();
    drop(runtime);
    fake::report_queue_error(sys::HSA_STATUS_ERROR_INVALID_PACKET_FORMAT);
    assert_eq!((queue.errors().first(), queue.errors().count()), (Some(Status::InvalidPacketFormat), 1));
    assert_eq!((queue.id(), queue.ring().capacity().get()), (3, 64));
    drop(queue);
    assert_eq!(fake::log(), ["hsa_queue_create", "hsa_queue_destroy", "hsa_shut_down"]);
}

#[test]
fn a_queue_that_cannot_be_destroyed_keeps_its_error_record_for_a_late_callback() {
    let runtime = runtime();
    let queue = Queue::create(&gpu(&runtime), 64, QueueKind::Single).unwrap();
    fake::fail("hsa_queue_destroy", sys::HSA_STATUS_ERROR_INVALID_QUEUE);
    drop(queue);
    fake::report_queue_error(sys::HSA_STATUS_ERROR_FATAL);
}

#[test]
fn a_queue_that_the_runtime_refuses_or_whose_ring_is_no_ring_is_an_error() {
    let runtime = runtime();
    let gpu = gpu(&runtime);
    fake::set_ring_packets(48);
    let error = Queue::create(&gpu, 64, QueueKind::Multi).unwrap_err();
    assert!(matches!(error, HsaError::Defective { call: "hsa_queue_create", .. }), "{error}");
    assert_eq!(fake::log(), ["hsa_queue_create", "hsa_queue_destroy"]);
    fake::fail("hsa_queue_create", sys::HSA_STATUS_ERROR_INVALID_QUEUE_CREATION);
    assert_eq!(Queue::create(&gpu, 64, QueueKind::Multi).unwrap_err().status(), Some(Status::InvalidQueueCreation));
    assert_eq!((fake::log(), fake::live_bytes()), (vec!["hsa_queue_create"], 0));
}

#[test]
fn a_function_that_an_old_runtime_lacks_is_named() {
    let runtime = runtime();
    let gpu = gpu(&runtime);
    let queue = Queue::create(&gpu, 64, QueueKind::Multi).unwrap();
    assert_eq!(queue.inactivate(), Err(HsaError::NotProvided { function: "hsa_queue_inactivate" }));
    let signal = Signal::create(&runtime, 0).unwrap();
    let error = gpu.dispatch_time(&signal).unwrap_err().to_string();
    assert!(error.contains("no hsa_amd_profiling_get_dispatch_time"), "{error}");
}

#[test]
fn an_old_runtime_leaves_unsaid_what_it_does_not_know_and_names_what_it_lacks() {
    let runtime = runtime();
    let facts = runtime.facts();
    assert_eq!(facts.interface, Some(InterfaceVersion { major: 1, minor: 1 }));
    assert_eq!((facts.amd_interface, facts.extensions, facts.timestamp_hz), (None, Vec::new(), 1_000_000_000));
    let lacking = [
        "hsa_queue_inactivate",
        "hsa_amd_profiling_set_profiler_enabled",
        "hsa_amd_profiling_get_dispatch_time",
        "hsa_amd_signal_create",
    ];
    assert_eq!(facts.missing_functions, lacking);
    let gpu = gpu(&runtime);
    assert_eq!((gpu.asic_family(), gpu.compute_firmware(), gpu.sdma_firmware(), gpu.driver_node()), (None, None, None, Some(1)));
}

#[test]
fn a_new_runtime_says_its_build_its_extensions_and_the_firmware() {
    let runtime = Runtime::start(fake::new_api()).unwrap();
    let facts = runtime.facts();
    assert_eq!(facts.build.as_deref(), Some("1.18.0-local-build-unknown"));
    assert_eq!(facts.amd_interface, Some(InterfaceVersion { major: 1, minor: 15 }));
    assert_eq!((facts.extensions, facts.missing_functions), (vec!["images".to_owned()], Vec::new()));
    let gpu = gpu(&runtime);
    assert_eq!((gpu.asic_family(), gpu.compute_firmware(), gpu.driver_node()), (Some(141), Some(730), Some(1)));
    let queue = Queue::create(&gpu, 64, QueueKind::Multi).unwrap();
    assert_eq!(queue.inactivate(), Ok(()));
}

#[test]
fn an_answer_wider_than_the_header_says_does_no_harm() {
    assert_eq!(gpu(&Runtime::start(fake::new_api()).unwrap()).sdma_firmware(), Some(58));
}

#[test]
fn the_file_behind_a_table_is_the_one_that_is_mapped_and_not_the_name_asked_for() {
    let library = runtime().facts().library.unwrap();
    assert_eq!(Some(library.path), std::env::current_exe().and_then(std::fs::canonicalize).ok());
    assert_eq!(Api::embedded().library(), None);
}

#[test]
fn a_register_is_named_only_where_the_doorbells_kind_says_there_is_one() {
    let kinds = [
        (sys::AMD_SIGNAL_KIND_DOORBELL, DoorbellKind::Register),
        (sys::AMD_SIGNAL_KIND_LEGACY_DOORBELL, DoorbellKind::LegacyRegister),
        (sys::AMD_SIGNAL_KIND_USER, DoorbellKind::Memory),
        (-9, DoorbellKind::Unlisted(-9)),
    ];
    let gpu = gpu(&runtime());
    for (raw, kind) in kinds {
        fake::set_doorbell_kind(raw);
        let queue = Queue::create(&gpu, 64, QueueKind::Multi).unwrap();
        let expected = if kind == DoorbellKind::Register { Ok(0x7000) } else { Err(NoDoorbellRegister::OtherKind(kind)) };
        assert_eq!(queue.doorbell_register().map(DoorbellRegister::address), expected);
        assert_eq!(queue.doorbell_kind(), kind);
    }
}

#[test]
fn a_kernel_is_found_by_its_source_name_and_keeps_its_code_loaded() {
    let runtime = runtime();
    let executable = Executable::load(&gpu(&runtime), b"code").unwrap();
    let kernel = executable.kernel("copy").unwrap();
    drop(executable);
    assert_eq!((kernel.object, kernel.kernarg_bytes, kernel.kernarg_align), (0x1_0000_0040, 16, 8));
    assert_eq!((kernel.group_bytes, kernel.private_bytes), (1024, 32));
    assert!(!fake::log().contains(&"hsa_executable_destroy"));
    drop(kernel);
    assert_eq!(fake::log(), ["hsa_executable_destroy", "hsa_code_object_reader_destroy"]);
}

#[test]
fn a_name_that_is_no_kernel_is_an_error() {
    let runtime = runtime();
    let executable = Executable::load(&gpu(&runtime), b"code").unwrap();
    for name in ["missing", "table", "nul\0inside"] {
        assert_eq!(executable.kernel(name).unwrap_err(), HsaError::NoKernel { name: name.to_owned() });
    }
}

#[test]
fn each_failing_step_of_loading_code_is_named_and_undoes_the_steps_before() {
    let steps = [
        ("hsa_code_object_reader_create_from_memory", [].as_slice()),
        ("hsa_executable_create_alt", &["hsa_code_object_reader_destroy"]),
        ("hsa_executable_load_agent_code_object", &["hsa_executable_destroy", "hsa_code_object_reader_destroy"]),
        ("hsa_executable_freeze", &["hsa_executable_destroy", "hsa_code_object_reader_destroy"]),
    ];
    let runtime = runtime();
    let gpu = gpu(&runtime);
    for (step, undone) in steps {
        fake::fail(step, sys::HSA_STATUS_ERROR_INVALID_CODE_OBJECT);
        let error = Executable::load(&gpu, b"code").unwrap_err();
        assert!(matches!(error, HsaError::Failed { call, status: Status::InvalidCodeObject, .. } if call == step), "{error}");
        let log = fake::log();
        let failed = log.iter().position(|call| *call == step).unwrap();
        assert_eq!(&log[failed + 1..], undone, "{step}");
    }
}
