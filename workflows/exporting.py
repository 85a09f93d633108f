"""The stage `export`: write a checkpoint as a folder that Hugging Face transformers loads, with a model card.

    export_checkpoint("runs/tiny/checkpoint-0c5d/attempt-0001/checkpoint-00003250", "my-nezha", {"name": "tiny"})

The card contains what the run recorded: steps and phases from the checkpoint, validation losses from the metrics of the
training folder, sources and their licences from the manifests of the shards and of the stages they were made from.
"""

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import folders, storage
from pipeline.engine import stages
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import MANIFEST, FileEntry, Finished, Stage
from pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from model.config import PretrainConfig
    from model.exporting.onnx import Head


STAGE_VERSION = 3


def export(checkpoint: Finished, facts: Mapping[str, Any], root: str, *, execution: Execution = SERIAL) -> Finished:
    """Export the best checkpoint of a finished pretraining; `facts` as for `export_checkpoint`."""
    stage = Stage("export", STAGE_VERSION, facts, {"checkpoint": checkpoint.digest})
    best = checkpoint.file(checkpoint.manifest["best"])
    return stages.run(root, stage, lambda folder: export_checkpoint(best, folder, facts), execution)


def licences(documents: Sequence[Finished]) -> dict[str, str]:
    """Return the licence of each source's text."""
    return {str(done.manifest["source"]): str(done.manifest["licence"]) for done in documents}


def export_checkpoint(
    checkpoint_url: str,
    folder: str,
    facts: Mapping[str, Any],
    training_folder: str | None = None,
    data: str | None = None,
) -> dict[str, Any]:
    """Export one checkpoint and return the facts of the export's manifest.

    Args:
        checkpoint_url: a committed checkpoint folder; it contains everything that is needed.
        facts: `name`, the model's name in its card, and other facts for the manifest.
        training_folder: folder with the metrics of the run; None = the folder that contains the checkpoint.
        data: folder with the shards it was trained on; None = the parent of the training folder is searched.

    Raises: CheckpointError if the checkpoint is damaged, or was not trained on the shards in `data`.
    """
    from model.checkpoints import checkpoint
    from model.config import PretrainConfig
    from model.exporting.export import LAST, STALE, export_model
    from model.exporting.replacement import refuse_training, replacing
    from model.heads import PretrainingModel
    from pipeline.tokenization.vocab import Vocab

    refuse_training(folder)
    loaded = checkpoint.load(checkpoint_url)
    vocab = Vocab.from_bytes(loaded.vocabulary, f"{checkpoint_url}/vocab.txt")
    config = PretrainConfig.from_json(loaded.config)
    model = PretrainingModel(config.encoder, len(vocab))
    model.load_state_dict(loaded.model)
    do_lower_case = bool(loaded.config["vocabulary"]["do_lower_case"])
    map_punctuation = bool(loaded.config["vocabulary"].get("map_punctuation", False))
    training_folder = training_folder or training_folder_of(checkpoint_url)
    shards = find_shards(loaded.config.get("shards", {}), data or storage.parent(training_folder), required=data is not None)
    card_facts = {
        **facts,
        **data_facts(shards, config, loaded.state),
        "training": {**training_facts(shards, config, loaded.state), "config": loaded.config},
        "validation": validation(training_folder, loaded.state["step"]),
    }
    names: list[str] = []
    with replacing(folder, LAST, STALE) as replace:

        def write(name: str, content: bytes) -> None:
            replace(name, content)
            names.append(name)

        export_model(model, vocab.tokens, do_lower_case, write, card_facts, map_punctuation)
    return {"files": [FileEntry.of(folder, name) for name in names], **facts}


def training_folder_of(checkpoint_url: str) -> str:
    """Return the folder of the run that a checkpoint belongs to.

    It is two levels above attempt-0001/checkpoint-00003250, and one above the mean of several checkpoints.
    """
    from model.checkpoints.checkpoint import attempts

    above = storage.parent(checkpoint_url)
    return above if attempts(above) else storage.parent(above)


def find_shards(wanted: Mapping[str, str], root: str, required: bool) -> dict[str, Finished]:
    """Find the shards of a checkpoint under `root` and return all of them, or none if one is missing.

    Args:
        wanted: digests of the shards by `source/length`.

    Raises: CheckpointError if they are required and one is missing.
    """
    found = {}
    for name, digest in wanted.items():
        source, _, length = name.partition("/")
        for folder in storage.list_names(root):
            url = storage.join(root, folder)
            if folder.rpartition("-")[0] == f"shards_{source}_{length}" and storage.exists(storage.join(url, MANIFEST)):
                shards = stages.load(url)
                if shards.digest == digest:
                    found[name] = shards
    missing = wanted.keys() - found.keys()
    if missing and required:
        raise CheckpointError(
            f"{root}: the shards of {', '.join(sorted(missing))} that the checkpoint was trained on are not here; give the "
            "output folder of `nezha-pipe prepare`"
        )
    return {} if missing else found


def consumed_sequences(shards: Mapping[str, Finished], config: "PretrainConfig", state: Mapping[str, Any]) -> dict[str, float]:
    """Return how many sequences of each source and length training has consumed, according to the weights of the phases."""
    from model.optimization.schedule import sequences

    result: defaultdict[str, float] = defaultdict(float)
    for number, phase in enumerate(config.phases[: state["phase"] + 1]):
        rows = {
            name: done.manifest["counts"]["train"]["rows"]
            for name, done in shards.items()
            if name.endswith(f"/{phase.sequence_length}")
        }
        weights = {name: phase.weights.get(name.partition("/")[0], 0.0) if phase.weights else n for name, n in rows.items()}
        samples = state["consumed_samples"] if number == state["phase"] else sequences(phase)
        for name, weight in weights.items():
            result[name] += samples * weight / sum(weights.values())
    return dict(result)


def data_facts(shards: Mapping[str, Finished], config: "PretrainConfig", state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card's facts on sources, masks and pairs; empty if the shards are unknown."""
    if not shards:
        return {}
    sequences = consumed_sequences(shards, config, state)
    sources = []
    for source in sorted({name.partition("/")[0] for name in shards}):
        own = {name: done for name, done in shards.items() if name.partition("/")[0] == source}
        counts = [done.manifest["counts"]["train"] for done in own.values()]
        sources.append(
            {
                "source": source,
                "licence": licence(next(iter(own.values())), source),
                "rows": sum(count["rows"] for count in counts),
                "tokens": sum(count.get("tokens", 0) for count in counts),
                "share": sum(sequences.get(name, 0.0) for name in own) / max(sum(sequences.values()), 1.0),
            }
        )
    first = next(iter(shards.values())).manifest
    return {"sources": sources, "masking": first.get("masking"), "pairs": first.get("pairs")}


def licence(shards: Finished, source: str) -> str:
    """Return the licence of a source's text.

    Imported shards record it themselves; others were made from tokens, and these from documents, which record it.
    """
    if "licence" in shards.manifest:
        return str(shards.manifest["licence"])
    if old := stages.input_of(shards, "tokens", f"replay_{source}"):
        return str(old.manifest["licence"])
    tokens = stages.input_of(shards, "tokens", f"tokens_{source}")
    documents = stages.input_of(tokens, "documents", f"documents_{source}") if tokens else None
    return str(documents.manifest["licence"]) if documents else "not recorded"


def training_facts(shards: Mapping[str, Finished], config: "PretrainConfig", state: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far training went: steps, sequences, and approximately how many tokens."""
    from model.optimization.schedule import sequences

    samples = sum(sequences(phase) for phase in config.phases[: state["phase"]]) + state["consumed_samples"]
    planned = sum(phase.steps for phase in config.phases)
    facts = {"step": state["step"], "planned": planned, "samples": samples, "averaged": state.get("averaged", [])}
    counts = {name: done.manifest["counts"]["train"] for name, done in shards.items()}
    if counts and all("tokens" in count for count in counts.values()):
        mean = {name: count["tokens"] / max(count["rows"], 1) for name, count in counts.items()}
        facts["tokens"] = int(
            round(sum(number * mean[name] for name, number in consumed_sequences(shards, config, state).items()), -3)
        )
    return facts


def validation(training_folder: str, step: int) -> list[dict[str, Any]]:
    """Return the rows of the last validation up to a step; empty if there are no metrics."""
    from model.checkpoints.checkpoint import read_metrics

    rows = [row for row in read_metrics(training_folder) if row.get("kind") == "validation" and row["step"] <= step]
    last = max((row["step"] for row in rows), default=0)
    return [row for row in rows if row["step"] == last]


def find_checkpoint(url: str) -> str:
    """Return `url` if it is a checkpoint folder, else the best checkpoint of the training folder `url`.

    Raises: CheckpointError if it is neither.
    """
    from model.checkpoints.checkpoint import BEST, MARKER

    if storage.exists(storage.join(url, MARKER)):
        return url
    if storage.exists(best := storage.join(url, BEST)):
        found = storage.read_json(best)
        if not isinstance(found, dict) or not isinstance(found.get("checkpoint"), str):
            raise CheckpointError(f"{best}: damaged; name a checkpoint in {url}/attempt-*")
        return storage.join(url, found["checkpoint"])
    inside = folders.stage_in(url, "checkpoint-")
    hints = {
        folders.OUTPUT: f"the training folder in it is {inside}" if inside else "it has no training folder yet",
        folders.TRAINING: "it has no best checkpoint yet; name a checkpoint in it",
        folders.EXPORT: "it is exported already",
    }
    raise CheckpointError(folders.not_found(url, "a checkpoint or a training folder with a best checkpoint", hints))


def describe_checkpoint(checkpoint_url: str, training_folder: str) -> str:
    """Describe in one line which checkpoint of a training folder is exported, and whether training is finished."""
    from model.checkpoints.checkpoint import BEST
    from model.training.metrics import PROGRESS

    best = storage.read_json(storage.join(training_folder, BEST))
    progress = storage.join(training_folder, PROGRESS)
    run = storage.read_json(progress) if storage.exists(progress) else {}
    name = checkpoint_url.removeprefix(training_folder).strip("/")
    line = f"{name}: the best checkpoint, validation loss {best['validation_loss']:.4g}"
    if run and run["step"] < run["steps"]:
        line += f"; training is at step {run['step']:,} of {run['steps']:,}"
    return line


def export_onnx(folder: str, head: "Head", int8: bool) -> dict[str, Any]:
    """Add onnx/model.onnx to an export, and onnx/model_quantized.onnx with 8-bit weights; return the content of onnx/onnx.json.

        {"head": "hidden", "inputs": [...], "outputs": [...], "opset": 20, "difference": 2.1e-06, "int8_difference": 0.05}

    Raises: RecipeError if packages are missing, CheckpointError if the output of a graph differs from torch's; then no graph is
    written.
    """
    from model.exporting import onnx
    from model.exporting.export import load_export
    from model.exporting.replacement import replacing

    onnx.need_packages()
    model = load_export(folder)[0]
    with tempfile.TemporaryDirectory(prefix="nezha-pipe-onnx-") as temporary:
        place = Path(temporary)
        facts: dict[str, Any] = {"head": head, "inputs": onnx.INPUTS, "outputs": onnx.OUTPUTS[head], "opset": onnx.OPSET}
        with storage.translate_error(temporary):
            facts["difference"] = float(f"{onnx.write_graph(model, head, place / onnx.GRAPH):.2g}")
            if int8:
                onnx.quantise(place / onnx.GRAPH, place / onnx.INT8_GRAPH)
                facts["int8_difference"] = float(f"{onnx.largest_difference(model, head, place / onnx.INT8_GRAPH):.2g}")
        with replacing(storage.join(folder, "onnx"), onnx.FACTS, onnx.FILES) as write:
            write(onnx.FACTS, storage.json_bytes(facts))
            for path in sorted(place.iterdir()):  # weights above 2 GB are in files of their own
                write(path.name, path)
    return facts
