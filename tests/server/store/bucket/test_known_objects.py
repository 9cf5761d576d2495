"""Objects that are known for a while: how often the bucket is asked for them, and that nothing old is told."""

import asyncio

import obstore.store
import pytest
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError
from s2cli.server.store.bucket import known_objects
from s2cli.server.store.bucket.known_objects import KnownObjects
from s2cli.server.store.bucket.objects import Objects

FRESH_S = 1.0


class CountedObjects(Objects):
    """Objects, and how often they were asked for. While `held`, requests wait once the bucket has answered."""

    def __init__(self):
        super().__init__(obstore.store.MemoryStore())
        self.asked = []
        self.answered = self.unchanged = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def get_changed(self, name, version):
        self.asked.append(name)
        found = await super().get_changed(name, version)
        self.unchanged += not (found is None or isinstance(found, tuple))
        self.answered += 1
        await self.go_on.wait()
        return found


class Known:
    """What is known of the objects below "f/", as text."""

    def __init__(self, missing_s=0.0, most=100):
        self.objects = CountedObjects()
        self.parsed = []
        self.known = KnownObjects(self.objects, "f/", self._parse, FRESH_S, missing_s, most)

    def _parse(self, name, data):
        self.parsed.append(name)
        return None if data == b"removed" else data.decode()

    def get(self, name="a", **options):
        return self.known.get(name, **options)

    async def put(self, data, name="a"):
        await self.objects.put(f"f/{name}", data)

    async def until_answered(self, count):
        while self.objects.answered < count:
            await asyncio.sleep(0.001)

    @property
    def asked(self):
        return len(self.objects.asked)


def run(main, **options):
    async def bounded():
        async with asyncio.timeout(TIMEOUT_S):
            await main(Known(**options))

    asyncio.run(bounded())


@pytest.fixture
def clock(monkeypatch):
    """The seconds that it is."""
    now_s = [100.0]

    class Time:
        monotonic = staticmethod(lambda: now_s[0])

    monkeypatch.setattr(known_objects, "time", Time)
    return now_s


def test_what_was_changed_elsewhere_is_seen_a_second_later_and_asked_for_no_sooner(clock):
    async def main(known):
        await known.put(b"one")
        assert [await known.get() for _ in range(100)] == ["one"] * 100
        assert known.asked == 1
        await known.put(b"two")
        clock[0] += 0.99
        assert await known.get() == "one"
        assert known.asked == 1
        clock[0] += 0.01
        assert await known.get() == "two"
        assert known.asked == 2

    run(main)


def test_what_has_not_changed_is_not_sent_again(clock):
    async def main(known):
        await known.put(b"one")
        first = await known.get()
        clock[0] += FRESH_S
        assert await known.get() is first
        assert (known.objects.unchanged, known.parsed) == (1, ["a"])

    run(main)


def test_many_who_ask_at_once_share_a_request():
    async def main(known):
        await known.put(b"one")
        assert await asyncio.gather(*[known.get() for _ in range(1000)]) == ["one"] * 1000
        assert known.asked == 1
        # Those who ask for what is not there share the one after that which was on its way.
        assert await asyncio.gather(*[known.get("b") for _ in range(1000)]) == [None] * 1000
        assert known.asked <= 3

    run(main)


@pytest.mark.parametrize("options", [{}, {"fresh": True}])
def test_what_is_made_elsewhere_is_there_for_whoever_asks_then(options):
    async def main(known):
        assert await known.get(**options) is None
        known.objects.go_on.clear()
        before = asyncio.ensure_future(known.get(**options))
        await known.until_answered(2)  # it was found missing, and that is on its way
        await known.put(b"one")
        after = [asyncio.ensure_future(known.get(**options)) for _ in range(10)]
        await asyncio.sleep(0)
        known.objects.go_on.set()
        assert await before is None
        assert await asyncio.gather(*after) == ["one"] * 10
        assert known.asked == 3

    run(main)


def test_an_older_answer_does_not_hide_our_own_change():
    async def main(known):
        await known.put(b"one")
        known.objects.go_on.clear()
        before = asyncio.ensure_future(known.get())
        await known.until_answered(1)
        await known.put(b"two")
        known.known.changed("a", "two")
        known.objects.go_on.set()
        assert await before == "one"
        assert await known.get() == "two"
        assert known.asked == 1

    run(main)


def test_guesses_are_remembered_for_a_while_and_no_more_than_so_many(clock):
    async def main(known):
        for number in range(300):
            assert await known.get(f"guess-{number}") is None
        assert known.asked == 300
        for number in range(200, 300):
            assert await known.get(f"guess-{number}") is None
        assert known.asked == 300
        assert await known.get("guess-0") is None  # forgotten
        assert known.asked == 301
        clock[0] += 10
        await known.put(b"one", "guess-299")
        assert await known.get("guess-299") == "one"

    run(main, missing_s=10.0, most=100)


def test_no_name_that_is_missing_takes_the_place_of_one_that_is_there():
    async def main(known):
        await known.put(b"one")
        assert await known.get() == "one"
        for number in range(300):
            assert await known.get(f"none-{number}") is None
        asked = known.asked
        assert await known.get() == "one"
        assert known.asked == asked

    run(main, most=100)


def test_a_failure_is_told_to_all_who_wait_and_forgotten(monkeypatch):
    async def fail(_self, _name, _version):
        raise ApiError("unavailable", "the bucket is away")

    async def main(known):
        with monkeypatch.context() as patch:
            patch.setattr(CountedObjects, "get_changed", fail)
            for outcome in await asyncio.gather(*[known.get() for _ in range(5)], return_exceptions=True):
                assert outcome.code == "unavailable"
        await known.put(b"one")
        assert await known.get() == "one"

    run(main)
