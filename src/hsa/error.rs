//! What can go wrong with a runtime, with what to check.

use super::status::Status;
use super::sys::hsa_status_t;

/// A failure of the runtime or of a request to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HsaError {
    /// A function returned something other than success.
    #[error("{call} failed with {status}: {}{}", status.meaning(), hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    Failed {
        /// The C function.
        call: &'static str,
        /// What it returned.
        status: Status,
        /// What to check.
        hint: Option<String>,
    },
    /// The runtime library lacks an optional function.
    #[error("this HSA runtime has no {function}; a newer ROCm provides it")]
    NotProvided {
        /// The C function.
        function: &'static str,
    },
    /// The runtime said success but handed out something unusable.
    #[error("{call} succeeded but {problem}; this runtime is defective")]
    Defective {
        /// The C function.
        call: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// No pool of this kind allows allocation.
    #[error("agent {agent} has no memory pool for {purpose} that allows allocation")]
    NoPool {
        /// The agent's name.
        agent: String,
        /// What the memory was for.
        purpose: &'static str,
    },
    /// No CPU agent: no memory that host and device share.
    #[error("this HSA runtime lists no CPU agent, so there is no memory for host and device to share")]
    NoCpuAgent,
    /// A pool of the wrong side.
    #[error("memory of agent {agent} is not host memory; use a pool of a CPU agent")]
    NotHostMemory {
        /// The pool's agent.
        agent: String,
    },
    /// A range outside a buffer.
    #[error("{bytes} bytes at offset {offset} do not fit a buffer of {buffer_bytes} bytes")]
    OutsideBuffer {
        /// Where the range starts.
        offset: usize,
        /// How long it is.
        bytes: usize,
        /// How long the buffer is.
        buffer_bytes: usize,
    },
    /// A kernel that the code object does not hold.
    #[error("the code object has no kernel {name:?} (neither {name:?}.kd nor {name:?} is a kernel symbol)")]
    NoKernel {
        /// The kernel's name.
        name: String,
    },
}

/// Success (or an iteration's early end), or the error of this call.
pub(super) fn check(call: &'static str, status: hsa_status_t) -> Result<(), HsaError> {
    match Status::from(status) {
        Status::Success | Status::InfoBreak => Ok(()),
        status => Err(HsaError::Failed { call, status, hint: status.what_to_check().map(str::to_owned) }),
    }
}

impl HsaError {
    /// The status behind it, where there is one.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        match self {
            Self::Failed { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The same error with a better hint.
    #[must_use]
    pub(super) fn hinting(self, better: Option<String>) -> Self {
        match (self, better) {
            (Self::Failed { call, status, .. }, hint @ Some(_)) => Self::Failed { call, status, hint },
            (error, _) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_call_status_meaning_and_what_to_check() {
        let text = check("hsa_executable_load_agent_code_object", 0x100f).unwrap_err().to_string();
        assert_eq!(
            text,
            "hsa_executable_load_agent_code_object failed with HSA_STATUS_ERROR_INVALID_ISA (0x100f): the instruction set is not \
             valid here; check that the code object was built for this agent's ISA"
        );
    }

    #[test]
    fn success_and_the_end_of_an_iteration_are_no_errors() {
        assert_eq!(check("hsa_init", 0), Ok(()));
        assert_eq!(check("hsa_iterate_agents", 1), Ok(()));
    }
}
