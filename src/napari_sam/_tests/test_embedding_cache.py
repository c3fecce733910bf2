"""The cache: what goes in comes out, budgets hold, and a bad disk is only slower."""

from __future__ import annotations

import errno
import io
import os
import pickle
import tempfile
import threading
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam.embedding_cache import BytesLRU, EmbeddingCache, EmbeddingDirectory

KIB = 1024
halves = hnp.arrays(
    np.float16,
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
    elements=st.floats(-60000, 60000, width=16),
)


def features(value: float = 0.0, count: int = 512) -> torch.Tensor:
    """1 KiB in half precision."""
    return torch.full((1, count), value, dtype=torch.float16)


def files(directory) -> list[str]:
    """Names of all files in a directory."""
    return sorted(path.name for path in directory.iterdir())


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values=st.lists(halves, min_size=1, max_size=4))
def test_what_goes_in_comes_out(tmp_path, values):
    """From memory, and from disk by the next session, to the bit."""
    cache = EmbeddingCache(tmp_path)
    for i, value in enumerate(values):
        cache.put(f"key {i}", torch.from_numpy(value))
    for source in (cache, EmbeddingCache(tmp_path)):
        for i, value in enumerate(values):
            found = source.get(f"key {i}")
            assert found.dtype == torch.float16
            np.testing.assert_array_equal(found.numpy(), value)
            assert f"key {i}" in source


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_embeddings_are_kept_in_half_precision(tmp_path, dtype):
    """Whatever precision they were computed in."""
    cache = EmbeddingCache(tmp_path)
    cache.put("key", torch.ones(1, 4, dtype=dtype))
    assert cache.get("key").dtype == torch.float16
    assert EmbeddingCache(tmp_path).get("key").dtype == torch.float16


def test_what_is_not_there_is_none(tmp_path):
    """In memory and on disk."""
    assert EmbeddingCache().get("key") is None
    assert "key" not in EmbeddingCache()
    assert EmbeddingCache(tmp_path / "new").get("key") is None
    assert not (tmp_path / "new").exists()


def test_a_later_value_replaces_an_earlier_one(tmp_path):
    """Everywhere, and it is counted once."""
    cache = EmbeddingCache(tmp_path)
    cache.put("key", features(1))
    size = cache.disk.nbytes
    cache.put("key", features(2))
    assert cache.get("key")[0, 0] == 2
    assert EmbeddingCache(tmp_path).get("key")[0, 0] == 2
    assert cache.host.nbytes == KIB
    assert cache.disk.nbytes == size


# Memory


def test_the_longest_unused_leave_first():
    """Reading counts as use."""
    lru = BytesLRU(3 * KIB)
    for name in "abc":
        lru.put(name, features())
    lru.get("a")
    lru.put("d", features())
    assert [name in lru for name in "abcd"] == [True, False, True, True]
    assert len(lru) == 3
    assert lru.nbytes == 3 * KIB


@settings(max_examples=40, deadline=None)
@given(
    budget=st.integers(0, 5000),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "get", "pop"]),
            st.integers(0, 5),
            st.integers(0, 900),
        )
    ),
)
def test_the_budget_holds_after_every_step(budget, steps):
    """Bytes are those of the entries, and never more than allowed."""
    lru, sizes = BytesLRU(budget), {}
    for step, key, count in steps:
        name = str(key)
        if step == "put":
            lru.put(name, features(count=count))
            sizes[name] = 2 * count
            assert (name in lru) == (2 * count <= budget)
        elif step == "get":
            found = lru.get(name)
            assert found is None or found.nbytes == sizes[name]
        else:
            lru.pop(name)
            assert name not in lru
        held = [name for name in sizes if name in lru]
        assert lru.nbytes == sum(sizes[name] for name in held) <= budget
        assert len(lru) == len(held)


def test_a_budget_of_zero_keeps_nothing(tmp_path):
    """No error, no file, no memory."""
    cache = EmbeddingCache(tmp_path, device_bytes=0, host_bytes=0, disk_bytes=0)
    cache.put("key", features())
    assert cache.get("key") is None
    assert "key" not in cache
    assert files(tmp_path) == []


def test_an_entry_larger_than_the_budget_displaces_nothing():
    """It is not kept; the others stay."""
    lru = BytesLRU(2 * KIB)
    lru.put("small", features())
    lru.put("large", features(count=5000))
    assert "small" in lru
    assert "large" not in lru


def test_the_disk_stands_in_for_memory(tmp_path):
    """What left memory is found on disk and is in memory again."""
    cache = EmbeddingCache(tmp_path, host_bytes=KIB)
    cache.put("a", features(1))
    cache.put("b", features(2))
    assert "a" not in cache.host
    assert cache.get("a")[0, 0] == 1
    assert "a" in cache.host


def test_the_device_tier_keeps_the_format_asked_for():
    """The nearest tier answers; meta tensors stand in for an accelerator's."""
    cache = EmbeddingCache()
    cache.put("key", features())
    found = cache.get("key", "meta", torch.bfloat16)
    assert found.device.type == "meta"
    assert found.dtype == torch.bfloat16
    cache.host.pop("key")
    assert cache.get("key", "meta", torch.bfloat16) is found
    assert "key" in cache
    assert cache.get("key", "cpu") is None


# Disk


def test_two_caches_share_a_directory(tmp_path):
    """What one writes the other finds."""
    one, other = EmbeddingCache(tmp_path), EmbeddingCache(tmp_path)
    assert other.get("key") is None
    one.put("key", features(3))
    assert other.get("key")[0, 0] == 3
    other.put("second", features(4))
    assert one.get("second")[0, 0] == 4


def test_the_directory_is_made_when_needed(tmp_path):
    """With its parents, and not before."""
    directory = tmp_path / "deep" / "down"
    cache = EmbeddingCache(directory)
    assert not directory.exists()
    cache.put("key", features())
    assert len(files(directory)) == 1


def test_the_disk_budget_trims_the_longest_unused(tmp_path):
    """By the time of last use, reading included."""
    disk = EmbeddingDirectory(tmp_path, 4 * KIB)
    for age, name in enumerate("abc"):
        disk.put(name, features(age))
        os.utime(disk.path(name), (1000 + age, 1000 + age))
    assert disk.get("a") is not None
    disk.put("d", features())
    kept = [name for name in "abcd" if disk.path(name).exists()]
    assert "b" not in kept
    assert {"a", "d"} <= set(kept)
    held = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert disk.nbytes == held <= 4 * KIB


def test_the_disk_budget_counts_what_was_there_before(tmp_path):
    """A new session knows the files of the last one, and other files are left alone."""
    (tmp_path / "notes.txt").write_text("mine")
    first = EmbeddingDirectory(tmp_path, 100 * KIB)
    for name in "abcdef":
        first.put(name, features())
    second = EmbeddingDirectory(tmp_path, 3 * KIB)
    assert second.nbytes == first.nbytes
    second.put("g", features())
    assert second.nbytes <= 3 * KIB
    assert second.path("g").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def stored_file() -> bytes:
    """Bytes of a small embedding's file."""
    buffer = io.BytesIO()
    np.savez(buffer, features=np.arange(8, dtype=np.float16))
    return buffer.getvalue()


def pickled() -> bytes:
    """Save a file of objects, which reading would have to unpickle."""
    buffer = io.BytesIO()
    np.savez(buffer, features=np.array([{"a": 1}], object))
    return buffer.getvalue()


def saved(array) -> bytes:
    """Save a bare npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def other_name() -> bytes:
    """Save an archive without the array looked for."""
    buffer = io.BytesIO()
    np.savez(buffer, other=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        stored_file()[:-10],
        stored_file()[:40],
        b"\0" * 500,
        pickled(),
        pickle.dumps({"a": 1}),
        saved(np.zeros(4, np.float16)),
        other_name(),
    ],
    ids=["empty", "text", "cut", "start", "zeros", "objects", "pickle", "npy", "other"],
)
def test_unreadable_files_are_missing_and_removed(tmp_path, content):
    """No error, no wrong answer, and the place is free for a good file."""
    cache = EmbeddingCache(tmp_path)
    cache.put("key", features(1))
    path = cache.disk.path("key")
    path.write_bytes(content)
    fresh = EmbeddingCache(tmp_path)
    assert fresh.get("key") is None
    assert not path.exists()
    fresh.put("key", features(2))
    assert EmbeddingCache(tmp_path).get("key")[0, 0] == 2


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(position=st.integers(0, len(stored_file()) - 1), bits=st.integers(1, 255))
def test_a_changed_byte_never_gives_a_wrong_embedding(tmp_path, position, bits):
    """Wherever it is: the right values, or none."""
    damaged = bytearray(stored_file())
    damaged[position] ^= bits
    disk = EmbeddingDirectory(tmp_path, 100 * KIB)
    disk.path("key").write_bytes(damaged)
    found = disk.get("key")
    if found is not None:
        np.testing.assert_array_equal(found.numpy(), np.arange(8))


def no_space(*_arguments, **_options):
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(np, "savez"), (os, "replace"), (tempfile, "mkstemp")],
)
def test_a_full_disk_is_told_once_and_worked_around(tmp_path, monkeypatch, owner, name):
    """One warning; memory goes on; what was stored stays readable; nothing half."""
    cache = EmbeddingCache(tmp_path, host_bytes=KIB)
    cache.put("before", features(1))
    kept = files(tmp_path)
    monkeypatch.setattr(owner, name, no_space)
    with pytest.warns(UserWarning, match="no longer kept .* No space left"):
        cache.put("key", features(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put("another", features(3))
    assert cache.get("another")[0, 0] == 3
    assert files(tmp_path) == kept
    assert cache.get("before")[0, 0] == 1


def test_a_write_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    """Half a file, aside or in place, would be in the way for ever."""
    cache = EmbeddingCache(tmp_path)

    def interrupted(file, **_arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.put("key", features())
    assert files(tmp_path) == []


def test_a_directory_that_cannot_be_made_is_told_once(tmp_path):
    """Below a file there is no directory."""
    (tmp_path / "file").write_text("")
    cache = EmbeddingCache(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match="no longer kept"):
        cache.put("key", features(1))
    cache.put("second", features(2))
    assert cache.get("key")[0, 0] == 1


def test_a_directory_removed_meanwhile_is_made_again(tmp_path):
    """Emptying the cache by hand is allowed at any time."""
    directory = tmp_path / "cache"
    cache = EmbeddingCache(directory, host_bytes=0)
    cache.put("key", features())
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert cache.get("key") is None
    cache.put("key", features(1))
    assert cache.get("key")[0, 0] == 1


def test_threads_share_a_cache(tmp_path):
    """Many at once neither fail nor break the budget."""
    cache = EmbeddingCache(tmp_path, host_bytes=8 * KIB, disk_bytes=20 * KIB)
    failures = []

    def work(number):
        try:
            for i in range(20):
                key = str((number * 7 + i) % 15)
                cache.put(key, features(int(key)))
                found = cache.get(key)
                assert found is None or found[0, 0] == int(key)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert cache.host.nbytes <= 8 * KIB
    assert cache.disk.nbytes <= 20 * KIB


@pytest.mark.parametrize("name", ["device_bytes", "host_bytes", "disk_bytes"])
@pytest.mark.parametrize("value", [-1, 1.5, "1", None, True, np.nan])
def test_bad_budgets_are_refused(name, value):
    """Whole numbers of bytes, zero included."""
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        EmbeddingCache(**{name: value})


def test_numpy_integers_are_whole_numbers():
    """As they come out of a computation."""
    assert EmbeddingCache(host_bytes=np.int64(5)).host.budget == 5


def test_a_file_is_no_directory(tmp_path):
    """It is refused at once, and not touched."""
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(ValueError, match="directory must not be a file"):
        EmbeddingCache(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("directory", [5, 1.5, ["a"]])
def test_what_is_no_path_is_refused(directory):
    """A ValueError, not whatever pathlib raises."""
    with pytest.raises(ValueError, match="directory must"):
        EmbeddingCache(directory)
