"""Which specs are compared with which function, and at which sizes: none a multiple of a vector or a block."""
from dataclasses import dataclass, field
from typing import Callable, Optional

import attention
import mechanisms
import recurrences

SIZES = [
    {"B": 2, "T": 13, "D": 24, "H": 4},
    {"B": 1, "T": 1, "D": 8, "H": 2},
    {"B": 3, "T": 7, "D": 20, "H": 2},
    {"B": 1, "T": 37, "D": 28, "H": 2},
]
SMALL = {"B": 2, "T": 7, "D": 8, "H": 2}    # for finite differences
MACHINE = [*SIZES[:2], {"B": 2, "T": 66, "D": 32, "H": 2}]  # for machine code


@dataclass
class Case:
    spec: str
    reference: Callable
    variant: Optional[str] = None
    define: dict = field(default_factory=dict)  # sizes and numbers that bite at these lengths
    sizes: list = field(default_factory=lambda: SIZES)
    small: dict = field(default_factory=lambda: SMALL)
    machine: list = field(default_factory=lambda: MACHINE)
    tolerance: float = 1e-5  # of machine code

    @property
    def label(self):
        return self.variant or self.spec

    def size(self, size):
        return {**size, **self.define}


def without(name, sizes):
    return [{k: v for k, v in size.items() if k != name} for size in sizes]


STUDY = [
    Case("mha", mechanisms.mha),
    Case("mla", mechanisms.mla),
    Case("gqa", mechanisms.gqa, "gqa_2"),
    Case("gqa", mechanisms.gqa, "gqa_1"),
    Case("mqa", mechanisms.mqa),
    Case("sliding", mechanisms.sliding, "sliding_512", {"W": 5}),
    Case("sliding", mechanisms.sliding, "sliding_256", {"W": 2}),
    Case("sparse", mechanisms.sparse, "sparse_512", {"K": 5}),
    Case("sparse", mechanisms.sparse, "sparse_256", {"K": 2}),
    Case("linear", mechanisms.linear),
    Case("identity", mechanisms.identity, None, {}, without("H", SIZES), *without("H", [SMALL]), without("H", MACHINE)),
]

# a query of differential attention is D / (2 H) wide, which rotation wants even
NARROW = [
    {"B": 2, "T": 13, "D": 24, "H": 3},
    {"B": 1, "T": 1, "D": 8, "H": 2},
    {"B": 3, "T": 7, "D": 20, "H": 5},
    {"B": 1, "T": 37, "D": 28, "H": 1, "N": 3},
]
CROSSED = [
    {"B": 2, "T": 13, "S": 5, "D": 24, "M": 10, "H": 4},
    {"B": 1, "T": 1, "S": 1, "D": 8, "M": 3, "H": 2},
    {"B": 5, "T": 7, "S": 19, "D": 20, "M": 33, "H": 2},
]
ROWS = [
    {"B": 2, "R": 3, "T": 13, "D": 24, "C": 10, "H": 4},
    {"B": 1, "R": 1, "T": 1, "D": 8, "C": 3, "H": 2},
    {"B": 1, "R": 5, "T": 7, "D": 18, "C": 21, "H": 3},
]
PAIRS = [
    {"B": 2, "T": 5, "C": 12, "H": 3},
    {"B": 1, "T": 1, "C": 8, "H": 2},
    {"B": 1, "T": 11, "C": 14, "H": 2},
]
# The output of one token is its value, whatever its query: the exact derivative is 0, and float32's is noise.
LONGER = [SIZES[0], SIZES[2], MACHINE[2]]

# A larger tolerance is one for sums that cancel: where the norm of the output takes away what a scale adds (differential,
# ssd), and where a bias of all gates moves key and query alike (forgetting).
MORE = [
    Case("more/softcap", attention.softcap, "softcap_50", {"C": 0.02}),
    Case("more/softcap", attention.softcap, "softcap_30", {"C": 30}),
    Case("more/alibi", attention.alibi),
    Case("more/alibi", attention.alibi, None, {}, [{"B": 2, "T": 9, "D": 18, "H": 6}, {"B": 1, "T": 5, "D": 15, "H": 5}]),
    Case("more/sink", attention.sink, "sink_128", {"W": 3}),
    Case("more/sink", attention.sink, "sink_full"),
    Case("more/streaming", attention.streaming, "streaming_512", {"K": 2, "W": 5}),
    Case("more/streaming", attention.streaming, "streaming_256", {"K": 1, "W": 1}),
    Case("more/differential", attention.differential, "differential_first", {}, NARROW, tolerance=5e-5),
    Case("more/differential", attention.differential, "differential_12", {"N": 12}, NARROW[:3], tolerance=5e-5),
    Case("more/sigmoid", attention.sigmoid_attention, "sigmoid_biased"),
    Case("more/sigmoid", attention.sigmoid_attention, "sigmoid_unbiased", {"bias": 0}),
    Case("more/t5", attention.t5, "t5_32", {"N": 8, "M": 20}),
    Case("more/t5", attention.t5, "t5_16", {"N": 7, "M": 12}),
    Case("more/prefix", attention.prefix),
    Case("more/document", attention.document, None, {"N": 3}),
    Case("more/forgetting", attention.forgetting, tolerance=5e-5),
    Case("more/qknorm", attention.qknorm),
    Case("more/cross", attention.cross, None, {}, CROSSED, CROSSED[2] | {"B": 2, "M": 6, "D": 8}, [*CROSSED[:2], {"B": 2, "T": 66, "S": 35, "D": 32, "M": 20, "H": 2}]),
    Case("more/pair", attention.pair, None, {}, ROWS, {"B": 2, "R": 2, "T": 5, "D": 8, "C": 6, "H": 2}, [*ROWS[:2], {"B": 2, "R": 3, "T": 34, "D": 16, "C": 18, "H": 2}]),
    Case("more/triangle", attention.triangle, None, {}, PAIRS, {"B": 2, "T": 4, "C": 8, "H": 2}, [*PAIRS[:2], {"B": 1, "T": 21, "C": 24, "H": 2}]),
    Case("more/katharopoulos", recurrences.katharopoulos, machine=LONGER),
    Case("more/retnet", recurrences.retnet),
    Case("more/gla", recurrences.gla, None, {"R": 3}, SIZES),
    Case("more/ssd", recurrences.ssd, "ssd_128", {"N": 9, "C": 3}, tolerance=5e-5),
    Case("more/ssd", recurrences.ssd, "ssd_64", {"N": 5}, tolerance=5e-5),
    Case("more/cosformer", recurrences.cosformer, machine=LONGER),
    Case("more/based", recurrences.based, None, {"F": 3}, machine=LONGER),
    Case("more/talking", attention.talking, "talking_4", {"J": 3}),
    Case("more/talking", attention.talking, "talking_8", {"J": 5}),
    Case("more/stickbreaking", attention.stickbreaking),
]
