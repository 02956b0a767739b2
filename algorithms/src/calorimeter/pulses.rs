use super::{SAMPLES, Waveforms};
use asynchrotron_devices::columns;

/// The time between two samples, in ns.
pub const SAMPLE_NS: f32 = 4.0;

columns! {
    /// Pulses found in waveforms, in the order of waveforms, then of time.
    pub struct Pulses, row Pulse {
        /// Block number, row × 30 + column.
        block: u16,
        /// Sum of the samples in the window around the pulse, above pedestal, in ADC · sample.
        integral: f32,
        /// Highest sample above pedestal, in ADC.
        amplitude: f32,
        /// Time at half of the amplitude on the rising edge, after the start of the window, in ns.
        time_ns: f32,
    }
}

/// How pulses are looked for, in the terms of the fADC250's firmware.
///
/// # Default
/// Threshold 6 ADC, 5 samples before and 30 after the crossing, peak within 8 samples, quiet pedestal within 12 ADC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PulseConfig {
    /// A pulse begins with the first sample more than this above pedestal, in ADC.
    pub threshold_adc: f32,
    /// Samples integrated before the crossing ("NSB").
    pub samples_before: usize,
    /// Samples integrated from the crossing on ("NSA"). The next pulse is looked for after them.
    pub samples_after: usize,
    /// The peak is the highest of so many samples from the crossing on.
    pub samples_to_peak: usize,
    /// If the first four samples differ by more than this, in ADC, a pulse lies in them, and the median of all samples
    /// serves as pedestal.
    pub pedestal_spread_adc: u16,
}

impl Default for PulseConfig {
    fn default() -> Self {
        Self {
            threshold_adc: 6.0,
            samples_before: 5,
            samples_after: 30,
            samples_to_peak: 8,
            pedestal_spread_adc: 12,
        }
    }
}

/// Finds the pulses of every waveform, each with its pedestal measured in the same waveform.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::calorimeter::{PulseConfig, SAMPLES, Waveforms, find_pulses};
/// let mut samples = [200; SAMPLES];
/// samples[50..54].copy_from_slice(&[220, 300, 250, 210]);
/// let waveforms = Waveforms::new(vec![7], samples.to_vec())?;
/// let pulse = find_pulses(&PulseConfig::default(), &waveforms).row(0);
/// assert_eq!((pulse.block, pulse.integral, pulse.amplitude), (7, 180.0, 100.0));
/// assert_eq!(pulse.time_ns, 4.0 * (50.0 + (50.0 - 20.0) / (100.0 - 20.0)));
/// # Ok::<(), asynchrotron_algorithms::calorimeter::WaveformsError>(())
/// ```
pub fn find_pulses(config: &PulseConfig, waveforms: &Waveforms) -> Pulses {
    let mut pulses = Vec::with_capacity(waveforms.len());
    for (block, samples) in waveforms.iter() {
        let pedestal = pedestal(config, samples);
        let above = |sample: usize| f32::from(samples[sample]) - pedestal;
        let mut from = 0;
        while let Some(crossing) = (from..SAMPLES).find(|&sample| above(sample) > config.threshold_adc) {
            let end = (crossing + config.samples_after.max(1)).min(SAMPLES);
            let window = crossing.saturating_sub(config.samples_before)..end;
            let integral = window.map(above).sum();
            let peak = (crossing..end.min(crossing + config.samples_to_peak.max(1)))
                .reduce(|peak, sample| if above(sample) > above(peak) { sample } else { peak })
                .unwrap_or(crossing);
            let amplitude = above(peak);
            // Down the rising edge from the peak. Without a sample below half, the pulse began before the window did.
            let time = match (0..peak).rev().find(|&sample| above(sample) <= 0.5 * amplitude) {
                Some(low) => low as f32 + (0.5 * amplitude - above(low)) / (above(low + 1) - above(low)),
                None => 0.0,
            };
            pulses.push(Pulse { block, integral, amplitude, time_ns: SAMPLE_NS * time });
            // A tail that is still above threshold is not a new pulse: wait until it has come down.
            from = (end..SAMPLES).find(|&sample| above(sample) <= config.threshold_adc).unwrap_or(SAMPLES);
        }
    }
    Pulses::from_rows(&pulses)
}

/// The mean of the first four samples, in ADC, or the median of all where a pulse lies in those.
fn pedestal(config: &PulseConfig, samples: &[u16; SAMPLES]) -> f32 {
    let first = &samples[..4];
    let (low, high) =
        first.iter().fold((u16::MAX, 0), |(low, high), &sample| (low.min(sample), high.max(sample)));
    if high - low <= config.pedestal_spread_adc {
        return 0.25 * first.iter().map(|&sample| f32::from(sample)).sum::<f32>();
    }
    let mut sorted = *samples;
    f32::from(*sorted.select_nth_unstable(SAMPLES / 2).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(samples: [u16; SAMPLES]) -> Vec<Pulse> {
        find_pulses(&PulseConfig::default(), &Waveforms::new(vec![3], samples.to_vec()).unwrap())
            .iter()
            .collect()
    }

    fn with_pulses(at: &[usize]) -> [u16; SAMPLES] {
        let mut samples = [180; SAMPLES];
        for &at in at {
            for (sample, height) in samples[at..].iter_mut().zip([60, 100, 40]) {
                *sample += height;
            }
        }
        samples
    }

    #[test]
    fn a_flat_waveform_has_no_pulse() {
        assert!(find([180; SAMPLES]).is_empty());
        assert!(find([0; SAMPLES]).is_empty());
        assert!(find([u16::MAX; SAMPLES]).is_empty());
    }

    #[test]
    fn well_separated_pulses_are_all_found() {
        let pulses = find(with_pulses(&[10, 50, 90]));
        assert_eq!(pulses.len(), 3);
        for (pulse, at) in pulses.iter().zip([10.0, 50.0, 90.0]) {
            assert_eq!((pulse.integral, pulse.amplitude), (200.0, 100.0));
            assert!((pulse.time_ns - 4.0 * (at - 1.0 + 50.0 / 60.0)).abs() < 1e-3);
        }
    }

    #[test]
    fn a_pulse_in_the_pedestal_window_does_not_spoil_the_pedestal() {
        let pulses = find(with_pulses(&[1, 60]));
        assert_eq!(pulses[1].integral, 200.0);
    }

    #[test]
    fn a_pulse_cut_by_either_end_of_the_window_is_still_a_pulse() {
        let mut samples = [180; SAMPLES];
        samples[0] = 400;
        samples[SAMPLES - 1] = 300;
        let pulses = find(samples);
        assert_eq!(pulses.len(), 2);
        assert_eq!((pulses[0].time_ns, pulses[0].amplitude), (0.0, 220.0));
        assert_eq!(pulses[1].integral, 120.0);
    }
}
