//! What a model says of its inputs and outputs.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::ModelSource;
use crate::inference::{BlockType, ModelError, Order, Port, Signature};

/// The model's signature: as declared, if the model agrees; else as the model says.
pub(super) fn signature(
    source: &ModelSource,
    session: &Session,
    declared: Option<&Signature>,
) -> Result<Signature, ModelError> {
    let Some(declared) = declared else {
        let read = |outlets: &[Outlet], what| -> Result<Vec<Port>, ModelError> {
            outlets.iter().map(|outlet| port(source, what, outlet)).collect()
        };
        return Ok(Signature {
            inputs: read(session.inputs(), "input")?,
            outputs: read(session.outputs(), "output")?,
        });
    };
    let agree = |ports: &[Port], outlets: &[Outlet], what: &str| -> Result<Vec<Port>, ModelError> {
        let known = || outlets.iter().map(Outlet::name).collect::<Vec<_>>().join(", ");
        let agreed = |port: &Port| {
            let outlet = outlets.iter().find(|outlet| outlet.name() == port.name());
            let missing =
                || mismatch(source, what, port.name(), port.to_string(), format!("only {}", known()));
            agree(source, what, port, outlet.ok_or_else(missing)?)
        };
        ports.iter().map(agreed).collect()
    };
    let inputs = agree(&declared.inputs, session.inputs(), "input")?;
    // An output that is not declared is not looked at; an input must be.
    if let Some(outlet) =
        session.inputs().iter().find(|outlet| inputs.iter().all(|port| port.name() != outlet.name()))
    {
        let found = describe(outlet.dtype());
        return Err(mismatch(source, "input", outlet.name(), "no such input".into(), found));
    }
    Ok(Signature { inputs, outputs: agree(&declared.outputs, session.outputs(), "output")? })
}

/// The port that was declared, with the number of rows that the model insists on.
fn agree(source: &ModelSource, what: &str, declared: &Port, outlet: &Outlet) -> Result<Port, ModelError> {
    let found = || mismatch(source, what, outlet.name(), declared.to_string(), describe(outlet.dtype()));
    let (element, shape) = tensor(source, what, outlet)?;
    // The row's place is free, or else nothing is.
    let wanted = declared.shape(0);
    let row = match declared.order() {
        Order::RowFeature => 0,
        Order::FeatureRow => wanted.len() - 1,
    };
    let agrees = |(index, (&wanted, &found)): (usize, (&usize, &i64))| {
        index == row || (found < 0 && shape[row] < 0) || usize::try_from(found) == Ok(wanted)
    };
    let same = element == declared.element()
        && shape.len() == wanted.len()
        && wanted.iter().zip(shape).enumerate().all(agrees);
    if !same {
        return Err(found());
    }
    let rows = usize::try_from(shape[row]).ok();
    Ok(Port::of_type(declared.name().into(), element, declared.order(), declared.dims().to_vec(), rows))
}

/// A port whose dimension of rows is the only free one, or else the first one.
fn port(source: &ModelSource, what: &str, outlet: &Outlet) -> Result<Port, ModelError> {
    let (element, shape) = tensor(source, what, outlet)?;
    let free: Vec<usize> = (0..shape.len()).filter(|&index| shape[index] < 0).collect();
    let row = match free[..] {
        [] if !shape.is_empty() => Some(0),
        [row] if row == 0 || row + 1 == shape.len() => Some(row),
        _ => None,
    };
    let Some(row) = row else {
        let expected =
            "one free dimension, the first or the last, that counts rows (or a declared signature)";
        return Err(mismatch(source, what, outlet.name(), expected.into(), describe(outlet.dtype())));
    };
    let order = if row == 0 { Order::RowFeature } else { Order::FeatureRow };
    let rows = usize::try_from(shape[row]).ok();
    let dims = shape.iter().enumerate().filter(|(index, _)| *index != row);
    let dims = dims.filter_map(|(_, &dim)| usize::try_from(dim).ok()).collect();
    Ok(Port::of_type(outlet.name().into(), element, order, dims, rows))
}

fn tensor<'a>(
    source: &ModelSource,
    what: &str,
    outlet: &'a Outlet,
) -> Result<(BlockType, &'a [i64]), ModelError> {
    let supported = || {
        let expected = "numbers of type f32, f64, i32, i64, u8 or bool";
        mismatch(source, what, outlet.name(), expected.into(), describe(outlet.dtype()))
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return Err(supported()) };
    let element = match ty {
        TensorElementType::Float32 => BlockType::F32,
        TensorElementType::Float64 => BlockType::F64,
        TensorElementType::Int32 => BlockType::I32,
        TensorElementType::Int64 => BlockType::I64,
        TensorElementType::Uint8 => BlockType::U8,
        TensorElementType::Bool => BlockType::Bool,
        _ => return Err(supported()),
    };
    Ok((element, shape))
}

/// The library's word for a type.
#[cfg(feature = "cuda")]
pub(super) fn element_type(element: BlockType) -> TensorElementType {
    match element {
        BlockType::F32 => TensorElementType::Float32,
        BlockType::F64 => TensorElementType::Float64,
        BlockType::I32 => TensorElementType::Int32,
        BlockType::I64 => TensorElementType::Int64,
        BlockType::U8 => TensorElementType::Uint8,
        BlockType::Bool => TensorElementType::Bool,
    }
}

/// As `f32 [N, 10]`.
fn describe(value: &ValueType) -> String {
    let ValueType::Tensor { ty, shape, dimension_symbols } = value else { return value.to_string() };
    let dim = |(index, &dim): (usize, &i64)| match usize::try_from(dim) {
        Ok(dim) => dim.to_string(),
        Err(_) if dimension_symbols[index].is_empty() => "?".to_owned(),
        Err(_) => dimension_symbols[index].clone(),
    };
    let dims: Vec<String> = shape.iter().enumerate().map(dim).collect();
    format!("{ty} [{}]", dims.join(", "))
}

fn mismatch(source: &ModelSource, what: &str, name: &str, expected: String, found: String) -> ModelError {
    ModelError::mismatch(source.name(), format!("{what} `{name}`"), expected, found)
}
