//! [`AssociationMap`]: which elements belong to each key (tile, bin, cluster, vertex).

use asynchrotron_devices::Offsets;

/// Elements grouped by key: the elements of key `k` are `content[offsets[k]..offsets[k + 1]]`, in ascending order.
///
/// Made as on a GPU: histogram of the keys, exclusive scan, fill. The order within a key is part of the promise (a GPU
/// must sort its short bins after filling them), because sums of floats over a bin depend on it.
///
/// # Examples
/// ```
/// use asynchrotron_algorithms::AssociationMap;
/// let map = AssociationMap::from_keys(&[2, 0, -1, 2], 3);    // -1: belongs nowhere
/// assert_eq!(map.elements(2), [0, 3]);
/// assert!(map.elements(1).is_empty());
/// assert_eq!(map.offsets().as_slice(), [0, 1, 1, 3]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssociationMap {
    offsets: Offsets,
    content: Vec<u32>,
}

impl AssociationMap {
    /// Groups elements `0..keys.len()` by key. A negative key means "unassigned": the element is left out.
    ///
    /// # Panics
    /// If a key is not below `n_keys`, or if there are more than `u32::MAX` elements.
    pub fn from_keys(keys: &[i32], n_keys: usize) -> Self {
        // Histogram. Key k counts at k + 1, so that the running sum needs no shift.
        let mut offsets = vec![0_u32; n_keys + 1];
        for &key in keys {
            if let Ok(key) = usize::try_from(key) {
                assert!(key < n_keys, "key {key} of {n_keys}");
                offsets[key + 1] += 1;
            }
        }
        // Exclusive scan.
        let offsets = Offsets::from_counts(offsets[1..].iter().map(|&count| count as usize));
        // Fill, in the order of elements: bins come out sorted.
        let mut cursor = offsets.as_slice()[..n_keys].to_vec();
        let mut content = vec![0_u32; offsets.rows()];
        for (element, &key) in keys.iter().enumerate() {
            if let Ok(key) = usize::try_from(key) {
                content[cursor[key] as usize] = element as u32;
                cursor[key] += 1;
            }
        }
        Self { offsets, content }
    }

    /// Groups the elements of several events at once, by key′ = event × `n_keys` + key: one histogram and one scan for
    /// the whole batch. Elements keep their numbers in the batch. Key `k` of event `e` is found at
    /// `elements(e * n_keys + k)`.
    ///
    /// # Panics
    /// As [`from_keys`](Self::from_keys), if `events` does not cover `keys`, or if key′ exceeds `i32::MAX`.
    pub fn from_batch(keys: &[i32], events: &Offsets, n_keys: usize) -> Self {
        assert_eq!(events.rows(), keys.len(), "the events' offsets do not cover the keys");
        let all = events.len() * n_keys;
        assert!(i32::try_from(all).is_ok(), "{all} keys do not fit 32 bits");
        let mut batched = Vec::with_capacity(keys.len());
        for (event, range) in events.iter().enumerate() {
            for &key in &keys[range] {
                assert!(key < n_keys as i32, "key {key} of {n_keys}");
                batched.push(if key < 0 { -1 } else { (event * n_keys) as i32 + key });
            }
        }
        Self::from_keys(&batched, all)
    }

    /// What a device has grouped: ascending elements of each key, side by side.
    #[cfg(feature = "cuda")]
    pub(crate) fn from_parts(offsets: Offsets, content: Vec<u32>) -> Self {
        assert_eq!(offsets.rows(), content.len(), "the offsets do not cover the elements");
        Self { offsets, content }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The elements of one key, ascending.
    ///
    /// # Panics
    /// If there is no such key.
    pub fn elements(&self, key: usize) -> &[u32] {
        &self.content[self.offsets.range(key)]
    }

    /// The elements of each key, in the order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.offsets.iter().map(|range| &self.content[range])
    }

    /// Where the elements of each key lie in [`content`](Self::content).
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// All assigned elements, grouped by key.
    pub fn content(&self) -> &[u32] {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn grouping_is_a_stable_sort_by_key(n_keys in 1_usize..40, seed in prop::collection::vec(-3_i32..40, 0..300)) {
            let keys: Vec<i32> = seed.iter().map(|&key| key.min(n_keys as i32 - 1)).collect();
            let map = AssociationMap::from_keys(&keys, n_keys);
            let mut sorted: Vec<u32> = (0..keys.len() as u32).filter(|&i| keys[i as usize] >= 0).collect();
            sorted.sort_by_key(|&i| keys[i as usize]);
            prop_assert_eq!(map.content(), sorted);
            prop_assert_eq!(map.len(), n_keys);
            for (key, elements) in map.iter().enumerate() {
                prop_assert!(elements.iter().all(|&i| keys[i as usize] == key as i32));
            }
        }

        #[test]
        fn an_event_is_grouped_in_a_batch_as_alone(events in prop::collection::vec(prop::collection::vec(-1_i32..7, 0..40), 0..5)) {
            let offsets = Offsets::from_counts(events.iter().map(Vec::len));
            let batch = AssociationMap::from_batch(&events.concat(), &offsets, 7);
            for (event, keys) in events.iter().enumerate() {
                let alone = AssociationMap::from_keys(keys, 7);
                let start = offsets.range(event).start as u32;
                for key in 0..7 {
                    let local: Vec<u32> = batch.elements(event * 7 + key).iter().map(|&i| i - start).collect();
                    prop_assert_eq!(local, alone.elements(key));
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "key 3 of 3")]
    fn a_key_beyond_the_last_is_refused() {
        let _ = AssociationMap::from_keys(&[0, 3], 3);
    }
}
