"""The page in Chinese, in a real browser: nothing that stands on it is left in English."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.page import Atelier
from tests.server import Server

pytestmark = pytest.mark.browser

WORDS = """() => {
  const KEPT = "script, style, textarea, code, pre, .infotext, .token, ul.options, [data-plain]";
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  while (walker.nextNode()) {
    const at = walker.currentNode;
    if (at.nodeType === Node.TEXT_NODE) { if (!at.parentElement.closest(KEPT)) found.add(at.data.trim()); }
    else for (const name of ["title", "placeholder", "aria-label", "alt"]) found.add((at.getAttribute(name) ?? "").trim());
  }
  return [...found].filter((text) => /[A-Za-z]{2}/.test(text) && !/[\\u3000-\\u9fff\\uff00-\\uffef]/.test(text));
}"""
FILE = Path(__file__).parents[2] / "webui/assets/translations/zh_CN.json"
SAME = set(json.loads(FILE.read_text("utf-8")).values())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("chinese") / "data"
    data.mkdir()
    (data / "config.json").write_text(json.dumps({"localization": "zh_CN", "grid_save": False, "return_grid": False}))
    (data / "localizations").mkdir()
    (data / "localizations" / "mine.json").write_text('{"Generate": "Los", "Prompt": 3, "rtl": false}')
    (data / "localizations" / "broken.json").write_text('{"Generate": ')
    with Server(data) as found:
        yield found


def names(server: Server) -> set[str]:
    """What is called by a name of its own: models, samplers, preprocessors, licences."""
    catalogue = server.get("/atelier/catalogue").json()
    found = {str(one[key]) for one in catalogue["models"] for key in ("title", "family", "licence")}
    found |= {one["label"] for one in server.get("/atelier/preprocessors").json()["preprocessors"]}
    found |= {one["name"] for one in server.get("/sdapi/v1/samplers").json()}
    found |= {one["label"] for one in server.get("/sdapi/v1/schedulers").json()}
    return found | {*server.get("/controlnet/model_list").json()["model_list"]}


def opened(page: Page) -> None:
    """Every tab once, with all that can be folded out in it."""
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for tab in page.locator("#tabs > .tab-wrapper button[role=tab], .extra-tabs button[role=tab]").all():
        if tab.is_visible():
            tab.click()
        for _ in range(2):  # one within another
            page.evaluate("document.querySelectorAll('button.label-wrap:not(.open)').forEach((one) => one.click())")
            page.wait_for_timeout(300)
    page.locator(".settings .setting").first.wait_for(state="attached")


def test_no_english_is_left_on_the_chinese_page(atelier: Atelier, server: Server):
    page = atelier.page
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("button", name="生成").first).to_be_visible()
    opened(page)
    known = SAME | names(server)
    left = [text for text in page.evaluate(WORDS) if not all(part in known for part in text.split(" · "))]
    assert left == []


def test_scripts_are_chinese_too(server: Server):
    known = json.loads(FILE.read_text("utf-8"))
    labels = {
        argument["label"]
        for script in server.get("/sdapi/v1/script-info").json()
        if not script["is_alwayson"]  # those are not on the page under these names
        for argument in script["args"]
        if argument["label"]
    }
    assert sorted(labels - {*known}) == []


def test_what_scripts_write_is_translated(atelier: Atelier):
    atelier.set(prompt="a red boat", steps=2, width=64, height=64).generate().finished()
    expect(atelier.find(".status")).to_contain_text("张图片，用时")
    atelier.set(prompt="Generate")
    assert atelier.value("prompt") == "Generate"  # what the user types stays
    page = atelier.page
    page.get_by_role("tab", name="设置").click()
    page.locator("#setting_of_samples_format").select_option("webp")
    expect(page.locator(".settings .bar .apply")).to_have_text("应用设置（1 项已更改）")
    page.locator(".settings .bar .forget").click()


EVERY = """(texts) => {
  const filled = (text, words) => text.replace(/\\{([a-z]+)\\}/g, (_, name) => (name.length > 1 ? words : "12"));
  const told = (text) => window.localization.translated(text);
  return Object.entries(texts).filter(([text, other]) => text !== other && !text.startsWith("{list}") && text.replace(/\\{[a-z]+\\}/g, "").length > 4)
    .map(([text]) => filled(text, "“Xy”"))
    .flatMap((text) => (/[.!?…]$/.test(text) ? [text, `${text} The job is in the queue.`] : [text]))
    .filter((text) => told(text) === text || told(text).includes("The job is"));
}"""


def test_what_the_server_says_is_translated(atelier: Atelier, server: Server):
    page = atelier.page
    assert page.evaluate(EVERY, json.loads(FILE.read_text("utf-8"))) == []
    answer = server.post("/sdapi/v1/txt2img", {"steps": 0})
    assert answer.json()["detail"] == "steps is 0: it must be at least 1."  # programs are told in English
    told = {
        "Sampling steps is 0: it must be at least 1.": "采样步数为 0：必须至少为 1。",
        'sampler_name "Eulr" is not known. Nearest: Euler.': '不认识 sampler_name "Eulr"。最接近的有：Euler。',
        "Networks not found: a. Nearest: b. The job is in the queue.": "未找到网络：a。最接近的有：b。任务已在队列中。",
        '"a b.pt" and "c.pt": not what DWPose is made of (OSError). Download it again.': '"a b.pt" 和 "c.pt"：与 DWPose 的构成不符（OSError）。请重新下载。',
        "Needs sam.pt (39 MB) and words.pt (690 MB).": "需要 sam.pt (39 MB) 和 words.pt (690 MB)。",
        "Step Beauty and Beast": "步 Beauty and Beast",  # which may be a name
        '"f", a FLUX, is not whole. Put the text encoder CLIP-L (a.pt) and the text encoder T5-XXL (b.pt) into "/t". '
        'Put the VAE of FLUX or SD 3 (ae.pt) into "/v". Or choose a whole checkpoint.': "“f”是 FLUX，不完整。"
        "请把文本编码器 CLIP-L (a.pt) 和文本编码器 T5-XXL (b.pt) 放入“/t”。请把 FLUX 或 SD 3 (ae.pt) 的 VAE 放入“/v”。或选择完整的模型。",
        "A text of a user. Nobody translates it.": "A text of a user. Nobody translates it.",
    }
    assert {text: page.evaluate("(text) => localization.translated(text)", text) for text in told} == told
    atelier.set(prompt="a red boat <lora:nothere:1>", steps=2, width=64, height=64).generate().finished()
    expect(atelier.find(".notice")).to_have_text(re.compile("^未找到网络：nothere。"))
    atelier.set(prompt="a (red boat")
    expect(page.locator(".prompt-help .first").first).to_contain_text("没有闭合")


def test_a_file_of_a1111s_users_can_be_chosen(context: BrowserContext, server: Server):
    options = server.get("/atelier/settings").json()["sections"]
    field = next(one for part in options for one in part["settings"] if one["name"] == "localization")
    assert field["offered"] == ["None", "broken", "mine", "zh_CN"]
    try:
        for name, word in (("mine", "Los"), ("broken", "Generate"), ("not there", "Generate"), ("None", "Generate")):
            assert server.post("/sdapi/v1/options", {"localization": name}).status_code == 200
            atelier = Atelier(context.new_page()).open(server.url)
            expect(atelier.button("generate")).to_have_text(word)
            atelier.page.close()
    finally:
        server.post("/sdapi/v1/options", {"localization": "zh_CN"})
    assert 'The localisation "broken.json" is not JSON' in server.log
    assert 'The localisation "mine.json" has no text for "Prompt"' in server.log
    assert (
        'localization is "not there", and there is no such file. Choose one of: None, broken, mine, zh_CN.'
        in server.log
    )
