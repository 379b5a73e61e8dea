//! Loading code objects.

use std::ffi::CString;
use std::sync::Arc;

use super::agent::Agent;
use super::error::{HsaError, check};
use super::runtime::{self, Plain, Runtime, failed};
use super::status::Status;
use super::sys::*;

/// A code object loaded and frozen for one agent.
#[derive(Clone, Debug)]
pub struct Executable(Arc<Loaded>);

#[derive(Debug)]
struct Loaded {
    runtime: Runtime,
    agent: hsa_agent_t,
    executable: hsa_executable_t,
    reader: hsa_code_object_reader_t,
    /// The reader refers to these bytes until it is destroyed.
    _code: Box<[u8]>,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let functions = self.runtime.functions();
        // SAFETY: both were created by this runtime and are destroyed once, the executable before the reader it was loaded with.
        unsafe {
            (functions.hsa_executable_destroy)(self.executable);
            (functions.hsa_code_object_reader_destroy)(self.reader);
        }
    }
}

/// A kernel of an [`Executable`], with what its dispatch packet needs. Keeps the code loaded.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The kernel's name, without `.kd`.
    pub name: String,
    /// Address of the kernel descriptor, for the packet.
    pub object: u64,
    /// Size of the kernel argument segment.
    pub kernarg_bytes: u32,
    /// Alignment of the kernel argument segment.
    pub kernarg_align: u32,
    /// LDS bytes per workgroup.
    pub group_bytes: u32,
    /// Scratch bytes per work-item.
    pub private_bytes: u32,
    _executable: Executable,
}

impl Executable {
    /// Loads a code object (an AMDGPU ELF file) for `agent`.
    ///
    /// # Errors
    /// [`HsaError::Failed`], naming the step that the runtime refused.
    pub fn load(agent: &Agent, code: &[u8]) -> Result<Self, HsaError> {
        let runtime = agent.runtime().clone();
        let functions = *runtime.functions();
        let code: Box<[u8]> = code.into();
        let mut reader = hsa_code_object_reader_t { handle: 0 };
        // SAFETY: pointer and length are the box's, which outlives the reader.
        check("hsa_code_object_reader_create_from_memory", unsafe {
            (functions.hsa_code_object_reader_create_from_memory)(code.as_ptr().cast(), code.len(), &raw mut reader)
        })?;
        let mut executable = hsa_executable_t { handle: 0 };
        // SAFETY: no options; `executable` receives the handle.
        let created = check("hsa_executable_create_alt", unsafe {
            (functions.hsa_executable_create_alt)(
                HSA_PROFILE_FULL,
                HSA_DEFAULT_FLOAT_ROUNDING_MODE_DEFAULT,
                std::ptr::null(),
                &raw mut executable,
            )
        });
        if let Err(error) = created {
            // SAFETY: created above, destroyed once.
            unsafe { (functions.hsa_code_object_reader_destroy)(reader) };
            return Err(error);
        }
        let loaded = Loaded { agent: agent.handle(), runtime, executable, reader, _code: code };
        // SAFETY: all handles are live; no options, and the loaded code object's handle is not wanted.
        check("hsa_executable_load_agent_code_object", unsafe {
            (functions.hsa_executable_load_agent_code_object)(
                executable,
                loaded.agent,
                reader,
                std::ptr::null(),
                std::ptr::null_mut(),
            )
        })?;
        // SAFETY: the executable is live; no options.
        check("hsa_executable_freeze", unsafe { (functions.hsa_executable_freeze)(executable, std::ptr::null()) })?;
        Ok(Self(Arc::new(loaded)))
    }

    /// Finds a kernel by its name in the source.
    ///
    /// # Errors
    /// [`HsaError::NoKernel`], or a query failed.
    pub fn kernel(&self, name: &str) -> Result<Kernel, HsaError> {
        let missing = || HsaError::NoKernel { name: name.to_owned() };
        // Code object version 3 and later name the descriptor NAME.kd; older ones name it like the kernel.
        let symbol = match self.symbol(&format!("{name}.kd"))? {
            Some(symbol) => symbol,
            None => self.symbol(name)?.ok_or_else(missing)?,
        };
        let info = Query { runtime: &self.0.runtime, symbol };
        if info.get::<u32>(HSA_EXECUTABLE_SYMBOL_INFO_TYPE)? != HSA_SYMBOL_KIND_KERNEL {
            return Err(missing());
        }
        Ok(Kernel {
            name: name.to_owned(),
            object: info.get(HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT)?,
            kernarg_bytes: info.get(HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_KERNARG_SEGMENT_SIZE)?,
            kernarg_align: info.get(HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_KERNARG_SEGMENT_ALIGNMENT)?,
            group_bytes: info.get(HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_GROUP_SEGMENT_SIZE)?,
            private_bytes: info.get(HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_PRIVATE_SEGMENT_SIZE)?,
            _executable: self.clone(),
        })
    }

    fn symbol(&self, name: &str) -> Result<Option<hsa_executable_symbol_t>, HsaError> {
        const CALL: &str = "hsa_executable_get_symbol_by_name";
        let Ok(name) = CString::new(name) else { return Ok(None) };
        let mut symbol = hsa_executable_symbol_t { handle: 0 };
        // SAFETY: the name ends with NUL, agent and executable are live, `symbol` receives the handle.
        let status = unsafe {
            (self.0.runtime.functions().hsa_executable_get_symbol_by_name)(
                self.0.executable,
                name.as_ptr(),
                &raw const self.0.agent,
                &raw mut symbol,
            )
        };
        match Status::from(status) {
            Status::Success => Ok(Some(symbol)),
            Status::InvalidSymbolName => Ok(None),
            status => Err(failed(CALL, status)),
        }
    }
}

struct Query<'a> {
    runtime: &'a Runtime,
    symbol: hsa_executable_symbol_t,
}

impl Query<'_> {
    fn get<T: Plain>(&self, attribute: hsa_executable_symbol_info_t) -> Result<T, HsaError> {
        // SAFETY: the symbol's executable is live; each attribute is asked for with the type hsa.h gives it.
        let value =
            unsafe { runtime::query(|out| (self.runtime.functions().hsa_executable_symbol_get_info)(self.symbol, attribute, out)) };
        value.map_err(|status| failed("hsa_executable_symbol_get_info", status))
    }
}
