//! Every status code of hsa.h and of AMD's extensions, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sys::hsa_status_t;

macro_rules! statuses {
    ($($variant:ident = $code:literal, $name:literal, $meaning:literal;)*) => {
        /// `hsa_status_t`. Serialises as its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "u32", into = "u32")]
        pub enum Status {
            $(#[doc = concat!("`", $name, "`: ", $meaning, ".")] $variant,)*
            /// A code that neither hsa.h nor hsa_ext_amd.h defines.
            Unknown(u32),
        }

        impl From<hsa_status_t> for Status {
            fn from(code: hsa_status_t) -> Self {
                match code { $($code => Self::$variant,)* other => Self::Unknown(other) }
            }
        }

        impl Status {
            /// The number behind the name.
            #[must_use]
            pub const fn code(self) -> u32 {
                match self { $(Self::$variant => $code,)* Self::Unknown(code) => code }
            }

            /// The name in the headers, or `unknown HSA status`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* Self::Unknown(_) => "unknown HSA status" }
            }

            /// What it says, in a few words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* Self::Unknown(_) => "neither HSA 1.2 nor AMD's extensions define this code" }
            }

            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$variant),*];
        }
    };
}

statuses! {
    Success = 0x0, "HSA_STATUS_SUCCESS", "done";
    InfoBreak = 0x1, "HSA_STATUS_INFO_BREAK", "an iteration was stopped by its callback";
    InvalidMemoryPool = 40, "HSA_STATUS_ERROR_INVALID_MEMORY_POOL", "no such memory pool";
    MemoryApertureViolation = 41, "HSA_STATUS_ERROR_MEMORY_APERTURE_VIOLATION", "the device used an address outside every aperture";
    IllegalInstruction = 42, "HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION", "the device met an instruction it cannot execute";
    MemoryFault = 43, "HSA_STATUS_ERROR_MEMORY_FAULT", "the device touched memory that is not mapped for it";
    CuMaskReduced = 44, "HSA_STATUS_CU_MASK_REDUCED", "some compute units of the mask stay disabled for this process";
    OutOfRegisters = 45, "HSA_STATUS_ERROR_OUT_OF_REGISTERS", "the kernel needs more registers than the device has for its workgroup";
    ResourceBusy = 46, "HSA_STATUS_ERROR_RESOURCE_BUSY", "the resource is in use";
    NotSupported = 47, "HSA_STATUS_ERROR_NOT_SUPPORTED", "this runtime, driver or device does not support the request";
    Error = 0x1000, "HSA_STATUS_ERROR", "the runtime failed without naming a reason";
    InvalidArgument = 0x1001, "HSA_STATUS_ERROR_INVALID_ARGUMENT", "an argument is outside what the function allows";
    InvalidQueueCreation = 0x1002, "HSA_STATUS_ERROR_INVALID_QUEUE_CREATION", "the agent does not support a queue of this type";
    InvalidAllocation = 0x1003, "HSA_STATUS_ERROR_INVALID_ALLOCATION", "the allocation size is not allowed here";
    InvalidAgent = 0x1004, "HSA_STATUS_ERROR_INVALID_AGENT", "no such agent";
    InvalidRegion = 0x1005, "HSA_STATUS_ERROR_INVALID_REGION", "no such memory region";
    InvalidSignal = 0x1006, "HSA_STATUS_ERROR_INVALID_SIGNAL", "no such signal";
    InvalidQueue = 0x1007, "HSA_STATUS_ERROR_INVALID_QUEUE", "no such queue";
    OutOfResources = 0x1008, "HSA_STATUS_ERROR_OUT_OF_RESOURCES", "the runtime could not get memory, a queue or the kernel driver";
    InvalidPacketFormat = 0x1009, "HSA_STATUS_ERROR_INVALID_PACKET_FORMAT", "an AQL packet is malformed";
    ResourceFree = 0x100A, "HSA_STATUS_ERROR_RESOURCE_FREE", "a resource could not be freed";
    NotInitialized = 0x100B, "HSA_STATUS_ERROR_NOT_INITIALIZED", "the runtime is not initialised";
    RefcountOverflow = 0x100C, "HSA_STATUS_ERROR_REFCOUNT_OVERFLOW", "the runtime was initialised too many times";
    IncompatibleArguments = 0x100D, "HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS", "the arguments do not fit each other";
    InvalidIndex = 0x100E, "HSA_STATUS_ERROR_INVALID_INDEX", "the index is out of range";
    InvalidIsa = 0x100F, "HSA_STATUS_ERROR_INVALID_ISA", "the instruction set is not valid here";
    InvalidCodeObject = 0x1010, "HSA_STATUS_ERROR_INVALID_CODE_OBJECT", "the code object is malformed or of an unsupported version";
    InvalidExecutable = 0x1011, "HSA_STATUS_ERROR_INVALID_EXECUTABLE", "no such executable";
    FrozenExecutable = 0x1012, "HSA_STATUS_ERROR_FROZEN_EXECUTABLE", "the executable is frozen";
    InvalidSymbolName = 0x1013, "HSA_STATUS_ERROR_INVALID_SYMBOL_NAME", "no symbol of this name";
    VariableAlreadyDefined = 0x1014, "HSA_STATUS_ERROR_VARIABLE_ALREADY_DEFINED", "the variable is defined twice";
    VariableUndefined = 0x1015, "HSA_STATUS_ERROR_VARIABLE_UNDEFINED", "a variable has no definition";
    Exception = 0x1016, "HSA_STATUS_ERROR_EXCEPTION", "the device raised a hardware exception";
    InvalidIsaName = 0x1017, "HSA_STATUS_ERROR_INVALID_ISA_NAME", "no instruction set of this name";
    InvalidCodeSymbol = 0x1018, "HSA_STATUS_ERROR_INVALID_CODE_SYMBOL", "no such code object symbol";
    InvalidExecutableSymbol = 0x1019, "HSA_STATUS_ERROR_INVALID_EXECUTABLE_SYMBOL", "no such executable symbol";
    InvalidFile = 0x1020, "HSA_STATUS_ERROR_INVALID_FILE", "the file cannot be used";
    InvalidCodeObjectReader = 0x1021, "HSA_STATUS_ERROR_INVALID_CODE_OBJECT_READER", "no such code object reader";
    InvalidCache = 0x1022, "HSA_STATUS_ERROR_INVALID_CACHE", "no such cache";
    InvalidWavefront = 0x1023, "HSA_STATUS_ERROR_INVALID_WAVEFRONT", "no such wavefront";
    InvalidSignalGroup = 0x1024, "HSA_STATUS_ERROR_INVALID_SIGNAL_GROUP", "no such signal group";
    InvalidRuntimeState = 0x1025, "HSA_STATUS_ERROR_INVALID_RUNTIME_STATE", "the runtime is not in a state that allows this";
    Fatal = 0x1026, "HSA_STATUS_ERROR_FATAL", "the queue met an error that this process cannot recover from";
}

impl From<Status> for u32 {
    fn from(status: Status) -> Self {
        status.code()
    }
}

impl Status {
    /// What to look at first, where the code alone says so.
    #[must_use]
    pub const fn what_to_check(self) -> Option<&'static str> {
        Some(match self {
            Self::OutOfResources => "check free memory, `ulimit -l`, and that no other process holds all queues of the GPU",
            Self::InvalidIsa | Self::IncompatibleArguments => "check that the code object was built for this agent's ISA",
            Self::InvalidCodeObject => "check the code object's version: COV5 needs ROCm 5.7, COV6 needs ROCm 6.3",
            Self::MemoryFault | Self::MemoryApertureViolation => "check `dmesg` for the faulting address (amdgpu: VM fault)",
            Self::IllegalInstruction => "check that the code object was built for this agent's ISA; `dmesg` names the wave",
            Self::InvalidRuntimeState | Self::Fatal => "check `dmesg` for a GPU reset (amdgpu: GPU reset begin)",
            Self::NotInitialized => "the runtime was shut down while it was still used",
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (0x{:x})", self.name(), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsa::sys;

    #[test]
    fn names_and_numbers_are_those_of_hsa_h() {
        let bindings = include_str!("sys/bindings.rs");
        let listed: Vec<(&str, u32)> = bindings
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.strip_suffix(';')?.split_once(": hsa_status_t = "))
            .map(|(name, code)| (name, code.parse().unwrap()))
            .collect();
        assert!(listed.len() > 30);
        for (name, code) in listed {
            assert_eq!((Status::from(code).name(), Status::from(code).code()), (name, code));
        }
    }

    #[test]
    fn every_status_survives_its_number_and_has_its_own_name() {
        for &status in Status::ALL {
            assert_eq!(Status::from(status.code()), status);
            assert_eq!(Status::ALL.iter().filter(|other| other.name() == status.name()).count(), 1);
        }
        assert_eq!(Status::from(0xdead), Status::Unknown(0xdead));
        assert_eq!(Status::Unknown(0xdead).to_string(), "unknown HSA status (0xdead)");
    }

    #[test]
    fn the_status_that_hsa_init_returns_without_a_driver_is_4104() {
        assert_eq!(Status::from(4104), Status::OutOfResources);
        assert_eq!(sys::HSA_STATUS_ERROR_OUT_OF_RESOURCES, Status::OutOfResources.code());
    }
}
