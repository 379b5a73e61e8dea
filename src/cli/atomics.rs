//! `aqlprobe atomics`: the AtomicOp Requester Enable bit by itself.

use std::fs;
use std::path::PathBuf;

use anyhow::anyhow;
use aqlprobe::audit::{KfdProcesses, Objection, Weight, kfd_processes, objections};
use aqlprobe::kfd::topology::topology;
use aqlprobe::pci::device_lock::{DeviceLock, LockError};
use aqlprobe::pci::path::{EnableBit, PathCapability, judge};
use aqlprobe::pci::requester::{self, Outcome, RequesterError, RequesterState, RequesterSwitch};
use aqlprobe::pci::sysfs::SysfsRoot;
use aqlprobe::pci::{Bdf, Hierarchy, PcieReading, registers};
use aqlprobe::report::ExitCode;
use aqlprobe::verify;
use clap::Subcommand;

use super::failure::Failure;
use super::output;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do, or a dry run that nothing speaks against
  1  refused, or the bit did not hold
  2  the command line is wrong, or there is no such device";

/// Look at or switch AtomicOp Requester Enable of one device
///
/// Only bit 6 of Device Control 2 is ever written, and it is read back.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what the bit is, whether the path carries AtomicOps, and what would speak against switching
    Status(Device),
    /// Set the bit; without --yes say only what would be written
    Enable(Switch),
    /// Clear the bit; without --yes say only what would be written
    Disable(Switch),
    /// Put back what `enable` or `disable` changed, or what a killed `aqlprobe verify` left changed
    ///
    /// The original bit is kept in a journal. `verify` restores it itself on every way out but SIGKILL and power loss; without a
    /// device this command is for those. With a device it also undoes `enable` and `disable`.
    Restore {
        /// Restore this device
        #[arg(value_name = "BDF", conflicts_with = "journal")]
        device: Option<Bdf>,

        /// Restore from this journal instead of those in the default place
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,

        /// Read PCI devices from this directory instead of /sys
        #[arg(long, value_name = "DIR", hide = true, requires = "device")]
        sysfs_root: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Device {
    /// PCI address of the device
    #[arg(value_name = "BDF")]
    device: Bdf,

    /// Read PCI devices from this directory instead of /sys
    #[arg(long, value_name = "DIR", hide = true)]
    sysfs_root: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Switch {
    #[command(flatten)]
    device: Device,

    /// Write the bit
    #[arg(long)]
    yes: bool,

    /// Also on a path that does not carry AtomicOps, and while processes use the GPU
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// A device that is not there, a refusal, a journal that cannot be read, or a bit that cannot be switched or put back.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    match &arguments.command {
        Command::Status(device) => status(device),
        Command::Enable(arguments) => switch(arguments, RequesterState::Enabled),
        Command::Disable(arguments) => switch(arguments, RequesterState::Disabled),
        Command::Restore { device: Some(device), sysfs_root, .. } => restore_device(device, &root(sysfs_root.as_ref())),
        Command::Restore { device: None, journal, .. } => {
            let restored = verify::restore_atomics(journal.as_deref());
            print_restored(&restored.map_err(restore_failure)?)
        }
    }
}

fn restore_failure(error: verify::RestoreError) -> Failure {
    let code = error.exit_code();
    Failure::new(error, code)
}

fn root(path: Option<&PathBuf>) -> SysfsRoot {
    path.map_or_else(SysfsRoot::default, SysfsRoot::new)
}

impl Device {
    fn hierarchy(&self) -> Result<(SysfsRoot, Hierarchy), Failure> {
        let root = root(self.sysfs_root.as_ref());
        let hierarchy = root.hierarchy(&self.device).map_err(|error| Failure::new(error, ExitCode::Usage))?;
        Ok((root, hierarchy))
    }
}

/// The device's line: `0000:0b:00.0: AtomicOp Requester Enable is 1 (Device Control 2 at 0x80 reads 0x0040)`.
fn bit_line(bdf: Bdf, hierarchy: &Hierarchy) -> String {
    let bit = match judge(hierarchy).requester {
        EnableBit::Enabled => "1",
        EnableBit::Disabled => "0",
        EnableBit::Unknown => "[unknown]",
    };
    match register(hierarchy) {
        Some((at, Some(value))) => {
            format!("{bdf}: AtomicOp Requester Enable is {bit} (Device Control 2 at {at} reads {value:#06x})\n")
        }
        Some((at, None)) => format!("{bdf}: AtomicOp Requester Enable is {bit} (Device Control 2 at {at})\n"),
        None => format!("{bdf}: AtomicOp Requester Enable is {bit}\n"),
    }
}

/// Where Device Control 2 of the device is, and its value.
fn register(hierarchy: &Hierarchy) -> Option<(String, Option<u32>)> {
    let device = hierarchy.endpoint()?;
    let PcieReading::Present(capability) = device.pcie else { return None };
    Some((capability.devctl2()?.to_string(), device.device_control_2.value()))
}

fn status(arguments: &Device) -> Result<u8, Failure> {
    let (root, hierarchy) = arguments.hierarchy()?;
    let mut text = bit_line(arguments.device, &hierarchy);
    let verdict = judge(&hierarchy);
    text.push_str(match verdict.path {
        PathCapability::Capable => "  the path carries AtomicOps\n",
        PathCapability::Incapable => "  the path does not carry AtomicOps\n",
        PathCapability::Unknown => "  whether the path carries AtomicOps is [unknown]\n",
    });
    if let Some(finding) = verdict.first_finding() {
        text.push_str(&format!("  {}\n", finding.sentence));
    }
    match processes(&root, &arguments.device) {
        KfdProcesses::Listed(found) if found.is_empty() => text.push_str("  no process uses it through KFD\n"),
        KfdProcesses::Listed(found) => {
            let listed: Vec<String> = found.iter().map(u32::to_string).collect();
            text.push_str(&format!("  processes that use it through KFD: {}\n", listed.join(", ")));
        }
        KfdProcesses::NoList => text.push_str("  KFD has no list of processes here\n"),
        KfdProcesses::Unreadable(why) => text.push_str(&format!("  {why}\n")),
    }
    for journal in journals(&root, &arguments.device) {
        text.push_str(&format!(
            "  changed by aqlprobe: `aqlprobe atomics restore {}` puts it back ({})\n",
            arguments.device.short(),
            journal.display()
        ));
    }
    output::print(text.as_bytes())?;
    Ok(ExitCode::Pass.status())
}

/// Journals of the device that are there: of a killed run first, it has the newer state.
fn journals(root: &SysfsRoot, device: &Bdf) -> Vec<PathBuf> {
    let mut journals = vec![requester::journal_path(root, device), requester::kept_journal_path(root, device)];
    journals.retain(|journal| journal.exists());
    journals
}

fn processes(root: &SysfsRoot, device: &Bdf) -> KfdProcesses {
    let nodes = topology(root.path()).unwrap_or_default();
    let node = nodes.iter().find(|node| node.pci_address.as_deref() == Some(&device.to_string()));
    let id = node.and_then(|node| {
        let file = root.path().join(format!("class/kfd/kfd/topology/nodes/{}/gpu_id", node.index));
        fs::read_to_string(file).ok()?.trim().parse().ok()
    });
    kfd_processes(root, id)
}

fn switch(arguments: &Switch, wanted: RequesterState) -> Result<u8, Failure> {
    let device = arguments.device.device;
    let (root, hierarchy) = arguments.device.hierarchy()?;
    let _lock = take(&root, device)?;
    let found = objections(&hierarchy, wanted, &processes(&root, &device));
    refuse(&found, arguments.force)?;
    if !arguments.yes {
        return dry_run(device, &hierarchy, wanted);
    }
    let failed = |error: RequesterError| Failure::new(error, ExitCode::CheckFailed);
    let journal = requester::journal_path(&root, &device);
    let mut switch = RequesterSwitch::open(&root.config_file(&device), device, &journal).map_err(failed)?;
    let was = switch.original();
    if let Outcome::DidNotStick { read_back } = switch.set(wanted).map_err(failed)? {
        let error = anyhow!("AtomicOp Requester Enable of {device} did not hold: Device Control 2 reads {read_back:#06x}");
        return Err(Failure::new(error, ExitCode::CheckFailed));
    }
    switch.keep(&requester::kept_journal_path(&root, &device)).map_err(failed)?;
    let hierarchy = root.hierarchy(&device).map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    let mut text = bit_line(device, &hierarchy);
    if was == wanted {
        text.push_str("  it was so already; nothing was written\n");
    } else {
        text.push_str(&format!("  `aqlprobe atomics restore {}` puts it back\n", device.short()));
    }
    output::print(text.as_bytes())?;
    Ok(ExitCode::Pass.status())
}

/// The device, for a command that may write. One whose config space cannot be opened is left to the switch, which says why.
fn take(root: &SysfsRoot, device: Bdf) -> Result<Option<DeviceLock>, Failure> {
    match DeviceLock::take(&root.config_file(&device), device) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ LockError::Held { .. }) => Err(Failure::new(error, ExitCode::Usage)),
        Err(LockError::Unlockable { .. }) => Ok(None),
    }
}

fn refuse(found: &[Objection], force: bool) -> Result<(), Failure> {
    let stands = |objection: &&Objection| objection.weight == Weight::Final || !force;
    let standing: Vec<&Objection> = found.iter().filter(stands).collect();
    if standing.is_empty() {
        return Ok(());
    }
    let sentences: Vec<&str> = standing.iter().map(|objection| objection.sentence.as_str()).collect();
    let failure = Failure::new(anyhow!("refused, nothing was written\n{}", sentences.join("\n")), ExitCode::CheckFailed);
    let can_be_forced = standing.iter().all(|objection| objection.weight == Weight::Overridable);
    Err(if can_be_forced { failure.hint("--force does it all the same") } else { failure })
}

fn dry_run(device: Bdf, hierarchy: &Hierarchy, wanted: RequesterState) -> Result<u8, Failure> {
    let Some((at, Some(value))) = register(hierarchy) else {
        let error = anyhow!("Device Control 2 of {device} is not readable");
        return Err(Failure::new(error, ExitCode::CheckFailed).hint("run as root"));
    };
    let bit = u32::from(registers::REQUESTER_ENABLE);
    let after = match wanted {
        RequesterState::Enabled => value | bit,
        RequesterState::Disabled => value & !bit,
    };
    let mut text = bit_line(device, hierarchy);
    if after == value {
        text.push_str("  it is so already; nothing would be written\n");
    } else {
        text.push_str(&format!("  would write {after:#06x} to Device Control 2 at {at}: bit 6 alone changes\n"));
        text.push_str("  dry run, nothing was written: --yes does it\n");
    }
    output::print(text.as_bytes())?;
    Ok(ExitCode::Pass.status())
}

fn restore_device(device: &Bdf, root: &SysfsRoot) -> Result<u8, Failure> {
    let mut restored = Vec::new();
    for journal in journals(root, device) {
        let done = verify::restore_atomics(Some(&journal)).map_err(restore_failure)?;
        restored.extend(done);
    }
    print_restored(&restored)
}

fn print_restored(restored: &[verify::Restored]) -> Result<u8, Failure> {
    let mut text = String::new();
    for device in restored {
        let (bit, journal) = (u8::from(device.enabled), device.journal.display());
        text.push_str(&format!("{}: AtomicOp Requester Enable is {bit} again; removed {journal}\n", device.device));
    }
    if restored.is_empty() {
        text.push_str("nothing to restore: no journal was left behind\n");
    }
    output::print(text.as_bytes())?;
    Ok(ExitCode::Pass.status())
}
