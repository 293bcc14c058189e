"""The library's functions against Python's math and NumPy, in float64 by the interpreter and in float32 by machine code."""
import math

import numpy as np

from attention import alibi_slopes, layer_norm, sinusoids, t5_bucket
from harness import check, values, worst
from mechanisms import rms_norm, rope

POINTWISE = {
    "relu": lambda x: x if x > 0 else 0.0,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "softplus": lambda x: x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x)),
    "logsigmoid": lambda x: -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x)),
    "silu": lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    "gelutanh": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}
AT_0 = [0.0, 0.25, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5]  # the derivatives, in the order above; of relu either of its slopes


def over_domain(u, position, first):
    """The reductions for one batch element, on u[n,k]."""
    n, k = u.shape
    softmax, log_softmax, sink = np.zeros((n, k)), np.zeros((n, k)), np.zeros((n, k))
    for column in range(k):
        live = list(u[:position, column])
        for i, z in enumerate(live):
            # relative to each entry: no maximum is taken
            total = math.fsum(math.exp(min(other - z, 700)) for other in live)
            softmax[i, column], log_softmax[i, column] = 1 / total, z - np.logaddexp.reduce(live)
            sink[i, column] = 1 / (total + math.exp(min(first - z, 700)))
    return softmax, log_softmax, sink


def expected(a):
    x, position = a["x"], a["position"].astype(int)
    u = x[:, :, None] * 10.0 ** (np.arange(11) - 6)
    result = {name: np.vectorize(f)(u) for name, f in POINTWISE.items()}
    for name, norm in {"rmsnorm": rms_norm, "layernorm": layer_norm}.items():
        result[name] = norm(u.swapaxes(1, 2)).swapaxes(1, 2)
    result["l2norm"] = u / np.sqrt(np.sum(u * u, axis=1, keepdims=True) + 1e-6)
    result["mean"] = np.mean(u, axis=1)
    parts = [over_domain(u[b], position[b], x[b, 0]) for b in range(len(x))]
    result["softmax"], result["logsoftmax"], result["sinksoftmax"] = (np.array(part) for part in zip(*parts))
    result["logsumexp"] = np.array([np.logaddexp.reduce(u[b, : position[b] + 1], axis=0) for b in range(len(x))])
    result["crossentropy"] = np.array([np.logaddexp.reduce(u[b], axis=0) - u[b, position[b] % 11] for b in range(len(x))])
    return result


def standard():
    name = "tests/reference/specs/functions.att"
    empty = filled = 0
    for seed in (1, 2, 3):
        exact, machine = values(name, {}, None, ["--backward"], seed), values(name, {}, None, ["--backward", "--machine"], seed)
        if not exact or not machine:
            return
        empty += np.sum(exact["position"] == 0)
        filled += np.sum(exact["position"] > 0)
        for output, reference in expected(exact).items():
            check(f"library {output}, seed {seed}", worst(exact[output], reference) <= 1e-12, f"{worst(exact[output], reference):.1e}")
            check(f"library {output} in float32, seed {seed}", worst(machine[output], reference) <= 1e-5, f"{worst(machine[output], reference):.1e}")
        for which, a in (("float64", exact), ("float32", machine)):
            check(f"library derivatives at 0 in {which}", worst(a["gradient.zero"][1:], np.array(AT_0)[1:, None] * a["cotangent.at0"][1:]) <= 1e-6)
            check(f"library derivatives are finite in {which}", all(np.all(np.isfinite(a[t])) for t in a if t.startswith("gradient.")))
    check("library domains that are empty and not", empty and filled)


def positions():
    name = "tests/reference/specs/positions.att"
    for size in ({}, {"H": 8, "D": 6, "N": 8, "M": 16}, {"H": 1, "D": 4, "N": 7, "M": 81}, {"H": 5, "D": 2, "N": 2, "M": 4}, {"N": 64, "M": 256}, {"N": 8, "M": 64}):
        # distances that lie on a border: with N = 8 and M = 64, 8, 16 and 32 start a bucket each
        for how, slack in (((), 1e-12), (("--machine",), 3e-5)):
            a = values(name, size, None, how)
            if not a:
                continue
            heads, time, width = len(a["slope"]), *a["x"].shape
            label = f"{size} {'in float32' if how else ''}"
            check(f"library alibislope {label}", worst(a["slope"], alibi_slopes(heads)) <= min(slack, 1e-6))
            check(f"library sinusoidal {label}", worst(a["sinusoid"], sinusoids(time, width)) <= slack, f'{worst(a["sinusoid"], sinusoids(time, width)):.1e}')
            buckets = [t5_bucket(t, size.get("N", 32), size.get("M", 128)) for t in range(time)]
            check(f"library t5bucket {label}", np.array_equal(a["bucket"], buckets))
            check(f"library rope {label}", worst(a["rope"], rope(a["x"][None])[0]) <= slack)


def run():
    standard()
    positions()
