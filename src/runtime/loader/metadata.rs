//! The metadata note: a MessagePack map that says what each kernel needs.

use rmpv::Value;

/// Deepest nesting that is followed.
const DEPTH: usize = 32;

/// What the compiler says about one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMetadata {
    /// Name of the descriptor's symbol (`NAME.kd`).
    pub symbol: String,
    /// Bytes of the kernel argument segment.
    pub kernarg_bytes: u32,
    /// Alignment of the kernel argument segment, a power of two.
    pub kernarg_alignment: u32,
    /// Fixed LDS bytes of a workgroup.
    pub group_bytes: u32,
    /// Private bytes of a work-item.
    pub private_bytes: u32,
    /// Whether the kernel may need more private memory than that.
    pub uses_dynamic_stack: bool,
}

/// Why the metadata cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// No note.
    #[error("there is no NT_AMDGPU_METADATA note")]
    Missing,
    /// Not MessagePack.
    #[error("the note is not MessagePack: {0}")]
    Encoding(String),
    /// A field is absent or of the wrong kind.
    #[error("{0} is missing or has the wrong type")]
    Field(&'static str),
}

/// Reads the kernels out of a note.
pub(super) fn read(note: &[u8]) -> Result<Vec<KernelMetadata>, MetadataError> {
    let mut rest = note;
    let root =
        rmpv::decode::read_value_with_max_depth(&mut rest, DEPTH).map_err(|error| MetadataError::Encoding(error.to_string()))?;
    let version =
        get(&root, "amdhsa.version").and_then(Value::as_array).and_then(|version| version.first()).and_then(Value::as_u64);
    if version != Some(1) {
        return Err(MetadataError::Field("amdhsa.version"));
    }
    let Some(kernels) = get(&root, "amdhsa.kernels") else { return Ok(Vec::new()) };
    kernels.as_array().ok_or(MetadataError::Field("amdhsa.kernels"))?.iter().map(kernel).collect()
}

fn kernel(map: &Value) -> Result<KernelMetadata, MetadataError> {
    let number = |key: &'static str| {
        get(map, key).and_then(Value::as_u64).and_then(|value| u32::try_from(value).ok()).ok_or(MetadataError::Field(key))
    };
    let symbol = get(map, ".symbol").and_then(Value::as_str).ok_or(MetadataError::Field(".symbol"))?;
    let kernarg_alignment = number(".kernarg_segment_align")?;
    if !kernarg_alignment.is_power_of_two() {
        return Err(MetadataError::Field(".kernarg_segment_align"));
    }
    Ok(KernelMetadata {
        symbol: symbol.to_owned(),
        kernarg_bytes: number(".kernarg_segment_size")?,
        kernarg_alignment,
        group_bytes: number(".group_segment_fixed_size")?,
        private_bytes: number(".private_segment_fixed_size")?,
        // Absent before code object version 5.
        uses_dynamic_stack: get(map, ".uses_dynamic_stack").and_then(Value::as_bool).unwrap_or(false),
    })
}

fn get<'value>(map: &'value Value, key: &str) -> Option<&'value Value> {
    map.as_map()?.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
}
