//! Collections keep their rows through every form they can take.

use asynchrotron_devices::columns::{
    Buffer, Element, ElementType, Layout, Offsets, OffsetsError, TensorError,
};
use asynchrotron_devices::{Columns, columns};
use proptest::prelude::*;

columns! {
    /// One column of each size and kind.
    pub struct Samples, row Sample {
        /// 1 byte
        flag: u8,
        /// 8 bytes
        value: f64,
        /// 2 bytes
        channel: i16,
        /// 4 bytes
        energy: f32,
        /// 8 bytes
        id: u64,
    }
}

columns! {
    struct Features, row Feature { a: f32, b: f32, c: f32 }
}

fn sample() -> impl Strategy<Value = Sample> {
    (any::<u8>(), -1e9..1e9_f64, any::<i16>(), -1e9..1e9_f32, any::<u64>())
        .prop_map(|(flag, value, channel, energy, id)| Sample { flag, value, channel, energy, id })
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    prop::collection::vec(sample(), 0..200)
}

proptest! {
    #[test]
    fn rows_come_back_as_they_went_in(rows in samples()) {
        let collection: Samples = rows.iter().copied().collect();
        prop_assert_eq!(collection.len(), rows.len());
        prop_assert_eq!(collection.is_empty(), rows.is_empty());
        prop_assert_eq!(collection.iter().collect::<Vec<_>>(), rows.clone());
        for (index, &row) in rows.iter().enumerate() {
            prop_assert_eq!(collection.row(index), row);
            prop_assert_eq!(collection.energy()[index], row.energy);
        }
    }

    #[test]
    fn every_padded_column_is_aligned_and_none_overlap(rows in 0_usize..500) {
        let collection = Samples::with_len(rows);
        let layout = collection.layout();
        let mut end = 0;
        for index in 0..Samples::SCHEMA.len() {
            let range = layout.range(index);
            prop_assert_eq!(range.start % Buffer::ALIGNMENT, 0);
            prop_assert_eq!(collection.column_bytes(index).as_ptr() as usize % Buffer::ALIGNMENT, 0);
            prop_assert!(range.start >= end);
            end = range.end;
        }
        prop_assert!(end <= layout.bytes());
        prop_assert_eq!(collection.as_bytes().len(), layout.bytes());
    }

    #[test]
    fn concatenation_then_splitting_is_the_identity(parts in prop::collection::vec(samples(), 0..6)) {
        let parts: Vec<Samples> = parts.iter().map(|rows| Samples::from_rows(rows)).collect();
        let (all, offsets) = Samples::concat(&parts.iter().collect::<Vec<_>>());
        prop_assert_eq!(offsets.len(), parts.len());
        prop_assert_eq!(all.len(), parts.iter().map(Samples::len).sum::<usize>());
        prop_assert_eq!(all.split(&offsets), parts);
    }

    #[test]
    fn packed_and_padded_hold_the_same_rows(rows in samples()) {
        let padded = Samples::from_rows(&rows);
        let packed = padded.packed();
        prop_assert_eq!(&packed, &padded);
        prop_assert!(packed.same_bits(&padded));
        prop_assert!(packed.as_bytes().len() <= padded.as_bytes().len());
        prop_assert_eq!(packed.iter().collect::<Vec<_>>(), rows);
    }

    #[test]
    fn a_packed_collection_is_a_tensor(rows in prop::collection::vec((any::<i16>(), any::<i16>(), any::<i16>()), 0..100)) {
        let mut features = Features::with_packed_len(rows.len());
        for (index, &(a, b, c)) in rows.iter().enumerate() {
            features.set_row(index, Feature { a: a.into(), b: b.into(), c: c.into() });
        }
        let tensor = features.tensor::<f32>().unwrap();
        prop_assert_eq!(tensor.shape(), [3, rows.len()]);
        prop_assert_eq!(tensor.values().as_ptr(), features.a().as_ptr());
        prop_assert_eq!(tensor.feature(1), features.b());
        for (row, &(_, _, c)) in rows.iter().enumerate() {
            prop_assert_eq!(tensor.values()[2 * rows.len() + row], f32::from(c));
        }
    }

    #[test]
    fn a_buffer_moves_out_and_back(rows in samples()) {
        let collection = Samples::from_rows(&rows);
        let before = collection.as_bytes().as_ptr();
        let (layout, buffer) = collection.clone().into_parts();
        prop_assert_eq!(&Samples::from_parts(layout, buffer), &collection);
        let (layout, buffer) = collection.into_parts();
        prop_assert_eq!(buffer.as_bytes().as_ptr(), before);
        prop_assert_eq!(Samples::from_parts(layout, buffer).as_bytes().as_ptr(), before);
    }
}

#[test]
fn padding_breaks_the_tensor_unless_the_rows_fill_the_stride() {
    assert_eq!(Features::with_len(33).tensor::<f32>(), Err(TensorError::Padded));
    assert!(Features::with_len(64).tensor::<f32>().is_ok());
    let packed = Features::with_packed_len(3);
    let wrong = packed.tensor::<f64>();
    assert_eq!(
        wrong,
        Err(TensorError::Type { name: "a", found: ElementType::F32, wanted: ElementType::F64 })
    );
    assert!(matches!(
        Samples::with_packed_len(3).tensor::<f32>(),
        Err(TensorError::Type { name: "flag", .. })
    ));
}

#[test]
fn columns_mut_hands_out_every_column_at_once() {
    let mut collection = Samples::with_len(3);
    let (flag, value, channel, energy, id) = collection.columns_mut();
    flag[2] = 1;
    value[2] = 2.0;
    channel[2] = -3;
    energy[2] = 4.0;
    id[2] = 5;
    assert_eq!(collection.row(2), Sample { flag: 1, value: 2.0, channel: -3, energy: 4.0, id: 5 });
    assert_eq!(collection.row(0), Sample::default());
}

#[test]
fn a_nan_differs_from_itself_as_a_value_but_not_as_bits() {
    let rows = Features::from_rows(&[Feature { a: f32::NAN, b: 0.0, c: 1.0 }]);
    assert_ne!(rows, rows.clone());
    assert!(rows.same_bits(&rows.clone()));
    let negative = Features::from_rows(&[Feature { a: 0.0, b: -0.0, c: 1.0 }]);
    let positive = Features::from_rows(&[Feature { a: 0.0, b: 0.0, c: 1.0 }]);
    assert_eq!(negative, positive);
    assert!(!negative.same_bits(&positive));
}

#[test]
fn the_schema_names_every_column_in_order() {
    let names: Vec<_> = Samples::SCHEMA.iter().map(|column| (column.name, column.element.name())).collect();
    assert_eq!(
        names,
        [("flag", "u8"), ("value", "f64"), ("channel", "i16"), ("energy", "f32"), ("id", "u64")]
    );
    assert_eq!(<u16 as Element>::TYPE.size(), 2);
}

#[test]
#[should_panic(expected = "the buffer does not fit the layout")]
fn a_buffer_of_another_size_is_refused() {
    let _ = Samples::from_parts(Layout::padded(Samples::SCHEMA, 1000), Buffer::zeroed(128));
}

#[test]
fn offsets_must_begin_with_zero_and_ascend() {
    assert_eq!(Offsets::from_vec(vec![]), Err(OffsetsError::Start));
    assert_eq!(Offsets::from_vec(vec![1, 2]), Err(OffsetsError::Start));
    assert_eq!(Offsets::from_vec(vec![0, 3, 2]), Err(OffsetsError::Descending { index: 2 }));
    let offsets = Offsets::from_vec(vec![0, 3, 3, 5]).unwrap();
    assert_eq!(offsets.iter().collect::<Vec<_>>(), [0..3, 3..3, 3..5]);
    assert_eq!(offsets, Offsets::from_counts([3, 0, 2]));
    assert!(Offsets::default().is_empty());
}
