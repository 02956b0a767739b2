use asynchrotron_devices::columns;

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
