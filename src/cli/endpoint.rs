//! `aqlprobe endpoint`: the software GPU as a PCI Express endpoint for a guest.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use aqlprobe::faults::{FaultPlan, Place};
use aqlprobe::model::target::Target;
use aqlprobe::model::vfio_user::{
    Clients, Endpoint, EndpointCompleter, EndpointOptions, Log, ModelledPath, RequesterEnable, ServerError, SocketError, Switch,
    serve,
};
use aqlprobe::pci::tree::Completers;
use aqlprobe::report::ExitCode;
use clap::ValueEnum;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::failure::Failure;

const AFTER_HELP: &str = r#"Attach it to a guest of QEMU 10.1 or later, whose memory must be shared:
  qemu-system-x86_64 -machine q35,memory-backend=m0 -accel tcg,thread=multi -smp 2 -m 512
    -object memory-backend-memfd,id=m0,size=512M,share=on
    -device pcie-root-port,id=rp0,chassis=1,slot=1
    -device '{"driver":"vfio-user-pci","bus":"rp0","socket":{"type":"unix","path":"PATH"}}' ...

With -accel tcg at least two CPUs are needed: with one, QEMU makes the guest's atomic instructions
of plain ones, and increments are lost that the GPU did not lose.

The path above the endpoint is what these options say. What the guest is shown is QEMU's own
root port and switch: see to it that both agree.

Exit codes:
  0  ended by SIGTERM, SIGINT or SIGHUP, or with --once because the client left
  1  the endpoint cannot be set up, or failed
  2  the command line is wrong, or nothing can listen on PATH"#;

/// Be a PCI Express endpoint (1002:7300) that QEMU attaches to a guest over vfio-user
///
/// The endpoint is the software GPU with the config space of the founding Fiji: no hardware is tested. One guest is served at
/// a time; what happens is logged on stderr.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Listen on this Unix socket; the file of a server that is gone is replaced
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// What a write to AtomicOp Requester Enable does
    #[arg(long, value_enum, default_value_t)]
    requester_enable: Requester,

    /// Which AtomicOps the modelled root port completes
    #[arg(long, value_enum, default_value_t)]
    root_port_completers: RootPort,

    /// What stands between root port and endpoint
    #[arg(long, value_enum, default_value_t)]
    switch: SwitchKind,

    /// Whether the endpoint advertises completer bits of its own, without which vfio-pci does not even try to enable its AtomicOps
    #[arg(long, value_enum, default_value_t)]
    endpoint_completer: OnOff,

    /// Let the device go wrong as this fault plan or file says (`aqlprobe verify --inject help` lists the faults)
    #[arg(long, value_name = "SPEC|FILE")]
    inject: Option<String>,

    /// End when the first client leaves
    #[arg(long)]
    once: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Requester {
    /// It sticks, as in a real device
    #[default]
    Writable,
    /// The bit stays clear
    StuckClear,
    /// The bit stays set
    StuckSet,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum RootPort {
    /// None
    None,
    /// 32-bit ones
    #[value(name = "32")]
    Only32,
    /// 64-bit ones
    #[value(name = "64")]
    Only64,
    /// Both
    #[default]
    #[value(name = "32+64")]
    Both,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum SwitchKind {
    /// Nothing
    #[default]
    None,
    /// A switch that routes AtomicOps
    Routing,
    /// A switch that does not
    NoRouting,
    /// A switch that routes them and blocks them at its upstream port's egress
    EgressBlocked,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum OnOff {
    /// 32-bit and 64-bit ones
    #[default]
    On,
    /// None, as a real Fiji
    Off,
}

impl Arguments {
    fn path(&self) -> ModelledPath {
        ModelledPath {
            root_port: match self.root_port_completers {
                RootPort::None => Completers::Neither,
                RootPort::Only32 => Completers::Only32,
                RootPort::Only64 => Completers::Only64,
                RootPort::Both => Completers::Both,
            },
            switch: match self.switch {
                SwitchKind::None => None,
                SwitchKind::Routing => Some(Switch::Routing),
                SwitchKind::NoRouting => Some(Switch::NoRouting),
                SwitchKind::EgressBlocked => Some(Switch::EgressBlocked),
            },
        }
    }

    fn faults(&self) -> Result<Option<FaultPlan>, Failure> {
        let plan = self.inject.as_deref().map(FaultPlan::from_argument).transpose();
        let plan = plan.map_err(|error| Failure::new(error, ExitCode::Usage))?;
        let worker = plan.iter().flat_map(FaultPlan::faults).find(|planned| planned.fault.place() == Place::Worker);
        if let Some(planned) = worker {
            let what = anyhow::anyhow!("the fault `{planned}` strikes the worker of `verify`, and an endpoint has none");
            return Err(Failure::new(what, ExitCode::Usage));
        }
        if let Some(Err(error)) = plan.as_ref().map(FaultPlan::of_endpoint) {
            return Err(Failure::new(error, ExitCode::Usage));
        }
        Ok(plan)
    }

    fn options(&self) -> Result<EndpointOptions, Failure> {
        let faults = self.faults()?;
        Ok(EndpointOptions {
            target: Target::Gfx803,
            requester: match self.requester_enable {
                Requester::Writable => RequesterEnable::Writable,
                Requester::StuckClear => RequesterEnable::StuckClear,
                Requester::StuckSet => RequesterEnable::StuckSet,
            },
            completer: match self.endpoint_completer {
                OnOff::On => EndpointCompleter::Advertised,
                OnOff::Off => EndpointCompleter::Absent,
            },
            path: self.path().with_blocked(faults.as_ref().and_then(FaultPlan::blocked_hop)),
            faults,
        })
    }
}

/// Serves until it is told to end.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::new(error, ExitCode::CheckFailed);
    let (stop, bell) = UnixStream::pair().map_err(failed)?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, bell.try_clone().map_err(failed)?).map_err(failed)?;
    }
    let options = arguments.options()?;
    let told = log();
    if let Some(plan) = &options.faults {
        told(format_args!("injected faults: {plan}"));
    }
    let mut endpoint = Endpoint::new(&options, told).map_err(|error| Failure::new(error, ExitCode::CheckFailed))?;
    let clients = if arguments.once { Clients::One } else { Clients::Any };
    match serve(&mut endpoint, &arguments.socket, clients, stop.as_fd()) {
        Ok(()) => Ok(ExitCode::Pass.status()),
        Err(ServerError::Socket(error)) => Err(socket_failure(error)),
        Err(error) => Err(Failure::new(error, ExitCode::CheckFailed)),
    }
}

fn socket_failure(error: SocketError) -> Failure {
    Failure::new(error, ExitCode::Usage)
}

/// Lines on stderr with the seconds since the start.
fn log() -> Log {
    let started = Instant::now();
    Arc::new(move |line| {
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(io::stderr().lock(), "[{:10.6}] {line}", started.elapsed().as_secs_f64());
    })
}
