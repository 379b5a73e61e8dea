//! The PCIe path, drawn from the root port down to the GPU, with the hop that stops AtomicOps marked.

use maud::{Markup, html};

use crate::report::path::{Bit, HopReport, PathCapability, PathReport};

use super::words::foreign;

/// `told` is a fix that stands on the page already.
pub(super) fn chain(path: &PathReport, told: Option<&str>) -> Markup {
    let bad = path.first_bad_hop.as_deref();
    // AtomicOps travel upwards: from the GPU to the hop that stops them the way is open, above it nothing arrives.
    let stopped_from = bad.and_then(|bad| path.hops.iter().position(|hop| hop.bdf == bad));
    html! {
        h3 { "Path of its AtomicOps to host memory, as found" }
        p.end { "▲ host memory" }
        ol.chain {
            @for (position, hop) in path.hops.iter().enumerate() {
                @let stops = bad == Some(hop.bdf.as_str());
                @let beyond = stopped_from.is_some_and(|at| position < at);
                li.stopped[beyond] { (node(stops, hop)) (card(hop, stops)) }
            }
        }
        @let (class, shape) = match path.capability {
            PathCapability::Capable => ("good", "✓ capable"),
            PathCapability::Incapable => ("bad", "✗ not capable"),
            PathCapability::Unknown => ("warn", "? unknown"),
        };
        p { b { "Path: " span class=(class) { (shape) } } ". " (foreign(&path.summary)) }
        @if !path.causes.is_empty() { ul.plain { @for cause in &path.causes { li { (foreign(cause)) } } } }
        @let fixes: Vec<&String> = path.fixes.iter().filter(|fix| Some(fix.as_str()) != told).collect();
        @if !fixes.is_empty() {
            p { b { "What to change on the path" } }
            @for fix in fixes { pre { (super::words::foreign_lines(fix)) } }
        }
    }
}

fn node(stops: bool, hop: &HopReport) -> Markup {
    let bits = bits(hop);
    let (class, shape, says) = if stops || bits.iter().any(|(_, _, class)| *class == "bad") {
        ("bad", "✗", "stops AtomicOps")
    } else if bits.iter().any(|(_, bit, _)| *bit == Bit::Unknown) || hop.note.is_some() {
        ("warn", "?", "partly unknown")
    } else {
        ("good", "✓", "lets AtomicOps through")
    };
    html! { span class={ "node " (class) } title=(says) { (shape) } }
}

fn card(hop: &HopReport, stops: bool) -> Markup {
    html! {
        div.hop.stops[stops] {
            p { b { (hop.role) } " " span.mono { (foreign(&hop.bdf)) } }
            @if stops { p.bad { b { "✗ AtomicOps stop here" } } }
            p { (foreign(&hop.name)) @if let Some(id) = &hop.id { " " span.mono.quiet { "[" (foreign(id)) "]" } } }
            @let shown = bits(hop);
            @if !shown.is_empty() {
                div.chips { @for (name, bit, class) in shown { span class={ "chip " (class) } { (name) (bit) } } }
            }
            @if let Some(note) = &hop.note { p.quiet { (foreign(note)) } }
        }
    }
}

/// The bits that decide in the hop's role, in lspci's words, and whether each lets AtomicOps through.
fn bits(hop: &HopReport) -> Vec<(&'static str, Bit, &'static str)> {
    let named = [
        ("Routing", hop.routing, Bit::Set),
        ("32bit", hop.completer_32, Bit::Set),
        ("64bit", hop.completer_64, Bit::Set),
        ("ReqEn", hop.requester_enable, Bit::Set),
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
