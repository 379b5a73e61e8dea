//! The PCIe path, drawn from the root port down to the GPU, with the hop that stops AtomicOps marked.

use maud::{Markup, html};

use crate::report::path::{Bit, HopReport, PathCapability, PathReport};
use crate::report::run::{AtomicsMode, BedReport, DeviceReport, RequesterReadback, RunReport};

use super::verify::fix_heading;
use super::words::foreign;

pub(super) fn chain(path: &PathReport, device: &DeviceReport, bed: &BedReport) -> Markup {
    let deciding = device.deciding_run();
    let hops: Vec<(&HopReport, Passage)> = path.hops.iter().map(|hop| (hop, passage(hop, path, deciding))).collect();
    // AtomicOps travel upwards: from the GPU to the hop that stops them the way is open, above it nothing arrives.
    let stopped_from = hops.iter().position(|(_, passage)| *passage == Passage::StopsFirst);
    let is_set_for_run = hops.iter().any(|(_, passage)| matches!(passage, Passage::SetForRun(_)));
    // A fix that stands on the page already is not repeated.
    let fixes: Vec<&String> = path.fixes.iter().filter(|fix| Some(*fix) != device.diagnosis.fix.as_ref()).collect();
    html! {
        h3 { "Path of its AtomicOps to host memory, as found" }
        p.end { "▲ host memory" }
        ol.chain {
            @for (position, (hop, passage)) in hops.iter().enumerate() {
                @let beyond = stopped_from.is_some_and(|at| position < at);
                li.stopped[beyond] { (node(*passage)) (card(hop, *passage)) }
            }
        }
        @let (class, shape) = match path.capability {
            PathCapability::Capable => ("good", "✓ capable"),
            PathCapability::Incapable => ("bad", "✗ not capable"),
            PathCapability::Unknown => ("warn", "? unknown"),
        };
        p { b { "Path as found: " span class=(class) { (shape) } } ". " (foreign(&path.summary)) }
        @if !path.causes.is_empty() { ul.plain { @for cause in &path.causes { li { (foreign(cause)) } } } }
        @if !fixes.is_empty() {
            @let what = if is_set_for_run && stopped_from.is_none() { "To keep AtomicOps on after the run" } else { "What to change on the path as found" };
            (fix_heading(what, bed))
            @for fix in fixes { pre { (super::words::foreign_lines(fix)) } }
        }
    }
}

/// What a hop does to AtomicOps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// It is the first that stops them.
    StopsFirst,
    /// It would stop them as well.
    Stops,
    /// It was found to stop them by its enable bit alone, which was set for the run that decides: what went wrong there, it did not do.
    SetForRun(AtomicsMode),
    /// What is known of it lets them through.
    Unknown,
    /// It lets them through.
    Open,
}

impl Passage {
    /// Class, shape and words.
    fn mark(self) -> (&'static str, &'static str, String) {
        match self {
            Self::StopsFirst => ("bad", "✗", "AtomicOps stop here".to_owned()),
            Self::Stops => ("bad", "✗", "stops AtomicOps".to_owned()),
            Self::SetForRun(mode) => ("warn", "▲", format!("clear as found; set for the run with AtomicOps {mode}")),
            Self::Unknown => ("warn", "?", "partly unknown".to_owned()),
            Self::Open => ("good", "✓", "lets AtomicOps through".to_owned()),
        }
    }

    /// Whether the hop's card says it in words.
    const fn is_told(self) -> bool {
        matches!(self, Self::StopsFirst | Self::SetForRun(_))
    }
}

fn passage(hop: &HopReport, path: &PathReport, deciding: Option<&RunReport>) -> Passage {
    let bits = bits(hop);
    let mut bad = bits.iter().filter(|(_, _, class)| *class == "bad").map(|(name, _, _)| *name).peekable();
    let is_first = path.first_bad_hop.as_deref() == Some(hop.bdf.as_str());
    let is_found_off = bad.peek().is_some() && bad.all(|name| name == REQUESTER_ENABLE);
    match deciding {
        Some(RunReport { requester: RequesterReadback::Holds { enabled: true }, atomics, .. }) if is_found_off => {
            Passage::SetForRun(*atomics)
        }
        _ if is_first => Passage::StopsFirst,
        _ if bits.iter().any(|(_, _, class)| *class == "bad") => Passage::Stops,
        _ if hop.note.is_some() || bits.iter().any(|(_, bit, _)| *bit == Bit::Unknown) => Passage::Unknown,
        _ => Passage::Open,
    }
}

fn node(passage: Passage) -> Markup {
    let (class, shape, says) = passage.mark();
    html! { span class={ "node " (class) } title=[(!passage.is_told()).then_some(says)] { (shape) } }
}

fn card(hop: &HopReport, passage: Passage) -> Markup {
    let (class, shape, says) = passage.mark();
    html! {
        div.hop.stops[passage == Passage::StopsFirst].set-for-run[matches!(passage, Passage::SetForRun(_))] {
            p { b { (hop.role) } " " span.mono { (foreign(&hop.bdf)) } }
            @if passage.is_told() { p class=(class) { b { (shape) " " (says) } } }
            p { (foreign(&hop.name)) @if let Some(id) = &hop.id { " " span.mono.quiet { "[" (foreign(id)) "]" } } }
            @let shown = bits(hop);
            @if !shown.is_empty() {
                div.chips {
                    @for (name, bit, class) in shown {
                        @let class = if class == "bad" && matches!(passage, Passage::SetForRun(_)) { "warn" } else { class };
                        span class={ "chip " (class) } { (name) (bit) }
                    }
                }
            }
            @if let Some(note) = &hop.note { p.quiet { (foreign(note)) } }
        }
    }
}

/// AtomicOp Requester Enable in lspci's words.
const REQUESTER_ENABLE: &str = "ReqEn";

/// The bits that decide in the hop's role, in lspci's words, and whether each lets AtomicOps through.
fn bits(hop: &HopReport) -> Vec<(&'static str, Bit, &'static str)> {
    let named = [
        ("Routing", hop.routing, Bit::Set),
        ("32bit", hop.completer_32, Bit::Set),
        ("64bit", hop.completer_64, Bit::Set),
        (REQUESTER_ENABLE, hop.requester_enable, Bit::Set),
        ("EgressBlck", hop.egress_blocked, Bit::Clear),
        ("BusMaster", hop.bus_master, Bit::Set),
    ];
    let class = |bit: Bit, wanted: Bit| match bit {
        Bit::Unknown => "warn",
        bit if bit == wanted => "good",
        _ => "bad",
    };
    named.into_iter().filter_map(|(name, bit, wanted)| bit.map(|bit| (name, bit, class(bit, wanted)))).collect()
}
