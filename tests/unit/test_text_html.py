"""HTML to visible text, links and facts."""

import html
from html.entities import html5

import pytest

from models.entities import unescape
from models.html_text import HtmlFacts, HtmlText, html_to_text
from models.limits import DEFAULT_LIMITS, ScanLimits
from models.links import Link, LinkCollector


def read(
    page: str, limits: ScanLimits = DEFAULT_LIMITS
) -> tuple[HtmlText, HtmlFacts, tuple[Link, ...]]:
    facts, collector = HtmlFacts(), LinkCollector(limits)
    text = html_to_text(page, limits, facts, collector)
    return text, facts, collector.links()


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("plain", "plain"),
        ("a <b>b</b> c", "a b c"),
        ("V<b>ia</b>g<span>ra</span>", "Viagra"),
        ("V<!-- x -->iagra", "Viagra"),
        ("one<br>two<p>three</p>four<div>five</div>", "one\ntwo\nthree\nfour\nfive"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("  much \n\t space  ", "much space"),
        ("<title>no</title><style>no</style><script>no<b></script>yes", "yes"),
        ("<SCRIPT type=x>no</p></SCRIPT >yes", "yes"),
        ("<script>no</scripty>no</script>yes", "yes"),
        ("<style>no", ""),
        ("<!-- no > no -->yes", "yes"),
        ("<!-->yes", "yes"),
        ("<!--->yes", "yes"),
        ("<!-- no --!>yes", "yes"),
        ("<!-- no ", ""),
        ("<!DOCTYPE html>yes<?php no ?>yes", "yesyes"),
        ("<![if !mso]>yes<![endif]>", "yes"),
        ("</ no>yes", "yes"),
        ("1 < 2 <3 <> 4", "1 < 2 <3 <> 4"),
        ('<a title="a > b">yes</a>', "yes"),
        ("<a title='a > b'>yes</a>", "yes"),
        ("<a title=a'b>yes</a>", "yes"),
        ("<b'>yes", "yes"),
        ("yes<a href='no", "yes"),
        ("gr&uuml;&#223;e &#x1F600; &amp;amp; &euro;", "grüße 😀 &amp; €"),
        ("&#128; &#0; &#xD800; &#99999999999;", "€ \ufffd \ufffd \ufffd"),
        ("a\0b", "ab"),
        ("zero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
        ("a&zwnj;&nbsp;b", "a b"),
        ("<textarea>yes</textarea>", "yes"),
        ("<noscript>yes</noscript>", "yes"),
        ("<iframe>no</iframe>yes", "yes"),
    ],
)
def test_visible_text(page: str, text: str) -> None:
    assert read(page)[0].visible == text


@pytest.mark.parametrize(
    ("page", "visible", "hidden"),
    [
        ('<div style="display:none">no</div>yes', "yes", "no"),
        ('<div style="DISPLAY :\n none ">no</div>yes', "yes", "no"),
        ('<p style="color:red;visibility:hidden">no<p>yes', "yes", "no"),
        ('<span style="font-size:0px">no</span>yes', "yes", "no"),
        ('<span style="font-size:0.9em">yes</span>', "yes", ""),
        ('<span style="font-size:0.0px">no</span>', "", "no"),
        ('<span style="opacity:0">no</span>', "", "no"),
        ('<span style="opacity:0.5">yes</span>', "yes", ""),
        ('<span style="mso-hide:all">no</span>', "", "no"),
        ("<div hidden>no</div>yes", "yes", "no"),
        ('<div class="x" hidden>no</div>yes', "yes", "no"),
        (
            '<div style="display:none" class="hidden">no</div><b class="a hidden b">yes</b>',
            "yes",
            "no",
        ),
        ('<div style="overflow:hidden">yes</div>', "yes", ""),
        ('<div style="display:none">no<div>no</div>no</div>yes', "yes", "no\nno\nno"),
        ('<div style="display:none"><b>no</div>yes', "yes", "no"),
        ('<div><span style="display:none">no</div>yes', "yes", "no"),
        ('<div style="display:none">no</span>no</div>yes', "yes", "nono"),
        ('<td style="display:none">no<td>yes', "yes", "no"),
        ('<td style="display:none"><table><td>no</table></td>yes', "yes", "no"),
        ('<img style="display:none">yes', "yes", ""),
        ('<br style="display:none">yes', "yes", ""),
        ('<div style="display:none">no', "", "no"),
    ],
)
def test_hidden_text_is_kept_apart(page: str, visible: str, hidden: str) -> None:
    text, facts, _ = read(page)

    assert (text.visible, text.hidden) == (visible, hidden)
    assert facts.hidden_chars == len(hidden)
    assert facts.hidden_elements == (1 if hidden else 0)


def test_facts_are_counted() -> None:
    _, facts, _ = read(
        "<p>a<!-- c --><script>x</script><iframe src=x></iframe>"
        '<img src="http://x.example/1.png" width="1" height=1><img src=cid:1><IMG SRC="//x/y">'
        '<form action="http://x.example/"><font color="#FFFFFF">white</font>'
        '<span style="color: white">white</span><a href="http://x.example">l</a>zero\u200bwidth'
    )

    assert facts == HtmlFacts(
        parts=1,
        tags=16,
        images=3,
        remote_images=2,
        tiny_images=1,
        links=2,
        forms=1,
        scripts=1,
        frames=1,
        white_elements=2,
        invisible_chars=1,
        comments=1,
    )


def test_white_text_on_a_coloured_page_is_not_counted() -> None:
    assert read("<body bgcolor=black><font color=white>x</font>")[1].white_elements == 0


@pytest.mark.parametrize(
    ("page", "links"),
    [
        ('<a href="http://a.example/">text</a>', [("http://a.example/", "text")]),
        ("<A HREF=http://a.example/ class=x>a <b>b</b><br>c</A>", [("http://a.example/", "a b c")]),
        ("<a href='x?a=1&amp;b=2&copy=3'>t</a>", [("x?a=1&b=2&copy=3", "t")]),
        ("<a class=x\nhref\n=\n'x'>t</a>", [("x", "t")]),
        ("<a data-href=no>t</a>", []),
        ("<a name=top>t</a>", []),
        ('<a href="ht\ntp://a.example/\t ">t</a>', [("http://a.example/", "t")]),
        ("<a href=x>one<a href=y>two</a>", [("x", "one"), ("y", "two")]),
        ("<a href=x>unclosed", [("x", "unclosed")]),
        ("<a href=x><img src=y></a>", [("x", "")]),
        ("<area href=x>", [("x", "")]),
        ("<a href=''>t</a>", []),
        ("<!-- <a href=no>t</a> --><script><a href=no></script>", []),
    ],
)
def test_links(page: str, links: list[tuple[str, str]]) -> None:
    assert [(link.url, link.text) for link in read(page)[2]] == links


def test_a_form_is_a_link_of_its_own_kind() -> None:
    assert read('<form method=post action="http://a.example/x">')[2] == (
        Link("http://a.example/x", "", "form"),
    )


def test_links_keep_the_first_and_the_last() -> None:
    page = "".join(f"<a href=x{number}>t</a>" for number in range(1000))
    links = read(page, ScanLimits(max_links=8))[2]

    assert [link.url for link in links] == ["x0", "x1", "x2", "x3", "x4", "x5", "x998", "x999"]


def test_long_links_are_cut() -> None:
    limits = ScanLimits(max_url_chars=10, max_anchor_chars=5)

    assert read(f"<a href={'x' * 99}>{'y' * 99}</a>", limits)[2] == (
        Link("x" * 10, "y" * 5, "html"),
    )


def test_of_too_many_tags_the_end_is_read() -> None:
    page = "<b>x</b>" * 5000 + "<p>last spam</p>"
    text, facts, _ = read(page, ScanLimits(max_tags=100))

    assert text.visible.startswith("x" * 50)
    assert text.visible.endswith("last spam")
    assert facts.tags < 6000


def test_references_agree_with_the_standard_library() -> None:
    for name in html5:
        text = f"&{name} x&{name}y &{name}="
        assert unescape(text) == html.unescape(text)
    for code in (*range(0x3000), *range(0x3000, 0x110000 + 1000, 61)):
        text = f"&#{code}; &#x{code:x}"
        expected = html.unescape(text)
        if expected == " ":  # the library drops control and non-characters, a browser keeps them
            expected = f"{chr(code)} {chr(code)}"
        assert unescape(text) == expected
    assert unescape("&" + "#" * 10 + "1" * 5000) == "&" + "#" * 10 + "1" * 5000
    assert unescape("&#" + "1" * 5000 + ";") == "\ufffd"
