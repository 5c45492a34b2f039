"""Threads for sync functions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stepwell.connect.threads import ThreadPool

WAIT_S = 5.0


def test_jobs_run_at_the_same_time_up_to_the_limit() -> None:
    pool = ThreadPool(3)
    together = threading.Barrier(3 + 1)
    done = threading.Semaphore(0)

    def job() -> None:
        together.wait(WAIT_S)
        done.release()

    for _ in range(3):
        pool.submit(job)
    together.wait(WAIT_S)  # breaks if they do not all run now

    for _ in range(3):
        assert done.acquire(timeout=WAIT_S)
    pool.stop()


def test_jobs_over_the_limit_wait_for_a_free_thread() -> None:
    pool = ThreadPool(1)
    names: list[str] = []
    release = threading.Event()
    done = threading.Semaphore(0)

    def job() -> None:
        release.wait(WAIT_S)
        names.append(threading.current_thread().name)
        done.release()

    for _ in range(5):
        pool.submit(job)
    release.set()
    for _ in range(5):
        assert done.acquire(timeout=WAIT_S)

    assert len(set(names)) == 1
    pool.stop()


def test_idle_thread_is_used_again() -> None:
    pool = ThreadPool(10)
    idents: set[int | None] = set()

    for _ in range(20):
        done = threading.Event()

        def job(done: threading.Event = done) -> None:
            idents.add(threading.current_thread().ident)
            done.set()

        pool.submit(job)
        assert done.wait(WAIT_S)

    assert len(idents) <= 2  # the thread that has just finished may not have said so yet
    pool.stop()


def test_every_job_of_many_submitters_runs_once() -> None:
    pool = ThreadPool(4)
    ran: list[int] = []
    done = threading.Semaphore(0)

    def submit(number: int) -> None:
        def job() -> None:
            ran.append(number)
            done.release()

        pool.submit(job)

    with ThreadPoolExecutor(8) as submitters:
        list(submitters.map(submit, range(400)))
    for _ in range(400):
        assert done.acquire(timeout=WAIT_S)

    assert sorted(ran) == list(range(400))
    pool.stop()


def test_threads_end_after_what_was_submitted() -> None:
    pool = ThreadPool(2)
    ended: list[threading.Thread] = []
    done = threading.Semaphore(0)

    def job() -> None:
        ended.append(threading.current_thread())
        done.release()

    pool.submit(job)
    pool.submit(job)
    pool.stop()

    for _ in range(2):
        assert done.acquire(timeout=WAIT_S)
    for thread in ended:
        thread.join(WAIT_S)
        assert not thread.is_alive()
        assert thread.daemon


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3)])
def test_thread_outlives_a_job_that_raises(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    pool = ThreadPool(1)
    done = threading.Event()

    def fail() -> None:
        raise error

    pool.submit(fail)
    pool.submit(done.set)

    assert done.wait(WAIT_S)
    pool.stop()
    assert "a job for a sync function failed" in caplog.text


def test_system_without_more_threads_leaves_the_work_to_those_that_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = ThreadPool(5)
    release = threading.Event()
    done = threading.Semaphore(0)

    def job() -> None:
        release.wait(WAIT_S)
        done.release()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool.submit(job)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        pool.submit(job)
    release.set()

    for _ in range(4):
        assert done.acquire(timeout=WAIT_S)
    pool.stop()
    with pytest.raises(RuntimeError):
        ThreadPool(5).submit(job)
