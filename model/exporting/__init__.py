"""Exporting a model for other programs to load.

export.py        a folder that transformers loads (`trust_remote_code=True`), and reading it back
card.py          its README.md, the model card
onnx.py          the encoder as an ONNX graph, compared with torch; 8-bit weights
replacement.py   files that belong together, written over older ones: no program loads a mix of both
"""
