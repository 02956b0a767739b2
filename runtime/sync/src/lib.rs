//! The hand-written waiting protocols of Asynchrotron: everything that parks a task and must wake it again.
//!
//! Each protocol is one file, or one folder, checked exhaustively by [loom](https://docs.rs/loom) in small models and at
//! random by [shuttle](https://docs.rs/shuttle) in a large one (`runtime/sync/check` runs all of it). For that reason they
//! live in a leaf crate without dependencies: `--cfg loom` reaches every crate of a build and must not meet an executor.
//!
//! | type | who waits | for what |
//! |---|---|---|
//! | [`BatchQueue`] | one driver; many tasks | a batch worth cutting; the answers to their requests |
//! | [`completion`] | one task | the result of one submission, or the device's error |
//! | [`ProductCell`] | any number of tasks | a value that one producer computes once |
//! | [`Gate`] | tasks in a line that newcomers may overtake | exclusive use of one thing, across suspensions |
//! | [`LanePool`] | tasks in line, first come first served | one of a few lanes |
//! | [`ReadySet`] | one parent task | any of its children that wants to be polled |
//! | [`Turnstile`] | one task per ticket | its turn, in ticket order |
//! | [`Alarms`] | any number of tasks, one thread | a time |
//! | [`Points`] | one driver thread | work on streams whose end has to be asked for |
//! | [`Headcount`] | any number of tasks | nobody to be inside |
//! | [`Pace`] | simulated time | work that others do outside of it |
//!
//! # Promises that hold for all of them
//!
//! * No call (but [`Alarms::wait`], [`Points::wait_armed`] and [`Points::park`], which are for a thread made for it) blocks
//!   on anything but a mutex held for a few instructions, and no foreign code runs under such a mutex
//!   except `Waker::clone` and `Waker::will_wake`. Wakers are woken and dropped after unlocking, so a waker that polls
//!   on the spot, or whose drop drops a task, finds the lock free.
//! * A future dropped at any time leaves nothing behind that could hang another task.
//! * No thread is started, nothing is global, no clock is read.
//!
//! What is *absent*: executors, timers, devices, physics.
#![deny(unsafe_code)]

mod alarms;
mod batch_queue;
#[doc(hidden)]
pub mod broken;
mod completion;
#[allow(unsafe_code)] // a marked file: the value behind a Gate
mod exclusive;
mod facade;
mod gate;
mod headcount;
mod lane_pool;
mod pace;
mod points;
mod product_cell;
mod ready_set;
mod timetable;
mod turnstile;
#[allow(unsafe_code)] // a marked file: the value slot of a ProductCell, the error of Points
mod write_once;

pub use alarms::{Alarm, Alarms, Watch};
pub use batch_queue::{Batch, BatchQueue, PokedFuture, Pushed, Taken, Ticket, View};
pub use completion::{Completion, Lost, Signaller, completion};
pub use gate::{Gate, Held, TakeThing};
pub use headcount::Headcount;
pub use lane_pool::{Closed, Lane, LanePool, Take};
pub use pace::{Hold, Pace};
pub use points::{Drive, Harvested, Point, Points};
pub use product_cell::{Claim, ProductCell, Wait, Waiter};
pub use ready_set::{Finish, ReadySet};
pub use turnstile::{Passed, Turn, Turnstile, WaitTurn};
