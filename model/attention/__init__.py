"""Self-attention with NEZHA's functional relative positions on keys and on values, on packed sequences.

With a row T[i, j] of the table of positions.py for each pair of query i and key j of a sequence, in each head:

    score(i, j)  = (q_i . k_j + q_i . T[i, j]) / sqrt(H)      the relative term comes before the scaling
    weight(i, j) = dropout(softmax_j(score(i, j)))            no key of another sequence, no padding
    context(i)   = sum_j weight(i, j) (v_j + T[i, j])         the same table, and the weights after dropout

(arXiv 1909.00204, equations 4 to 7; Huawei's modeling.py, lines 941-1013.) The query side gets nothing, and [CLS] and [SEP] are
ordinary positions. Learned tables (`positions = "relative"`) take the place of T; with `absolute` there is no T.

Four implementations give the same to rounding (docs/attention.md has what each supports):

    eager    the definition, with the (L, L, H) table written out
    sdpa     one call of scaled_dot_product_attention on [q; rotate(q)], [k; PE], [v; PE]; where nothing is clipped
    banded   matrix products over blocks of rows (banded.py): anything, anywhere
    triton   one pass over the keys (varlen.py): GPUs from compute capability 8.0

A layer's heads go through these hands:

    self_attention.py   queries, keys and values of a layer
    choice.py           which implementation, and the line in the log that says so
    packing.py          sequences one after another, and back to a padded batch
    positions.py        the table T, and the rotation that it is
    eager.py, sdpa.py, banded.py (with terms.py), varlen.py (with kernels.py)
    dropout.py          of weights and of everything else
"""
