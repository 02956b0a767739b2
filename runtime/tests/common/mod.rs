//! What the tests of the runtime share.
#![allow(dead_code, unreachable_pub)]

pub mod device;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use asynchrotron::prelude::*;

/// A sink that keeps everything.
pub struct Collected<T>(Arc<Mutex<Vec<(u64, T)>>>);

impl<T: Clone + Send + Sync + 'static> Collected<T> {
    /// Adds a sink for `product` to the chain.
    pub fn of(chain: &mut Chain, product: Handle<T>) -> Self {
        Self::of_named(chain, "collect", product)
    }

    pub fn of_named(chain: &mut Chain, name: &str, product: Handle<T>) -> Self {
        let all = Arc::new(Mutex::new(Vec::new()));
        let here = all.clone();
        chain.sink(name, product, move |event: EventId, product: Arc<T>| {
            here.lock().unwrap().push((event.0, (*product).clone()));
            Ok(())
        });
        Collected(all)
    }

    /// In the order in which it arrived.
    pub fn all(&self) -> Vec<(u64, T)> {
        self.0.lock().unwrap().clone()
    }

    /// In the order of the events.
    pub fn sorted(&self) -> Vec<(u64, T)> {
        let mut all = self.all();
        all.sort_by_key(|(event, _)| *event);
        all
    }
}

pub fn config(threads: usize, slots: usize) -> Config {
    Config { threads, slots, ..Config::default() }
}

/// A deadline that only a hang can miss.
pub const LONG: Duration = Duration::from_secs(60);

/// Suspends once, and lets others run.
pub async fn suspend() {
    tokio::task::yield_now().await;
}
