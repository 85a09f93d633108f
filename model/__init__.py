"""From training shards to an encoder and its uses: the network, its training, export, conversion and fine-tuning.

One sentence on its way through the folder:

samples/         row 20,433 of "news"        which sample is next; [CLS] 今 天 [MASK] 气 [SEP] as masked micro-batches
encoder.py       hidden states (1, 6, D)     embeddings and Transformer blocks
attention/       weights (1, N, 6, 6)        self-attention with relative positions, in four equal implementations
heads.py         [MASK]: 天 0.93             the MLM and sentence-pair heads; classifiers for fine-tuning
optimization/    weights of the next step    LAMB and AdamW, learning-rate schedules, loss scaling, loss spikes
training/        loss 1.8                    the training loop: in one process, under torchrun, under Ray
checkpoints/     checkpoint-00001000/        atomic checkpoints, and means of several

exporting/       what others load: a transformers folder with a model card, ONNX
remote_code/     the modules that transformers runs from an export (`trust_remote_code`)
conversion/      weights of others, in and out: Huawei's TensorFlow and PyTorch, Hugging Face, BERT
finetuning/      labels, tags, numbers, answers and choices from texts; vectors of texts

config.py        the settings of all this, one dataclass per table of a recipe
sizes.py         parameters and memory, computed beforehand
flops.py         arithmetic of a training step, for planning and for MFU
precision.py     which type a device computes in
compiling.py     torch.compile for the parts of the network that gain from it
threads.py       small tasks spread over torch's threads; skip it at first

Start with encoder.py and heads.py, then training/loop.py. Needs torch, numpy, pyarrow and safetensors; no Ray, no Beam.
"""
