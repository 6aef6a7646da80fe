"""What a thread tells reaches every coroutine that waits, also between its look and its waiting."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sweep.engine_actor.notifier import News


def test_what_a_thread_tells_reaches_all_who_wait() -> None:
    news = News()

    async def waiter() -> None:
        with news.expected() as told:
            await asyncio.wait_for(told.wait(), 5)

    async def scenario() -> None:
        waiting = [asyncio.create_task(waiter()) for _ in range(3)]
        await asyncio.sleep(0.05)
        thread = threading.Thread(target=news.tell)
        thread.start()
        await asyncio.gather(*waiting)
        thread.join()

    asyncio.run(scenario())


def test_what_is_told_after_the_look_and_before_the_waiting_is_not_lost() -> None:
    news = News()

    async def scenario() -> None:
        with news.expected() as told:
            await asyncio.to_thread(news.tell)
            await asyncio.wait_for(told.wait(), 5)
        with news.expected() as told, pytest.raises(TimeoutError):  # what was told before is over
            await asyncio.wait_for(told.wait(), 0.05)
        news.tell()

    asyncio.run(scenario())
    news.tell()  # nobody waits, and the loop is gone
