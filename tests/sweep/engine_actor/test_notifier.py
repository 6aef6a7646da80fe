"""What a thread tells reaches every coroutine that waits, also between its look and its waiting."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sweep.engine_actor.notifier import Notifier


def test_what_a_thread_tells_reaches_all_who_wait() -> None:
    news = Notifier()

    async def waiter(all_look: asyncio.Barrier) -> bool:
        with news.expected() as told:
            await all_look.wait()
            return await asyncio.wait_for(told.wait(), 5)

    async def scenario() -> list[bool]:
        all_look = asyncio.Barrier(4)
        waiting = [asyncio.create_task(waiter(all_look)) for _ in range(3)]
        await all_look.wait()
        thread = threading.Thread(target=news.tell)
        thread.start()
        woken = await asyncio.gather(*waiting)
        thread.join()
        return woken

    assert asyncio.run(scenario()) == [True, True, True]


def test_what_is_told_after_the_look_and_before_the_waiting_is_not_lost() -> None:
    news = Notifier()

    async def scenario() -> None:
        with news.expected() as told:
            await asyncio.to_thread(news.tell)
            await asyncio.wait_for(told.wait(), 5)
        with news.expected() as told, pytest.raises(TimeoutError):  # what was told before is over
            await asyncio.wait_for(told.wait(), 0.05)
        news.tell()

    asyncio.run(scenario())
    news.tell()  # nobody waits, and the loop is gone
