"""Models by name and by file: found, checked, recognised, never half-loaded."""

from __future__ import annotations

import io
import os
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pooch
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam import registry
from napari_sam._tests.golden import CHECKPOINTS, checkpoint_shapes
from napari_sam.modeling.sam import build_sam
from napari_sam.predictor import Predictor
from napari_sam.registry import build_from_state, load_model, read_state
from napari_sam.types import ModelSpec

MOBILE_SAM = registry.MODELS["mobile_sam"]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Read the state dict that comes with the package."""
    return read_state(registry.checkpoint_path(MOBILE_SAM))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Use a directory of downloads of its own."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def a_spec(content: bytes, tmp_path: Path) -> ModelSpec:
    """Make a model whose file has this content."""
    path = tmp_path / "content"
    path.write_bytes(content)
    return ModelSpec(
        "some_model",
        "vit_t",
        "https://example.org/some_model.pt",
        f"sha256:{pooch.file_hash(str(path))}",
        "MIT",
        "a test",
        "some_model.pt",
    )


# The table


def test_the_default_is_first_and_bundled():
    """And it is the only one that comes with the package."""
    first, *others = registry.MODELS.values()
    assert first.name == "mobile_sam"
    assert first.bundled
    assert not any(spec.bundled for spec in others)
    vits = {"vit_t", "vit_b", "vit_l", "vit_h"}
    assert {spec.encoder for spec in others} == vits | {
        "sam2",
        "sam3",
        "sam_hq",
        "edgetam",
    }


@pytest.mark.parametrize("spec", registry.MODELS.values(), ids=lambda spec: spec.name)
def test_every_row_is_complete(spec):
    """An address, a checksum of its kind, a licence, a name for the file."""
    assert registry.get_spec(spec.name) is spec
    assert spec.url.startswith("https://")
    checksum = "" if spec.repository else "sha256:[0-9a-f]{64}|xxh128:[0-9a-f]{32}"
    assert re.fullmatch(checksum, spec.checksum)
    assert spec.license
    assert spec.description
    assert Path(spec.file_name).name == spec.file_name


def test_no_two_rows_share_a_file():
    """One would pass for the other."""
    specs = registry.MODELS.values()
    for values in (
        {spec.file_name for spec in specs},
        {spec.checksum or spec.repository for spec in specs},
        {spec.url for spec in specs},
    ):
        assert len(values) == len(specs)


@pytest.mark.parametrize("name", ["sam", "", None, 5, ["mobile_sam"]])
def test_unknown_names_are_refused(name):
    """With the names there are."""
    with pytest.raises(ValueError, match="model must be one of mobile_sam, sam_vit_b"):
        registry.get_spec(name)
    with pytest.raises(ValueError, match="model must be one of"):
        load_model(name)


# Where files are


def test_the_environment_moves_the_cache(cache):
    """`NAPARI_SAM_CACHE` decides; looking makes no directory."""
    spec = registry.MODELS["sam_vit_b"]
    assert registry.cache_directory() == cache
    assert registry.checkpoint_path(spec) == cache / "sam_vit_b_01ec64.pth"
    assert not registry.is_available(spec)
    assert not cache.exists()


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_users_cache_is_used(monkeypatch, value):
    """An empty variable counts as none."""
    monkeypatch.delenv("NAPARI_SAM_CACHE", raising=False)
    if value is not None:
        monkeypatch.setenv("NAPARI_SAM_CACHE", value)
    assert registry.cache_directory() == Path(pooch.os_cache("napari-sam"))


def test_the_bundled_file_is_intact(cache):
    """Its checksum is the published one, and the cache is not asked."""
    assert registry.is_available(MOBILE_SAM)
    path = registry.download(MOBILE_SAM)
    assert path.name == "mobile_sam.pt"
    assert not cache.exists()


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_damaged_bundled_file_is_refused(tmp_path, monkeypatch, content):
    """Missing, or with another checksum."""
    path = tmp_path / "mobile_sam.pt"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(registry, "checkpoint_path", lambda _spec: path)
    with pytest.raises(OSError, match="missing or damaged; install") as caught:
        load_model("mobile_sam")
    assert str(path) in str(caught.value)


# Downloads


def test_a_failed_download_says_what_to_put_where(cache, monkeypatch):
    """The file, its address, the reason."""

    def offline(*_arguments, **_options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    spec = registry.MODELS["sam_vit_b"]
    with pytest.raises(OSError, match="could not download sam_vit_b") as caught:
        load_model("sam_vit_b")
    for part in (spec.url, str(cache / spec.file_name), "no route to host"):
        assert part in str(caught.value)


def serve(monkeypatch, content: bytes) -> list[str]:
    """Let downloads give this content; returns the addresses asked for."""
    asked = []

    def fetch(_self, url, output_file, _pooch, **_options):
        asked.append(url)
        Path(output_file).write_bytes(content)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fetch)
    return asked


def test_a_download_is_kept_and_not_repeated(cache, tmp_path, monkeypatch):
    """The second time the file is there."""
    asked = serve(monkeypatch, b"weights")
    spec = a_spec(b"weights", tmp_path)
    assert not registry.is_available(spec)
    assert registry.download(spec) == registry.download(spec) == cache / "some_model.pt"
    assert asked == [spec.url]
    assert registry.is_available(spec)


def test_a_file_put_there_by_hand_is_found(cache, tmp_path, monkeypatch):
    """As the error of a failed download tells."""
    asked = serve(monkeypatch, b"other")
    spec = a_spec(b"weights", tmp_path)
    cache.mkdir()
    (cache / spec.file_name).write_bytes(b"weights")
    assert registry.download(spec).read_bytes() == b"weights"
    assert asked == []


def test_a_download_of_other_content_is_refused(cache, tmp_path, monkeypatch):
    """Its checksum does not match; nothing of it stays."""
    serve(monkeypatch, b"something else")
    spec = a_spec(b"weights", tmp_path)
    with pytest.raises(OSError, match="could not download some_model") as caught:
        registry.download(spec)
    assert spec.url in str(caught.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("algorithm", ["sha256", "xxh128"])
def test_both_checksums_are_checked(cache, tmp_path, monkeypatch, algorithm):
    """The official files are known by one, micro-sam's by the other."""
    serve(monkeypatch, b"weights")
    spec = a_spec(b"weights", tmp_path)
    checksum = pooch.file_hash(str(tmp_path / "content"), alg=algorithm)
    assert registry.download(replace(spec, checksum=f"{algorithm}:{checksum}"))
    wrong = f"{algorithm}:{'0' * len(checksum)}"
    with pytest.raises(OSError, match="could not download"):
        registry.download(replace(spec, checksum=wrong, file_name="wrong.pt"))


# Recognising what a file holds


@pytest.mark.parametrize("encoder", CHECKPOINTS)
def test_official_checkpoints_are_recognised(encoder):
    """All four encoders, by the names and shapes of their tensors."""
    state = {
        name: torch.empty(
            shape,
            device="meta",
            dtype=torch.int64 if name.endswith("batches_tracked") else torch.float16,
        )
        for name, shape in checkpoint_shapes(encoder).items()
    }
    assert registry.recognise_encoder(state) == encoder
    model = build_from_state(state)
    expected = checkpoint_shapes(encoder)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == expected
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    "state",
    [
        {"weight": torch.zeros(3)},
        {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 100)},
        {"image_encoder.pos_embed": torch.tensor(1.0)},
        {"image_encoder.trunk.pos_embed": torch.zeros(1, 144, 7, 7)},
        {"vision_encoder.pos_embed": torch.zeros(1, 64, 64, 768)},
        {},
    ],
)
def test_other_models_are_refused(state):
    """Another width, SAM 2, Hugging Face's names, or nothing of the kind."""
    assert registry.recognise_encoder(state) is None
    with pytest.raises(ValueError, match=r"file\.pt is not a SAM checkpoint") as caught:
        build_from_state(state, "file.pt")
    assert str(caught.value).endswith(".")


WRAPPED = {
    "plain": lambda state: state,
    "micro-sam": lambda state: {
        "model_state": {f"sam.{k}": v for k, v in state.items()},
        "decoder_state": {"decoder.weight": torch.zeros(2)},
    },
    "parallel": lambda state: {f"module.{k}": v for k, v in state.items()},
    "parallel in micro-sam": lambda state: {
        "model_state": {f"module.sam.{k}": v for k, v in state.items()}
    },
    "lightning": lambda state: {
        "epoch": 3,
        "state_dict": {f"model.{k}": v for k, v in state.items()},
    },
    "trainer": lambda state: {"model": state, "optimizer": {}, "epoch": 1},
    "half": lambda state: {
        k: v.half() if v.is_floating_point() else v for k, v in state.items()
    },
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_wrapped_checkpoints_are_unwrapped(tmp_path, wrap):
    """However training code saved them: the official names, the same numbers."""
    state = {"mask_decoder.a": torch.arange(9.0), "image_encoder.b": torch.ones(2, 2)}
    path = tmp_path / "own.pt"
    torch.save(wrap(state), path)
    found = read_state(path)
    assert found.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(found[name].float(), value)


def test_half_precision_checkpoints_become_float32(weights):
    """And count their batches in whole numbers still."""
    short = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    for name, value in build_from_state(short).state_dict().items():
        assert value.dtype == weights[name].dtype
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-4)


def test_ones_own_checkpoint_becomes_a_predictor(tmp_path, weights):
    """Named after its file, known by its content."""
    path = tmp_path / "my nuclei.pt"
    torch.save({"model_state": {f"sam.{k}": v for k, v in weights.items()}}, path)
    for as_given in (path, str(path)):
        predictor = load_model(checkpoint=as_given, device="cpu", precision="float32")
        assert isinstance(predictor, Predictor)
        assert predictor.name == "my nuclei"
        assert predictor.checksum.startswith("xxh128:")
        assert not predictor.model.training
    assert predictor.checksum != MOBILE_SAM.checksum


def test_the_file_is_left_as_it_was(tmp_path, weights):
    """Loading neither writes nor locks."""
    path = tmp_path / "own.pt"
    torch.save(weights, path)
    before = path.read_bytes()
    load_model(checkpoint=path, device="cpu", precision="bfloat16")
    assert path.read_bytes() == before
    path.unlink()


def test_the_default_model_loads(predictor):
    """In evaluation, its parameters ready to be trained."""
    assert predictor.name == "mobile_sam"
    assert predictor.checksum == MOBILE_SAM.checksum
    assert not predictor.model.training
    assert all(parameter.requires_grad for parameter in predictor.model.parameters())


# Files that are refused


def missing(state):
    """One tensor less."""
    del state["mask_decoder.iou_token.weight"]


def extra(state):
    """One tensor more."""
    state["mask_decoder.hq_token.weight"] = torch.zeros(1, 256)


def reshaped(state):
    """One tensor of another shape."""
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros(1, 255)


def integers(state):
    """One tensor of whole numbers, which cannot be trained."""
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros(
        1, 256, dtype=torch.int64
    )


def all_but_one(state):
    """Only the tensor by which the encoder is recognised."""
    for name in list(state):
        if name != "image_encoder.patch_embed.seq.0.c.weight":
            del state[name]


@pytest.mark.parametrize("change", [missing, extra, reshaped, integers, all_but_one])
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, weights, change):
    """In one sentence that names the file."""
    state = dict(weights)
    change(state)
    path = tmp_path / "own.pt"
    torch.save(state, path)
    with pytest.raises(
        ValueError, match=r"own\.pt looks like a vit_t checkpoint"
    ) as found:
        load_model(checkpoint=path, device="cpu")
    sentence = str(found.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 500


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def zipped(value) -> bytes:
    """Save as `torch.save` does."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def legacy(value) -> bytes:
    """Save as it did before version 1.6."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


SMALL = {"a": torch.arange(20.0), "b": torch.ones(3, 3)}


@pytest.mark.parametrize("write", [zipped, legacy, pickle.dumps])
def test_code_in_a_checkpoint_is_not_run(tmp_path, write):
    """It is refused instead."""
    path = tmp_path / "own.pt"
    path.write_bytes(write({"weight": torch.zeros(2), "evil": Evil(tmp_path / "ran")}))
    with pytest.raises(ValueError, match=r"own.pt is not a PyTorch checkpoint"):
        load_model(checkpoint=path)
    assert not (tmp_path / "ran").exists()


NO_CHECKPOINT = "is not a PyTorch checkpoint"
NO_TENSORS = "holds no named tensors"
NO_SAM = "is not a SAM checkpoint"
# By name: bytes of checkpoints differ from process to process, and so would the tests.
WRONG_FILES = {
    "empty": (b"", NO_CHECKPOINT),
    "text": (b"text", NO_CHECKPOINT),
    "zip": (b"PK\x03\x04 and so on", NO_CHECKPOINT),
    "pickle": (b"\x80\x02", NO_CHECKPOINT),
    "zipped, without the end": (zipped(SMALL)[:-1], NO_CHECKPOINT),
    "zipped, the beginning": (zipped(SMALL)[:200], NO_CHECKPOINT),
    "legacy, without the end": (legacy(SMALL)[:-1], NO_CHECKPOINT),
    "legacy, the beginning": (legacy(SMALL)[:100], NO_CHECKPOINT),
    "nothing": (zipped({}), NO_TENSORS),
    "no state": (zipped({"state_dict": {}}), NO_TENSORS),
    "a number": (zipped({"epoch": 3}), NO_TENSORS),
    "a list": (zipped([torch.zeros(3)]), NO_TENSORS),
    "a tensor": (zipped(torch.zeros(3)), NO_TENSORS),
    "None": (zipped(None), NO_TENSORS),
    "zipped, other tensors": (zipped(SMALL), NO_SAM),
    "legacy, other tensors": (legacy(SMALL), NO_SAM),
}


@pytest.mark.parametrize(("content", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_wrong_files_are_refused(tmp_path, content, message):
    """Truncated, empty, something else: one sentence that names the file."""
    path = tmp_path / "own.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(checkpoint=path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_truncated_download_of_the_real_model_is_refused(tmp_path):
    """Half of 40 MB."""
    path = tmp_path / "half.pt"
    content = registry.checkpoint_path(MOBILE_SAM).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"half.pt is not a PyTorch checkpoint"):
        load_model(checkpoint=path)


fuzz = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def refused_or_read(path: Path) -> None:
    """Either a ValueError that names the file, or named tensors."""
    try:
        state = read_state(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert all(isinstance(value, torch.Tensor) for value in state.values())


@fuzz
@given(
    content=st.binary(max_size=60)
    | st.binary(max_size=40).map(lambda b: b"\x80\x02" + b)
)
def test_random_bytes_are_refused(tmp_path, content):
    """Whatever torch makes of them."""
    path = tmp_path / "own.pt"
    path.write_bytes(content)
    refused_or_read(path)


@fuzz
@given(
    content=st.sampled_from([zipped(SMALL), legacy(SMALL)]),
    place=st.floats(0, 1, exclude_max=True),
    bits=st.integers(1, 255),
)
def test_damaged_files_are_refused_or_read(tmp_path, content, place, bits):
    """One changed byte anywhere in a small checkpoint, of either format."""
    damaged = bytearray(content)
    damaged[int(place * len(content))] ^= bits
    path = tmp_path / "own.pt"
    path.write_bytes(damaged)
    refused_or_read(path)


@pytest.mark.parametrize("name", ["nothing.pt", "folder", ""])
def test_missing_checkpoints_are_missing_files(tmp_path, name):
    """A directory is no file either."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no checkpoint file"):
        load_model(checkpoint=tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "nonsense"}, "device must be"),
        ({"device": "cuda:99"}, "device must be"),
        ({"precision": "double"}, "precision must be one of"),
        ({"precision": "float16", "device": "cpu"}, "float16 is for GPUs"),
        ({"checkpoint": 5}, "checkpoint must be"),
    ],
)
def test_bad_options_are_refused(options, message):
    """Each names its argument."""
    with pytest.raises(ValueError, match=message):
        load_model("mobile_sam", **options)


def test_bad_options_are_refused_before_a_download(cache, monkeypatch):
    """Nobody waits for a gigabyte to learn of a misspelt device."""

    def fail(*_arguments, **_options):
        raise AssertionError("downloaded")

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(ValueError, match="device must be"):
        load_model("sam_vit_h", device="nonsense")
    with pytest.raises(ValueError, match="precision must be"):
        load_model("sam_vit_h", precision="nonsense")


def test_models_on_the_meta_device_cost_nothing():
    """Positions and offsets, which are no weights, stay real."""
    with torch.device("meta"):
        model = build_sam("vit_t")
    assert model.pixel_mean.device.type == "cpu"
    assert next(model.parameters()).device.type == "meta"
