"""Inputs: files, folders and globs, and digests that are not computed twice."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import CorpusError, StorageError
from pipeline.sources import inputs


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"内容 {name}")
    return folder


def names(*urls: object) -> list[str]:
    return [file.name for file in inputs.expand([str(url) for url in urls])]


def test_files_folders_and_globs(tmp_path: Path) -> None:
    make(tmp_path, "a/2.txt", "a/1.txt", "a/deep/3.jsonl", "a/.hidden", "a/_SUCCESS", "b/4.txt")
    make(tmp_path, "a/.cache/huggingface/1.txt.metadata", "a/_temporary/0/part.txt")
    assert names(tmp_path / "a/1.txt") == ["1.txt"]
    assert names(tmp_path / "a/.hidden") == [".hidden"], "a hidden file that is named is read"
    assert names(tmp_path / "a/_temporary/0") == ["part.txt"]
    assert names(tmp_path / "a") == ["1.txt", "2.txt", "deep/3.jsonl"]
    assert names(tmp_path / "a/*.txt") == ["1.txt", "2.txt"]
    assert names(tmp_path / "*/*.txt") == ["a/1.txt", "a/2.txt", "b/4.txt"]
    assert names(tmp_path / "a/**/*.jsonl") == ["deep/3.jsonl"]
    assert names(tmp_path / "a", tmp_path / "b") == ["1.txt", "2.txt", "4.txt", "deep/3.jsonl"]


def test_the_same_from_a_store() -> None:
    for name in ("a/1.txt", "a/deep/2.txt"):
        storage.write_bytes(f"memory://inputs/{name}", name.encode())
    found = inputs.expand(["memory://inputs/a"])
    assert [(file.name, file.size) for file in found] == [("1.txt", 7), ("deep/2.txt", 12)]
    assert storage.read_bytes(found[0].url) == b"a/1.txt"
    assert names("memory://inputs/*/*.txt") == ["a/1.txt"]


def test_a_relative_path_and_a_name_with_signs_of_a_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "x/[2019]news.txt", "x/中文 文件.txt")
    monkeypatch.chdir(tmp_path)
    assert names("x") == ["[2019]news.txt", "中文 文件.txt"]
    (file,) = inputs.expand(["x/[2019]news.txt"])
    assert storage.read_bytes(file.url) == "内容 x/[2019]news.txt".encode()


def test_files_of_one_name_get_unique_names(tmp_path: Path) -> None:
    make(tmp_path, "a/1.txt", "b/1.txt")
    assert len(set(names(tmp_path / "a", tmp_path / "b"))) == 2
    with pytest.raises(CorpusError, match="named twice"):
        inputs.expand([str(tmp_path), str(tmp_path / "a")])
    with pytest.raises(CorpusError, match="named twice"):
        inputs.expand([str(tmp_path / "a"), str(tmp_path / "a/1.txt")])


def test_an_input_that_is_added_renames_no_file(tmp_path: Path) -> None:
    make(tmp_path, "p/2024/news.jsonl", "p/2024/1.txt", "p/2025/news.jsonl", "p/2025/2.txt", "q/2025/news.jsonl")
    one, two, three = (tmp_path / name for name in ("p/2024", "p/2025", "q/2025"))
    named = ["1.txt", "news.jsonl"]
    assert names(one) == named
    assert set(names(one, two)) == {*named, "2.txt", "2025/news.jsonl"}
    assert set(names(one, two, three)) == {*named, "2.txt", "2025/news.jsonl", "q/2025/news.jsonl"}
    found = {file.name: storage.read_bytes(file.url).decode() for file in inputs.expand([str(one), str(two)])}
    assert found["news.jsonl"] == "内容 p/2024/news.jsonl"
    assert found["2025/news.jsonl"] == "内容 p/2025/news.jsonl"


@pytest.mark.parametrize("url", ["{tmp}/none", "{tmp}/none/*.txt", "{tmp}/empty", "memory://none/x"])
def test_an_input_that_names_nothing_is_refused(tmp_path: Path, url: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no such file, or an empty folder; check the input"):
        inputs.expand([url.format(tmp=tmp_path)])


@pytest.mark.parametrize("url", ["{tmp}/**.txt", "memory://in/news**"])
def test_two_stars_beside_other_characters_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(
        CorpusError, match=r"^\S+: \*\* must be a whole path component; write \*\*/\* to match files of any name$"
    ):
        inputs.expand([url.format(tmp=tmp_path)])


@pytest.mark.parametrize("rights", [0o000, 0o444, 0o111])
def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(tmp_path: Path, rights: int) -> None:
    make(tmp_path, "in/2024/1.txt", "in/2025/2.txt", "in/2025/deep/3.txt", "in/lost+found/4.txt", "in/_tmp/5.txt")
    program = (
        "import sys; from pipeline.sources import inputs; from pipeline.errors import UserError\n"
        "for url in sys.argv[1:]:\n"
        "    try: print(*(file.name for file in inputs.expand([url])))\n"
        "    except UserError as error: print(error)"
    )
    urls = [f"{tmp_path}/in{more}" for more in ("", "/**/*.txt", "/20*/*.txt", "/*/*.txt", "/2024/*.txt", "/*24/*.txt")]
    closed = [tmp_path / "in" / name for name in ("2025", "lost+found", "_tmp")]
    for folder in closed:
        folder.chmod(rights)
    # Root may read anything; without these two capabilities it is an ordinary user.
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        done = subprocess.run([*without, sys.executable, "-c", program, *urls], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("setpriv is not installed")
    finally:
        for folder in closed:
            folder.chmod(0o755)
    *refused, here, elsewhere = done.stdout.splitlines()
    assert (here, elsewhere) == ("1.txt", "2024/1.txt"), "folders that the glob does not visit may be unreadable"
    assert len(refused) == 4, done.stderr
    for message in refused:
        assert message.startswith((f"{closed[0]}", f"{closed[1]}", urls[0]))
        assert message.endswith(": permission denied; check the owner of the folder, or the credentials")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xd6\xd0.txt")).write_text("中")
    with pytest.raises(CorpusError, match=r"a name that is not UTF-8.*rename it"):
        inputs.expand([str(tmp_path)])


def digest(folder: Path, root: Path) -> str:
    return inputs.digest(inputs.digests(inputs.expand([str(folder)]), str(root)))


def test_a_digest_stands_for_names_and_contents_not_for_places(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "x/1.txt", "x/2.txt"), make(tmp_path / "two", "x/1.txt", "x/2.txt")
    root = tmp_path / "root"
    first = digest(one, root)
    assert digest(two, root) == first
    (two / "x/2.txt").rename(two / "x/3.txt")
    assert digest(two, root) != first
    (one / "x/2.txt").write_text("other")
    assert digest(one, root) != first


def test_a_digest_is_taken_again_only_of_a_changed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "in", "1.txt", "2.txt")
    taken: list[str] = []
    whole = storage.sha256

    def noting(url: str) -> str:
        taken.append(storage.base_name(url))
        return whole(url)

    monkeypatch.setattr(storage, "sha256", noting)
    monkeypatch.setattr(inputs, "SETTLED_SECONDS", 0.0)

    def digest() -> dict[str, str]:
        taken.clear()
        return inputs.digests(inputs.expand([str(tmp_path / "in")]), str(tmp_path / "root"))

    first = digest()
    assert sorted(taken) == ["1.txt", "2.txt"]
    assert (digest(), taken) == (first, [])
    os.utime(tmp_path / "in/1.txt", (1, 1))
    assert (digest(), taken) == (first, ["1.txt"])
    (tmp_path / "in/2.txt").write_text("longer than before")
    assert digest()["2.txt"] != first["2.txt"]
    assert taken == ["2.txt"]
    (tmp_path / "root" / inputs.CACHE).write_text("{ damaged")
    assert digest()["1.txt"] == first["1.txt"]


ABOUT = [
    (("README.md", "LICENSE.txt", "data/a.jsonl", "dataset_infos.json"), ["README.md", "LICENSE.txt", "dataset_infos.json"]),
    (("README_zh.md", "a.txt", "licence", "NOTICE", "load.py"), ["README_zh.md", "licence", "NOTICE", "load.py"]),
    (("data-0.arrow", "dataset_info.json", "state.json"), ["dataset_info.json", "state.json"]),
    (("a.jsonl", "state.json", "notice_2019.txt", "readmission.txt", "code.py"), []),
    (("docs/README.md", "docs/guide.md", "LICENSE.md"), ["LICENSE.md"]),
    (("README.md", "LICENSE"), []),
    (("README.md",), []),
]


@pytest.mark.parametrize(("there", "about"), ABOUT)
def test_files_about_a_corpus_are_left_out_and_listed(tmp_path: Path, there: tuple[str, ...], about: list[str]) -> None:
    make(tmp_path / "in", *there)
    skipped: list[str] = []
    found = [file.name for file in inputs.expand([str(tmp_path / "in")], skipped)]
    assert (found, skipped) == (sorted({*there} - {*about}), sorted(about))
    assert [file.name for file in inputs.expand([str(tmp_path / "in" / there[0])])] == [Path(there[0]).name]


@pytest.mark.parametrize("later", [0, 1])
def test_other_content_of_the_same_size_and_time_is_noticed(
    tmp_path: Path, later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SETTLED_SECONDS", 0.0)
    path = make(tmp_path / "in", "1.txt") / "1.txt"
    first, status = digest(path.parent, tmp_path), path.stat()
    time.sleep(0.05)  # longer than a tick of the file system's clock
    path.write_text("别的 1.txt")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + later))
    assert path.stat().st_size == status.st_size
    assert digest(path.parent, tmp_path) != first
    for name in ("new", "1.txt"):  # replaced by another file
        (tmp_path / name).write_text("再来 1.txt")
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns + later))
    second = digest(path.parent, tmp_path)
    (tmp_path / "new").rename(path)
    assert digest(path.parent, tmp_path) not in (first, second)


def test_a_file_that_was_just_written_is_hashed_again_next_time(tmp_path: Path) -> None:
    """It may be written again within the same tick of the clock, and then has the same stamp."""
    make(tmp_path / "in", "1.txt")
    digest(tmp_path / "in", tmp_path)
    assert not (tmp_path / inputs.CACHE).exists()


def test_a_cache_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    make(tmp_path / "in", "1.txt")
    (tmp_path / inputs.CACHE).mkdir()
    with pytest.raises(StorageError, match=rf"{inputs.CACHE}: is a folder"):
        digest(tmp_path / "in", tmp_path)


def test_a_store_without_stamps_is_hashed_every_time(tmp_path: Path) -> None:
    storage.write_bytes("memory://unstamped/1.txt", b"1")
    (file,) = inputs.expand(["memory://unstamped/1.txt"])
    assert file.stamp.startswith("created=")
    inputs.digests([replace(file, stamp="")], str(tmp_path))
    assert not (tmp_path / inputs.CACHE).exists()
    assert storage.stamp_of({"size": 3}) == ""
