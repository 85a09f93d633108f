"""Self-attention with NEZHA's functional relative positions on keys and on values, on packed sequences.

Positions have one encoding T[i, j] for each pair of query i and key j of a sequence (positions.py). In each head:

    score(i, j)  = (q_i . k_j + q_i . T[i, j]) / sqrt(H)      the relative term is added before scaling
    weight(i, j) = dropout(softmax_j(score(i, j)))            over the keys of the same sequence, without padding
    context(i)   = sum_j weight(i, j) (v_j + T[i, j])         the same T, and the weights after dropout

(arXiv 1909.00204, equations 4 to 7; Huawei's modeling.py, lines 941-1013.) Nothing is added to queries, and [CLS] and [SEP] are
ordinary positions. With `positions = "relative"`, T comes from learned tables; with `absolute` there is no T.

In reading order:

    self_attention.py   queries, keys and values of a layer; calls one of the implementations
    packing.py          the tokens of a batch without padding, and back
    positions.py        the encodings T, as a table and as a rotation
    choice.py           picks the implementation and logs the choice
    dropout.py          dropout that is fast on CPUs

Four implementations, equal up to rounding (docs/attention.md: what each supports, and its speed). Read eager.py; skip the rest
until you need them:

    eager.py            the definition, with the whole (L, L, H) table
    sdpa.py             one scaled_dot_product_attention of [q; rotate(q)], [k; PE], [v; PE], where no offset is clipped
    banded.py           `banded`: matrix products over blocks of rows, for all positions and devices
    terms.py            the relative terms of `banded`
    varlen.py           `triton`: one pass over the keys, for GPUs from compute capability 8.0
    kernels.py          the Triton kernels of varlen.py
"""
