#!/usr/bin/env python3
"""Compares the mechanisms of examples/mechanisms with NumPy after their papers, and their gradients with differences."""
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

import published

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ATTNC = os.environ.get("ATTNC", os.path.join(ROOT, "build", "release", "attnc"))
WIDE = {"std": 0.5}  # initial values so large that no part is close to linear

# the sizes that are tried, the last and smallest for gradients; the names of those that the reference wants to know
MECHANISMS = {
    "mlstm": (["B=2,T=13,D=12,H=2", "B=1,T=7,D=15,H=3", "B=1,T=5,D=8,H=2"], ""),
    "slstm": (["B=2,T=13,D=12,H=2", "B=1,T=7,D=15,H=3", "B=1,T=5,D=8,H=2"], ""),
    "nsa": (["B=2,T=37,D=12,L=4,S=2,P=4,N=4,W=5", "B=1,T=29,D=12,G=1,R=3,L=6,S=3,P=6,N=3,W=7", "B=1,T=23,D=8,L=4,S=2,P=4,N=4,W=5"], "LSPNW"),
    "entmax": (["B=2,T=13,D=12,H=2", "B=1,T=7,D=15,H=3", "B=1,T=5,D=8,H=2"], ""),
    "nystromformer": (["B=2,T=15,D=12,H=2,M=5,C=5", "B=1,T=11,D=15,H=3,M=4,C=3", "B=1,T=8,D=8,H=2,M=4,C=3"], "MN"),
    "infini": (["B=2,T=13,D=12,H=2,L=4", "B=1,T=9,D=15,H=3,L=3", "B=1,T=7,D=8,H=2,L=3"], "L"),
    "rwkv7": (["B=2,T=13,D=12,H=2,R=5", "B=1,T=7,D=15,H=3,R=2", "B=1,T=5,D=8,H=2,R=3"], ""),
    "multitoken": (["B=2,T=13,D=16,U=6,V=11", "B=1,T=7,D=12,G=1,R=3,U=2,V=3", "B=1,T=5,D=8,U=2,V=3"], ""),
    "cope": (["B=2,T=13,D=12,H=2,P=4", "B=1,T=7,D=15,H=3,P=9", "B=1,T=5,D=8,H=2,P=3"], "P"),
    "ttt": (["B=2,T=13,D=12,H=2", "B=1,T=7,D=15,H=3", "B=1,T=5,D=8,H=2"], ""),
    "neighbourhood": (["B=2,R=7,C=5,D=12,H=2,K=3", "B=1,R=6,C=9,D=15,H=3,K=5", "B=1,R=4,C=3,D=8,H=2,K=3"], "K"),
    "clustered": (["B=2,T=13,D=12,H=2,C=3,N=4,L=11,K=4", "B=1,T=17,D=15,H=3,C=5,N=3,L=7,K=6", "B=1,T=7,D=8,H=2,C=3,N=3,L=7,K=4"], "CNK"),
    "reformer": (["B=2,T=15,D=12,H=2,N=3,R=3", "B=1,T=21,D=15,H=3,N=2,R=2", "B=1,T=9,D=8,H=2,N=3,R=2"], "N"),
    "hyena": (["B=2,T=13,D=6,F=5", "B=1,T=7,D=5,F=4,N=3,K=2", "B=1,T=5,D=4,F=3"], "NK"),
    "performer": (["B=2,T=13,D=12,H=2,M=10", "B=1,T=7,D=15,H=3,M=7", "B=1,T=5,D=8,H=2,M=6"], ""),
    "path": (["B=2,T=13,D=12,H=2,R=3", "B=1,T=7,D=15,H=3,R=4", "B=1,T=5,D=8,H=2,R=3"], ""),
    "loglinear": (["B=2,T=13,D=12,H=2,N=4", "B=1,T=23,D=15,H=3,N=5", "B=1,T=5,D=8,H=2,N=3"], ""),
}
passed = failed = 0


def check(name, ok, detail=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(f"{'ok    ' if ok else 'FAILED'} {name} {detail}")


def attnc(*arguments):
    return subprocess.run([ATTNC, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def worst(a, b):
    return float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b)))) if np.shape(a) == np.shape(b) else np.inf


def sizes_of(text):
    return {name: int(value) for name, value in (pair.split("=") for pair in text.split(","))}


def compare():
    for name, (tried, wanted) in MECHANISMS.items():
        spec = os.path.join(ROOT, "examples", "mechanisms", name + ".att")
        defines = ["-D", f"std={WIDE['std']}"]
        for size in tried:
            with tempfile.TemporaryDirectory() as folder:
                done = attnc("run", spec, "--size", size, *defines, "--dump-dir", folder)
                if done.returncode != 0:
                    check(f"{name} {size}", False, done.stderr[:500])
                    continue
                tensors = {f[:-4]: np.load(os.path.join(folder, f)) for f in os.listdir(folder)}
            given = sizes_of(size)
            known = {"nystromformer": {"N": 6}, "hyena": {"N": 2, "K": 4}}.get(name, {})
            expected = getattr(published, name)(tensors, **{n: given.get(n, known.get(n)) for n in wanted})
            for output, value in expected.items():
                error = worst(tensors[output], value)
                check(f"{name} {output} {size}", error <= 1e-10 and np.max(np.abs(value)) > 1e-3, f"{error:.1e}")
        done = attnc("check-grad", spec, "--size", tried[-1], *defines)
        check(f"{name} gradients against finite differences", done.returncode == 0, (done.stdout.splitlines() or [done.stderr])[-1])


if __name__ == "__main__":
    compare()
    print(f"\n{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)
