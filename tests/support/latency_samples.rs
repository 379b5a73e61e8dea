//! Latency reports made by hand. Round trips spread around a scale by a fixed pattern, so that every expected value can be worked out.

use aqlprobe::report::latency::{
    Bucket, ClockReport, Distribution, HostReport, LatencyDevice, LatencyFence, LatencyMode, LatencyReport, LatencyResult,
    LatencyRun, LatencySettings, LatencyWait, Measurement, Stage, StageReport, Throughput, TimerReport,
};
use aqlprobe::report::{
    AgentFacts, AtomicsMode, BedKind, BedReport, DocumentKind, ExitCode, RequesterReadback, RuntimeFacts, Standing, Tool, Verdict,
    VerdictWord,
};

pub const SAMPLES: usize = 4_000;

/// 4000 round trips from 0.95 to 1.05 times `scale` in a scattered order, one in 40 of them twice as long.
pub fn round_trips(scale: u64) -> Vec<u64> {
    // 1259 has no factor in common with 4000, so every step occurs once.
    (0..SAMPLES as u64)
        .map(|at| at * 1259 % SAMPLES as u64)
        .map(|step| {
            let trip = scale * 95 / 100 + scale * step / SAMPLES as u64 / 10;
            if step % 40 == 7 { trip * 2 } else { trip }
        })
        .collect()
}

pub fn measurement(samples_ns: Vec<u64>) -> Measurement {
    let mut sorted = samples_ns.clone();
    sorted.sort_unstable();
    let count = sorted.len();
    let at = |share: f64| sorted[((share * count as f64).ceil() as usize).clamp(1, count) - 1];
    let mean_ns = sorted.iter().sum::<u64>() as f64 / count as f64;
    let buckets = sorted.iter().map(|value| Bucket { from_ns: *value, to_ns: *value, count: 1 }).collect();
    let stage = |stage, share: f64| StageReport {
        stage,
        median_ns: mean_ns * share,
        p99_ns: mean_ns * share * 2.0,
        mean_ns: mean_ns * share,
        samples_ns: samples_ns.iter().map(|sample| (*sample as f64 * share) as i64).collect(),
    };
    Measurement {
        round_trip: Distribution {
            count: count as u64,
            min_ns: sorted[0],
            typical_ns: at(0.5),
            mean_ns,
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: sorted[count - 1],
            stddev_ns: 1.0,
            hdr: "HISTFAAA".to_owned(),
            buckets,
        },
        stages: vec![stage(Stage::Reserve, 0.1), stage(Stage::DeviceStart, 0.6), stage(Stage::HostSees, 0.3)],
        clock: Some(ClockReport { ticks_per_second: 100_000_000, error_bound_ns: 40.0, drift_ppb: 3.0, points: 64 }),
        throughput: Some(Throughput { packets: count as u64, elapsed_ns: 1_000_000_000, packets_per_second: count as f64 }),
        late_starts: None,
        not_started: None,
        outliers: 0,
        warnings: Vec::new(),
        samples_ns,
    }
}

pub fn run(atomics: AtomicsMode, result: LatencyResult) -> LatencyRun {
    let requester = RequesterReadback::Holds { enabled: atomics == AtomicsMode::On };
    let standing = match &result {
        LatencyResult::Measured(_) => Standing::Passed,
        LatencyResult::Hang { .. } => Standing::AsPredicted,
        LatencyResult::NotMeasured { .. } => Standing::Failed,
    };
    LatencyRun { atomics, requester, standing, result }
}

/// A hang without AtomicOps, round trips around `scale` with them.
pub fn embedded(host: &str, scale: u64) -> LatencyReport {
    LatencyReport {
        document: DocumentKind::Latency,
        schema_version: LatencyReport::SCHEMA_VERSION,
        tool: Tool::THIS,
        bed: BedReport { kind: BedKind::Embedded, runtime: "embedded".to_owned(), rocr: None, reason: None, replay: None },
        no_gpu: None,
        runtime: RuntimeFacts { timestamp_hz: 1_000_000_000, ..RuntimeFacts::default() },
        host: HostReport { name: Some(host.to_owned()), cpu: "A CPU".to_owned(), logical_cpus: 2, ..HostReport::default() },
        started_at: 1_700_000_000,
        duration_ms: 2_000,
        settings: LatencySettings {
            mode: LatencyMode::Dispatch,
            wait: LatencyWait::Active,
            fence: LatencyFence::System,
            batch: 1,
            queues: 1,
            producers: 1,
            rate_per_second: None,
            samples: Some(SAMPLES as u64),
            duration_ms: None,
            warmup_ms: 100,
            pinned_cpu: None,
            injected: None,
        },
        timer: TimerReport { clock: "CLOCK_MONOTONIC_RAW".to_owned(), overhead_ns: 20.0, resolution_ns: 1.0 },
        devices: vec![LatencyDevice {
            index: 0,
            bdf: Some("0000:0b:00.0".to_owned()),
            name: "Fiji".to_owned(),
            gfx: "gfx803".to_owned(),
            agent: AgentFacts { compute_firmware: Some(730), ..AgentFacts::default() },
            doorbell: None,
            runs: vec![
                run(AtomicsMode::Off, LatencyResult::Hang { reason: "the signal never fired".to_owned() }),
                run(AtomicsMode::On, LatencyResult::Measured(Box::new(measurement(round_trips(scale))))),
            ],
            atomics_effect: None,
        }],
        verdict: Verdict {
            word: VerdictWord::Pass,
            sentence: "measured on the software GPU".to_owned(),
            exit_code: ExitCode::Pass,
        },
    }
}
