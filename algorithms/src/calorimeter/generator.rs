use super::{
    BLOCKS, Calibration, Deposit, Geometry, LateralShape, Photon, SAMPLE_NS, SAMPLES, Truth, Waveforms,
    WaveformsError,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};
use std::ops::RangeInclusive;

/// Mass of the neutral pion, in GeV.
const PION_MASS_GEV: f64 = 0.1349768;
/// The stream of random numbers of the run's constants; events have the streams 0, 1, …
const RUN_STREAM: u64 = u64::MAX;
/// Where the pulse (t/τ)² exp(-t/τ) reaches half of its maximum on the rising edge, in τ.
const HALF_AMPLITUDE: f64 = 0.761_2;
/// Deposits in one block below this, in GeV, are left out.
const DEPOSIT_GEV_MIN: f64 = 0.001;

/// What is generated.
///
/// # Default
/// On average 3 photons or pions per window, 30 % of them pions, photons of 1 to 5 GeV, 20 soft background photons of 10
/// to 200 MeV anywhere in the window. The electronics' noise amounts to about 6 MeV per block.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// The seed of everything.
    pub seed: u64,
    /// Mean number of photons and pions per event (Poisson).
    pub signals_mean: f64,
    /// The share of pions, each decaying to two photons.
    pub pion_share: f64,
    /// Energy of a photon, in GeV, also of those from pions.
    pub photon_energy_gev: RangeInclusive<f64>,
    /// Distance of a pion's decay, in cm.
    pub pion_distance_cm: RangeInclusive<f64>,
    /// Mean number of soft photons per event (Poisson), uniform in time over the whole window.
    pub background_mean: f64,
    /// Energy of a soft photon, in GeV, uniform in its logarithm.
    pub background_energy_gev: RangeInclusive<f64>,
    /// The shape of showers.
    pub shape: LateralShape,
    /// Energy fluctuation: this / √(E/GeV) …
    pub stochastic_term: f64,
    /// … in quadrature with this; both relative.
    pub constant_term: f64,
    /// Relative spread of the blocks' gains, which reconstruction does not know.
    pub gain_spread: f64,
    /// When signals arrive, in ns after the start of the window.
    pub trigger_time_ns: f64,
    /// Spread of times, in ns: of photons, and again of blocks.
    pub time_spread_ns: f64,
    /// The time constant τ of the pulse (t/τ)² exp(-t/τ), in ns.
    pub pulse_tau_ns: f64,
    /// Pulse height per energy, in ADC / GeV.
    pub adc_per_gev: f64,
    /// Pedestals of the blocks, in ADC.
    pub pedestal_adc: RangeInclusive<f64>,
    /// Noise of a sample, in ADC.
    pub noise_adc: f64,
    /// Blocks whose waveform nowhere exceeds its pedestal by this, in ADC, are not read out.
    pub readout_threshold_adc: f64,
    /// Deposits this far from the trigger time, in ns, still belong to the truth of the event.
    pub in_time_ns: f64,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            signals_mean: 3.0,
            pion_share: 0.3,
            photon_energy_gev: 1.0..=5.0,
            pion_distance_cm: 600.0..=1000.0,
            background_mean: 20.0,
            background_energy_gev: 0.01..=0.2,
            shape: LateralShape::default(),
            stochastic_term: 0.025,
            constant_term: 0.01,
            gain_spread: 0.01,
            trigger_time_ns: 150.0,
            time_spread_ns: 1.0,
            pulse_tau_ns: 7.0,
            adc_per_gev: 600.0,
            pedestal_adc: 150.0..=250.0,
            noise_adc: 1.2,
            readout_threshold_adc: 5.0,
            in_time_ns: 30.0,
        }
    }
}

/// A readout, and what really happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalorimeterEvent {
    /// What the detector reads out.
    pub waveforms: Waveforms,
    /// What really happened.
    pub truth: Truth,
}

/// Makes events. An event is a function of seed and event number only: any order, any thread, the same event. (On one
/// platform: `exp`, `ln`, `atan` of different C libraries may differ in their last bit.)
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::calorimeter::{Generator, GeneratorConfig};
/// let generator = Generator::new(GeneratorConfig { seed: 7, ..GeneratorConfig::default() });
/// let event = generator.generate(12);
/// assert_eq!(event, generator.generate(12));
/// assert!(event.waveforms.len() > event.truth.photons.len());
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    config: GeneratorConfig,
    geometry: Geometry,
    gain: Vec<f64>,
    pedestal: Vec<f64>,
    signals: Option<Poisson<f64>>,
    background: Option<Poisson<f64>>,
}

/// One shower's energy in one block; photon -1 is background.
struct Hit {
    block: u16,
    photon: i32,
    energy_gev: f64,
    time_ns: f64,
}

impl Generator {
    /// Draws the constants of the run: gains and pedestals of the blocks.
    ///
    /// # Panics
    /// If a range of energies or distances is empty or not finite.
    pub fn new(config: GeneratorConfig) -> Self {
        let mut rng = stream(config.seed, RUN_STREAM);
        let gain = (0..BLOCKS).map(|_| 1.0 + config.gain_spread * normal(&mut rng)).collect();
        let pedestal = (0..BLOCKS).map(|_| rng.random_range(config.pedestal_adc.clone())).collect();
        // A mean of 0, which `Poisson` does not take, switches a source off.
        let (signals, background) =
            (Poisson::new(config.signals_mean).ok(), Poisson::new(config.background_mean).ok());
        Self { config, geometry: Geometry::default(), gain, pedestal, signals, background }
    }

    /// Where the blocks are.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What reconstruction may know: the mean gain, not each block's.
    pub fn calibration(&self) -> Calibration {
        let config = &self.config;
        // ∫ (t/τ)² exp(-t/τ) dt = 2 τ, and the maximum is 4 e⁻².
        let samples = 2.0 * config.pulse_tau_ns / f64::from(SAMPLE_NS) / peak();
        let gain_gev = 1.0 / (config.adc_per_gev * samples);
        let late = HALF_AMPLITUDE * config.pulse_tau_ns;
        Calibration::uniform(gain_gev as f32, late as f32, config.trigger_time_ns as f32)
    }

    /// Makes one event.
    pub fn generate(&self, event: u64) -> CalorimeterEvent {
        let mut rng = stream(self.config.seed, event);
        let photons = self.photons(&mut rng);
        let mut hits = Vec::new();
        for (index, photon) in photons.iter().enumerate() {
            let energy = f64::from(photon.energy_gev);
            let spread =
                self.config.stochastic_term.hypot(self.config.constant_term * energy.sqrt()) / energy.sqrt();
            let seen = energy * (1.0 + spread * normal(&mut rng)).max(0.0);
            self.shower(&mut rng, index as i32, *photon, seen, 3, &mut hits);
        }
        for _ in 0..count(&mut rng, self.background) {
            let photon = self.soft_photon(&mut rng);
            self.shower(&mut rng, -1, photon, f64::from(photon.energy_gev), 2, &mut hits);
        }
        hits.sort_by_key(|hit| hit.block);

        let (mut block, mut samples, mut deposits) = (Vec::new(), Vec::new(), Vec::new());
        for hits in hits.chunk_by(|a, b| a.block == b.block) {
            let waveform = self.waveform(&mut rng, hits);
            let threshold = self.pedestal[usize::from(hits[0].block)] + self.config.readout_threshold_adc;
            if waveform.iter().any(|&sample| f64::from(sample) > threshold) {
                block.push(hits[0].block);
                samples.extend_from_slice(&waveform);
            }
            deposits.extend(self.deposit(hits));
        }
        let waveforms =
            Waveforms::new(block, samples).unwrap_or_else(|error: WaveformsError| unreachable!("{error}"));
        CalorimeterEvent {
            waveforms,
            truth: Truth { photons: photons.into_iter().collect(), deposits: deposits.into_iter().collect() },
        }
    }

    /// The signal photons that hit the face.
    fn photons(&self, rng: &mut ChaCha8Rng) -> Vec<Photon> {
        let config = &self.config;
        let (low, high) = (*config.photon_energy_gev.start(), *config.photon_energy_gev.end());
        let mut photons = Vec::new();
        for _ in 0..count(rng, self.signals) {
            let [x, y] = self.point(rng);
            let time_ns = config.trigger_time_ns + config.time_spread_ns * normal(rng);
            let photon = |x: f64, y: f64, energy: f64| Photon {
                x_cm: x as f32,
                y_cm: y as f32,
                energy_gev: energy as f32,
                time_ns: time_ns as f32,
            };
            if rng.random::<f64>() >= config.pion_share {
                photons.push(photon(x, y, rng.random_range(low..=high)));
                continue;
            }
            // Two photons share the pion's energy; E = (1 ± β cos θ) E_π / 2 is uniform, which drawing both uniformly
            // imitates. Their transverse momenta are equal and opposite: m/2 · sin θ.
            let energies = [rng.random_range(low..=high), rng.random_range(low..=high)];
            let energy = energies[0] + energies[1];
            let beta = (1.0 - (PION_MASS_GEV / energy).powi(2)).max(0.0).sqrt();
            let cosine = ((energies[0] - energies[1]) / energy / beta).clamp(-1.0, 1.0);
            let transverse = 0.5 * PION_MASS_GEV * (1.0 - cosine * cosine).sqrt();
            let distance = rng.random_range(config.pion_distance_cm.clone());
            let (sin, cos) = rng.random_range(0.0..std::f64::consts::TAU).sin_cos();
            for (sign, energy) in [(1.0, energies[0]), (-1.0, energies[1])] {
                let offset = sign * distance * transverse / energy;
                let photon = photon(x + offset * cos, y + offset * sin, energy);
                photons.extend(self.geometry.block_at(photon.x_cm, photon.y_cm).map(|_| photon));
            }
        }
        photons
    }

    fn soft_photon(&self, rng: &mut ChaCha8Rng) -> Photon {
        let range = &self.config.background_energy_gev;
        let energy = rng.random_range(range.start().ln()..=range.end().ln()).exp();
        let [x, y] = self.point(rng);
        let time = rng.random_range(0.0..f64::from(SAMPLE_NS) * SAMPLES as f64);
        Photon { x_cm: x as f32, y_cm: y as f32, energy_gev: energy as f32, time_ns: time as f32 }
    }

    /// A point on the face.
    fn point(&self, rng: &mut ChaCha8Rng) -> [f64; 2] {
        self.geometry.half_size_cm().map(|half| rng.random_range(-f64::from(half)..f64::from(half)))
    }

    /// Spreads one photon's energy over the blocks at most `reach` from where it hits.
    fn shower(
        &self,
        rng: &mut ChaCha8Rng,
        index: i32,
        photon: Photon,
        energy: f64,
        reach: usize,
        hits: &mut Vec<Hit>,
    ) {
        let Some(centre) = self.geometry.block_at(photon.x_cm, photon.y_cm) else { return };
        let half_mm = 5.0 * f64::from(self.geometry.pitch_cm);
        for block in self.geometry.square(centre, reach) {
            let x = 10.0 * f64::from(self.geometry.x_cm(block) - photon.x_cm);
            let y = 10.0 * f64::from(self.geometry.y_cm(block) - photon.y_cm);
            let share = self.config.shape.share([x - half_mm, y - half_mm], [x + half_mm, y + half_mm]);
            if share * energy >= DEPOSIT_GEV_MIN {
                let time_ns = f64::from(photon.time_ns) + self.config.time_spread_ns * normal(rng);
                hits.push(Hit { block, photon: index, energy_gev: share * energy, time_ns });
            }
        }
    }

    fn waveform(&self, rng: &mut ChaCha8Rng, hits: &[Hit]) -> [u16; SAMPLES] {
        let block = usize::from(hits[0].block);
        let mut signal = [0.0; SAMPLES];
        for hit in hits {
            let height = hit.energy_gev * self.gain[block] * self.config.adc_per_gev / peak();
            let first = (hit.time_ns / f64::from(SAMPLE_NS)).ceil().max(0.0) as usize;
            for (sample, value) in signal.iter_mut().enumerate().skip(first).take(40) {
                let t = (sample as f64 * f64::from(SAMPLE_NS) - hit.time_ns) / self.config.pulse_tau_ns;
                *value += height * t * t * (-t).exp();
            }
        }
        signal.map(|signal| {
            let value = self.pedestal[block] + signal + self.config.noise_adc * normal(rng);
            value.round().clamp(0.0, 4095.0) as u16 // 12 bits
        })
    }

    /// The truth of one block, from the hits in time with the trigger.
    fn deposit(&self, hits: &[Hit]) -> Option<Deposit> {
        let in_time =
            |hit: &&Hit| (hit.time_ns - self.config.trigger_time_ns).abs() <= self.config.in_time_ns;
        let total: f64 = hits.iter().filter(in_time).map(|hit| hit.energy_gev).sum();
        let background: f64 =
            hits.iter().filter(in_time).filter(|hit| hit.photon < 0).map(|hit| hit.energy_gev).sum();
        let largest = hits
            .iter()
            .filter(in_time)
            .filter(|hit| hit.photon >= 0)
            .reduce(|best, hit| if hit.energy_gev > best.energy_gev { hit } else { best });
        let (photon, energy) = match largest {
            Some(hit) if hit.energy_gev >= background => (hit.photon, hit.energy_gev),
            _ => (-1, 0.0),
        };
        let fraction = (energy / total) as f32;
        (total > 0.0).then_some(Deposit { block: hits[0].block, photon, fraction, energy_gev: total as f32 })
    }
}

/// The maximum of (t/τ)² exp(-t/τ), at t = 2 τ.
fn peak() -> f64 {
    4.0 * (-2.0_f64).exp()
}

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

fn count(rng: &mut ChaCha8Rng, poisson: Option<Poisson<f64>>) -> usize {
    poisson.map_or(0, |poisson| poisson.sample(rng) as usize)
}
