//! [`Weights`]: the numbers of a trained network, for its implementation on the host.

/// A network's tensors, as the training scripts write them: little-endian, the number of tensors (u32), then for each the number
/// of its dimensions and its dimensions (u32), and its values (f32), last dimension innermost.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights(Vec<WeightTensor>);

/// One tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightTensor {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values, last dimension innermost.
    pub values: Vec<f32>,
}

/// Why bytes are not weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// There are too few bytes.
    #[error("tensor {tensor}: the weights are cut short")]
    Short {
        /// The tensor in which they end.
        tensor: usize,
    },
    /// There are too many bytes.
    #[error("{bytes} bytes follow the last tensor")]
    Long {
        /// How many too many.
        bytes: usize,
    },
    /// These are the weights of another network.
    #[error("tensor {tensor}: expected the shape {expected:?}, found {found:?}")]
    Shape {
        /// The tensor.
        tensor: usize,
        /// Its shape in this network.
        expected: Vec<usize>,
        /// Its shape here; empty if there is no such tensor.
        found: Vec<usize>,
    },
    /// A value is infinite or no number.
    #[error("tensor {tensor}: a value is not finite")]
    NotFinite {
        /// The tensor.
        tensor: usize,
    },
}

impl Weights {
    /// Reads weights, and checks that they are of these shapes.
    ///
    /// # Errors
    /// [`WeightsError`] names the first tensor that is not what it should be.
    pub fn parse(mut bytes: &[u8], shapes: &[&[usize]]) -> Result<Self, WeightsError> {
        let count = number(&mut bytes).ok_or(WeightsError::Short { tensor: 0 })?;
        let mut tensors = Vec::new();
        for tensor in 0..count.max(shapes.len()) {
            let expected = shapes.get(tensor).copied().unwrap_or_default();
            let short = WeightsError::Short { tensor };
            let found = if tensor < count { shape(&mut bytes).ok_or(short.clone())? } else { Vec::new() };
            if found != expected {
                return Err(WeightsError::Shape { tensor, expected: expected.to_vec(), found });
            }
            // It is one of ours, so the product is small.
            let (values, rest) = bytes.split_at_checked(4 * found.iter().product::<usize>()).ok_or(short)?;
            bytes = rest;
            let values: Vec<f32> =
                values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
            if !values.iter().all(|value| value.is_finite()) {
                return Err(WeightsError::NotFinite { tensor });
            }
            tensors.push(WeightTensor { shape: found, values });
        }
        if bytes.is_empty() { Ok(Self(tensors)) } else { Err(WeightsError::Long { bytes: bytes.len() }) }
    }

    /// The tensors.
    pub fn tensors(&self) -> &[WeightTensor] {
        &self.0
    }
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*first) as usize)
}

fn shape(bytes: &mut &[u8]) -> Option<Vec<usize>> {
    let dimensions = number(bytes)?;
    (0..dimensions).map(|_| number(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: &[u32], values: &[f32]) -> Vec<u8> {
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        numbers.chain(values.iter().flat_map(|value| value.to_le_bytes())).collect()
    }

    #[test]
    fn weights_of_the_right_shapes_are_read_and_others_refused() {
        let good = bytes(&[1, 2, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let parse = |bytes: &[u8]| Weights::parse(bytes, &[&[2, 3]]);
        assert_eq!(parse(&good).unwrap().tensors()[0].values[4], 5.0);
        for end in 0..good.len() {
            assert_eq!(parse(&good[..end]), Err(WeightsError::Short { tensor: 0 }), "{end}");
        }
        assert_eq!(parse(&[&good[..], &[0]].concat()), Err(WeightsError::Long { bytes: 1 }));
        let other = bytes(&[1, 2, 3, 2], &[0.0; 6]);
        let expected = vec![2, 3];
        assert_eq!(parse(&other), Err(WeightsError::Shape { tensor: 0, expected, found: vec![3, 2] }));
        let huge = bytes(&[1, u32::MAX, 9, 9], &[]);
        assert_eq!(parse(&huge), Err(WeightsError::Short { tensor: 0 }));
        assert!(matches!(parse(&bytes(&[0], &[])), Err(WeightsError::Shape { .. })));
        let not_finite = bytes(&[1, 2, 2, 3], &[f32::NAN; 6]);
        assert_eq!(parse(&not_finite), Err(WeightsError::NotFinite { tensor: 0 }));
    }
}
