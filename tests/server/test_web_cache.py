import pytest

from reference_daemon.server.web_cache import ExpiringCache


@pytest.fixture
def cache() -> ExpiringCache[str]:
    """Room for three entries and ten bytes."""
    return ExpiringCache(ttl_s=300.0, max_entries=3, max_bytes=10)


def test_entry_lapses_at_exactly_its_ttl(cache: ExpiringCache[str]) -> None:
    """Just before the TTL it is served, at the TTL it is gone, with its bytes."""
    cache.put("a", "A", 1, now=0.0)
    assert cache.get("a", now=299.9) == "A"
    assert cache.get("a", now=300.0) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_least_recently_used_goes_first(cache: ExpiringCache[str]) -> None:
    """A fourth entry drops the one that nobody asked for longest."""
    for key in "abc":
        cache.put(key, key, 1, now=0.0)
    cache.get("a", now=0.0)
    cache.put("d", "d", 1, now=0.0)
    assert [key for key in "abcd" if cache.get(key, now=0.0)] == ["a", "c", "d"]


def test_bytes_are_bounded(cache: ExpiringCache[str]) -> None:
    """Ten bytes fit; one more drops the oldest."""
    cache.put("a", "A", 4, now=0.0)
    cache.put("b", "B", 6, now=0.0)
    assert (len(cache), cache.bytes) == (2, 10)
    cache.put("c", "C", 1, now=0.0)
    assert (cache.get("a", now=0.0), cache.bytes) == (None, 7)


def test_what_is_too_large_drops_nothing(cache: ExpiringCache[str]) -> None:
    """An entry larger than the whole cache is not kept, and costs no other its place."""
    cache.put("a", "A", 4, now=0.0)
    cache.put("b", "B", 11, now=0.0)
    assert (cache.get("a", now=0.0), cache.get("b", now=0.0)) == ("A", None)


def test_new_value_takes_the_place_of_the_old(cache: ExpiringCache[str]) -> None:
    """An entry that is put again counts once, with its new size and life."""
    cache.put("a", "old", 9, now=0.0)
    cache.put("a", "new", 2, now=200.0)
    assert (cache.get("a", now=400.0), cache.bytes) == ("new", 2)
