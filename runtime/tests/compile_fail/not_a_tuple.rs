use std::sync::Arc;

use asynchrotron::prelude::*;

async fn count(hits: Arc<u64>) -> Result<u64> {
    Ok(*hits)
}

fn main() {
    let mut chain = Chain::new("wrong");
    let number = chain.source::<u64>("number");
    chain.algorithm("count", "number", count);
    chain.algorithm("count", [number], count);
}
