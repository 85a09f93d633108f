"""Files of strangers are data: no pickle is loaded, no module of their folders is imported, whatever they are called.

Each hostile file makes a marker if it is run.
"""

import ast
import functools
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result

from model.checkpoints import checkpoint
from model.config import EncoderConfig
from model.training.loop import train
from pipeline import storage
from pipeline.errors import UserError
from pipeline.examples.shards import ShardSet
from pipeline.sources.records import Record
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import corpus, tiny
from tests.reading import read
from workflows.cli import main

ROOT = Path(__file__).parents[1]
VOCAB = Vocab((*SPECIALS, *"今天气北京大学很好房间物流快"))
ENCODER = EncoderConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
MODULES = ("modeling_nezha", "configuration_nezha", "attention_nezha", "tokenization_nezha", "__init__", "conftest", "setup")
SHADOWS = sorted(
    (set(sys.stdlib_module_names) - {"__main__", "antigravity", "this"})
    | {
        "numpy",
        "pyarrow",
        "torch",
        "ray",
        "loky",
        "cloudpickle",
        "psutil",
        "fsspec",
        "pipeline",
        "model",
        "cluster",
        "workflows",
    }
)
"""Modules that programs of ours import: the current folder must not have the first word."""


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """The file that hostile files make. None may."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), path.read_text()


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.marker, "w")


def source(marker: Path, name: str) -> str:
    return f"with open({str(marker)!r}, 'a') as file:\n    file.write({name + ' '!r})\n"


def legacy_tar(content: Any) -> bytes:
    """A file of the first versions of torch."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(content, 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def saved(content: Any, **settings: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **settings)
    return file.getvalue()


PICKLES: dict[str, Callable[[Any], bytes]] = {
    **{f"protocol {number}": functools.partial(pickle.dumps, protocol=number) for number in range(6)},
    "torch": saved,
    "torch before 1.6": lambda content: saved(content, _use_new_zipfile_serialization=False),
    "a value among tensors": lambda content: saved({"a": torch.zeros(2), "b": content}),
    "wrapped": lambda content: saved({"state_dict": {"nezha.a": torch.zeros(2)}, "optimizer": content}),
    "tar": legacy_tar,
}
WEIGHTS = ("pytorch_model.bin", "model.safetensors", "model.pt")


def test_the_trap_works(tmp_path: Path) -> None:
    """All tests below would pass if it did not."""
    for name, make in PICKLES.items():
        place = tmp_path / name
        data = make(Trap(place))
        if name.startswith("protocol"):
            pickle.loads(data)
        elif name != "tar":
            torch.load(io.BytesIO(data), weights_only=False)
        assert place.exists() == (name != "tar"), name


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny.exported(tmp_path_factory.mktemp("export"), ENCODER, VOCAB, seed=6)[0])


@pytest.fixture
def hostile(export: Path, tmp_path: Path, marker: Path) -> Path:
    """An export with a stranger's modules, which its configuration names, and pickles."""
    folder = tmp_path / "model"
    shutil.copytree(export, folder)
    for name in MODULES:
        (folder / f"{name}.py").write_text(source(marker, name))
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        classes = {each: "modeling_nezha.NezhaModel" for each in ("AutoConfig", "AutoModel", "AutoModelForMaskedLM")}
        content["auto_map"] = {**classes, "AutoTokenizer": ["tokenization_nezha.Tokenizer", None]}
        (folder / name).write_text(json.dumps(content))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        (folder / name).write_bytes(saved(Trap(marker)))
    return folder


def command(*words: Any) -> Result:
    result = CliRunner().invoke(main, [*map(str, words)], prog_name="nezha-pipe")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def commands(folder: Path, tmp_path: Path) -> dict[str, list[Any]]:
    (tmp_path / "texts.txt").write_text("今天天气很好\n北京大学\n", "utf-8")
    (tmp_path / "tasks" / "chnsenticorp").mkdir(parents=True, exist_ok=True)
    for split in ("train", "dev", "test"):
        lines = "".join(f"{number % 2}\t{'很好' if number % 2 else '今天天气'}\n" for number in range(8))
        (tmp_path / "tasks" / "chnsenticorp" / f"{split}.tsv").write_text(f"label\ttext_a\n{lines}", "utf-8")
    return {
        "embed": ["embed", folder, "--input", tmp_path / "texts.txt", "--output", tmp_path / "vectors.parquet"],
        "fill-mask": ["fill-mask", folder, "今天天气很[MASK]"],
        "convert": ["convert", folder, tmp_path / "converted"],
        "inspect": ["inspect", folder],
        "verify": ["verify", folder],
        "evaluate": [
            *("evaluate", folder, "--data", tmp_path / "tasks", "--tasks", "chnsenticorp", "--seeds", "1"),
            *("--no-baseline", "--workers", "1", "--output", tmp_path / "scores"),
        ],
    }


def test_no_command_runs_what_is_in_a_model_folder(
    hostile: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile)
    codes = {name: command(*words).exit_code for name, words in commands(hostile, tmp_path).items()}
    refused = {name for name, code in codes.items() if code}
    assert refused == {"inspect", "verify"}, codes  # an export is neither a stage nor a checkpoint
    # What is written from it has our modules, not the stranger's.
    for path in (tmp_path / "converted").glob("*.py"):
        assert path.read_text() == (ROOT / "model" / "remote_code" / path.name).read_text()


@pytest.mark.parametrize("kind", PICKLES)
def test_pickles_in_place_of_weights_are_refused(
    kind: str, export: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = PICKLES[kind](Trap(marker))
    for name in WEIGHTS:
        folder = tmp_path / name
        shutil.copytree(export, folder)
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(data)
        for words in list(commands(folder, tmp_path).values())[:3]:
            result = command(*words)
            assert result.exit_code == 2 and len(result.stderr.splitlines()) <= 2, (name, words[0], result.output)
        assert not marker.exists(), name


def test_a_checkpoint_of_a_stranger_has_no_pickles(tmp_path: Path, marker: Path) -> None:
    """Its marker says that all is well: a stranger can write checksums."""
    data = tiny.prepare(tmp_path / "corpus")
    run = tiny.pretrain_run(data, tmp_path / "out")
    run = replace(run, config=replace(run.config, phases=(replace(run.config.phases[0], steps=4),)))
    train(run)
    (url,) = list(checkpoint.committed(run.output))[:1]
    folder, facts = Path(url), storage.read_json(storage.join(url, checkpoint.MARKER))
    for name in facts["files"]:
        kept = (folder / name).read_bytes()
        for make in PICKLES.values():
            (folder / name).write_bytes(content := make(Trap(marker)))
            entry = {"bytes": len(content), "sha256": storage.bytes_digest(content)}
            changed = {**facts, "files": {**facts["files"], name: entry}}
            (folder / checkpoint.MARKER).write_text(json.dumps(changed))
            result = CliRunner().invoke(main, ["export", str(folder), "--output", str(tmp_path / "exported")])
            assert result.exit_code and not marker.exists(), (name, result.output)
        (folder / name).write_bytes(kept)


def hostile_schema(marker: Path, arrow: pa.DataType = pa.string()) -> pa.Schema:  # noqa: B008
    """A column of the type by which old versions of Arrow carried Python's classes, as pickles."""
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Trap(marker)),
    }
    pandas = json.dumps({"index_columns": [], "columns": [{"name": "text", "pandas_type": "object", "numpy_type": "object"}]})
    return pa.schema([pa.field("text", arrow, metadata=metadata)], {b"pandas": pandas.encode()})


@pytest.mark.parametrize("form", ["stream", "file", "parquet"])
def test_types_of_arrow_with_pickles_are_text(form: str, tmp_path: Path, marker: Path) -> None:
    table = pa.table({"text": ["今天天气很好。"]}).cast(hostile_schema(marker))
    path = tmp_path / f"news.{'parquet' if form == 'parquet' else 'arrow'}"
    if form == "parquet":
        pq.write_table(table, path)
    else:
        with (pa.ipc.new_stream if form == "stream" else pa.ipc.new_file)(str(path), table.schema) as writer:
            writer.write_table(table)
    assert pickle.dumps(Trap(marker))[:20] in path.read_bytes() or form == "parquet"
    (record,) = read(path)
    assert isinstance(record, Record) and record.text == "今天天气很好。"


def test_shards_with_pickles_are_numbers(tmp_path: Path, marker: Path) -> None:
    data = tiny.prepare(tmp_path)
    for url in data.shards.values():
        for path in Path(url).glob("train-*.arrow"):
            table = pa.ipc.open_file(path).read_all()
            metadata = dict(hostile_schema(marker).field("text").metadata)
            fields = [field.with_metadata(metadata) for field in table.schema]
            with pa.ipc.new_file(str(path), pa.schema(fields, table.schema.metadata)) as writer:
                writer.write_table(table.cast(pa.schema(fields, table.schema.metadata)))
            with pa.memory_map(str(path)) as file:
                assert pa.ipc.open_file(file).read_all().num_rows == len(table)
    try:  # their checksums are others now
        train(tiny.pretrain_run(data, tmp_path / "out"))
    except UserError as error:
        assert "\n" not in str(error)
    assert ShardSet is not None


def test_records_that_are_pickles_are_refused_or_text(tmp_path: Path, marker: Path) -> None:
    for number, make in enumerate(PICKLES.values()):
        for name in (
            f"{number}.pkl",
            f"{number}.jsonl",
            f"{number}.txt",
            f"{number}.npy",
            f"{number}.arrow",
            f"{number}.parquet",
        ):
            (tmp_path / "in").mkdir(exist_ok=True)
            (tmp_path / "in" / name).write_bytes(make(Trap(marker)))
    for path in (tmp_path / "in").iterdir():
        try:
            list(read(path))
        except UserError as error:
            assert "\n" not in str(error)
        assert not marker.exists(), path.name


RUNNER = "from workflows.cli import main; main(prog_name='nezha-pipe')"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_import_nothing_from_the_current_folder(tmp_path: Path, marker: Path) -> None:
    """Python would look there first in all that is started with -m or -c: workers, and what cleans up after them."""
    corpus.write_news(tmp_path / "news", 200)
    (here := tmp_path / "here").mkdir()
    for name in SHADOWS:
        (here / f"{name}.py").write_text(source(marker, name))
    (tmp_path / "run.py").write_text(RUNNER)  # as the installed command: a script elsewhere
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | {"PYTHONPATH": str(ROOT)}
    words = [
        "prepare",
        "--corpus",
        "news",
        "--input",
        str(tmp_path / "news"),
        "--output",
        str(tmp_path / "out"),
        "--workers",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py"), *words], cwd=here, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


UNSAFE = re.compile(
    r"^(?:(?:c?[Pp]ickle|cloudpickle|dill|joblib|marshal|shelve|pd|pandas)\.(?:loads?|Unpickler|read_pickle|open)"
    r"|(?:np|numpy|torch)\.load|torch\.jit\.load|torch\.hub\.load|(?:builtins\.)?(?:eval|exec)|__import__"
    r"|runpy\.\w+|yaml\.(?:load|unsafe_load|full_load)|importlib\.import_module|pa\.deserialize\w*)$"
)
ALLOWED = {
    ("cluster/driver.py", "pickle.loads"): "what its own child process sent through a pipe",
    ("cluster/spark/executing.py", "pickle.loads"): "what the command sends its own executors, with a secret",
    ("cluster/spark/tasks.py", "pickle.loads"): "what its own executors answer, with a secret",
    ("cluster/spark/driver.py", "runpy.run_path"): "a module of PySpark, by its name",
    ("cluster/jobs/entry.py", "importlib.import_module"): "what the job, submitted with its code, names",
    ("model/conversion/files.py", "torch.load"): "with weights_only=True",
    ("benchmarks/chaos/peer_ray.py", "torch.load"): "with weights_only=True",
    ("benchmarks/peer_step.py", "np.load"): "without allow_pickle",
    ("benchmarks/peer_evaluate.py", "np.load"): "without allow_pickle",
    ("workflows/evaluation/foreign.py", "importlib.import_module"): "transformers, by its name",
    ("model/exporting/onnx.py", "importlib.import_module"): "packages that are needed, by names in the code",
    ("workflows/kinds.py", "importlib.import_module"): "modules of ours, by names in the code",
    ("pipeline/tokenization/words.py", "importlib.import_module"): "the segmenter that the recipe names",
    ("benchmarks/peer_wiki.py", "importlib.import_module"): "packages by names in the code",
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


OWN_CODE = {"benchmarks/peer_evaluate.py"}
"""Files that load what this program has just exported, with its code."""


def test_nothing_that_runs_what_it_reads_is_called() -> None:
    found = set()
    for folder in ("pipeline", "model", "cluster", "workflows", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for name, call in calls(path):
                given = {keyword.arg: keyword.value for keyword in call.keywords}
                for setting, safe in (("weights_only", True), ("allow_pickle", False), ("trust_remote_code", False)):
                    value = given.get(setting)
                    if setting == "trust_remote_code" and str(path.relative_to(ROOT)) in OWN_CODE:
                        continue
                    assert value is None or (isinstance(value, ast.Constant) and value.value is safe), (path, name, setting)
                if UNSAFE.match(name):
                    place = str(path.relative_to(ROOT)), name
                    assert name != "torch.load" or "weights_only" in given, place
                    found.add(place)
    assert found == ALLOWED.keys(), found ^ ALLOWED.keys()
