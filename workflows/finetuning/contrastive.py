"""Contrastive fine-tuning of an export: `finetune --contrastive`.

    tune("my-nezha", "my-vectors", ContrastiveConfig(), inputs=["reviews.txt"])

The new export is a copy of the old one with other weights, a card that says how they came about, and a note for programs on
which vectors were tuned (sentence-transformers' own files). It is written at the end, as a whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from model.exporting.card import cell
from pipeline import storage
from pipeline.engine.execution import Report, silent
from pipeline.errors import CheckpointError
from workflows.evaluation import encoders
from workflows.finetuning.exporting import export_files
from workflows.finetuning.texts import Counts, Tokens, read_pair_files, read_texts

if TYPE_CHECKING:
    from torch import Tensor

    from model.encoder import Encoder
    from model.finetuning.contrastive import ContrastiveConfig, Triple
    from model.finetuning.vectors import Pooling
    from model.heads import PretrainingModel
    from pipeline.arrays import Ints

SAMPLE = 1_000
"""Texts, or positive pairs, whose vectors are compared before and after."""
TITLE = "Tuning of vectors"
SIMCSE = "https://arxiv.org/abs/2104.08821"


def tune(
    model_url: str,
    folder: str,
    settings: "ContrastiveConfig",
    *,
    inputs: Sequence[str] = (),
    pairs: Sequence[str] = (),
    text: str = "text",
    sentences: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Tune the export `model_url` on raw texts (`inputs`) or on pairs, write another export, and return what happened.

    Raises: CheckpointError if `model_url` is not an export or is `folder`; CorpusError and TaskError for texts.
    """
    from model.exporting.export import LAST, STALE, load_export
    from model.exporting.replacement import replacing
    from model.finetuning import contrastive
    from model.finetuning.windows import Frame
    from pipeline.tokenization.vocab import Vocab
    from pipeline.tokenization.wordpiece import WordPieceEncoder

    if encoders.is_foreign(model_url):
        raise CheckpointError(f"{model_url}: not an export; a BERT becomes one with `nezha-pipe convert`")
    if folder == model_url:
        raise CheckpointError(f"{folder}: contains the model to tune; give another output folder")
    network, config, words, rules = load_export(model_url)
    if config.positions == "absolute" and settings.max_length > config.max_position_embeddings:
        raise CheckpointError(
            f"max_length is {settings.max_length}, but the model reads at most {config.max_position_embeddings} tokens"
        )
    vocab = Vocab(tuple(words))
    tokens = Tokens(WordPieceEncoder(vocab, **rules), Frame(vocab.cls_id, vocab.sep_id, settings.max_length))
    with replacing(folder, LAST, STALE) as write:
        report(0, 0, "reading texts")
        triples = read_pair_files(pairs, tokens) if pairs else read_texts(inputs, text, sentences, tokens)
        before = spread(network.nezha, triples, settings)
        tuned = contrastive.tune(config, network.nezha.state_dict(), triples, settings, report)
        network.nezha.load_state_dict(tuned.weights)
        facts = {
            "texts": asdict(tokens.counts),
            "examples": len(triples),
            "steps": tuned.steps,
            "loss": round(tuned.loss, 4),
            "masked": tuned.masked,
            "before": before,
            "after": spread(network.nezha, triples, settings),
        }
        files = [storage.base_name(url) for url in (*inputs, *pairs)]
        lines = card_lines(files, settings, facts, paired=bool(pairs))
        for name, content in _files(model_url, network, settings.pooling, lines).items():
            write(name, content)
    return facts


def spread(encoder: "Encoder", triples: "Sequence[Triple]", settings: "ContrastiveConfig") -> dict[str, float]:
    """Return how the vectors of some of the texts lie, without dropout; with pairs, also how near positives are."""
    import torch

    from model.finetuning import vectors
    from model.finetuning.contrastive import vectors_of

    def embed(texts: "Sequence[Ints]") -> "Tensor":
        """Return vectors (N, D)."""
        parts = [texts[begin : begin + settings.batch_size] for begin in range(0, len(texts), settings.batch_size)]
        with torch.inference_mode():
            return torch.cat([vectors_of(encoder, part, settings).cpu() for part in parts])

    chosen = [triples[index] for index in range(0, len(triples), -(-len(triples) // SAMPLE))]
    pairs = [(triple.anchor, triple.positive) for triple in chosen if triple.positive is not None]
    encoder.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    anchors = embed([triple.anchor for triple in chosen])
    found = {"uniformity": vectors.uniformity(anchors), "mean_cosine": vectors.mean_cosine(anchors)}
    if pairs:
        found["alignment"] = vectors.alignment(*(embed(side) for side in zip(*pairs, strict=True)))
    return {name: round(value, 4) for name, value in found.items()}


def summary(facts: Mapping[str, Any]) -> list[str]:
    """Return what happened, a line each."""
    before, after = facts["before"], facts["after"]
    moved = (f"{name.replace('_', ' ')} {before[name]:.3f} -> {after[name]:.3f}" for name in after)
    left_out = f", {facts['masked']:,} false negatives left out" if facts["masked"] else ""
    return [
        str(Counts(**facts["texts"])),
        f"{facts['steps']:,} steps on {facts['examples']:,} examples, loss {facts['loss']:.3f}{left_out}",
        ", ".join(moved),
    ]


def card_lines(files: Sequence[str], settings: "ContrastiveConfig", facts: Mapping[str, Any], paired: bool) -> list[str]:
    """Return what the card says of the tuning."""
    learned = "pairs of texts" if paired else "texts without labels, each with itself under another dropout"
    before, after = facts["before"], facts["after"]
    return [
        f"Vectors of texts were tuned contrastively (SimCSE, [arXiv 2104.08821]({SIMCSE})) on {learned}:",
        f"{', '.join(cell(name) for name in files)}, {facts['examples']:,} examples, whose terms also apply here.",
        "",
        f"- {facts['steps']:,} steps of {settings.batch_size}, learning rate {settings.learning_rate:g}, seed {settings.seed}",
        f"- at most {settings.max_length} tokens, temperature {settings.temperature:g}, dropout {settings.dropout:g}",
        f"- a text's vector: {'the mean over its tokens' if settings.pooling == 'mean' else 'that of [CLS]'}",
        *(f"- {name.replace('_', ' ')}: {before[name]:.3f} before, {after[name]:.3f} after" for name in after),
        "",
        "The heads for masks and pairs were not tuned along, so masks are filled less well than before.",
    ]


def _files(model_url: str, network: "PretrainingModel", pooling: "Pooling", lines: Sequence[str]) -> dict[str, bytes]:
    """Return the files of the new export by name."""
    from model.exporting.export import SENTENCE_MODULES, SENTENCE_POOLING

    files = export_files(model_url, network, TITLE, lines)
    # What sentence-transformers reads: without it, it would take the mean.
    files[SENTENCE_MODULES] = storage.json_bytes(
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ]
    )
    files[SENTENCE_POOLING] = storage.json_bytes(
        {
            "word_embedding_dimension": network.nezha.config.hidden_size,
            "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
        }
    )
    return files
