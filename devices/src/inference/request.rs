//! [`ModelRequest`]: what an event asks of a model.

use std::sync::Arc;

use super::{AnyBlock, Block, BlockElement, Blocks, ModelError, Order, Port, Signature};
use crate::Columns;
use crate::columns::Element;

/// What an event asks of a model: some rows, which are put beside those of other events.
pub trait ModelRequest: Send + Sync + 'static {
    /// Whether such requests can fit the model at all; asked once, at start-up.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`].
    fn check(_model: &str, _signature: &Signature) -> Result<(), ModelError> {
        Ok(())
    }

    /// How many rows it has.
    fn rows(&self) -> usize;

    /// How many bytes they take. 0 by default.
    fn bytes(&self) -> usize {
        0
    }

    /// Puts the rows of requests side by side: a block for each input, of `rows` rows with the padding.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] if a request does not fit; the batch is then split until the guilty one stands alone.
    fn pack(
        model: &str,
        signature: &Signature,
        requests: &[&Self],
        rows: usize,
    ) -> Result<Blocks, ModelError>;
}

/// A collection all of whose columns are the features of a model's one input, in the order of declaration.
///
/// Of a `[feature][row]` model, each column is copied once, in one piece per event; a packed collection that is a batch by itself
/// is not copied at all.
#[derive(Debug)]
pub struct Rows<C>(pub Arc<C>);

impl<C> From<(Arc<C>,)> for Rows<C> {
    fn from((collection,): (Arc<C>,)) -> Self {
        Self(collection)
    }
}

impl<C: Columns> Rows<C> {
    fn of<T: BlockElement + Element>(requests: &[&Self], order: Order, rows: usize) -> AnyBlock
    where
        AnyBlock: From<Block<T>>,
    {
        if let ([only], Order::FeatureRow) = (requests, order)
            && only.0.layout().rows() == rows
            && let Ok(block) = Block::<T>::lent(only.0.clone())
        {
            return block.into();
        }
        let parts: Vec<&C> = requests.iter().map(|request| &*request.0).collect();
        let columns: Vec<usize> = (0..C::SCHEMA.len()).collect();
        Block::<T>::pack(&parts, &columns, order, rows).into()
    }
}

impl<C: Columns> ModelRequest for Rows<C> {
    fn check(model: &str, signature: &Signature) -> Result<(), ModelError> {
        let types: Vec<&str> = C::SCHEMA.iter().map(|column| column.element.name()).collect();
        let found = format!("columns of types {}", types.join(", "));
        let [port] = &signature.inputs[..] else {
            let inputs = format!("{} inputs", signature.inputs.len());
            return Err(ModelError::mismatch(model, "all inputs".into(), inputs, found));
        };
        let fits =
            C::SCHEMA.len() == port.features() && types.iter().all(|name| *name == port.element().name());
        let place = || format!("input `{}`", port.name());
        if fits { Ok(()) } else { Err(ModelError::mismatch(model, place(), port.to_string(), found)) }
    }

    fn rows(&self) -> usize {
        self.0.layout().rows()
    }

    fn bytes(&self) -> usize {
        self.0.as_bytes().len()
    }

    fn pack(
        _model: &str,
        signature: &Signature,
        requests: &[&Self],
        rows: usize,
    ) -> Result<Blocks, ModelError> {
        let port = &signature.inputs[0]; // checked at start-up, as the types are
        let block = match C::SCHEMA[0].element.name() {
            "f32" => Self::of::<f32>(requests, port.order(), rows),
            "f64" => Self::of::<f64>(requests, port.order(), rows),
            "i32" => Self::of::<i32>(requests, port.order(), rows),
            "i64" => Self::of::<i64>(requests, port.order(), rows),
            _ => Self::of::<u8>(requests, port.order(), rows),
        };
        Ok(Blocks::new(vec![block]))
    }
}

/// Blocks that an event has ready, one for each of the model's inputs, in either order.
#[derive(Debug)]
pub struct Inputs(pub Arc<Blocks>);

impl From<(Arc<Blocks>,)> for Inputs {
    fn from((blocks,): (Arc<Blocks>,)) -> Self {
        Self(blocks)
    }
}

impl ModelRequest for Inputs {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn pack(
        model: &str,
        signature: &Signature,
        requests: &[&Self],
        rows: usize,
    ) -> Result<Blocks, ModelError> {
        requests.iter().try_for_each(|request| signature.check_request(model, &request.0))?;
        let input = |(index, port): (usize, &Port)| {
            let parts: Vec<&AnyBlock> = requests.iter().map(|request| &request.0.as_slice()[index]).collect();
            AnyBlock::concat(&parts, port.element(), port.features(), port.order(), rows)
        };
        Ok(Blocks::new(signature.inputs.iter().enumerate().map(input).collect()))
    }
}
