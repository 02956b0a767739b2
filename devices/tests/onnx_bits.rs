//! Where the last bits of a row's result differ, and where not.
//!
//! A row stands at some place among others. Other rows beside it, at the same place in as many rows: the same bits, always. Another
//! place, or another number of rows: the same bits for some operators (printed), and the last ones differ for others.
#![cfg(feature = "onnx")]

mod onnx_support;

use std::collections::BTreeSet;

use asynchrotron_devices::LaneId;
use asynchrotron_devices::inference::{Block, Order, Port};
use asynchrotron_devices::onnx::{Attribute, ModelDraft, ModelSource, OnnxDevice, OnnxModel};
use onnx_support::{Numbers, bits, device, difference, load, network, only};

/// In which numbers of rows the bits differ from those of a row alone, and in which they depend on the place.
#[derive(Debug, Default, PartialEq)]
struct Differ {
    by_rows: BTreeSet<usize>,
    by_place: BTreeSet<usize>,
    most: f32,
}

/// The outputs of one row at this place among others.
fn among(model: &OnnxModel, row: &Block<f32>, place: usize, rows: usize, numbers: &mut Numbers) -> Vec<f32> {
    let (order, features) = (row.order(), row.features());
    let before = numbers.block(order, place, features);
    let after = numbers.block(order, rows - place - 1, features);
    let x = Block::concat(&[&before, row, &after], features, order, rows);
    let y = model.run(LaneId(0), &x.into()).unwrap();
    only(&y).slice(place..place + 1).into_values()
}

fn compare(device: &OnnxDevice, name: &str, source: &ModelSource) -> Differ {
    let model = load(source, device);
    let port = &model.signature().inputs[0];
    let (mut numbers, mut differ) = (Numbers(9), Differ::default());
    for _ in 0..3 {
        let row = numbers.block(port.order(), 1, port.features());
        let alone = among(&model, &row, 0, 1, &mut numbers);
        for rows in [2, 3, 5, 8, 31, 64, 100] {
            let first = among(&model, &row, 0, rows, &mut numbers);
            for place in [0, rows / 2, rows - 1] {
                let [one, other] = [(); 2].map(|()| among(&model, &row, place, rows, &mut numbers));
                assert_eq!(bits(&one), bits(&other), "{name}: row {place} of {rows}, beside other rows");
                if bits(&one) != bits(&first) {
                    differ.by_place.insert(rows);
                }
                if bits(&one) != bits(&alone) {
                    differ.by_rows.insert(rows);
                }
                differ.most = differ.most.max(difference(&one, &alone));
            }
        }
    }
    println!("{name:32} {differ:?}");
    differ
}

fn weights(count: usize) -> Vec<f32> {
    let mut numbers = Numbers(4);
    (0..count).map(|_| 0.1 * numbers.number()).collect()
}

/// Of `features` numbers as many, by one operator.
fn elementwise(operator: &str, features: usize) -> ModelSource {
    let port = |name| Port::new::<f32>(name, Order::RowFeature, &[features]);
    let draft = ModelDraft::new().input(&port("x")).node(operator, &["x"], &["y"], &[]).output(&port("y"));
    ModelSource::from_bytes(operator, draft.into_bytes())
}

/// W x, for x in `[feature][row]`, with the weights on the left.
fn weights_on_the_left(features: usize, outputs: usize) -> ModelSource {
    let port = |name, dims| Port::new::<f32>(name, Order::FeatureRow, &[dims]);
    let draft = ModelDraft::new()
        .input(&port("x", features))
        .weights("w", &[outputs, features], &weights(outputs * features))
        .node("MatMul", &["w", "x"], &["y"], &[])
        .output(&port("y", outputs));
    ModelSource::from_bytes("left", draft.into_bytes())
}

fn convolution(channels: [usize; 2], size: [usize; 2], kernel: usize) -> ModelSource {
    let [from, to] = channels;
    let port = |name, channels| Port::new::<f32>(name, Order::RowFeature, &[channels, size[0], size[1]]);
    let pads = [(kernel / 2) as i64; 4];
    let draft = ModelDraft::new()
        .input(&port("x", from))
        .weights("w", &[to, from, kernel, kernel], &weights(to * from * kernel * kernel))
        .node("Conv", &["x", "w"], &["y"], &[("pads", Attribute::Ints(&pads))])
        .output(&port("y", to));
    ModelSource::from_bytes("convolution", draft.into_bytes())
}

#[test]
fn networks_and_convolutions_do_not_depend_on_the_rows_beside_a_row() {
    let Some(device) = device(1) else { return };
    for order in [Order::FeatureRow, Order::RowFeature] {
        for widths in [&[10, 64, 64, 1][..], &[64, 512, 512, 1], &[3, 5, 2]] {
            let differ =
                compare(&device, &format!("network {widths:?} {order:?}"), &network(widths, order).0);
            assert!(differ.most < 1e-6, "{differ:?}");
        }
    }
    for (channels, kernel) in [([2, 16], 3), ([16, 8], 3), ([8, 4], 1)] {
        let source = convolution(channels, [10, 12], kernel);
        let differ = compare(&device, &format!("convolution {channels:?} {kernel}×{kernel}"), &source);
        assert!(differ.most < 1e-5, "{differ:?}");
    }
}

#[test]
fn the_last_bits_may_depend_on_the_place_and_on_the_number_of_rows() {
    let Some(device) = device(1) else { return };
    for operator in ["Softplus", "Elu", "Log", "Sin", "Sigmoid", "Tanh", "Softmax", "Relu"] {
        for features in [1, 3] {
            let source = elementwise(operator, features);
            let differ = compare(&device, &format!("{operator} {features}"), &source);
            assert!(differ.most < 1e-6 || differ.most.is_nan(), "{differ:?}");
        }
    }
    let differ = compare(&device, "weights on the left 64 × 64", &weights_on_the_left(64, 64));
    assert!(differ.most < 1e-5, "{differ:?}");
}
