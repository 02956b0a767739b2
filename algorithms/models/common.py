"""What the training scripts share: one thread, columns of Parquet files, Adam, files of weights, ONNX models."""

import os

# Before jax is imported: other people use the machine as well.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pyarrow.parquet

OPSET = 17


def read_lists(path):
    """Columns of a file with a row for each event: flat values by name, and the number of values of each event by name."""
    table = pyarrow.parquet.read_table(path)
    values, counts = {}, {}
    for name in table.column_names:
        if name != "event":
            column = table.column(name).combine_chunks()
            values[name] = column.flatten().to_numpy(zero_copy_only=False)
            counts[name] = column.value_lengths().to_numpy()
    return values, counts


def adam(gradient_of_loss, clip=1.0):
    """A compiled step of Adam: (parameters, state, step, rate, *batch) -> (parameters, state, loss)."""

    def step(parameters, state, n, rate, *batch):
        loss, gradient = gradient_of_loss(parameters, *batch)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, clip / (norm + 1e-12)), gradient)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state[0], gradient)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state[1], gradient)
        a, b = 1.0 - 0.9**n, 1.0 - 0.999**n
        move = lambda p, m, v: p - rate * (m / a) / (jnp.sqrt(v / b) + 1e-8)
        return jax.tree.map(move, parameters, mean, square), (mean, square), loss

    return jax.jit(step)


def zeros_like(parameters):
    return jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters)


def write_weights(path, tensors):
    """Little-endian: the number of tensors; for each its number of dimensions and its dimensions (u32), and its values (f32)."""
    with open(path, "wb") as file:
        file.write(np.array([len(tensors)], "<u4").tobytes())
        for tensor in tensors:
            file.write(np.array([tensor.ndim, *tensor.shape], "<u4").tobytes())
            file.write(np.ascontiguousarray(tensor, "<f4").tobytes())


def write_onnx(path, name, nodes, inputs, outputs, tensors, integers={}):
    """A model of opset 17. `inputs` and `outputs` are (name, shape); a string is a dynamic dimension."""
    info = lambda pair: onnx.helper.make_tensor_value_info(pair[0], onnx.TensorProto.FLOAT, pair[1])
    constants = [onnx.numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in tensors.items()]
    constants += [onnx.numpy_helper.from_array(value, key) for key, value in integers.items()]
    graph = onnx.helper.make_graph(nodes, name, [info(i) for i in inputs], [info(o) for o in outputs], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    model.producer_name = "asynchrotron"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
