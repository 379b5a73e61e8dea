//! Workers by script: whatever they do, every case ends in exactly one observation.

use std::collections::VecDeque;

use super::*;
use crate::verify::event::{Gate, Pace, PlannedRuntime};
use crate::verify::request::Milliseconds;

struct Scripted {
    messages: VecDeque<Message>,
    ending: Ending,
    complaints: Vec<String>,
}

impl Scripted {
    fn new(messages: impl Into<VecDeque<Message>>, ending: Ending) -> Self {
        Self { messages: messages.into(), ending, complaints: vec!["last words".to_owned()] }
    }
}

thread_local! {
    static PASSED_GATES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl Worker for Scripted {
    fn next(&mut self, _wait: Duration) -> Option<Message> {
        Some(self.messages.pop_front().unwrap_or(Message::Closed))
    }

    fn end(&mut self, _grace: Duration) -> Ending {
        self.ending.clone()
    }

    fn complaints(&self) -> Vec<String> {
        self.complaints.clone()
    }

    fn proceed(&mut self) {
        PASSED_GATES.with(|gates| gates.set(gates.get() + 1));
    }
}

/// Says nothing, for ever.
struct Silent;

impl Worker for Silent {
    fn next(&mut self, _wait: Duration) -> Option<Message> {
        None
    }

    fn end(&mut self, _grace: Duration) -> Ending {
        Ending::Crashed("SIGKILL".to_owned())
    }

    fn complaints(&self) -> Vec<String> {
        Vec::new()
    }

    fn proceed(&mut self) {}
}

/// Starts as it should, and then says the same for ever.
struct Parrot {
    beginning: VecDeque<Message>,
    refrain: Message,
}

impl Worker for Parrot {
    fn next(&mut self, _wait: Duration) -> Option<Message> {
        std::thread::sleep(Duration::from_millis(1));
        Some(self.beginning.pop_front().unwrap_or_else(|| self.refrain.clone()))
    }

    fn end(&mut self, _grace: Duration) -> Ending {
        Ending::Crashed("SIGKILL".to_owned())
    }

    fn complaints(&self) -> Vec<String> {
        Vec::new()
    }

    fn proceed(&mut self) {}
}

#[derive(Default)]
struct Log {
    started: Vec<String>,
    finished: Vec<(String, &'static str, Vec<String>)>,
    repeated: Vec<String>,
}

impl Listener for Log {
    fn started(&mut self, name: &str) {
        self.started.push(name.to_owned());
    }

    fn finished(&mut self, name: &str, observation: Observation) {
        self.finished.push((name.to_owned(), observation.outcome.name(), observation.evidence.notes));
    }

    fn repeated(&mut self, name: &str) {
        self.repeated.push(name.to_owned());
    }
}

impl Log {
    fn outcomes(&self) -> Vec<(&str, &'static str)> {
        self.finished.iter().map(|(name, outcome, _)| (name.as_str(), *outcome)).collect()
    }
}

fn plan(cases: &[&str]) -> WorkerPlan {
    WorkerPlan {
        supervisor: 1,
        runtime: PlannedRuntime::Embedded,
        agent: 0,
        already: 0,
        cases: cases.iter().map(|case| (*case).to_owned()).collect(),
        pace: Pace { timeout: Milliseconds(10), quiet: None },
        fabric: None,
        gate: Gate::Open,
    }
}

fn ready() -> Message {
    Message::Event(WorkerEvent::Ready { runtime: Box::default(), agents: Vec::new() })
}

fn starts(name: &str) -> Message {
    Message::Event(WorkerEvent::CaseStarted { name: name.to_owned() })
}

fn passes(name: &str) -> Message {
    let observation = Observation { outcome: Outcome::Completed, duration_ms: 1, evidence: Evidence::default() };
    Message::Event(WorkerEvent::CaseFinished { name: name.to_owned(), observation: Box::new(observation) })
}

fn done() -> Message {
    Message::Event(WorkerEvent::Done)
}

/// Runs `cases` with workers that follow the scripts in turn; also returns what each was asked to do.
fn run(cases: &[&str], scripts: Vec<(Vec<Message>, Ending)>) -> (Result<(), VerifyError>, Log, Vec<Vec<String>>) {
    let (mut log, mut asked, mut scripts) = (Log::default(), Vec::new(), scripts.into_iter());
    let mut launch = |plan: &WorkerPlan| {
        asked.push(plan.cases.clone());
        let (messages, ending) = scripts.next().expect("the script has a worker for every launch");
        Ok(Box::new(Scripted::new(messages, ending)) as Box<dyn Worker>)
    };
    let result = run_cases(&plan(cases), &mut launch, &Interrupts::raised(0), &mut log, &mut NoGate);
    (result, log, asked)
}

fn killed() -> Ending {
    Ending::Crashed("SIGKILL".to_owned())
}

#[test]
fn a_worker_that_does_its_work_is_the_only_one() {
    let script = vec![ready(), starts("a"), passes("a"), starts("b"), passes("b"), done()];
    let (result, log, asked) = run(&["a", "b"], vec![(script, Ending::Clean)]);
    assert!(result.is_ok());
    assert_eq!(log.outcomes(), [("a", "completed"), ("b", "completed")]);
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_crash_in_the_middle_of_a_case_is_that_cases_outcome_and_the_rest_runs_in_a_new_worker() {
    let first = vec![ready(), starts("a"), passes("a"), starts("b")];
    let second = vec![ready(), starts("c"), passes("c"), done()];
    let (result, log, asked) = run(&["a", "b", "c"], vec![(first, killed()), (second, Ending::Clean)]);
    assert!(result.is_ok());
    assert_eq!(log.outcomes(), [("a", "completed"), ("b", "worker-crashed"), ("c", "completed")]);
    assert_eq!(log.started, ["a", "b", "c"]);
    assert_eq!(asked[1], ["c"]);
    assert_eq!(log.finished[1].2, ["last words"]);
}

#[test]
fn a_crash_between_two_cases_is_laid_to_the_next_one() {
    let first = vec![ready(), starts("a"), passes("a")];
    let (_, log, asked) = run(&["a", "b"], vec![(first, killed())]);
    assert_eq!(log.outcomes(), [("a", "completed"), ("b", "worker-crashed")]);
    assert_eq!(log.started, ["a", "b"]);
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_worker_that_says_it_is_done_too_early_is_no_pass() {
    let (_, log, _) = run(&["a"], vec![(vec![ready(), done()], Ending::Clean)]);
    assert_eq!(log.outcomes(), [("a", "worker-crashed")]);
}

#[test]
fn workers_that_never_open_the_runtime_end_the_session() {
    let stillborn = || (Vec::new(), killed());
    let (result, log, asked) = run(&["a", "b", "c", "d", "e"], vec![stillborn(), stillborn(), stillborn()]);
    assert!(result.is_ok());
    assert_eq!(asked.len(), STILLBORN);
    let wanted =
        [("a", "worker-crashed"), ("b", "worker-crashed"), ("c", "worker-crashed"), ("d", "untestable"), ("e", "untestable")];
    assert_eq!(log.outcomes(), wanted);
}

#[test]
fn a_runtime_that_listed_its_gpus_and_then_refuses_fails_the_case_at_hand_and_leaves_the_rest_untested() {
    let refuses = || vec![Message::Event(WorkerEvent::Refused { reason: "no /dev/kfd".to_owned() })];
    let (result, log, asked) = run(&["a", "b"], vec![(refuses(), Ending::Clean)]);
    assert!(result.is_ok());
    assert_eq!(log.outcomes(), [("a", "runtime-refused"), ("b", "untestable")]);
    assert_eq!((log.started, asked.len()), (vec!["a".to_owned(), "b".to_owned()], 1));

    let first = vec![ready(), starts("a")];
    let (result, log, _) = run(&["a", "b", "c"], vec![(first, killed()), (refuses(), Ending::Clean)]);
    assert!(result.is_ok());
    assert_eq!(log.outcomes(), [("a", "worker-crashed"), ("b", "runtime-refused"), ("c", "untestable")]);
}

#[test]
fn noise_and_events_out_of_turn_change_nothing() {
    let noise = Message::Garbage("hello".to_owned());
    let script = vec![ready(), noise, passes("a"), starts("b"), starts("a"), passes("b"), passes("a"), done()];
    let (_, log, _) = run(&["a"], vec![(script, Ending::Clean)]);
    assert_eq!(log.outcomes(), [("a", "completed")]);
}

#[test]
fn an_interrupt_ends_the_session_with_its_signals_name() {
    let mut log = Log::default();
    let mut launch = |_: &WorkerPlan| Ok(Box::new(Silent) as Box<dyn Worker>);
    let interrupts = Interrupts::raised(signal_hook::consts::SIGTERM);
    let result = run_cases(&plan(&["a"]), &mut launch, &interrupts, &mut log, &mut NoGate);
    assert!(matches!(result, Err(VerifyError::Interrupted { signal: "SIGTERM", .. })));
    assert!(log.finished.is_empty());
}

#[test]
fn a_worker_that_talks_without_end_and_not_to_the_point_is_wedged() {
    for refrain in [Message::Garbage("again".to_owned()), done(), ready(), starts("b")] {
        let beginning = VecDeque::from([ready(), starts("a")]);
        let mut launch =
            |_: &WorkerPlan| Ok(Box::new(Parrot { beginning: beginning.clone(), refrain: refrain.clone() }) as Box<dyn Worker>);
        let mut log = Log::default();
        run_cases(&plan(&["a"]), &mut launch, &Interrupts::raised(0), &mut log, &mut NoGate).unwrap();
        assert_eq!(log.outcomes(), [("a", "runtime-wedged")], "{refrain:?}");
    }
}

/// Has written without end by the time that it is listened to.
struct Flooding(VecDeque<Message>);

impl Worker for Flooding {
    fn next(&mut self, _wait: Duration) -> Option<Message> {
        Some(self.0.pop_front().unwrap_or_else(|| Message::Garbage("flood".to_owned())))
    }

    fn flood(&self) -> Option<u64> {
        self.0.is_empty().then_some(1 << 26)
    }

    fn end(&mut self, _grace: Duration) -> Ending {
        killed()
    }

    fn complaints(&self) -> Vec<String> {
        Vec::new()
    }

    fn proceed(&mut self) {}
}

#[test]
fn a_worker_that_floods_is_ended_for_it_before_its_watchdog_would() {
    struct Bytes(Vec<(&'static str, Option<u64>)>);
    impl Listener for Bytes {
        fn started(&mut self, _name: &str) {}

        fn finished(&mut self, _name: &str, observation: Observation) {
            self.0.push((observation.outcome.name(), observation.evidence.flood_bytes));
        }

        fn repeated(&mut self, _name: &str) {}
    }
    let mut launch = |_: &WorkerPlan| Ok(Box::new(Flooding(VecDeque::from([ready(), starts("a")]))) as Box<dyn Worker>);
    let mut heard = Bytes(Vec::new());
    run_cases(&plan(&["a"]), &mut launch, &Interrupts::raised(0), &mut heard, &mut NoGate).unwrap();
    assert_eq!(heard.0, [("worker-crashed", Some(1 << 26))]);
}

#[test]
fn the_agents_are_those_the_worker_reports() {
    let agent = AgentSummary { index: 0, bdf: None, name: "Fiji".to_owned(), gfx: "gfx803".to_owned(), facts: Default::default() };
    let runtime = RuntimeFacts { build: Some("1.18.0".to_owned()), timestamp_hz: 100_000_000, ..RuntimeFacts::default() };
    let listed = vec![agent.clone()];
    let mut launch = |_: &WorkerPlan| {
        let messages =
            VecDeque::from([Message::Event(WorkerEvent::Ready { runtime: Box::new(runtime.clone()), agents: listed.clone() })]);
        Ok(Box::new(Scripted::new(messages, Ending::Clean)) as Box<dyn Worker>)
    };
    assert_eq!(
        enumerate(&plan(&[]), &mut launch, &Interrupts::raised(0)).unwrap(),
        Roster { runtime, agents: vec![agent], event_aborts: 0 }
    );
    let mut launch = |_: &WorkerPlan| Ok(Box::new(Scripted::new([], killed())) as Box<dyn Worker>);
    let error = enumerate(&plan(&[]), &mut launch, &Interrupts::raised(0)).unwrap_err();
    assert!(error.to_string().contains("SIGKILL") && error.to_string().contains("last words"), "{error}");
}

const EVENT_ABORT: &str = "model_set_event: event_id = 6 is not allocated";

/// Workers on ROCr's model mode, each with what it says at its end; the abort of its events unless the script says otherwise.
fn run_on_rocr(cases: &[&str], scripts: Vec<(Vec<Message>, Ending, &str)>) -> (Log, Vec<Vec<String>>) {
    let (mut log, mut asked, mut scripts) = (Log::default(), Vec::new(), scripts.into_iter());
    let mut launch = |plan: &WorkerPlan| {
        asked.push(plan.cases.clone());
        let (messages, ending, complaint) = scripts.next().expect("the script has a worker for every launch");
        Ok(Box::new(Scripted { messages: messages.into(), ending, complaints: vec![complaint.to_owned()] }) as Box<dyn Worker>)
    };
    let plan = WorkerPlan { runtime: PlannedRuntime::RocrModel("/x/libhsa-runtime64.so.1".into()), ..plan(cases) };
    run_cases(&plan, &mut launch, &Interrupts::raised(0), &mut log, &mut NoGate).unwrap();
    (log, asked)
}

fn aborted() -> Ending {
    Ending::Crashed("SIGABRT".to_owned())
}

#[test]
fn a_case_in_which_rocrs_events_abort_is_repeated_once_and_counted() {
    let first = (vec![ready(), starts("a"), passes("a"), starts("b")], aborted(), EVENT_ABORT);
    let second = (vec![ready(), starts("b"), passes("b"), done()], Ending::Clean, "");
    let (log, asked) = run_on_rocr(&["a", "b"], vec![first, second]);
    assert_eq!(log.outcomes(), [("a", "completed"), ("b", "completed")]);
    assert_eq!(log.repeated, ["b"]);
    assert_eq!(asked, [vec!["a".to_owned(), "b".to_owned()], vec!["b".to_owned()]]);
}

#[test]
fn a_case_in_which_it_aborts_again_has_crashed_and_another_may_be_repeated_too() {
    let abort = |case: &str| (vec![ready(), starts(case)], aborted(), EVENT_ABORT);
    let last = (vec![ready(), starts("b"), passes("b"), done()], Ending::Clean, "");
    let (log, _) = run_on_rocr(&["a", "b"], vec![abort("a"), abort("a"), abort("b"), last]);
    assert_eq!(log.outcomes(), [("a", "worker-crashed"), ("b", "completed")]);
    assert_eq!(log.repeated, ["a", "b"]);
}

#[test]
fn any_other_abort_and_the_same_words_on_another_runtime_are_crashes() {
    let other = (vec![ready(), starts("a")], aborted(), "Memory access fault by GPU node-1");
    let (log, _) = run_on_rocr(&["a"], vec![other]);
    assert_eq!((log.outcomes(), log.repeated.len()), (vec![("a", "worker-crashed")], 0));

    let mut log = Log::default();
    let mut launch = |_: &WorkerPlan| {
        let worker = Scripted { complaints: vec![EVENT_ABORT.to_owned()], ..Scripted::new([ready(), starts("a")], aborted()) };
        Ok(Box::new(worker) as Box<dyn Worker>)
    };
    run_cases(&plan(&["a"]), &mut launch, &Interrupts::raised(0), &mut log, &mut NoGate).unwrap();
    assert_eq!((log.outcomes(), log.repeated.len()), (vec![("a", "worker-crashed")], 0));
}

#[derive(Default)]
struct Gates(Vec<&'static str>);

impl Gatekeeper for Gates {
    fn opening(&mut self) -> Result<(), VerifyError> {
        self.0.push("opening");
        Ok(())
    }

    fn loaded(&mut self) -> Result<(), VerifyError> {
        self.0.push("loaded");
        Ok(())
    }
}

#[test]
fn each_worker_opens_before_the_gate_and_passes_it_only_when_the_gatekeeper_is_done() {
    let script = |case: &str| vec![ready(), Message::Event(WorkerEvent::Loaded), starts(case)];
    let mut scripts = [script("a"), script("b")].into_iter();
    let mut launch = |_: &WorkerPlan| Ok(Box::new(Scripted::new(scripts.next().unwrap_or_default(), killed())) as Box<dyn Worker>);
    let (mut log, mut gates) = (Log::default(), Gates::default());
    PASSED_GATES.with(|passed| passed.set(0));
    run_cases(&plan(&["a", "b"]), &mut launch, &Interrupts::raised(0), &mut log, &mut gates).unwrap();
    assert_eq!(gates.0, ["opening", "loaded", "opening", "loaded"]);
    assert_eq!(PASSED_GATES.with(std::cell::Cell::get), 2);
}
