#!/usr/bin/env python3
"""Compares attnc with the NumPy references, variants with each other, and machine code with the interpreter."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("NumPy is not installed: the comparison with references is skipped")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

import mechanisms

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ATTNC = os.environ.get("ATTNC", os.path.join(ROOT, "build", "release", "attnc"))
passed = failed = 0


def check(name, ok, detail=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(f"{'ok    ' if ok else 'FAILED'} {name} {detail}")


def attnc(*arguments):
    return subprocess.run([ATTNC, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def spec(name):
    return os.path.join(ROOT, "specs", name + ".att")


def options(size, variant, define):
    result = ["--size", ",".join(f"{k}={v}" for k, v in size.items())]
    if variant:
        result += ["--variant", variant]
    for name, value in define.items():
        result += ["-D", f"{name}={value}"]
    return result


def values(name, size, variant=None, define={}, more=(), seed=1):
    """Runs a spec and returns its tensors and outputs by name."""
    with tempfile.TemporaryDirectory() as folder:
        done = attnc("run", spec(name), "--seed", str(seed), "--dump-dir", folder, *options(size, variant, define), *more)
        if done.returncode != 0:
            check(f"{variant or name} runs", False, done.stderr[:500])
            return {}
        return {f[:-4]: np.load(os.path.join(folder, f)) for f in os.listdir(folder)}


def worst(a, b):
    return float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b)))) if np.shape(a) == np.shape(b) else np.inf


# spec, variant, sizes that bite at these lengths
VARIANTS = [
    ("mha", None, {}), ("mla", None, {}), ("gqa", "gqa_2", {}), ("gqa", "gqa_1", {}), ("mqa", None, {}),
    ("sliding", "sliding_512", {"W": 5}), ("sliding", "sliding_256", {"W": 2}),
    ("sparse", "sparse_512", {"K": 5}), ("sparse", "sparse_256", {"K": 2}),
    ("linear", None, {}), ("identity", None, {}),
]
SIZES = [({"B": 2, "T": 13, "D": 24}, 4), ({"B": 1, "T": 1, "D": 8}, 2), ({"B": 3, "T": 7, "D": 20}, 2), ({"B": 1, "T": 37, "D": 28}, 2)]


def per_variant():
    for name, variant, define in VARIANTS:
        label = variant or name
        for size, head_count in SIZES:
            more = dict(define)
            if name != "identity":
                more["H"] = head_count
            a = values(name, size, variant, more)
            if not a:
                continue
            for output, expected in getattr(mechanisms, name)(a, **more).items():
                error = worst(a[output], expected)
                check(f"{label} {output} {size}", error <= 1e-10, f"{error:.1e}")
        size, head_count = {"B": 2, "T": 7, "D": 8}, 2
        more = dict(define)
        if name != "identity":
            more["H"] = head_count
        done = attnc("check-grad", spec(name), *options(size, variant, more))
        check(f"{label} gradients against finite differences", done.returncode == 0, (done.stdout.splitlines() or [done.stderr])[-1])
        for size in ({"B": 2, "T": 13, "D": 24}, {"B": 1, "T": 1, "D": 8}, {"B": 2, "T": 66, "D": 32}):
            done = attnc("run", spec(name), "--compare", "--backward", "--training", *options(size, variant, more))
            errors = [line.split() for line in done.stdout.splitlines()]
            check(f"{label} machine code, values and gradients {size}", done.returncode == 0, " ".join(max(errors, key=lambda e: float(e[1]))[:2]) if errors else done.stderr[:300])


def numpy_gradients():
    """Derived gradients against central differences of the references themselves."""
    rng = np.random.default_rng(3)
    for name, variant, define in VARIANTS:
        size = {"B": 2, "T": 6, "D": 8}
        more = dict(define, **({} if name == "identity" else {"H": 2}))
        a = values(name, size, variant, more, more=["--backward"])
        if not a:
            continue
        reference = getattr(mechanisms, name)

        def loss(tensors):
            return float(np.sum(reference(tensors, **more)["y"] * a["cotangent.y"]))

        error = 0.0
        for tensor in a:
            # the indexer's parameters have their own loss, whose target is detached
            if "gradient." + tensor not in a or tensor.startswith("U") or tensor == "cotangent.y":
                continue
            direction = rng.standard_normal(a[tensor].shape)
            step = 1e-3 * np.sqrt(np.mean(a[tensor] ** 2) + 1e-12)
            slope = [(loss({**a, tensor: a[tensor] + h * direction}) - loss({**a, tensor: a[tensor] - h * direction})) / (2 * h) for h in (step, step / 2)]
            finite = (4 * slope[1] - slope[0]) / 3
            derived = float(np.sum(a["gradient." + tensor] * direction))
            scale = max(abs(finite), float(np.sqrt(np.sum((a["gradient." + tensor] * direction) ** 2))))
            error = max(error, abs(derived - finite) / scale)
        check(f"{variant or name} gradients against NumPy", error < 1e-6, f"{error:.1e}")


def equalities():
    size = {"B": 2, "T": 11, "D": 24}
    one, other = values("gqa", size, "gqa_1", {"H": 4}), values("mqa", size, None, {"H": 4})
    check("gqa_1 equals mqa", worst(one["y"], other["y"]) <= 1e-12)
    full = values("mha", size, None, {"H": 4})["y"]
    check("a full window equals mha", worst(values("sliding", size, "sliding_256", {"H": 4, "W": 11})["y"], full) <= 1e-12)
    check("top-k of everything equals mha", worst(values("sparse", size, "sparse_256", {"H": 4, "K": 11})["y"], full) <= 1e-12)
    narrow = values("sliding", size, "sliding_256", {"H": 4, "W": 3})["y"]
    check("a narrow window does not", worst(narrow, full) > 1e-6)


def libraries():
    """What -o writes computes what the interpreter does: called from Python, and from C through its header."""
    size = ["--size", "B=2,T=13,D=24", "--backward"]
    for name in ("mla", "gqa", "linear"):
        with tempfile.TemporaryDirectory() as folder:
            library, data = os.path.join(folder, name + ".so"), os.path.join(folder, "values")
            heads = [] if name == "mla" else ["-D", "H=2"]
            done = [attnc(spec(name), "-o", library, *size, *heads), attnc("run", spec(name), "--dump-dir", data, *size, *heads)]
            call = subprocess.run([sys.executable, os.path.join(ROOT, "examples", "call.py"), library, data], capture_output=True, text=True)
            errors = [float(line.split()[1]) for line in call.stdout.splitlines()]
            ok = all(d.returncode == 0 for d in done) and call.returncode == 0 and len(errors) > 5 and max(errors) < 1e-5
            check(f"{name}.so called from Python, values and gradients", ok, f"{max(errors):.1e}" if errors else call.stderr[-300:])
    with tempfile.TemporaryDirectory() as folder:
        object_file, program = os.path.join(folder, "identity.o"), os.path.join(folder, "call")
        done = attnc(spec("identity"), "-o", object_file, "--size", "B=2,T=3,D=4")
        build = subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-I", folder, os.path.join(ROOT, "examples", "call.c"), object_file,
                                "-ldnnl", "-lgomp", "-lm", "-o", program], capture_output=True, text=True)
        output = subprocess.run([program], capture_output=True, text=True).stdout if build.returncode == 0 else ""
        x, w = (np.arange(24) % 10 / 10).reshape(6, 4), (np.arange(16) % 10 / 10).reshape(4, 4)
        y = np.array([float(line) for line in output.split()])
        check("identity.o called from C", done.returncode == 0 and y.shape == (24,) and worst(y, (x @ w.T).ravel()) < 1e-5, build.stderr[:300])


per_variant()
numpy_gradients()
equalities()
libraries()
print(f"\n{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed != 0)
