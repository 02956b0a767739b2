"""Trains the network for object condensation on the calorimeter: 36 rows x 30 columns x 2 -> 4 numbers for each block.

    asynchrotron generate calorimeter-cells --events 30000 --seed 201 --out cells_train.parquet
    asynchrotron generate calorimeter-cells --events 3000 --seed 202 --out cells_test.parquet
    python train_condensation.py cells_train.parquet cells_test.parquet

Writes condensation.onnx, condensation.weights (the same numbers, for the host) and condensation_reference.f32 (an input and its
output of ONNX Runtime) beside itself. See J. Kieseler, Eur. Phys. J. C 80 (2020) 886, for the loss.

Inputs are ln(1 + E / 0.1 GeV) and 1 - |t - 150 ns| / 30 ns, both 0 where there is no cell. Outputs are beta (0 to 1), the offset
of a block's latent coordinates from its own column and row, in blocks, and ln(E_true / E of the cells) of its object.
"""

import argparse
import pathlib
import time

from common import adam, jax, jnp, np, onnx, read_lists, write_onnx, write_weights, zeros_like

import onnxruntime

ROWS, COLUMNS = 36, 30
TRIGGER_NS, WINDOW_NS, ENERGY_GEV = 150.0, 30.0, 0.1
CHANNELS = [2, 16, 32, 32]
CROP = (18, 15)  # trained on quarters of the face: most of it is empty
OBJECTS = 10  # the most photons of a crop that are counted
Q_MIN, BETA_MAX = 0.1, 0.9999
BETA_MIN, DISTANCE = 0.3, 0.8  # of the greedy condensation, for the figures only
HERE = pathlib.Path(__file__).parent


def read(path):
    """Inputs (event, row, column, 2), objects (-1: no photon, -2: no cell), energies, and ln(E_true / E of the cells)."""
    values, counts = read_lists(path)
    n = len(counts["block"])
    event = np.repeat(np.arange(n), counts["block"])
    row, column = np.divmod(values["block"].astype(int), COLUMNS)
    energy, photon = values["energy_gev"], values["photon"]
    x = np.zeros((n, ROWS, COLUMNS, 2), np.float32)
    x[event, row, column, 0] = np.log1p(energy / ENERGY_GEV)
    x[event, row, column, 1] = 1.0 - np.abs(values["time_ns"] - TRIGGER_NS) / WINDOW_NS
    grid = lambda fill, kind, content: _filled(np.full((n, ROWS, COLUMNS), fill, kind), (event, row, column), content)
    first = np.concatenate([[0], np.cumsum(counts["photon_energy_gev"])])
    true = values["photon_energy_gev"]
    key = np.where(photon >= 0, first[event] + photon, len(true))
    seen = np.bincount(key, energy, len(true) + 1)
    scale = np.log(np.append(true, 1.0)[key] / np.maximum(seen[key], 1e-6)) * (photon >= 0)
    return x, grid(-2, np.int8, photon), grid(0.0, np.float32, energy), grid(0.0, np.float32, scale), counts["photon_energy_gev"]


def _filled(array, where, content):
    array[where] = content
    return array


def network(parameters, x):
    """(event, row, column, 2) -> (event, row, column, 4); beta is not yet squashed."""
    for kernel, bias in parameters[:-1]:
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + bias)
    kernel, bias = parameters[-1]
    return x @ kernel[0, 0] + bias


def loss_of_event(out, objects, energy, scale, inner):
    n = out.shape[0] * out.shape[1]
    here = jnp.stack(jnp.meshgrid(jnp.arange(out.shape[1]), jnp.arange(out.shape[0])), -1).reshape(n, 2)
    out, objects = out.reshape(n, 4), objects.reshape(n)
    energy, scale, inner = energy.reshape(n), scale.reshape(n), inner.reshape(n)
    beta = jnp.clip(jax.nn.sigmoid(out[:, 0]), 1e-6, BETA_MAX)
    q = jnp.arctanh(beta) ** 2 + Q_MIN
    latent = here + out[:, 1:3]
    cell = objects > -2
    member = objects[None, :] == jnp.arange(OBJECTS)[:, None]  # object, block
    exists = member.any(1)
    count = jnp.maximum(exists.sum(), 1)
    alpha = jnp.argmax(jnp.where(member, q, -1.0), 1)
    squared = jnp.sum((latent[None] - latent[alpha][:, None]) ** 2, -1)
    pull = q[None] * q[alpha][:, None]
    other = cell[None] & ~member
    mean = lambda values, mask: jnp.sum(jnp.where(mask, values, 0.0), 1) / jnp.maximum(mask.sum(1), 1)
    attract = mean(squared * pull, member)
    repel = mean(jnp.maximum(0.0, 1.0 - jnp.sqrt(squared + 1e-9)) * pull, other)
    objects_loss = jnp.sum(jnp.where(exists, attract + repel + 1.0 - beta[alpha], 0.0)) / count
    noise = objects == -1
    noise_loss = jnp.sum(jnp.where(noise, beta, 0.0)) / jnp.maximum(noise.sum(), 1)
    weight = jnp.where((objects >= 0) & inner, energy, 0.0)
    error = jnp.abs(out[:, 3] - scale)
    huber = jnp.where(error < 0.05, 0.5 * error**2 / 0.05, error - 0.025)
    return objects_loss + noise_loss + 2.0 * jnp.sum(weight * huber) / (jnp.sum(weight) + 1e-6)


def loss(parameters, x, objects, energy, scale, inner):
    return jnp.mean(jax.vmap(loss_of_event)(network(parameters, x), objects, energy, scale, inner))


def crops(rng, events, x, objects, energy, scale):
    """A quarter of the face around a random cell of each event, mirrored at random; and where a shower is not cut off."""
    height, width = CROP
    rows, columns = [], []
    for event in events:
        cells = np.flatnonzero(objects[event] > -1)
        row, column = divmod(int(rng.choice(cells)) if len(cells) else int(rng.integers(ROWS * COLUMNS)), COLUMNS)
        rows.append(np.clip(row - rng.integers(height), 0, ROWS - height))
        columns.append(np.clip(column - rng.integers(width), 0, COLUMNS - width))
    low, left = np.array(rows), np.array(columns)
    r, c = low[:, None] + np.arange(height), left[:, None] + np.arange(width)
    whole = lambda at, first, size, all: ((at - first >= 3) | (first == 0)) & ((first + size - at > 3) | (first + size == all))
    inner = whole(r, low[:, None], height, ROWS)[:, :, None] & whole(c, left[:, None], width, COLUMNS)[:, None, :]
    flips = tuple(axis for axis in (1, 2) if rng.random() < 0.5)
    index = (np.asarray(events)[:, None, None], r[:, :, None], c[:, None, :])
    return [np.flip(a, flips) for a in (x[index], objects[index], energy[index], scale[index], inner)]


def train(data, epochs, batch, rate, seed):
    rng = np.random.default_rng(seed)
    layer = lambda k, n, m: (rng.normal(0.0, np.sqrt(2.0 / (k * k * n)), (k, k, n, m)).astype(np.float32), np.zeros(m, np.float32))
    parameters = [layer(3, n, m) for n, m in zip(CHANNELS, CHANNELS[1:])] + [layer(1, CHANNELS[-1], 4)]
    parameters[-1] = (0.1 * parameters[-1][0], parameters[-1][1])
    state, step, n = zeros_like(parameters), adam(jax.value_and_grad(loss)), 0
    events = len(data[0])
    steps, start = epochs * (events // batch), time.time()
    for epoch in range(epochs):
        order, losses = rng.permutation(events), []
        for i in range(0, events - batch + 1, batch):
            n += 1
            now = rate * min(1.0, n / 200) * 0.5 * (1.0 + np.cos(np.pi * n / steps))
            parameters, state, value = step(parameters, state, n, now, *crops(rng, order[i : i + batch], *data))
            losses.append(value)
        print(f"epoch {epoch}: loss {float(np.mean(losses)):.4f}, {time.time() - start:.0f} s", flush=True)
    return [(np.array(w), np.array(b)) for w, b in parameters]


def condensation_points(out, cell):
    """As `condense`: the block of highest beta takes all within a distance in latent space, and so on."""
    where = np.flatnonzero(cell)
    row, column = np.divmod(where, COLUMNS)
    out = out.reshape(4, -1)[:, where]
    latent = np.stack([column, row]) + out[1:3]
    free, points = np.ones(len(where), bool), []
    for i in np.argsort(-out[0], kind="stable"):
        if out[0, i] >= BETA_MIN and free[i]:
            free &= np.hypot(*(latent - latent[:, i : i + 1])) >= DISTANCE
            points.append(where[i])
    return points


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    *data, _ = read(arguments.train)
    parameters = train(data, arguments.epochs, 32, 2e-3, arguments.seed)

    tensors, nodes, last, node = {}, [], "cells", onnx.helper.make_node
    for i, (kernel, bias) in enumerate(parameters):
        tensors |= {f"w{i}": np.transpose(kernel, (3, 2, 0, 1)), f"b{i}": bias}
        side = kernel.shape[0]
        nodes.append(node("Conv", [last, f"w{i}", f"b{i}"], [f"h{i}"], kernel_shape=[side, side], pads=[side // 2] * 4))
        last = f"h{i}"
        if i < len(parameters) - 1:
            nodes.append(node("Relu", [last], [f"r{i}"]))
            last = f"r{i}"
    nodes += [
        node("Split", [last, "parts"], ["logit", "others"], axis=1),
        node("Sigmoid", ["logit"], ["beta"]),
        node("Concat", ["beta", "others"], ["condensation"], axis=1),
    ]
    shape = lambda channels: ["events", channels, ROWS, COLUMNS]
    write_onnx(
        HERE / "condensation.onnx", "condensation", nodes, [("cells", shape(2))], [("condensation", shape(4))], tensors,
        {"parts": np.array([1, 3], np.int64)},
    )
    write_weights(HERE / "condensation.weights", list(tensors.values()))

    x, objects, _, _, photons = read(arguments.test)
    x = np.ascontiguousarray(np.transpose(x, (0, 3, 1, 2)))
    session = onnxruntime.InferenceSession(HERE / "condensation.onnx", providers=["CPUExecutionProvider"])
    out = np.concatenate([session.run(None, {"cells": part})[0] for part in np.array_split(x, 30)])
    with open(HERE / "condensation_reference.f32", "wb") as file:
        file.write(x[0].astype("<f4").tobytes() + out[0].astype("<f4").tobytes())
    found = split = fake = 0
    for event in range(len(x)):
        flat = objects[event].ravel()
        hits = [flat[point] for point in condensation_points(out[event], flat > -2)]
        owners = {hit for hit in hits if hit >= 0}
        found, split = found + len(owners), split + sum(hit >= 0 for hit in hits) - len(owners)
        fake += sum(hit < 0 for hit in hits)
    print(f"{photons.sum()} photons: {found} have a condensation point, {split} further ones, {fake} of background")


main()
