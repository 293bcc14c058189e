#!/usr/bin/env python3
"""Compares attnc with the NumPy references, variants with each other, and machine code with the interpreter.
Arguments, if any, are parts of the names of the specs to compare."""
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

import functions
from cases import MORE, STUDY
from harness import ROOT, attnc, check, counts, options, spec, values, worst


def against_reference(case):
    for size in case.sizes:
        more = case.size(size)
        a = values(case.spec, more, case.variant)
        if not a:
            continue
        for output, expected in case.reference(a, **more).items():
            error = worst(a[output], expected)
            check(f"{case.label} {output} {size}", error <= 1e-10, f"{error:.1e}")


def gradients(case):
    done = attnc("check-grad", spec(case.spec), *options(case.size(case.small), case.variant))
    check(f"{case.label} gradients against finite differences", done.returncode == 0, (done.stdout.splitlines() or [done.stderr])[-1])
    for size in case.machine:
        done = attnc("run", spec(case.spec), "--compare", "--backward", "--training", "--tolerance", str(case.tolerance), *options(case.size(size), case.variant))
        errors = [line.split() for line in done.stdout.splitlines()]
        check(f"{case.label} machine code, values and gradients {size}", done.returncode == 0,
              " ".join(max(errors, key=lambda e: float(e[1]))[:2]) if errors else done.stderr[:300])


def numpy_gradients(case):
    """Derived gradients against central differences of the references themselves."""
    rng = np.random.default_rng(3)
    more = case.size(case.small)
    a = values(case.spec, more, case.variant, ["--backward"])
    if not a:
        return

    def loss(tensors):
        return float(np.sum(case.reference(tensors, **more)["y"] * a["cotangent.y"]))

    error, compared = 0.0, 0
    for tensor in a:
        # the indexer's parameters have their own loss, whose target is detached
        if "gradient." + tensor not in a or tensor == "cotangent.y" or case.spec == "sparse" and tensor.startswith("U"):
            continue
        direction = rng.standard_normal(a[tensor].shape)
        size = np.sqrt(np.mean(a[tensor] ** 2)) or 1
        derived = float(np.sum(a["gradient." + tensor] * direction))
        terms = float(np.sqrt(np.sum((a["gradient." + tensor] * direction) ** 2)))
        # a wrong derivative disagrees with differences of every step
        tries = []
        for step in (1e-2 * size, 1e-3 * size, 1e-4 * size):
            slope = [(loss({**a, tensor: a[tensor] + h * direction}) - loss({**a, tensor: a[tensor] - h * direction})) / (2 * h) for h in (step, step / 2)]
            finite = (4 * slope[1] - slope[0]) / 3
            tries.append(abs(derived - finite) / max(abs(finite), terms))
        error, compared = max(error, min(tries)), compared + 1
    check(f"{case.label} gradients against NumPy", error < 1e-6 and compared, f"{error:.1e}")


def equalities():
    size = {"B": 2, "T": 11, "D": 24, "H": 4}
    one, other = values("gqa", size, "gqa_1"), values("mqa", size)
    check("gqa_1 equals mqa", worst(one["y"], other["y"]) <= 1e-12)
    full = values("mha", size)["y"]
    for label, name, variant, define in [
        ("a full window", "sliding", "sliding_256", {"W": 11}),
        ("top-k of everything", "sparse", "sparse_256", {"K": 11}),
        ("a high soft cap", "more/softcap", None, {"C": 1e8}),
        ("sinks and a full window", "more/streaming", None, {"K": 2, "W": 11}),
        ("one document", "more/document", None, {"N": 1}),
    ]:
        error = worst(values(name, size | define, variant)["y"], full)
        check(f"{label} equals mha", error <= 1e-12, f"{error:.1e}")
    for name, variant, define in [("sliding", "sliding_256", {"W": 3}), ("more/softcap", None, {"C": 0.01}), ("more/streaming", None, {"K": 1, "W": 3}), ("more/document", None, {"N": 2})]:
        check(f"{name} with {define} does not", worst(values(name, size | define, variant)["y"], full) > 1e-6)


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


def every_spec_has_a_case():
    folder = os.path.join(ROOT, "specs", "more")
    files = {"more/" + f[:-4] for f in os.listdir(folder) if f.endswith(".att")}
    check("every spec in specs/more has a reference", files == {case.spec for case in MORE}, str(files ^ {case.spec for case in MORE} or ""))


chosen = [case for case in STUDY + MORE if len(sys.argv) < 2 or any(part in case.label for part in sys.argv[1:])]
for case in chosen:
    against_reference(case)
    gradients(case)
    numpy_gradients(case)
if len(sys.argv) < 2:
    equalities()
    every_spec_has_a_case()
    functions.run()
    libraries()
print(f"\n{counts[True]} passed, {counts[False]} failed, 0 skipped")
sys.exit(counts[False] != 0)
