"""Encoding and decoding: as the official code does, batched or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam._tests.golden import IMAGES, KINDS, Recording, iou
from napari_sam._tests.pretended_gpu import pretend_gpu, warnings_of
from napari_sam._tests.tiny_models import tiny_predictor as make_tiny
from napari_sam._tests.tiny_models import tiny_sam
from napari_sam.modeling.precision import set_precision
from napari_sam.predictor import Predictor
from napari_sam.prompting import check_prompts, prompt_points
from napari_sam.registry import load_model
from napari_sam.transforms import mask_to_logits
from napari_sam.types import Prompts, Window

SIZE = (40, 60)


def a_plane(seed: int = 0, size: tuple[int, ...] = SIZE):
    """Make a plane of noise."""
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


@pytest.fixture(scope="module")
def embedding(tiny_predictor):
    """Of `a_plane()` by the tiny model."""
    return tiny_predictor.embed(a_plane())


def every_kind() -> list[Prompts]:
    """Prompts of every kind, some kinds more often than fit a batch on the CPU."""
    logits = np.random.default_rng(1).normal(0, 5, (256, 256))
    box = [5, 6, 30, 40]
    kinds = [
        Prompts([[10, 20]]),
        Prompts([[10, 20]], [0]),
        Prompts(box=box),
        Prompts(mask_logits=logits),
        Prompts([[1, 2], [30, 50]], [1, 0]),
        Prompts([[1, 2], [30, 50], [5, 5]], [1, 0, 1], box, logits),
        Prompts([[12, 13]], box=box),
        Prompts([[12, 13]], mask_logits=logits),
        Prompts(box=box, mask_logits=logits),
    ]
    return [*kinds, *(Prompts([[i, 2 * i]]) for i in range(6)), *kinds[::-1]]


# Parity with the official code


@pytest.mark.parametrize("name", IMAGES)
def test_embeddings_equal_the_recorded_ones(golden_embedding, name):
    """In float32, to a thousandth."""
    arrays = Recording(name).arrays
    features = golden_embedding(name).features
    assert features.shape == (1, 256, 64, 64)
    sample = features[0, ::16, ::4, ::4].numpy()
    expected = arrays["embedding_sample"]
    error = np.linalg.norm(sample - expected) / np.linalg.norm(expected)
    assert error < 1e-3
    assert float(features.norm()) == pytest.approx(float(arrays["embedding_l2"]), 1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", IMAGES)
def test_masks_and_scores_equal_the_recorded_ones(
    predictor, golden_embedding, name, kind
):
    """Every recorded kind of prompts on every recorded image."""
    recording = Recording(name)
    prompts, multimask = recording.prompts(kind)
    found = predictor.predict(golden_embedding(name), prompts, multimask)
    np.testing.assert_allclose(found.scores, recording.scores(kind), atol=2e-3)
    expected = recording.masks(kind)
    assert found.masks.shape == expected.shape
    for mask, expected_mask in zip(found.masks, expected, strict=True):
        assert iou(mask, expected_mask) >= 0.995
    np.testing.assert_allclose(
        found.logits[:, ::2, ::2], recording.logits(kind), atol=0.05, rtol=1e-2
    )


def test_bfloat16_decodes_close_to_float32(predictor, golden_embedding):
    """From the same embedding, masks and scores change by no more than rounding."""
    recording, embedding = Recording("coins"), golden_embedding("coins")
    short = load_model("mobile_sam", device="cpu", precision="bfloat16")
    agreement = []
    for kind in KINDS:
        prompts, multimask = recording.prompts(kind)
        found = short.predict(embedding, prompts, multimask)
        expected = predictor.predict(embedding, prompts, multimask)
        assert found.scores.dtype == found.logits.dtype == np.float32
        np.testing.assert_allclose(found.scores, expected.scores, atol=0.05)
        agreement += [
            iou(a, b) for a, b in zip(found.masks, expected.masks, strict=True)
        ]
    assert np.mean(agreement) >= 0.97
    assert min(agreement) >= 0.9


def test_bfloat16_encodes_close_to_float32():
    """On a frame small enough for a CPU that has no such numbers."""
    frame = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    frame = frame.contiguous(memory_format=torch.channels_last)
    state = load_model("mobile_sam", device="cpu", precision="float32").model
    with torch.inference_mode():
        expected = state.image_encoder(frame)
        short = set_precision(state, torch.bfloat16).image_encoder(frame)
    error = (short.float() - expected).norm() / expected.norm()
    assert error < 0.05


# Encoding


def test_encoding_is_deterministic(tiny_predictor, embedding):
    """The same plane gives the same bits and the same key."""
    again = tiny_predictor.embed(a_plane())
    assert torch.equal(again.features, embedding.features)
    assert again.key == embedding.key
    assert again.plane_size == SIZE
    assert again.model_checksum == tiny_predictor.checksum


def test_a_batch_of_planes_equals_one_by_one(tiny_predictor):
    """Planes of several sizes, grey and colour, in order."""
    planes = [a_plane(0), a_plane(1, (30, 20, 3)), a_plane(2, (9, 70)), a_plane(3)]
    together = tiny_predictor.embed_batch(planes)
    assert len(together) == 4
    for found, plane in zip(together, planes, strict=True):
        alone = tiny_predictor.embed(plane)
        assert found.key == alone.key
        assert found.plane_size == plane.shape[:2]
        torch.testing.assert_close(found.features, alone.features)


def test_no_planes_no_embeddings(tiny_predictor):
    """An empty batch is one."""
    assert tiny_predictor.embed_batch([]) == []


def test_a_true_batch_equals_one_by_one(tiny_predictor):
    """What an accelerator does at once is the same, and owns its memory."""
    inputs = [tiny_predictor.prepare(a_plane(i)) for i in range(3)]
    for found, one in zip(tiny_predictor._encode(inputs), inputs, strict=True):
        alone = tiny_predictor.encode([one])[0]
        torch.testing.assert_close(found.features, alone.features, rtol=1e-4, atol=1e-4)
        assert found.features.untyped_storage().nbytes() == found.nbytes


def test_grey_is_colour_of_equal_channels(tiny_predictor, embedding):
    """(H, W) and (H, W, 3) of the same grey, and RGBA of any alpha, are one image."""
    grey = a_plane()
    alpha = a_plane(9)
    for plane in (np.dstack([grey] * 3), np.dstack([grey, grey, grey, alpha])):
        found = tiny_predictor.embed(plane)
        torch.testing.assert_close(found.features, embedding.features)


def test_a_window_is_encoded_as_a_plane_of_its_own(tiny_predictor):
    """Same pixels, same features; the window is remembered and part of the key."""
    window = Window(3, 5, 33, 25)
    found = tiny_predictor.embed(a_plane(), window)
    alone = tiny_predictor.embed(np.ascontiguousarray(a_plane()[3:33, 5:25]))
    assert torch.equal(found.features, alone.features)
    assert found.plane_size == (30, 20)
    assert found.window == window
    assert found.key != alone.key


def test_keys_tell_everything_apart(tiny_predictor):
    """One pixel, the window, the size, the weights or the format: another key."""
    plane = a_plane()
    edited = plane.copy()
    edited[7, 7] ^= 255
    other = make_tiny(1)
    short = Predictor(tiny_sam(), "tiny 0", device="cpu", precision="bfloat16")
    inputs = [
        (tiny_predictor, plane, None),
        (tiny_predictor, edited, None),
        (tiny_predictor, plane, Window(0, 0, *SIZE)),
        (tiny_predictor, plane, Window(0, 0, 40, 40)),
        (tiny_predictor, plane.T, None),
        (tiny_predictor, np.dstack([plane] * 3), None),
        (other, plane, None),
        (short, plane, None),
    ]
    keys = [one.key(one.prepare(pixels, window)) for one, pixels, window in inputs]
    assert len(set(keys)) == len(keys)
    constant = [tiny_predictor.prepare(np.zeros((n, n), np.uint8)) for n in (50, 100)]
    assert len({tiny_predictor.key(one) for one in constant}) == 2


def test_a_stored_embedding_is_restored(tiny_predictor, embedding):
    """Features from a cache make the embedding they came from."""
    seen = tiny_predictor.prepare(a_plane())
    restored = tiny_predictor.restore(
        embedding.features.half(), seen, tiny_predictor.key(seen)
    )
    assert replace(restored, features=embedding.features).key == embedding.key
    found = tiny_predictor.predict(restored, Prompts([[9, 9]]))
    expected = tiny_predictor.predict(embedding, Prompts([[9, 9]]))
    np.testing.assert_allclose(found.logits, expected.logits, atol=0.1)


@pytest.mark.parametrize("dtype", [bool, np.uint16, np.int32, np.float16, np.float64])
def test_any_dtype_is_encoded(tiny_predictor, dtype):
    """As `transforms.to_uint8` shows it."""
    plane = a_plane().astype(dtype)
    assert tiny_predictor.embed(plane).plane_size == SIZE


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 300), (300, 1), (1, 1, 3), (1024, 1024), (1100, 7)]
)
def test_planes_of_any_size_are_segmented(tiny_predictor, size):
    """From a single pixel to more than the model sees."""
    found = tiny_predictor.predict(
        tiny_predictor.embed(a_plane(0, size)), Prompts([[0, 0]])
    )
    assert found.masks.shape == (3, *size[:2])


@pytest.mark.parametrize(
    "plane",
    [
        np.zeros(4),
        np.zeros((2, 3, 5)),
        np.zeros((0, 4)),
        np.zeros((2, 2), complex),
        None,
        "plane",
        np.array([[None]]),
    ],
)
def test_what_is_no_plane_is_not_encoded(tiny_predictor, plane):
    """Through every entrance."""
    with pytest.raises(ValueError, match="plane must"):
        tiny_predictor.embed(plane)
    with pytest.raises(ValueError, match="plane must"):
        tiny_predictor.embed_batch([a_plane(), plane])
    with pytest.raises(ValueError, match="plane must"):
        tiny_predictor.prepare(plane)


@pytest.mark.parametrize(
    "edges",
    [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 41, 5), (0, 0, 5, 61), (50, 0, 60, 9)],
)
def test_windows_must_lie_within_the_plane(tiny_predictor, edges):
    """A window that sticks out is refused."""
    with pytest.raises(ValueError, match="window must lie within the 40 x 60 plane"):
        tiny_predictor.embed(a_plane(), Window(*edges))


# Decoding


def test_predictions_have_the_shapes_and_types_promised(tiny_predictor, embedding):
    """Masks in the plane's pixels, logits in the answer frame."""
    for multimask, count in ((None, 3), (True, 3), (False, 1)):
        found = tiny_predictor.predict(embedding, Prompts([[3, 4]]), multimask, plane=5)
        assert found.masks.shape == (count, *SIZE)
        assert found.masks.dtype == bool
        assert found.scores.shape == (count,)
        assert found.logits.shape == (count, 256, 256)
        assert found.scores.dtype == found.logits.dtype == np.float32
        assert found.plane == 5


def test_a_batch_of_prompts_equals_one_by_one(tiny_predictor, embedding):
    """All kinds mixed, in order, each with its default number of masks."""
    prompts = every_kind()
    together = tiny_predictor.predict_batch(embedding, prompts)
    assert len(together) == len(prompts)
    for one, found in zip(prompts, together, strict=True):
        alone = tiny_predictor.predict(embedding, one)
        assert len(found.masks) == (3 if one.default_multimask else 1)
        np.testing.assert_allclose(found.scores, alone.scores, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.logits, alone.logits, rtol=1e-3, atol=1e-3)
        sure = np.abs(alone.logits).max() > 1e-2
        assert not sure or iou(found.masks, alone.masks) > 0.99


def test_mobile_sam_batches_equal_one_by_one(predictor, golden_embedding):
    """The real weights, too: the masks are the same."""
    embedding = golden_embedding("coins")
    recording = Recording("coins")
    prompts = [recording.prompts(kind)[0] for kind in KINDS] * 2
    for one, found in zip(
        prompts, predictor.predict_batch(embedding, prompts), strict=True
    ):
        alone = predictor.predict(embedding, one)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-4)
        assert iou(found.masks, alone.masks) > 0.999


@pytest.mark.parametrize("multimask", [True, False])
def test_multimask_is_obeyed_in_batches(tiny_predictor, embedding, multimask):
    """Whatever the default would have been."""
    found = tiny_predictor.predict_batch(embedding, every_kind(), multimask)
    assert {len(one.masks) for one in found} == {3 if multimask else 1}


def test_decoding_is_deterministic(tiny_predictor, embedding):
    """The same prompts give the same bits."""
    for one in every_kind()[:9]:
        first, again = (tiny_predictor.predict(embedding, one) for _ in range(2))
        np.testing.assert_array_equal(first.logits, again.logits)
        np.testing.assert_array_equal(first.masks, again.masks)
        np.testing.assert_array_equal(first.scores, again.scores)


def test_logits_refine_an_answer(tiny_predictor, embedding):
    """The best logits of one answer are a prompt for the next."""
    first = tiny_predictor.predict(embedding, Prompts([[9, 9]]))
    second = tiny_predictor.predict(embedding, Prompts(mask_logits=first.best_logits))
    assert second.masks.shape == (1, *SIZE)


def test_no_prompts_no_predictions(tiny_predictor, embedding):
    """An empty batch is one."""
    assert tiny_predictor.predict_batch(embedding, []) == []


@pytest.mark.parametrize(
    "point", [(-0.5, -0.5), (39.5, 59.5), (-0.5, 59.5), (0, 0), (39, 59)]
)
def test_points_on_the_edge_are_inside(tiny_predictor, embedding, point):
    """Pixels reach half a pixel beyond their centres."""
    assert tiny_predictor.predict(embedding, Prompts([point])).masks.shape[0] == 3


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (Prompts(), "prompts must have at least one point"),
        (Prompts([[-0.6, 5]]), "points must lie within the 40 x 60 plane"),
        (Prompts([[5, 5], [39.6, 5]]), "points must lie within"),
        (Prompts([[5, 59.6]]), "points must lie within"),
        (Prompts([[1e300, 5]]), "points must lie within"),
        (Prompts(box=[40, 0, 50, 10]), "box must overlap the 40 x 60 plane"),
        (Prompts(box=[-9, 0, 0, 10]), "box must overlap"),
        (Prompts(box=[0, 60, 10, 70]), "box must overlap"),
        (None, "prompts must be Prompts"),
        ([[1, 2]], "prompts must be Prompts"),
        ("prompts", "prompts must be Prompts"),
    ],
)
def test_bad_prompts_are_refused(tiny_predictor, embedding, prompts, message):
    """Alone, in a batch, and with the number of masks given."""
    calls = (
        lambda: tiny_predictor.predict(embedding, prompts),
        lambda: tiny_predictor.predict(embedding, prompts, True),
        lambda: tiny_predictor.predict_batch(embedding, [Prompts([[1, 1]]), prompts]),
        lambda: check_prompts(prompts, SIZE),
    )
    for call in calls:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert str(caught.value).endswith(".")


@settings(max_examples=10, deadline=None)
@given(
    low=st.tuples(st.floats(-30, 15), st.floats(-30, 20)),
    high=st.tuples(st.floats(25, 90), st.floats(30, 90)),
)
def test_boxes_are_cut_to_the_plane(low, high):
    """What of a box lies outside says nothing."""
    box = [*low, *high]
    cut = np.clip(box, 0, [*SIZE, *SIZE])
    found, labels = prompt_points(Prompts(box=box), SIZE)
    expected, _ = prompt_points(Prompts(box=cut), SIZE)
    np.testing.assert_array_equal(found, expected)
    assert labels.tolist() == [2, 3]


def test_points_come_before_the_box_and_are_padded_without_one():
    """The official order: points, corners; or points, padding."""
    xy, labels = prompt_points(Prompts([[1, 2]], [0], [0, 0, 4, 8]), (512, 1024))
    assert xy.tolist() == [[2, 1], [0, 0], [8, 4]]
    assert labels.tolist() == [0, 2, 3]
    xy, labels = prompt_points(Prompts([[1, 2], [3, 4]], [0, 1]), (512, 1024))
    assert xy.tolist() == [[2, 1], [4, 3], [0, 0]]
    assert labels.tolist() == [0, 1, -1]
    xy, labels = prompt_points(Prompts(mask_logits=np.zeros((256, 256))), (5, 5))
    assert xy.shape == (0, 2)
    assert labels.shape == (0,)


def test_embeddings_of_other_weights_are_refused(tiny_predictor, embedding):
    """They would decode to nonsense without an error."""
    foreign = replace(embedding, model_checksum="other")
    with pytest.raises(ValueError, match="embedding was made by another model"):
        tiny_predictor.predict(foreign, Prompts([[1, 1]]))


@pytest.mark.parametrize("wrong", [None, "embedding", np.zeros((1, 256, 64, 64))])
def test_what_is_no_embedding_is_refused(tiny_predictor, wrong):
    """A plane, for instance."""
    with pytest.raises(ValueError, match="embedding must"):
        tiny_predictor.predict(wrong, Prompts([[1, 1]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "nonsense"}, "device must be"),
        ({"device": "cuda:99"}, "device must be"),
        ({"device": "cpu", "precision": "float64"}, "precision must be one of"),
        ({"device": "cpu", "precision": "float16"}, "float16 is for GPUs"),
    ],
)
def test_bad_devices_and_precisions_are_refused(options, message):
    """When the predictor is made, not when it is used."""
    with pytest.raises(ValueError, match=message):
        Predictor(tiny_sam(), "sum", **options)


def test_a_predictor_says_what_it_is(tiny_predictor):
    """Name, device and precision."""
    assert repr(tiny_predictor) == "Predictor('tiny', device='cpu', torch.float32)"


def test_a_model_in_training_is_put_into_evaluation():
    """Batch normalisation must not see the batch."""
    assert not Predictor(tiny_sam().train(), "sum", device="cpu").model.training


# Parts


def with_mask(box: tuple[int, int, int, int], size: tuple[int, int]) -> Prompts:
    """Make a box, and a mask that fills it."""
    mask = np.zeros(size, bool)
    mask[box[0] : box[2], box[1] : box[3]] = True
    return Prompts(box=box, mask_logits=mask_to_logits(mask))


def test_a_part_that_is_the_whole_is_decoded_alike() -> None:
    """The part may be all there is: then nothing differs."""
    predictor = make_tiny()
    embedding = predictor.embed(np.eye(64, dtype=np.uint8) * 200)
    prompts = [with_mask((8, 8, 40, 48), (64, 64)), with_mask((1, 2, 9, 9), (64, 64))]
    whole = (slice(0, 256), slice(0, 256))
    logits, scores = predictor.decode(embedding, prompts, multimask=True)
    parts = predictor.decode_parts(embedding, [(one, whole) for one in prompts])
    for index, (part, three) in enumerate(parts):
        torch.testing.assert_close(part, logits[index], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(three, scores[index], rtol=1e-4, atol=1e-4)


def test_parts_of_different_sizes_are_decoded_together() -> None:
    """Each gets its own part, in order, as if it were alone."""
    predictor = make_tiny()
    embedding = predictor.embed(np.eye(64, dtype=np.uint8) * 200)
    boxes = [(8, 8, 20, 30), (1, 2, 9, 9), (30, 40, 50, 60)]
    prompts = [with_mask(box, (64, 64)) for box in boxes]
    parts = [
        (slice(16, 96), slice(20, 140)),
        (slice(0, 48), slice(0, 40)),
        (slice(100, 180), slice(136, 256)),
    ]
    asked = list(zip(prompts, parts, strict=True))
    together = predictor.decode_parts(embedding, asked)
    assert [tuple(one.shape) for one, _ in together] == [
        (3, 80, 120),
        (3, 48, 40),
        (3, 80, 120),
    ]
    for index, (logits, scores) in enumerate(together):
        ((alone, three),) = predictor.decode_parts(embedding, asked[index : index + 1])
        torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(scores, three, rtol=1e-4, atol=1e-4)


def test_a_part_needs_a_mask() -> None:
    """A box alone would be answered with the padding of a mask."""
    predictor = make_tiny()
    embedding = predictor.embed(np.eye(64, dtype=np.uint8) * 200)
    part = (slice(0, 48), slice(0, 40))
    with pytest.raises(ValueError, match="must have a mask each"):
        predictor.decode_parts(embedding, [(Prompts(box=(1, 2, 9, 9)), part)])


# Out of memory


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        (8, []),
        (2, ["batches of 4", "batches of 2"]),
        (0, ["batches of 4", "batches of 2", "batches of 1", "with the CPU"]),
    ],
)
def test_planes_that_do_not_fit_are_encoded_in_smaller_batches(
    monkeypatch, fits, expected
):
    """Then on the CPU; with a warning each time, and the right result."""
    planes = [a_plane(i) for i in range(5)]
    reference = make_tiny().embed_batch(planes)
    predictor = make_tiny()
    pretend_gpu(monkeypatch, predictor, fits)
    found, said = warnings_of(lambda: predictor.embed_batch(planes))
    assert len(said) == len(expected)
    for sentence, part in zip(said, expected, strict=True):
        assert part in sentence
    for one, other in zip(found, reference, strict=True):
        torch.testing.assert_close(one.features, other.features, rtol=1e-4, atol=1e-4)
        assert one.key == other.key
    assert predictor.device.type == ("cuda" if fits else "cpu")


@pytest.mark.parametrize("fits", [3, 0])
def test_prompts_that_do_not_fit_are_decoded_in_smaller_batches(
    monkeypatch, embedding, fits
):
    """The order of the answers does not suffer."""
    prompts = every_kind()
    reference = make_tiny().predict_batch(embedding, prompts)
    predictor = make_tiny()
    pretend_gpu(monkeypatch, predictor, fits)
    found, said = warnings_of(lambda: predictor.predict_batch(embedding, prompts))
    assert said
    assert ("CPU" in said[-1]) == (fits == 0)
    for one, other in zip(found, reference, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("asked", ["auto", "float32", "bfloat16", "float16"])
def test_the_cpu_takes_over_whatever_the_precision(monkeypatch, asked):
    """float16 is for GPUs, but who asked for it there still gets an answer."""
    predictor = make_tiny()
    predictor._asked_precision = asked
    pretend_gpu(monkeypatch, predictor, 0)
    found, said = warnings_of(lambda: predictor.embed(a_plane()))
    assert "CPU" in said[-1]
    assert torch.isfinite(found.features).all()


def test_other_errors_are_not_swallowed(monkeypatch):
    """Only a lack of memory leads to a fallback."""
    predictor = make_tiny()

    def broken(planes):
        raise RuntimeError("something else")

    monkeypatch.setattr(predictor, "_encode", broken)
    with pytest.raises(RuntimeError, match="something else"):
        predictor.embed(a_plane())


def test_out_of_memory_on_the_cpu_is_an_error(monkeypatch):
    """There is nothing to fall back to."""
    predictor = make_tiny()

    def full(planes):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(predictor, "_encode", full)
    with pytest.raises(MemoryError, match="not enough memory"):
        predictor.embed(a_plane())


# Weights that change


@pytest.mark.parametrize(
    "part",
    [
        "mask_decoder.mask_tokens.weight",
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.k_proj.weight",
        "mask_decoder.transformer.layers.0.norm4.weight",
        "prompt_encoder.no_mask_embed.weight",
        "prompt_encoder.point_embeddings.1.weight",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ],
)
@pytest.mark.parametrize("how", ["in place", "load", "assign"])
def test_changed_weights_are_used_at_once(embedding, part, how):
    """Nothing prepared for an embedding outlives the weights it was made with."""
    predictor = make_tiny()
    prompts = Prompts([[9, 9]])
    before = predictor.predict(embedding, prompts)
    changed = predictor.model.state_dict()
    changed[part] = torch.randn(changed[part].shape) * 3
    if how == "in place":
        with torch.no_grad():
            predictor.model.state_dict()[part].copy_(changed[part])
    else:
        predictor.model.load_state_dict(changed, assign=how == "assign")
    after = predictor.predict(embedding, prompts)
    fresh = make_tiny()
    fresh.model.load_state_dict(changed)
    expected = fresh.predict(embedding, prompts)
    assert not np.allclose(after.logits, before.logits, rtol=1e-3)
    np.testing.assert_allclose(after.logits, expected.logits, rtol=1e-4, atol=1e-4)


def test_planes_in_turn_do_not_mix(tiny_predictor, embedding):
    """What is prepared for one embedding is not used for the other."""
    other = tiny_predictor.embed(a_plane(5))
    prompts = Prompts([[9, 9]])
    alone = [make_tiny().predict(one, prompts) for one in (embedding, other)]
    for _ in range(2):
        for one, expected in zip((embedding, other), alone, strict=True):
            found = tiny_predictor.predict(one, prompts)
            np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
