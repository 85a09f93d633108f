"""MediaWiki as the reference: it writes the dump that we read, and renders the pages that we convert to prose.

Run by hand, `make test-oracle`, where Debian's packages mediawiki, php-cli and php-sqlite3 are installed (MediaWiki 1.39); the
name of this file keeps it out of `make test`. A wiki in Chinese is set up in a temporary folder; templates of zhwiki that carry
text have it in their simplest form, all others are empty pages, so that a page shows what it shows on zhwiki without its boxes.
"""

import bz2
import difflib
import gzip
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

from pipeline.sources.records import ReadTask, Record
from pipeline.wiki import pages
from pipeline.wiki.conversion import mediawiki_tables
from pipeline.wiki.conversion.variants import to_variant
from pipeline.wiki.dumps import dump
from pipeline.wiki.dumps.dump import Page
from pipeline.wiki.dumps.side_input import side_input
from tests.reading import made
from tests.test_conversion_tables import INSTALLED
from tests.wiki_dumps import ZH, Draft, read, source, written, xml

MEDIAWIKI = Path("/usr/share/mediawiki")
pytestmark = pytest.mark.skipif(
    not (MEDIAWIKI / "maintenance/install.php").exists() or shutil.which("php") is None,
    reason="MediaWiki is not installed: apt-get install mediawiki php-cli php-sqlite3",
)

SETTINGS = """
$wgDefaultLanguageVariant = 'zh-cn';
$wgExtraNamespaces[828] = 'Module';
$wgMainCacheType = CACHE_NONE;
$wgJobRunRate = 0;
$wgUseDatabaseMessages = false;
wfLoadExtension( 'Cite' );
wfLoadExtension( 'ParserFunctions' );
"""
COUNTRIES = {
    "ARG": "阿根廷", "BEL": "比利时", "CZE": "捷克", "FRA": "法国", "GBR": "英国", "HUN": "匈牙利", "INA": "印度尼西亚",
    "JPN": "日本", "MEX": "墨西哥", "NAM": "纳米比亚", "POL": "波兰", "PRC": "中华人民共和国", "RUS": "俄罗斯", "SPA": "西班牙",
    "TUR": "土耳其", "USA": "美国", "UZB": "乌兹别克斯坦",
}  # fmt: skip
TEMPLATES = {
    "NoteTA": "{{#if:{{{T|}}}|-{T|{{{T}}}}-}}{{#if:{{{G1|}}}|{{CGroup/{{{G1}}}}}}}{{#if:{{{1|}}}|-{H|{{{1}}}}-}}"
    "{{#if:{{{2|}}}|-{H|{{{2}}}}-}}",
    "CGroup/IT": "-{H|zh-cn:软件;zh-tw:軟體;zh-hk:軟件}--{H|zh-cn:程序;zh-tw:程式}-",
    "Lang": '<span lang="{{{1}}}">-{{{{2}}}}-</span>',
    "Lang-de": "[[德语]]：{{{1}}}",
    "Lang-en": "[[英语]]：{{{1}}}",
    "Link-en": "[[{{{1}}}|{{{3|{{{1}}}}}}]]",
    "Link-de": "[[{{{1}}}|{{{3|{{{1}}}}}}]]",
    "Tsl": "[[{{{3}}}|{{{4|{{{3}}}}}}]]",
    "Fact": "<span>{{{1|}}}</span>",
    "As of": "截至{{{1}}}年",
    "Ruby-ja": "<ruby>{{{1}}}<rp>(</rp><rt>{{{2}}}</rt><rp>)</rp></ruby>",
    "Nobr": "<span style='white-space:nowrap'>{{{1}}}</span>",
    **COUNTRIES,
}
REDIRECTS = {"NoteTA": ("NoteTa",), "Link-en": ("Le",), "Lang": ("Language text",)}
OWN = """{{NoteTA|G1=IT|T=zh-cn:快速网络;zh-tw:快速網路
|1=zh-cn:网络;zh-tw:網路
}}
'''快速網路'''（{{lang-en|'''Quick''' Network}}）是一種[[軟體]]與-{zh-hans:接;zh-hant:線}-的'''''程式'''''，由\
{{le|羅斯·艾什比|Ross Ashby}}<ref name="a">見{{lang|de|Buch}}</ref>\
和{{tsl|en|Walter Cannon|沃爾特}}在-{zh-cn:信息;zh-tw:資訊}-學院寫成<ref name="a" />，與-{三個火槍手}-無關，與-{R|資訊}-也無關。

-{H|zh-cn:打印机;zh-tw:印表機}-他們的印表機能印[https://example.org 樣本]和[[:Category:書|書]]，&nbsp;但印不出 1 < 2 &amp; 3。\
<!-- 不可見 -->
第二行仍是同一段。-{zh-tw:臺灣用語;zh-hk:香港用語;zh-cn:大陸用語}-有三種。

== 歷史 ==
{| class="wikitext"
! 年 !! 事
|-
| 1990 || 表格裡的字
|}
[[File:甲.jpg|thumb|圖片的說明]]
* 第一項：{{nobr|不換行}}
** 第二項有[[維基百科|百科]]
# 編號的一項
: 縮進的一行

{{一個無人知曉的模板|參數=甲}}-{A|zh-cn:鼠标;zh-tw:滑鼠}-，滑鼠是<u>工具</u>，<nowiki>[[X]]</nowiki>，上標<sup>2</sup>，{{#if:|甲|乙}}。

== 參考文獻 ==
<references />

== 外部連結 ==
* [https://example.org 網站]

[[Category:網路]]
"""
MARKED = """'''甲'''<sup>'''①'''</sup>的样本''x''<sub>''i''</sub>独立，均值''μ''<sub>''n''</sub>，\
学名''Salix''[[柳属|''babylonica'']]，剧目''早市''<ref>注</ref>''夜桥''，\
船名''远山''{{lang|en|''Far Hill''}}，L'''Osservatore''与''L'Oréal''和'''''粗斜'''斜''。
一行'''没有完
另一行''也''没有'''完，[http://example.org ''标签'' 乙]''丙''，[[d''e paise]]，''甲''<b></b>''乙''，''''四''''。

据说{{fact|他从未离开|time=2020-01-01}}，第<span style="display:none">005</span>五名，\
{{as of|2019}}有{{formatnum:{{#expr:12*300+1}}}}人，占{{#expr: 1/3 round 2}}，{{#ifexpr: 2 > 1 |大|小}}，\
{{#expr: 7 mod 4 }}和{{#expr: -2.5 round 0}}，{{lang|ja|{{ruby-ja|図書館|としょかん}}}}，\
-{於謙}-與{{lang|ja|學}}。
"""
CONVERT = """$services = MediaWiki\\MediaWikiServices::getInstance();
$language = $services->getLanguageFactory()->getLanguage( 'zh' );
$converter = $services->getLanguageConverterFactory()->getLanguageConverter( $language );
file_put_contents( '{path}', $converter->autoConvert( file_get_contents( '{path}' ), '{variant}' ) );
"""
CUT = {"参考文献", "參考文獻", "外部链接", "外部連結"}


@dataclass(frozen=True)
class Wiki:
    """A wiki in a folder."""

    folder: Path

    def run(self, script: str, *arguments: str, stdin: str = "") -> str:
        command = ["php", f"maintenance/{script}.php", *arguments]
        done = subprocess.run(command, cwd=MEDIAWIKI, input=stdin, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def maintain(self, script: str, *arguments: str, stdin: str = "") -> str:
        return self.run(script, "--conf", str(self.folder / "LocalSettings.php"), *arguments, stdin=stdin)

    def bring_in(self, drafts: list[Draft]) -> None:
        path = self.folder / "import.xml"
        path.write_bytes(xml(drafts))
        self.maintain("importDump", "--no-updates", "--quiet", str(path))

    def dump(self) -> bytes:
        path = self.folder / "dump.xml"
        self.maintain("dumpBackup", "--current", "--quiet", f"--output=file:{path}")
        return path.read_bytes()

    def converted(self, text: str, variant: str) -> str:
        """Plain text as readers of a variant see it."""
        path = self.folder / "text.txt"
        path.write_text(text, encoding="utf-8")
        self.maintain("eval", stdin=CONVERT.format(path=path, variant=variant))
        return path.read_text(encoding="utf-8")

    def visible(self, title: str, text: str) -> str:
        """What a reader of zh-cn sees in paragraphs and lists, a block a line, without the sections that we drop."""
        tree = LexborHTMLParser(self.maintain("parse", "--title", title, stdin=text))
        for node in tree.css(
            "rt, rp, [style='display:none'], table, #toc, .reference, .mw-references-wrap, .thumb, .gallery, style, script"
        ):
            node.decompose()
        lines = []
        wanted = True
        for node in tree.css("h2 .mw-headline, p, li, dd"):
            if node.tag == "span":
                wanted = node.text().strip() not in CUT
            elif wanted:
                line = node.text()
                for inner in node.css("li, dd"):
                    line = line.replace(inner.text(), "") if inner != node else line
                lines.append(" ".join(line.split()))
        return "\n".join(filter(None, lines))


@pytest.fixture(scope="module")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> Wiki:
    wiki = Wiki(tmp_path_factory.mktemp("wiki"))
    (wiki.folder / "data").mkdir()
    places = ("--dbtype=sqlite", "--dbname=wiki", f"--dbpath={wiki.folder}/data", f"--confpath={wiki.folder}")
    server = ("--server=http://localhost", "--scriptpath=/w", "--lang=zh", "--pass=of-no-one-12345")
    wiki.run("install", *places, *server, "Wiki", "Admin")
    with (wiki.folder / "LocalSettings.php").open("a") as settings:
        settings.write(SETTINGS)
    return wiki


def _template_drafts(text: str) -> list[Draft]:
    """The templates that a page calls: with text, as redirects, or empty."""
    drafts = [Draft(f"Template:{name}", content, 10) for name, content in TEMPLATES.items()]
    for target, names in REDIRECTS.items():
        drafts += [
            Draft(f"Template:{_title(name)}", f"#REDIRECT [[Template:{target}]]", 10, f"Template:{target}") for name in names
        ]
    known = {draft.title for draft in drafts}
    called = {f"Template:{_title(name)}" for name in re.findall(r"\{\{([^|{}<#:!]+)", text)}
    called |= {f"Template:CGroup/{name.strip()}" for name in re.findall(r"\|\s*G\d+=([^|{}]+)", text)}
    return drafts + [Draft(title, "<noinclude></noinclude>", 10) for title in sorted(called - known)]


def _title(name: str) -> str:
    name = " ".join(name.split())
    return name[:1].upper() + name[1:]


def _prose(wiki: Wiki, tmp_path: Path, title: str) -> str:
    """The article as we read it from the dump that MediaWiki writes."""
    file = written(tmp_path / "wiki.xml.bz2", bz2.compress(wiki.dump()))
    side = side_input(source(), [file], str(tmp_path / "run"))
    [page_id] = [page.page_id for page in read(file) if isinstance(page, Page) and page.title == title]
    [record] = [
        record
        for task in dump.split(file, 1 << 30)
        for record in made(pages.raw(source(), task, side), {})
        if isinstance(record, Record) and record.origin == f"wiki.xml.bz2#{page_id}"
    ]
    return record.text


def _recall_and_precision(prose: str, truth: str) -> tuple[float, float, list[str]]:
    """Recall and precision of our 8-grams of letters, and the lines that are not fully recalled."""

    def grams(text: str) -> set[str]:
        characters = "".join(filter(str.isalnum, text))
        return {characters[start : start + 8] for start in range(len(characters) - 7)}

    ours, theirs = grams(prose), grams(truth)
    lost = [
        f"{line}\n    lost: {' '.join(sorted(grams(line) - ours))}" for line in truth.split("\n") if not grams(line) <= ours
    ]
    return len(ours & theirs) / len(theirs), len(ours & theirs) / len(ours), lost


def test_a_dump_that_mediawiki_writes_is_read_as_it_was_put_in(wiki: Wiki, tmp_path: Path) -> None:
    drafts = [
        Draft("柏林", "'''柏林'''是<ref>&nbsp;\"甲\" & '乙'</ref>首都。\n\n第二段。"),
        Draft("伯林", "#REDIRECT [[柏林]]", 0, "柏林"),
        Draft("Template:LDe", "#REDIRECT [[Template:Lang-de]]", 10, "Template:Lang-de"),
        Draft("Module:CGroup/Games", "return { name = 'IT', content = { 'zh-cn:软件;zh-tw:軟體' } }", 828),
        Draft("用户:甲/空", "", 2),
    ]
    wiki.bring_in(drafts)
    data = wiki.dump()
    for name, packed in (("d.xml", data), ("d.xml.bz2", bz2.compress(data, 1))):
        found = {page.title: page for page in read(written(tmp_path / name, packed), 1 << 12) if isinstance(page, Page)}
        for draft in drafts:
            title = draft.title.replace("用户:", "User:")
            assert (found[title].text, found[title].namespace, found[title].redirect) == (
                draft.text,
                draft.namespace,
                draft.redirect,
            )
    assert dump.site(str(tmp_path / "d.xml")) == "http://localhost/w/index.php/"


def test_our_own_page_reads_as_mediawiki_shows_it(wiki: Wiki, tmp_path: Path) -> None:
    wiki.bring_in([Draft("快速網路", OWN), *_template_drafts(OWN)])
    truth = wiki.visible("快速網路", OWN)
    prose = _prose(wiki, tmp_path, "快速網路")
    kept, true, lost = _recall_and_precision(prose, truth)
    print(f"\n{kept:.1%} of what is shown is kept, {true:.1%} of what is kept is shown\n{truth}\n---\n{prose}")
    assert kept > 0.99, lost
    assert true > 0.99


def test_quotes_marks_and_expressions_read_as_mediawiki_shows_them(wiki: Wiki, tmp_path: Path) -> None:
    wiki.bring_in([Draft("標記", MARKED), *_template_drafts(MARKED)])
    truth = wiki.visible("標記", MARKED)
    prose = _prose(wiki, tmp_path, "標記")
    print(f"\n{truth}\n---\n{prose}")
    assert "".join(prose.split()) == "".join(truth.split())


def test_the_real_page_reads_as_mediawiki_shows_it(wiki: Wiki, tmp_path: Path) -> None:
    if not ZH.exists():
        pytest.skip(f"no {ZH}: the real dumps are not here")
    [page] = [page for page in dump.pages(ReadTask(str(ZH), ZH.name, 0, None, 0)) if isinstance(page, Page)]
    wiki.bring_in([Draft(page.title, page.text), *_template_drafts(page.text)])
    truth = wiki.visible(page.title, page.text)
    prose = _prose(wiki, tmp_path, page.title)
    kept, true, lost = _recall_and_precision(prose, truth)
    print(f"\n{kept:.2%} of what is shown is kept, {true:.2%} of what is kept is shown; lines with losses:\n" + "\n".join(lost))
    assert kept > 0.99, lost
    assert true > 0.99


PASSAGES = Path(__file__).parents[2] / "shared" / "data" / "tasks" / "cmrc2018" / "cmrc2018_trial.json.gz"
LIMITS = {"opencc": 2.5, "mediawiki": 0.5}
"""Differences from MediaWiki per 1,000 characters, with both sets of tables."""


def _differences(ours: str, theirs: str) -> int:
    """Count characters that differ. MediaWiki 1.39 has tables of 2022; since then Hong Kong's 佈 is 布 there too."""
    number = 0
    for a, b in zip(ours.replace("佈", "布").split("\n"), theirs.replace("佈", "布").split("\n"), strict=True):
        steps = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes() if a != b else []
        number += sum(max(j - i, n - m) for step, i, j, m, n in steps if step != "equal")
    return number


@pytest.mark.parametrize("tables", ["opencc", "mediawiki"])
def test_plain_text_reads_as_mediawiki_shows_it(wiki: Wiki, tables: str) -> None:
    """Passages of Wikipedia in simplified script, the same in traditional script, and sentences of both in turn."""
    if not PASSAGES.exists():
        pytest.skip(f"no {PASSAGES}: the passages are not here")
    if tables == "mediawiki" and not INSTALLED:
        pytest.skip(f"{mediawiki_tables.PACKAGE} is not installed")
    with gzip.open(PASSAGES, "rt", encoding="utf-8") as file:
        paragraphs = [paragraph["context"] for page in json.load(file)["data"] for paragraph in page["paragraphs"]]
    passages = dict.fromkeys(re.sub(r"-\{|\}-|[<>&]|\s+", "", text) for text in paragraphs)
    simplified = wiki.converted("\n".join(passages), "zh-hans")
    traditional = wiki.converted(simplified, "zh-tw")
    sentences = [re.split("(?<=。)", text) for text in (simplified, traditional)]
    texts = {"simplified": simplified, "traditional": traditional, "both": "".join(map("".join, zip(*sentences, strict=False)))}
    rates = {}
    for variant in ("zh-hans", "zh-cn", "zh-sg", "zh-hant", "zh-tw", "zh-hk", "zh-mo"):
        for name, text in texts.items():
            ours = to_variant(text, variant, tables)
            rates[f"{name} to {variant}"] = 1000 * _differences(ours, wiki.converted(text, variant)) / len(text)
    print(f"\n{tables}: differences per 1,000 of {len(simplified):,} characters")
    print("\n".join(f"  {name:24} {rate:.2f}" for name, rate in rates.items()))
    assert max(rates.values()) < LIMITS[tables], rates
