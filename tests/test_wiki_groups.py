"""Public groups of conversion rules: Lua modules and old templates, read without running them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.wiki.conversion import groups
from pipeline.wiki.conversion.converter import Converter

MODULE = r"""
--[[ 本模块是公共转换组，
     { type = 'item', rule = 'zh-cn:注释;zh-tw:註解' } ]]
local Item = require('Module:CGroup/core').Item;
-- Item('comment', 'zh-cn:行注释;zh-tw:行註解'),
local function Item(o, r)
    return { type = 'item', original = o, rule = r };
end

return {
    name = '信息技术',
    description = [=[含 ]] 的说明，rule = 'zh-cn:说明']=],
    content = {
        { type = 'text', text = [[
== 标题 ==
]] },
        { type = 'text', 'zh-cn:标题;zh-tw:標題' },
        { type = 'item', original = 'user', rule = 'zh-cn:用户;zh-tw:使用者;' },
        { rule = --[[内]] "zh-cn:内存; zh-tw:記憶體;", original = 'memory', type = 'item' }, -- 后注
        'zh-cn:裸;zh-tw:裸字串',
        { 'zh-cn:单;zh-tw:單' },
        { 'original', 'zh-cn:双;zh-tw:雙' };
        Item('it\'s', 'zh-cn:甲\'乙; zh-tw:丙;'),
        Item(nil, "zh-cn:\228\184\173\xE6\x96\x87\n"),
        Item( 'joined', 'zh-cn:拼' .. '接;' ..
            "zh-tw:連" ),
        ['x'] = 'zh-cn:键',
        { ['type'] = 'item', ['rule'] = [[zh-cn:长括号;zh-tw:長]] },
        { type = 'import', import = 'Physics' },
        { type = 'item', original = 'empty', rule = '' },
        unknown.call(1, 2), nil, 3.14, true, #t,
    },
}
"""


def test_every_form_of_an_entry() -> None:
    assert groups.parse(MODULE) == [
        ("zh-cn:用户;zh-tw:使用者;", ""),
        ("zh-cn:内存; zh-tw:記憶體;", ""),
        ("zh-cn:裸;zh-tw:裸字串", ""),
        ("zh-cn:单;zh-tw:單", ""),
        ("zh-cn:双;zh-tw:雙", ""),
        ("zh-cn:甲'乙; zh-tw:丙;", ""),
        ("zh-cn:中文", ""),
        ("zh-cn:拼接;zh-tw:連", ""),
        ("zh-cn:长括号;zh-tw:長", ""),
        ("", "Physics"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "return require('Module:CGroup/IT')",
        "-- 重定向\nreturn require [[Module:CGroup/IT]]",
        'return require( "模組:CGroup/IT" );',
        "return { name = 'IT' }",
        "local p = { content = { { type = 'import', import = 'IT' } } }\nreturn p",
        "local p = {}\np.content = { { type = 'import', import = 'IT' } }\nreturn p",
        "local content = { { type = 'import', import = 'IT' } }\nreturn { name = 'x', content = content }",
        "return { content = { require('Module:CGroup/IT') } }",
    ],
)
def test_modules_that_stand_for_another(text: str) -> None:
    assert groups.parse(text) == [("", "IT")]


def test_a_table_without_content_is_the_content() -> None:
    assert groups.parse("return { 'zh-cn:甲;zh-tw:乙', { 'zh-cn:丙' } }") == [("zh-cn:甲;zh-tw:乙", ""), ("zh-cn:丙", "")]


def test_old_templates() -> None:
    text = """{{CGroupH|name=科学|desc=说明}}<!-- {{CItem|zh-cn:注释}} -->
{{CItem|zh-cn:甲; zh-tw:乙;|desc=x|original=A}} {{CItemHidden|original=B|1=zh-cn:丙;zh-tw:丁}}
{{CItemLan|zh:指環王;zh-hant:魔戒|The Lord of the Rings}} {{CItemLan/R|Dune|zh-cn:沙丘}}
{{CI|新生{{=}}>zh-cn:宿命}} -{H|zh-cn:戊;zh-tw:己}- {{CItem|zh-cn:{{lang|ja|の}}}} {{CGroup/Physics}} {{other|zh-cn:x}}"""
    assert groups.parse_template(text) == [
        ("zh-cn:甲; zh-tw:乙;", ""),
        ("zh-cn:丙;zh-tw:丁", ""),
        ("zh:指環王;zh-hant:魔戒", ""),
        ("zh-cn:沙丘", ""),
        ("新生=>zh-cn:宿命", ""),
        ("zh-cn:戊;zh-tw:己", ""),
        ("zh-cn:の", ""),
        ("", "Physics"),
    ]


def test_imports_are_followed_once() -> None:
    table = {
        "A": [("a1", ""), ("", "B"), ("a2", "")],
        "B": [("b", ""), ("", "A"), ("", "C"), ("", "missing")],
        "C": [("c", ""), ("", "B")],
    }
    assert groups.collect("A", table) == ["a1", "b", "c", "a2"]
    assert groups.collect("C", table) == ["c", "b", "a1", "a2"]
    assert groups.collect("missing", table) is None


def test_a_page_uses_a_group_and_what_it_imports() -> None:
    texts = {"IT": MODULE, "Physics": "{{CItem|zh-cn:激光;zh-tw:雷射}}", "资讯": "return require('Module:CGroup/IT')"}
    converter = Converter("zh-cn", groups.Groups(texts))
    page = converter.convert("使用者以雷射讀記憶體", title="記憶體", note_ta=[{"G1": "资讯"}])
    assert page.text == "用户以激光读内存" and page.title == "内存"
    assert (
        Converter("zh-tw", groups.Groups(texts)).convert("用户用激光读内存", note_ta=[{"G1": "IT"}]).text
        == "使用者用雷射讀記憶體"
    )


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Module:CGroup/IT", "IT"),
        ("模块:CGroup/Doctor_Who", "Doctor Who"),
        ("模組:CGroup/电子游戏/任天堂", "电子游戏/任天堂"),
        ("Template:CGroup/Physics", "Physics"),
        ("Module:CGroup/core", None),
        ("Module:CGroup/IT/doc", None),
        ("Module:CGroupViewer", None),
        ("Template:NoteTA", None),
    ],
)
def test_names(title: str, name: str | None) -> None:
    assert groups.name(title) == name


def test_what_is_not_understood_is_passed_over() -> None:
    assert groups.parse("") == groups.parse("return") == groups.parse("return { content = {") == []
    assert groups.parse("return { content = { 'zh-cn:甲") == []
    assert groups.parse("return { content = { f(g(h), { 'zh-cn:甲' }), 'zh-cn:乙' } }") == [("zh-cn:乙", "")]
    assert groups.parse("return " + "{" * 5000 + "'x'" + "}" * 5000) == []


@given(st.text("{}()[]=,;'\".-\\n returnItem rule content type甲乙:z", max_size=120))
def test_never_fails(text: str) -> None:
    for each in (text, "return {content={" + text, "return {" + text + "}"):
        assert all(isinstance(rule, str) and isinstance(imported, str) for rule, imported in groups.parse(each))
        assert isinstance(groups.parse_template(each), list)
