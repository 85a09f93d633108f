"""Use an exported encoder: sentence vectors, and predictions for [MASK].

text_inputs.py    read texts and ids from Parquet, JSON lines or plain text
embedding.py      `embed`: one vector per text, in a Parquet file
fill_mask.py      `fill-mask`: the likeliest words at each [MASK]
"""
