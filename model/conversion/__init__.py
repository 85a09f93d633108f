"""Weights in and out: Huawei's TensorFlow and PyTorch, Hugging Face's NEZHA, BERT and our own format.

One weight of a checkpoint from Huawei, on its way through the modules:

files.py           find the weights, tell their format, read tensors               bert/pooler/dense/kernel
tensor_bundle.py   TensorFlow's checkpoint format, read without TensorFlow
names.py           translate every name to ours                                    nezha.pooler.dense.weight
configuration.py   origin, shape and positions by its bert_config.json             NEZHA, m = 64
reading.py         all of the above, checked against each other
vocabulary.py      add tokens, if requested
writing.py         write the files that other programs expect                      bert.pooler.dense.weight
"""
