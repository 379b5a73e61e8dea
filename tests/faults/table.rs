//! The confusion table as Markdown.

use std::collections::BTreeMap;

use crate::Diagnoses;
use crate::plan::{Bed, Row};

/// Marks figures that chance decides and a comparison leaves out.
const BY_CHANCE: &str = "by chance";

/// Faults down, diagnoses across, numbers of cases between; then the commands and the explanations.
pub fn markdown(found: &[(&Row, Diagnoses)]) -> String {
    let mut text = String::from(
        "# Faults and the causes that are named for them\n\n\
         Written by `tests/faults/run --write`, held by `tests/faults/run`. Every fault is injected into the software GPU (no hardware was\n\
         tested), in every case of its row, with AtomicOps on. A row says in how many cases which cause was named; **bold** is the fault's\n\
         own. `passed`: the case cannot see the fault. Every other entry is explained below, or `tests/faults/run` fails.\n\n\
         | fault | cause named | passed | confused with |\n|---|---|---|---|\n",
    );
    let mut bed = Bed::Embedded;
    for (row, diagnoses) in found {
        if row.bed != bed {
            bed = row.bed;
            text.push_str("\nThrough AMD's unmodified runtime (ROCr 7.2.4, the rocr-model bed):\n\n");
            text.push_str("| fault | cause named | passed | confused with |\n|---|---|---|---|\n");
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        diagnoses.values().for_each(|suspect| *counts.entry(suspect).or_default() += 1);
        let own = counts.remove(row.cause).unwrap_or_default();
        let passed = counts.remove("passed").unwrap_or_default();
        let others: Vec<String> = counts.iter().map(|(suspect, count)| format!("{suspect} {count}")).collect();
        let others = if others.is_empty() { "-".to_owned() } else { others.join(", ") };
        let (own, passed, others) = if row.by_chance {
            (BY_CHANCE.to_owned(), BY_CHANCE.to_owned(), BY_CHANCE.to_owned())
        } else {
            (own.to_string(), passed.to_string(), others)
        };
        text.push_str(&format!("| `{}` | **{}** {own} | {passed} | {others} |\n", row.fault, row.cause));
    }
    text.push_str("\n## Case by case\n\nWhat is not listed names the fault's own cause.\n\n| fault | case | diagnosis | why |\n|---|---|---|---|\n");
    for (row, diagnoses) in found.iter().filter(|(row, _)| !row.by_chance) {
        for (case, suspect) in diagnoses.iter().filter(|(_, suspect)| *suspect != row.cause) {
            let why = row.explanation(case, suspect).unwrap_or("NOT EXPLAINED");
            let bed = if row.bed == Bed::Rocr { " (rocr-model)" } else { "" };
            text.push_str(&format!("| `{}`{bed} | {case} | {suspect} | {why} |\n", row.fault));
        }
    }
    text.push_str("\n## What chance decides\n\n");
    for (row, _) in found.iter().filter(|(row, _)| row.by_chance) {
        for (cases, suspect, why) in row.explained {
            text.push_str(&format!("* `{}`: {suspect} in {}: {why}\n", row.fault, cases.join(", ")));
        }
    }
    text.push_str("\n## Commands\n\n```\n");
    for (row, _) in found {
        text.push_str(&format!("aqlprobe {}\n", row.arguments(row.cases)));
    }
    text.push_str("```\n");
    text
}

/// The text without the part that others write by hand.
pub fn settled(text: &str) -> &str {
    text.split("\n## No false alarms").next().unwrap_or(text).trim_end()
}
