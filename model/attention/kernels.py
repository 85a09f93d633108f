"""The Triton kernels of NEZHA's attention. varlen.py launches them and states the formulas. A first reader can skip this file.

Each program takes a tile of queries (or of keys, for their gradients) of one sequence and head and loops over the other side in
tiles, as FlashAttention-2 does (arXiv 2307.08691). With clip m, the cost of a tile depends on its offsets:

    m = 64, tiles of 64, queries 128-191     keys 0-63: far    64-127, 128-191, 192-255: near    256-319: far

    far     all offsets j - i are beyond the clip: one encoding for all keys, so one number per query, and for values the sum of
            the weights
    near    the relative term is a second product, with consecutive rows of the table (see below)

Inside the band q_i . a(j - i) = turn(q_i, r) . a(j - b), where b is the start of the block of 128 positions that contains i and
r = i - b: queries are rotated by at most 127 positions, and the a(j - b) of a tile's keys are one block of the table.
For values it is the reverse: sum_j w_ij a(j - i) = turn(sum_j w_ij a(j - b), -r).

Sizes: ROWS queries and COLUMNS keys per tile, H head width. Keys far "left" are before the query, far "right" after it.
"""
# Triton has its own types: parameters are pointers, numbers or compile-time constants.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

import triton
import triton.language as tl

SPAN = 128  # positions that share a base b; must be a multiple of all tile sizes
PER_BATCH = ["tokens", "tiles", "seed_low", "seed_high", "threshold"]  # no separate kernel for each value of these
_SPAN = tl.constexpr(SPAN)
_LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _scramble(x):
    """Mix x (uint32) so that its high bits depend on all its bits. Constants: hash-prospector's lowbias32."""
    x ^= x >> 16
    x *= 0x7FEB352D
    x ^= x >> 15
    x *= 0x846CA68B
    return x


@triton.jit
def _mix(x):
    x = _scramble(x)
    return x ^ (x >> 16)


@triton.jit
def _head_keys(seed_low, seed_high, head):
    """Return two keys (uint32) for a seed and a head: for the rows and for the columns of its weights."""
    key = _mix(_mix(seed_low.to(tl.uint32) + head.to(tl.uint32) * 0x9E3779B9) ^ seed_high.to(tl.uint32))
    return key, _mix(key + 0x9E3779B9)


@triton.jit
def _kept(row_key, column_key, threshold):
    """Return which weights dropout keeps. Rows and columns are mixed beforehand, so eight instructions per weight suffice."""
    return _scramble(row_key ^ column_key) >= threshold.to(tl.uint32)


@triton.jit
def _turn(x, sin, cos, R: tl.constexpr, H: tl.constexpr):
    """Rotate the pairs (2k, 2k + 1) of x (R, H) backwards by angles given as sines and cosines (R, H / 2)."""
    even, odd = tl.split(tl.reshape(x, (R, H // 2, 2)))
    return tl.reshape(tl.join(even * cos + odd * sin, odd * cos - even * sin), (R, H))


@triton.jit
def _angles(SMALL, turn, H: tl.constexpr, POLICY: tl.constexpr):
    """Load the sines and cosines of a tile's rotations, (R, H / 2) each. Start and end of a kernel pass different eviction
    policies, which keeps the compiler from merging both loads and occupying 32 registers in between."""
    pair = SMALL + turn[:, None] * H + 2 * tl.arange(0, H // 2)[None, :]
    return tl.load(pair, eviction_policy=POLICY), tl.load(pair + 1, eviction_policy=POLICY)


@triton.jit
def _far_rows(SMALL, H: tl.constexpr, POLICY: tl.constexpr):
    row = SMALL + _SPAN * H + tl.arange(0, H)
    return tl.load(row, eviction_policy=POLICY), tl.load(row + H, eviction_policy=POLICY)


@triton.jit
def _load(X, start, local, real, stride, H: tl.constexpr):
    """Load rows start + local of one head, (len(local), H); zeros where not `real`. The offset of a tile is 64 bits wide."""
    tile = X + tl.cast(start, tl.int64) * stride
    return tl.load(tile + local[:, None] * stride + tl.arange(0, H)[None, :], mask=real[:, None], other=0.0)


@triton.jit
def _store(X, value, start, local, real, stride, H: tl.constexpr):
    tile = X + tl.cast(start, tl.int64) * stride
    tl.store(tile + local[:, None] * stride + tl.arange(0, H)[None, :], value.to(X.dtype.element_ty), mask=real[:, None])


@triton.jit
def _near(first, length, clip, CLIPPED: tl.constexpr, OWN: tl.constexpr, OTHER: tl.constexpr):
    """Return start and end of the near tiles, OTHER wide, for positions first .. first + OWN - 1. The band is symmetric in
    queries and keys; far tiles are before and after it."""
    if CLIPPED:
        begin = tl.maximum(first - clip, 0) // OTHER * OTHER
        end = tl.cdiv(first + OWN + clip, OTHER) * OTHER
        return begin, tl.minimum(end, length)
    else:
        return first * 0, length


@triton.jit
def _far(step, begin, end):
    """Return the start of far tile number `step`, and whether it is on the left: tiles before `begin`, then those from `end`.

    Both sides share one loop: with two more loops in a kernel the compiler spills registers.
    """
    is_left = step < begin
    return tl.where(is_left, step, step - begin + end), is_left


@triton.jit
def _forward_tiles(
    acc, band, left, right, top, total,
    q, turned, q_left, q_right, query, row_key,
    K, V, A, stride_k, stride_v, begin, end, length, clip, scale, column_base, column_seed, threshold,
    NEAR: tl.constexpr, CLIPPED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    COLUMNS: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    """Accumulate the softmax over the near tiles begin .. end, or over all others. `top`: the largest score so far; `total`:
    the sum of weights relative to it."""
    local = tl.arange(0, COLUMNS)
    for step in range(begin if NEAR else 0, end if NEAR else begin + tl.maximum(length - end, 0), COLUMNS):
        if NEAR:
            start = step
        else:
            start, is_left = _far(step, begin, end)
        key = start + local
        real = key < length
        k = _load(K, start, local, real, stride_k, H)
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        if NEAR:
            a = tl.load(A + key[:, None] * H + tl.arange(0, H)[None, :])
            relative = tl.dot(turned, tl.trans(a), input_precision=PRECISION)
            if CLIPPED:
                offset = key[None, :] - query[:, None]
                relative = tl.where(offset < -clip, q_left[:, None], relative)
                relative = tl.where(offset > clip, q_right[:, None], relative)
            s += relative
        else:
            s += tl.where(is_left, q_left, q_right)[:, None]
        s = tl.where(real[None, :], s * scale, float("-inf"))
        new_top = tl.maximum(top, tl.max(s, 1))  # finite: key `start` is real
        p = tl.exp2(s - new_top[:, None])
        shrink = tl.exp2(top - new_top)
        top = new_top
        total = total * shrink + tl.sum(p, 1)
        if DROPOUT:
            column_key = _mix((column_base + key).to(tl.uint32) ^ column_seed)
            p = tl.where(_kept(row_key[:, None], column_key[None, :], threshold), p, 0.0)
        v = _load(V, start, local, real, stride_v, H)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision=PRECISION)
        if NEAR:
            if CLIPPED:
                offset = key[None, :] - query[:, None]
                left = left * shrink + tl.sum(tl.where(offset < -clip, p, 0.0), 1)
                right = right * shrink + tl.sum(tl.where(offset > clip, p, 0.0), 1)
                p = tl.where(tl.abs(offset) <= clip, p, 0.0)
            band = tl.dot(p.to(a.dtype), a, band * shrink[:, None], input_precision=PRECISION)
        else:
            mass = tl.sum(p, 1)
            left = left * shrink + tl.where(is_left, mass, 0.0)
            right = right * shrink + tl.where(is_left, 0.0, mass)
    return acc, band, left, right, top, total


@triton.jit(do_not_specialize=PER_BATCH)
def forward(
    Q, K, V, A, SMALL, STARTS, OUT, LSE,
    stride_qt, stride_qn, stride_kt, stride_kn, stride_vt, stride_vn, tokens, heads, tiles,
    clip, scale, keep_scale, seed_low, seed_high, threshold,
    CLIPPED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    """Compute the context of one tile of queries, and the base-2 logarithm of each row's sum of exponentials."""
    sequence = tl.program_id(0) // tiles
    first = tl.program_id(0) % tiles * ROWS
    head = tl.program_id(1)
    offset = tl.load(STARTS + sequence)
    length = tl.load(STARTS + sequence + 1) - offset
    if first >= length:
        return
    base = tl.cast(offset, tl.int64)
    Q += base * stride_qt + tl.cast(head, tl.int64) * stride_qn
    K += base * stride_kt + tl.cast(head, tl.int64) * stride_kn
    V += base * stride_vt + tl.cast(head, tl.int64) * stride_vn
    OUT += (base * heads + head) * H

    local = tl.arange(0, ROWS)
    query = first + local
    real = query < length
    turn = first % _SPAN + local
    sin, cos = _angles(SMALL, turn, H, "")
    far_left, far_right = _far_rows(SMALL, H, "")
    q = _load(Q, first, local, real, stride_qt, H)
    wide = q.to(tl.float32)
    turned = _turn(wide, sin, cos, ROWS, H).to(q.dtype)
    q_left = tl.sum(wide * far_left[None, :], 1)
    q_right = tl.sum(wide * far_right[None, :], 1)
    A -= first // _SPAN * _SPAN * H

    key, column_seed = _head_keys(seed_low, seed_high, head)
    row_key = _mix((offset + query).to(tl.uint32) ^ key)
    acc = tl.zeros((ROWS, H), tl.float32)
    band = tl.zeros((ROWS, H), tl.float32)
    left = tl.zeros((ROWS,), tl.float32)
    right = tl.zeros((ROWS,), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    begin, end = _near(first, length, clip, CLIPPED, ROWS, COLUMNS)
    if CLIPPED:
        acc, band, left, right, top, total = _forward_tiles(
            acc, band, left, right, top, total, q, turned, q_left, q_right, query, row_key,
            K, V, A, stride_kt, stride_vt, begin, end, length, clip, scale * _LOG2E, offset, column_seed, threshold,
            False, CLIPPED, DROPOUT, PRECISION, COLUMNS, H,
        )  # fmt: skip
    acc, band, left, right, top, total = _forward_tiles(
        acc, band, left, right, top, total, q, turned, q_left, q_right, query, row_key,
        K, V, A, stride_kt, stride_vt, begin, end, length, clip, scale * _LOG2E, offset, column_seed, threshold,
        True, CLIPPED, DROPOUT, PRECISION, COLUMNS, H,
    )  # fmt: skip

    sin, cos = _angles(SMALL, turn, H, "evict_last")
    acc += _turn(band, -sin, cos, ROWS, H)
    if CLIPPED:
        far_left, far_right = _far_rows(SMALL, H, "evict_last")
        acc += left[:, None] * far_left[None, :] + right[:, None] * far_right[None, :]
    _store(OUT, acc * (keep_scale / total)[:, None], first, local, real, heads * H, H)
    tl.store(LSE + tl.cast(head, tl.int64) * tokens + offset + query, top + tl.log2(total), mask=real)


@triton.jit
def _query_gradient_tiles(
    acc, band, left, right,
    q, turned, q_left, q_right, g, g_turned, g_left, g_right, lse, delta, query, row_key,
    K, V, A, stride_k, stride_v, begin, end, length, clip, scale, keep_scale, column_base, column_seed, threshold,
    NEAR: tl.constexpr, CLIPPED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    COLUMNS: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    local = tl.arange(0, COLUMNS)
    for step in range(begin if NEAR else 0, end if NEAR else begin + tl.maximum(length - end, 0), COLUMNS):
        if NEAR:
            start = step
        else:
            start, is_left = _far(step, begin, end)
        key = start + local
        real = key < length
        k = _load(K, start, local, real, stride_k, H)
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        if NEAR:
            a = tl.load(A + key[:, None] * H + tl.arange(0, H)[None, :])
            relative = tl.dot(turned, tl.trans(a), input_precision=PRECISION)
            if CLIPPED:
                offset = key[None, :] - query[:, None]
                relative = tl.where(offset < -clip, q_left[:, None], relative)
                relative = tl.where(offset > clip, q_right[:, None], relative)
            s += relative
        else:
            s += tl.where(is_left, q_left, q_right)[:, None]
        p = tl.where(real[None, :], tl.exp2(s * scale - lse[:, None]), 0.0)
        # The gradient's products come once the scores are no longer needed: fewer tiles in registers at a time.
        v = _load(V, start, local, real, stride_v, H)
        dp = tl.dot(g, tl.trans(v), input_precision=PRECISION)
        if NEAR:
            d_relative = tl.dot(g_turned, tl.trans(a), input_precision=PRECISION)
            if CLIPPED:
                offset = key[None, :] - query[:, None]
                d_relative = tl.where(offset < -clip, g_left[:, None], d_relative)
                d_relative = tl.where(offset > clip, g_right[:, None], d_relative)
            dp += d_relative
        else:
            dp += tl.where(is_left, g_left, g_right)[:, None]
        if DROPOUT:
            column_key = _mix((column_base + key).to(tl.uint32) ^ column_seed)
            dp = tl.where(_kept(row_key[:, None], column_key[None, :], threshold), dp * keep_scale, 0.0)
        ds = p * (dp - delta[:, None])
        acc = tl.dot(ds.to(k.dtype), k, acc, input_precision=PRECISION)
        if NEAR:
            if CLIPPED:
                offset = key[None, :] - query[:, None]
                left += tl.sum(tl.where(offset < -clip, ds, 0.0), 1)
                right += tl.sum(tl.where(offset > clip, ds, 0.0), 1)
                ds = tl.where(tl.abs(offset) <= clip, ds, 0.0)
            band = tl.dot(ds.to(a.dtype), a, band, input_precision=PRECISION)
        else:
            mass = tl.sum(ds, 1)
            left += tl.where(is_left, mass, 0.0)
            right += tl.where(is_left, 0.0, mass)
    return acc, band, left, right


@triton.jit(do_not_specialize=PER_BATCH)
def query_gradient(
    Q, K, V, A, SMALL, STARTS, OUT, LSE, G, DQ, TURNED_Q, TURNED_G, PER_ROW,
    stride_qt, stride_qn, stride_kt, stride_kn, stride_vt, stride_vn, tokens, heads, tiles,
    clip, scale, keep_scale, seed_low, seed_high, threshold,
    CLIPPED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    """Compute the gradient of one tile of queries. G is the gradient of the context.

    Stores for `key_value_gradient`: rotated queries and rotated G, (T, N, H), and five numbers per row, (5, N, T): G . context,
    then the query's and G's products with the two far rows.
    """
    sequence = tl.program_id(0) // tiles
    first = tl.program_id(0) % tiles * ROWS
    head = tl.program_id(1)
    offset = tl.load(STARTS + sequence)
    length = tl.load(STARTS + sequence + 1) - offset
    if first >= length:
        return
    base = tl.cast(offset, tl.int64)
    Q += base * stride_qt + tl.cast(head, tl.int64) * stride_qn
    K += base * stride_kt + tl.cast(head, tl.int64) * stride_kn
    V += base * stride_vt + tl.cast(head, tl.int64) * stride_vn
    dense = (base * heads + head) * H
    row = tl.cast(head, tl.int64) * tokens + offset + first

    local = tl.arange(0, ROWS)
    query = first + local
    real = query < length
    turn = first % _SPAN + local
    sin, cos = _angles(SMALL, turn, H, "")
    far_left, far_right = _far_rows(SMALL, H, "")
    q = _load(Q, first, local, real, stride_qt, H)
    g = _load(G + dense, first, local, real, heads * H, H)
    out = _load(OUT + dense, first, local, real, heads * H, H)
    wide_q, wide_g = q.to(tl.float32), g.to(tl.float32)
    turned = _turn(wide_q, sin, cos, ROWS, H).to(q.dtype)
    g_turned = _turn(wide_g, sin, cos, ROWS, H).to(g.dtype)
    delta = tl.sum(wide_g * out.to(tl.float32), 1)
    q_left = tl.sum(wide_q * far_left[None, :], 1)
    q_right = tl.sum(wide_q * far_right[None, :], 1)
    g_left = tl.sum(wide_g * far_left[None, :], 1)
    g_right = tl.sum(wide_g * far_right[None, :], 1)
    lse = tl.load(LSE + row + local, mask=real, other=float("inf"))
    _store(TURNED_Q + dense, turned, first, local, real, heads * H, H)
    _store(TURNED_G + dense, g_turned, first, local, real, heads * H, H)
    plane = tl.cast(tokens, tl.int64) * heads
    tl.store(PER_ROW + row + local, delta, mask=real)
    if CLIPPED:
        tl.store(PER_ROW + plane + row + local, q_left, mask=real)
        tl.store(PER_ROW + 2 * plane + row + local, q_right, mask=real)
        tl.store(PER_ROW + 3 * plane + row + local, g_left, mask=real)
        tl.store(PER_ROW + 4 * plane + row + local, g_right, mask=real)
    A -= first // _SPAN * _SPAN * H

    key, column_seed = _head_keys(seed_low, seed_high, head)
    row_key = _mix((offset + query).to(tl.uint32) ^ key)
    acc = tl.zeros((ROWS, H), tl.float32)
    band = tl.zeros((ROWS, H), tl.float32)
    left = tl.zeros((ROWS,), tl.float32)
    right = tl.zeros((ROWS,), tl.float32)
    begin, end = _near(first, length, clip, CLIPPED, ROWS, COLUMNS)
    if CLIPPED:
        acc, band, left, right = _query_gradient_tiles(
            acc, band, left, right,
            q, turned, q_left, q_right, g, g_turned, g_left, g_right, lse, delta, query, row_key,
            K, V, A, stride_kt, stride_vt, begin, end, length, clip, scale * _LOG2E, keep_scale, offset, column_seed, threshold,
            False, CLIPPED, DROPOUT, PRECISION, COLUMNS, H,
        )  # fmt: skip
    acc, band, left, right = _query_gradient_tiles(
        acc, band, left, right,
        q, turned, q_left, q_right, g, g_turned, g_left, g_right, lse, delta, query, row_key,
        K, V, A, stride_kt, stride_vt, begin, end, length, clip, scale * _LOG2E, keep_scale, offset, column_seed, threshold,
        True, CLIPPED, DROPOUT, PRECISION, COLUMNS, H,
    )  # fmt: skip
    sin, cos = _angles(SMALL, turn, H, "evict_last")
    acc += _turn(band, -sin, cos, ROWS, H)
    if CLIPPED:
        far_left, far_right = _far_rows(SMALL, H, "evict_last")
        acc += left[:, None] * far_left[None, :] + right[:, None] * far_right[None, :]
    _store(DQ + dense, acc * scale, first, local, real, heads * H, H)


@triton.jit
def _key_value_gradient_tiles(
    dk, dv, k, v, key, column_key,
    Q, G, TURNED_Q, TURNED_G, LSE, PER_ROW, A, stride_q, stride_g, plane,
    begin, end, length, clip, scale, keep_scale, row_base, row_seed, threshold,
    NEAR: tl.constexpr, CLIPPED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    """Scores and weights are transposed here, keys by queries: (COLUMNS, ROWS)."""
    local = tl.arange(0, ROWS)
    for step in range(begin if NEAR else 0, end if NEAR else begin + tl.maximum(length - end, 0), ROWS):
        if NEAR:
            start = step
        else:  # queries before these keys have them to their right
            start, is_right = _far(step, begin, end)
            far = PER_ROW + tl.where(is_right, 2, 1) * plane
        query = start + local
        real = query < length
        q = _load(Q, start, local, real, stride_q, H)
        s = tl.dot(k, tl.trans(q), input_precision=PRECISION)
        if NEAR:
            turned = _load(TURNED_Q, start, local, real, stride_g, H)
            entry = key - start // _SPAN * _SPAN
            a = tl.load(A + entry[:, None] * H + tl.arange(0, H)[None, :])
            relative = tl.dot(a, tl.trans(turned), input_precision=PRECISION)
            if CLIPPED:
                offset = key[:, None] - query[None, :]
                q_left = tl.load(PER_ROW + plane + query, mask=real, other=0.0)
                q_right = tl.load(PER_ROW + 2 * plane + query, mask=real, other=0.0)
                relative = tl.where(offset < -clip, q_left[None, :], relative)
                relative = tl.where(offset > clip, q_right[None, :], relative)
            s += relative
        else:
            s += tl.load(far + query, mask=real, other=0.0)[None, :]
        lse = tl.load(LSE + query, mask=real, other=float("inf"))  # rows past the end get no weight
        p = tl.exp2(s * scale - lse[None, :])
        g = _load(G, start, local, real, stride_g, H)
        weight = p
        if DROPOUT:
            row_key = _mix((row_base + query).to(tl.uint32) ^ row_seed)
            kept = _kept(row_key[None, :], column_key[:, None], threshold)
            weight = tl.where(kept, p, 0.0)
        dv = tl.dot(weight.to(g.dtype), g, dv, input_precision=PRECISION)
        dp = tl.dot(v, tl.trans(g), input_precision=PRECISION)
        if NEAR:
            g_turned = _load(TURNED_G, start, local, real, stride_g, H)
            d_relative = tl.dot(a, tl.trans(g_turned), input_precision=PRECISION)
            if CLIPPED:
                offset = key[:, None] - query[None, :]
                g_left = tl.load(PER_ROW + 3 * plane + query, mask=real, other=0.0)
                g_right = tl.load(PER_ROW + 4 * plane + query, mask=real, other=0.0)
                d_relative = tl.where(offset < -clip, g_left[None, :], d_relative)
                d_relative = tl.where(offset > clip, g_right[None, :], d_relative)
            dp += d_relative
        else:
            dp += tl.load(far + 2 * plane + query, mask=real, other=0.0)[None, :]
        if DROPOUT:
            dp = tl.where(kept, dp * keep_scale, 0.0)
        delta = tl.load(PER_ROW + query, mask=real, other=0.0)
        ds = p * (dp - delta[None, :])
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION)
    return dk, dv


@triton.jit(do_not_specialize=PER_BATCH)
def key_value_gradient(
    Q, K, V, A, STARTS, LSE, G, TURNED_Q, TURNED_G, PER_ROW, DK, DV,
    stride_qt, stride_qn, stride_kt, stride_kn, stride_vt, stride_vn, tokens, heads, tiles,
    clip, scale, keep_scale, seed_low, seed_high, threshold,
    CLIPPED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of one tile of keys and values, after `query_gradient`. `tiles` counts tiles of keys."""
    sequence = tl.program_id(0) // tiles
    first = tl.program_id(0) % tiles * COLUMNS
    head = tl.program_id(1)
    offset = tl.load(STARTS + sequence)
    length = tl.load(STARTS + sequence + 1) - offset
    if first >= length:
        return
    base = tl.cast(offset, tl.int64)
    Q += base * stride_qt + tl.cast(head, tl.int64) * stride_qn
    K += base * stride_kt + tl.cast(head, tl.int64) * stride_kn
    V += base * stride_vt + tl.cast(head, tl.int64) * stride_vn
    dense = (base * heads + head) * H
    row = tl.cast(head, tl.int64) * tokens + offset
    plane = tl.cast(tokens, tl.int64) * heads

    local = tl.arange(0, COLUMNS)
    key = first + local
    real = key < length
    k = _load(K, first, local, real, stride_kt, H)
    v = _load(V, first, local, real, stride_vt, H)
    row_seed, column_seed = _head_keys(seed_low, seed_high, head)
    column_key = _mix((offset + key).to(tl.uint32) ^ column_seed)
    dk = tl.zeros((COLUMNS, H), tl.float32)
    dv = tl.zeros((COLUMNS, H), tl.float32)
    begin, end = _near(first, length, clip, CLIPPED, COLUMNS, ROWS)
    if CLIPPED:
        dk, dv = _key_value_gradient_tiles(
            dk, dv, k, v, key, column_key, Q, G + dense, TURNED_Q + dense, TURNED_G + dense, LSE + row, PER_ROW + row, A,
            stride_qt, heads * H, plane,
            begin, end, length, clip, scale * _LOG2E, keep_scale, offset, row_seed, threshold,
            False, CLIPPED, DROPOUT, PRECISION, ROWS, COLUMNS, H,
        )  # fmt: skip
    dk, dv = _key_value_gradient_tiles(
        dk, dv, k, v, key, column_key, Q, G + dense, TURNED_Q + dense, TURNED_G + dense, LSE + row, PER_ROW + row, A,
        stride_qt, heads * H, plane,
        begin, end, length, clip, scale * _LOG2E, keep_scale, offset, row_seed, threshold,
        True, CLIPPED, DROPOUT, PRECISION, ROWS, COLUMNS, H,
    )  # fmt: skip
    _store(DK + dense, dk * scale, first, local, real, heads * H, H)
    _store(DV + dense, dv * keep_scale, first, local, real, heads * H, H)
