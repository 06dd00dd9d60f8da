"""Who is woken by what."""

import asyncio

from modules.jobs.live import Bell


def test_who_watches_one_job_is_not_woken_by_another():
    async def watched() -> list[str]:
        bell, told = Bell(), []

        async def watch(job: str) -> None:
            seen = bell.count
            while True:
                seen = await bell.wait_async(seen, 60, job)
                told.append(job)

        watchers = [asyncio.create_task(watch(job)) for job in ("one", "two")]
        for job in ("one", "one", None, "two", "three"):
            await asyncio.sleep(0)
            bell.ring(job)
            for _ in range(5):
                await asyncio.sleep(0)
        for watcher in watchers:
            watcher.cancel()
        return told

    assert sorted(asyncio.run(watched())) == ["one", "one", "one", "two", "two"]


def test_a_ring_before_the_waiting_begins_is_not_missed():
    async def waited() -> list[int]:
        bell = Bell()
        bell.ring("other")
        seen = bell.count
        bell.ring("mine")
        bell.ring("other")
        return [await bell.wait_async(seen, 60, "mine"), await bell.wait_async(bell.count, 0, "mine"), bell.count]

    assert asyncio.run(waited()) == [3, 3, 3]
