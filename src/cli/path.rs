//! `aqlprobe path`: which hop blocks AtomicOps, and what to change?

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use aqlprobe::audit::{self, Audit, AuditError, Captured, Context, Selection, refusals};
use aqlprobe::pci::Bdf;
use aqlprobe::pci::guest::{Functions, Placement, PlanRequest, QemuVersion, detect};
use aqlprobe::pci::kernel::KernelVersion;
use aqlprobe::pci::sysfs::{SysfsError, SysfsRoot};
use aqlprobe::report::{ExitCode, audit_json, audit_text};

use clap::ValueEnum;

use super::failure::Failure;
use super::output::{Destination, Format};

/// More text than any machine's listing; what is longer is refused instead of read.
const TEXT_AT_MOST: u64 = 256 << 20;

const EXAMPLES: &str = "\
Examples:
  sudo aqlprobe path
      every AMD GPU of this machine
  aqlprobe path --from lspci.txt
      a listing from another machine; its `dmesg` may be in the same file
  sudo lspci -vvvxxx | aqlprobe path --from -
      the same without a file
  aqlprobe path 0b:00.0 --format json -o path.json
      one device, for a program
  sudo aqlprobe path --capture machine.tar
      what is needed to audit this machine elsewhere, with --sysfs-root
  sudo aqlprobe path 0b:00.0 --guest-plan --qemu 8.1
      what a virtual machine will see of it, and lines that pass it well";

const EXIT_CODES: &str = "\
Exit codes:
  0  every device asked for has a path that carries AtomicOps, and may send them
  1  one has not, or it is not known
  2  the command line or the input is wrong, or it does not have the device
  4  the input has no AMD GPU";

/// Say which hop keeps AtomicOps of a GPU from host memory, and what to change
///
/// Four questions are answered apart: whether the path can carry AtomicOps, whether the device may send them now, whether KFD
/// takes the GPU, and what follows if it runs without. What the input does not show is unknown, never a no.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    /// PCI address of one device, of any vendor [default: every AMD GPU]
    #[arg(value_name = "BDF")]
    device: Option<Bdf>,

    /// Every AMD GPU; the default
    #[arg(long, conflicts_with = "device")]
    all: bool,

    /// Read this text instead of the machine: `lspci -vvv`, `-xxx`, `-t`, any mixture of them; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "sysfs_root")]
    from: Option<PathBuf>,

    /// Read a captured tree instead of /sys
    #[arg(long, value_name = "DIR")]
    sysfs_root: Option<PathBuf>,

    /// Put what an audit reads of sysfs into this tar file, and do nothing else; unpack it elsewhere for --sysfs-root
    #[arg(long, value_name = "TAR", conflicts_with_all = ["from", "format", "output", "guest_plan"])]
    capture: Option<PathBuf>,

    /// Look for KFD's "PCI rejects atomics" in this copy of the kernel's log
    #[arg(long, value_name = "FILE")]
    dmesg: Option<PathBuf>,

    /// Say what this kernel's own rule gives (as `uname -r` prints it) [default: the running one, on the machine itself]
    #[arg(long, value_name = "VERSION")]
    kernel: Option<KernelVersion>,

    /// On the host: forecast what a virtual machine will see of the GPU, and print lines that pass it well
    #[arg(long)]
    guest_plan: bool,

    /// Version of QEMU to forecast for
    #[arg(long, value_name = "VERSION", requires = "guest_plan")]
    qemu: Option<QemuVersion>,

    /// Where QEMU puts the GPU
    #[arg(long, value_name = "PLACE", value_enum, requires = "guest_plan", default_value = "root-port")]
    placement: Place,

    /// The GPU goes together with its other functions, as Proxmox' "All Functions" does
    #[arg(long, requires = "guest_plan")]
    multifunction: bool,

    /// Form of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Write the report to a file, which appears complete or not at all; the verdict goes to stderr
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Place {
    /// q35, behind a pcie-root-port
    RootPort,
    /// q35, on the root bus
    #[value(name = "pcie.0")]
    Pcie0,
    /// q35, behind an emulated switch
    Switch,
    /// q35, behind a conventional PCI bridge
    Bridge,
    /// i440fx
    I440fx,
}

impl From<Place> for Placement {
    fn from(place: Place) -> Self {
        match place {
            Place::RootPort => Self::RootPort,
            Place::Pcie0 => Self::Pcie0,
            Place::Switch => Self::Switch,
            Place::Bridge => Self::ConventionalBridge,
            Place::I440fx => Self::I440fx,
        }
    }
}

impl Arguments {
    fn root(&self) -> SysfsRoot {
        self.sysfs_root.as_ref().map_or_else(SysfsRoot::default, SysfsRoot::new)
    }

    fn selection(&self) -> Selection {
        self.device.map_or(Selection::Accelerators, Selection::Device)
    }

    /// The running kernel and machine count only for the machine's own sysfs.
    fn context(&self) -> Result<Context, Failure> {
        let log = self.dmesg.as_deref().map(read_text).transpose()?;
        let is_live = self.from.is_none() && self.sysfs_root.is_none();
        let kernel = self.kernel.clone().or_else(|| if is_live { running_kernel() } else { None });
        Ok(Context {
            refusals: log.map(|log| refusals(&log)).unwrap_or_default(),
            machine: is_live.then(|| detect(Path::new("/"))),
            guest_plan: self.guest_plan.then(|| PlanRequest {
                qemu: self.qemu,
                placement: self.placement.into(),
                functions: if self.multifunction { Functions::Multifunction } else { Functions::Single },
                host_kernel: kernel.clone(),
            }),
            kernel,
        })
    }
}

fn running_kernel() -> Option<KernelVersion> {
    rustix::system::uname().release().to_str().ok()?.parse().ok()
}

/// Runs the subcommand.
///
/// # Errors
/// An input that cannot be read, or a report that cannot be written.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if let Some(file) = &arguments.capture {
        return capture(arguments, file);
    }
    let destination = Destination::open(arguments.output.as_deref())?;
    let context = arguments.context()?;
    let selection = arguments.selection();
    let audit = match &arguments.from {
        Some(file) => audit::from_text(&read_text(file)?, selection, &context).map_err(unreadable)?,
        None => audit::from_sysfs(&arguments.root(), selection, &context).map_err(unreadable)?,
    };
    if audit.devices.is_empty() {
        return Err(no_gpu());
    }
    let bytes = rendered(&audit, arguments.format, &destination).map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    destination.write_bytes(&bytes, &audit_text::verdict(&audit))?;
    let in_order = audit.devices.iter().all(audit::AuditedDevice::is_in_order);
    Ok(if in_order { ExitCode::Pass } else { ExitCode::CheckFailed }.status())
}

fn no_gpu() -> Failure {
    let missing = anyhow::anyhow!("the input has no display controller or processing accelerator of AMD");
    Failure::new(missing, ExitCode::NoHardware).hint("name another device by its address: aqlprobe path BDF")
}

fn capture(arguments: &Arguments, file: &Path) -> Result<u8, Failure> {
    let destination = Destination::open(Some(file))?;
    let entries = audit::capture(&arguments.root(), arguments.selection()).map_err(|error| unreadable(error.into()))?;
    if !entries.keys().any(|path| path.starts_with("bus")) {
        return Err(no_gpu());
    }
    let bytes = packed(&entries).context("cannot pack the tree").map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    destination.write_bytes(&bytes, &format!("{} files and links captured", entries.len()))?;
    Ok(ExitCode::Pass.status())
}

/// Without owner and time: the same tree gives the same bytes.
fn packed(entries: &BTreeMap<PathBuf, Captured>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_mode(0o644);
        match entry {
            Captured::File(bytes) => {
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, path, bytes.as_slice())?;
            }
            Captured::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    archive.into_inner()
}

fn rendered(audit: &Audit, format: Format, destination: &Destination) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match format {
        Format::Text => audit_text::write(audit, destination.style(), &mut bytes),
        Format::Json => audit_json::write(audit, &mut bytes),
    }
    .context("cannot render the report")?;
    Ok(bytes)
}

/// A machine without any PCI bus has no AMD GPU either.
fn unreadable(error: AuditError) -> Failure {
    let code = match &error {
        AuditError::Sysfs(SysfsError::NoPciBus { .. }) => ExitCode::NoHardware,
        _ => ExitCode::Usage,
    };
    Failure::new(error, code)
}

/// Bytes that are no UTF-8 are replaced: listings come out of mails and terminals of every sort.
fn read_text(path: &Path) -> Result<String, Failure> {
    let read = || -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if path == Path::new("-") {
            io::stdin().lock().take(TEXT_AT_MOST + 1).read_to_end(&mut bytes)?;
        } else {
            File::open(path)?.take(TEXT_AT_MOST + 1).read_to_end(&mut bytes)?;
        }
        anyhow::ensure!(bytes.len() as u64 <= TEXT_AT_MOST, "it is longer than {} MiB", TEXT_AT_MOST >> 20);
        Ok(bytes)
    };
    let bytes =
        read().with_context(|| format!("cannot read {}", path.display())).map_err(|error| Failure::new(error, ExitCode::Usage))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
