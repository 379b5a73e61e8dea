//! Reports made by hand, as a run on each bed would fill them. Values of the Fiji are those of its public dump.

use aqlprobe::report::{
    AgentFacts, AtomicsMode, BedKind, BedReport, Bit, CaseReport, DeviceReport, Diagnosis, DocumentKind, Doorbell, DriverFacts,
    EnvironmentVariable, Evidence, ExitCode, FabricCounters, HopReport, HopRole, KfdAcceptance, KfdReport, Outcome, OutputEvidence,
    PathCapability, PathReport, Prediction, QueueEvidence, Report, RequesterReadback, RunReport, RuntimeFacts, SignalEvidence,
    Standing, Tool, Verdict, VerdictWord,
};

pub const WORK_ITEMS: u64 = 1024 * 1024;
pub const FIX: &str = "setpci -s 0b:00.0 CAP_EXP+28.w=40:40";

pub fn hop(bdf: &str, role: HopRole, name: &str) -> HopReport {
    HopReport {
        bdf: bdf.to_owned(),
        role,
        name: name.to_owned(),
        id: None,
        routing: None,
        completer_32: None,
        completer_64: None,
        egress_blocked: None,
        requester_enable: None,
        bus_master: None,
        note: None,
    }
}

pub fn path(requester: Bit) -> PathReport {
    PathReport {
        hops: vec![
            HopReport {
                id: Some("8086:6f08".to_owned()),
                completer_32: Some(Bit::Set),
                completer_64: Some(Bit::Set),
                ..hop("0000:00:03.0", HopRole::RootPort, "Root Port")
            },
            HopReport {
                id: Some("1002:7300".to_owned()),
                requester_enable: Some(requester),
                bus_master: Some(Bit::Set),
                ..hop("0000:0b:00.0", HopRole::Endpoint, "Fiji")
            },
        ],
        capability: PathCapability::Capable,
        requester,
        first_bad_hop: None,
        summary: "Every hop lets AtomicOps through.".to_owned(),
        causes: Vec::new(),
        fixes: Vec::new(),
    }
}

pub fn case(name: &str, outcome: Outcome, standing: Standing) -> CaseReport {
    CaseReport {
        name: name.to_owned(),
        outcome,
        standing,
        expected: None,
        duration_ms: 3,
        evidence: Evidence::default(),
        suspect: None,
        cause: None,
    }
}

/// What the founding dispatch leaves behind: output right, the packet taken, and the signal at `after`.
pub fn founding_evidence(after: i64, fabric: FabricCounters) -> Evidence {
    Evidence {
        signal: Some(SignalEvidence {
            before: 1,
            after,
            expected: 0,
            event_id: 0,
            event_mailbox: None,
            start_ts: 100,
            end_ts: 200,
        }),
        queue: Some(QueueEvidence {
            packets: 64,
            write_index: 1,
            read_index: 1,
            header: 0x1502,
            doorbell: Some(Doorbell::Register),
            stamped: true,
            error: None,
        }),
        output: Some(OutputEvidence { elements: WORK_ITEMS, right: WORK_ITEMS, ..OutputEvidence::default() }),
        fabric: Some(fabric),
        ..Evidence::default()
    }
}

pub fn run_off() -> RunReport {
    let dropped = FabricCounters { requester_disabled: 1, ..FabricCounters::default() };
    RunReport {
        rocr_aborts: 0,
        atomics: AtomicsMode::Off,
        requester: RequesterReadback::Holds { enabled: false },
        cases: vec![
            case("nop", Outcome::CompletionLost, Standing::AsPredicted),
            CaseReport {
                evidence: founding_evidence(1, dropped),
                expected: Some("completion-lost".to_owned()),
                cause: Some("The completion decrement is an AtomicOp and the device may not send it.".to_owned()),
                ..case("vector-copy", Outcome::CompletionLost, Standing::AsPredicted)
            },
            case("invalid-packet", Outcome::Completed, Standing::Passed),
        ],
        fabric: Some(FabricCounters { requester_disabled: 2, ..FabricCounters::default() }),
    }
}

pub fn run_on() -> RunReport {
    let performed = FabricCounters { performed: 1, ..FabricCounters::default() };
    RunReport {
        rocr_aborts: 0,
        atomics: AtomicsMode::On,
        requester: RequesterReadback::Holds { enabled: true },
        cases: vec![
            case("nop", Outcome::Completed, Standing::Passed),
            CaseReport { evidence: founding_evidence(0, performed), ..case("vector-copy", Outcome::Completed, Standing::Passed) },
            case("invalid-packet", Outcome::Completed, Standing::Passed),
        ],
        fabric: Some(FabricCounters { performed: 2, ..FabricCounters::default() }),
    }
}

pub fn device(runs: Vec<RunReport>, diagnosis: Diagnosis) -> DeviceReport {
    DeviceReport {
        index: 0,
        bdf: Some("0000:0b:00.0".to_owned()),
        name: "Fiji".to_owned(),
        gfx: "gfx803".to_owned(),
        agent: AgentFacts {
            isas: vec!["amdgcn-amd-amdhsa--gfx803".to_owned()],
            wavefront_size: Some(64),
            compute_units: Some(64),
            device_id: Some(0x7300),
            ..AgentFacts::default()
        },
        doorbell: Some(Doorbell::Register),
        path: Some(path(Bit::Clear)),
        kfd: Some(KfdReport { acceptance: KfdAcceptance::Accepted, reason: "the path completes AtomicOps".to_owned() }),
        prediction: Prediction { without_atomics: "completion-lost".to_owned(), reason: "gfx8 needs AtomicOps".to_owned() },
        runs,
        diagnosis,
    }
}

fn report(bed: BedReport, device: DeviceReport, verdict: Verdict) -> Report {
    Report {
        document: DocumentKind::Verify,
        schema_version: Report::SCHEMA_VERSION,
        tool: Tool::THIS,
        bed,
        no_gpu: None,
        host: Some("node-a".to_owned()),
        injected: None,
        runtime: RuntimeFacts { interface: Some("1.1".to_owned()), timestamp_hz: 1_000_000_000, ..RuntimeFacts::default() },
        started_at: 1_700_000_000,
        duration_ms: 1234,
        devices: vec![device],
        verdict,
    }
}

fn bed(kind: BedKind) -> BedReport {
    BedReport { kind, runtime: "embedded".to_owned(), rocr: None, reason: None, replay: None }
}

/// Both runs on the embedded device: the founding experiment.
pub fn embedded_both() -> Report {
    let diagnosis = Diagnosis {
        summary: "Dispatch completes with AtomicOps and hangs without them, as predicted.".to_owned(),
        suspect: None,
        cause: None,
        fix: None,
        exit_code: ExitCode::Pass,
    };
    report(
        bed(BedKind::Embedded),
        device(vec![run_off(), run_on()], diagnosis),
        Verdict {
            word: VerdictWord::Pass,
            sentence: "every case passed with AtomicOps on the software GPU; no hardware was tested.".to_owned(),
            exit_code: ExitCode::Pass,
        },
    )
}

/// AtomicOps off alone: the hang, its cause and its fix.
pub fn embedded_off() -> Report {
    let diagnosis = Diagnosis {
        summary: "Kernels run but their completion signals never fire.".to_owned(),
        suspect: None,
        cause: Some("AtomicOp Requester Enable is clear in 0b:00.0.".to_owned()),
        fix: Some(FIX.to_owned()),
        exit_code: ExitCode::Hang,
    };
    report(
        bed(BedKind::Embedded),
        device(vec![run_off()], diagnosis),
        Verdict { word: VerdictWord::Hang, sentence: "a completion signal never fired.".to_owned(), exit_code: ExitCode::Hang },
    )
}

/// No usable GPU: the harness tested itself.
pub fn self_test() -> Report {
    let mut report = embedded_both();
    report.bed =
        BedReport { kind: BedKind::EmbeddedSelfTest, reason: Some("/dev/kfd does not exist".to_owned()), ..bed(BedKind::Embedded) };
    report.no_gpu = Some("the HSA runtime /lib/x.so loads, but there is no /dev/kfd. To test a GPU, get one.".to_owned());
    report.verdict =
        Verdict { word: VerdictWord::NoGpuTested, sentence: "the self-test passed.".to_owned(), exit_code: ExitCode::NoHardware };
    report
}

/// A runtime that says all there is to say.
pub fn system_runtime() -> RuntimeFacts {
    let variable = |name: &str, value: &str| EnvironmentVariable { name: name.to_owned(), value: value.to_owned() };
    RuntimeFacts {
        hsa_init_ms: Some(5),
        peak_memory_kib: Some(14_336),
        library: Some("/opt/rocm-7.2.4/lib/libhsa-runtime64.so.1.18.70204".to_owned()),
        build: Some("1.18.0".to_owned()),
        rocm_release: Some("7.2.4".to_owned()),
        interface: Some("1.1".to_owned()),
        amd_interface: Some("1.15".to_owned()),
        timestamp_hz: 1_000_000_000,
        extensions: vec!["images".to_owned(), "AMD profiler".to_owned()],
        missing_functions: vec!["hsa_amd_signal_create".to_owned()],
        driver: Some(DriverFacts { kernel: "6.8.0".to_owned(), amdgpu: Some("6.8.5".to_owned()) }),
        environment: vec![variable("HSA_ENABLE_INTERRUPT", "0"), variable("HSA_TOOLS_LIB", "libtool.so")],
    }
}

/// Hardware with something wrong in every way the vocabulary knows, behind a switch, config space partly unreadable.
pub fn hardware_with_every_outcome() -> Report {
    let outcomes = [
        (Outcome::Completed, Standing::Passed),
        (Outcome::CompletedLate { after_ms: 7001 }, Standing::Failed),
        (Outcome::PacketNotFetched, Standing::Failed),
        (Outcome::NoEffect, Standing::Failed),
        (Outcome::CompletionLost, Standing::AsPredicted),
        (Outcome::FalseCompletion, Standing::Failed),
        (Outcome::WakeLost, Standing::Failed),
        (Outcome::WrongValue { detail: "wanted 2048, found 2000: 48 updates lost".to_owned() }, Standing::Failed),
        (Outcome::FiredTwice { value: -1 }, Standing::Failed),
        (Outcome::QueueError { status: "HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION".to_owned() }, Standing::Failed),
        (Outcome::RuntimeWedged, Standing::Failed),
        (Outcome::WorkerCrashed { signal: "SIGSEGV".to_owned() }, Standing::Failed),
        (Outcome::RuntimeRefused { reason: "HSA_STATUS_ERROR_OUT_OF_RESOURCES".to_owned() }, Standing::Failed),
        (Outcome::Untestable { reason: "no code object for gfx999".to_owned() }, Standing::Skipped),
    ];
    let cases = outcomes
        .into_iter()
        .map(|(outcome, standing)| {
            let mut evidence = founding_evidence(1, FabricCounters::default());
            evidence.fabric = None;
            evidence.notes = vec!["seen on the second try as well".to_owned()];
            if let Some(signal) = &mut evidence.signal {
                signal.event_mailbox = Some("0x7f00deadbeef".to_owned());
            }
            if let Some(queue) = &mut evidence.queue {
                queue.error = Some("HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION".to_owned());
            }
            CaseReport {
                evidence,
                expected: Some("completed".to_owned()),
                cause: Some("a cause".to_owned()),
                ..case(&format!("case-{}", outcome.name()), outcome, standing)
            }
        })
        .collect();
    let runs = vec![
        RunReport {
            rocr_aborts: 0,
            atomics: AtomicsMode::AsFound,
            requester: RequesterReadback::Unknown { reason: "config space is readable by root only".to_owned() },
            cases,
            fabric: None,
        },
        RunReport {
            rocr_aborts: 0,
            atomics: AtomicsMode::Off,
            requester: RequesterReadback::DidNotStick { enabled: true },
            cases: Vec::new(),
            fabric: None,
        },
    ];
    let diagnosis = Diagnosis {
        summary: "Cases failed.".to_owned(),
        suspect: None,
        cause: Some("a cause".to_owned()),
        fix: None,
        exit_code: ExitCode::CheckFailed,
    };
    let mut report = report(
        BedReport { runtime: "/opt/rocm/lib/libhsa-runtime64.so.1".to_owned(), ..bed(BedKind::Hardware) },
        device(runs, diagnosis),
        Verdict { word: VerdictWord::Fail, sentence: "11 cases failed.".to_owned(), exit_code: ExitCode::CheckFailed },
    );
    report.runtime = system_runtime();
    report.devices[0].agent = AgentFacts {
        asic_family: Some(141),
        compute_firmware: Some(730),
        sdma_firmware: Some(58),
        kfd_node: Some(1),
        uuid: Some("GPU-0123456789abcdef".to_owned()),
        ..report.devices[0].agent.clone()
    };
    report.devices[0].doorbell = Some(Doorbell::LegacyRegister);
    report.devices[0].path = Some(PathReport {
        hops: vec![
            HopReport {
                completer_32: Some(Bit::Unknown),
                completer_64: Some(Bit::Unknown),
                note: Some("run as root to read it".to_owned()),
                ..hop("0000:00:02.0", HopRole::RootPort, "Root Port")
            },
            HopReport {
                routing: Some(Bit::Clear),
                egress_blocked: Some(Bit::Set),
                ..hop("0000:03:00.0", HopRole::SwitchUpstream, "Switch")
            },
            HopReport {
                routing: Some(Bit::Set),
                egress_blocked: Some(Bit::Clear),
                ..hop("0000:04:08.0", HopRole::SwitchDownstream, "Switch")
            },
            HopReport { note: Some("64 bytes known".to_owned()), ..hop("0000:06:00.0", HopRole::Other, "PCI bridge") },
            HopReport { requester_enable: Some(Bit::Unknown), ..hop("0000:0b:00.0", HopRole::Endpoint, "Fiji") },
        ],
        capability: PathCapability::Incapable,
        requester: Bit::Unknown,
        first_bad_hop: Some("0000:03:00.0".to_owned()),
        summary: "03:00.0 does not route AtomicOps.".to_owned(),
        causes: vec!["03:00.0 lacks AtomicOp Routing.".to_owned()],
        fixes: vec!["use a slot behind another switch".to_owned()],
    });
    report
}
