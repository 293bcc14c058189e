#!/usr/bin/env python3
"""attnc's gradients against an automatic differentiation that shares nothing with it: PyTorch's, in float64.

    tests/peers/autodiff.py [PART OF A NAME]...

For every spec and variant the forward graph (attnc --dump=graph) is evaluated with PyTorch operations, PyTorch
differentiates sum(y * cotangent) and the spec's own losses, and each gradient is compared with the one that
`attnc run --backward` derived. The error of a tensor is its largest difference over its largest magnitude. A tensor
whose gradient is below the rounding of the others' (that of a key's bias under a softmax is exactly 0) is compared with
the largest of them. ATTNC_PYTHON names an interpreter that has PyTorch, if this one has none."""
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "reference"))
TOLERANCE = 1e-9
ROUNDING = 1e-6  # of the largest gradient: what is smaller is compared as if it were this large

try:
    import numpy as np
    import torch
except ImportError as missing:
    python = os.environ.get("ATTNC_PYTHON")
    if python and not os.environ.get("ATTNC_PYTHON_TRIED"):
        os.environ["ATTNC_PYTHON_TRIED"] = "1"
        os.execv(python, [python, *sys.argv])
    print(f"{missing.name} is not installed: the comparison with PyTorch's gradients is skipped "
          "(pip install torch numpy; or ATTNC_PYTHON=/path/to/a/python that has them)")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

from cases import MORE, STUDY
from examples import MECHANISMS, WIDE, sizes_of
from graph_torch import Evaluation, Graph
from harness import attnc, options

counts = {True: 0, False: 0}

# What the specs in the repository do not reach: what PyTorch's convention could differ in, and what only the language has.
HEAD = "mechanism m \"%s\" include \"lib/standard.att\"\nsize B = 3, T = 5, D = 7\nindex b:B t:T s:T d:D\ninput x[b,t,d]\nparam w[t,d], c[d] ~ normal(0, 1)\n"
CONVENTIONS = {
    "equal maxima share": "m[b,t] = max[d](x[b,d/3,t])\nn[b,t] = min[s,d](x[b,s/2,d/4])\noutput y[b,t] = m[b,t] * n[b,t]",
    "equal operands": "output y[b,t,d] = max(x[b,t,d], x[b,t,d]) + min(w[t,d], w[t,d] + 0 * c[d]) * max(c[d], 0 * x[b,t,d] + c[d])",
    "rectified at 0": "r[b,t,d] = x[b,t,d] - stop(x[b,t,d])\noutput y[b,t,d] = max(r[b,t,d], 0) + 3 * min(0, r[b,t,d]) + abs(r[b,t,d] * c[d])",
    "a branch that is not taken": "output y[b,t,d] = if x[b,t,d] > 0 then sqrt(x[b,t,d]) * log(x[b,t,d]) + x[b,t,d] ^ 1.5 else exp(c[d]) / w[t,d]",
    "a branch that is infinite": "r[b,t,d] = x[b,t,d] * (if t == d then 1 else 0)\noutput y[b,t,d] = c[d] * (if t == d then w[t,d] / r[b,t,d] + log(abs(r[b,t,d])) + sqrt(abs(r[b,t,d])) else x[b,t,d])",
    "products": "output y[b,t] = product[d](x[b,t,d]) + product[s where s < t](w[s,t] + c[s]) * product[s, d where s == d](x[b,s,d])",
    "a product with zeros": "z[b,t,d] = if d == t then 0 else x[b,t,d]\nq[b,t,d] = z[b,t,d] - (if d == t then stop(c[d]) - c[d] else 0)\noutput y[b,t] = product[d](q[b,t,d]) + product[s, d where s < 2 and d < 4](q[b,s,d])",
    "reads": "output y[b,t,d] = x[b, (t * 2) % T, d] * w[T - 1 - t, (d + t) % D] + c[(d * d) % D] * x[2 - b, t / 2, d] + (if d > t then c[d - t] else 0)",
    "a read at a position that is computed": "a[b,t] = argmax[d](x[b,t,d])\noutput y[b,t,d] = c[a[b,t]] * x[b, int(2 * abs(x[b,t,d])) % T, d]",
    "a choice with equal scores": "chosen[b,s] = topk[s](x[b,s/2,s % 2], 3)\noutput y[b,d] = sum[s where chosen[b,s]](x[b,s,d] * w[s,d])",
    "two states that read each other": "p[b,t,d] = tanh(q[b,t-1,d]) * w[t,d] + x[b,t,d] from c[d]\nq[b,t,d] = p[b,t-1,d] * c[d] - q[b,t-1,d] * x[b,t,d] from x[b,0,d]\noutput y[b,t,d] = p[b,t,d] * p[b,t,0] + q[b,t,d]",
    "a maximum that runs": "p[b,t,d] = max(p[b,t-1,d], x[b,t,d]) * c[d] from w[0,d]\noutput y[b,t,d] = p[b,t,d]",
    "functions": "u[b,t,d] = sigmoid(x[b,t,d]) + softplus(x[b,t,d]) + silu(w[t,d]) + gelu(x[b,t,d]) + gelutanh(c[d]) + elu(x[b,t,d])\noutput y[b,t,d] = layernorm[d](u[b,t,d]) * c[d] + rmsnorm[d](x[b,t,d]) + sin(x[b,t,d]) * cos(w[t,d]) + 2.0 ^ x[b,t,d] + abs(c[d]) ^ w[t,d]",
    "a loss beside the output": "output y[b,t,d] = x[b,t,d] * w[t,d]\nloss l = sum[d](c[d] * stop(c[d]) * sum[b,t](x[b,t,d]))",
}


def arranged(name, array, node, graph):
    """The names of a tensor's axes, in its own order: its gradient's, else by the extents."""
    axes = graph.gradient_axes.get(name)
    if axes is None:
        extents = [graph.extent[a] for a in node.free]
        if len(set(extents)) != len(extents) and list(array.shape) != extents:
            raise ValueError(f"the order of the axes of {name} cannot be known: {node.free}, {array.shape}")
        axes = node.free if list(array.shape) == extents else tuple(node.free[extents.index(e)] for e in array.shape)
    return axes


def torch_results(graph, arrays, seed):
    """Outputs and gradients, by the names that attnc gives them."""
    tensors, leaves = {}, {}
    for node in graph.node.values():
        if node.kind == "tensor" and node.tensor not in tensors:
            value = torch.from_numpy(arrays[node.tensor].astype(np.float64))
            if node.type == "float":
                leaves[node.tensor] = value.requires_grad_()
            tensors[node.tensor] = (arranged(node.tensor, arrays[node.tensor], node, graph), value)
    run = Evaluation(graph, tensors, seed)
    loss, result = torch.zeros((), dtype=torch.float64), {}
    for kind, name, axes, n in graph.output:
        value = run.over(n, axes)
        result[name] = value.detach().to(torch.float64).numpy()
        if kind == "loss":
            loss = loss + value
        elif graph.node[n].type == "float":
            weight = torch.from_numpy(arrays["cotangent." + name])
            loss = loss + (value * weight).sum()
    parts = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True) if loss.requires_grad else [None] * len(leaves)
    for (name, leaf), part in zip(leaves.items(), parts):
        result["gradient." + name] = (torch.zeros_like(leaf) if part is None else part).detach().numpy()
    return result


def errors(arrays, expected):
    """The error of every output and gradient."""
    finite = [np.max(np.abs(a), initial=0) for name, a in expected.items() if name.startswith("gradient.")]
    largest = max((x for x in finite if np.isfinite(x)), default=0)
    for name in arrays:
        if name not in expected and not name.startswith("gradient."):
            continue
        wanted = expected.get(name, np.zeros_like(arrays[name]))  # a tensor that is not in the graph
        scale = max(np.max(np.abs(wanted), initial=0), ROUNDING * largest if name.startswith("gradient.") else 1e-300)
        with np.errstate(invalid="ignore"):
            error = np.where(arrays[name] == wanted, 0, np.abs(arrays[name] - wanted) / max(scale, 1e-300))
        yield name, float(np.max(np.where(np.isnan(error), np.inf, error), initial=0))


def compare(spec, arguments, seed=1):
    """The worst error and where it is; what went wrong instead."""
    with tempfile.TemporaryDirectory() as folder:
        done = attnc("run", spec, "--backward", "--dump=graph,grad", "--dump-dir", folder, "--seed", str(seed), *arguments)
        if done.returncode != 0:
            return np.inf, (done.stderr or done.stdout)[:500]
        arrays = {f[:-4]: np.load(os.path.join(folder, f)) for f in os.listdir(folder)}
    try:
        expected = torch_results(Graph(done.stdout), arrays, seed)
    except (ValueError, KeyError, RuntimeError, IndexError) as e:
        return np.inf, f"{type(e).__name__}: {e}"
    found = list(errors(arrays, expected))
    wrong = [f"{name} {error:.1e}" for name, error in found if not error < TOLERANCE]
    if not any(name.startswith("gradient.") for name, _ in found):
        return np.inf, "there is no gradient"
    name, error = max(found, key=lambda e: e[1])
    return error, ", ".join(wrong) if wrong else name


def check(label, spec, tried):
    worst, detail = -1.0, ""
    for arguments in tried:
        error, where = compare(spec, arguments)
        if error > worst:
            worst, detail = error, f"{where} ({' '.join(arguments)})"
    counts[worst < TOLERANCE] += 1
    print(f"{'ok    ' if worst < TOLERANCE else 'FAILED'} {label:28} {worst:.1e}  {detail}", flush=True)


def chosen(label):
    return len(sys.argv) < 2 or any(part in label for part in sys.argv[1:])


def main():
    torch.set_num_threads(1)
    for case in STUDY + MORE:
        if chosen(case.label):
            file = os.path.join(ROOT, "specs", case.spec + ".att")
            tried = [options(case.size(size), case.variant) for size in [case.small, *case.sizes]]
            check(case.label, file, [*tried, [*tried[0], "--training"]])
    for name, (sizes, _) in MECHANISMS.items():
        if chosen(name):
            file = os.path.join(ROOT, "examples", "mechanisms", name + ".att")
            check(name, file, [["--size", size, "-D", f"std={std}"] for size in sizes for std in (WIDE["std"], 0.02)])
    if chosen("masks"):
        sizes = ("B=2,T=7,E=3", "B=1,T=13,E=5,K=3", "B=3,T=1,E=1,K=1")
        check("masks", os.path.join(ROOT, "tests", "gradients", "masks.att"), [["--size", size] for size in sizes])
    with tempfile.TemporaryDirectory() as folder:
        for name, text in CONVENTIONS.items():
            if chosen(name):
                file = os.path.join(folder, "m.att")
                with open(file, "w", encoding="utf-8") as f:
                    f.write(HEAD % name + text + "\n")
                check(name, file, [[]])
    print(f"\n{counts[True]} passed, {counts[False]} failed, 0 skipped")
    return counts[False] != 0


sys.exit(main())
