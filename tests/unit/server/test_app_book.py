from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.server.app_book import TEXT_CHARS_MAX, AppBook

if TYPE_CHECKING:
    import pytest

URL = "http://localhost:3000/api/inngest"
SPELT = "http://127.0.0.1:3000/api/inngest?deployId=7"


def reason(book: AppBook, app_name: str = "shop") -> str | None:
    trouble = book.trouble(app_name=app_name, url=URL)
    return None if trouble is None else trouble.reason


def test_a_site_is_one_however_it_is_spelt() -> None:
    book = AppBook()
    book.named(SPELT)
    book.named(URL)
    assert [site.url for site in book.sites] == [URL]
    assert book.site(SPELT) == book.site(URL)


def test_what_is_wrong_lasts_until_a_sync_goes_well() -> None:
    book = AppBook()
    book.sync_failed(URL, reason="unreachable", text="refused", now_ms=1)
    book.sync_failed(URL, reason="unreachable", text="refused again", now_ms=2)
    trouble = book.trouble(app_name="shop", url=SPELT)
    assert trouble is not None
    assert (trouble.since_ms, trouble.text) == (1, "refused again")
    book.sync_failed(URL, reason="url_not_found", text="404", now_ms=3)
    trouble = book.trouble(app_name="shop", url=URL)
    assert trouble is not None
    assert (trouble.reason, trouble.since_ms) == ("url_not_found", 3)
    book.sync_answered(URL)
    assert reason(book) is None
    site = book.site(URL)
    assert site is not None
    assert site.done


def test_what_calls_meet_comes_first() -> None:
    book = AppBook()
    book.synced(URL, "shop", functions=1)
    book.call_failed("shop", "connection refused", 5)
    assert reason(book) == "unreachable"
    assert book.absent("shop") is not None
    book.call_answered("shop")
    assert (reason(book), book.absent("shop")) == (None, None)
    book.call_failed("shop", "connection refused", 6)
    book.sync_answered(URL)
    assert reason(book) is None


def test_trouble_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    book = AppBook()
    with caplog.at_level("INFO"):
        for now_ms in range(3):
            book.sync_failed(URL, reason="unreachable", text="refused", now_ms=now_ms)
            book.call_failed("shop", "refused", now_ms)
        book.sync_answered(URL, "shop")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO", "INFO"]


def test_a_sync_after_trouble_is_logged_with_what_is_in_force(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = AppBook()
    with caplog.at_level("INFO"):
        book.synced(URL, "shop", functions=2)
        book.sync_failed(URL, reason="function_invalid", text="no trigger", now_ms=1)
        book.synced(SPELT, "shop", functions=3)
        book.sync_answered(URL)
        book.synced(URL, "shop", functions=3)
    assert [record.getMessage() for record in caplog.records][1:] == [
        "the app syncs again: shop, with 3 functions"
    ]


def test_a_long_text_is_cut() -> None:
    book = AppBook()
    book.call_failed("shop", "x" * 10_000, 1)
    trouble = book.absent("shop")
    assert trouble is not None
    assert len(trouble.text) == TEXT_CHARS_MAX


def test_an_app_that_is_gone_takes_its_sites_with_it() -> None:
    book = AppBook()
    book.synced(URL, "shop", functions=1)
    book.named("http://a/b")
    book.call_failed("shop", "refused", 1)
    book.removed("shop")
    assert [site.url for site in book.sites] == ["http://a/b"]
    assert reason(book) is None
    assert (book.forget("http://a:80/b"), book.forget("http://a/b")) == (True, False)
