#!/usr/bin/env python3
"""Calls a mechanism that attnc compiled, from Python.

    attnc run specs/mla.att --size B=2,T=16 --dump-dir values     # inputs, and y by the interpreter
    attnc specs/mla.att --size B=2,T=16 -o mla.so                 # writes mla.h too
    examples/call.py mla.so values

Prints each output's largest difference from the values in the folder, relative to the largest value."""
import ctypes
import os
import re
import sys

import numpy as np


def c_name(name):
    """What a name is in C: `_` for `.`, and letters beyond ASCII by their numbers."""
    return "".join(c if c.isascii() and c.isalnum() else "_" if c.isascii() else f"u{ord(c):04X}" if ord(c) < 0x10000 else f"U{ord(c):08X}" for c in name)


class Mechanism:
    """A compiled mechanism. What goes where is in the header that attnc writes beside the library."""

    def __init__(self, path):
        header = open(os.path.splitext(path)[0] + ".h", encoding="utf-8").read()
        self.tensors = self.arrays(header, "TENSOR")
        self.outputs = self.arrays(header, "OUTPUT")
        self.function = re.search(r"^int (\w+)\(", header, re.M).group(1)
        self.workspace_bytes = int(re.search(r"WORKSPACE_BYTES UINT64_C\((\d+)\)", header).group(1))
        self.call = getattr(ctypes.CDLL(os.path.abspath(path)), self.function)
        self.call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64]

    @staticmethod
    def arrays(header, kind):
        """Name, shape and type of each array, in order."""
        found = re.findall(rf"\w+_{kind}_(\w+) = (\d+), /\* (int32_t )?\[(.*?)\]", header)
        shapes = [tuple(int(axis.split("=")[1]) for axis in shape.split(", ") if axis) for *_, shape in found]
        return [(name, shape, np.int32 if integer else np.float32) for (name, _, integer, _), shape in zip(found, shapes)]

    def __call__(self, values, seed=1):
        """Arrays by name to arrays by name."""
        given = [np.ascontiguousarray(values[name], kind).reshape(shape) for name, shape, kind in self.tensors]
        result = [np.empty(shape, kind) for _, shape, kind in self.outputs]
        room = np.empty(self.workspace_bytes + 64, np.uint8)
        aligned = room.ctypes.data + -room.ctypes.data % 64
        pointers = ctypes.c_void_p * max(1, len(given)), ctypes.c_void_p * max(1, len(result))
        status = self.call(pointers[0](*(a.ctypes.data for a in given)), pointers[1](*(a.ctypes.data for a in result)), aligned, seed)
        if status != 0:
            raise MemoryError(self.function)
        return {name: a for (name, _, _), a in zip(self.outputs, result)}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    mechanism = Mechanism(sys.argv[1])
    values = {c_name(name[:-4]): np.load(os.path.join(sys.argv[2], name)) for name in os.listdir(sys.argv[2])}
    for name, value in mechanism(values).items():
        wanted = values[name]
        print(f"{name:30} {np.max(np.abs(value - wanted)) / max(1e-30, np.max(np.abs(wanted))):.2e}")
