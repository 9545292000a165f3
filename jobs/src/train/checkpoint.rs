//! Where a training can go on from when it was cut off.

use super::TrainError;
use super::fit::State;
use super::network::Network;
use super::optimise::Parameter;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The file that holds the state of one network's training, or none.
pub(super) struct Checkpoint {
    path: Option<PathBuf>,
    /// Hash of the data and the options: a checkpoint of other ones is not gone on from.
    fingerprint: String,
}

const FINGERPRINT: &str = "fingerprint";
const EPOCHS: &str = "epochs";
const STEP: &str = "step";

impl Checkpoint {
    /// The checkpoint called `name` in a folder.
    pub fn new(folder: Option<&Path>, name: &str, fingerprint: &str) -> Self {
        Self {
            path: folder.map(|folder| folder.join(format!("{name}.safetensors"))),
            fingerprint: fingerprint.to_owned(),
        }
    }

    /// Writes the state, whole or not at all.
    pub fn save(&mut self, state: &State) -> Result<(), TrainError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut tensors: Vec<(String, Vec<u8>)> = Vec::new();
        for (kind, network) in [("network", &state.network), ("best", &state.best)] {
            for (name, parameter) in network.parameters() {
                for (part, values) in parts(parameter) {
                    let bytes = values
                        .iter()
                        .flat_map(|value| value.to_le_bytes())
                        .collect();
                    tensors.push((format!("{kind}.{name}.{part}"), bytes));
                }
            }
        }
        let damaged = |source| TrainError::Checkpoint {
            path: path.clone(),
            source,
        };
        let mut views = Vec::with_capacity(tensors.len());
        for (name, bytes) in &tensors {
            let view =
                TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(damaged)?;
            views.push((name.as_str(), view));
        }
        let metadata = HashMap::from([
            (FINGERPRINT.to_owned(), self.fingerprint.clone()),
            (EPOCHS.to_owned(), serde_json::to_string(&state.epochs)?),
            (STEP.to_owned(), state.step.to_string()),
        ]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(damaged)?;
        let write = || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let temporary = path.with_extension("part");
            std::fs::write(&temporary, bytes)?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|source| TrainError::Write {
            path: path.clone(),
            source,
        })
    }

    /// Reads the state; `like` gives the sizes. None when there is no checkpoint, or one of other data or options.
    pub fn load(&self, like: &Network) -> Result<Option<State>, TrainError> {
        let Some(path) = &self.path else {
            return Ok(None);
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(TrainError::Read {
                    path: path.clone(),
                    source,
                });
            }
        };
        let damaged = |source| TrainError::Checkpoint {
            path: path.clone(),
            source,
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let Some(metadata) = header.metadata() else {
            return Ok(None);
        };
        if metadata.get(FINGERPRINT) != Some(&self.fingerprint) {
            return Ok(None);
        }
        let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let read = |kind: &str| -> Result<Option<Network>, TrainError> {
            let mut network = like.clone();
            for (name, parameter) in network.parameters_mut() {
                for (part, values) in parts_mut(parameter) {
                    let view = file
                        .tensor(&format!("{kind}.{name}.{part}"))
                        .map_err(damaged)?;
                    let numbers = view.data().as_chunks().0;
                    if view.dtype() != Dtype::F32 || numbers.len() != values.len() {
                        return Ok(None);
                    }
                    values
                        .iter_mut()
                        .zip(numbers)
                        .for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
                }
            }
            Ok(Some(network))
        };
        let epochs = metadata.get(EPOCHS).map_or("", String::as_str);
        let step = metadata.get(STEP).and_then(|step| step.parse().ok());
        let (Some(network), Some(best), Some(step)) = (read("network")?, read("best")?, step)
        else {
            return Ok(None);
        };
        Ok(Some(State {
            network,
            best,
            epochs: serde_json::from_str(epochs)?,
            step,
        }))
    }
}

fn parts(parameter: &Parameter) -> [(&'static str, &Vec<f32>); 3] {
    [
        ("values", &parameter.values),
        ("first", &parameter.first),
        ("second", &parameter.second),
    ]
}

fn parts_mut(parameter: &mut Parameter) -> [(&'static str, &mut Vec<f32>); 3] {
    [
        ("values", &mut parameter.values),
        ("first", &mut parameter.first),
        ("second", &mut parameter.second),
    ]
}
