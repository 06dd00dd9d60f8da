"""The tab Queue, Enqueue and Generate forever, in a real browser."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.page import Atelier
from tests.server import Server, until

pytestmark = [pytest.mark.browser, pytest.mark.starter]

QUICK = {"steps": 2, "width": 64, "height": 64}


def opened(page: Page) -> Locator:
    page.get_by_role("tab", name="Queue").click()
    return page.locator(".queue-tab")


def job(queue: Locator, prompt: str) -> Locator:
    return queue.locator(".job").filter(has_text=prompt).first


def test_waiting_jobs_are_reordered_edited_cancelled_and_drawn(atelier: Atelier, server: Server):
    queue = opened(atelier.page)
    queue.get_by_role("button", name="Pause").click()
    expect(queue.locator(".counts")).to_have_text("0 running, 0 waiting, paused")
    atelier.page.get_by_role("tab", name="txt2img").click()
    for prompt in ("a red star", "a blue heart", "a green tree"):
        atelier.set(**QUICK, prompt=prompt)
        atelier.button("enqueue").click()
        expect(atelier.find(".status")).to_have_text("The job is in the queue.")
        atelier.page.locator("#txt2img_results .status").evaluate("(status) => { status.textContent = ''; }")
    opened(atelier.page)
    jobs = queue.locator(".job .what .words")
    expect(jobs).to_have_text(["a red star", "a blue heart", "a green tree"])
    job(queue, "a green tree").get_by_role("button", name="First of all").click()
    expect(jobs).to_have_text(["a green tree", "a red star", "a blue heart"])
    job(queue, "a red star").get_by_role("button", name="Take it out of the queue").click()
    expect(job(queue, "a red star")).to_have_attribute("data-state", "stopped")
    job(queue, "a blue heart").get_by_role("button", name="Change its values").click()
    dialog = queue.get_by_role("dialog")
    dialog.get_by_label("Sampling steps").fill("0")
    dialog.get_by_role("button", name="Save").click()
    expect(queue.locator(".notice")).to_have_text(re.compile("steps is 0: it must be at least 1"))
    job(queue, "a blue heart").get_by_role("button", name="Change its values").click()
    dialog.get_by_label("Prompt", exact=True).fill("a blue house")
    dialog.get_by_role("button", name="Save").click()
    expect(job(queue, "a blue house")).to_contain_text("2 steps")
    queue.get_by_role("button", name="Go on").first.click()
    for prompt in ("a blue house", "a green tree"):
        expect(job(queue, prompt)).to_have_attribute("data-state", "done")
        expect(job(queue, prompt).locator(".thumbs img")).to_have_count(1)
    infotexts = [image["infotext"] for each in server.get("/atelier/jobs").json()["jobs"] for image in each["images"]]
    assert sorted(text.split("\n")[0] for text in infotexts) == ["a blue house", "a green tree"]


def test_R9_a_full_disk_is_told_and_does_not_have_to_be_waited_for(atelier: Atelier):
    told = {"paused": True, "full": "A disk is full.", "jobs": []}
    atelier.page.route("**/atelier/queue", lambda route: route.fulfill(json=told))
    queue = opened(atelier.page)
    expect(queue.locator(".full")).to_have_text("A disk is full.")
    atelier.page.unroute("**/atelier/queue")
    with atelier.page.expect_request("**/atelier/queue/pause") as sent:
        queue.get_by_role("button", name="Go on").first.click()
    assert sent.value.post_data_json == {"paused": False}
    expect(queue.locator(".full")).to_be_hidden()


def test_a_job_that_is_over_is_shown_and_drawn_once_more(atelier: Atelier):
    atelier.set(**QUICK, prompt="a yellow sun", seed=5).generate().finished()
    queue = opened(atelier.page)
    job(queue, "a yellow sun").get_by_role("button", name="Draw it once more").click()
    expect(queue.locator(".job").filter(has_text="a yellow sun")).to_have_count(2)
    expect(queue.locator(".job[data-state=done]").filter(has_text="a yellow sun")).to_have_count(2)
    job(queue, "a yellow sun").get_by_role("button", name="Show it in its own tab").click()
    expect(atelier.find(".infotext")).to_contain_text("Seed: 5")


def test_it_generates_forever_until_that_is_cancelled(atelier: Atelier, server: Server):
    atelier.set(**QUICK, prompt="a purple fish", seed=1)
    before = len(server.pictures())
    atelier.button("generate").click(button="right")
    atelier.page.get_by_role("menuitem", name="Generate forever", exact=True).click()
    atelier.page.wait_for_function("() => document.body.dataset.txt2img === 'running'")
    queue = opened(atelier.page)
    expect(queue.locator(".job[data-state=done]").filter(has_text="a purple fish").nth(2)).to_be_visible()
    atelier.page.get_by_role("tab", name="txt2img").click()
    atelier.page.locator("#txt2img_actions .generate-box button:visible").first.click(button="right")
    atelier.page.get_by_role("menuitem", name="Cancel generate forever").click()
    atelier.finished()
    assert len(server.pictures()) >= before + 3


def test_X16_the_server_goes_on_while_nobody_looks(atelier: Atelier, server: Server):
    def done() -> int:
        jobs = server.get("/atelier/jobs").json()["jobs"]
        return sum(job["state"] == "done" and job["request"]["prompt"] == "a green house" for job in jobs)

    atelier.set(**QUICK, prompt="a green house")
    atelier.button("generate").click(button="right")
    atelier.page.get_by_role("menuitem", name="Generate forever", exact=True).click()
    atelier.page.wait_for_function("() => document.body.dataset.txt2img === 'running'")
    atelier.page.goto("about:blank")
    seen = done()
    until(lambda: done() >= seen + 3, 120)
    atelier.open(server.url)
    expect(atelier.page.locator("#txt2img_actions.forever")).to_have_count(1)
    atelier.set(prompt="a yellow house")  # from now on it is the page's again
    until(
        lambda: any(j["request"]["prompt"] == "a yellow house" for j in server.get("/atelier/jobs").json()["jobs"]), 120
    )
    atelier.page.locator("#txt2img_actions .generate-box button:visible").first.click(button="right")
    atelier.page.get_by_role("menuitem", name="Cancel generate forever").click()
    atelier.finished()
    at_work = {"queued", "running"}  # one may just have been pressed
    until(lambda: not at_work & {job["state"] for job in server.get("/atelier/jobs").json()["jobs"]}, 120)


def test_a_picture_is_varied_while_extra_is_ticked(atelier: Atelier):
    box = atelier.page.get_by_label("Extra", exact=True).first
    expect(atelier.field("subseed")).to_be_hidden()
    box.check()
    atelier.set(**QUICK, prompt="a red fish", seed=3, subseed=9, subseed_strength=0.5).generate().finished()
    expect(atelier.find(".infotext")).to_contain_text("Variation seed: 9, Variation seed strength: 0.5")
    atelier.set(subseed=4)
    atelier.button("reuse_subseed").click()
    expect(atelier.field("subseed")).to_have_value("9")
    atelier.remembers("subseed", "9").reload()
    expect(atelier.field("subseed")).to_have_value("9")
    box.uncheck()
    atelier.generate().finished()
    expect(atelier.find(".infotext")).not_to_contain_text("Variation")
