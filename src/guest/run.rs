//! The host's side of a run: what to boot, and what it came to.

use std::io;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::runtime::device::vfio::BUS_MASTER_ENV;

use super::answer::{Step, Workload};
use super::assets::{Assets, AssetsError, Kernel};
use super::boot::{BootError, Booted, Files, Limits, boot};
use super::initramfs;
use super::options::{Accelerator, BusMaster, Hops, RequesterEnable, Seconds};
use super::processes::Interrupts;
use super::qemu::Machine;
use super::report::{GuestReport, HostView};

/// Vendor and device id of the endpoint: those of the founding machine's Fiji.
const ENDPOINT: (u16, u16) = (0x1002, 0x7300);
/// How long a kernel may take to user space: under TCG on a loaded machine; under KVM, where it takes seconds or never does.
const BOOT_TCG: Seconds = Seconds(90);
const BOOT_KVM: Seconds = Seconds(25);
/// 2 MiB pages set aside in the guest.
const HUGE_PAGES: u32 = 136;

/// The program that becomes the guest's first process.
#[derive(Clone, Debug)]
pub enum Program {
    /// This one, with the libraries that it is linked to.
    Running {
        /// Its file.
        path: PathBuf,
    },
    /// A static one.
    Other {
        /// Its file.
        path: PathBuf,
    },
}

impl Program {
    /// This program.
    ///
    /// # Errors
    /// When the system does not say where it lies.
    pub fn running() -> io::Result<Self> {
        Ok(Self::Running { path: std::env::current_exe()? })
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Running { path } | Self::Other { path } => path,
        }
    }
}

/// Everything about a run.
#[derive(Clone, Debug)]
pub struct GuestRequest {
    /// What boots.
    pub assets: Assets,
    /// Which kernel of it.
    pub kernel: Kernel,
    /// What runs in it.
    pub program: Program,
    /// Who executes it.
    pub accelerator: Accelerator,
    /// How many processors it has.
    pub processors: NonZeroU8,
    /// The way to host memory.
    pub hops: Hops,
    /// What becomes of writes to the requester's bit.
    pub requester_enable: RequesterEnable,
    /// Whether the guest's runtime makes the endpoint a bus master.
    pub bus_master: BusMaster,
    /// The fault plan, as the report names it.
    pub injected: Option<String>,
    /// What of it strikes the endpoint.
    pub endpoint_plan: Option<String>,
    /// Set in every step's environment besides.
    pub environment: Vec<(String, String)>,
    /// What to run in it.
    pub steps: Vec<Step>,
    /// The name of the step whose exit code is the run's; the last that has one.
    pub deciding: Option<String>,
    /// After this everything is ended.
    pub deadline: Seconds,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum GuestError {
    /// What a guest is made of.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// The temporary directory or the initramfs.
    #[error("cannot prepare the guest's first file system: {0}")]
    Initramfs(#[source] io::Error),
    /// The boot.
    #[error(transparent)]
    Boot(#[from] BootError),
}

/// Boots the guest, runs the steps in it, and joins what both sides saw. Every process that was started has ended when this returns.
///
/// # Errors
/// [`GuestError`] when the guest gave no complete answer.
pub fn run(request: &GuestRequest) -> Result<GuestReport, GuestError> {
    let started_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let started = Instant::now();
    // Before the folder, and so dropped after it: a signal ends the process only once nothing is left to clear away.
    let interrupts = Interrupts::catch();
    let folder = tempfile::Builder::new().prefix("aqlprobe-guest-").tempdir().map_err(GuestError::Initramfs)?;
    let files = Files::within(folder.path());
    initramfs::write(&files.initramfs, &request.program, &request.kernel.modules()?, &workload(request))
        .map_err(GuestError::Initramfs)?;
    let (accelerator, fallback, booted) = boot_with_fallback(request, &files, &interrupts)?;
    let host = HostView {
        accelerator,
        accelerator_note: fallback,
        processors: request.processors.get(),
        qemu: request.assets.qemu_version(),
        kernel: request.kernel.name.clone(),
        hops: request.hops,
        requester_enable: request.requester_enable,
        injected: request.injected.clone(),
        endpoint_log: shortened(&booted.endpoint_log, folder.path()),
        qemu_log: shortened(&booted.qemu_log, folder.path()),
    };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(GuestReport::joined(started_at, duration_ms, host, booted.answers, request.deciding.as_deref()))
}

/// The end of a log, without the name of the temporary directory, which is gone and different every time.
fn shortened(log: &[String], folder: &Path) -> Vec<String> {
    const LINES: usize = 200;
    let folder = format!("{}/", folder.display());
    log[log.len().saturating_sub(LINES)..].iter().map(|line| line.replace(&folder, "")).collect()
}

/// A kernel that KVM cannot run does not say so: it stays silent. So KVM gets one try of a few seconds.
fn boot_with_fallback(
    request: &GuestRequest,
    files: &Files,
    interrupts: &Interrupts,
) -> Result<(Accelerator, Option<String>, Booted), BootError> {
    let try_with = |accelerator, limit| {
        let limits = Limits { boot: limit, whole: request.deadline };
        boot(&mut endpoint(request, &files.socket), &mut qemu(request, files, accelerator), files, limits, interrupts)
    };
    if request.accelerator == Accelerator::Kvm {
        match try_with(Accelerator::Kvm, BOOT_KVM) {
            Ok(booted) => return Ok((Accelerator::Kvm, None, booted)),
            Err(error @ (BootError::NotBooted { .. } | BootError::EndedEarly { step: None, .. })) => {
                let words = error.to_string();
                let telling = words.lines().find(|line| line.contains("KVM internal error"));
                let first = words.lines().next().unwrap_or_default();
                let note =
                    format!("KVM was tried first: {}", telling.map_or_else(|| first.to_owned(), |line| format!("{first} {line}")));
                return Ok((Accelerator::Tcg, Some(note), try_with(Accelerator::Tcg, BOOT_TCG)?));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((Accelerator::Tcg, None, try_with(Accelerator::Tcg, BOOT_TCG)?))
}

fn endpoint(request: &GuestRequest, socket: &Path) -> Command {
    let mut command = Command::new(request.program.path());
    let hops = &request.hops;
    command.arg("endpoint").arg("--once").arg("--socket").arg(socket);
    for (option, word) in [
        ("--requester-enable", request.requester_enable.word()),
        ("--root-port-completers", hops.root_port_completers.word()),
        ("--switch", hops.switch.word()),
        ("--endpoint-completer", hops.endpoint_completer.word()),
    ] {
        command.args([option, word]);
    }
    if let Some(plan) = &request.endpoint_plan {
        command.args(["--inject", plan]);
    }
    command
}

fn qemu(request: &GuestRequest, files: &Files, accelerator: Accelerator) -> Command {
    Machine {
        assets: &request.assets,
        kernel: &request.kernel,
        initramfs: &files.initramfs,
        accelerator,
        processors: request.processors,
        hops: request.hops,
        endpoint: &files.socket,
        console: &files.console,
        answers: &files.answers,
    }
    .command()
}

fn workload(request: &GuestRequest) -> Workload {
    let (vendor, device) = ENDPOINT;
    let mut environment = request.environment.clone();
    environment.push((BUS_MASTER_ENV.to_owned(), request.bus_master.word().to_owned()));
    Workload { vendor, device, huge_pages: HUGE_PAGES, environment, steps: request.steps.clone() }
}
