"""The mechanisms in NumPy, float64, written from the papers: independent of the compiler and of the specs' text.

Shapes: x is [batch, time, width]; a projection's weights are [head, head width, model width]. Dropout is off.
"""
import numpy as np


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.logaddexp(0, x)


def rms_norm(x):
    """Zhang & Sennrich 2019, eq. 4, without gain."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def rope(x, axis_time=1):
    """Su et al. 2021, eq. 34, pairs (i, i + n/2): x is [batch, time, ..., n]."""
    n = x.shape[-1]
    half = n // 2
    frequency = 10000.0 ** (-2.0 * np.arange(half) / n)
    angle = np.arange(x.shape[axis_time])[:, None] * frequency
    shape = [1] * x.ndim
    shape[axis_time], shape[-1] = angle.shape
    cos, sin = np.cos(angle).reshape(shape), np.sin(angle).reshape(shape)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def masked_softmax(z, mask):
    z = np.where(mask, z, -np.inf)
    m = np.max(z, axis=-1, keepdims=True)
    w = np.where(mask, np.exp(z - m), 0)
    return w / np.sum(w, axis=-1, keepdims=True)


def causal(time):
    return np.tril(np.ones((time, time), bool))


def attend(q, k, v, mask):
    """Vaswani et al. 2017, eq. 1, for each head: q [b,t,h,e], k and v [b,s,h,e]."""
    z = np.einsum("bthe,bshe->bhts", q, k) / np.sqrt(q.shape[-1])
    p = masked_softmax(z, mask)
    return np.einsum("bhts,bshe->bthe", p, v), p


def heads(x, w):
    return np.einsum("btd,hed->bthe", x, w)


def merge(o, w):
    return np.einsum("bthe,dhe->btd", o, w)


def mha(a, **_):
    x = a["x"]
    o, _ = attend(rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])), heads(x, a["Wv"]), causal(x.shape[1]))
    return {"y": merge(o, a["Wo"])}


def sliding(a, W, **_):
    x = a["x"]
    t = np.arange(x.shape[1])
    mask = (t[:, None] >= t) & (t[:, None] - t <= W)
    o, _ = attend(rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])), heads(x, a["Wv"]), mask)
    return {"y": merge(o, a["Wo"])}


def gqa(a, **_):
    """Ainslie et al. 2023, figure 2: consecutive query heads share a key/value head."""
    x = a["x"]
    repeat = a["Wq"].shape[0] // a["Wk"].shape[0]
    k = np.repeat(rope(heads(x, a["Wk"])), repeat, axis=2)
    v = np.repeat(heads(x, a["Wv"]), repeat, axis=2)
    o, _ = attend(rope(heads(x, a["Wq"])), k, v, causal(x.shape[1]))
    return {"y": merge(o, a["Wo"])}


def mqa(a, **_):
    """Shazeer 2019, section 3: keys and values without the heads' index."""
    x = a["x"]
    one = {**a, "Wk": a["Wk"][None], "Wv": a["Wv"][None]}
    return gqa(one | {"x": x})


def mla(a, **_):
    """DeepSeek-V2, section 2.1, eq. 9 to 19; the query is not compressed."""
    x = a["x"]
    c = rms_norm(np.einsum("btd,rd->btr", x, a["Wc"])) * a["gc"]
    q = np.concatenate([heads(x, a["Wqn"]), rope(heads(x, a["Wqr"]))], axis=-1)
    shared = rope(np.einsum("btd,fd->btf", x, a["Wkr"]))
    kn = np.einsum("btr,hnr->bthn", c, a["Wkn"])
    k = np.concatenate([kn, np.broadcast_to(shared[:, :, None], kn.shape[:3] + shared.shape[-1:])], axis=-1)
    v = np.einsum("btr,her->bthe", c, a["Wv"])
    o, _ = attend(q, k, v, causal(x.shape[1]))
    return {"y": merge(o, a["Wo"])}


def sparse(a, K, **_):
    """DeepSeek-V3.2 report, section 2.1: eq. 1 scores, eq. 2 selection, eq. 4 the indexer's loss."""
    x = a["x"]
    batch, time, _ = x.shape
    qi = rope(np.einsum("btd,jid->btji", x, a["Uq"]))
    ki = rope(np.einsum("btd,id->bti", x, a["Uk"]))
    w = np.einsum("btd,jd->btj", x, a["Uw"])
    score = np.einsum("btj,btsj->bts", w, np.maximum(np.einsum("btji,bsi->btsj", qi, ki), 0))
    chosen = np.zeros((batch, time, time), bool)
    for b in range(batch):
        for t in range(time):
            order = sorted(range(t + 1), key=lambda s: (-score[b, t, s], s))
            chosen[b, t, order[:K]] = True
    o, p = attend(rope(heads(x, a["Wq"])), rope(heads(x, a["Wk"])), heads(x, a["Wv"]), chosen[:, None])
    target = p.mean(axis=1)
    log_q = score - np.log(np.sum(np.where(chosen, np.exp(score - score.max()), 0), axis=-1, keepdims=True)) - score.max()
    live = chosen & (target > 0)
    kl = np.sum(np.where(live, target * (np.log(np.where(live, target, 1)) - log_q), 0)) / (batch * time)
    return {"y": merge(o, a["Wo"]), "indexer": kl}


def linear(a, **_):
    """Yang et al. 2024 (Gated Delta Networks), eq. 10, token by token; S is value by key as in the paper."""
    x = a["x"]
    batch, time, _ = x.shape

    def convolve(u, f):
        width = f.shape[-1]
        out = np.zeros_like(u)
        for c in range(min(width, time)):
            out[:, c:] += f[None, None, :, :, c] * u[:, : time - c]
        return silu(out)

    def unit(u):
        return u / np.sqrt(np.sum(u * u, axis=-1, keepdims=True) + 1e-6)

    q = unit(convolve(heads(x, a["Wq"]), a["Cq"])) / np.sqrt(a["Wq"].shape[1])
    k = unit(convolve(heads(x, a["Wk"]), a["Ck"]))
    v = convolve(heads(x, a["Wv"]), a["Cv"])
    alpha = np.exp(-np.exp(a["A"]) * softplus(np.einsum("btd,hd->bth", x, a["wa"]) + a["dt"]))
    beta = sigmoid(np.einsum("btd,hd->bth", x, a["wb"]))
    n = q.shape[-1]
    state = np.zeros((batch, q.shape[2], n, n))
    o = np.zeros_like(q)
    for t in range(time):
        kt, bt = k[:, t], beta[:, t][..., None, None]
        forget = np.eye(n) - bt * kt[..., :, None] * kt[..., None, :]
        state = alpha[:, t][..., None, None] * (state @ forget) + bt * v[:, t][..., :, None] * kt[..., None, :]
        o[:, t] = np.einsum("bhvk,bhk->bhv", state, q[:, t])
    gated = rms_norm(o) * a["go"] * silu(heads(x, a["Wg"]))
    return {"y": merge(gated, a["Wo"])}


def identity(a, **_):
    return {"y": a["x"] @ a["W"].T}
