//! Plans as text, and when they strike.

use proptest::prelude::*;

use super::*;

fn plan(text: &str) -> FaultPlan {
    text.parse().unwrap()
}

fn refused(text: &str) -> String {
    text.parse::<FaultPlan>().unwrap_err().to_string()
}

/// At which of the first `count` opportunities the only fault of a plan strikes.
fn struck(text: &str, count: usize) -> Vec<usize> {
    let plan = plan(text);
    let fault = plan.faults()[0].fault;
    let injector = Injector::new(&plan, fault.place()).unwrap();
    (1..=count).filter(|_| injector.strikes(fault)).collect()
}

#[test]
fn a_plan_names_its_faults_their_values_and_its_seed() {
    let plan = plan("signal-late=50us,atomic-lost=0.01:after=2, signal-dropped:every=3:case=fence-* ,seed=7");
    assert_eq!(plan.seed(), Seed(7));
    let faults: Vec<_> = plan.faults().iter().map(|planned| planned.fault).collect();
    assert_eq!(faults[1..], [Fault::AtomicLost, Fault::SignalDropped]);
    let Fault::SignalLate(delay) = faults[0] else { panic!("{:?}", faults[0]) };
    assert_eq!(delay.nanoseconds(), 50_000);
    assert_eq!(plan.to_string(), "signal-late=50us,atomic-lost=0.01:after=2,signal-dropped:every=3:case=fence-*,seed=7");
}

#[test]
fn every_fault_of_the_catalogue_reads_back_under_its_name() {
    for info in CATALOGUE {
        let text = match info.value {
            Some("DURATION") => format!("{}=1ms", info.name),
            Some("HOP") => format!("{}=root-port", info.name),
            _ => info.name.to_owned(),
        };
        assert_eq!(plan(&text).faults()[0].fault.name(), info.name);
        assert!(list().contains(info.name), "{}", info.name);
    }
}

#[test]
fn a_file_has_one_item_per_line_and_comments() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plan");
    std::fs::write(&path, "# what is broken\nsignal-twice\n\nworker-abort:case=nop # here only\nseed=3\n").unwrap();
    let read = FaultPlan::from_argument(path.to_str().unwrap()).unwrap();
    assert_eq!(read, plan("signal-twice,worker-abort:case=nop,seed=3"));
    assert!(matches!(FaultPlan::from_argument("no/such/plan"), Err(PlanError::File { .. })));
}

#[test]
fn blanks_before_a_colon_belong_to_no_value() {
    assert_eq!(plan("worker-abort :case=nop :every=3,seed=1"), plan("worker-abort:case=nop:every=3,seed=1"));
}

#[test]
fn what_is_wrong_with_a_plan_is_named() {
    for (text, said) in [
        ("", "names no fault"),
        ("# nothing", "names no fault"),
        ("seed=1", "names no fault"),
        ("signal-droped", "`signal-droped` is no fault; the faults are: signal-dropped"),
        ("signal-late", "needs a value"),
        ("signal-late=50", "a duration"),
        ("signal-late=0us", "a duration"),
        ("signal-late=-1us", "a duration"),
        ("signal-late=3601s", "a duration"),
        ("signal-late=99999999999999999999s", "a duration"),
        ("signal-dropped=3", "takes no value"),
        ("signal-decrement=1", "other than 0 and 1"),
        ("signal-decrement=0", "other than 0 and 1"),
        ("atomic-lost=0", "a probability"),
        ("atomic-lost=1.5", "a probability"),
        ("atomic-lost=NaN", "a probability"),
        ("atomic-lost=0.5:p=0.5", "twice"),
        ("queue-error=fire", "memory-violation"),
        ("atomics-blocked=moon", "root-port"),
        ("atomics-blocked=root-port:every=2", "no refinement"),
        ("atomics-blocked=root-port,atomics-blocked=root-port-64", "name one hop"),
        ("signal-dropped:every=0", "from 1"),
        ("signal-dropped:every", "`every` is no refinement"),
        ("signal-dropped:sometimes=1", "`sometimes` is no refinement"),
        ("signal-dropped:case=", "needs the name"),
        ("signal-dropped:case=[", "is no pattern"),
        ("signal-dropped,seed=x", "a seed"),
        ("signal-dropped,seed=1,seed=2", "more than one seed"),
    ] {
        assert!(refused(text).contains(said), "{text}: {}", refused(text));
    }
}

#[test]
fn a_plan_without_a_seed_gets_one_and_says_it() {
    let chosen = plan("atomic-lost=0.5");
    assert_eq!(plan(&chosen.to_string()), chosen);
}

#[test]
fn after_counts_before_every() {
    assert_eq!(struck("signal-dropped", 3), [1, 2, 3]);
    assert_eq!(struck("signal-dropped:every=3", 10), [3, 6, 9]);
    assert_eq!(struck("signal-dropped:after=2", 5), [3, 4, 5]);
    assert_eq!(struck("signal-dropped:after=2:every=3", 11), [5, 8, 11]);
}

#[test]
fn the_same_seed_strikes_at_the_same_opportunities_and_another_seed_elsewhere() {
    let first = struck("atomic-lost=0.3,seed=7", 1000);
    assert_eq!(first, struck("atomic-lost=0.3,seed=7", 1000));
    assert_ne!(first, struck("atomic-lost=0.3,seed=8", 1000));
    // Six standard deviations of a binomial distribution: sqrt(1000 * 0.3 * 0.7) = 14.5.
    assert!((213..=387).contains(&first.len()), "{}", first.len());
}

#[test]
fn another_faults_opportunities_do_not_move_the_choices() {
    let plan = plan("atomic-lost=0.3,signal-dropped:p=0.5,seed=7");
    let injector = Injector::new(&plan, Place::Device).unwrap();
    let choices: Vec<_> = (1..=1000)
        .filter(|count| {
            if count % 3 == 0 {
                let _ = injector.strikes(Fault::SignalDropped);
            }
            injector.strikes(Fault::AtomicLost)
        })
        .collect();
    assert_eq!(choices, struck("atomic-lost=0.3,signal-dropped:p=0.5,seed=7", 1000));
}

#[test]
fn a_case_keeps_the_faults_that_are_meant_for_it() {
    let plan = plan("signal-late=1ms,worker-abort:case=nop,signal-dropped:case=fence-*,seed=1");
    let text = |case| plan.for_case(case).unwrap().to_string();
    assert_eq!(text("nop"), "signal-late=1ms,worker-abort,seed=1");
    assert_eq!(text("fence-none"), "signal-late=1ms,signal-dropped,seed=1");
    assert_eq!(text("barrier-and"), "signal-late=1ms,seed=1");
    assert!(super::plan::FaultPlan::from_argument("worker-abort:case=nop").unwrap().for_case("barrier-or").is_none());
}

#[test]
fn faults_are_told_apart_by_whom_they_strike() {
    let plan = plan("signal-twice,atomics-blocked=switch-upstream-egress,atomics-blocked=endpoint,worker-loop,seed=1");
    let text = |place| plan.of_place(place).unwrap().to_string();
    assert_eq!(text(Place::Device), "signal-twice,atomics-blocked=endpoint,seed=1");
    assert_eq!(text(Place::Path), "atomics-blocked=switch-upstream-egress,seed=1");
    assert_eq!(text(Place::Worker), "worker-loop,seed=1");
    assert_eq!(plan.blocked_hop(), Some(BlockedHop::SwitchUpstreamEgress));
    assert!(Injector::new(&super::tests::plan("worker-loop"), Place::Device).is_none());
}

fn any_item() -> impl Strategy<Value = String> {
    let head = prop_oneof![
        (1_u64..3_600_000_000_000).prop_map(|nanoseconds| format!("signal-late={nanoseconds}ns")),
        (2_i64..1000).prop_map(|number| format!("signal-decrement={number}")),
        (2_i64..1000).prop_map(|number| format!("signal-decrement=-{number}")),
        prop::sample::select(
            CATALOGUE.iter().filter(|info| info.value.is_none()).map(|info| info.name.to_owned()).collect::<Vec<_>>()
        ),
        prop::sample::select(QueueErrorKind::ALL).prop_map(|kind| format!("queue-error={kind}")),
        Just("atomic-lost".to_owned()),
    ];
    (
        head,
        prop::option::of(1_u64..),
        prop::option::of(0_u64..),
        prop::option::of(0.000_001_f64..1.0),
        prop::option::of("[a-z*?-]{1,9}"),
    )
        .prop_map(|(head, every, after, probability, case)| {
            let part = |key: &str, value: Option<String>| value.map(|value| format!(":{key}={value}")).unwrap_or_default();
            // Two stars in a row are no pattern.
            let case = case.map(|case| case.replace("**", "*"));
            head + &part("every", every.map(|every| every.to_string()))
                + &part("after", after.map(|after| after.to_string()))
                + &part("p", probability.map(|probability| probability.to_string()))
                + &part("case", case.filter(|case| !case.contains("**")))
        })
}

proptest! {
    #[test]
    fn a_plan_reads_back_from_what_it_displays(items in prop::collection::vec(any_item(), 1..6), seed: u64) {
        let read = plan(&format!("{},seed={seed}", items.join(",")));
        prop_assert_eq!(read.faults().len(), items.len());
        prop_assert_eq!(&plan(&read.to_string()), &read);
    }

    #[test]
    fn any_text_is_a_plan_or_refused(text in "\\PC{0,80}") {
        let _ = text.parse::<FaultPlan>();
    }

    #[test]
    fn almost_a_plan_is_a_plan_or_refused(text in "(signal-late|atomic-lost|worker-abort|seed|queue-error)(=[0-9a-z.-]{0,6})?(:(every|after|p|case)=[0-9a-z.*-]{0,4}){0,3}") {
        if let Ok(read) = text.parse::<FaultPlan>() {
            prop_assert_eq!(&plan(&read.to_string()), &read);
        }
    }

    #[test]
    fn delays_keep_their_length(nanoseconds in 1_u64..=3_600_000_000_000) {
        let delay: Delay = format!("{nanoseconds}ns").parse().unwrap();
        prop_assert_eq!(delay.nanoseconds(), nanoseconds);
        prop_assert_eq!(delay.to_string().parse::<Delay>().unwrap(), delay);
    }
}

#[test]
fn a_plan_is_a_plan_also_where_a_file_has_its_name_and_a_file_is_read_whatever_kind_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let error = |path: &std::path::Path| FaultPlan::from_argument(path.to_str().unwrap()).unwrap_err().to_string();
    assert!(error(directory.path()).contains("directory"), "{}", error(directory.path()));
    assert!(error(std::path::Path::new("/dev/zero")).contains("longer than the 64 KiB"));
    assert!(error(&directory.path().join("none")).contains("No such file"));
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, "signal-twice,seed=3\n").unwrap()
    });
    assert_eq!(FaultPlan::from_argument(pipe.to_str().unwrap()).unwrap().to_string(), "signal-twice,seed=3");
    writer.join().unwrap();
}

#[test]
fn a_fault_for_cases_of_which_none_runs_is_idle() {
    let idle = |plan: &str| plan.parse::<FaultPlan>().unwrap().idle(&["nop", "fence-none"]).map(ToString::to_string);
    assert_eq!(idle("signal-twice:case=fence-*,packet-lost"), None);
    assert_eq!(idle("packet-lost,signal-twice:case=nope-*").as_deref(), Some("signal-twice:case=nope-*"));
}

#[test]
fn an_endpoint_is_given_what_strikes_it_and_nothing_for_cases_that_it_does_not_know() {
    let of = |plan: &str| plan.parse::<FaultPlan>().unwrap().of_endpoint();
    assert_eq!(of("worker-abort,signal-twice,seed=1").unwrap().unwrap().to_string(), "signal-twice,seed=1");
    assert!(of("worker-abort:case=nop").unwrap().is_none());
    assert!(of("signal-twice:case=nop").unwrap_err().to_string().contains("leave `:case=` out"));
}
