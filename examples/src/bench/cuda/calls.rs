//! What the driver's calls cost, from one thread and from several at once: the floor under everything else.

use std::time::Instant;

use asynchrotron::prelude::*;
use asynchrotron_devices::cuda::{Call, CudaConfig, CudaDevice, Driver, Launch};
use serde_json::{Value, json};

use super::spin::SPIN;
use super::{Gpu, open, round};

const CALLS: u32 = 20_000;

pub(super) fn run(gpu: &Gpu, tell: &mut dyn FnMut(Value)) -> Result<()> {
    let begin = Instant::now();
    let device = open(CudaConfig { lanes: 64, ..CudaConfig::default() })?;
    let opened = begin.elapsed();
    let begin = Instant::now();
    drop(device);
    tell(
        json!({ "call": "open 64 lanes", "ms": round(opened.as_secs_f64() * 1e3), "close_ms": round(begin.elapsed().as_secs_f64() * 1e3) }),
    );
    for threads in [1, 2, 4, 8] {
        let mut times: Vec<Times> = Vec::new();
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| measure(&gpu.device))).collect();
            for thread in running {
                times.push(thread.join().expect("it does not panic")?);
            }
            Ok::<_, Error>(())
        })?;
        let mean = |field: fn(&Times) -> f64| round(times.iter().map(field).sum::<f64>() / threads as f64);
        tell(json!({
            "threads": threads, "bind_ns": mean(|t| t.bind), "launch_ns": mean(|t| t.launch), "record_ns": mean(|t| t.record),
            "query_pending_ns": mean(|t| t.pending), "query_reached_ns": mean(|t| t.reached),
            "launch_record_ns": mean(|t| t.launch_record), "on_32_streams_ns": mean(|t| t.on_many),
        }));
    }
    graphs(&gpu.device, tell)
}

/// What it takes to launch two kernels as one, by one thread on streams that alternate; the arguments of one change each time.
fn graphs(device: &CudaDevice, tell: &mut dyn FnMut(Value)) -> Result<()> {
    const ROUNDS: u32 = 200;
    let driver: &dyn Driver = &**device.driver();
    driver.bind()?;
    let module = driver.load(&driver.compile(&SPIN, false)?.code)?;
    let spin = driver.function(module, "spin")?;
    let ticks = [[0], [1]];
    let call = |ticks| Call { function: spin, launch: Launch::blocks(1, 1), arguments: ticks };
    for streams in [1, 16, 64] {
        let graphs = (0..streams).map(|_| {
            let graph = driver.graph(&[call(&ticks[0]); 2])?;
            Ok((graph, driver.create_stream()?, driver.create_event(false)?))
        });
        let graphs = graphs.collect::<Result<Vec<_>>>()?;
        let (mut change, mut launch) = (0.0, 0.0);
        for round in 0..ROUNDS {
            for (graph, stream, _) in &graphs {
                let begin = Instant::now();
                driver.change(*graph, 1, call(&ticks[round as usize % 2]))?;
                change += begin.elapsed().as_secs_f64();
                let begin = Instant::now();
                driver.replay(*graph, *stream)?;
                launch += begin.elapsed().as_secs_f64();
            }
        }
        for (graph, stream, event) in graphs {
            driver.record(event, stream)?;
            driver.synchronize(event)?;
            driver.destroy_graph(graph);
            driver.destroy_event(event);
            driver.destroy_stream(stream);
        }
        let each = |seconds: f64| round(seconds * 1e9 / f64::from(ROUNDS * streams));
        tell(json!({
            "graphs_of": "2 kernels", "streams": streams, "change_ns": each(change), "launch_ns": each(launch),
        }));
    }
    Ok(())
}

/// Nanoseconds per call.
struct Times {
    bind: f64,
    launch: f64,
    record: f64,
    launch_record: f64,
    /// The same, on one stream after the other.
    on_many: f64,
    pending: f64,
    reached: f64,
}

fn measure(device: &CudaDevice) -> Result<Times> {
    let driver: &dyn Driver = &**device.driver();
    driver.bind()?;
    let (stream, event) = (driver.create_stream()?, driver.create_event(false)?);
    let module = driver.load(&driver.compile(&SPIN, false)?.code)?;
    let spin = driver.function(module, "spin")?;
    let launch = |ticks: i64| {
        driver
            .launch(Call { function: spin, launch: Launch::blocks(1, 1), arguments: &[ticks as u64] }, stream)
    };
    let wait = || {
        while !driver.is_reached(event)? {
            std::hint::spin_loop();
        }
        Ok::<_, Error>(())
    };
    let time = |call: &dyn Fn() -> Result<()>| {
        // In portions that the stream's queue holds.
        const PORTION: u32 = 200;
        let mut total = 0.0;
        for _ in 0..CALLS / PORTION {
            let begin = Instant::now();
            for _ in 0..PORTION {
                call()?;
            }
            total += begin.elapsed().as_secs_f64();
            driver.record(event, stream)?;
            wait()?;
        }
        Ok::<_, Error>(total * 1e9 / f64::from(CALLS))
    };
    let launch_record = time(&|| {
        launch(0)?;
        Ok(driver.record(event, stream)?)
    })?;
    let many = (0..32).map(|_| Ok((driver.create_stream()?, driver.create_event(false)?)));
    let many = many.collect::<Result<Vec<_>>>()?;
    let next = std::cell::Cell::new(0);
    let on_many = time(&|| {
        let (stream, event) = many[next.replace((next.get() + 1) % many.len())];
        driver.launch(Call { function: spin, launch: Launch::blocks(1, 1), arguments: &[0] }, stream)?;
        Ok(driver.record(event, stream)?)
    })?;
    for (stream, event) in many {
        driver.synchronize(event)?;
        driver.destroy_event(event);
        driver.destroy_stream(stream);
    }
    let [bind, launched, record, reached] = [
        time(&|| Ok(driver.bind()?))?,
        time(&|| Ok(launch(0)?))?,
        time(&|| Ok(driver.record(event, stream)?))?,
        time(&|| driver.is_reached(event).map(|_| ()).map_err(Error::new))?,
    ];
    // Half a second of kernel, unless the machine is quicker.
    launch(800_000_000)?;
    driver.record(event, stream)?;
    let begin = Instant::now();
    let mut asked = 0;
    while asked < CALLS && !driver.is_reached(event)? {
        asked += 1;
    }
    let pending = begin.elapsed().as_secs_f64() * 1e9 / f64::from(asked.max(1));
    wait()?;
    driver.destroy_event(event);
    driver.destroy_stream(stream);
    Ok(Times { bind, launch: launched, record, launch_record, on_many, pending, reached })
}
