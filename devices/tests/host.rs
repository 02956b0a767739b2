//! The host device: the conformance suite, and what only the host promises.

mod conformance;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use asynchrotron_devices::{
    Device, DeviceConfig, DeviceError, DeviceErrorKind, DeviceKind, Devices, HostConfig, HostDevice, Step,
};
use conformance::{Held, Sum, Tracker, block_on, held, within_reason};

fn host() -> Arc<dyn Device> {
    Arc::new(HostDevice::new(HostConfig { lanes: 3, ..HostConfig::default() }))
}

mod default {
    super::conformance::suite!(super::host);
}

/// All steps that may run on the caller's thread do, as soon as they are known.
mod inline {
    use super::*;

    fn host() -> Arc<dyn Device> {
        Arc::new(HostDevice::new(HostConfig { lanes: 2, inline_below: Duration::MAX }))
    }
    super::conformance::suite!(host);
}

/// No step runs on the caller's thread.
mod threads {
    use super::*;

    fn host() -> Arc<dyn Device> {
        Arc::new(HostDevice::new(HostConfig { lanes: 2, inline_below: Duration::ZERO }))
    }
    super::conformance::suite!(host);
}

/// Works for a while and says where.
struct Busy(Duration);

impl Step for Busy {
    type Input = ();
    type Output = ThreadId;

    fn name(&self) -> &str {
        "busy"
    }

    fn rows(&self, _: &()) -> usize {
        1
    }

    fn on_host(&self, _: ()) -> anyhow::Result<ThreadId> {
        let begin = Instant::now();
        while begin.elapsed() < self.0 {
            std::hint::spin_loop();
        }
        Ok(thread::current().id())
    }
}

fn run<S: Step>(device: &dyn Device, step: S, input: S::Input) -> Result<S::Output, DeviceError> {
    block_on(device.run(&Arc::new(step), input))
}

/// A host that takes every step for short that is known.
fn patient() -> Arc<dyn Device> {
    Arc::new(HostDevice::new(HostConfig { lanes: 2, inline_below: Duration::MAX }))
}

#[test]
fn a_step_runs_where_it_is_once_it_is_known_to_be_short() {
    let (device, here) = (patient(), thread::current().id());
    let places: Vec<_> = (0..3).map(|_| run(&*device, Busy(Duration::ZERO), ()).unwrap() == here).collect();
    assert_eq!(places, [false, true, true]);
}

#[test]
fn a_long_step_never_runs_where_it_is() {
    let config = HostConfig { lanes: 2, inline_below: Duration::from_micros(100) };
    let device = Arc::new(HostDevice::new(config)) as Arc<dyn Device>;
    for _ in 0..20 {
        let place = run(&*device, Busy(Duration::from_micros(200)), ()).unwrap();
        assert_ne!(place, thread::current().id());
    }
}

#[test]
fn a_step_that_runs_where_it_is_waits_for_no_lane() {
    let device = patient();
    run(&*device, Busy(Duration::ZERO), ()).unwrap();
    let lanes: Vec<_> = std::iter::from_fn(|| device.lanes().try_take()).collect();
    assert_eq!(run(&*device, Busy(Duration::ZERO), ()).unwrap(), thread::current().id());
    drop(lanes);
}

#[test]
fn a_lane_submitted_with_a_step_that_runs_where_it_is_comes_back_at_once() {
    let device = patient();
    run(&*device, Busy(Duration::ZERO), ()).unwrap();
    let completion = device.submit(device.lanes().try_take().unwrap(), Arc::new(Busy(Duration::ZERO)), ());
    assert_eq!(device.lanes().available(), 2);
    assert_eq!(block_on(completion).unwrap(), thread::current().id());
}

/// Tells that it has begun, and waits; and so does the drop of what it gives out.
struct Linger;

struct Lingering(Sender<()>, Receiver<()>);

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
fn work_that_was_cancelled_before_it_began_is_skipped() {
    within_reason(|| {
        let device: Arc<dyn Device> =
            Arc::new(HostDevice::new(HostConfig { lanes: 1, ..HostConfig::default() }));
        let tracker = Tracker::default();
        // Keeps the driver thread busy after the lane is back.
        let ((lingers, wait), (go, held_back)) = (channel(), channel());
        let lane = device.lanes().try_take().unwrap();
        let abandoned = device.submit(lane, Arc::new(Linger), Lingering(lingers, held_back));
        wait.recv().unwrap(); // it runs
        drop(abandoned);
        go.send(()).unwrap();
        wait.recv().unwrap(); // its output is being dropped

        let (input, hold) = held(tracker.buffer());
        let lane = block_on(device.lanes().take()).unwrap();
        let queued = device.submit(lane, Arc::new(Held), input);
        assert_eq!(tracker.alive(), 1);
        drop(queued);
        go.send(()).unwrap();
        block_on(device.drain());
        assert_eq!((hold.is_running(), tracker.alive(), device.lanes().available()), (false, 0, 1));
    });
}

#[test]
fn a_lane_of_another_device_is_refused() {
    within_reason(|| {
        let (device, tracker) = (host(), Tracker::default());
        let larger = HostDevice::new(HostConfig { lanes: 4, ..HostConfig::default() });
        let mut lanes: Vec<_> = std::iter::from_fn(|| larger.lanes().try_take()).collect();
        let beyond = lanes.pop().unwrap();
        let error = block_on(device.submit(beyond, Arc::new(Held), held(tracker.buffer()).0)).unwrap_err();
        assert!(matches!(error.kind(), DeviceErrorKind::Refused(_)), "{error}");
        assert_eq!((tracker.alive(), larger.lanes().available()), (0, 1));
    });
}

#[test]
fn the_host_is_always_there_and_what_is_not_says_why() {
    let devices = Devices::discover(&DeviceConfig::default());
    assert_eq!(devices.select("host").unwrap().name(), "host");
    assert!(devices.present().iter().any(|device| device.kind() == DeviceKind::Emulated));
    assert!(devices.to_string().lines().count() >= 4);
    if devices.present().iter().any(|device| device.kind() == DeviceKind::Cuda) {
        println!("skipped in part: there is a GPU");
        return;
    }
    assert_eq!(devices.select("auto").unwrap().kind(), DeviceKind::Host);
    for name in ["cuda", "cuda:1", "cuda:all"] {
        let error = devices.select(name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("device `{name}` is not here: ")), "{error}");
        assert!(error.contains("CUDA support") || error.contains("NVIDIA's driver"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    let error = devices.select("cdua").unwrap_err().to_string();
    assert!(
        error.starts_with("there is no device `cdua`; did you mean `cuda`? Known: cuda, auto, "),
        "{error}"
    );
}

#[test]
fn a_device_without_lanes_configured_has_one_per_core() {
    let cores = thread::available_parallelism().unwrap().get();
    let device = HostDevice::default();
    assert_eq!((device.capability().lanes, device.lanes().len()), (cores, cores));
    let device = Arc::new(device) as Arc<dyn Device>;
    assert_eq!(run(&*device, Sum, vec![1.0, 2.0]).unwrap(), 3.0);
}
