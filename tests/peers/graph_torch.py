"""Evaluates a graph in its text form (attnc --dump=graph) by PyTorch in float64.

It shares nothing with the compiler: what a node means is written down here a second time, after compiler/graph.h, and
its derivative is PyTorch's. Where a derivative is a matter of convention the operation is written so that PyTorch's is
attnc's:

    max(a, b), min(a, b)    of equal operands the second has the derivative
    max[i], min[i]          equal extremes share it (torch.amax and amin do so too)
    abs(x)                  0 at 0 (so does torch.abs)
    if c then a else b      what is not taken gets 0, even where its derivative is infinite or no number: every
                            operation passes an adjoint of 0 on as 0 (Zeroed)
    stop(x), topk, floor, int, comparisons    no derivative

Integers are held as float64, as in the interpreter, truth values as torch.bool."""
import re

import numpy as np
import torch

NODE = re.compile(r"%(\d+) : (bool|int|float)\[([^]]*)\] = (.*)")
REDUCE = re.compile(r"(sum|product|max|min|any|all)\[(\S+?)(?: where %(\d+))?\] %(\d+)$")
TOPK = re.compile(r"topk\[(\S+) where %(\d+)\] %(\d+), (\d+)$")
GATHER = re.compile(r"gather %(\d+) at (.*)$")
SCAN = re.compile(r"scan\.(\d+)(?:\.(\d+))? (\S+)( reverse)? from %(\d+) step %(\d+)$")
PREVIOUS = re.compile(r"previous\.(\d+)(?:\.(\d+))? ")
OUTPUT = re.compile(r"(output|loss|gradient|update) (\S+)\[([^]]*)\] = %(\d+)$")


def names(text):
    return tuple(text.split(",")) if text else ()


class Node:
    def __init__(self, number, type, free, text):
        self.number, self.type, self.free, self.text = number, type, free, text
        self.kind, self.child, self.vars = "pointwise", (), ()
        word = text.split(" ", 1)[0]
        if m := REDUCE.match(text):
            self.kind, self.reduction, self.vars = "reduce", m[1], names(m[2])
            self.domain, self.body = m[3] and int(m[3]), int(m[4])
            self.child = (self.body, *([self.domain] if self.domain else []))
        elif m := TOPK.match(text):
            self.kind, self.over, self.domain, self.score, self.count = "topk", m[1], int(m[2]), int(m[3]), int(m[4])
            self.child = (self.domain, self.score)
        elif m := GATHER.match(text):
            pairs = [p.split(" := %") for p in m[2].split(", ")]
            self.kind, self.body, self.at = "gather", int(m[1]), {i: int(e) for i, e in pairs}
            self.child = (self.body, *self.at.values())
        elif m := SCAN.match(text):
            self.kind, self.label, self.state = "scan", int(m[1]), int(m[2] or 0)
            self.over, self.reverse, self.init, self.step = m[3], bool(m[4]), int(m[5]), int(m[6])
            self.child = (self.init, self.step)
        elif m := PREVIOUS.match(text):
            self.kind, self.label, self.state = "previous", int(m[1]), int(m[2] or 0)
        elif word == "tensor":
            self.kind, self.tensor = "tensor", text.split(" ", 1)[1]
        elif word == "index":
            self.kind = "index"
        elif word.startswith("random."):
            self.kind, self.random = "random", int(word[7:])
        elif "%" in text:
            self.operation = word
            self.child = tuple(int(c) for c in re.findall(r"%(\d+)", text))
            if self.operation not in POINTWISE:
                raise ValueError(f"an operation that is not known here: {text}")
        else:
            self.kind, self.number_value = "constant", {"true": 1.0, "false": 0.0}.get(text) if type == "bool" else float(text)


class Graph:
    """The first graph of a text; of what follows it only the axes of the gradients."""

    def __init__(self, text):
        self.node, self.output, self.gradient_axes, graphs = {}, [], {}, 0
        for line in text.splitlines():
            if line.startswith("index") and " : " not in line:
                graphs += 1
                if graphs == 1:
                    self.extent = {n: int(e) for n, e in (pair.rsplit(":", 1) for pair in line.split()[1:])}
            elif (m := NODE.match(line)) and graphs == 1:
                self.node[int(m[1])] = Node(int(m[1]), m[2], names(m[3]), m[4])
            elif m := OUTPUT.match(line):
                if m[1] == "gradient":
                    self.gradient_axes[m[2].removeprefix("gradient.")] = names(m[3])
                elif graphs == 1:
                    self.output.append((m[1], m[2], names(m[3]), int(m[4])))
        self.scan = {}  # label: its SCAN nodes by state
        self.inside = {}  # label: the nodes that depend on its states before the step, in order
        self.reached = reached = {}  # node: the labels of all scans whose states it depends on, seen from within
        for n, node in sorted(self.node.items()):
            if node.kind == "scan":
                self.scan.setdefault(node.label, {})[node.state] = node
            labels = set().union(*(reached[c] for c in node.child))
            if node.kind == "previous":
                labels.add(node.label)
            reached[n] = labels - ({node.label} if node.kind == "scan" else set())
            for label in reached[n]:
                self.inside.setdefault(label, []).append(node)
        self.outermost = [node for n, node in sorted(self.node.items()) if not reached[n]]


class Zeroed(torch.autograd.Function):
    """An operation on tensors of one shape, through which an adjoint that is exactly 0 passes as 0."""

    @staticmethod
    def forward(ctx, operation, *operands):
        ctx.operation = operation
        ctx.save_for_backward(*operands)
        return operation(*operands)

    @staticmethod
    def backward(ctx, adjoint):
        operands = [x.detach().requires_grad_(need) for x, need in zip(ctx.saved_tensors, ctx.needs_input_grad[1:])]
        wanted = [x for x in operands if x.requires_grad]
        with torch.enable_grad():
            parts = iter(torch.autograd.grad(ctx.operation(*operands), wanted, adjoint, allow_unused=True))
        result = []
        for x in operands:
            part = next(parts) if x.requires_grad else None
            result.append(None if part is None else torch.where(adjoint == 0, 0.0, part))
        return (None, *result)


def floor_divide(a, b):
    return torch.where(b == 0, 0.0, torch.floor(a / torch.where(b == 0, 1.0, b)))


def to_int(x):
    limit = 2.0**62
    return torch.where(torch.isnan(x), 0.0, torch.floor(x).clamp(-limit, limit))


POINTWISE = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "mod": lambda a, b: a - b * floor_divide(a, b),
    "neg": torch.neg,
    "min": lambda a, b: torch.where(a < b, a, b),
    "max": lambda a, b: torch.where(a > b, a, b),
    "pow": torch.pow,
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "abs": torch.abs,
    "floor": torch.floor,
    "lt": torch.lt,
    "le": torch.le,
    "eq": torch.eq,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
    "select": torch.where,
    "float": lambda a: a.to(torch.float64),
    "int": to_int,
    "stop": lambda a: a.detach(),
}
IDENTITY = {"sum": 0.0, "product": 1.0, "max": -np.inf, "min": np.inf, "any": False, "all": True}
REDUCTION = {"sum": torch.sum, "product": torch.prod, "max": torch.amax, "min": torch.amin, "any": torch.any, "all": torch.all}


def philox_uniform(seed, number, count):
    """Philox4x32-10, Salmon et al. 2011, section 3.3: element k is the first word for the counter (k, number), in 2^-24."""
    mask = np.uint64(0xFFFFFFFF)
    k = np.arange(count, dtype=np.uint64)
    c = [k & mask, k >> np.uint64(32), np.full(count, number, np.uint64), np.zeros(count, np.uint64)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(key[0]), p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(key[1]), p0 & mask]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return (c[0] >> np.uint64(8)).astype(np.float64) * 2.0**-24


class Evaluation:
    """Values of a graph's nodes. `tensors`: name: (names of the axes, torch tensor)."""

    def __init__(self, graph, tensors, seed=1):
        self.graph, self.tensors, self.seed = graph, tensors, seed
        self.value = {}  # node: (names of the axes, tensor)
        self.open = []  # (index, step) of the scans that are being run
        self.before = {}  # label of a scan that is being run: the states before the step
        for node in graph.outermost:
            if node.number not in self.value:
                self.evaluate(node)

    def read(self, n, keep=()):
        axes, value = self.value[n]
        for index, step in self.open:
            if index in axes and index not in keep:
                value, axes = value.select(axes.index(index), step), tuple(a for a in axes if a != index)
        return axes, value

    def over(self, n, axes):
        """The value of n over `axes`, repeated along those that it does not depend on."""
        own, value = self.read(n)
        value = value.permute([own.index(a) for a in axes if a in own])
        shape = [self.graph.extent[a] if a in own else 1 for a in axes]
        return value.reshape(shape).expand([self.graph.extent[a] for a in axes])

    def evaluate(self, node):
        steps = [index for index, _ in self.open]
        axes = tuple(a for a in node.free if a not in steps)
        if node.kind == "scan":
            self.run_scan(node)
        else:
            self.value[node.number] = getattr(self, node.kind)(node, axes)

    def constant(self, node, axes):
        return (), torch.tensor(node.number_value != 0 if node.type == "bool" else node.number_value, dtype=torch.bool if node.type == "bool" else torch.float64)

    def index(self, node, axes):
        return node.free, torch.arange(self.graph.extent[node.free[0]], dtype=torch.float64)

    def tensor(self, node, axes):
        return self.tensors[node.tensor]

    def random(self, node, axes):
        shape = [self.graph.extent[a] for a in node.free]
        return node.free, torch.from_numpy(philox_uniform(self.seed, node.random, int(np.prod(shape, dtype=int))).reshape(shape))

    def previous(self, node, axes):
        own, value = self.before[node.label][node.state]
        return own, value

    def pointwise(self, node, axes):
        operation = POINTWISE[node.operation]
        operands = [self.over(c, axes) for c in node.child]
        if node.operation == "div" and node.type == "int":
            operation = floor_divide
        if node.operation in ("stop", "select") or node.type != "float" or not any(x.requires_grad for x in operands):
            return axes, operation(*operands)
        return axes, Zeroed.apply(operation, *operands)

    def reduce(self, node, axes):
        if any(index in node.vars for index, _ in self.open):
            raise ValueError(f"a reduction over an index that is being scanned: {node.text}")
        body = self.over(node.body, axes + node.vars)
        if node.domain:
            identity = torch.tensor(IDENTITY[node.reduction], dtype=body.dtype)
            body = torch.where(self.over(node.domain, axes + node.vars), body, identity)
        return axes, REDUCTION[node.reduction](body.reshape([*body.shape[: len(axes)], -1]), dim=-1)

    def gather(self, node, axes):
        own, body = self.read(node.body, keep=node.at)
        inside, where = torch.ones([self.graph.extent[a] for a in axes], dtype=torch.bool), []
        for index, expression in node.at.items():
            at = self.over(expression, axes)
            inside = inside & (at >= 0) & (at < self.graph.extent[index])
        for a in own:
            if a in node.at:
                where.append(self.over(node.at[a], axes).clamp(0, self.graph.extent[a] - 1).long())
            else:
                where.append(torch.arange(self.graph.extent[a]).reshape([-1 if b == a else 1 for b in axes]))
        read = body[tuple(where)] if own else body
        return axes, torch.where(inside, read, torch.zeros((), dtype=body.dtype))

    def topk(self, node, axes):
        last = tuple(a for a in axes if a != node.over) + (node.over,)
        domain, score = self.over(node.domain, last), self.over(node.score, last).detach()
        order = torch.argsort(torch.where(torch.isnan(score), 0.0, -score), dim=-1, stable=True)
        late = torch.where(domain, torch.isnan(score).long(), 2)
        order = torch.gather(order, -1, torch.argsort(torch.gather(late, -1, order), dim=-1, stable=True))
        chosen = torch.zeros(domain.shape, dtype=torch.bool).scatter(-1, order[..., : node.count], True)
        return last, chosen & domain

    def run_scan(self, first):
        """All states of a scan at once. The bodies' nodes are evaluated anew at each step, where they lack the index."""
        label, over = first.label, first.over
        inside = [n for n in self.graph.inside.get(label, []) if self.graph.reached[n.number] <= {label, *self.before}]
        states = [self.graph.scan[label][k] for k in range(len(self.graph.scan[label]))]
        fixed = [index for index, _ in self.open]
        if over in fixed:
            raise ValueError(f"a scan over {over} within one over {over}")
        axes = [tuple(a for a in s.free if a not in fixed and a != over) for s in states]
        steps = range(self.graph.extent[over])
        self.before[label] = [(axes[k], self.over(s.init, axes[k])) for k, s in enumerate(states)]
        results = [[None for _ in steps] for _ in states]
        for at in reversed(steps) if first.reverse else steps:
            self.open.append((over, at))
            for node in inside:
                self.value.pop(node.number, None)
            for node in inside:
                if node.number not in self.value:
                    self.evaluate(node)
            after = [self.over(s.step, axes[k]) for k, s in enumerate(states)]
            self.open.pop()
            for k, value in enumerate(after):
                results[k][at] = value
            self.before[label] = list(zip(axes, after))
        del self.before[label]
        for k, s in enumerate(states):
            self.value[s.number] = (axes[k] + (over,), torch.stack(results[k], dim=-1))
