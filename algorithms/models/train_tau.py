"""Trains the τ tagger: 16 features of a cluster -> (ln(p / (1 - p)) of a τ, ln(true pT / pT of the cluster)).

    asynchrotron generate scouting-features --events 200000 --seed 101 --out tau_train.parquet
    asynchrotron generate scouting-features --events 60000 --seed 102 --out tau_test.parquet
    python train_tau.py tau_train.parquet tau_test.parquet

Writes tau.onnx, tau.weights (the same numbers, for the host) and tau_reference.csv (inputs and outputs of ONNX Runtime) beside
itself, and prints figures on the second, independent sample.
"""

import argparse
import pathlib
import time

from common import adam, jax, jnp, np, onnx, read_lists, write_onnx, write_weights, zeros_like

import onnxruntime

FEATURES = (
    "log_pt lead_share eta_abs candidates charged photons charged_share photon_share width radius mass_gev "
    "z0_spread_cm dxy_cm isolation weight charge_abs"
).split()
SIZES = [16, 64, 32, 2]
HERE = pathlib.Path(__file__).parent


def read(path):
    values, _ = read_lists(path)
    x = np.stack([values[name] for name in FEATURES], 1).astype(np.float32)
    return x, values["label"].astype(np.int32), values["pt_true_gev"].astype(np.float32)


def network(parameters, x):
    for weights, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = parameters[-1]
    return x @ weights + bias


def loss(parameters, x, is_tau, log_ratio):
    """Cross entropy of the label, and half of Huber's loss of ln(pT ratio), of τ only."""
    out = network(parameters, x)
    entropy = jnp.mean(jax.nn.softplus(out[:, 0]) - is_tau * out[:, 0])
    error = jnp.abs(out[:, 1] - log_ratio)
    huber = jnp.where(error < 0.1, 0.5 * error**2 / 0.1, error - 0.05)
    return entropy + 0.5 * jnp.sum(is_tau * huber) / (jnp.sum(is_tau) + 1.0)


def train(x, is_tau, log_ratio, epochs, batch, rate, seed):
    rng = np.random.default_rng(seed)
    normal = lambda n, m: (rng.normal(0.0, np.sqrt(2.0 / n), (n, m)).astype(np.float32), np.zeros(m, np.float32))
    parameters = [normal(n, m) for n, m in zip(SIZES, SIZES[1:])]
    state, step, n = zeros_like(parameters), adam(jax.value_and_grad(loss)), 0
    steps = epochs * (len(x) // batch)
    for epoch in range(epochs):
        order, losses = rng.permutation(len(x)), []
        for i in range(0, len(x) - batch + 1, batch):
            n += 1
            now = rate * 0.5 * (1.0 + np.cos(np.pi * n / steps))
            rows = order[i : i + batch]
            parameters, state, value = step(parameters, state, n, now, x[rows], is_tau[rows], log_ratio[rows])
            losses.append(value)
        print(f"epoch {epoch}: loss {float(np.mean(losses)):.4f}", flush=True)
    return [(np.array(w), np.array(b)) for w, b in parameters]


def auc(signal, background):
    signal, background = np.sort(signal), np.sort(background)
    below = np.searchsorted(background, signal, "left") + np.searchsorted(background, signal, "right")
    return below.sum() / (2.0 * len(signal) * len(background))


def rejection(signal, background, efficiency):
    cut = np.sort(signal)[len(signal) - int(np.ceil(efficiency * len(signal)))]
    return len(background) / np.maximum((background >= cut).sum(), 1)


def figures(name, score, label):
    signal, background = score[label == 1], score[label == 0]
    text = [f"{100 * e:.0f} %: {rejection(signal, background, e):.1f}" for e in (0.5, 0.8)]
    print(f"{name:<8} area under ROC {auc(signal, background):.4f}, background rejection at {', '.join(text)}")


def cuts(x):
    """As `tag_with_cuts`."""
    row = dict(zip(FEATURES, x.T))
    good = (row["charged"] >= 1) & (row["charged"] <= 3) & (row["candidates"] <= 6) & (row["isolation"] <= 0.5)
    return np.where(good, row["lead_share"] * np.exp(row["log_pt"]), 0.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    x, label, pt_true = read(arguments.train)
    keep = label >= 0
    x, label, pt_true = x[keep], label[keep], pt_true[keep]
    mean, sigma = x.mean(0), x.std(0)
    log_ratio = np.where(label == 1, np.log(np.maximum(pt_true, 1e-3)) - x[:, 0], 0.0).astype(np.float32)
    print(f"{len(x)} clusters, {label.sum()} of them taus")
    start = time.time()
    parameters = train((x - mean) / sigma, label.astype(np.float32), log_ratio, arguments.epochs, 512, 3e-3, arguments.seed)
    print(f"trained in {time.time() - start:.0f} s")

    # The scaling of the features becomes a part of the first layer, so the network takes them as they are.
    w, b = parameters[0]
    parameters[0] = (w / sigma[:, None], b - (mean / sigma) @ w)
    tensors = {f"{kind}{i}": np.asarray(value, np.float32) for i, layer in enumerate(parameters) for kind, value in zip("wb", layer)}
    node = onnx.helper.make_node
    nodes = [
        node("Gemm", ["features", "w0", "b0"], ["h0"], transA=1),
        node("Relu", ["h0"], ["r0"]),
        node("Gemm", ["r0", "w1", "b1"], ["h1"]),
        node("Relu", ["h1"], ["r1"]),
        node("Gemm", ["r1", "w2", "b2"], ["scores"]),
    ]
    write_onnx(HERE / "tau.onnx", "tau", nodes, [("features", [16, "rows"])], [("scores", ["rows", 2])], tensors)
    write_weights(HERE / "tau.weights", list(tensors.values()))

    x, label, pt_true = read(arguments.test)
    session = onnxruntime.InferenceSession(HERE / "tau.onnx", providers=["CPUExecutionProvider"])
    out = session.run(None, {"features": np.ascontiguousarray(x.T)})[0]
    with open(HERE / "tau_reference.csv", "w") as file:
        file.write(",".join([*FEATURES, "tau", "log_pt_ratio"]) + "\n")
        for row in np.concatenate([x, out], 1)[:100]:
            file.write(",".join(str(value) for value in row) + "\n")
    figures("network", out[:, 0], label)
    figures("cuts", cuts(x), label)
    taus = label == 1
    for name, ratio in [("cluster", 0.0), ("network", out[taus, 1])]:
        response = np.exp(x[taus, 0] + ratio) / pt_true[taus]
        low, median, high = np.quantile(response, [0.16, 0.5, 0.84])
        print(f"pT / true pT of the {name}: median {median:.4f}, 68 % half-width {100 * 0.5 * (high - low):.2f} %")


main()
