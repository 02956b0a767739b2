//! One lane's session.

use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, PrimitiveTensorElementType, TensorRef};

use super::ModelSource;
use super::library::one_line;
use crate::inference::{AnyBlock, Block, BlockElement, BlockType, Blocks, ModelError, Port, Signature};

/// A session, and where the signature's ports are in it.
pub(super) struct LaneSession {
    session: Session,
    /// Of each of the session's inputs, its place in the signature.
    inputs: Vec<usize>,
    /// Of each output of the signature, its place in the session.
    outputs: Vec<usize>,
}

impl LaneSession {
    pub(super) fn new(session: Session, signature: &Signature) -> Self {
        // Both exist: the signature was read from such a session, or compared with one.
        let place =
            |ports: &[Port], name: &str| ports.iter().position(|port| port.name() == name).unwrap_or(0);
        let inputs = session.inputs().iter().map(|outlet| place(&signature.inputs, outlet.name())).collect();
        let output = |port: &Port| {
            session.outputs().iter().position(|outlet| outlet.name() == port.name()).unwrap_or(0)
        };
        let outputs = signature.outputs.iter().map(output).collect();
        Self { session, inputs, outputs }
    }

    /// One run, on blocks that fit.
    pub(super) fn run(
        &mut self,
        source: &ModelSource,
        signature: &Signature,
        blocks: &Blocks,
    ) -> Result<Blocks, ModelError> {
        let rows = blocks.rows();
        let failed =
            |error: ort::Error| ModelError::Run { model: source.name().into(), rows, why: one_line(&error) };
        let input =
            |&index: &usize| lend(&signature.inputs[index], &blocks.as_slice()[index]).map_err(failed);
        let inputs = self.inputs.iter().map(input).collect::<Result<Vec<_>, _>>()?;
        let found = self.session.run(&inputs[..]).map_err(failed)?;
        let output = |(port, &index): (&Port, &usize)| {
            take(port, &found[index], rows).map_err(failed)?.ok_or_else(|| {
                let place = format!("output `{}`", port.name());
                let expected = format!("{port} for {rows} rows");
                ModelError::mismatch(source.name(), place, expected, found[index].dtype().to_string())
            })
        };
        let outputs = signature.outputs.iter().zip(&self.outputs).map(output).collect::<Result<_, _>>()?;
        Ok(Blocks::new(outputs))
    }
}

/// The block as an input, where it is.
fn lend<'a>(port: &Port, block: &'a AnyBlock) -> ort::Result<SessionInputValue<'a>> {
    fn view<'a, T>(port: &Port, block: &'a Block<T>) -> ort::Result<SessionInputValue<'a>>
    where
        T: BlockElement + PrimitiveTensorElementType,
    {
        Ok(TensorRef::from_array_view((port.shape(block.rows()), block.values()))?.into())
    }
    match block {
        AnyBlock::F32(block) => view(port, block),
        AnyBlock::F64(block) => view(port, block),
        AnyBlock::I32(block) => view(port, block),
        AnyBlock::I64(block) => view(port, block),
        AnyBlock::U8(block) => view(port, block),
        AnyBlock::Bool(block) => view(port, block),
    }
}

/// A copy of an output; `None` if its shape is another.
fn take(port: &Port, value: &DynValue, rows: usize) -> ort::Result<Option<AnyBlock>> {
    fn copy<T>(port: &Port, value: &DynValue, rows: usize) -> ort::Result<Option<AnyBlock>>
    where
        T: BlockElement + PrimitiveTensorElementType,
        AnyBlock: From<Block<T>>,
    {
        let (shape, values) = value.try_extract_tensor::<T>()?;
        let expected = port.shape(rows);
        let same = shape.len() == expected.len()
            && shape.iter().zip(&expected).all(|(&found, &expected)| usize::try_from(found) == Ok(expected));
        Ok(same.then(|| Block::new(port.order(), rows, port.features(), values.to_vec()).into()))
    }
    match port.element() {
        BlockType::F32 => copy::<f32>(port, value, rows),
        BlockType::F64 => copy::<f64>(port, value, rows),
        BlockType::I32 => copy::<i32>(port, value, rows),
        BlockType::I64 => copy::<i64>(port, value, rows),
        BlockType::U8 => copy::<u8>(port, value, rows),
        BlockType::Bool => copy::<bool>(port, value, rows),
    }
}
