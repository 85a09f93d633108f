"""What a training step reads: which samples, in which order, with which masks, on which worker.

order.py     which row of which source is the k-th sample: a formula, so nothing is stored
taken.py     which samples a step takes, and a digest of their examples
ahead.py     shards of an object store are fetched before they are due
batches.py   rows become masked micro-batches, dealt to the workers
"""
