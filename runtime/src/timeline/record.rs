//! [`Record`]: what the runtime notes while it runs; a few words each, made sense of by the [`Assembler`](super::assembler).

use std::sync::Arc;

use crate::batch::CloseReason;

/// Something that happened. Times are nanoseconds of the job's clock.
///
/// Records of one event and of one batch are put together by their numbers, so they carry no names and no text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record {
    /// What follows belongs to this job.
    JobBegins { at: u64, job: u32 },
    /// A slot has taken an event.
    EventBegins { at: u64, slot: u32, event: u64 },
    /// The slot is free again.
    EventEnds(EventEnds),
    /// An algorithm was polled.
    Poll(Poll),
    /// An algorithm was dropped where it was suspended.
    Abandoned { at: u64, slot: u32, node: u32 },
    /// A request has joined the queue of a batcher.
    Submitted(Submitted),
    /// The same request has its answer, and the algorithm knows.
    Resumed { at: u64, slot: u32, node: u32, flow: u64 },
    /// A request has left the queue: nobody waits for it any more.
    Left { at: u64, batcher: u32, queued: u32 },
    /// A batch was cut for a lane.
    Closed { at: u64, batcher: u32, queued: u32 },
    /// A request has been submitted to the device, as part of a batch.
    Boarded { at: u64, slot: u32, flow: u64, closed: u64, batch: u64 },
    /// A batch has been submitted to the device.
    BatchBegins { at: u64, batcher: u32, lane: u32, requests: u32, bytes: u64 },
    /// The device is done with it.
    BatchEnds(BatchEnds),
    /// The failure of an event is the next of [`Notes`](super::recorder::Note).
    Failed { at: u64 },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EventEnds {
    pub(crate) at: u64,
    pub(crate) slot: u32,
    pub(crate) failed: bool,
    /// When its algorithms had ended.
    pub(crate) over: u64,
    /// When its turn had come, if it had to wait for it.
    pub(crate) turn: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Poll {
    pub(crate) slot: u32,
    pub(crate) node: u32,
    /// From the end of the poll before; 0 for the first.
    pub(crate) paused: u64,
    /// When it could go on; 0 if that was never before `begin`.
    pub(crate) woken: u64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pending,
    Done,
    Failed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Submitted {
    pub(crate) at: u64,
    pub(crate) slot: u32,
    pub(crate) node: u32,
    pub(crate) flow: u64,
    pub(crate) batcher: u32,
    pub(crate) rows: u32,
    /// How many requests are in the queue now.
    pub(crate) queued: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchEnds {
    pub(crate) at: u64,
    pub(crate) begin: u64,
    pub(crate) closed: u64,
    /// When the oldest of its requests had come.
    pub(crate) oldest: u64,
    pub(crate) batch: u64,
    pub(crate) batcher: u32,
    pub(crate) lane: u32,
    pub(crate) requests: u32,
    pub(crate) rows: u32,
    pub(crate) padding: u32,
    pub(crate) bytes: u64,
    /// `None` where no batches are formed.
    pub(crate) reason: Option<CloseReason>,
    pub(crate) failed: bool,
}

impl Record {
    /// When it happened: the order of records.
    pub(crate) fn at(&self) -> u64 {
        match *self {
            Self::JobBegins { at, .. }
            | Self::EventBegins { at, .. }
            | Self::Abandoned { at, .. }
            | Self::Resumed { at, .. }
            | Self::Left { at, .. }
            | Self::Closed { at, .. }
            | Self::Boarded { at, .. }
            | Self::BatchBegins { at, .. }
            | Self::Failed { at } => at,
            Self::EventEnds(EventEnds { at, .. })
            | Self::Submitted(Submitted { at, .. })
            | Self::BatchEnds(BatchEnds { at, .. }) => at,
            Self::Poll(Poll { end, .. }) => end,
        }
    }
}

/// What the numbers in records stand for.
#[derive(Debug)]
pub(crate) struct JobInfo {
    pub(crate) chain: Arc<str>,
    pub(crate) threads: usize,
    pub(crate) slots: usize,
    pub(crate) is_simulated: bool,
    pub(crate) nodes: Vec<Arc<str>>,
    pub(crate) batchers: Vec<BatcherInfo>,
    pub(crate) devices: Vec<DeviceInfo>,
}

#[derive(Debug)]
pub(crate) struct BatcherInfo {
    pub(crate) name: String,
    /// Where it submits to: an index into the devices.
    pub(crate) device: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceInfo {
    pub(crate) name: String,
    /// Devices are told apart by their lanes: two may have one name.
    pub(crate) identity: usize,
}

impl JobInfo {
    /// The devices of some batchers, each once, and the batchers with their places among them.
    pub(crate) fn devices(
        batchers: impl Iterator<Item = (String, DeviceInfo)>,
    ) -> (Vec<BatcherInfo>, Vec<DeviceInfo>) {
        let mut devices: Vec<DeviceInfo> = Vec::new();
        let batchers = batchers
            .map(|(name, device)| {
                let known = devices.iter().position(|other| other.identity == device.identity);
                let device = known.unwrap_or_else(|| {
                    devices.push(device);
                    devices.len() - 1
                });
                BatcherInfo { name, device }
            })
            .collect();
        // Tracks are told apart by name.
        for index in 1..devices.len() {
            let name = devices[index].name.clone();
            let same =
                devices[..index].iter().filter(|other| other.name.split('#').next() == Some(&name)).count();
            if same > 0 {
                devices[index].name = format!("{name}#{}", same + 1);
            }
        }
        (batchers, devices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batchers_share_a_device_by_its_lanes_and_not_by_its_name() {
        let device = |identity| DeviceInfo { name: "gpu".into(), identity };
        let (batchers, devices) = JobInfo::devices(
            [("a", 7), ("b", 8), ("c", 7)].map(|(name, id)| (name.into(), device(id))).into_iter(),
        );
        assert_eq!(batchers.iter().map(|batcher| batcher.device).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(devices.iter().map(|device| &*device.name).collect::<Vec<_>>(), ["gpu", "gpu#2"]);
    }
}
