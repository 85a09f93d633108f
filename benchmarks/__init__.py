"""Benchmarks: speed and memory, compared with other programs that do the same work. Not part of the installed package.

__main__.py        `python -m benchmarks NAME`: runs benchmarks, prints a table
measurement.py     one result with its baseline, as a row of the table and a line of JSON
command.py         runs and times `nezha-pipe`
corpus.py          Chinese text of any size
peers.py           runs other programs in their own environment; peers.txt pins them

prepare.py         raw text to shards; peer_prepare.py: jieba and BERT's tokenizer
deduplicated.py    raw text to unique documents; peer_deduplicated.py: datatrove
segment.py         word segmentation; the peer is jieba itself
wiki.py            wikitext to prose, on wiki_pages.py; peer_wiki.py: mwparserfromhell and wikiextractor
step.py            a training step, and reading rows; peer_step.py: Hugging Face's NEZHA
loader.py          reading shards from an object store, with a cold and a warm cache, and from a disk
overlap.py         a training step of two workers on a slow link, in overlap_worker.py; the peer: DistributedDataParallel
attention.py       one attention layer; peer_attention.py: Hugging Face's NEZHA and BERT
inference.py       an encoder in torch and ONNX; peer_inference.py: Hugging Face's NEZHA
evaluate.py        steps of fine-tuning; peer_evaluate.py: transformers' Trainer
resume.py          training with checkpoints to a slow store and to a local disk
chaos/             training that is killed, cut off and frozen, beside Ray Train's own loop and torchft
kills.py           `prepare`, killed at random moments
quarters/          retraining by itself, while runs are killed and the store is away
gate.py            verdicts between seeds of one model, and with a true gain
startup.py         `nezha-pipe --help`, and a run with nothing to do
scaling.py         how training would scale, on paper: the tables of docs/scaling.md

junk_weights.py    trains the weights of pipeline/cleaning/web/junk.json
"""
