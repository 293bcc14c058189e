"""Mechanisms with a state, in NumPy, float64, from the papers, in their parallel form: the specs are recurrent."""
import numpy as np

from attention import layer_norm
from mechanisms import causal, heads, merge, rms_norm, silu, softplus


def katharopoulos(a, **_):
    """Katharopoulos et al. 2020, eq. 8: phi(Q) phi(K) masked, each row divided by its sum; phi = elu + 1, eq. 7."""
    x = a["x"]

    def feature(u):
        return np.where(u > 0, u + 1, np.exp(np.minimum(u, 0)))

    w = np.einsum("bthe,bshe->bhts", feature(heads(x, a["Wq"])), feature(heads(x, a["Wk"]))) * causal(x.shape[1])
    o = np.einsum("bhts,bshe->bthe", w / w.sum(axis=-1, keepdims=True), heads(x, a["Wv"]))
    return {"y": merge(o, a["Wo"])}


def retnet(a, **_):
    """Sun et al. 2023, eq. 5 (parallel form) and 8. The pair (i, i + n/2) is a complex number that turns."""
    x = a["x"]
    time, half = x.shape[1], a["Wq"].shape[1] // 2
    angle = np.arange(time)[:, None] * 10000.0 ** (-np.arange(half) / half)

    def turned(u):
        return (u[..., :half] + 1j * u[..., half:]) * np.exp(1j * angle)[:, None]

    q, k, v = turned(heads(x, a["Wq"])), turned(heads(x, a["Wk"])), heads(x, a["Wv"])
    o = np.zeros_like(v)
    for h in range(q.shape[2]):
        gamma = 1 - 2.0 ** -(5 + h)
        distance = np.arange(time)[:, None] - np.arange(time)
        decay = np.where(distance >= 0, gamma ** np.maximum(distance, 0), 0)
        retention = np.einsum("bte,bse->bts", q[:, :, h], k[:, :, h].conj()).real / np.sqrt(2 * half) * decay
        o[:, :, h] = retention @ v[:, :, h]
    return {"y": merge(silu(heads(x, a["Wg"])) * layer_norm(o), a["Wo"])}


def gla(a, tau=16, **_):
    """Yang et al. 2023, section 4, parallel form: o_t = sum over s of (q_t k_s, with every component times its gates after s)."""
    x = a["x"]
    q, k, v = heads(x, a["Wq"]), heads(x, a["Wk"]), heads(x, a["Wv"])
    low = x @ a["Wa1"].T
    gate = (1 / (1 + np.exp(-(heads(low, a["Wa2"]) + a["ba"])))) ** (1 / tau)
    o = np.zeros_like(v)
    for t in range(x.shape[1]):
        for s in range(t + 1):
            w = np.sum(q[:, t] * k[:, s] * np.prod(gate[:, s + 1 : t + 1], axis=1), axis=-1)
            o[:, t] += w[..., None] * v[:, s]
    out = silu(heads(x, a["Wr"]) + a["br"]) * (layer_norm(o) * a["gain"] + a["shift"])
    return {"y": merge(out, a["Wo"])}


def ssd(a, **_):
    """Dao & Gu 2024, section 5.1 (quadratic form): (L o C B) (dt X), L the products of the decays; section 7.1."""
    x = a["x"]
    time = x.shape[1]

    def convolved(u, f, bias):
        width = f.shape[-1]
        padded = np.concatenate([np.zeros((len(u), width - 1) + u.shape[2:]), u], axis=1)
        return silu(sum(padded[:, width - 1 - c : width - 1 - c + time] * f[..., c] for c in range(width)) + bias)

    u = convolved(heads(x, a["Wx"]), a["Cx"], a["cx"])
    write, read = (convolved(x @ a[w].T, a[f], a[bias]) for w, f, bias in (("Wb", "Cb", "cb"), ("Wc", "Cc", "cc")))
    dt = softplus(x @ a["Wdt"].T + a["dt"])
    total = np.cumsum(-np.exp(a["A"]) * dt, axis=1)
    kernel = np.exp(np.where(causal(time)[:, :, None], total[:, :, None] - total[:, None], -np.inf))
    o = np.einsum("btsh,bts,bsh,bshe->bthe", kernel, read @ write.swapaxes(1, 2), dt, u) + a["skip"][:, None] * u
    g = o * silu(heads(x, a["Wg"]))
    flat = rms_norm(g.reshape(x.shape[:2] + (-1,)))
    return {"y": (flat * a["go"].ravel()) @ a["Wo"].reshape(len(a["Wo"]), -1).T}


def cosformer(a, **_):
    """Qin et al. 2022, section 3: ReLU(q) ReLU(k) cos(pi/2 (i - j)/M), each row divided by its sum."""
    x = a["x"]
    t = np.arange(x.shape[1])
    q, k = np.maximum(heads(x, a["Wq"]), 0), np.maximum(heads(x, a["Wk"]), 0)
    w = np.einsum("bthe,bshe->bhts", q, k) * np.cos(np.pi / 2 * (t[:, None] - t) / len(t)) * causal(len(t))
    w = w / np.maximum(w.sum(axis=-1, keepdims=True), 1e-6)
    return {"y": merge(np.einsum("bhts,bshe->bthe", w, heads(x, a["Wv"])), a["Wo"])}


def based(a, **_):
    """Arora et al. 2024, section 4: exp(z) replaced by 1 + z + z^2/2, each row divided by its sum."""
    x = a["x"]
    z = np.einsum("bthe,bshe->bhts", heads(x, a["Wq"]), heads(x, a["Wk"])) / np.sqrt(a["Wq"].shape[1])
    w = np.tril(np.polyval([0.5, 1, 1], z))
    o = np.einsum("bhts,bshe->bthe", w / w.sum(axis=-1, keepdims=True), heads(x, a["Wv"]))
    return {"y": merge(o, a["Wo"])}
