"""Logging in as people do, on a server that others may reach."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.page import Atelier
from tests.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """One that wants a login."""
    with Server(tmp_path_factory.mktemp("login") / "data", "--auth", "ann:anns secret,bob:bobs secret") as running:
        yield running


def log_in(page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_logging_in_drawing_and_logging_out(context, server):
    page = context.new_page()
    page.goto(server.url)
    expect(page).to_have_title("Log in - Atelier")
    log_in(page, "bob", "wrong")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    log_in(page, "bob", "bobs secret")
    atelier = Atelier(page).ready()
    atelier.set(prompt="a red star", steps=3).generate().finished()
    large = atelier.large()
    for name in ("Models", "Checkpoint Merger", "Settings"):  # for administrators
        expect(page.get_by_role("tab", name=name)).to_be_hidden()
    page.get_by_role("tab", name="Gallery").click()
    expect(page.locator(".album .count")).to_have_text("1 picture")
    page.get_by_role("link", name="bob").click()
    expect(page.get_by_role("heading", name="Account bob")).to_be_visible()
    expect(page.locator("#users")).to_be_hidden()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_title("Log in - Atelier")
    other = context.browser.new_context()
    asks = other.new_page()
    asks.goto(server.url)
    log_in(asks, "ann", "anns secret")
    Atelier(asks).ready()
    assert asks.goto(large).status == 200  # an administrator
    other.close()


def test_login_and_account_speak_as_the_browser_asks(context, server):
    chinese = context.browser.new_context(locale="zh-CN", color_scheme="dark", viewport={"width": 390, "height": 844})
    page = chinese.new_page()
    page.goto(f"{server.url}/account")
    expect(page).to_have_title("登录 - Atelier")
    page.get_by_label("名称").fill("ann")
    page.get_by_label("密码").fill("wrong")
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("alert")).to_have_text("名称或密码错误。")
    page.get_by_label("名称").fill("ann")
    page.get_by_label("密码").fill("anns secret")
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("heading", name="账户 ann")).to_be_visible()
    tokens = page.locator("#tokens")
    tokens.get_by_label("新令牌的名称").fill("Users")
    tokens.get_by_role("button", name="新建").click()
    expect(page.get_by_role("status")).to_contain_text("请立即复制令牌，它不会再次显示：atl_")
    expect(tokens.get_by_role("cell", name="Users", exact=True)).to_be_visible()  # a name stays
    expect(page.locator("#users").get_by_role("cell", name="管理员（来自命令行）")).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    chinese.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_users_see_nothing_that_is_for_administrators(context, server, width):
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(server.url)
    log_in(page, "bob", "bobs secret")
    atelier = Atelier(page).ready()
    more = page.locator("#tabs > .tab-wrapper .overflow-menu")
    if width == 390:
        more.get_by_role("button", name="More tabs").click()
    shown = page.locator("#tabs > .tab-wrapper [role=tab], #tabs > .tab-wrapper .overflow-dropdown button")
    assert shown.all_inner_texts() == ["txt2img", "img2img", "Extras", "PNG Info", "Gallery", "Queue"]
    if width == 390:
        assert more.locator(".overflow-dropdown button").count() > 0
        page.keyboard.press("Escape")
    for name in ("save", "delete", "copy"):  # of the style editor
        expect(page.locator(f"#txt2img_edit_style_{name}")).to_be_hidden()
    page.locator("#txt2img_styles_edit_button").click()
    expect(page.locator("#txt2img_edit_style_close")).to_be_visible()
    page.locator("#txt2img_edit_style_close").click()
    page.locator("#tab_img2img-button").click()
    page.locator("#mode_img2img").get_by_role("tab", name="Batch").click()
    expect(page.locator("#img2img_batch_fields")).to_be_visible()
    for name in ("source", "input_dir", "output_dir", "inpaint_mask_dir", "png_info_dir"):
        expect(page.locator(f"#img2img_batch_{name}")).to_be_hidden()
    assert page.locator(".admins:visible").count() == 0
    for path in ("settings", "downloads", "extensions", "users", "tokens"):
        assert page.request.get(f"{server.url}/atelier/{path}").status == 403
    assert atelier.value("prompt")


def test_administration(context, server):
    page, late = context.new_page(), []
    page.route("**/atelier/me/tokens", lambda route: late.append(route))
    page.goto(f"{server.url}/account")
    log_in(page, "ann", "anns secret")
    expect(page.get_by_role("heading", name="Account ann")).to_be_visible()
    users = page.locator("#users")
    users.get_by_label("Name").fill("carol")
    users.get_by_role("button", name="Add").click()
    told = page.get_by_role("status")
    expect(told).to_contain_text("The password of carol is ")
    for one in late:
        one.continue_()
    page.unroute("**/atelier/me/tokens")
    password = told.inner_text().rpartition(" ")[2]
    tokens = page.locator("#tokens")
    tokens.get_by_label("Name of a new token").fill("<b>robot</b>")
    tokens.get_by_role("button", name="Make").click()
    expect(told).to_contain_text("atl_")
    expect(tokens.get_by_role("cell", name="<b>robot</b>", exact=True)).to_be_visible()
    token = told.inner_text().rpartition(" ")[2]
    assert server.get("/atelier/me", headers={"Authorization": f"Bearer {token}"}).json()["name"] == "ann"
    page.get_by_role("button", name="Log out").click()
    log_in(page, "carol", password)
    Atelier(page).ready()
    expect(page.get_by_role("link", name="carol")).to_be_visible()


def test_the_link_that_logs_in_once(context, server):
    once = server.log.partition("/login?once=")[2].split()[0]
    page = context.new_page()
    page.goto(f"{server.url}/login?once={once}")
    page.get_by_role("button", name="Log in").click()
    Atelier(page).ready()
    expect(page.get_by_role("link", name="ann")).to_be_visible()
