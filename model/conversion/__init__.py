"""Weights in and out: Huawei's TensorFlow and PyTorch, Hugging Face's NEZHA, BERT and ours, both ways.

A checkpoint of Huawei's goes through these hands:

    files.py           which file is meant, what kind it is by its first bytes; its tensors     bert/pooler/dense/kernel
    tensor_bundle.py   TensorFlow's format, read without TensorFlow
    names.py           every name becomes ours                                                  nezha.pooler.dense.weight
    configuration.py   what its bert_config.json says it is: NEZHA, m = 64
    reading.py         both agree, or it is refused by name
    vocabulary.py      new tokens, where wanted
    writing.py         the files that other programs look for
"""
