"""What keeps a store from being read is told by its own sentence; "damaged" is said only of what is damaged."""

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from numcodecs.errors import UnknownCodecError

from bcnmf_dask import BCNMF, ingest, split
from bcnmf_dask.data import elements
from bcnmf_dask.data.handles import reading
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError
from bcnmf_dask.failures.explaining import explained, is_kept_out

DAMAGED = "It is truncated or damaged: copy or write it again"


def refused(path, message, kind=Exception):
    """What a fit and an ingest say; its cause is what the library raised."""
    for role, use in (
        ("target", lambda: BCNMF(2, alpha=0.0, max_iter=1, tol=0).fit(path, client=False)),
        ("source", lambda: ingest(path, f"{path}.out.zarr")),
    ):
        with pytest.raises(InputError, match=rf"^({role}: )?'{path}' could not be read .*{message}") as error:
            use()
        assert isinstance(error.value.__cause__, kind)
        assert ("damaged" in str(error.value)) == ("damaged" in message)
    return str(error.value)


@pytest.fixture
def h5ad(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return tmp_path / "a.h5ad"


@pytest.fixture
def dense(tmp_path):
    """``dense(zarr_format, **metadata)``: an array of Zarr whose metadata are then changed."""

    def written(version, name="m.zarr", **changed):
        rows = np.random.default_rng(0).random((120, 30)).astype("f4")
        zarr.create_array(tmp_path / name, data=rows, chunks=(50, 30), zarr_format=version)
        path = tmp_path / name / (".zarray" if version == 2 else "zarr.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
        return tmp_path / name

    return written


class TestLocks:
    @pytest.fixture
    def locked(self, h5ad):
        """An ``.h5ad`` that another process has open for writing."""
        code = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print(flush=True); sys.stdin.read()"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", code, str(h5ad)], **pipes) as other:
            other.stdout.readline()
            yield h5ad
            other.stdin.close()

    def test_the_process_that_has_it_is_to_close_it(self, locked):
        refused(locked, r"It is open for writing in another process: close it there.*backed='r\+'", BlockingIOError)
        with pytest.raises(InputError, match=r"store: .*open for writing in another process"):
            split(locked, "condition", "stim", "ctrl")

    def test_the_repair_that_is_named(self, locked, matrix):
        code = (
            "import sys; from bcnmf_dask.data.inputs import read_inputs\n"
            "print(read_inputs(sys.argv[1], None).stores[0].source.read(0, 23).sum())"
        )
        environment = {**os.environ, "HDF5_USE_FILE_LOCKING": "FALSE", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", code, locked], env=environment, capture_output=True, text=True, check=True
        )
        assert float(done.stdout) == matrix.sum()

    def test_a_file_system_without_locks(self):
        error = OSError(errno.ENOLCK, "Unable to synchronously open file (unable to lock file, errno = 37, ...)")
        assert "Its file system has no locks: set the environment variable" in explained("a.h5ad", error)

    def test_a_mark_that_a_dead_program_left(self, tmp_path):
        with h5py.File(tmp_path / "a.h5ad", "w", libver="latest") as file:
            file.create_group("obs")
            file.create_group("var")
            file.flush()
            shutil.copy(tmp_path / "a.h5ad", tmp_path / "b.h5ad")
        refused(tmp_path / "b.h5ad", r"A program has it open for writing, or ended without .*`h5clear --status FILE`")


class TestWhatIsNotInstalled:
    @pytest.fixture
    def filtered(self, h5ad):
        """Packed by a filter of HDF5 that is not there: the number of another stands in the place of gzip's."""
        content = bytearray(h5ad.read_bytes())
        place = content.find(b"deflate\x00")
        assert place > 0
        while place > 0:
            content[place - 8 : place - 6] = (32015).to_bytes(2, "little")
            place = content.find(b"deflate\x00", place + 1)
        h5ad.write_bytes(content)
        return h5ad

    def test_a_filter_is_named(self, filtered):
        refused(
            filtered, r"It is compressed with filter 32015 \(deflate\), .* pip install hdf5plugin, here and on", OSError
        )

    def test_hdf5plugin_is_loaded_once_a_file_of_hdf5_is_read(self, h5ad, tmp_path, monkeypatch):
        (tmp_path / "library").mkdir()
        (tmp_path / "library" / "hdf5plugin.py").write_text("import sys; sys.modules['hdf5plugin_was_loaded'] = sys")
        monkeypatch.syspath_prepend(tmp_path / "library")
        monkeypatch.delitem(sys.modules, "hdf5plugin_was_loaded", raising=False)
        elements.load_filters.cache_clear()
        read_inputs(h5ad, None)
        assert sys.modules.pop("hdf5plugin_was_loaded", None)
        read_inputs(h5ad, None)
        assert "hdf5plugin_was_loaded" not in sys.modules
        del sys.modules["hdf5plugin"]

    def test_an_hdf5plugin_that_does_not_go_with_this_hdf5_does_no_harm(self, h5ad, tmp_path, monkeypatch):
        (tmp_path / "hdf5plugin.py").write_text("raise RuntimeError('built for another HDF5')")
        monkeypatch.syspath_prepend(tmp_path)
        elements.load_filters.cache_clear()
        assert read_inputs(h5ad, None).n_features == 7

    @pytest.mark.parametrize(
        ("codec", "package"),
        [
            ("imagecodecs_lerc", "imagecodecs"),
            ("pcodec_x", r"numcodecs\[pcodec\]"),
            ("own", "the package that provides it"),
        ],
    )
    def test_a_codec_and_its_package_are_named(self, codec, package, dense):
        repair = rf"It is packed with the codec '{codec}', .* install {package}.*, here and on the workers"
        refused(dense(2, "two.zarr", compressor={"id": codec}), repair, UnknownCodecError)
        refused(dense(2, "filters.zarr", filters=[{"id": codec}]), repair, UnknownCodecError)
        codecs = [{"name": "bytes"}, {"name": codec, "configuration": {}}]
        refused(dense(3, "three.zarr", codecs=codecs), repair)


class TestTypes:
    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_of_zarr(self, zarr_format, dense):
        key = "dtype" if zarr_format == 2 else "data_type"
        refused(dense(zarr_format, **{key: "bfloat16"}), "It holds values of a type that cannot be read here.*float32")

    def test_of_hdf5(self, adata, tmp_path):
        adata.X = adata.X.toarray()
        adata.write_h5ad(tmp_path / "a.h5ad")
        with h5py.File(tmp_path / "a.h5ad", "r+") as file:
            del file["X"]
            time = h5py.h5t.UNIX_D32LE
            X = h5py.h5d.create(file.id, b"X", time, h5py.h5s.create_simple((23, 7)))
            X.write(h5py.h5s.ALL, h5py.h5s.ALL, np.zeros((23, 7), dtype="i4"), mtype=time)
        refused(tmp_path / "a.h5ad", "It holds values of a type that cannot be read here", TypeError)

    def test_objects(self, tmp_path):
        np.save(tmp_path / "m.npy", np.array([[1, None]]))
        refused(tmp_path / "m.npy", r"It holds Python objects \(a pickle\), .*numpy\.save.*astype", ValueError)


class TestTheSystem:
    """What cannot be brought about in a test, as by root, is raised where libraries raise it."""

    @pytest.mark.parametrize(
        ("number", "message"),
        [
            (errno.EACCES, "may not be read by the user .*; it belongs to .* `chmod -R a\\+rX PATH`"),
            (errno.EPERM, "may not be read by the user "),
            (errno.EMFILE, "as many files open as it may: raise that with `ulimit -n 65536`"),
            (errno.ENFILE, "as many files open as it may"),
            (errno.ENOMEM, "The memory of this machine was not enough"),
            (errno.EIO, "The storage failed, which says nothing about the file"),
            (errno.ESTALE, "The storage failed, which says nothing about the file"),
            (errno.ETIMEDOUT, "The server does not answer"),
        ],
    )
    @pytest.mark.parametrize("name", ["a.h5ad", "m.npy"])
    def test_errors_by_number(self, number, message, name, h5ad, matrix, monkeypatch):
        def fail(*_, **__):
            raise OSError(number, os.strerror(number))

        path = h5ad.parent / name
        if name == "m.npy":
            np.save(path, matrix)
        monkeypatch.setattr(*((h5py, "File", fail) if name == "a.h5ad" else (np, "load", fail)))
        refused(path, message, OSError)

    def test_what_a_library_wraps_is_found_underneath(self):
        error = RuntimeError("chunk could not be fetched")
        error.__cause__ = PermissionError(errno.EACCES, "Permission denied")
        with pytest.raises(InputError, match=r"could not be read .*RuntimeError.*may not be read"), reading("m.zarr"):
            raise error

    def test_memory_that_ran_out_stays_what_it_is(self):
        with pytest.raises(MemoryError), reading("m.zarr"):
            raise MemoryError

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (PermissionError("Forbidden"), "The server refuses to give it: give this process credentials"),
            (OSError("403, message='Forbidden', url='...'"), "The server refuses to give it"),
            (type("NoCredentialsError", (Exception,), {})("Unable to locate"), "The server refuses to give it"),
            (TimeoutError(), "The server does not answer: see that it can be reached"),
            (type("ClientConnectorError", (ConnectionError,), {})("x"), "The server does not answer"),
        ],
    )
    def test_servers(self, error, message):
        with (
            pytest.raises(InputError, match=rf"'s3://b/a\.zarr' could not be read .*{message}"),
            reading("s3://b/a.zarr"),
        ):
            raise error


class TestVersions:
    @pytest.mark.parametrize(
        "changed", [{"zarr_format": 4}, {"chunk_grid": {"name": "other", "configuration": {}}}, {"more": 1}]
    )
    def test_of_zarr(self, changed, dense):
        refused(dense(3, **changed), rf"newer version of its format than .*zarr {zarr.__version__}.*it is damaged")

    def test_of_anndata(self, h5ad):
        with h5py.File(h5ad, "r+") as file:
            file["obs/condition"].attrs["encoding-version"] = "9.0.0"
        known = rf"newer version of its format than anndata {version('anndata')}"
        with pytest.raises(InputError, match=rf"store: .*a\.h5ad' could not be read \(IORegistryError.*{known}"):
            split(h5ad, "condition", "stim", "ctrl")

    def test_of_numpy(self, matrix, tmp_path):
        np.save(tmp_path / "m.npy", matrix)
        content = (tmp_path / "m.npy").read_bytes()
        (tmp_path / "m.npy").write_bytes(content[:6] + b"\x09" + content[7:])
        refused(tmp_path / "m.npy", "newer version of its format .*it is damaged", ValueError)

    def test_of_hdf5(self, h5ad):
        content = bytearray(h5ad.read_bytes())
        content[8] = 9
        h5ad.write_bytes(content)
        refused(h5ad, rf"newer version .* HDF5 {h5py.version.hdf5_version} .*it is damaged", OSError)


WRONG = {
    "page": (b"\n<!DOCTYPE html><html>", "but a web page; the download has failed, or wants a login"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid x", "but a pointer of Git LFS .*`git lfs pull`"),
    "annex": (b"/annex/objects/SHA256E-s1--x", "but a pointer of git-annex"),
    "gzip": (gzip.compress(b"x"), "but packed by gzip; unpack it with gunzip"),
    "xml": (b"<?xml version='1.0'?><Error>", "but an XML document, such as servers send for errors"),
    "parquet": (b"PAR1", "but a Parquet file"),
    "pickle": (b"\x80\x04\x95", "but a Python pickle, which is not read"),
    "text": (b"cell,gene\n", "but text that begins with 'cell,gene"),
    "other": (b"\x01\x02\x03", "but something that begins with the bytes 01 02 03"),
    "zeros": (bytes(4096), "but nothing but zeros at its beginning; its copy was broken off"),
    "nothing": (b"", "but empty; its copy was broken off, or nothing was written"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize(
    ("name", "kind"), [("m.h5ad", "an HDF5 file"), ("m.npy", "an array"), ("m.npz", "a zip archive")]
)
def test_another_kind_of_file_than_the_name_says(name, kind, case, tmp_path):
    content, found = WRONG[case]
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, f"It is not {kind}.*, {found}")


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at : at + 64] = bytes(byte ^ 0x5A for byte in content[at : at + 64])
    path.write_bytes(content)


class TestDamage:
    @pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
    def test_a_file_of_hdf5_that_is_cut(self, share, h5ad):
        cut(h5ad, share)
        refused(h5ad, DAMAGED, OSError)

    def test_packed_values_that_are_altered(self, h5ad):
        with h5py.File(h5ad) as file:
            place = file["X/data"].id.get_chunk_info(0).byte_offset
        flip(h5ad, place)
        refused(h5ad, DAMAGED, OSError)

    @pytest.mark.parametrize("name", ["m.npy", "m.npz"])
    def test_a_file_of_numpy_that_is_cut(self, name, matrix, tmp_path):
        np.save(tmp_path / name, matrix) if name == "m.npy" else sp.save_npz(tmp_path / name, sp.csr_array(matrix))
        cut(tmp_path / name)
        refused(tmp_path / name, DAMAGED)

    @pytest.mark.parametrize("zarr_format", [2, 3])
    @pytest.mark.parametrize("harm", [cut, lambda path: flip(path, 20)])
    def test_chunks(self, harm, zarr_format, dense):
        path = dense(zarr_format)
        harm(path / ("1.0" if zarr_format == 2 else "c/1/0"))
        refused(path, DAMAGED)

    def test_a_shard_whose_checksum_is_another(self, tmp_path):
        array = zarr.create_array(tmp_path / "m.zarr", shape=(60, 9), chunks=(10, 9), shards=(60, 9), dtype="f4")
        array[:] = 1
        flip(tmp_path / "m.zarr" / "c" / "0" / "0", (tmp_path / "m.zarr" / "c" / "0" / "0").stat().st_size - 64)
        refused(tmp_path / "m.zarr", DAMAGED)

    def test_metadata(self, dense):
        path = dense(3)
        cut(path / "zarr.json")
        refused(path, DAMAGED, json.JSONDecodeError)

    def test_parts_that_are_gone_are_named(self, h5ad):
        with h5py.File(h5ad, "r+") as file:
            del file["X/indices"]
        refused(h5ad, r"A part of it is not there \(indices\): copy it again, whole", KeyError)

    def test_a_store_that_is_gone(self, dense):
        source = read_inputs(dense(3), None).stores[0].source
        source.close()
        shutil.rmtree(source.path)
        with pytest.raises(InputError, match=r"could not be read .*if all of it is gone, check the path"):
            source.read(0, 5)


def test_names_that_are_not_utf8(h5ad):
    with h5py.File(h5ad, "r+") as file:
        del file["var/_index"]
        file["var"].create_dataset("_index", data=np.array([b"g\xe9%d" % i for i in range(7)]))
        file["var/_index"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    with pytest.raises(
        InputError, match=r"^target: the names in /var/_index of .* cannot be read as text: .*not UTF-8.*obs_names"
    ):
        read_inputs(h5ad, None)


def test_what_is_not_known_is_not_called_damaged(tmp_path):
    with (
        pytest.raises(InputError, match=r"could not be read .RuntimeError: strange.*not known here") as error,
        reading("x"),
    ):
        raise RuntimeError("strange")
    assert "damaged" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "kept_out"),
    [
        (OSError(errno.EACCES, "x"), True),
        (OSError(errno.EIO, "x"), True),
        (UnknownCodecError("x"), True),
        (KeyError("components"), False),
        (json.JSONDecodeError("x", "{", 0), False),
        (ValueError("3 of 4 chunks are missing"), False),
    ],
)
def test_what_is_around_a_store_is_told_from_what_is_in_it(error, kept_out):
    assert is_kept_out(error) == kept_out


def test_the_sentence_of_a_relative_path_is_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.npy").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"'m\.npy' could not be read .*but a web page"):
        read_inputs("m.npy", None)
