//! The device code of this crate, as it is compiled for GPUs at first use, or ahead of time by `asynchrotron kernels build`.

use asynchrotron_devices::cuda::KernelSource;

/// CLUE, for many events side by side. Without contraction, so that sums and products are rounded as on the host.
pub static CLUE: KernelSource =
    KernelSource { name: "clue.cu", source: include_str!("../kernels/clue.cu"), options: &["--fmad=false"] };

/// Clusters of trigger candidates, and their features. Without contraction, for the same reason.
pub static SCOUTING: KernelSource = KernelSource {
    name: "scouting.cu",
    source: include_str!("../kernels/scouting.cu"),
    options: &["--fmad=false"],
};

/// Every source there is: what is not in here is not compiled ahead of time, nor by the checks.
pub static ALL: &[&KernelSource] = &[&CLUE, &SCOUTING];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_the_folder_is_left_out() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels");
        let names =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = names.filter(|name| name.ends_with(".cu")).collect();
        files.sort();
        let mut listed: Vec<&str> = ALL.iter().map(|source| source.name).collect();
        listed.sort_unstable();
        assert_eq!(files, listed);
    }
}
