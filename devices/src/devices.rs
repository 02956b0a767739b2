//! [`Devices`]: what is here, what is not, and why.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use asynchrotron::time::Clock;

use crate::host::lanes_or_cores;
use crate::{Balanced, Device, DeviceKind, EmulatedConfig, EmulatedDevice, HostConfig, HostDevice};

/// How devices are opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeviceConfig {
    /// The host.
    pub host: HostConfig,
    /// The emulated device, as far as its name does not say otherwise.
    pub emulated: EmulatedConfig,
    /// Each GPU.
    #[cfg(feature = "cuda")]
    pub cuda: crate::cuda::CudaConfig,
    /// ONNX Runtime.
    #[cfg(feature = "onnx")]
    pub onnx: crate::onnx::OnnxConfig,
    /// Whether the host takes batches that would wait longer for a GPU than it takes to compute them here.
    pub spill: bool,
    /// The time in which devices work: the job's. It is that of the emulated device as well.
    pub clock: Clock,
}

/// The devices of one kind (there may be several GPUs), or why there are none.
type Opened = Result<Vec<Arc<dyn Device>>, String>;

/// Opens one kind of device.
type Open = fn(&DeviceConfig) -> Opened;

/// Every kind, in the order in which `auto` prefers them; the host comes last and is always there.
const KINDS: &[(DeviceKind, Open)] = &[
    #[cfg(feature = "cuda")]
    (DeviceKind::Cuda, |config| {
        let gpus = crate::cuda::CudaDevice::discover(config.cuda)?;
        Ok(gpus.into_iter().map(|gpu| Arc::new(gpu.in_time(config.clock.clone())) as _).collect())
    }),
    #[cfg(not(feature = "cuda"))]
    (DeviceKind::Cuda, |_| Err("this build has no CUDA support (feature `cuda`)".into())),
    #[cfg(feature = "onnx")]
    (DeviceKind::Onnx, |config| {
        let device = crate::onnx::OnnxDevice::open(config.onnx).map_err(|missing| missing.to_string())?;
        Ok(vec![Arc::new(device.in_time(config.clock.clone()))])
    }),
    #[cfg(not(feature = "onnx"))]
    (DeviceKind::Onnx, |_| Err("this build has no ONNX Runtime support (feature `onnx`)".into())),
    (DeviceKind::Emulated, |config| Ok(vec![Arc::new(EmulatedDevice::new(config.emulated.clone()))])),
    (DeviceKind::Host, |config| {
        Ok(vec![Arc::new(HostDevice::new(config.host).in_time(config.clock.clone()))])
    }),
];

/// The devices of this machine and this build.
///
/// Each kind is opened, once, when it is first asked for: a job on the host loads no library that it does not use.
///
/// # Examples
///
/// ```
/// use asynchrotron_devices::{DeviceConfig, Devices};
///
/// let devices = Devices::discover(&DeviceConfig::default());
/// assert_eq!(devices.select("host")?.name(), "host");
/// println!("{devices}");
///
/// let error = devices.select("hosst").unwrap_err();
/// assert!(error.to_string().starts_with("there is no device `hosst`; did you mean `host`?"));
/// # Ok::<(), asynchrotron_devices::SelectError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Devices {
    config: DeviceConfig,
    /// In the order of [`KINDS`].
    opened: Arc<[OnceLock<Opened>]>,
    /// What was made for names that say more than the kind.
    made: Arc<Mutex<Vec<Arc<dyn Device>>>>,
}

/// A kind of device that is not here, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The kind.
    pub kind: DeviceKind,
    /// Why it is not here, in one line.
    pub why: String,
}

impl Devices {
    /// Makes ready to open every device that is here. Never fails: the host is always here, and for what is not, it says why.
    pub fn discover(config: &DeviceConfig) -> Self {
        let mut config = config.clone();
        config.emulated.clock = config.clock.clone();
        Self { config, opened: KINDS.iter().map(|_| OnceLock::new()).collect(), made: Arc::default() }
    }

    /// Each kind that passes, opened.
    fn kinds(&self, pass: impl Fn(DeviceKind) -> bool) -> impl Iterator<Item = (DeviceKind, &Opened)> {
        let kinds = KINDS.iter().zip(&self.opened[..]).filter(move |((kind, _), _)| pass(*kind));
        kinds.map(|((kind, open), opened)| (*kind, opened.get_or_init(|| open(&self.config))))
    }

    /// The devices that are here, in the order in which `auto` prefers them. Opens them all.
    pub fn present(&self) -> Vec<Arc<dyn Device>> {
        self.kinds(|_| true).flat_map(|(_, opened)| opened.iter().flatten().cloned()).collect()
    }

    /// The kinds of device that are not here. Tries to open them all.
    pub fn absent(&self) -> Vec<Absent> {
        let absent = |(kind, opened): (DeviceKind, &Opened)| {
            opened.as_ref().err().map(|why| Absent { kind, why: why.clone() })
        };
        self.kinds(|_| true).filter_map(absent).collect()
    }

    /// The device of this name, the same one each time; opens those of its kind only. `auto`: all GPUs, or the host if there are none; never an emulated
    /// device.
    ///
    /// `cuda` is the first GPU, `cuda:1` the second, `cuda:all` all of them, [balanced](Balanced). Should they all fail, the host
    /// takes over; with [`spill`](DeviceConfig::spill), it also takes batches for which they have no lane soon enough.
    ///
    /// `emulated:KEY=VALUE,…` makes an emulated device with these [settings](EmulatedConfig::with_options).
    ///
    /// # Errors
    ///
    /// [`SelectError`] says in one line what is missing and why, or which names there are.
    pub fn select(&self, name: &str) -> Result<Arc<dyn Device>, SelectError> {
        if let Some(options) = name.strip_prefix("emulated:") {
            let config = self.config.emulated.clone().with_options(options);
            let config = config.map_err(|why| SelectError::Options { name: name.into(), why })?;
            return Ok(self.once(name, || Arc::new(EmulatedDevice::named(name, config))));
        }
        // `cuda:1` is a device of the kind `cuda`.
        let kind_name = name.split(':').next().unwrap_or(name);
        let asked = |kind: DeviceKind| match name {
            "auto" => matches!(kind, DeviceKind::Cuda | DeviceKind::Host),
            _ => kind.name() == kind_name,
        };
        for (kind, opened) in self.kinds(asked) {
            match opened {
                Ok(devices) if kind == DeviceKind::Cuda => {
                    let chosen: Vec<_> = match name {
                        "auto" | "cuda:all" => devices.clone(),
                        "cuda" => devices.iter().take(1).cloned().collect(),
                        _ => devices.iter().filter(|device| device.name() == name).cloned().collect(),
                    };
                    if !chosen.is_empty() {
                        return Ok(self.balanced(name, chosen));
                    }
                }
                Ok(devices) => {
                    if let Some(device) =
                        devices.iter().find(|device| name == "auto" || device.name() == name)
                    {
                        return Ok(device.clone());
                    }
                }
                Err(why) if name != "auto" => {
                    return Err(SelectError::Absent { name: name.into(), why: why.clone() });
                }
                Err(_) => {}
            }
        }
        Err(SelectError::Unknown { name: name.into(), known: self.names_nearest_first(name) })
    }

    /// These devices as one, with the host in reserve: the same one each time.
    fn balanced(&self, name: &str, members: Vec<Arc<dyn Device>>) -> Arc<dyn Device> {
        let name = if name == "auto" { "cuda:all" } else { name };
        self.once(name, || {
            let lanes: usize = members.iter().map(|member| member.capability().lanes).sum();
            let additional = if self.config.spill { lanes_or_cores(self.config.host.lanes) } else { 0 };
            let reserve = HostDevice::new(HostConfig { lanes: lanes + additional, ..self.config.host });
            let reserve = Arc::new(reserve.in_time(self.config.clock.clone()));
            let balanced = Balanced::new(name, members, reserve);
            Arc::new(if self.config.spill { balanced.with_spill(additional) } else { balanced })
        })
    }

    /// The device that was made for this name; made at the first call.
    fn once(&self, name: &str, make: impl FnOnce() -> Arc<dyn Device>) -> Arc<dyn Device> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = made.iter().find(|device| device.name() == name) {
            return device.clone();
        }
        let device = make();
        made.push(device.clone());
        device
    }

    fn names_nearest_first(&self, name: &str) -> Vec<String> {
        let names = |(kind, opened): (DeviceKind, &Opened)| match opened {
            Ok(devices) => devices.iter().map(|device| device.name().to_owned()).collect(),
            Err(_) => vec![kind.name().to_owned()],
        };
        let mut known: Vec<String> =
            std::iter::once("auto".to_owned()).chain(self.kinds(|_| true).flat_map(names)).collect();
        known.sort_by_key(|known| strsim::damerau_levenshtein(known, name));
        known
    }
}

/// One line per device: name and description, or why it is not here.
impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for device in self.present() {
            writeln!(f, "{:10}{}", device.name(), device.capability().description)?;
        }
        for Absent { kind, why } in self.absent() {
            writeln!(f, "{kind:10}not here: {why}")?;
        }
        Ok(())
    }
}

/// Why there is no such device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The device is known, but not here.
    #[error("device `{name}` is not here: {why}")]
    Absent {
        /// The name asked for.
        name: String,
        /// Why it is not here.
        why: String,
    },
    /// The device is here, but not with these options.
    #[error("device `{name}`: {why}")]
    Options {
        /// The name asked for.
        name: String,
        /// What is wrong, and what is possible.
        why: String,
    },
    /// No device has this name.
    #[error("there is no device `{name}`; did you mean `{}`? Known: {}", .known[0], .known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that there are, the nearest first.
        known: Vec<String>,
    },
}
