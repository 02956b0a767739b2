use std::sync::Arc;

use asynchrotron::prelude::*;

async fn count(hits: Arc<Vec<f32>>) -> Result<usize> {
    Ok(hits.len())
}

fn main() {
    let mut chain = Chain::new("wrong");
    let number = chain.source::<u64>("number");
    chain.algorithm("count", (number,), count);
}
