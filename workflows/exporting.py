"""The stage `export`: a checkpoint becomes a folder that transformers loads, with a card of what it was made of.

    export_checkpoint("runs/tiny/checkpoint-0c5d/attempt-0001/checkpoint-00003250", "my-nezha", {"name": "tiny"})

What the card tells is what the run recorded: steps and phases are in the checkpoint, validation losses in the metrics of the
training folder, sources and their licences in the manifests of the shards and of what these were made from.
"""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.stages import MANIFEST, FileEntry, Finished
from pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from model.config import PretrainConfig
    from model.exporting.onnx import Head


def licences(documents: Sequence[Finished]) -> dict[str, str]:
    """Under what terms the text of each source may be used."""
    return {str(done.manifest["source"]): str(done.manifest["licence"]) for done in documents}


def export_checkpoint(
    checkpoint_url: str,
    folder: str,
    facts: Mapping[str, Any],
    training_folder: str | None = None,
    data: str | None = None,
) -> dict[str, Any]:
    """Write the export of one checkpoint, which holds all that is needed; the facts of the export's manifest.

    Args:
        checkpoint_url: a committed checkpoint folder.
        facts: `name`, what the model card calls the model, and whatever else the manifest is to say.
        training_folder: where the metrics of the run are; None: the folder that the checkpoint lies in.
        data: where the shards are that it was trained on; None: they are looked for beside the training folder.

    Raises: CheckpointError when the checkpoint is damaged, or was not trained on the shards of `data`.
    """
    from model.exporting.export import export_model
    from model.heads import PretrainingModel
    from model.training import checkpoint
    from model.training.run import pretrain_config
    from pipeline.tokenization.vocab import Vocab

    loaded = checkpoint.load(checkpoint_url)
    vocab = Vocab.from_bytes(loaded.vocabulary, f"{checkpoint_url}/vocab.txt")
    config = pretrain_config(loaded.config)
    model = PretrainingModel(config.encoder, len(vocab))
    model.load_state_dict(loaded.model)
    names: list[str] = []

    def write(name: str, content: bytes) -> None:
        storage.write_bytes(storage.join(folder, name), content)
        names.append(name)

    do_lower_case = bool(loaded.config["vocabulary"]["do_lower_case"])
    map_punctuation = bool(loaded.config["vocabulary"].get("map_punctuation", False))
    training_folder = training_folder or training_folder_of(checkpoint_url)
    shards = find_shards(loaded.config.get("shards", {}), data or storage.parent(training_folder), required=data is not None)
    told = {
        **facts,
        **data_facts(shards, config, loaded.state),
        "training": {**training_facts(shards, config, loaded.state), "config": loaded.config},
        "validation": validation(training_folder, loaded.state["step"]),
    }
    export_model(model, vocab.tokens, do_lower_case, write, told, map_punctuation)
    return {"files": [FileEntry.of(folder, name) for name in names], **facts}


def training_folder_of(checkpoint_url: str) -> str:
    """The folder of the run: attempt-0001/checkpoint-00003250 lies two folders below it, the mean of several directly in it."""
    from model.training.checkpoint import attempts

    above = storage.parent(checkpoint_url)
    return above if attempts(above) else storage.parent(above)


def find_shards(wanted: Mapping[str, str], root: str, required: bool) -> dict[str, Finished]:
    """The shards that a checkpoint names (digest by `source/length`) among the stages under `root`: all of them or none.

    Raises: CheckpointError when they are required, and are not there.
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
            f"{root}: no shards of {', '.join(sorted(missing))} that the checkpoint was trained on; give the output folder of "
            "`nezha-pipe prepare`"
        )
    return {} if missing else found


def seen(shards: Mapping[str, Finished], config: "PretrainConfig", state: Mapping[str, Any]) -> dict[str, float]:
    """Sequences of each shards (by `source/length`) that training went through, by the weights of the phases."""
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
    """Sources with licences and shares, masks and pairs, as the card tells them; empty where the shards are not known."""
    if not shards:
        return {}
    sequences = seen(shards, config, state)
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
    """Imported shards name it; others stand on tokens, which stand on documents, which name it."""
    if "licence" in shards.manifest:
        return str(shards.manifest["licence"])
    tokens = stages.input_of(shards, "tokens", f"tokens_{source}")
    documents = stages.input_of(tokens, "documents", f"documents_{source}") if tokens else None
    return str(documents.manifest["licence"]) if documents else "not recorded"


def training_facts(shards: Mapping[str, Finished], config: "PretrainConfig", state: Mapping[str, Any]) -> dict[str, Any]:
    """How far training went: steps, sequences, and about how many tokens."""
    from model.optimization.schedule import sequences

    samples = sum(sequences(phase) for phase in config.phases[: state["phase"]]) + state["consumed_samples"]
    planned = sum(phase.steps for phase in config.phases)
    facts = {"step": state["step"], "planned": planned, "samples": samples, "averaged": state.get("averaged", [])}
    counts = {name: done.manifest["counts"]["train"] for name, done in shards.items()}
    if counts and all("tokens" in count for count in counts.values()):
        mean = {name: count["tokens"] / max(count["rows"], 1) for name, count in counts.items()}
        facts["tokens"] = int(round(sum(number * mean[name] for name, number in seen(shards, config, state).items()), -3))
    return facts


def validation(training_folder: str, step: int) -> list[dict[str, Any]]:
    """The rows of the last validation up to a step; empty where the metrics are not there."""
    from model.training.checkpoint import read_metrics

    rows = [row for row in read_metrics(training_folder) if row.get("kind") == "validation" and row["step"] <= step]
    last = max((row["step"] for row in rows), default=0)
    return [row for row in rows if row["step"] == last]


def find_checkpoint(url: str) -> str:
    """The checkpoint that a person means: a checkpoint folder, or the best one of a training folder.

    Raises: CheckpointError when there is none.
    """
    from model.training.checkpoint import BEST, MARKER

    if storage.exists(storage.join(url, MARKER)):
        return url
    if storage.exists(best := storage.join(url, BEST)):
        return storage.join(url, storage.read_json(best)["checkpoint"])
    raise CheckpointError(f"{url}: neither a checkpoint ({MARKER}) nor a training folder ({BEST}); give the folder of one")


def describe_checkpoint(checkpoint_url: str, training_folder: str) -> str:
    """Which checkpoint of a training folder is taken, and whether the training has come to its end, in a line."""
    from model.training.checkpoint import BEST
    from model.training.metrics import PROGRESS

    best = storage.read_json(storage.join(training_folder, BEST))
    progress = storage.join(training_folder, PROGRESS)
    run = storage.read_json(progress) if storage.exists(progress) else {}
    line = f"{checkpoint_url.removeprefix(training_folder).strip('/')}: the best, validation loss {best['validation_loss']:.4g}"
    if run and run["step"] < run["steps"]:
        line += f"; so far: the training has done {run['step']:,} of {run['steps']:,} steps"
    return line


def export_onnx(folder: str, head: "Head", int8: bool) -> dict[str, Any]:
    """Add graphs to an export: onnx/model.onnx and, 8 bits wide, onnx/model_quantized.onnx; what onnx/onnx.json says of them.

        {"head": "hidden", "inputs": [...], "outputs": [...], "opset": 20, "difference": 2.1e-06, "int8_difference": 0.05}

    Raises: RecipeError where packages are missing, CheckpointError when a graph does not give what torch gives; then none is
    written.
    """
    from model.exporting import onnx
    from model.exporting.export import load_export

    onnx.need_packages()
    model = load_export(folder)[0]
    place = storage.join(folder, "onnx")
    with tempfile.TemporaryDirectory(prefix="nezha-pipe-onnx-") as temporary:
        graph, small = Path(temporary) / "model.exporting.onnx", Path(temporary) / "model_quantized.onnx"
        facts: dict[str, Any] = {"head": head, "inputs": onnx.INPUTS, "outputs": onnx.OUTPUTS[head], "opset": onnx.OPSET}
        facts["difference"] = float(f"{onnx.write_graph(model, head, graph):.2g}")
        if int8:
            onnx.quantise(graph, small)
            facts["int8_difference"] = float(f"{onnx.largest_difference(model, head, small):.2g}")
        for path in (graph, small) if int8 else (graph,):
            with path.open("rb") as source, storage.open_write(storage.join(place, path.name)) as target:
                shutil.copyfileobj(source, target)
    storage.write_json(storage.join(place, "onnx.json"), facts)
    return facts
