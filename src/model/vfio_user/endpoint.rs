//! The device behind the protocol: regions, DMA maps, reset and interrupts.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::attached::{AttachedGpu, DmaError, DmaMap, Reachability};
use super::config::{Control, EndpointCompleter, EndpointConfig, RequesterEnable};
use super::doorbells::Doorbells;
use super::interrupts::{InterruptError, Interrupts};
use super::pages::SharedMemory;
use super::path::ModelledPath;
use super::region::Region;
use super::registers::{BusMaster, RegisterFile, Works};
use crate::faults::FaultPlan;
use crate::model::address::GpuVa;
use crate::model::endpoint_registers::VRAM_BYTES;
use crate::model::gpu::{GpuConfig, GpuError, InterruptSink};
use crate::model::host::HostProtocol;
use crate::model::target::Target;
use crate::pci::ConfigOffset;
use crate::pci::sysfs::SysfsRoot;
use crate::pci::tree::TreeError;

/// Receives one line for each thing worth telling.
pub type Log = Arc<dyn Fn(fmt::Arguments<'_>) + Send + Sync>;

/// Which endpoint to be.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointOptions {
    /// What its shader cores are.
    pub target: Target,
    /// Whether AtomicOp Requester Enable can be written.
    pub requester: RequesterEnable,
    /// Whether the endpoint advertises completer bits of its own.
    pub completer: EndpointCompleter,
    /// What stands above it.
    pub path: ModelledPath,
    /// What it is to do wrong.
    pub faults: Option<FaultPlan>,
}

/// Why an endpoint cannot be set up or reset.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Memory, a thread or a file cannot be had.
    #[error("cannot set up {what}: {source}")]
    System {
        /// For what.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The modelled path cannot be written.
    #[error(transparent)]
    Path(#[from] TreeError),
    /// The device does not start.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The live copy of config space cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// An access outside a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes at offset {offset:#x} are not inside {region}")]
pub struct AccessError {
    /// Which region.
    pub region: Region,
    /// Offset of the first byte.
    pub offset: u64,
    /// Bytes.
    pub length: usize,
}

/// The endpoint.
pub struct Endpoint {
    // First, so that nobody rings when the GPU has gone.
    doorbells: Doorbells,
    gpu: AttachedGpu,
    target: Target,
    config: EndpointConfig,
    config_file: PathBuf,
    registers: RegisterFile,
    interrupts: Arc<Interrupts>,
    log: Log,
    _tree: TempDir,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Endpoint").field("target", &self.target).field("gpu", &self.gpu).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Powers an endpoint up.
    ///
    /// # Errors
    /// The system lacks memory, threads or a place for temporary files.
    pub fn new(options: &EndpointOptions, log: Log) -> Result<Self, EndpointError> {
        let system = |what| move |source| EndpointError::System { what, source };
        let tree = TempDir::with_prefix("aqlprobe-endpoint-").map_err(system("a directory for the modelled path"))?;
        let mut config = EndpointConfig::new(options.requester, options.completer);
        let endpoint = options.path.write(tree.path(), config.space())?;
        let config_file = SysfsRoot::new(tree.path()).config_file(&endpoint);
        let file = OpenOptions::new().write(true).open(&config_file);
        config.keep_live(file.map_err(|source| EndpointError::Config { path: config_file.clone(), source })?);
        let interrupts = Arc::new(Interrupts::default());
        let vram = SharedMemory::new("aqlprobe-vram", VRAM_BYTES).map_err(system("the device's memory"))?;
        let gpu_config = GpuConfig {
            target: options.target,
            sysfs_root: tree.path().to_owned(),
            endpoint: endpoint.to_string(),
            host: HostProtocol::EMBEDDED,
            faults: options.faults.clone(),
        };
        Ok(Self {
            doorbells: Doorbells::new().map_err(system("the doorbells"))?,
            gpu: AttachedGpu::power_up(gpu_config, vram, Arc::clone(&interrupts) as Arc<dyn InterruptSink>)?,
            target: options.target,
            config,
            config_file,
            registers: RegisterFile::default(),
            interrupts,
            log,
            _tree: tree,
        })
    }

    /// Whether the device has fallen off the bus, from where no reset brings it back.
    fn is_gone(&self) -> bool {
        self.gpu.gpu().is_some_and(crate::model::gpu::Gpu::is_gone)
    }

    /// Tells the log.
    pub(super) fn tell(&self, line: fmt::Arguments<'_>) {
        (self.log)(line);
    }

    /// The file that the client may map instead of reading and writing a region.
    #[must_use]
    pub fn mappable(&self, region: Region) -> Option<BorrowedFd<'_>> {
        match region {
            Region::Vram => Some(self.gpu.vram().file()),
            Region::Doorbells => Some(self.doorbells.page().file()),
            Region::Registers | Region::Config => None,
        }
    }

    /// Reads a region.
    ///
    /// # Errors
    /// The access is not inside it.
    pub fn read(&mut self, region: Region, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        let length = data.len();
        if self.is_gone() {
            // Nobody answers, and the root complex makes all ones of it (PCIe 2.3.2).
            data.fill(0xff);
            return Ok(());
        }
        let done = match region {
            Region::Vram => self.gpu.vram().read(offset, data),
            Region::Doorbells => self.doorbells.page().read(offset, data),
            Region::Registers => {
                let (registers, works) = self.parts();
                registers.read(offset, data, &works)
            }
            Region::Config => config_offset(offset).and_then(|at| self.config.read(at, data)),
        };
        done.ok_or(AccessError { region, offset, length })
    }

    /// Writes a region. What a register does with it, it has done when this returns.
    ///
    /// # Errors
    /// The access is not inside it.
    pub fn write(&mut self, region: Region, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        let outside = AccessError { region, offset, length: data.len() };
        if self.is_gone() {
            return Ok(());
        }
        match region {
            Region::Vram => self.gpu.vram().write(offset, data).ok_or(outside),
            Region::Doorbells => self.doorbells.page().write(offset, data).ok_or(outside),
            Region::Registers => {
                let (registers, mut works) = self.parts();
                let executed = registers.write(offset, data, &mut works).ok_or(outside)?;
                if let Some(executed) = executed {
                    let [first, second, third] = executed.arguments;
                    self.tell(format_args!(
                        "command {} ({first:#x}, {second:#x}, {third:#x}): {}",
                        executed.number, executed.status
                    ));
                }
                Ok(())
            }
            Region::Config => self.write_config(config_offset(offset).ok_or(outside)?, data).ok_or(outside),
        }
    }

    fn parts(&mut self) -> (&mut RegisterFile, Works<'_>) {
        let bus_master = if self.config.bus_master() { BusMaster::Enabled } else { BusMaster::Disabled };
        let works =
            Works { target: self.target, gpu: &mut self.gpu, doorbells: &self.doorbells, interrupts: &self.interrupts, bus_master };
        (&mut self.registers, works)
    }

    fn write_config(&mut self, at: ConfigOffset, data: &[u8]) -> Option<()> {
        let before = self.config.control();
        let published = self.config.write(at, data)?;
        let after = self.config.control();
        if before != after {
            let Control { command, device_control_2 } = after;
            self.tell(format_args!("config space: Command {command:#06x}, Device Control 2 {device_control_2:#06x}"));
        }
        if let Err(error) = published {
            // The device goes on by what the file last said; the client's own view of config space is right.
            self.tell(format_args!("cannot write {}: {error}", self.config_file.display()));
        }
        Some(())
    }

    /// Attaches memory of the client.
    ///
    /// # Errors
    /// The range is malformed, in the way of another, or its file cannot be mapped.
    pub fn map_dma(&mut self, map: DmaMap, file: Option<OwnedFd>) -> Result<Reachability, DmaError> {
        self.gpu.map(map, file)
    }

    /// Detaches the client's memory in a range; when this returns the device no longer touches it.
    ///
    /// # Errors
    /// The range would cut a map in two.
    pub fn unmap_dma(&mut self, iova: GpuVa, bytes: u64) -> Result<usize, DmaError> {
        self.gpu.unmap(iova, bytes)
    }

    /// Detaches all of the client's memory, and says how many maps there were.
    pub fn unmap_all_dma(&mut self) -> usize {
        self.gpu.unmap_all()
    }

    /// `VFIO_DEVICE_SET_IRQS`.
    ///
    /// # Errors
    /// The device has no such interrupt.
    pub fn set_interrupts(
        &mut self,
        kind: u32,
        flags: u32,
        start: u32,
        count: u32,
        receivers: Vec<OwnedFd>,
    ) -> Result<(), InterruptError> {
        self.interrupts.set(kind, flags, start, count, receivers)
    }

    /// A function reset: queues end, registers and config space are as after power-up. The client's maps stay, and so does what is in
    /// the device's memory.
    ///
    /// # Errors
    /// The device does not start again; then every command fails until the next reset.
    pub fn reset(&mut self) -> Result<(), EndpointError> {
        if self.is_gone() {
            return Ok(());
        }
        self.doorbells.reset();
        let published = self.config.reset();
        self.registers = RegisterFile::default();
        self.gpu.power_cycle(Arc::clone(&self.interrupts) as Arc<dyn InterruptSink>)?;
        self.interrupts.reset_count();
        published.map_err(|source| EndpointError::Config { path: self.config_file.clone(), source })
    }

    /// Makes the endpoint ready for another client: nothing of the last one is kept.
    ///
    /// # Errors
    /// As [`Self::reset`].
    pub fn forget_client(&mut self) -> Result<(), EndpointError> {
        self.interrupts.disconnect();
        self.gpu.unmap_all();
        self.reset()?;
        let clearing = |source| EndpointError::System { what: "empty memory for the next client", source };
        self.gpu.vram().clear().map_err(clearing)
    }
}

fn config_offset(offset: u64) -> Option<ConfigOffset> {
    u16::try_from(offset).ok().map(ConfigOffset)
}
