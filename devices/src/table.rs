//! Where tables keep what they know of a step and a size of its input.

/// Places of a table. Two steps that share one are taken for one.
pub(crate) const PLACES: usize = 1024;

/// By name and power of two of the rows.
pub(crate) fn place(step: &str, rows: usize) -> usize {
    let hash = hash(step, (size(rows) as u64) << 32);
    (hash ^ (hash >> 32)) as usize % PLACES
}

/// Sizes are told apart by powers of two: 0, 1, 2–3, 4–7, …
pub(crate) fn size(rows: usize) -> usize {
    rows.checked_ilog2().map_or(0, |log| log as usize + 1)
}

/// Of a name; another one for each `salt`. FNV-1a: names are a few bytes long and chosen by the programmer.
pub(crate) fn hash(name: &str, salt: u64) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ salt, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn sizes_share_a_place_up_to_a_power_of_two() {
        assert_eq!(place("fit", 64), place("fit", 127));
        assert_ne!(place("fit", 100), place("fit", 1000));
        assert_ne!(place("fit", 0), place("fit", 1));
        assert_ne!(place("fit", 1), place("sort", 1));
    }
}
