//! What models give: published ones and networks made on the spot, in any batch.
#![cfg(feature = "onnx")]

mod onnx_support;

use std::path::Path;
use std::sync::Arc;

use asynchrotron_devices::inference::{
    AnyBlock, Block, BlockElement, Blocks, Inference, Inputs, ModelError, Order, Port, Rows, Signature,
};
use asynchrotron_devices::onnx::{Attribute, ModelConfig, ModelDraft, ModelSource, OnnxDevice, OnnxModel};
use asynchrotron_devices::{BatchStep, LaneId, Step, columns};
use onnx_support::{Numbers, bits, device, difference, load, network, only, reference_models};

const TOLERANCE: f32 = 1e-5;

fn run(model: &OnnxModel, blocks: impl Into<Blocks>) -> Blocks {
    model.run(LaneId(0), &blocks.into()).unwrap()
}

/// Of each row, what the model gives if the rows come in batches of the given sizes, in the given order, each with `padding`.
fn in_batches(
    model: &OnnxModel,
    x: &Block<f32>,
    order: &[usize],
    sizes: impl Iterator<Item = usize>,
    padding: usize,
) -> Vec<f32> {
    let features = model.signature().outputs[0].features();
    let mut found = vec![f32::NAN; x.rows() * features];
    let mut rest = order;
    for size in sizes {
        let (batch, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        let rows: Vec<Block<f32>> = batch.iter().map(|&row| x.slice(row..row + 1)).collect();
        let parts: Vec<&Block<f32>> = rows.iter().collect();
        let order = model.signature().inputs[0].order();
        let together = Block::concat(&parts, x.features(), order, batch.len() + padding);
        let y = run(model, together);
        for (index, &row) in batch.iter().enumerate() {
            for feature in 0..features {
                found[row * features + feature] = only(&y).get(index, feature);
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    found
}

/// An array of a file of numpy's.
fn array(file: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let mut archive = npyz::npz::NpzArchive::open(file).unwrap();
    let array = archive.by_name(name).unwrap().unwrap();
    assert_eq!(array.order(), npyz::Order::C);
    (array.shape().iter().map(|&dim| dim as usize).collect(), array.into_vec::<f32>().unwrap())
}

#[test]
fn every_published_model_gives_its_published_outputs_in_any_batch() {
    let Some(models) = reference_models() else { return };
    let Some(device) = device(1) else { return };
    let mut files = 0;
    for entry in std::fs::read_dir(models).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        files += 1;
        let name = file.file_stem().unwrap().to_str().unwrap();
        let model = load(&ModelSource::from_file(name, &file).unwrap(), &device);
        let io = file.with_file_name(format!("{name}_io.npz"));
        let (port, output) = (&model.signature().inputs[0], &model.signature().outputs[0]);
        let (shape, x) = array(&io, &format!("in_{}", port.name()));
        let x = Block::new(Order::RowFeature, shape[0], port.features(), x);
        let (_, expected) = array(&io, &format!("out_{}", output.name()));

        let mut numbers = Numbers(3);
        let ordered: Vec<usize> = (0..x.rows()).collect();
        let mut worst = 0.0_f32;
        for padding in [0, 1, 13] {
            let one = in_batches(&model, &x, &ordered, std::iter::repeat(1), padding);
            let all = in_batches(&model, &x, &ordered, std::iter::once(x.rows()), padding);
            worst = worst.max(difference(&one, &expected)).max(difference(&all, &expected));
        }
        for _ in 0..200 {
            let order = numbers.permutation(x.rows());
            let (padding, mut sizes) = (numbers.below(4), Numbers(numbers.0));
            let sizes = std::iter::repeat_with(|| 1 + sizes.below(7));
            worst = worst.max(difference(&in_batches(&model, &x, &order, sizes, padding), &expected));
        }
        assert!(worst < TOLERANCE, "{name}: {worst}");
        println!("{name}: {} rows, at most {worst:e} from the published outputs", x.rows());
    }
    assert!(files >= 2, "only {files} models");
}

#[test]
fn a_network_in_plain_rust_and_its_model_agree_whatever_the_order() {
    let Some(device) = device(1) else { return };
    let mut numbers = Numbers(5);
    for widths in [&[10, 64, 64, 1][..], &[3, 1], &[1, 5, 4], &[64, 128, 3], &[2, 1, 2]] {
        for order in [Order::FeatureRow, Order::RowFeature] {
            let (source, network) = network(widths, order);
            let model = load(&source, &device);
            for rows in [1, 2, 3, 7, 64, 1000] {
                let x = numbers.block(order, rows, widths[0]);
                let (expected, found) = (network.infer(&x), run(&model, x.clone()));
                assert_eq!((only(&found).order(), only(&found).rows()), (order, rows));
                let difference = difference(only(&found).values(), expected.values());
                assert!(difference < TOLERANCE, "{widths:?} {order:?} {rows}: {difference}");
            }
        }
    }
}

columns! {
    /// Features of clusters.
    struct Shapes, row Shape {
        energy: f32,
        width: f32,
        length: f32,
    }
}

fn shapes(numbers: &mut Numbers, rows: usize, packed: bool) -> Arc<Shapes> {
    let number = |_| {
        let [energy, width, length] = [(); 3].map(|()| numbers.number());
        Shape { energy, width, length }
    };
    let rows: Vec<Shape> = (0..rows).map(number).collect();
    let mut shapes = if packed { Shapes::with_packed_len(rows.len()) } else { Shapes::with_len(rows.len()) };
    rows.into_iter().enumerate().for_each(|(index, row)| shapes.set_row(index, row));
    Arc::new(shapes)
}

#[test]
fn columns_of_ragged_events_go_into_one_batch_and_each_event_gets_its_rows_back() {
    let Some(device) = device(1) else { return };
    let mut numbers = Numbers(13);
    for order in [Order::FeatureRow, Order::RowFeature] {
        let (source, network) = network(&[3, 16, 2], order);
        let step = Inference::<Rows<Shapes>>::new(load(&source, &device)).unwrap();
        for counts in [&[3_usize, 0, 1, 7][..], &[5], &[0], &[0, 0, 2]] {
            for (packed, padding) in [(false, 0), (true, 0), (true, 5), (false, 5)] {
                let events: Vec<Arc<Shapes>> =
                    counts.iter().map(|&rows| shapes(&mut numbers, rows, packed)).collect();
                let requests: Vec<Rows<Shapes>> = events.iter().cloned().map(Rows).collect();
                let requests: Vec<&Rows<Shapes>> = requests.iter().collect();
                let rows = counts.iter().sum::<usize>() + padding;
                let (input, parts) = step.pack(&requests, rows);
                assert_eq!(step.rows(&input), rows);
                let replies = step.unpack(step.on_onnx(input, LaneId(0)).unwrap(), parts);
                assert_eq!(replies.len(), counts.len());
                for (event, reply) in events.iter().zip(&replies) {
                    let x = Block::<f32>::pack(&[&**event], &[0, 1, 2], Order::FeatureRow, event.len());
                    let (y, expected) = (only(reply), network.infer(&x));
                    assert_eq!((y.rows(), y.features(), y.order()), (event.len(), 2, order));
                    for row in 0..y.rows() {
                        for feature in 0..2 {
                            let difference = (y.get(row, feature) - expected.get(row, feature)).abs();
                            assert!(difference < TOLERANCE, "{difference}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn memory_that_is_used_again_holds_nothing_of_what_it_held() {
    let event = shapes(&mut Numbers(6), 5, false);
    for (order, columns) in [Order::FeatureRow, Order::RowFeature].into_iter().zip([&[0, 1, 2][..], &[2, 0]])
    {
        let pack = |memory, rows| Block::<f32>::pack_within(memory, &[&*event], columns, order, rows);
        for (used, rows) in [(0, 5), (4, 8), (16, 5), (24, 8), (100, 9)] {
            let block = pack(vec![7.0; used], rows);
            assert_eq!(block, Block::pack(&[&*event], columns, order, rows), "{used} {rows}");
            assert!((0..columns.len()).all(|feature| (5..rows).all(|row| block.get(row, feature) == 0.0)));
        }
    }
}

#[test]
fn a_packed_collection_that_is_a_batch_by_itself_is_not_copied() {
    let collection = shapes(&mut Numbers(1), 4, true);
    let block = Block::<f32>::lent(collection.clone()).unwrap();
    assert_eq!(block.values().as_ptr(), collection.energy().as_ptr());
    assert_eq!(block, Block::pack(&[&*collection], &[0, 1, 2], Order::FeatureRow, 4));
    assert!(Block::<f32>::lent(shapes(&mut Numbers(1), 4, false)).is_err());
    assert!(Block::<i32>::lent(collection.clone()).is_err());
    for packed in [true, false] {
        let collection = shapes(&mut Numbers(1), 4, packed);
        let width = Block::<f32>::lent_column(collection.clone(), 1).unwrap();
        assert_eq!((width.rows(), width.features(), width.values()), (4, 1, collection.width()));
        assert_eq!(width.values().as_ptr(), collection.width().as_ptr());
        assert!(Block::<i32>::lent_column(collection, 1).is_err());
    }
}

/// Inputs of four types, among them several dimensions, and outputs of three: `sum` = x + table[index] + |pixels| where `use`,
/// `doubled` = 2 * index, `same` = pixels.
fn several() -> ModelSource {
    let row = Order::RowFeature;
    let bytes = ModelDraft::new()
        .input(&Port::new::<f32>("x", row, &[1]))
        .input(&Port::new::<i64>("index", row, &[]))
        .input(&Port::new::<u8>("pixels", row, &[2, 3]))
        .input(&Port::new::<bool>("use", row, &[1]))
        .weights("table", &[3, 1], &[100.0, 200.0, 300.0])
        .integers("axes", &[2], &[1, 2])
        .node("Gather", &["table", "index"], &["looked"], &[("axis", Attribute::Int(0))])
        .node("Cast", &["pixels"], &["numbers"], &[("to", Attribute::Int(1))])
        .node("ReduceSum", &["numbers", "axes"], &["total"], &[("keepdims", Attribute::Int(0))])
        .integers("last", &[1], &[1])
        .node("Unsqueeze", &["total", "last"], &["column"], &[])
        .node("Add", &["x", "looked"], &["a"], &[])
        .node("Add", &["a", "column"], &["b"], &[])
        .node("Where", &["use", "b", "x"], &["sum"], &[])
        .node("Add", &["index", "index"], &["doubled"], &[])
        .node("Identity", &["pixels"], &["same"], &[])
        .output(&Port::new::<f32>("sum", row, &[1]))
        .output(&Port::new::<i64>("doubled", row, &[]))
        .output(&Port::new::<u8>("same", row, &[2, 3]))
        .into_bytes();
    ModelSource::from_bytes("several", bytes)
}

fn column<T: BlockElement>(values: &[T]) -> AnyBlock
where
    AnyBlock: From<Block<T>>,
{
    Block::new(Order::RowFeature, values.len(), 1, values.to_vec()).into()
}

fn asked(x: &[f32], index: &[i64], pixels: &[u8], wanted: &[bool]) -> Inputs {
    let pixels = Block::new(Order::RowFeature, x.len(), 6, pixels.to_vec());
    Inputs(Arc::new(Blocks::new(vec![column(x), column(index), pixels.into(), column(wanted)])))
}

#[test]
fn inputs_and_outputs_of_several_names_types_and_shapes() {
    let Some(device) = device(1) else { return };
    let step = Inference::<Inputs>::new(load(&several(), &device)).unwrap();
    assert_eq!(
        step.signature().to_string(),
        "x: f32 [rows, 1], index: i64 [rows], pixels: u8 [rows, 2, 3], use: bool [rows, 1] → \
         sum: f32 [rows, 1], doubled: i64 [rows], same: u8 [rows, 2, 3]"
    );
    let pixels: Vec<u8> = (0..18).collect();
    let first = asked(&[0.5, 1.5], &[2, 0], &pixels[..12], &[true, false]);
    let second = asked(&[2.5], &[1], &pixels[12..], &[true]);
    let (input, parts) = step.pack(&[&first, &second], 5);
    let replies = step.unpack(step.on_onnx(input, LaneId(0)).unwrap(), parts);
    let [a, b] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(a.get::<f32>(0).unwrap().values(), [315.5, 1.5]);
    assert_eq!(b.get::<f32>(0).unwrap().values(), [2.5 + 200.0 + 87.0]);
    assert_eq!(
        (a.get::<i64>(1).unwrap().values(), b.get::<i64>(1).unwrap().values()),
        (&[4, 0][..], &[2][..])
    );
    assert_eq!(a.get::<u8>(2).unwrap().row(1), &pixels[6..12]);
    assert_eq!(b.get::<u8>(2).unwrap().values(), &pixels[12..]);
    assert!(a.get::<f64>(0).is_none() && a.get::<f32>(3).is_none());
}

#[test]
fn a_declared_signature_gives_the_order_and_leaves_outputs_out() {
    let Some(device) = device(1) else { return };
    let row = Order::RowFeature;
    let declared = Signature {
        inputs: vec![
            Port::new::<bool>("use", row, &[1]),
            Port::new::<u8>("pixels", row, &[2, 3]),
            Port::new::<f32>("x", row, &[1]),
            Port::new::<i64>("index", row, &[]),
        ],
        outputs: vec![Port::new::<i64>("doubled", row, &[])],
    };
    let config = ModelConfig { signature: Some(declared.clone()), ..ModelConfig::default() };
    let model = OnnxModel::load(&several(), &device, config).unwrap();
    assert_eq!(model.signature(), &declared);
    let pixels = Block::new(row, 1, 6, vec![0_u8; 6]).into();
    let inputs = Blocks::new(vec![column(&[true]), pixels, column(&[0.0_f32]), column(&[2_i64])]);
    let found = run(&model, inputs);
    assert_eq!(found.as_slice().len(), 1);
    assert_eq!(found.get::<i64>(0).unwrap().values(), [4]);
}

fn refusal(device: &OnnxDevice, source: &ModelSource, inputs: Vec<Port>, outputs: Vec<Port>) -> String {
    let config = ModelConfig { signature: Some(Signature { inputs, outputs }), ..ModelConfig::default() };
    OnnxModel::load(source, device, config).unwrap_err().to_string()
}

#[test]
fn a_model_that_is_not_the_declared_one_is_refused_at_start_up_with_model_input_expected_and_found() {
    let Some(device) = device(1) else { return };
    let (source, _) = network(&[10, 4], Order::FeatureRow);
    let refusal = |inputs, outputs| refusal(&device, &source, inputs, outputs);
    let x = || Port::new::<f32>("x", Order::FeatureRow, &[10]);
    let y = || Port::new::<f32>("y", Order::FeatureRow, &[4]);
    assert_eq!(
        refusal(vec![Port::new::<f32>("x", Order::FeatureRow, &[11])], vec![y()]),
        "model `network`, input `x`: expected f32 [11, rows], found f32 [10, rows]"
    );
    assert_eq!(
        refusal(vec![Port::new::<f32>("x", Order::RowFeature, &[10])], vec![y()]),
        "model `network`, input `x`: expected f32 [rows, 10], found f32 [10, rows]"
    );
    assert_eq!(
        refusal(vec![Port::new::<i64>("x", Order::FeatureRow, &[10])], vec![y()]),
        "model `network`, input `x`: expected i64 [10, rows], found f32 [10, rows]"
    );
    assert_eq!(
        refusal(vec![x()], vec![Port::new::<f32>("y", Order::FeatureRow, &[2, 2])]),
        "model `network`, output `y`: expected f32 [2, 2, rows], found f32 [4, rows]"
    );
    assert_eq!(
        refusal(vec![x()], vec![Port::new::<f32>("z", Order::FeatureRow, &[4])]),
        "model `network`, output `z`: expected f32 [4, rows], found only y"
    );
    assert_eq!(
        refusal(vec![], vec![y()]),
        "model `network`, input `x`: expected no such input, found f32 [10, rows]"
    );
    // Columns that are not the features.
    let error = Inference::<Rows<Shapes>>::new(load(&source, &device)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model `network`, input `x`: expected f32 [10, rows], found columns of types f32, f32, f32"
    );
}

#[test]
fn several_free_dimensions_need_a_declaration() {
    let Some(device) = device(1) else { return };
    let port = |name| Port::new::<f32>(name, Order::RowFeature, &[200]);
    let (x, y) = (port("x"), port("y"));
    let draft = ModelDraft::new().input(&x).node("Neg", &["x"], &["y"], &[]).output(&y);
    let mut bytes = draft.into_bytes();
    // The dimension of 200, and in its place one of the name `n`.
    let (fixed, free) = ([0x0a, 0x03, 0x08, 0xc8, 0x01], [0x0a, 0x03, 0x12, 0x01, b'n']);
    while let Some(place) = bytes.windows(5).position(|window| window == fixed) {
        bytes[place..place + 5].copy_from_slice(&free);
    }
    let source = ModelSource::from_bytes("free", bytes);
    let error = OnnxModel::load(&source, &device, ModelConfig::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        "model `free`, input `x`: expected one free dimension, the first or the last, that counts rows (or a declared \
         signature), found f32 [rows, n]"
    );
    let signature = Signature { inputs: vec![x], outputs: vec![y] };
    let config = ModelConfig { signature: Some(signature), ..ModelConfig::default() };
    let model = OnnxModel::load(&source, &device, config).unwrap();
    let x = Numbers(1).block(Order::RowFeature, 3, 200);
    assert!(only(&run(&model, x.clone())).values().iter().zip(x.values()).all(|(y, x)| *y == -x));
}

#[test]
fn a_model_of_a_fixed_batch_takes_no_other() {
    let Some(device) = device(1) else { return };
    let port = |name| Port::new::<f32>(name, Order::RowFeature, &[2]);
    let draft = ModelDraft::new().input(&port("x")).node("Neg", &["x"], &["y"], &[]).output(&port("y"));
    let mut bytes = draft.into_bytes();
    // The dimension of the name `rows`, and in its place one of 8, written as long.
    let (free, fixed) = (*b"\x0a\x06\x12\x04rows", [0x0a, 0x06, 0x08, 0x88, 0x80, 0x80, 0x80, 0x00]);
    while let Some(place) = bytes.windows(8).position(|window| window == free) {
        bytes[place..place + 8].copy_from_slice(&fixed);
    }
    let model = load(&ModelSource::from_bytes("eight", bytes), &device);
    assert_eq!((model.sizes(), model.signature().inputs[0].fixed_rows()), (&[8][..], Some(8)));
    let x = Numbers(1).block(Order::RowFeature, 5, 2);
    let error = model.run(LaneId(0), &x.clone().into()).unwrap_err().to_string();
    assert_eq!(
        error,
        "model `eight`, input `x`: expected f32 [8, 2], found f32, 5 rows of 2 ([row][feature])"
    );
    let step = Inference::<Inputs>::new(model).unwrap();
    let (input, parts) = step.pack(&[&Inputs(Arc::new(x.clone().into()))], 8);
    let reply = step.unpack(step.on_onnx(input, LaneId(0)).unwrap(), parts);
    assert!(only(&reply[0]).values().iter().zip(x.values()).all(|(y, x)| *y == -x));
}

#[test]
fn an_output_of_other_rows_is_found_by_the_warm_up() {
    let Some(device) = device(1) else { return };
    let row = Order::RowFeature;
    let bytes = ModelDraft::new()
        .input(&Port::new::<f32>("x", row, &[1]))
        .integers("shape", &[2], &[-1, 2])
        .node("Reshape", &["x", "shape"], &["pairs"], &[])
        .output(&Port::new::<f32>("pairs", row, &[2]))
        .into_bytes();
    // Half as many rows come out.
    let error = OnnxModel::load(
        &ModelSource::from_bytes("pairs", bytes),
        &device,
        ModelConfig { sizes: vec![4], ..ModelConfig::default() },
    );
    let error = error.unwrap_err().to_string();
    let expected = "model `pairs`, output `pairs`: expected f32 [rows, 2] for 4 rows, found ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn allowed_sizes_are_warmed_up_and_given_to_the_batcher() {
    let Some(device) = device(2) else { return };
    let (source, _) = network(&[3, 1], Order::RowFeature);
    let config = ModelConfig { sizes: vec![64, 16, 256, 16], ..ModelConfig::default() };
    let model = OnnxModel::load(&source, &device, config).unwrap();
    assert_eq!(model.sizes(), [16, 64, 256]);
    let report = model.report();
    assert!(report.runs == 0 && !report.warm_up.is_zero() && !report.load.is_zero());
    let step = Inference::<Rows<Shapes>>::new(model).unwrap();
    assert_eq!(step.batch_config(Default::default()).sizes, [16, 64, 256]);
}

#[test]
fn what_is_no_model_is_an_error_at_start_up_that_names_the_file() {
    let Some(device) = device(1) else { return };
    let folder = std::env::temp_dir().join(format!("asynchrotron-bad-models-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (good, _) = network(&[10, 64, 1], Order::FeatureRow);
    let whole = good.bytes();
    let mut broken = whole.to_vec();
    broken[0] ^= 0xff;
    let cases = [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("truncated at the end", whole[..whole.len() - 1].to_vec()),
        ("empty", Vec::new()),
        ("text", b"This is not a model.".to_vec()),
        ("broken", broken),
    ];
    for (name, bytes) in cases {
        let file = folder.join(format!("{name}.onnx"));
        std::fs::write(&file, bytes).unwrap();
        let source = ModelSource::from_file("tau", &file).unwrap();
        let error = OnnxModel::load(&source, &device, ModelConfig::default()).unwrap_err().to_string();
        let expected = format!("model `tau` ({}) cannot be loaded: ", file.display());
        assert!(error.starts_with(&expected) && error.lines().count() == 1, "{name}: {error}");
    }
    let missing = folder.join("missing.onnx");
    let error = ModelSource::from_file("tau", &missing).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("model `tau` cannot be read from {}: ", missing.display())),
        "{error}"
    );
    let unknown = ModelDraft::new()
        .input(&Port::new::<f32>("x", Order::RowFeature, &[1]))
        .node("Teleport", &["x"], &["y"], &[])
        .output(&Port::new::<f32>("y", Order::RowFeature, &[1]))
        .into_bytes();
    let error = OnnxModel::load(&ModelSource::from_bytes("x", unknown), &device, ModelConfig::default());
    let error = error.unwrap_err();
    assert!(matches!(&error, ModelError::Load { why, .. } if why.contains("Teleport")), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_graph_optimised_ahead_of_time_gives_the_same_bits() {
    let Some(device) = device(1) else { return };
    let folder = std::env::temp_dir().join(format!("asynchrotron-optimized-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut numbers = Numbers(17);
    for order in [Order::FeatureRow, Order::RowFeature] {
        let (source, _) = network(&[10, 64, 64, 1], order);
        let file = folder.join("network.optimized.onnx");
        let optimized = source.optimize(&file).unwrap();
        assert!(optimized.is_optimized() && optimized.sha256() != source.sha256());
        let again = ModelSource::from_file("network", &file).unwrap().already_optimized();
        assert_eq!(again.sha256(), optimized.sha256());
        let (model, ahead) = (load(&source, &device), load(&again, &device));
        let x = numbers.block(order, 37, 10);
        let (found, expected) = (run(&ahead, x.clone()), run(&model, x));
        assert_eq!(bits(only(&found).values()), bits(only(&expected).values()));
        assert!(ahead.report().to_string().contains(", optimised ahead of time"));
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing but the graph is left");
    std::fs::remove_dir_all(&folder).unwrap();
}
