"""Runs attnc, keeps count of the checks."""
import os
import subprocess
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ATTNC = os.environ.get("ATTNC", os.path.join(ROOT, "build", "release", "attnc"))
counts = {True: 0, False: 0}


def check(name, ok, detail=""):
    counts[bool(ok)] += 1
    print(f"{'ok    ' if ok else 'FAILED'} {name} {detail}", flush=True)


def attnc(*arguments):
    return subprocess.run([ATTNC, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def spec(name):
    """The file of a spec: by its name in specs/, or a path from the root."""
    return os.path.join(ROOT, name if name.endswith(".att") else f"specs/{name}.att")


def options(size, variant=None):
    result = []
    if size:
        result += ["--size", ",".join(f"{k}={v}" for k, v in size.items())]
    if variant:
        result += ["--variant", variant]
    return result


def values(name, size, variant=None, more=(), seed=1):
    """Runs a spec and returns its tensors and outputs by name."""
    with tempfile.TemporaryDirectory() as folder:
        done = attnc("run", spec(name), "--seed", str(seed), "--dump-dir", folder, *options(size, variant), *more)
        if done.returncode != 0:
            check(f"{variant or name} runs {size}", False, done.stderr[:500])
            return {}
        return {f[:-4]: np.load(os.path.join(folder, f)) for f in os.listdir(folder)}


def worst(a, b):
    """The largest difference, relative above 1."""
    if np.shape(a) != np.shape(b):
        return np.inf
    return float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b)), initial=0))
