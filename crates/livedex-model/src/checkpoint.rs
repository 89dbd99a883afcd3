//! Safetensors files, one or several shards, read tensor by tensor.
//!
//! Only the headers are kept: a tensor is read from its file when it is asked for and converted
//! to f32 there and then, so that loading needs little more memory than the model. (Memory
//! mapping would need `unsafe`.)

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, tensor::Metadata};

use crate::error::LoadError;

/// Bytes of a safetensors header; the format's own limit is 100 MB.
const MAX_HEADER_BYTES: u64 = 100_000_000;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The headers of a model's weight files.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    tensors: BTreeMap<String, Entry>,
    files: Vec<PathBuf>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where its bytes start in the file.
    start: u64,
    bytes: usize,
}

impl Checkpoint {
    /// The weights of a model folder: `model.safetensors`, or the shards its index names.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, LoadError> {
        let single = folder.join(WEIGHTS);
        if single.is_file() {
            return Self::open(vec![single]);
        }
        let index = folder.join(INDEX);
        if !index.is_file() {
            return Err(LoadError::MissingFile {
                path: single,
                hint: "the folder must hold safetensors weights (PyTorch .bin files are not read)",
            });
        }
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let text = std::fs::read(&index).map_err(|e| LoadError::read(&index, e))?;
        let parsed: Index =
            serde_json::from_slice(&text).map_err(|e| LoadError::invalid(&index, e))?;
        let names: BTreeSet<&String> = parsed.weight_map.values().collect();
        let mut files = Vec::new();
        for name in names {
            let path = folder.join(name);
            // The index comes from outside: it must not lead out of the folder.
            if Path::new(name).components().count() != 1 || name == ".." {
                return Err(LoadError::invalid(&index, format!("{name:?} is no file name")));
            }
            if !path.is_file() {
                return Err(LoadError::MissingFile {
                    path,
                    hint: "model.safetensors.index.json names it as a shard; download it again",
                });
            }
            files.push(path);
        }
        Self::open(files)
    }

    /// These files as one checkpoint.
    pub(crate) fn open(files: Vec<PathBuf>) -> Result<Self, LoadError> {
        let mut tensors = BTreeMap::new();
        for (i, path) in files.iter().enumerate() {
            let (header, data) = read_header(path)?;
            for (name, info) in header.tensors() {
                let (start, end) = info.data_offsets;
                let entry = Entry {
                    file: i,
                    dtype: info.dtype,
                    shape: info.shape.clone(),
                    start: data + start as u64,
                    // `read_header` has seen that no tensor ends behind the file.
                    bytes: end.saturating_sub(start),
                };
                if tensors.insert(name.clone(), entry).is_some() {
                    return Err(LoadError::invalid(
                        path,
                        format!("{name} is in another shard too"),
                    ));
                }
            }
        }
        Ok(Self { tensors, files })
    }

    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|e| e.shape.as_slice())
    }

    /// Reads a tensor as f32. `None` if there is none of that name.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Tensor>, LoadError> {
        let failed = |e| LoadError::invalid(&self.files[0], format!("{name}: {e}"));
        self.stored(name)?.map(|tensor| tensor.to_dtype(DType::F32)).transpose().map_err(failed)
    }

    /// Reads a tensor that is stored as bf16, as it is. `None` if there is none of that name.
    pub(crate) fn bf16(&self, name: &str) -> Result<Option<Tensor>, LoadError> {
        match self.tensors.get(name) {
            Some(entry) if entry.dtype == Dtype::BF16 => self.stored(name),
            _ => Ok(None),
        }
    }

    fn stored(&self, name: &str) -> Result<Option<Tensor>, LoadError> {
        let Some(entry) = self.tensors.get(name) else {
            return Ok(None);
        };
        let path = &self.files[entry.file];
        let dtype = match entry.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                return Err(LoadError::Unsupported {
                    path: path.clone(),
                    what: format!("{name} of type {other}"),
                    supported: "F32, F16, BF16",
                });
            }
        };
        let mut bytes = vec![0; entry.bytes];
        let mut file = File::open(path).map_err(|e| LoadError::read(path, e))?;
        file.seek(SeekFrom::Start(entry.start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| LoadError::read(path, e))?;
        Tensor::from_raw_buffer(&bytes, dtype, &entry.shape, &Device::Cpu)
            .map(Some)
            .map_err(|e| LoadError::invalid(path, format!("{name}: {e}")))
    }
}

/// The header, and where the data start. Checks that the file is as long as the header says: a
/// download that broke off is found here and not by reading nonsense.
fn read_header(path: &Path) -> Result<(Metadata, u64), LoadError> {
    let mut file = File::open(path).map_err(|e| LoadError::read(path, e))?;
    let length = file.metadata().map_err(|e| LoadError::read(path, e))?.len();
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(|e| LoadError::read(path, e))?;
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER_BYTES || header + 8 > length {
        return Err(LoadError::invalid(
            path,
            format!("its header would take {header} bytes of {length}; it is no safetensors file"),
        ));
    }
    let mut buffer = vec![0; header as usize];
    file.read_exact(&mut buffer).map_err(|e| LoadError::read(path, e))?;
    let metadata: Metadata =
        serde_json::from_slice(&buffer).map_err(|e| LoadError::invalid(path, e))?;
    let data_end = metadata.tensors().values().map(|info| info.data_offsets.1).max().unwrap_or(0);
    let expected = 8 + header + data_end as u64;
    if expected != length {
        return Err(LoadError::invalid(
            path,
            format!("it has {length} bytes, its header says {expected}; download it again"),
        ));
    }
    Ok((metadata, 8 + header))
}
