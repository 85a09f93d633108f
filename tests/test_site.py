"""The site is built without a warning, its search finds Chinese, and the Chinese front page says what the English one does."""

import json
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)]+)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make site` builds it: a link or a heading that is not there, or a page in no group, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = (
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-c",
        "docs",
        "-d",
        str(folder / "doctrees"),
        ".",
        str(folder / "html"),
    )
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_in_the_site_and_needs_no_network(site: Path) -> None:
    pages = ["README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"{p.relative_to(ROOT)}" for p in markdown())]
    for page in pages:
        html = (site / page).with_suffix(".html").read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"(https?:[^\"]*)\"", html)
        assert not loaded, f"{page} loads {loaded[0]} from the network"


def markdown() -> list[Path]:
    """The pages in docs/."""
    return sorted((ROOT / "docs").rglob("*.md"))


def test_search_finds_parts_of_chinese_words(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for pair in ("语料", "去重", "维基"):
        assert json.dumps(pair) in index, f"{pair} is not in the index"
    # The browser cuts what is typed as the index does.
    assert r"[\u3400-\u9fff]" in (site / "_static" / "language_data.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("query", "found"), [("中文编码器", "README.zh"), ("damaged checkpoint", "errors"), ("词表", "README.zh")]
)
def test_a_browser_finds_words_without_a_server(site: Path, query: str, found: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--virtual-time-budget=60000")
    url = f"file://{site}/search.html?q={urllib.parse.quote(query)}"
    done = subprocess.run([browser, *options, "--dump-dom", url], capture_output=True, text=True, check=False, timeout=300)
    results = re.findall(r'<li class="kind-[^"]*"><a href="([^"?#]*)', done.stdout)
    assert any(found in one for one in results), f"{query}: {results}\n{done.stderr[-2_000:]}"


def blocks(page: str) -> list[str]:
    """The fenced blocks without their comments, but for the drawing and the tree of files."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [re.sub(r" +#.*", "", text) for name, text in found if name != "tree" and "─▶" not in text]


def prose(page: str) -> str:
    """A page without blocks."""
    return re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)


def test_the_chinese_front_page_has_the_commands_and_output_of_the_english_one() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_the_chinese_front_page_has_the_links_of_the_english_one() -> None:
    def links(page: str) -> set[str]:
        return {link for link in LINK.findall(page) if link.partition("#")[0] not in ("README.md", "README.zh.md")}

    chinese, english = links(CHINESE), links(ENGLISH)
    assert chinese == english, f"README.zh.md: add {sorted(english - chinese)}, remove {sorted(chinese - english)}"
    rows = [
        [re.findall(r"\]\(([^)]+)\)", line) for line in page.splitlines() if line.startswith("| [")]
        for page in (CHINESE, ENGLISH)
    ]
    assert rows[0] == rows[1], "README.zh.md: its table of pages has other rows"


def test_the_chinese_front_page_has_the_figures_and_options_of_the_english_one() -> None:
    for what in (r"(?<![\w.])\d[\d,.]*\d|(?<![\w.])\d(?!\w)", r"`[^`]+`"):
        chinese, english = ({" ".join(found.split()) for found in re.findall(what, prose(page))} for page in (CHINESE, ENGLISH))
        assert chinese == english, f"README.zh.md: add {sorted(english - chinese)}, remove {sorted(chinese - english)}"
