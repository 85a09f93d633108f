"""The modules that transformers runs from an export (`trust_remote_code=True`): self-contained, and copied into every export.

configuration_nezha.py   NezhaPipeConfig
modeling_nezha.py        the network with all its heads, as transformers' models are written
attention_nezha.py       attention with relative positions; our ONNX export uses it too

The names of files and classes are part of the format: config.json of an export refers to them.
"""
