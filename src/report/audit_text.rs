//! An audit for a person in trouble: the chain, the verdicts, why, and what to do.

use std::io;

use comfy_table::{Cell, presets};

use super::path::Bit;
use super::style::{TextStyle, Tone, tame};
use super::table::{columns, write_indented};
use crate::audit::{Answer, Audit, AuditedDevice, AuditedHop, GuestForecast, Link};
use crate::pci::guest::{CapabilityInGuest, Standing};
use crate::pci::path::ErrorTraceKind;

/// Writes the audit, a paragraph per device.
///
/// # Errors
/// Those of `out`.
pub fn write(audit: &Audit, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    for (position, device) in audit.devices.iter().enumerate() {
        if position > 0 {
            writeln!(out)?;
        }
        write_device(device, style, out)?;
    }
    write_section("On the input:", &audit.notes, out)
}

/// The last word on an audit in one line.
pub fn verdict(audit: &Audit) -> String {
    match audit.devices.as_slice() {
        [device] => device.sentence(),
        devices => {
            let in_order = devices.iter().filter(|device| device.is_in_order()).count();
            format!("AtomicOps of {in_order} of {} devices are in order.", devices.len())
        }
    }
}

fn write_device(device: &AuditedDevice, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let id = device.id.as_ref().map(|id| format!(" [{id}]")).unwrap_or_default();
    let driver = device.driver.as_ref().map(|driver| format!(", driver {}", tame(driver))).unwrap_or_default();
    let heading = format!("{} {}{id}{driver}", device.bdf, short_name(&device.name));
    writeln!(out, "{}", style.dress(Tone::Strong, heading))?;
    write_chain(device, style, out)?;
    let tone = if device.is_in_order() { Tone::Good } else { Tone::Bad };
    writeln!(out, "{}", style.dress(tone, device.sentence()))?;
    write_verdicts(device, style, out)?;
    write_section("Why:", &reasons(device), out)?;
    write_section("What follows:", &device.consequences, out)?;
    write_section("What to do:", &remedies(device), out)?;
    write_section("Note:", &device.notes, out)?;
    device.guest_forecast.as_ref().map_or(Ok(()), |forecast| write_forecast(forecast, out))
}

fn write_forecast(forecast: &GuestForecast, out: &mut impl io::Write) -> io::Result<()> {
    let GuestForecast { plan, recipes } = forecast;
    let open = |answer: Option<bool>| match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "[unknown]",
    };
    let capability = match plan.guest_sees {
        CapabilityInGuest::AsOnHost => "as on the host",
        CapabilityInGuest::AsIntegratedEndpoint => "turned into a root complex integrated endpoint",
        CapabilityInGuest::AsEndpoint => "turned into an endpoint",
        CapabilityInGuest::Missing => "none",
        CapabilityInGuest::Unknown => "[unknown]",
    };
    writeln!(out, "In a guest:")?;
    writeln!(out, "  PCI Express capability       {capability}")?;
    writeln!(out, "  root port completes          {}", open(plan.root_port_completes))?;
    writeln!(out, "  Linux 7.1 and later accepts  {}", open(plan.kernel_accepts.requiring_root_port))?;
    writeln!(out, "  older Linux accepts          {}", open(plan.kernel_accepts.accepting_without_root_port))?;
    for condition in &plan.reasons {
        writeln!(out, "  {:<9}  {}", open(condition.holds), tame(&condition.sentence))?;
    }
    write_section("For the guest:", &plan.advice, out)?;
    for (heading, lines) in
        [("QEMU:", &recipes.qemu), ("libvirt:", &recipes.libvirt), ("Proxmox (/etc/pve/qemu-server/VMID.conf):", &recipes.proxmox)]
    {
        writeln!(out, "{heading}")?;
        for line in lines.lines() {
            writeln!(out, "  {}", tame(line))?;
        }
    }
    Ok(())
}

fn write_chain(device: &AuditedDevice, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let mut table = columns(style);
    table.load_style(presets::NOTHING);
    for hop in &device.hops {
        let id = hop.id.as_ref().map(|id| format!(" [{id}]")).unwrap_or_default();
        let mark = if device.first_bad_hop == Some(hop.bdf) { "<- here" } else { "" };
        let name = format!("{}{id}", short_name(&hop.name));
        table.add_row([hop.bdf.to_string(), role(hop), bits(hop), link(hop.link), name, mark.to_owned()].map(Cell::new));
    }
    write_indented(table, out)
}

/// The name without the long form of the vendors that nearly every path has.
fn short_name(name: &str) -> String {
    let vendors = [("Advanced Micro Devices, Inc. [AMD/ATI]", "AMD"), ("Advanced Micro Devices, Inc. [AMD]", "AMD")];
    let short = vendors
        .iter()
        .chain(&[("Intel Corporation", "Intel")])
        .find_map(|(long, short)| name.strip_prefix(long).map(|rest| format!("{short}{rest}")));
    tame(short.as_deref().unwrap_or(name))
}

fn role(hop: &AuditedHop) -> String {
    match hop.capability_version {
        Some(version) => format!("{} v{version}", hop.role),
        None => hop.role.to_string(),
    }
}

/// The bits that count on the way to host memory, in lspci's words. What an endpoint itself completes does not.
fn bits(hop: &AuditedHop) -> String {
    let completers = |answer: Option<Answer>| answer.filter(|_| hop.requester_enable.is_none());
    let named = [
        ("Routing", hop.routing),
        ("32bit", completers(hop.completer_32)),
        ("64bit", completers(hop.completer_64)),
        ("128bitCAS", completers(hop.completer_128)),
        ("ReqEn", hop.requester_enable),
        ("EgressBlck", hop.egress_blocked),
        ("BusMaster", hop.requester_enable.map(|_| hop.bus_master)),
    ];
    let shown: Vec<String> =
        named.iter().filter_map(|(name, answer)| answer.map(|answer| format!("{name}{}", bit(answer)))).collect();
    if shown.is_empty() && hop.note.is_some() { "[unknown]".to_owned() } else { shown.join(" ") }
}

fn bit(answer: Answer) -> Bit {
    match answer {
        Answer::Yes => Bit::Set,
        Answer::No => Bit::Clear,
        Answer::Unknown => Bit::Unknown,
    }
}

fn link(link: Option<Link>) -> String {
    match link {
        Some(Link { now: Some(now), capable: Some(capable) }) if now != capable => format!("{now} of {capable}"),
        Some(Link { now: Some(now), .. }) => now.to_string(),
        Some(Link { now: None, capable: Some(capable) }) => format!("[unknown] of {capable}"),
        Some(Link { now: None, capable: None }) | None => String::new(),
    }
}

fn write_verdicts(device: &AuditedDevice, style: TextStyle, out: &mut impl io::Write) -> io::Result<()> {
    let shown = |answer: Answer| {
        let (tone, word) = match answer {
            Answer::Yes => (Tone::Good, "yes"),
            Answer::No => (Tone::Bad, "no"),
            Answer::Unknown => (Tone::Expected, "[unknown]"),
        };
        style.dress(tone, word)
    };
    if !device.reaches_memory_without_pcie() {
        writeln!(out, "  path capable  {}", shown(device.path_capable))?;
        // One kernel in question says more than all of them.
        match &device.kernel {
            Some(kernel) => writeln!(out, "                {}", tame(&kernel.because))?,
            None if device.path_capable == Answer::Unknown => {}
            None => writeln!(out, "                {}", tame(&device.kernels.sentence))?,
        }
        writeln!(out, "  enabled now   {}", shown(device.enabled))?;
    }
    writeln!(out, "  KFD accepts   {}: {}", shown(device.kfd.verdict), tame(&device.kfd.reason))
}

fn reasons(device: &AuditedDevice) -> Vec<String> {
    let mut reasons: Vec<String> = device.findings.iter().map(|finding| finding.sentence.clone()).collect();
    reasons.extend(device.guest_reasons.iter().map(|reason| match reason.standing {
        Standing::Shown => format!("Guest: {}", reason.evidence),
        Standing::Open | Standing::RuledOut => format!("Guest, perhaps: {}", reason.evidence),
    }));
    reasons.extend(device.contradictions.iter().map(|sentence| format!("Contradiction: {sentence}")));
    reasons.extend(device.traces.iter().map(|trace| {
        let recorded = match trace.kind {
            ErrorTraceKind::AtomicEgressBlocked => "AtomicOp Egress Blocked",
            ErrorTraceKind::UnsupportedRequest => "Unsupported Request (a refused AtomicOp, or another request)",
        };
        format!("{} has recorded: {recorded}.", trace.bdf)
    }));
    reasons
}

fn remedies(device: &AuditedDevice) -> Vec<String> {
    let mut remedies: Vec<String> = device
        .fixes
        .iter()
        .map(|fix| match (&fix.command, &fix.register) {
            (Some(command), Some(register)) => format!("{command}   ({register})\n{}", fix.advice),
            (Some(command), None) => format!("{command}\n{}", fix.advice),
            (None, _) => format!("{}: {}", fix.bdf, fix.advice),
        })
        .collect();
    let mut changes: Vec<String> = device.guest_reasons.iter().map(|reason| format!("Guest: {}", reason.change)).collect();
    changes.dedup();
    remedies.extend(changes);
    remedies.extend(device.kfd.cure.iter().map(|cure| format!("KFD: {cure}")));
    remedies
}

fn write_section(heading: &str, lines: &[String], out: &mut impl io::Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "{heading}")?;
    for line in lines {
        for (position, part) in line.lines().enumerate() {
            writeln!(out, "  {}{}", if position == 0 { "" } else { "  " }, tame(part))?;
        }
    }
    Ok(())
}
