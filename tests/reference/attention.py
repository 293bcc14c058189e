"""Mechanisms that weigh every earlier token, in NumPy, float64, from the papers. Shapes as in mechanisms.py; where
that is natural, in another form than the spec's: explicit loops, a cache, products instead of sums of logarithms."""
import numpy as np

from mechanisms import attend, causal, heads, masked_softmax, merge, rms_norm, rope, sigmoid


def logits(q, k):
    return np.einsum("bthe,bshe->bhts", q, k) / np.sqrt(q.shape[-1])


def weigh(p, v):
    return np.einsum("bhts,bshe->bthe", p, v)


def layer_norm(x):
    """Ba et al. 2016, eq. 4, without gain and bias."""
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)


def softcap(a, C, **_):
    """Gemma 2, section 2: logits <- cap * tanh(logits / cap)."""
    x = a["x"]
    z = logits(rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])))
    p = masked_softmax(C * np.tanh(z / C), causal(x.shape[1]))
    return {"y": merge(weigh(p, heads(x, a["Wv"])), a["Wo"])}


def alibi_slopes(n):
    """Press et al. 2021, section 3: starts at 2^(-8/n), each the one before times the first."""
    first = 2 ** (-8 / n)
    slopes = [first]
    while len(slopes) < n:
        slopes.append(slopes[-1] * first)
    return np.array(slopes)


def alibi(a, **_):
    """Press et al. 2021: softmax(q_i K + m [-(i-1), ..., -1, 0]), row by row."""
    x = a["x"]
    q, k, v = heads(x, a["Wq"]), heads(x, a["Wk"]), heads(x, a["Wv"])
    o = np.zeros_like(q)
    for h, slope in enumerate(alibi_slopes(q.shape[2])):
        for t in range(x.shape[1]):
            z = np.einsum("be,bse->bs", q[:, t, h], k[:, : t + 1, h]) / np.sqrt(q.shape[-1]) + slope * np.arange(-t, 1)
            w = np.exp(z - z.max(axis=1, keepdims=True))
            o[:, t, h] = np.einsum("bs,bse->be", w / w.sum(axis=1, keepdims=True), v[:, : t + 1, h])
    return {"y": merge(o, a["Wo"])}


def sink(a, W=None, **_):
    """gpt-oss: the sink is one more column of the logits, dropped after the softmax."""
    x = a["x"]
    t = np.arange(x.shape[1])
    z = logits(rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])))
    column = np.broadcast_to(a["sink"][None, :, None, None], z.shape[:3] + (1,))
    band = causal(len(t)) & (t[:, None] - t < (len(t) if W is None else W))
    mask = np.concatenate([band, np.ones((len(t), 1), bool)], axis=1)
    p = masked_softmax(np.concatenate([z, column], axis=-1), mask)[..., :-1]
    return {"y": merge(weigh(p, heads(x, a["Wv"])), a["Wo"])}


def streaming(a, K, W, **_):
    """Xiao et al. 2023, section 3.2: a cache of K sinks and the last tokens, with positions within the cache."""
    x = a["x"]
    q, k, v = heads(x, a["Wq"]), heads(x, a["Wk"]), heads(x, a["Wv"])
    o = np.zeros_like(q)
    cache = []
    for t in range(x.shape[1]):
        cache.append(t)
        if len(cache) > K + W + 1:
            del cache[K]
        keys = rope(k[:, cache])
        # the query stands where its own key does: last
        query = rope(np.repeat(q[:, t : t + 1], len(cache), axis=1))[:, -1:]
        o[:, t : t + 1], _ = attend(query, keys, v[:, cache], np.ones((1, len(cache)), bool))
    return {"y": merge(o, a["Wo"])}


def differential(a, N=1, **_):
    """Ye et al. 2024, eq. 1 to 3, head by head."""
    x = a["x"]
    initial = 0.8 - 0.6 * np.exp(-0.3 * (N - 1))
    weight = np.exp(a["lq1"] @ a["lk1"]) - np.exp(a["lq2"] @ a["lk2"]) + initial
    mask, y = causal(x.shape[1]), 0
    for h in range(a["Wv"].shape[0]):
        def map_of(query, key):
            q, k = rope(x @ a[query][h].T), rope(x @ a[key][h].T)
            return masked_softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]), mask)
        head = (map_of("Wq1", "Wk1") - weight * map_of("Wq2", "Wk2")) @ (x @ a["Wv"][h].T)
        y = y + (1 - initial) * (rms_norm(head) * a["g"]) @ a["Wo"][:, h].T
    return {"y": y}


def sigmoid_attention(a, bias=None, **_):
    """Ramapuram et al. 2024, section 2: sigmoid(q k / sqrt(d) + b) v, b = -log n."""
    x = a["x"]
    b = -np.log(x.shape[1]) if bias is None else bias
    z = logits(rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])))
    return {"y": merge(weigh(np.tril(sigmoid(z + b)), heads(x, a["Wv"])), a["Wo"])}


def t5_bucket(distance, buckets, furthest):
    """The authors' formula for the decoder, floor(log(d/m) / log(M/m) * (n-m)) + m, in integers: that floor is the
    largest k with (d/m)^(n-m) >= (M/m)^k."""
    exact = buckets // 2
    if distance < exact:
        return distance
    k, steps = 0, buckets - exact
    while k < steps and distance**steps * exact ** (k + 1) >= furthest ** (k + 1) * exact**steps:
        k += 1
    return min(exact + k, buckets - 1)


def t5(a, N=32, M=128, **_):
    """Raffel et al. 2019, section 2.1; the logits are not scaled."""
    x = a["x"]
    time = x.shape[1]
    z = logits(heads(x, a["Wq"]), heads(x, a["Wk"])) * np.sqrt(a["Wq"].shape[1])
    for t in range(time):
        for s in range(t + 1):
            z[:, :, t, s] += a["table"][t5_bucket(t - s, N, M)]
    return {"y": merge(weigh(masked_softmax(z, causal(time)), heads(x, a["Wv"])), a["Wo"])}


def prefix(a, **_):
    """Raffel et al. 2019, section 3.2.1: fully visible over the prefix, causal after it."""
    x = a["x"]
    mask = np.array([causal(x.shape[1])] * len(x))
    for b, length in enumerate(a["length"].astype(int)):
        mask[b, :, :length] = True
    o, _ = attend(rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])), heads(x, a["Wv"]), mask[:, None])
    return {"y": merge(o, a["Wo"])}


def document(a, **_):
    """Llama 3, section 3.2: each document by itself. Rotations see distances within the packed sequence."""
    x = a["x"]
    q, k, v = rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])), heads(x, a["Wv"])
    o = np.zeros_like(q)
    for b in range(len(x)):
        for number in np.unique(a["doc"][b]):
            at = np.flatnonzero(a["doc"][b] == number)
            o[b : b + 1, at], _ = attend(q[b : b + 1, at], k[b : b + 1, at], v[b : b + 1, at], causal(len(at)))
    return {"y": merge(o, a["Wo"])}


def forgetting(a, **_):
    """Lin et al. 2025, section 3: weights exp(q k / sqrt(d)) times the product of the gates after s up to t."""
    x = a["x"]
    batch, time, _ = x.shape
    gate = sigmoid(np.einsum("btd,hd->bht", x, a["wf"]) + a["bf"][:, None])
    forget = np.zeros(gate.shape + (time,))
    for t in range(time):
        for s in range(t + 1):
            forget[:, :, t, s] = np.prod(gate[:, :, s + 1 : t + 1], axis=-1)
    w = forget * np.exp(logits(heads(x, a["Wq"]), heads(x, a["Wk"])))
    return {"y": merge(weigh(w / w.sum(axis=-1, keepdims=True), heads(x, a["Wv"])), a["Wo"])}


def sinusoids(time, width):
    """Vaswani et al. 2017, section 3.5."""
    table = np.zeros((time, width))
    for position in range(time):
        for pair in range((width + 1) // 2):
            angle = position / 10000 ** (2 * pair / width)
            table[position, 2 * pair] = np.sin(angle)
            if 2 * pair + 1 < width:
                table[position, 2 * pair + 1] = np.cos(angle)
    return table


def qknorm(a, **_):
    """Henry et al. 2020, section 3: softmax(g * cosine)."""
    x = a["x"] + sinusoids(*a["x"].shape[1:])

    def unit(u):
        return u / np.sqrt(np.sum(u * u, axis=-1, keepdims=True) + 1e-6)

    q, k = unit(heads(x, a["Wq"])), unit(heads(x, a["Wk"]))
    p = masked_softmax(a["g"] * np.einsum("bthe,bshe->bhts", q, k), causal(x.shape[1]))
    return {"y": merge(weigh(p, heads(x, a["Wv"])), a["Wo"])}


def cross(a, **_):
    """Vaswani et al. 2017, section 3.2.3; each memory is cut where it ends."""
    o = []
    for b, last in enumerate(a["last"].astype(int)):
        x, memory = a["x"][b : b + 1], a["memory"][b : b + 1, : last + 1]
        everything = np.ones((x.shape[1], last + 1), bool)
        o.append(attend(heads(x, a["Wq"]), heads(memory, a["Wk"]), heads(memory, a["Wv"]), everything)[0])
    return {"y": merge(np.concatenate(o), a["Wo"])}


def pair(a, **_):
    """Jumper et al. 2021, supplementary algorithm 7, head by head."""
    m = layer_norm(a["x"]) * a["gx"] + a["sx"]
    z = layer_norm(a["pair"]) * a["gp"]
    y = a["bo"]
    for h in range(a["Wq"].shape[0]):
        q, k, v, g = (m @ a[name][h].T for name in ("Wq", "Wk", "Wv", "Wg"))
        w = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]) + (z @ a["Wb"][h])[:, None]
        w = np.exp(w - w.max(axis=-1, keepdims=True))
        y = y + sigmoid(g + a["bg"][h]) * ((w / w.sum(axis=-1, keepdims=True)) @ v) @ a["Wo"][:, h].T
    return {"y": y}


def triangle(a, **_):
    """Jumper et al. 2021, supplementary algorithms 13 and 14; around the ending node is around the starting node of
    the transposed pairs."""

    def starting(z, which):
        p = {name: a[name + which] for name in ("g", "s", "Wq", "Wk", "Wv", "Wg", "Wb", "Wo", "bg", "bo")}
        n = layer_norm(z) * p["g"] + p["s"]
        q, k, v, g = (np.einsum("bijc,hec->bijhe", n, p[name]) for name in ("Wq", "Wk", "Wv", "Wg"))
        bias = n @ p["Wb"].T
        o = np.zeros_like(q)
        for i in range(z.shape[1]):
            for j in range(z.shape[2]):
                w = np.einsum("bhe,bkhe->bkh", q[:, i, j], k[:, i]) / np.sqrt(q.shape[-1]) + bias[:, j]
                w = np.exp(w - w.max(axis=1, keepdims=True))
                o[:, i, j] = np.einsum("bkh,bkhe->bhe", w / w.sum(axis=1, keepdims=True), v[:, i])
        return np.einsum("bijhe,che->bijc", sigmoid(g + p["bg"]) * o, p["Wo"]) + p["bo"]

    z = a["pair"] + starting(a["pair"], "1")
    turned = z.swapaxes(1, 2)
    return {"y": z + starting(turned, "2").swapaxes(1, 2)}


def talking(a, **_):
    """Shazeer et al. 2020: a matrix of heads on either side of the softmax."""
    x = a["x"]
    z = logits(rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])))
    w = masked_softmax(np.tensordot(z, a["Wl"], (1, 1)).transpose(0, 3, 1, 2), causal(x.shape[1]))
    p = np.tensordot(w, a["Ww"], (1, 1)).transpose(0, 3, 1, 2)
    return {"y": merge(weigh(p, heads(x, a["Wv"])), a["Wo"])}


def stickbreaking(a, **_):
    """Tan et al. 2024: the stick's rest, broken key by key from the nearest back."""
    x = a["x"]
    v = heads(x, a["Wv"])
    share = sigmoid(logits(heads(x, a["Wq"]), heads(x, a["Wk"])))
    o = np.zeros_like(v)
    for t in range(x.shape[1]):
        rest = np.ones(share.shape[:2])
        for s in reversed(range(t)):
            o[:, t] += (rest * share[:, :, t, s])[..., None] * v[:, s]
            rest = rest * (1 - share[:, :, t, s])
    return {"y": merge(o, a["Wo"])}
