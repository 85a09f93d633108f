"""Stages: keys, the commit by manifest, resuming, and verification."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import locks, storage
from pipeline.config import FilterConfig, WordsConfig
from pipeline.engine import stages
from pipeline.engine.execution import Execution
from pipeline.engine.stages import FileEntry, Stage
from pipeline.errors import StorageError

STAGE = Stage("numbers", 1, {"filters": FilterConfig(), "lengths": (128, 512)}, {"input": "ab12"})
DRY = Execution(dry_run=True)


def writes(files: dict[str, bytes], runs: list[str] | None = None, **facts: Any) -> Callable[[str], dict[str, Any]]:
    """Return a body that writes these files and records that it ran."""

    def body(folder: str) -> dict[str, Any]:
        if runs is not None:
            runs.append(folder)
        for name, data in files.items():
            storage.write_bytes(storage.join(folder, name), data)
        return {"files": [FileEntry.of(folder, name) for name in reversed(files)], **facts}

    return body


def test_a_key_changes_with_all_that_decides_the_content() -> None:
    others = [
        replace(STAGE, kind="other"),
        replace(STAGE, version=2),
        replace(STAGE, settings={"filters": FilterConfig(min_characters=11), "lengths": (128, 512)}),
        replace(STAGE, settings={"filters": FilterConfig(), "lengths": (128,)}),
        replace(STAGE, inputs={"input": "ab13"}),
        replace(STAGE, inputs={"other": "ab12"}),
    ]
    assert len({stage.key for stage in [STAGE, *others]}) == 7
    assert STAGE.folder == f"numbers-{STAGE.key}"
    assert len(STAGE.key) == 12


def test_neither_a_key_nor_a_manifest_has_the_secrets_of_urls(tmp_path: Path) -> None:
    signed = [replace(STAGE, settings={"input": [f"http://me:secret@a.cn/n?token={token}"]}) for token in ("1", "2")]
    assert signed[0].key == signed[1].key
    done = stages.run(str(tmp_path), signed[0], writes({}, url="s3://key:secret@bucket/a"))
    assert (done.manifest["settings"], done.manifest["url"]) == ({"input": ["http://a.cn/n"]}, "s3://bucket/a")
    assert b"secret" not in Path(done.url, "manifest.json").read_bytes()


def test_a_key_does_not_depend_on_the_order_or_the_class_of_settings() -> None:
    filters = dict(reversed(list(asdict(FilterConfig()).items())))
    same = {"lengths": [128, 512], "filters": filters}
    assert replace(STAGE, settings=same).key == STAGE.key
    assert stages.plain({"words": WordsConfig(), 3: (1, (2,))}) == {
        "words": {"segmenter": "jieba", "user_dictionary": []},
        "3": [1, [2]],
    }


def test_a_digest_of_some_files_changes_with_these_alone(tmp_path: Path) -> None:
    one = stages.run(str(tmp_path / "one"), STAGE, writes({"a": b"1", "b": b"2"}))
    two = stages.run(str(tmp_path / "two"), STAGE, writes({"a": b"1", "b": b"3"}))
    assert one.digest_of(["a"]) == two.digest_of(["a"])
    assert one.digest_of(["a", "b"]) == one.digest != two.digest


@pytest.mark.parametrize("root", ["{tmp}", "memory://stages/{tmp}"])
def test_a_finished_stage_is_not_run_again(tmp_path: Path, root: str) -> None:
    root, runs = root.format(tmp=tmp_path), list[str]()
    first = stages.run(root, STAGE, writes({"a": b"1"}, runs, counts={"rows": 1}))
    second = stages.run(root, STAGE, writes({"a": b"2"}, runs))
    assert (first.fresh, second.fresh, len(runs)) == (True, False, 1)
    assert first.manifest == second.manifest == stages.load(first.url).manifest
    assert second.manifest["counts"] == {"rows": 1}
    assert storage.read_bytes(second.file("a")) == b"1"


def test_equal_contents_have_equal_manifests(tmp_path: Path) -> None:
    for root in ("one", "two"):
        stages.run(str(tmp_path / root), STAGE, writes({"b": b"1", "a": b"2"}, histogram={"2": 1, "10": 2}))
    one, two = ((tmp_path / root / STAGE.folder / "manifest.json").read_bytes() for root in ("one", "two"))
    assert one == two
    assert [entry["name"] for entry in json.loads(one)["files"]] == ["a", "b"]
    assert b"seconds" not in one
    run = json.loads((tmp_path / "one" / STAGE.folder / "run.json").read_text())
    assert run.keys() == {"started", "seconds", "host", "pid", "manifest_sha256"}


def test_a_folder_of_stages_is_no_stage_and_says_which_it_holds(tmp_path: Path) -> None:
    finished = stages.run(str(tmp_path), STAGE, lambda folder: {"files": []})
    with pytest.raises(StorageError, match=f"it contains stages: name one of them, such as {finished.url}"):
        stages.load(str(tmp_path))


def test_a_folder_without_manifest_is_resumed(tmp_path: Path) -> None:
    def dies(folder: str) -> dict[str, Any]:
        storage.write_bytes(storage.join(folder, "work-1", "part"), b"finished part")
        raise KeyError

    with pytest.raises(KeyError):
        stages.run(str(tmp_path), STAGE, dies)
    assert stages.find(str(tmp_path), STAGE) is None
    with pytest.raises(StorageError, match=r"no manifest\.json \(unfinished: run its command again to resume"):
        stages.load(str(tmp_path / STAGE.folder))

    def resumes(folder: str) -> dict[str, Any]:
        assert storage.read_bytes(storage.join(folder, "work-1", "part")) == b"finished part"
        return writes({"a": b"1"})(folder)

    done = stages.run(str(tmp_path), STAGE, resumes)
    assert storage.list_names(done.url) == ["a", "manifest.json", "run.json"], "the work folder goes when all is done"


def test_what_a_run_left_that_was_killed_behind_its_commit_goes_next_time(tmp_path: Path) -> None:
    done = stages.run(str(tmp_path), STAGE, writes({"a": b"1"}))
    lock = tmp_path / f".{STAGE.folder}.lock"
    assert not lock.exists()

    def leave() -> None:
        storage.write_bytes(storage.join(done.url, "work-1", "part"), b"finished part")
        Path(done.url, ".b.arrow.0123abcd.tmp").write_bytes(b"half")
        lock.touch()

    leave()
    stages.run(str(tmp_path), STAGE, writes({}), DRY)
    assert lock.exists(), "a dry run changes nothing"
    with locks.locked(str(lock)):  # it is being removed: that run ends it
        stages.run(str(tmp_path), STAGE, writes({}))
        assert Path(done.url, "work-1", "part").exists()
    leave()
    assert not stages.run(str(tmp_path), STAGE, writes({})).fresh
    assert sorted(path.name for path in Path(done.url).iterdir()) == ["a", "manifest.json", "run.json"]
    assert [path.name for path in tmp_path.iterdir()] == [STAGE.folder]


def test_what_is_no_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such folder"):
        stages.load(str(tmp_path / "none"))
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(StorageError, match="was not written by nezha-pipe"):
        stages.load(str(tmp_path))


def test_verify_finds_what_is_missing_cut_or_changed(tmp_path: Path) -> None:
    done = stages.run(str(tmp_path), STAGE, writes({name: b"0123456789" for name in ("good", "missing", "cut", "flipped")}))
    assert stages.verify(done.url) == []
    folder = Path(done.url)
    (folder / "missing").unlink()
    (folder / "cut").write_bytes(b"012345678")
    (folder / "flipped").write_bytes(b"0123456788")
    cut, flipped, missing = sorted(stages.verify(done.url))
    assert cut.endswith("cut: 9 bytes, the manifest says 10")
    assert flipped.endswith("flipped: content differs from its SHA-256 in the manifest")
    assert missing.endswith("missing: missing")


def test_the_digest_is_of_the_files_alone(tmp_path: Path) -> None:
    one = stages.run(str(tmp_path), STAGE, writes({"a": b"1"}))
    same = stages.run(str(tmp_path), replace(STAGE, version=2, settings={"other": 1}), writes({"a": b"1"}, counts={"n": 1}))
    content = stages.run(str(tmp_path), replace(STAGE, version=3), writes({"a": b"2"}))
    name = stages.run(str(tmp_path), replace(STAGE, version=4), writes({"b": b"1"}))
    assert one.digest == same.digest
    assert len({one.digest, content.digest, name.digest}) == 3


def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(stages.NotFinished, match=STAGE.folder):
        stages.run(str(tmp_path), STAGE, writes({"a": b"1"}), DRY)
    done = stages.run(str(tmp_path), STAGE, writes({"a": b"1"}))
    assert stages.run(str(tmp_path), STAGE, writes({"a": b"1"}), DRY).manifest == done.manifest
