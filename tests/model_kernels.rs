//! Our committed kernels on the shader cores of the model, for each target: what the compiler emits, executed to the results that
//! the sources promise.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use aqlprobe::kernels::{
    Arguments, CompareSwapArguments, DevicePtr, FetchAddArguments, GAVE_UP, Ids3dArguments, Kernel as Name, LdsReduceArguments,
    MarkArguments, NopArguments, PREBUILT, PublishArguments, RMW_OTHER_CELLS, RelayArguments, RmwOtherArguments, SAW_FLAG,
    SignalSubtractArguments, SpinOnFlagArguments, Swap32Arguments, Swap64Arguments, VectorCopyArguments, rmw_other_32,
    rmw_other_64,
};
use aqlprobe::model::compute::{InstructionBudget, Step};
use aqlprobe::model::target::Target;
use kernel::{AtomicOpsArrive, BUFFERS, Kernel};

#[path = "support/kernel.rs"]
mod kernel;

/// The targets that the interpreter executes.
const TARGETS: [Target; 3] = Target::ALL;

const FIRST: DevicePtr = DevicePtr(BUFFERS[0].0);
const SECOND: DevicePtr = DevicePtr(BUFFERS[1].0);
const THIRD: DevicePtr = DevicePtr(BUFFERS[2].0);

/// Runs a test for each target; what it prints names the target that failed.
fn on_every_target(test: impl Fn(Target)) {
    for target in TARGETS {
        println!("{target}");
        test(target);
    }
}

fn load<A: Arguments>(target: Target, name: Name, arguments: A, grid: [u32; 3]) -> Kernel {
    assert!(A::KERNELS.contains(&name));
    let object = PREBUILT.iter().find(|object| object.target == target.name()).unwrap();
    let mut kernel = Kernel::load(target, object.bytes, name.name(), &arguments.to_bytes());
    (kernel.grid, kernel.workgroup) = (grid, name.workgroup());
    kernel
}

fn input(item: usize) -> u32 {
    (item as u32).wrapping_mul(0x9e37_79b9)
}

fn words64(kernel: &Kernel, buffer: usize, count: usize) -> Vec<u64> {
    (0..count).map(|n| u64::from(kernel.word(buffer, 2 * n)) | u64::from(kernel.word(buffer, 2 * n + 1)) << 32).collect()
}

fn words32(kernel: &Kernel, buffer: usize, count: usize) -> Vec<u32> {
    (0..count).map(|n| kernel.word(buffer, n)).collect()
}

#[test]
fn nop_ends() {
    on_every_target(|target| {
        assert_eq!(load(target, Name::Nop, NopArguments {}, [640, 1, 1]).run(), Step::Finished);
    });
}

#[test]
fn vector_copy_copies_as_many_as_the_grid_has() {
    on_every_target(|target| {
        for items in [1, 31, 32, 33, 64, 256, 1000] {
            let arguments = VectorCopyArguments { source: FIRST, destination: SECOND };
            let mut kernel = load(target, Name::VectorCopy, arguments, [items, 1, 1]);
            kernel.fill(0, |item| input(item + 1));
            assert_eq!(kernel.run(), Step::Finished);
            let expected: Vec<u32> = (0..1100).map(|item| if item < items as usize { input(item + 1) } else { 0 }).collect();
            assert_eq!(words32(&kernel, 1, 1100), expected, "{items} items");
        }
    });
}

#[test]
fn relay_adds_one_and_mark_counts_once() {
    on_every_target(|target| {
        let mut kernel = load(target, Name::Relay, RelayArguments { from: FIRST, to: SECOND }, [200, 1, 1]);
        kernel.fill(0, input);
        assert_eq!(kernel.run(), Step::Finished);
        (0..200).for_each(|item| assert_eq!(kernel.word(1, item), input(item).wrapping_add(1), "item {item}"));
        let mut kernel = load(target, Name::Mark, MarkArguments { cells: FIRST, index: 77 }, [256, 1, 1]);
        kernel.fill(0, |_| 5);
        assert_eq!(kernel.run(), Step::Finished);
        (0..100).for_each(|cell| assert_eq!(kernel.word(0, cell), if cell == 77 { 6 } else { 5 }, "cell {cell}"));
    });
}

#[test]
fn ids_3d_names_every_work_item_of_a_grid_with_partial_workgroups() {
    on_every_target(|target| {
        let [x, y, z] = [13, 7, 5];
        let arguments = Ids3dArguments { out: FIRST, size_x: x, size_y: y };
        let mut kernel = load(target, Name::Ids3d, arguments, [x, y, z]);
        assert_eq!(kernel.run(), Step::Finished);
        let ids = (0..z).flat_map(|z| (0..y).flat_map(move |y| (0..x).map(move |x| x | y << 10 | z << 20)));
        assert_eq!(words32(&kernel, 0, (x * y * z) as usize), ids.collect::<Vec<_>>());
    });
}

#[test]
fn lds_reduce_sums_each_workgroup() {
    on_every_target(|target| {
        let mut kernel = load(target, Name::LdsReduce, LdsReduceArguments { input: FIRST, out: SECOND }, [1024, 1, 1]);
        kernel.fill(0, input);
        assert_eq!(kernel.run(), Step::Finished);
        let sum = |group: usize| (group * 256..(group + 1) * 256).map(input).fold(0, u32::wrapping_add);
        assert_eq!(words32(&kernel, 1, 4), [0, 1, 2, 3].map(sum));
    });
}

#[test]
fn fetch_add_counts_every_round_of_every_work_item() {
    on_every_target(|target| {
        for (name, start) in [(Name::FetchAdd32, u64::from(u32::MAX - 99)), (Name::FetchAdd64, u64::from(u32::MAX - 99))] {
            let arguments = FetchAddArguments { counter: FIRST, ran: SECOND, rounds: 3 };
            let mut kernel = load(target, name, arguments, [256, 1, 1]);
            kernel.buffers[0][0] = start;
            assert_eq!(kernel.run(), Step::Finished);
            let sum = start + 3 * 256;
            let expected = if name == Name::FetchAdd32 { u64::from(sum as u32) } else { sum };
            assert_eq!(words64(&kernel, 0, 1), [expected], "{name:?}");
            assert_eq!(words32(&kernel, 1, 257)[255..], [3, 0], "{name:?}");
        }
    });
}

#[test]
fn swap_loses_and_duplicates_no_token() {
    on_every_target(|target| {
        let arguments = Swap32Arguments { cell: FIRST, seen: SECOND, first_token: 1000, rounds: 4 };
        let mut kernel = load(target, Name::Swap32, arguments, [128, 1, 1]);
        kernel.fill(0, |_| 999);
        assert_eq!(kernel.run(), Step::Finished);
        let mut tokens = words32(&kernel, 1, 512);
        tokens.push(kernel.word(0, 0));
        tokens.sort_unstable();
        assert_eq!(tokens, (999..1512).collect::<Vec<_>>());

        let first = 1_u64 << 40;
        let arguments = Swap64Arguments { cell: FIRST, seen: SECOND, first_token: first, rounds: 4 };
        let mut kernel = load(target, Name::Swap64, arguments, [128, 1, 1]);
        kernel.buffers[0][0] = first - 1;
        assert_eq!(kernel.run(), Step::Finished);
        let mut tokens = words64(&kernel, 1, 512);
        tokens.extend(words64(&kernel, 0, 1));
        tokens.sort_unstable();
        assert_eq!(tokens, (first - 1..first + 512).collect::<Vec<_>>());
    });
}

#[test]
fn compare_swap_counts_up_and_says_how_often() {
    on_every_target(|target| {
        for name in [Name::CompareSwap32, Name::CompareSwap64] {
            let arguments = CompareSwapArguments { counter: FIRST, ran: SECOND, rounds: 2, max_attempts: 10_000 };
            let mut kernel = load(target, name, arguments, [64, 1, 1]);
            kernel.buffers[0][0] = 5;
            assert_eq!(kernel.run(), Step::Finished);
            assert_eq!(words64(&kernel, 0, 1), [5 + 2 * 64], "{name:?}");
            assert_eq!(words32(&kernel, 1, 64), [2; 64], "{name:?}");
        }
    });
}

#[test]
fn the_other_operations_leave_what_any_order_leaves() {
    on_every_target(|target| {
        let initial = std::array::from_fn(|cell| input(cell + 3));
        let arguments = RmwOtherArguments { cells: FIRST, ran: SECOND };
        let mut kernel = load(target, Name::RmwOther32, arguments, [192, 1, 1]);
        kernel.fill(0, |cell| initial.get(cell).copied().unwrap_or(0));
        assert_eq!(kernel.run(), Step::Finished);
        assert_eq!(words32(&kernel, 0, RMW_OTHER_CELLS), rmw_other_32(initial, 192));
        assert_eq!(words32(&kernel, 1, 192), [1; 192]);

        let initial = std::array::from_fn(|cell| (cell as u64 + 3).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut kernel = load(target, Name::RmwOther64, arguments, [192, 1, 1]);
        kernel.buffers[0][..RMW_OTHER_CELLS].copy_from_slice(&initial);
        assert_eq!(kernel.run(), Step::Finished);
        assert_eq!(words64(&kernel, 0, RMW_OTHER_CELLS), rmw_other_64(initial, 192));
    });
}

#[test]
fn signal_subtract_takes_away_from_a_64_bit_value() {
    on_every_target(|target| {
        let arguments = SignalSubtractArguments { value: FIRST, ran: SECOND, amount: 1 << 33 };
        let mut kernel = load(target, Name::SignalSubtract, arguments, [128, 1, 1]);
        kernel.buffers[0][0] = 5;
        assert_eq!(kernel.run(), Step::Finished);
        assert_eq!(words64(&kernel, 0, 1), [5_u64.wrapping_sub(128 << 33)]);
    });
}

#[test]
fn publish_writes_its_payload_and_then_one_flag_per_workgroup() {
    on_every_target(|target| {
        let arguments = PublishArguments { payload: FIRST, flag: SECOND, value: 40 };
        let mut kernel = load(target, Name::Publish, arguments, [512, 1, 1]);
        assert_eq!(kernel.run(), Step::Finished);
        assert_eq!(words32(&kernel, 0, 512), (40..552).collect::<Vec<_>>());
        assert_eq!(words32(&kernel, 1, 3), [40, 40, 0]);
    });
}

#[test]
fn spin_on_flag_waits_for_the_host_or_gives_up() {
    on_every_target(|target| {
        let spin = |max_polls| {
            let [out, saw] = [DevicePtr(THIRD.0), DevicePtr(THIRD.0 + 2048)];
            let arguments = SpinOnFlagArguments { flag: FIRST, payload: SECOND, out, saw, expected: 7, max_polls };
            let mut kernel = load(target, Name::SpinOnFlag, arguments, [256, 1, 1]);
            kernel.fill(1, input);
            kernel
        };
        let mut kernel = spin(5);
        assert_eq!(kernel.run(), Step::Finished);
        assert_eq!(words32(&kernel, 2, 768)[512..], [GAVE_UP; 256]);

        let mut kernel = spin(u32::MAX);
        kernel.map();
        let bus = kernel.bus(&AtomicOpsArrive);
        let mut dispatch = kernel.start(&bus);
        (0..5).for_each(|_| assert_eq!(dispatch.run(&bus, InstructionBudget(2000)), Step::Yielded));
        bus.memory.store_u32(BUFFERS[0], 7).unwrap();
        assert!((0..100).any(|_| dispatch.run(&bus, InstructionBudget(10_000)) == Step::Finished), "it did not see the flag");
        assert_eq!(words32(&kernel, 2, 256), (0..256).map(input).collect::<Vec<_>>());
        assert_eq!(words32(&kernel, 2, 768)[512..], [SAW_FLAG; 256]);
    });
}
