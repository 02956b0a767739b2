//! [`Readout`]: a calorimeter event, and [`RawReadout`]: one as it lies in a file.

use asynchrotron::Result;
use asynchrotron::anyhow::ensure;
use asynchrotron_algorithms::calorimeter::{Deposit, Deposits, Photon, Photons, Truth, Waveforms};

/// What the calorimeter read out in one event and, if it is generated, what really happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Readout {
    pub(crate) waveforms: Waveforms,
    pub(crate) truth: Option<Truth>,
}

/// An event as it lies in a file: columns that may not fit together.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawReadout {
    pub(crate) block: Vec<u16>,
    pub(crate) samples: Vec<u16>,
    pub(crate) truth: Option<RawTruth>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RawTruth {
    pub(crate) photon_x_cm: Vec<f32>,
    pub(crate) photon_y_cm: Vec<f32>,
    pub(crate) photon_energy_gev: Vec<f32>,
    pub(crate) photon_time_ns: Vec<f32>,
    pub(crate) deposit_block: Vec<u16>,
    pub(crate) deposit_photon: Vec<i32>,
    pub(crate) deposit_fraction: Vec<f32>,
    pub(crate) deposit_energy_gev: Vec<f32>,
}

impl RawReadout {
    /// Checks that everything fits together.
    pub(crate) fn decode(&self) -> Result<Readout> {
        let waveforms = Waveforms::new(self.block.clone(), self.samples.clone())?;
        let truth = self.truth.as_ref().map(RawTruth::decode).transpose()?;
        Ok(Readout { waveforms, truth })
    }
}

impl RawTruth {
    fn decode(&self) -> Result<Truth> {
        let photons = self.photon_x_cm.len();
        let others = [&self.photon_y_cm, &self.photon_energy_gev, &self.photon_time_ns];
        ensure!(others.iter().all(|column| column.len() == photons), "the photon_… lists differ in length");
        let deposits = self.deposit_block.len();
        let others = [self.deposit_photon.len(), self.deposit_fraction.len(), self.deposit_energy_gev.len()];
        ensure!(others.iter().all(|&length| length == deposits), "the deposit_… lists differ in length");
        let known = -1..i32::try_from(photons)?;
        if let Some(photon) = self.deposit_photon.iter().find(|photon| !known.contains(photon)) {
            return Err(asynchrotron::Error::msg(format!(
                "a deposit_photon is {photon}, and there are {photons} photons"
            )));
        }
        let photon = |i: usize| Photon {
            x_cm: self.photon_x_cm[i],
            y_cm: self.photon_y_cm[i],
            energy_gev: self.photon_energy_gev[i],
            time_ns: self.photon_time_ns[i],
        };
        let deposit = |i: usize| Deposit {
            block: self.deposit_block[i],
            photon: self.deposit_photon[i],
            fraction: self.deposit_fraction[i],
            energy_gev: self.deposit_energy_gev[i],
        };
        Ok(Truth {
            photons: (0..photons).map(photon).collect::<Photons>(),
            deposits: (0..deposits).map(deposit).collect::<Deposits>(),
        })
    }
}
