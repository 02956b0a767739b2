//! ONNX Runtime: the conformance suite, and what only this device promises.
#![cfg(feature = "onnx")]

mod conformance;
mod onnx_support;

use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use asynchrotron_devices::inference::{
    AnyBlock, Block, BlockElement, Blocks, Inference, Inputs, ModelError, Order, Port,
};
use asynchrotron_devices::onnx::{Attribute, ModelConfig, ModelDraft, ModelSource, OnnxConfig, OnnxModel};
use asynchrotron_devices::{
    BatchStep, Device, DeviceConfig, DeviceErrorKind, DeviceKind, Devices, Fused, LaneId, Step,
};
use conformance::{Held, Tracker, block_on, held, within_reason};
use onnx_support::{Numbers, device, device_with, load, network, only, threads_only};

fn is_here() -> bool {
    device(1).is_some()
}

mod default {
    use super::*;

    fn onnx() -> Arc<dyn Device> {
        Arc::new(device(3).unwrap())
    }
    super::conformance::suite!(onnx, super::is_here);
}

/// All steps that may run on the caller's thread do, as soon as they are known.
mod inline {
    use super::*;

    fn onnx() -> Arc<dyn Device> {
        Arc::new(device_with(OnnxConfig { lanes: 2, inline_below: Duration::MAX }).unwrap())
    }
    super::conformance::suite!(onnx, super::is_here);
}

/// No step runs on the caller's thread.
mod threads {
    use super::*;

    fn onnx() -> Arc<dyn Device> {
        Arc::new(threads_only(2).unwrap())
    }
    super::conformance::suite!(onnx, super::is_here);
}

fn of_rows(rows: usize, features: usize) -> Arc<Blocks> {
    Arc::new(Numbers(1).block(Order::RowFeature, rows, features).into())
}

/// What one request asks of the step, alone.
async fn ask(
    device: &dyn Device,
    step: &Arc<Inference<Inputs>>,
    request: Arc<Blocks>,
) -> Result<Blocks, asynchrotron_devices::DeviceError> {
    let rows = request.rows();
    let (input, parts) = step.pack(&[&Inputs(request)], rows);
    let mut replies = step.unpack(device.run(step, input).await?, parts);
    Ok(replies.pop().unwrap())
}

#[test]
fn it_is_among_the_devices_and_never_chosen_automatically() {
    let Some(_) = device(1) else { return };
    let devices = Devices::discover(&DeviceConfig::default());
    assert_eq!(devices.select("onnx").unwrap().kind(), DeviceKind::Onnx);
    assert_eq!(devices.select("auto").unwrap().kind(), DeviceKind::Host);
    assert!(
        devices.to_string().contains("\nonnx      ONNX Runtime 1.")
            || devices.to_string().starts_with("onnx")
    );
}

/// Set in a process of its own, which has loaded nothing yet.
const FRESH: &str = "ASYNCHROTRON_TEST_FRESH";

#[test]
#[cfg(target_os = "linux")]
fn the_library_is_loaded_when_the_device_is_asked_for_and_not_before() {
    let is_loaded = || std::fs::read_to_string("/proc/self/maps").unwrap().contains("libonnxruntime");
    if std::env::var_os(FRESH).is_some() {
        let devices = Devices::discover(&DeviceConfig::default());
        for name in ["auto", "host", "emulated", "emulated:lanes=2"] {
            devices.select(name).unwrap();
        }
        assert!(!is_loaded());
        let [first, again] = [(); 2].map(|()| devices.clone().select("onnx").unwrap());
        assert!(is_loaded() && Arc::ptr_eq(&first, &again));
        return;
    }
    if !is_here() {
        return;
    }
    let name = "the_library_is_loaded_when_the_device_is_asked_for_and_not_before";
    let fresh =
        Command::new(std::env::current_exe().unwrap()).args(["--exact", name]).env(FRESH, "1").output();
    let fresh = fresh.unwrap();
    assert!(fresh.status.success(), "{}", String::from_utf8_lossy(&fresh.stdout));
}

/// Set in a process of its own that has no library.
const WITHOUT: &str = "ASYNCHROTRON_TEST_WITHOUT_LIBRARY";

#[test]
fn without_the_library_one_line_says_what_is_missing_and_everything_else_works() {
    if std::env::var_os(WITHOUT).is_some() {
        let devices = Devices::discover(&DeviceConfig::default());
        assert_eq!(devices.select("auto").unwrap().kind(), DeviceKind::Host);
        println!("{}", devices.select("onnx").unwrap_err());
        let (source, _) = network(&[2, 1], Order::RowFeature);
        let host = devices.select("host").unwrap();
        println!("{}", OnnxModel::load(&source, &*host, ModelConfig::default()).unwrap_err());
        return;
    }
    let name = "without_the_library_one_line_says_what_is_missing_and_everything_else_works";
    let run = |library: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(WITHOUT, "1")
            .env("ORT_DYLIB_PATH", library)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let todo = "set ORT_DYLIB_PATH to libonnxruntime of version 1.31 or later, or build again where python3 -m pip can \
                download it";
    let text = run("/nowhere/libonnxruntime.so");
    let why = "ORT_DYLIB_PATH names /nowhere/libonnxruntime.so, which is no file";
    assert!(text.contains(&format!("device `onnx` is not here: {why}; {todo}\n")), "{text}");
    assert!(text.contains(&format!("model `network` needs ONNX Runtime: {why}; {todo}\n")), "{text}");

    let text = run(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    assert!(text.contains("Cargo.toml cannot be loaded: ") && text.contains(todo), "{text}");
}

#[test]
fn a_short_run_is_inline_on_the_lanes_own_session_and_a_long_one_never_is() {
    let Some(patient) = device_with(OnnxConfig { lanes: 1, inline_below: Duration::MAX }) else { return };
    let Some(impatient) = threads_only(1) else { return };
    for (device, inline) in [(patient, true), (impatient, false)] {
        let (source, _) = network(&[4, 1], Order::RowFeature);
        let step = Arc::new(Inference::<Inputs>::new(load(&source, &device)).unwrap());
        let device: Arc<dyn Device> = Arc::new(device);
        block_on(async {
            ask(&*device, &step, of_rows(3, 4)).await.unwrap(); // known from here on
            let (input, _) = step.pack(&[&Inputs(of_rows(3, 4))], 3);
            let lane = device.lanes().try_take().unwrap();
            let mut completion = std::pin::pin!(device.submit(lane, step.clone(), input));
            let polled =
                std::future::poll_fn(|cx| std::task::Poll::Ready(completion.as_mut().poll(cx))).await;
            if inline {
                assert!(polled.is_ready());
                // Not without a lane: its session may be at work.
                let lane = device.lanes().try_take().unwrap();
                let mut waiting = std::pin::pin!(ask(&*device, &step, of_rows(3, 4)));
                let polled =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await;
                assert!(polled.is_pending());
                drop(lane);
                waiting.await.unwrap();
            }
        });
    }
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

fn column<T: BlockElement>(values: &[T]) -> Arc<Blocks>
where
    AnyBlock: From<Block<T>>,
{
    Arc::new(Block::new(Order::RowFeature, values.len(), 1, values.to_vec()).into())
}

#[test]
fn a_failing_run_reaches_who_awaits_it_and_the_session_goes_on() {
    for device in [threads_only(2), device_with(OnnxConfig { lanes: 2, inline_below: Duration::MAX })] {
        let Some(device) = device else { return };
        let step = Arc::new(Inference::<Inputs>::new(load(&lookup(), &device)).unwrap());
        let device: Arc<dyn Device> = Arc::new(device);
        block_on(async {
            for _ in 0..5 {
                let found = ask(&*device, &step, column(&[2_i64, 0])).await.unwrap();
                assert_eq!(only(&found).values(), [2.5, 0.5]);
                let error = ask(&*device, &step, column(&[1_i64, 7])).await.unwrap_err();
                assert_eq!((error.device(), error.step()), ("onnx", "lookup"));
                let cause = error.step_error::<ModelError>().unwrap();
                let ModelError::Run { model, rows: 2, why } = cause else { panic!("{cause}") };
                assert!(model == "lookup" && why.contains("indices element out of data bounds"), "{why}");
            }
        });
        assert_eq!(device.lanes().available(), 2);
    }
}

#[test]
fn what_does_not_fit_is_refused_before_it_begins_and_says_what_was_expected() {
    let Some(device) = device(1) else { return };
    let model = load(&lookup(), &device);
    let step = Arc::new(Inference::<Inputs>::new(model.clone()).unwrap());
    let device: Arc<dyn Device> = Arc::new(device);
    let error = block_on(ask(&*device, &step, column(&[1.0_f32]))).unwrap_err();
    assert!(matches!(error.kind(), DeviceErrorKind::Step(_)));
    assert_eq!(
        error.step_error::<ModelError>().unwrap().to_string(),
        "model `lookup`, input `index`: expected i64 [rows], found f32, 1 rows of 1 ([row][feature])"
    );
    assert_eq!(model.report().runs, 0);
}

#[test]
fn a_run_whose_waiter_has_left_before_it_began_is_skipped_and_one_that_has_begun_ends() {
    within_reason(|| {
        let Some(device) = threads_only(1) else { return };
        let (source, _) = network(&[4, 1], Order::RowFeature);
        let model = load(&source, &device);
        let step = Arc::new(Inference::<Inputs>::new(model.clone()).unwrap());
        let device: Arc<dyn Device> = Arc::new(device);
        // Keeps the driver thread busy after the lane is back: the completion's waker runs there.
        let (busy, is_busy) = channel::<()>();
        let (go, wait) = channel::<()>();
        let lane = device.lanes().try_take().unwrap();
        let abandoned = device.submit(lane, Arc::new(Linger), Lingering(busy, wait));
        is_busy.recv().unwrap(); // it runs
        drop(abandoned);
        go.send(()).unwrap();
        is_busy.recv().unwrap(); // its output is being dropped, and the lane is free
        let lane = block_on(device.lanes().take()).unwrap();
        let (input, _) = step.pack(&[&Inputs(of_rows(3, 4))], 3);
        drop(device.submit(lane, step.clone(), input));
        go.send(()).unwrap();
        block_on(device.drain());
        assert_eq!(model.report().runs, 0);

        block_on(async {
            for _ in 0..100 {
                let (input, _) = step.pack(&[&Inputs(of_rows(500, 4))], 500);
                let lane = device.lanes().take().await.unwrap();
                drop(device.submit(lane, step.clone(), input));
            }
            device.drain().await;
            ask(&*device, &step, of_rows(3, 4)).await.unwrap();
        });
        assert_eq!(device.lanes().available(), 1);
    });
}

/// Tells that it has begun, and waits; and so does the drop of what it gives out.
struct Linger;

struct Lingering(std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>);

impl Lingering {
    fn linger(&self) {
        let _ = self.0.send(());
        let _ = self.1.recv();
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.linger();
    }
}

impl Step for Linger {
    type Input = Lingering;
    type Output = Lingering;

    fn name(&self) -> &str {
        "linger"
    }

    fn rows(&self, _: &Lingering) -> usize {
        1
    }

    fn on_host(&self, input: Lingering) -> anyhow::Result<Lingering> {
        input.linger();
        Ok(input)
    }
}

#[test]
fn closing_and_dropping_never_hang_whatever_is_on_the_lanes() {
    within_reason(|| {
        let Some(device) = threads_only(2) else { return };
        let (source, _) = network(&[64, 256, 1], Order::RowFeature);
        let step = Arc::new(Inference::<Inputs>::new(load(&source, &device)).unwrap());
        let device: Arc<dyn Device> = Arc::new(device);
        let (input, hold) = held(Tracker::default().buffer());
        let stuck = device.submit(device.lanes().try_take().unwrap(), Arc::new(Held), input);
        hold.wait_until_running();
        let (input, _) = step.pack(&[&Inputs(of_rows(2000, 64))], 2000);
        let running = device.submit(device.lanes().try_take().unwrap(), step.clone(), input);
        device.close();
        assert_eq!(block_on(running).unwrap().rows(), 2000);
        let error = block_on(ask(&*device, &step, of_rows(1, 64))).unwrap_err();
        assert!(matches!(error.kind(), DeviceErrorKind::Closed));
        drop(device); // the stuck one is still there
        hold.open();
        block_on(stuck).unwrap();
    });
}

#[test]
fn many_threads_share_the_lanes() {
    within_reason(|| {
        let Some(device) = device(3) else { return };
        let (source, network) = network(&[6, 20, 2], Order::RowFeature);
        let step = Arc::new(Inference::<Inputs>::new(load(&source, &device)).unwrap());
        let device: Arc<dyn Device> = Arc::new(device);
        thread::scope(|scope| {
            for seed in 0..6 {
                let (device, step, network) = (&device, &step, &network);
                scope.spawn(move || {
                    let mut numbers = Numbers(seed);
                    for _ in 0..200 {
                        let rows = 1 + numbers.below(40);
                        let x = numbers.block(Order::RowFeature, rows, 6);
                        let y = block_on(ask(&**device, step, Arc::new(x.clone().into()))).unwrap();
                        let expected = network.infer(&x);
                        assert!(onnx_support::difference(only(&y).values(), expected.values()) < 1e-5);
                    }
                });
            }
        });
        assert_eq!(step.model().unwrap().report().runs, 1200);
        assert_eq!(device.lanes().available(), 3);
    });
}

#[test]
fn a_model_that_was_loaded_for_fewer_lanes_says_so() {
    let Some(small) = device(1) else { return };
    let (source, _) = network(&[2, 1], Order::RowFeature);
    let model = load(&source, &small);
    let error = model.run(LaneId(1), &of_rows(1, 2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model `network` was loaded for 1 lanes, and this is number 1: load it for the device that runs it"
    );
}

#[test]
fn a_model_without_a_body_for_the_host_runs_on_other_devices_as_well() {
    let Some(onnx) = device(2) else { return };
    let (source, network) = network(&[3, 8, 1], Order::RowFeature);
    let step = Arc::new(Inference::<Inputs>::new(load(&source, &onnx)).unwrap());
    let devices = Devices::discover(&DeviceConfig::default());
    let expected = network.infer(of_rows(5, 3).get::<f32>(0).unwrap());
    for name in ["host", "emulated"] {
        let found = block_on(ask(&*devices.select(name).unwrap(), &step, of_rows(5, 3))).unwrap();
        assert!(onnx_support::difference(only(&found).values(), expected.values()) < 1e-5);
    }
}

#[test]
fn fused_with_a_step_on_the_host_it_runs_on_the_lane() {
    /// All outputs together.
    struct Sum;

    impl Step for Sum {
        type Input = Blocks;
        type Output = f32;

        fn name(&self) -> &str {
            "sum"
        }

        fn rows(&self, input: &Blocks) -> usize {
            input.rows()
        }

        fn on_host(&self, input: Blocks) -> anyhow::Result<f32> {
            Ok(only(&input).values().iter().sum())
        }
    }
    let Some(device) = threads_only(1) else { return };
    let model = load(&lookup(), &device);
    let step = Inference::<Inputs>::new(model.clone()).unwrap();
    let (input, _) = step.pack(&[&Inputs(column(&[0_i64, 1, 2]))], 3);
    let fused = Arc::new(Fused::new(step, Sum, |blocks| blocks));
    let device: Arc<dyn Device> = Arc::new(device);
    assert_eq!(block_on(device.run(&fused, input)).unwrap(), 4.5);
    assert_eq!(model.report().runs, 1);
}
