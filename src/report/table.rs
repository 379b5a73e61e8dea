//! Cases against states of AtomicOps, and the hops of the path, as aligned columns.

use std::io;

use comfy_table::{Cell, Color, ContentArrangement, LineStyle, Table, presets};

use super::outcome::Standing;
use super::path::{Bit, HopReport};
use super::run::{AtomicsMode, CaseReport, RunReport};
use super::style::{Colour, TextStyle, Tone, tame};

/// Heading of a run's column.
pub(super) fn mode_heading(mode: AtomicsMode) -> String {
    format!("AtomicOps {mode}")
}

/// The table case x state of AtomicOps: one row per case in the order of its first appearance.
pub(super) fn write_cases(runs: &[RunReport], style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let mut names: Vec<&str> = Vec::new();
    for case in runs.iter().flat_map(|run| &run.cases) {
        if !names.contains(&case.name.as_str()) {
            names.push(&case.name);
        }
    }
    let mut table = columns(style);
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('-').junction('-')));
    let headings = runs.iter().map(|run| Cell::new(mode_heading(run.atomics)));
    table.set_header(std::iter::once(Cell::new("case")).chain(headings));
    for name in names {
        let cells = runs.iter().map(|run| outcome_cell(run.cases.iter().find(|case| case.name == name)));
        table.add_row(std::iter::once(Cell::new(tame(name))).chain(cells));
    }
    write_indented(table, out)
}

/// One line per hop: address, role, the bits that decide in this role, name.
pub(super) fn write_hops(hops: &[HopReport], style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let mut table = columns(style);
    table.load_style(presets::NOTHING);
    for hop in hops {
        let name = hop.id.as_ref().map_or_else(|| tame(&hop.name), |id| format!("{} [{}]", tame(&hop.name), tame(id)));
        let name = hop.note.as_ref().map_or_else(|| name.clone(), |note| format!("{name} ({})", tame(note)));
        table.add_row([tame(&hop.bdf), hop.role.to_string(), bits(hop), name]);
    }
    write_indented(table, out)
}

/// The bits in lspci's words and order: capabilities, control, command.
fn bits(hop: &HopReport) -> String {
    let named: [(&str, Option<Bit>); 6] = [
        ("Routing", hop.routing),
        ("32bit", hop.completer_32),
        ("64bit", hop.completer_64),
        ("ReqEn", hop.requester_enable),
        ("EgressBlck", hop.egress_blocked),
        ("BusMaster", hop.bus_master),
    ];
    let shown: Vec<String> = named.iter().filter_map(|(name, bit)| bit.map(|bit| format!("{name}{bit}"))).collect();
    // A hop whose role could not be read has bits all the same.
    if shown.is_empty() && hop.note.is_some() { Bit::Unknown.to_string() } else { shown.join(" ") }
}

fn outcome_cell(case: Option<&CaseReport>) -> Cell {
    let Some(case) = case else { return Cell::new("") };
    let name = case.outcome.name();
    match case.standing {
        Standing::Passed => Cell::new(name).fg(Color::DarkGreen),
        Standing::AsPredicted => Cell::new(format!("{name} (predicted)")).fg(Color::DarkYellow),
        Standing::Failed => Cell::new(format!("{name} FAILED")).fg(Color::DarkRed),
        Standing::Skipped => Cell::new(format!("{name} (skipped)")).fg(Color::DarkGrey),
        Standing::Known => Cell::new(format!("{name} (known)")).fg(Color::DarkGrey),
    }
}

/// The tone of a standing in running text.
pub(super) const fn tone(standing: Standing) -> Tone {
    match standing {
        Standing::Passed => Tone::Good,
        Standing::AsPredicted => Tone::Expected,
        Standing::Failed => Tone::Bad,
        Standing::Skipped | Standing::Known => Tone::Quiet,
    }
}

const INDENT: &str = "  ";

/// A table of the given dress. It never asks the terminal itself, so that the same report gives the same text in every pipe.
pub(crate) fn columns(style: TextStyle) -> Table {
    let mut table = Table::new();
    table.force_no_tty();
    if style.colour == Colour::Always {
        table.enforce_styling();
    }
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = style.width {
        let indent = u16::try_from(INDENT.len()).unwrap_or_default();
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.saturating_sub(indent));
    }
    table
}

pub(crate) fn write_indented(mut table: Table, out: &mut impl io::Write) -> io::Result<()> {
    table.discover_columns();
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{INDENT}{}", line.trim_end())?;
    }
    Ok(())
}
