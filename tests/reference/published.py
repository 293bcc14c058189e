"""The mechanisms of examples/mechanisms in NumPy, float64, each after its paper and in a form other than the spec's:
parallel where the spec is recurrent, in loops where it is a table, unstabilised where it is stabilised.
A function takes the tensors by name, with the spec's sizes among them, and returns the outputs."""
import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def softmax(z, allowed=True):
    """Along the last axis over what is allowed; rows of nothing are 0."""
    w = np.where(allowed, np.exp(z - np.max(np.where(allowed, z, -1e300), axis=-1, keepdims=True)), 0)
    total = w.sum(-1, keepdims=True)
    return np.divide(w, total, out=np.zeros_like(w), where=total > 0)


def heads(x, W, bias=0.0):
    """x[b,t,d] through W[h,e,d], as [b,h,t,e]."""
    return np.einsum("btd,hed->bhte", x, W) + np.asarray(bias)[..., None, :] if np.ndim(bias) else np.einsum("btd,hed->bhte", x, W)


def merge(o, W):
    """o[b,h,t,e] through W[d,h,e], as [b,t,d]."""
    return np.einsum("bhte,dhe->btd", o, W)


def unit(u, eps=1e-6):
    return u / np.sqrt(np.sum(u * u, -1, keepdims=True) + eps)


def rope(u):
    """u[..., t, e]; the pair (i, i + e/2) is a complex number that is turned."""
    t, e = u.shape[-2:]
    turn = np.exp(1j * np.outer(np.arange(t), 10000.0 ** (-2.0 * np.arange(e // 2) / e)))
    z = (u[..., : e // 2] + 1j * u[..., e // 2 :]) * turn
    return np.concatenate([z.real, z.imag], -1)


def causal(T):
    return np.tril(np.ones((T, T), bool))


# xLSTM's mLSTM as a product of matrices, without the stabiliser
def mlstm(a):
    x, (H, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    q, v = heads(x, a["Wq"], a["bq"]), heads(x, a["Wv"], a["bv"])
    k = heads(x, a["Wk"]) / np.sqrt(E) + a["bk"][None, :, None, :]
    i = np.exp(np.einsum("btd,hd->bht", x, a["wi"]) + a["bi"][:, None])
    f = sigmoid(np.einsum("btd,hd->bht", x, a["wf"]) + a["bf"][:, None])
    o = np.zeros((B, H, T, E))
    for t in range(T):
        weight = np.zeros((B, H, t + 1))
        for s in range(t + 1):
            weight[:, :, s] = np.prod(f[:, :, s + 1 : t + 1], -1) * i[:, :, s] * np.sum(q[:, :, t] * k[:, :, s], -1)
        o[:, :, t] = np.einsum("bhs,bhse->bhe", weight, v[:, :, : t + 1]) / np.maximum(np.abs(weight.sum(-1)), 1)[..., None]
    return {"y": merge(sigmoid(heads(x, a["Wg"], a["bg"])) * o, a["Wo"])}


def slstm(a):
    x, (_, H, E, D) = a["x"], a["W"].shape
    B, T, _ = x.shape
    hid, c, n = (np.zeros((B, H, E)) for _ in range(3))
    hids = []
    for t in range(T):
        z, o, i, f = np.einsum("bd,uhed->ubhe", x[:, t], a["W"]) + a["bias"][:, None] + np.einsum("uhej,bhj->ubhe", a["R"], hid)
        c = sigmoid(f) * c + np.exp(i) * np.tanh(z)
        n = sigmoid(f) * n + np.exp(i)
        hid = sigmoid(o) * c / n
        hids.append(hid)
    return {"y": merge(np.stack(hids, 2), a["Wo"])}


def nsa(a, L, S, P, N, W):
    x, (G, R, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    q = np.einsum("btd,gred->btgre", x, a["Wq"])
    kc, vc, ks, vs, kw, vw = (np.einsum("btd,ged->btge", x, a[n]) for n in ("Kc", "Vc", "Ks", "Vs", "Kw", "Vw"))
    starts = list(range(0, T - L + 1, S))

    def compress(u, A, O):
        out = []
        for s in starts:
            block = u[:, s : s + L] + a["pos"][None, :, None, :]
            out.append(np.einsum("bgc,ec->bge", np.maximum(np.einsum("blge,cle->bgc", block, A), 0), O))
        return np.stack(out, 1)

    ck, cv = compress(kc, a["Ac"], a["Bc"]), compress(vc, a["Av"], a["Bv"])
    gate = sigmoid(np.einsum("btd,igrd->ibtgr", x, a["U"]))
    o = np.zeros((B, T, G, R, E))
    for b in range(B):
        for t in range(T):
            whole = [m for m, s in enumerate(starts) if s + L - 1 <= t]
            blocks = list(range(t // P + 1))
            for g in range(G):
                score = np.zeros(len(blocks))
                for r in range(R):
                    if whole:
                        p = softmax(ck[b, whole, g] @ q[b, t, g, r] / np.sqrt(E))
                        o[b, t, g, r] += gate[0, b, t, g, r] * p @ cv[b, whole, g]
                        for j in blocks:
                            for m in range(P // S):
                                for n in range(L // S):
                                    if 0 <= P // S * j - m - n < len(p):
                                        score[j] += p[P // S * j - m - n]
                fixed = {0, t // P, max(t // P - 1, 0)}
                ranked = sorted(blocks, key=lambda j: (j not in fixed, -score[j] if j not in fixed else 0, j))
                chosen = [s for s in range(t + 1) if s // P in ranked[:N]]
                near = range(max(0, t - W + 1), t + 1)
                for r in range(R):
                    o[b, t, g, r] += gate[1, b, t, g, r] * softmax(ks[b, chosen, g] @ q[b, t, g, r] / np.sqrt(E)) @ vs[b, chosen, g]
                    o[b, t, g, r] += gate[2, b, t, g, r] * softmax(kw[b, near, g] @ q[b, t, g, r] / np.sqrt(E)) @ vw[b, near, g]
    return {"y": np.einsum("btgre,dgre->btd", o, a["Wo"])}


def entmax(a):
    x, (H, E, D) = a["x"], a["Wq"].shape
    q, k, v = (heads(x, a[n]) for n in ("Wq", "Wk", "Wv"))
    z = np.einsum("bhte,bhse->bhts", q, k) / np.sqrt(E)
    p = np.zeros_like(z)
    for b, h, t in np.ndindex(z.shape[:3]):
        α = 1 + sigmoid(a["a"][h])
        u = (α - 1) * z[b, h, t, : t + 1]
        τ = u.max() - 1
        for _ in range(200):
            above = u[u > τ] - τ
            f, slope = np.sum(above ** (1 / (α - 1))) - 1, np.sum(above ** (1 / (α - 1) - 1)) / (α - 1)
            τ += f / slope
        p[b, h, t, : t + 1] = np.maximum(u - τ, 0) ** (1 / (α - 1))
    return {"y": merge(p @ v, a["Wo"])}


def nystromformer(a, M, N):
    x, (H, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    q, k, v = (heads(x, a[n]) for n in ("Wq", "Wk", "Wv"))
    parts = np.array_split(np.arange(T), range(-(-T // M), T, -(-T // M)))
    ql, kl = (np.stack([u[:, :, p].mean(2) for p in parts], 2) for u in (q, k))
    F, A, G = (softmax(np.einsum("bhte,bhse->bhts", l, r) / np.sqrt(E)) for l, r in ((q, kl), (ql, kl), (ql, k)))
    I = np.eye(len(parts))
    o = np.zeros_like(v)
    half = a["conv"].shape[1] // 2
    for b, h in np.ndindex(B, H):
        m = A[b, h]
        Z = m.T / (np.linalg.norm(m, 1) * np.linalg.norm(m, np.inf))
        for _ in range(N):
            Z = Z @ (13 * I - m @ Z @ (15 * I - m @ Z @ (7 * I - m @ Z))) / 4
        o[b, h] = F[b, h] @ Z @ G[b, h] @ v[b, h]
        for e in range(E):
            o[b, h, :, e] += np.correlate(np.pad(v[b, h, :, e], half), a["conv"][h], "valid")
    return {"y": merge(o, a["Wo"])}


def infini(a, L):
    x, (H, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    q, k, v = (heads(x, a[n]) for n in ("Wq", "Wk", "Wv"))
    σ = lambda u: np.where(u > 0, u + 1, np.exp(np.minimum(u, 0)))
    g = sigmoid(a["gate"])[None, :, None, None]
    M, z, out = np.zeros((B, H, E, E)), np.zeros((B, H, E, 1)), []
    for start in range(0, T, L):
        Q, K, V = (u[:, :, start : start + L] for u in (q, k, v))
        n = Q.shape[2]
        dot = softmax(Q @ K.swapaxes(-1, -2) / np.sqrt(E), causal(n)) @ V
        memory = σ(Q) @ M / (σ(Q) @ z) if start else np.zeros_like(Q)
        held = σ(K) @ M / (σ(K) @ z) if start else np.zeros_like(K)
        M = M + σ(K).swapaxes(-1, -2) @ (V - held)
        z = z + σ(K).sum(2)[..., None]
        out.append(g * memory + (1 - g) * dot)
    return {"y": merge(np.concatenate(out, 2), a["Wo"])}


def rwkv7(a):
    x, (H, E, D) = a["x"], a["Wr"].shape
    B, T, _ = x.shape
    before = np.concatenate([np.zeros((B, 1, D)), x[:, :-1]], 1)
    mixed = lambda n: x + (before - x) * a["μ" + n]
    r, k, v = (heads(mixed(n), a["W" + n]) for n in "rkv")
    small = lambda u, A, f: np.einsum("btr,her->bhte", f(u @ a["A" + A].T), a["B" + A])
    over = lambda p: p[None, :, None, :]
    w = np.exp(-np.exp(-0.5) * sigmoid(small(mixed("d"), "d", np.tanh) + over(a["λd"])))
    rate = sigmoid(small(mixed("a"), "a", lambda u: u) + over(a["λa"]))
    g = small(mixed("g"), "g", sigmoid)
    κ = unit(k * over(a["ξ"]))
    kt = k * (1 + (rate - 1) * over(a["α"]))
    out = np.zeros((B, H, T, E))
    for b, h in np.ndindex(B, H):
        S = np.zeros((E, E))
        for t in range(T):
            at = b, h, t
            S = S @ (np.diag(w[at]) - np.outer(κ[at], rate[at] * κ[at])) + np.outer(v[at], kt[at])
            u = S @ r[at]
            normed = (u - u.mean()) / np.sqrt(u.var() + 1e-5) * a["γ"][h] + a["bias"][h]
            out[at] = g[at] * (normed + np.sum(r[at] * a["ρ"][h] * kt[at]) * v[at])
    return {"y": merge(out, a["Wo"])}


def multitoken(a):
    x, (G, R, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    U, V = a["θ"].shape[2:]
    q, k = (rope(np.einsum("btd,gred->bgrte", x, a[n])) for n in ("Wq", "Wk"))
    v = np.einsum("btd,gred->bgrte", x, a["Wv"])
    z = np.tril(q @ k.swapaxes(-1, -2) / np.sqrt(E))
    padded = np.pad(z, [(0, 0)] * 3 + [(U - 1, 0), (V, V)])
    c = np.zeros_like(z)
    for u in range(U):
        for w in range(V):
            shift = V // 2 - w
            c += a["θ"][None, :, :, u, w, None, None] * padded[..., U - 1 - u : U - 1 - u + T, V + shift : V + shift + T]
    o = np.einsum("gmn,bgnts,bgmse->bgmte", a["mix"], softmax(c, causal(T)), v)
    o = o / np.sqrt(np.mean(o * o, -1, keepdims=True) + 1e-6) * a["gain"]
    return {"y": np.einsum("bgrte,dgre->btd", o, a["Wo"])}


def cope(a, P):
    x, E = a["x"], a["Wq"].shape[1]
    T = x.shape[1]
    q, k, v = (heads(x, a[n]) for n in ("Wq", "Wk", "Wv"))
    z = q @ k.swapaxes(-1, -2)
    gates = np.tril(sigmoid(z))
    places = np.minimum(np.cumsum(gates[..., ::-1], -1)[..., ::-1], P)
    zp = np.einsum("bhte,pe->bhtp", q, a["pos"])
    for at in np.ndindex(z.shape):
        z[at] += np.interp(places[at], np.arange(P + 1), zp[at[:3]])
    return {"y": merge(softmax(z / np.sqrt(E), causal(T)) @ v, a["Wo"])}


# The inner gradient by the chain rule in matrices: the norm's Jacobian is written out
def ttt(a, ηbase=1.0):
    x, (H, E, D) = a["x"], a["θq"].shape
    B, T, _ = x.shape
    q, k, v = (heads(x, a["θ" + n]) for n in "qkv")
    η = ηbase * sigmoid(np.einsum("btd,hd->bht", x, a["θη"])) / E
    centre = np.eye(E) - 1 / E
    out = np.zeros_like(q)
    for b, h in np.ndindex(B, H):
        W = a["W0"][h].copy()

        def f(u):
            r = centre @ (W @ u)
            s = np.sqrt(np.mean(r * r) + 1e-6)
            return u + a["γ"][h] * r / s + a["bias"][h], r, s

        for t in range(T):
            value, r, s = f(k[b, h, t])
            jacobian = a["γ"][h][:, None] * ((np.eye(E) / s - np.outer(r, r) / (E * s**3)) @ centre)
            W = W - η[b, h, t] * np.outer(jacobian.T @ (2 * (value - v[b, h, t])), k[b, h, t])
            out[b, h, t] = f(q[b, h, t])[0]
    return {"y": merge(out, a["Wo"])}


def neighbourhood(a, K):
    x, (H, E, D) = a["x"], a["Wq"].shape
    B, R, C, _ = x.shape
    q, k, v = (np.einsum("brcd,hed->bhrce", x, a[n]) for n in ("Wq", "Wk", "Wv"))
    o = np.zeros_like(q)

    def around(at, length):
        return sorted(sorted(range(length), key=lambda p: abs(2 * p - 2 * min(max(at, K // 2), length - 1 - (K - 1) // 2)))[:K])

    for b, h, r, c in np.ndindex(B, H, R, C):
        rows, columns = around(r, R), around(c, C)
        places = [(i, j) for i in rows for j in columns]
        z = np.array([q[b, h, r, c] @ k[b, h, i, j] / np.sqrt(E) + a["bias"][h, i - r + K - 1, j - c + K - 1] for i, j in places])
        o[b, h, r, c] = softmax(z) @ np.array([v[b, h, i, j] for i, j in places])
    return {"y": np.einsum("bhrce,dhe->brcd", o, a["Wo"])}


def clustered(a, C, N, K):
    x, (H, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    q, k, v = (heads(x, a[n]) for n in ("Wq", "Wk", "Wv"))
    o = np.zeros_like(q)
    for b, h in np.ndindex(B, H):
        bits = q[b, h] @ a["plane"].T > 0
        middle = bits[[c * T // C for c in range(C)]]
        for _ in range(N):
            of = np.argmin([[np.sum(x != m) for m in middle] for x in bits], 1)
            middle = np.array([2 * bits[of == c].sum(0) > np.sum(of == c) for c in range(C)])
        for c in set(of):
            members = np.flatnonzero(of == c)
            shared = softmax(k[b, h] @ q[b, h, members].mean(0) / np.sqrt(E))
            order = np.argsort(-shared, kind="stable")
            best, rest = order[:K], order[K:]
            for t in members:
                own = softmax(k[b, h, best] @ q[b, h, t] / np.sqrt(E)) * shared[best].sum()
                o[b, h, t] = own @ v[b, h, best] + shared[rest] @ v[b, h, rest]
    return {"y": merge(o, a["Wo"])}


def reformer(a, N):
    x, (H, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    R, M = a["plane"].shape[0], T // N
    q, v = heads(x, a["Wq"]), heads(x, a["Wv"])
    k = unit(q)
    o = np.zeros_like(q)
    for b, h in np.ndindex(B, H):
        sees = np.zeros((R, T, T), bool)
        for r in range(R):
            p = q[b, h] @ a["plane"][r].T
            bucket = np.argmax(np.concatenate([p, -p], 1), 1)
            order = np.argsort(bucket, kind="stable")
            for i, t in enumerate(order):
                for j, s in enumerate(order):
                    sees[r, t, s] = s <= t and bucket[s] == bucket[t] and i // M - 1 <= j // M <= i // M
        times = sees.sum(0)
        for t in range(T):
            # the union over rounds: a key's weights in the rounds that see it, 1 / times each, add up to one
            top, total = np.zeros(E), 0
            s = np.flatnonzero(times[t])
            z = k[b, h, s] @ q[b, h, t] / np.sqrt(E)
            shift = -1e5 if len(s) == 1 else z[s != t].max()
            for r in range(R):
                for u, zu in zip(s, z):
                    if sees[r, t, u]:
                        w = np.exp(zu - 1e5 - shift) if u == t else np.exp(zu - shift) / times[t, u]
                        top, total = top + w * v[b, h, u], total + w
            o[b, h, t] = top / total
    return {"y": merge(o, a["Wo"])}


def hyena(a, N, K, ω=14.0):
    x = a["x"]
    B, T, D = x.shape
    t = np.arange(T)
    u = np.einsum("bti,mdi->mbtd", x, a["W"])
    u = sum(np.pad(u, [(0, 0), (0, 0), (c, 0), (0, 0)])[:, :, :T] * a["short"][:, None, None, :, c] for c in range(a["short"].shape[2]))
    waves = np.exp(2j * np.pi * np.outer(t, np.arange(1, K + 1)) / T)
    code = np.concatenate([t[:, None] / T, waves.real, waves.imag], 1)
    hidden = np.sin(ω * (code @ a["W1"].T + a["b1"]))
    hidden = np.sin(ω * (hidden @ a["W2"].T + a["b2"]))
    decay = -np.log(0.01) * np.linspace(0.3, 1.5, D, endpoint=False)
    h = np.einsum("tf,ndf->ntd", hidden, a["W3"]) * (np.exp(-np.outer(t, decay) / T) + 0.01)
    z = u[0]
    for n in range(N):
        spectrum = np.fft.rfft(h[n], 2 * T, axis=0) * np.fft.rfft(z, 2 * T, axis=1)
        z = u[n + 1] * (np.fft.irfft(spectrum, 2 * T, axis=1)[:, :T] + a["skip"][n] * z)
    return {"y": z @ a["Wo"].T}


def performer(a):
    x, (H, E, D) = a["x"], a["Wq"].shape
    T, M = x.shape[1], a["gauss"].shape[0]
    ω = np.zeros_like(a["gauss"])
    for m, g in enumerate(a["gauss"]):
        u = g.copy()
        for j in range(m // E * E, m):
            u -= (g @ ω[j]) / (ω[j] @ ω[j]) * ω[j]
        ω[m] = u * np.linalg.norm(g) / np.linalg.norm(u)
    q, k = (heads(x, a[n]) / E**0.25 for n in ("Wq", "Wk"))
    φ = lambda u: np.exp(u @ ω.T - np.sum(u * u, -1, keepdims=True) / 2) / np.sqrt(M)
    w = np.tril(φ(q) @ φ(k).swapaxes(-1, -2))
    return {"y": merge(w / w.sum(-1, keepdims=True) @ heads(x, a["Wv"]), a["Wo"])}


# The products of matrices, one for each pair
def path(a):
    x, (H, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    q, k, v = (heads(x, a[n]) for n in ("Wq", "Wk", "Wv"))
    w = np.einsum("btr,her->bhte", x @ a["Wa"].T, a["Wb"])
    w = sum(np.pad(w, [(0, 0), (0, 0), (c, 0), (0, 0)])[:, :, :T] * a["short"][None, :, None, :, c] for c in range(a["short"].shape[2]))
    w = unit(w * sigmoid(w))
    β = 2 * sigmoid(np.einsum("btd,hd->bht", x, a["uβ"]) + a["bβ"][:, None])
    z = np.zeros((B, H, T, T))
    for b, h, t in np.ndindex(B, H, T):
        P = np.eye(E)
        for s in range(t, -1, -1):
            z[b, h, t, s] = k[b, h, s] @ P @ q[b, h, t] / np.sqrt(E)
            P = (np.eye(E) - β[b, h, s] * np.outer(w[b, h, s], w[b, h, s])) @ P
    return {"y": merge(softmax(z, causal(T)) @ v, a["Wo"])}


# The buckets as a Fenwick tree lays them out: from t down, the lowest bit of what is left goes each time
def loglinear(a):
    x, (H, E, D) = a["x"], a["Wq"].shape
    B, T, _ = x.shape
    q, k, v = (heads(x, a[n]) for n in ("Wq", "Wk", "Wv"))
    λ = softplus(np.einsum("btd,hld->bhtl", x, a["Wλ"]))
    α = sigmoid(np.einsum("btd,hd->bht", x, a["wa"]) + a["ba"][:, None])
    o = np.zeros_like(q)
    for t in range(T):
        buckets, end = [(0, t, t + 1)], t
        while end:
            bit = end & -end
            buckets.append((bit.bit_length(), end - bit, end))
            end -= bit
        for level, low, high in buckets:
            for s in range(low, high):
                w = λ[:, :, t, level] * np.sum(q[:, :, t] * k[:, :, s], -1) * np.prod(α[:, :, s + 1 : t + 1], -1)
                o[:, :, t] += w[..., None] * v[:, :, s]
    return {"y": merge(o, a["Wo"])}
