//! Chains whose events share runs of a model.
#![cfg(feature = "onnx")]

mod onnx_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use asynchrotron::batch::{BatchConfig, BatchPolicy};
use asynchrotron::prelude::*;
use asynchrotron::{OnError, Then};
use asynchrotron_devices::inference::{Block, Blocks, Inference, Inputs, Order, Port, Rows};
use asynchrotron_devices::onnx::{Attribute, ModelConfig, ModelDraft, ModelSource, OnnxModel};
use asynchrotron_devices::{Device, DeviceConfig, DeviceError, Devices, OnDevice, columns};
use onnx_support::{Numbers, bits, device, difference, load, network, only, threads_only};

columns! {
    /// Features of clusters.
    struct Shapes, row Shape {
        energy: f32,
        width: f32,
        length: f32,
    }
}

fn events(count: usize) -> Vec<Shapes> {
    let mut numbers = Numbers(23);
    let event = |_| {
        let rows = numbers.below(5);
        let row = |_| {
            let [energy, width, length] = [(); 3].map(|()| numbers.number());
            Shape { energy, width, length }
        };
        (0..rows).map(row).collect()
    };
    (0..count).map(event).collect()
}

fn job(threads: usize, slots: usize) -> Config {
    let on_error = OnError { then: Then::Skip, ..OnError::default() };
    Config { threads, slots, on_error, ..Config::default() }
}

/// Runs a chain of one offloaded step; gives the replies in the order of the events.
fn run<Q, P>(
    step: Inference<Q>,
    device: Arc<dyn Device>,
    batches: BatchConfig,
    config: Config,
    events: Vec<P>,
) -> (Report, Vec<(u64, Blocks)>)
where
    P: Send + Sync + 'static,
    Q: asynchrotron_devices::inference::ModelRequest + From<(Arc<P>,)>,
{
    let batcher = OnDevice::batcher(step, device, batches);
    let mut chain = Chain::new("inference");
    let x = chain.source::<P>("x");
    let y = chain.offload("infer", (x,), &batcher);
    let replies = Arc::new(Mutex::new(Vec::new()));
    let here = replies.clone();
    chain.ordered_sink("keep", y, move |event: EventId, y: Arc<Blocks>| {
        here.lock().unwrap().push((event.0, Blocks::clone(&y)));
        Ok(())
    });
    let report = Scheduler::new(config).run(chain, source::from_iter(events)).unwrap();
    let replies = std::mem::take(&mut *replies.lock().unwrap());
    (report, replies)
}

const POLICIES: [&str; 5] = ["off", "greedy", "size=16", "adaptive", "fixed=16"];

#[test]
fn the_same_chain_with_the_model_and_with_plain_rust_agrees_for_every_policy() {
    let Some(_) = device(1) else { return };
    let (source, network) = network(&[3, 16, 2], Order::FeatureRow);
    for policy in POLICIES {
        let batches = || BatchConfig::default().with_policy(policy.parse().unwrap());
        let ran = ["onnx", "host", "emulated"].map(|name| {
            let device: Arc<dyn Device> = match name {
                "onnx" => Arc::new(threads_only(2).unwrap()),
                name => Devices::discover(&DeviceConfig::default()).select(name).unwrap(),
            };
            let model = OnnxModel::load(&source, &*device, ModelConfig::default()).unwrap();
            let network = network.clone();
            let step = Inference::<Rows<Shapes>>::new(model.clone())
                .unwrap()
                .with_host(move |x| Ok(network.infer(x.get::<f32>(0).context("x is f32")?).into()));
            let (report, replies) = run(step, device, batches(), job(2, 32), events(300));
            assert_eq!((report.events, replies.len()), (300, 300), "{policy}: {report}");
            assert_eq!(model.report().runs > 0, name == "onnx");
            replies
        });
        let [onnx, host, emulated] = ran;
        assert_eq!(host, emulated);
        for ((event, found), (same, expected)) in onnx.iter().zip(&host) {
            assert_eq!((event, found.rows()), (same, expected.rows()));
            let difference = difference(only(found).values(), only(expected).values());
            assert!(difference < 1e-5, "{policy}, event {event}: {difference}");
        }
    }
}

#[test]
fn thousands_of_tiny_events_share_runs() {
    let Some(device) = threads_only(2) else { return };
    let (source, _) = network(&[3, 64, 64, 1], Order::FeatureRow);
    let model = load(&source, &device);
    let step = Inference::<Rows<Shapes>>::new(model.clone()).unwrap();
    let (report, replies) = run(step, Arc::new(device), BatchConfig::default(), job(2, 256), events(5000));
    assert_eq!((report.events, replies.len()), (5000, 5000), "{report}");
    assert!(model.report().runs < 2500, "{report}");
}

#[test]
fn allowed_sizes_are_padded_up_to() {
    let Some(device) = threads_only(2) else { return };
    let (source, network) = network(&[3, 8, 1], Order::FeatureRow);
    let config = ModelConfig { sizes: vec![8, 32, 128], ..ModelConfig::default() };
    let model = OnnxModel::load(&source, &device, config).unwrap();
    let step = Inference::<Rows<Shapes>>::new(model.clone()).unwrap();
    let batches = step.batch_config(BatchConfig::default().with_policy(BatchPolicy::Size(20)));
    let all = events(400);
    let rows: usize = all.iter().map(Shapes::len).sum();
    let (report, replies) = run(step, Arc::new(device), batches, job(2, 64), all.clone());
    let padding = report.batchers[0].padding;
    assert!(padding > 0, "{report}");
    assert_eq!(model.report().rows, rows as u64 + padding);
    for ((_, reply), event) in replies.iter().zip(&all) {
        let x = Block::<f32>::pack(&[event], &[0, 1, 2], Order::FeatureRow, event.len());
        assert!(difference(only(reply).values(), network.infer(&x).values()) < 1e-5);
    }
}

/// A network with an operator whose last bits depend on the place of a row in its batch.
fn soft() -> ModelSource {
    let port = |name| Port::new::<f32>(name, Order::RowFeature, &[3]);
    let weights: Vec<f32> = {
        let mut numbers = Numbers(29);
        (0..9).map(|_| numbers.number()).collect()
    };
    let bytes = ModelDraft::new()
        .input(&port("x"))
        .weights("w", &[3, 3], &weights)
        .node("Gemm", &["x", "w"], &["s"], &[])
        .node("Softplus", &["s"], &["y"], &[])
        .output(&port("y"))
        .into_bytes();
    ModelSource::from_bytes("soft", bytes)
}

#[test]
fn fixed_batches_give_the_same_bits_whatever_threads_slots_and_lanes() {
    let Some(_) = device(1) else { return };
    let all_bits = |policy: &str, threads: usize, slots: usize, lanes: usize| -> Vec<Vec<u32>> {
        let device = device(lanes).unwrap();
        let step = Inference::<Rows<Shapes>>::new(load(&soft(), &device)).unwrap();
        let batches = BatchConfig::default().with_policy(policy.parse().unwrap());
        let (report, replies) = run(step, Arc::new(device), batches, job(threads, slots), events(500));
        assert_eq!(report.events, 500);
        replies.iter().map(|(_, reply)| bits(only(reply).values())).collect()
    };
    let expected = all_bits("fixed=16", 1, 16, 1);
    for (threads, slots, lanes) in [(1, 16, 3), (2, 16, 1), (2, 64, 2), (3, 256, 3)] {
        assert!(all_bits("fixed=16", threads, slots, lanes) == expected, "{threads} {slots} {lanes}");
    }
    // Another number of events in a batch, other places: the last bits may differ, and no more.
    let values =
        |bits: &[Vec<u32>]| bits.iter().flatten().map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>();
    let alone = all_bits("off", 1, 1, 1);
    assert!(difference(&values(&alone), &values(&expected)) < 1e-5);
    println!("alone the bits are the same: {}", alone == expected);
}

/// A model that looks rows up in a table of three: other numbers are an error of the run.
fn lookup() -> ModelSource {
    let bytes = ModelDraft::new()
        .input(&Port::new::<i64>("index", Order::RowFeature, &[]))
        .weights("table", &[3], &[0.5, 1.5, 2.5])
        .node("Gather", &["table", "index"], &["value"], &[("axis", Attribute::Int(0))])
        .output(&Port::new::<f32>("value", Order::RowFeature, &[]))
        .into_bytes();
    ModelSource::from_bytes("lookup", bytes)
}

#[test]
fn a_run_that_fails_is_split_until_the_guilty_event_stands_alone() {
    for policy in POLICIES {
        let Some(device) = threads_only(2) else { return };
        let step = Inference::<Inputs>::new(load(&lookup(), &device)).unwrap();
        let index = |event: i64| Blocks::from(Block::new(Order::RowFeature, 1, 1, vec![event % 3]));
        let mut all: Vec<Blocks> = (0..200).map(index).collect();
        all[77] = Block::new(Order::RowFeature, 2, 1, vec![1_i64, 99]).into();
        all[111] = Block::new(Order::RowFeature, 1, 1, vec![1.0_f32]).into(); // not even the right type
        let batches = BatchConfig::default().with_policy(policy.parse().unwrap());
        let (report, replies) = run(step, Arc::new(device), batches, job(2, 32), all);
        assert_eq!((report.events, report.failed, replies.len()), (198, 2, 198), "{policy}: {report}");
        for (event, reply) in &replies {
            assert_eq!(only(reply).values(), [[0.5, 1.5, 2.5][*event as usize % 3]], "{policy}");
        }
        let mut failures = report.failures.clone();
        failures.sort_by_key(|failure| failure.event.0);
        let [run, wrong] = &failures[..] else { panic!("{report}") };
        assert!(run.failure.cause().downcast_ref::<DeviceError>().is_some());
        let text = run.to_string();
        assert!(run.event.0 == 77 && text.contains("model `lookup` failed on 2 rows: "), "{text}");
        let text = wrong.to_string();
        let why =
            "model `lookup`, input `index`: expected i64 [rows], found f32, 1 rows of 1 ([row][feature])";
        assert!(wrong.event.0 == 111 && text.contains(why), "{text}");
    }
}

#[test]
fn events_that_leave_while_their_batch_runs_cost_nobody_and_no_lane() {
    let Some(device) = threads_only(1) else { return };
    let (source, _) = network(&[3, 512, 512, 1], Order::FeatureRow);
    let step = Inference::<Rows<Shapes>>::new(load(&source, &device)).unwrap();
    let device: Arc<dyn Device> = Arc::new(device);
    // Deadlines that some events miss and some do not, depending on the machine: whatever happens, all are accounted for.
    let config = Config { deadline: Some(Duration::from_micros(300)), ..job(2, 64) };
    let (report, replies) = run(step, device.clone(), BatchConfig::default(), config, events(1000));
    assert_eq!(report.events + report.failed, 1000, "{report}");
    assert_eq!(replies.len() as u64, report.events);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(device.drain());
    assert_eq!(device.lanes().available(), 1);
}
