"""What every predictor holds, whichever model is behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_sam import Prompts, Session, Window
from napari_sam._tests.pretended_gpu import pretend_gpu, warnings_of
from napari_sam._tests.tiny_families import FAMILIES, save_tiny
from napari_sam._tests.tiny_models import tiny_sam
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.modeling.precision import choose_device
from napari_sam.modeling.sam import build_sam
from napari_sam.predictor import Predictor
from napari_sam.registry import load_model

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 60, 90
RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
OTHER = RNG.integers(0, 255, (31, 17), dtype=np.uint8)
MASK = np.where(np.hypot(*np.indices((256, 256)) - 80) < 40, 5, -5)
POINT = Prompts(points=[[10, 20]])
KINDS = {
    "point": POINT,
    "points": Prompts(points=[[10, 20], [50, 80]], point_labels=[1, 0]),
    "box": Prompts(box=[5, 10, 40, 95]),
    "mask": Prompts(mask_logits=MASK),
    "point and box": Prompts(points=[[10, 20]], box=[5, 10, 40, 60]),
    "point and mask": Prompts(points=[[10, 20]], mask_logits=MASK),
    "box and mask": Prompts(box=[5, 10, 40, 60], mask_logits=MASK),
    "all": Prompts([[10, 20]], [0], [5, 10, 40, 60], MASK),
}


# As `device="auto"` chooses; none on most machines that run the tests.
ACCELERATORS = [kind for kind in [choose_device("auto").type] if kind != "cpu"]


def make(
    model: str, folder: Path, precision: str = "float32", device: str = "cpu"
) -> Predictor:
    """Make a predictor of random weights, always the same."""
    if model in FAMILIES:
        path = save_tiny(model, folder)
        return load_model(checkpoint=path, device=device, precision=precision)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_sam("vit_t") if model == "tinyvit" else tiny_sam()
    return Predictor(network, model, device=device, precision=precision)


@pytest.fixture(scope="class", params=["vit", "tinyvit", *FAMILIES])
def case(request, tmp_path_factory):
    """Make a predictor, and what it made of a plane."""
    made = make(request.param, tmp_path_factory.mktemp(request.param))
    return made, made.embed(PLANE)


def assert_same(one, other, atol=1e-3):
    """Two predictions are the same up to rounding."""
    np.testing.assert_allclose(one.logits, other.logits, atol=atol, rtol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=atol, rtol=1e-3)


class TestEveryPredictor:
    """Shapes, dtypes, determinism, batches, the cache, bad input."""

    def test_embedding(self, case):
        """Coarse features in the shared frame, and all of its size is known."""
        predictor, embedding = case
        assert embedding.features.shape[::2] == (1, 64)
        assert embedding.features.shape[3] == 64
        assert embedding.stored.dtype == predictor.dtype == torch.float32
        assert embedding.nbytes == 4 * embedding.stored.numel()
        assert embedding.plane_size == SIZE
        assert embedding.key == predictor.key(predictor.prepare(PLANE))
        assert embedding.stored.isfinite().all()
        assert embedding.features.std() > 0

    def test_encoding_is_deterministic_alone_and_in_a_batch(self, case):
        """Planes of other sizes in the batch do not matter."""
        predictor, embedding = case
        _, again = predictor.embed_batch([OTHER, PLANE])
        torch.testing.assert_close(again.stored, embedding.stored, atol=1e-4, rtol=1e-4)
        assert again.key == embedding.key

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_of_prompt(self, case, kind):
        """Three masks or one, in the pixels of the plane."""
        predictor, embedding = case
        for multimask, count in ((True, 3), (False, 1)):
            found = predictor.predict(embedding, KINDS[kind], multimask, plane=4)
            assert found.masks.shape == (count, *SIZE)
            assert found.masks.dtype == bool
            assert found.logits.shape == (count, 256, 256)
            assert found.scores.shape == (count,)
            assert found.logits.dtype == found.scores.dtype == np.float32
            assert np.isfinite(found.logits).all()
            assert found.plane == 4
            assert_same(predictor.predict(embedding, KINDS[kind], multimask), found)

    def test_a_batch_is_its_parts(self, case):
        """Kinds may be mixed; the order stays."""
        predictor, embedding = case
        together = predictor.predict_batch(embedding, list(KINDS.values()))
        for one, prompts in zip(together, KINDS.values(), strict=True):
            assert_same(one, predictor.predict(embedding, prompts))

    def test_prompts_matter(self, case):
        """Another point, box or mask is another answer."""
        predictor, embedding = case
        pairs = [
            (POINT, Prompts(points=[[50, 80]])),
            (POINT, Prompts(points=[[10, 20]], point_labels=[0])),
            (Prompts(box=[1, 1, 9, 9]), Prompts(box=[1, 1, 50, 80])),
            (Prompts(mask_logits=MASK), Prompts(mask_logits=MASK.T[::-1])),
        ]
        for one, other in pairs:
            answers = predictor.predict_batch(embedding, [one, other], multimask=True)
            difference = np.abs(answers[0].logits - answers[1].logits).max()
            assert difference > 1e-3

    def test_low_scores_have_no_logits(self, case):
        """As `Predictor.decode` says, for a grid of points."""
        predictor, embedding = case
        prompts = [Prompts(points=[[r, 30]]) for r in (5, 25, 55)]
        logits, scores = predictor.decode(embedding, prompts, multimask=True)
        best = scores.amax(1)
        bound = float(best.median())
        some, again = predictor.decode(embedding, prompts, True, bound)
        torch.testing.assert_close(again, scores)
        assert (some[best <= bound] == -torch.inf).all()
        torch.testing.assert_close(some[best > bound], logits[best > bound])

    def test_parts(self, case):
        """Answers have the size of their part, and a mask is needed."""
        predictor, embedding = case
        part = slice(40, 120), slice(20, 100)
        (found,) = predictor.decode_parts(embedding, [(KINDS["all"], part)])
        assert found[0].shape == (3, 80, 80)
        assert found[1].shape == (3,)
        with pytest.raises(ValueError, match="mask"):
            predictor.decode_parts(embedding, [(POINT, part)])

    def test_cache_round_trip(self, case, tmp_path):
        """Through memory and disk, with the true size, to the same answer."""
        predictor, embedding = case
        image = np.stack([PLANE, PLANE[::-1]])
        cache = EmbeddingCache(tmp_path)
        session = Session(image, predictor, cache=cache)
        first = session.segment(KINDS["all"], 0)
        assert cache.host.nbytes == embedding.nbytes // 2
        assert session.is_embedded(0)
        assert not session.is_embedded(1)
        later = Session(image, predictor, cache=EmbeddingCache(tmp_path))
        assert later.is_embedded(0)
        assert_same(later.segment(KINDS["all"], 0), first, atol=1e-6)
        exact = predictor.predict(embedding, KINDS["all"]).logits
        error = np.abs(first.logits - exact).mean()  # of half precision
        assert error < 0.1 * np.abs(exact).mean()

    def test_device_moves(self, case, monkeypatch, request, tmp_path):
        """An accelerator whose memory is full gives way; embeddings move along."""
        predictor, embedding = case
        prompts = KINDS["points"]
        expected = predictor.predict(embedding, prompts)
        with monkeypatch.context() as patch:
            pretend_gpu(patch, predictor, 0)
            again, said = warnings_of(lambda: predictor.embed(PLANE))
        assert "going on with the CPU" in said[-1]
        assert predictor.device.type == "cpu"
        assert again.key == embedding.key
        torch.testing.assert_close(again.stored, embedding.stored, atol=1e-4, rtol=1e-4)
        with monkeypatch.context() as patch:
            pretend_gpu(patch, predictor, 0)
            found, said = warnings_of(lambda: predictor.predict(embedding, prompts))
        assert "going on with the CPU" in said[-1]
        assert_same(found, expected)
        for device in ACCELERATORS:
            model = request.node.callspec.params["case"]
            there = make(model, tmp_path, device=device)
            made = there.embed(PLANE)
            assert made.stored.device.type == device
            assert made.key == embedding.key
            for one in (made, embedding):
                assert_same(there.predict(one, prompts), expected, atol=0.05)
            assert_same(predictor.predict(made, prompts), expected, atol=0.05)

    def test_keys(self, case):
        """Pixels and window decide, and the size of the plane."""
        predictor, embedding = case
        planes = [
            predictor.prepare(PLANE, Window(0, 0, 30, 90)),
            predictor.prepare(PLANE, Window(30, 0, 60, 90)),
            predictor.prepare(PLANE ^ 1),
            predictor.prepare(OTHER),
        ]
        assert len({embedding.key, *map(predictor.key, planes)}) == 5

    def test_propagation(self, case):
        """An object is carried through a stack, or lost, without a failure."""
        predictor, _ = case
        image = np.stack([PLANE] * 3)
        seed = np.zeros(SIZE, bool)
        seed[10:40, 20:60] = True
        found = Session(image, predictor).segment_volume({0: seed})
        assert found.shape == (3, *SIZE)
        np.testing.assert_array_equal(found[0], seed)

    @pytest.mark.parametrize(
        ("prompts", "message"),
        [
            (Prompts(), "at least one"),
            (Prompts(points=[[60, 5]]), "within the 60 x 90"),
            (Prompts(box=[70, 0, 80, 9]), "overlap"),
            (None, "must be Prompts"),
        ],
    )
    def test_bad_prompts(self, case, prompts, message):
        """Refused in a sentence."""
        predictor, embedding = case
        with pytest.raises(ValueError, match=message):
            predictor.predict(embedding, prompts)

    def test_bad_embeddings_and_planes(self, case):
        """Of other weights, of another type, of no plane."""
        predictor, embedding = case
        with pytest.raises(ValueError, match="another model"):
            predictor.predict(replace(embedding, model_checksum="x"), POINT)
        with pytest.raises(ValueError, match="must be an ImageEmbedding"):
            predictor.predict(PLANE, POINT)
        for plane in (np.zeros((0, 4)), np.zeros(5), np.zeros((4, 4), complex)):
            with pytest.raises(ValueError, match="plane must"):
                predictor.embed(plane)


@pytest.mark.parametrize("model", ["vit", "sam2"])
def test_bfloat16_is_near_float32(model, tmp_path):
    """And half the size, with other keys."""
    exact, short = (make(model, tmp_path, name) for name in ("float32", "bfloat16"))
    found, near = exact.embed(OTHER), short.embed(OTHER)
    assert near.nbytes * 2 == found.nbytes
    assert near.key != found.key
    error = (near.stored.float() - found.stored).abs().mean()
    assert error < 0.05 * found.stored.abs().mean()
    prompts = Prompts(points=[[10, 8]])
    one, other = exact.predict(found, prompts), short.predict(near, prompts)
    np.testing.assert_allclose(one.scores, other.scores, atol=0.05)
