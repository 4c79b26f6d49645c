"""Files that are not what they say: only the reader's error, and nothing wrong is taken in.

Three hundred files are made from a good one by a generator; each is wrong in one way.
"""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from scoreregs_offline_rl.data.hdf5 import check_storage
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.errors import DataError

ROWS = 40
PER_WAY = 10
Arrays = dict[str, Any]


def good() -> Arrays:
    rng = np.random.default_rng(0)
    return {
        "observations": rng.normal(size=(ROWS, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (ROWS, 2)).astype(np.float32),
        "rewards": rng.normal(size=ROWS).astype(np.float32),
        "terminals": np.arange(ROWS) % 20 == 19,
        "timeouts": np.arange(ROWS) % 20 == 9,
    }


def pick(rng, *keys):
    return str(rng.choice(keys or list(good())))


# What is wrong with the arrays, by either format.
def missing(given: Arrays, rng) -> None:
    del given[pick(rng)]


def not_finite(given: Arrays, rng) -> None:
    key = pick(rng, "observations", "actions", "rewards")
    given[key][rng.integers(ROWS)] = rng.choice([np.nan, np.inf, -np.inf])


def too_large(given: Arrays, rng) -> None:
    key = pick(rng, "observations", "actions", "rewards")
    given[key] = given[key].astype(np.float64)
    given[key][rng.integers(ROWS)] = rng.choice([1e39, -1e200])


def no_flags(given: Arrays, rng) -> None:
    key = pick(rng, "terminals", "timeouts")
    given[key] = given[key].astype(np.float64)
    given[key][rng.integers(ROWS)] = rng.choice([0.5, 2.0, -1.0, np.nan])


def of_another_length(given: Arrays, rng) -> None:
    key = pick(rng)
    given[key] = given[key][: rng.integers(ROWS)]


def of_another_rank(given: Arrays, rng) -> None:
    key = pick(rng)
    given[key] = np.stack([given[key]] * int(rng.integers(2, 5)), axis=-1)


def of_another_type(given: Arrays, rng) -> None:
    key = pick(rng)
    # Flags and rewards may be whole numbers.
    kinds = ["S4", "complex64", *["int64"] * (key in ("observations", "actions"))]
    given[key] = given[key].astype(rng.choice(kinds))


def without_features(given: Arrays, rng) -> None:
    key = pick(rng, "observations", "actions")
    given[key] = given[key][:, :0]


def of_fields(given: Arrays, rng) -> None:
    key = pick(rng)
    given[key] = np.zeros(ROWS, dtype=[("x", "f4"), ("y", "f4")])


ARRAYS = [
    missing,
    not_finite,
    too_large,
    no_flags,
    of_another_length,
    of_another_rank,
    of_another_type,
    without_features,
    of_fields,
]


def write_npz(path: Path, given: Arrays, **extra) -> None:
    np.savez_compressed(path, **given, **extra)


def write_hdf5(path: Path, given: Arrays) -> None:
    with h5py.File(path, "w") as file:
        for key, array in given.items():
            file.create_dataset(key, data=array)


# What is wrong with an NPZ file.
def npz_cut(path: Path, rng) -> None:
    write_npz(path, good())
    path.write_bytes(path.read_bytes()[: rng.integers(path.stat().st_size)])


def npz_huge(path: Path, rng) -> None:
    """A header that promises more than the file has, also more than an integer holds."""
    sizes = [(1 << 40, 3), (1 << 62, 1 << 62), (10**30, 3), (ROWS + 1, 3), (-1, 3), (1 << 33, 0, 3)]
    sizes += [(1 << 60, 0), (0, 1 << 60), (1 << 62, 0)]
    shape = sizes[rng.integers(len(sizes))]
    key = pick(rng, "observations", "rewards")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in good().items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array)
            content = buffer.getvalue()
            if name == key:
                header = repr({"descr": "<f4", "fortran_order": False, "shape": shape})
                length = len(content) - array.nbytes - 10
                content = content[:10] + header.ljust(length).encode() + array.tobytes()
            file.writestr(f"{name}.npy", content)


def npz_bomb(path: Path, rng) -> None:
    """Zeros that fit only as long as they are compressed, in a member that denies its size."""
    write_npz(path, good())
    content = bytearray(path.read_bytes())
    # The size of the first member in the central directory.
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = int(rng.integers(1 << 20, 1 << 31)).to_bytes(4, "little")
    path.write_bytes(content)


def npz_pickled(path: Path, rng) -> None:
    write_npz(path, {**good(), pick(rng): np.array([{}] * ROWS, dtype=object)})


# Environments that are none, as text.
NO_ENVIRONMENTS = [
    "a\nb",
    "Pendulum-v1 {",
    'Pendulum-v1 {"kwargs": 3}',
    'Pendulum-v1 {"max_episode_steps": -1}',
    'Pendulum-v1 {"entry_point": "os:system"}',
    "this:Pendulum-v1",
]


def npz_environment(path: Path, rng) -> None:
    values = [np.arange(3), np.float32(3.0), np.array(["a", "b"]), np.array(True)]
    values += map(np.array, NO_ENVIRONMENTS)
    write_npz(path, good(), environment=values[rng.integers(len(values))])


def npz_noise(path: Path, rng) -> None:
    path.write_bytes(rng.bytes(int(rng.integers(0, 3000))))


# What is wrong with an HDF5 file.
def hdf5_cut(path: Path, rng) -> None:
    write_hdf5(path, good())
    path.write_bytes(path.read_bytes()[: rng.integers(path.stat().st_size)])


def hdf5_huge(path: Path, rng) -> None:
    given, key = good(), pick(rng, "observations", "actions", "rewards")
    array = given.pop(key)
    write_hdf5(path, given)
    rows = int(rng.choice([1 << 45, 1 << 50, (1 << 60) - 1]))
    with h5py.File(path, "a") as file:
        made = file.create_dataset(
            key, (rows, *array.shape[1:]), "f4", chunks=(1000, *array.shape[1:])
        )
        if rng.integers(2):
            made[:1000] = 1.0


def hdf5_never_written(path: Path, rng) -> None:
    given, key = good(), pick(rng)
    array = given.pop(key)
    write_hdf5(path, given)
    with h5py.File(path, "a") as file:
        file.create_dataset(key, array.shape, array.dtype, chunks=array.shape)


def hdf5_partly_written(path: Path, rng) -> None:
    given, key = good(), pick(rng)
    array = given.pop(key)
    write_hdf5(path, given)
    written = int(rng.integers(1, 4)) * 10
    with h5py.File(path, "a") as file:
        made = file.create_dataset(
            key,
            array.shape,
            array.dtype,
            chunks=(10, *array.shape[1:]),
            compression=rng.choice([None, "gzip"]),
        )
        made[:written] = array[:written]


def hdf5_without_numbers(path: Path, rng) -> None:
    """As many rows as nothing takes no memory for."""
    given, key = good(), pick(rng, "observations", "actions")
    del given[key]
    write_hdf5(path, given)
    shapes = [(1 << 60, 0), (1 << 40, 0), (0, 1 << 50), (1 << 55, 0, 2)]
    with h5py.File(path, "a") as file:
        file.create_dataset(key, shapes[rng.integers(len(shapes))], "f4")


def hdf5_external(path: Path, rng) -> None:
    given, key = good(), pick(rng)
    array = given.pop(key)
    write_hdf5(path, given)
    outside = path.with_name("outside.bin")
    array.tofile(outside)
    with h5py.File(path, "a") as file:
        file.create_dataset(key, array.shape, array.dtype, external=str(outside))


def hdf5_virtual(path: Path, rng) -> None:
    given, key = good(), pick(rng)
    array = given.pop(key)
    write_hdf5(path, given)
    outside = path.with_name("outside.h5")
    write_hdf5(outside, {key: array})
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[...] = h5py.VirtualSource(str(outside), key, shape=array.shape)
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset(key, layout)


def hdf5_linked_outside(path: Path, rng) -> None:
    given, key = good(), pick(rng)
    outside = path.with_name("outside.h5")
    write_hdf5(outside, {key: given.pop(key)})
    write_hdf5(path, given)
    with h5py.File(path, "a") as file:
        file[key] = h5py.ExternalLink(str(outside), key)


def hdf5_link_to_nothing(path: Path, rng) -> None:
    given, key = good(), pick(rng)
    del given[key]
    write_hdf5(path, given)
    with h5py.File(path, "a") as file:
        file[key] = h5py.SoftLink(f"/{rng.choice(['absent', key, 'a/b'])}")


def hdf5_group_or_empty(path: Path, rng) -> None:
    given, key = good(), pick(rng)
    del given[key]
    write_hdf5(path, given)
    with h5py.File(path, "a") as file:
        if rng.integers(2):
            file.create_group(key)
        else:
            file.create_dataset(key, data=h5py.Empty("f4"))


def hdf5_ragged(path: Path, rng) -> None:
    given, key = good(), pick(rng)
    del given[key]
    write_hdf5(path, given)
    with h5py.File(path, "a") as file:
        made = file.create_dataset(key, (ROWS,), h5py.vlen_dtype(np.float32))
        for row in range(ROWS):
            made[row] = np.zeros(rng.integers(1, 4), np.float32)


def hdf5_environment(path: Path, rng) -> None:
    write_hdf5(path, good())
    values: list[Any] = [
        np.arange(3),
        3.0,
        ["a", "b"],
        h5py.Empty("f4"),
        *NO_ENVIRONMENTS,
        b"\xff\xfe\n",
        True,
    ]
    with h5py.File(path, "a") as file:
        file.attrs["environment"] = values[rng.integers(len(values))]


def hdf5_noise(path: Path, rng) -> None:
    start = rng.choice([b"", b"\x89HDF\r\n\x1a\n"])
    path.write_bytes(start + rng.bytes(int(rng.integers(0, 3000))))


# What is wrong with a data set of Minari.
EPISODE = {"observations": (6, 3), "actions": (5, 2), "rewards": (5,)}
EPISODE |= {"terminations": (5,), "truncations": (5,)}


def write_minari(path: Path, rng, changes: Callable[[Any, str], None], **more: Any) -> None:
    """Two episodes of five steps, in one of which one array is changed."""
    minari, spaces = pytest.importorskip("minari"), pytest.importorskip("gymnasium.spaces")
    serialize, box = minari.serialization.serialize_space, spaces.Box
    metadata = {
        "data_format": "hdf5",
        "dataset_id": "made/log-v0",
        "minari_version": minari.__version__,
        "total_episodes": 2,
        "total_steps": 10,
        "observation_space": serialize(box(-1, 1, (3,), np.float64)),
        "action_space": serialize(box(-1, 1, (2,), np.float64)),
    }
    (path / "data").mkdir(parents=True)
    (path / "data" / "metadata.json").write_text(json.dumps(metadata | more))
    with h5py.File(path / "data" / "main_data.hdf5", "w") as file:
        for number in range(2):
            group = file.create_group(f"episode_{number}")
            group.attrs.update({"id": number, "total_steps": 5})
            for key, shape in EPISODE.items():
                flags = key in ("terminations", "truncations")
                group[key] = np.zeros(shape, bool) if flags else rng.uniform(-1, 1, shape)
        key = pick(rng, *EPISODE)
        changes(file[f"episode_{rng.integers(2)}"], key)


def minari_never_written(path: Path, rng) -> None:
    def change(group, key: str) -> None:
        dtype = group[key].dtype
        del group[key]
        group.create_dataset(key, EPISODE[key], dtype, chunks=bool(rng.integers(2)) or None)

    write_minari(path, rng, change)


def minari_partly_written(path: Path, rng) -> None:
    def change(group, key: str) -> None:
        shape, dtype = EPISODE[key], group[key].dtype
        del group[key]
        made = group.create_dataset(key, shape, dtype, chunks=(2, *shape[1:]))
        made[:2] = 0

    write_minari(path, rng, change)


def minari_huge(path: Path, rng) -> None:
    def change(group, key: str) -> None:
        inner, dtype = EPISODE[key][1:], group[key].dtype
        del group[key]
        rows = int(rng.choice([1 << 40, 1 << 50, (1 << 57)]))
        if inner and rng.integers(2):
            group.create_dataset(key, (rows, 0), dtype)
            return
        made = group.create_dataset(key, (rows, *inner), dtype, chunks=(1000, *inner))
        if rng.integers(2):
            made[:1000] = 0

    write_minari(path, rng, change)


def minari_space_huge(path: Path, rng) -> None:
    count = int(rng.choice([1 << 32, 1 << 50, (1 << 62)]))
    spaces = [
        {"type": "Discrete", "dtype": "int64", "start": 0, "n": count},
        {"type": "Box", "dtype": "float64", "shape": [count], "low": [0.0], "high": [1.0]},
        {"type": "MultiDiscrete", "dtype": "int64", "nvec": [count, count], "start": [0, 0]},
    ]
    space = json.dumps(spaces[rng.integers(len(spaces))])
    write_minari(path, rng, lambda group, key: None, observation_space=space)


NPZ = [npz_cut, npz_huge, npz_bomb, npz_pickled, npz_environment, npz_noise]
HDF5 = [
    hdf5_cut,
    hdf5_huge,
    hdf5_never_written,
    hdf5_partly_written,
    hdf5_without_numbers,
    hdf5_external,
    hdf5_virtual,
    hdf5_linked_outside,
    hdf5_link_to_nothing,
    hdf5_group_or_empty,
    hdf5_ragged,
    hdf5_environment,
    hdf5_noise,
]


MINARI = [minari_never_written, minari_partly_written, minari_huge, minari_space_huge]


def by_arrays(change: Callable[[Arrays, Any], None], write: Callable[..., None]):
    def make(path: Path, rng) -> None:
        given = good()
        change(given, rng)
        write(path, given)

    make.__name__ = change.__name__
    return make


CASES = [(way, ".npz") for way in NPZ] + [(way, ".hdf5") for way in HDF5]
CASES += [(way, "") for way in MINARI]
CASES += [(by_arrays(change, write_npz), ".npz") for change in ARRAYS]
CASES += [(by_arrays(change, write_hdf5), ".hdf5") for change in ARRAYS]


def test_there_are_three_hundred():
    assert len(CASES) * PER_WAY >= 300


@pytest.mark.parametrize(
    ("make", "suffix"), CASES, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_file_that_lies_is_refused(tmp_path, make, suffix):
    for seed in range(PER_WAY):
        path = tmp_path / f"log-{seed}{suffix}"
        make(path, np.random.default_rng(seed))
        with pytest.raises(DataError) as caught:
            load_data(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value) or "a\nb" in str(caught.value)


def test_the_good_one_of_minari_is_read(tmp_path):
    write_minari(tmp_path / "log", np.random.default_rng(0), lambda group, key: None)
    assert len(load_data(tmp_path / "log")) == 10


@pytest.mark.parametrize(("write", "suffix"), [(write_npz, ".npz"), (write_hdf5, ".hdf5")])
def test_the_good_one_is_read(tmp_path, write, suffix):
    write(tmp_path / f"log{suffix}", good())
    assert len(load_data(tmp_path / f"log{suffix}")) == ROWS - 2


def test_a_bit_that_flipped_changes_nothing_or_is_found(tmp_path):
    """Zip keeps a sum of each array; HDF5 does where it is asked to."""
    write_npz(tmp_path / "log.npz", good())
    with h5py.File(tmp_path / "log.hdf5", "w", libver="latest") as file:
        for key, array in good().items():
            file.create_dataset(key, data=array, chunks=array.shape, fletcher32=True)
    rng, found = np.random.default_rng(0), {".npz": 0, ".hdf5": 0}
    for suffix in found:
        whole = (tmp_path / f"log{suffix}").read_bytes()
        expected = load_data(tmp_path / f"log{suffix}")
        for _ in range(60):
            flipped = bytearray(whole)
            flipped[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
            (tmp_path / f"flipped{suffix}").write_bytes(flipped)
            try:
                data = load_data(tmp_path / f"flipped{suffix}")
            except DataError:
                found[suffix] += 1
            else:
                for name, value in vars(expected).items():
                    if isinstance(value, torch.Tensor):
                        assert torch.equal(getattr(data, name), value), name
    assert min(found.values()) > 10


def test_a_link_inside_the_file_is_read(tmp_path):
    path = tmp_path / "log.hdf5"
    write_hdf5(path, {f"raw/{key}": array for key, array in good().items()})
    with h5py.File(path, "a") as file:
        for key in good():
            file[key] = h5py.SoftLink(f"/raw/{key}")
        file["raw/again"] = h5py.SoftLink("/raw")
        file["raw/self"] = file["raw"]
    assert len(load_data(path)) == ROWS - 2


def test_nothing_is_allocated_for_a_promise(tmp_path):
    given = good()
    with zipfile.ZipFile(tmp_path / "log.npz", "w") as file:
        for name, array in given.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array)
            content = buffer.getvalue()
            if name == "rewards":
                content = content.replace(b"(40,), }" + b" " * 9, b"(4000000000,), } ")
                assert b"4000000000" in content
            file.writestr(f"{name}.npy", content)
    with pytest.raises(DataError, match="takes 16000000000 bytes, of which the file holds 160"):
        load_data(tmp_path / "log.npz")


@pytest.mark.parametrize("memory", [300, 500])
@pytest.mark.parametrize("kind", ["npz", "hdf5", "minari"])
def test_what_does_not_fit_into_memory(tmp_path, monkeypatch, kind, memory):
    path = tmp_path / ("log" if kind == "minari" else f"log.{kind}")
    if kind == "minari":
        write_minari(path, np.random.default_rng(0), lambda group, key: None)
    else:
        (write_npz if kind == "npz" else write_hdf5)(path, good())
    load_data(path)
    monkeypatch.setattr("scoreregs_offline_rl.data.room._memory", lambda: memory)
    with pytest.raises(DataError, match="memory left here") as caught:
        load_data(path)
    assert caught.value.key is not None


def test_storage_elsewhere_is_found_without_reading(tmp_path):
    path = tmp_path / "log.hdf5"
    write_hdf5(path, good())
    check_storage(path)
    hdf5_external(path, np.random.default_rng(0))
    (tmp_path / "outside.bin").unlink()
    with pytest.raises(DataError, match="another file"):
        check_storage(path)
