"""TensorFlow itself, in an environment of its own: writes checkpoints for our reader, and reads what ours wrote.

python tests/tensorflow_peer.py write tests/golden/tensor_bundle        how the files there were made, by TensorFlow 2.21.0
python tests/tensorflow_peer.py read folder/model.ckpt values.npz       every variable of a checkpoint, as float64
"""

import sys

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]


def write(folder: str) -> None:
    """Write two shards: a layer under Huawei's names, its moments, counters, numbers of all types; and a sliced variable."""
    rng = np.random.default_rng(0)
    shapes = {"kernel": (8, 12), "bias": (12,)}
    tensors = {f"bert/encoder/layer_0/intermediate/dense/{leaf}": rng.normal(size=size) for leaf, size in shapes.items()}
    tensors |= {f"{name}/lamb_{moment}": rng.normal(size=value.shape) for name, value in tensors.items() for moment in "mv"}
    variables = {name: tf.constant(value, tf.float32) for name, value in tensors.items()}
    variables |= {"global_step": tf.constant(900_000, tf.int64), "loss_scale": tf.constant(4096.0)}
    variables |= {name: tf.constant([1.5, -2.25], name) for name in ("float16", "bfloat16", "float64")}
    variables |= {"int32": tf.constant([7, -7]), "empty": tf.zeros((0, 4))}

    prefix = f"{folder}/model.ckpt-900000"
    for part, names in enumerate((sorted(variables)[::2], sorted(variables)[1::2])):
        values = [variables[name] for name in names]
        whole = [""] * len(names)
        tf.raw_ops.SaveV2(prefix=f"{prefix}_part{part}", tensor_names=names, shape_and_slices=whole, tensors=values)
    parts = [f"{prefix}_part0", f"{prefix}_part1"]
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False)
    slices = {"prefix": f"{folder}/sliced.ckpt", "tensor_names": ["w"], "shape_and_slices": ["4 2 0,2:0,2"]}
    tf.raw_ops.SaveV2(**slices, tensors=[tf.ones((2, 2))])
    np.savez(f"{folder}/values.npz", **{name: tf.cast(value, tf.float64).numpy() for name, value in variables.items()})


def read(prefix: str, file: str) -> None:
    reader = tf.train.load_checkpoint(prefix)
    names = [name for name, _ in tf.train.list_variables(prefix)]
    np.savez(file, **{name: tf.cast(reader.get_tensor(name), tf.float64).numpy() for name in names})


if __name__ == "__main__":
    write(*sys.argv[2:]) if sys.argv[1] == "write" else read(*sys.argv[2:])
