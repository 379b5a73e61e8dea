//! Every target in one program, which is linked once: what it fuzzes is the name that it was started by.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

mod aql_packet;
mod aql_queue;
mod code_object;
mod config_space;
mod fault_plan;
mod hex_dump;
mod interpreter;
mod lspci_text;
mod lspci_tree;
mod report;
mod topology;
mod vfio_user_message;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("aql_packet", aql_packet::run),
    ("aql_queue", aql_queue::run),
    ("code_object", code_object::run),
    ("config_space", config_space::run),
    ("fault_plan", fault_plan::run),
    ("hex_dump", hex_dump::run),
    ("interpreter", interpreter::run),
    ("lspci_text", lspci_text::run),
    ("lspci_tree", lspci_tree::run),
    ("report", report::run),
    ("topology", topology::run),
    ("vfio_user_message", vfio_user_message::run),
];

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    match TARGETS.iter().find(|(target, _)| name == *target) {
        Some((_, target)) => *target,
        None => {
            let names: Vec<_> = TARGETS.iter().map(|(target, _)| *target).collect();
            eprintln!("{} is no target; start this by the name of one, as fuzz/run does: {}", name.display(), names.join(", "));
            std::process::exit(2);
        }
    }
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
