"""The models there are, and how to load one.

Checkpoints come with the package, are downloaded once and checked, or are the user's
own files. None is ever half-loaded: the encoder is recognised from the names of the
tensors, and every tensor must be there in its shape.
"""

from __future__ import annotations

import os
import textwrap
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import pooch
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from napari_sam.modeling.precision import choose_device, choose_dtype
from napari_sam.modeling.sam import Sam, build_sam
from napari_sam.predictor import Predictor
from napari_sam.types import EncoderType, ModelSpec, Precision

CACHE_VARIABLE = "NAPARI_SAM_CACHE"
"""Environment variable that moves the directory of downloads and embeddings."""

_META = "https://dl.fbaipublicfiles.com/segment_anything"
_ZOO = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"
_GWDG = "https://owncloud.gwdg.de/index.php/s"
_SEE_PAGE = "see the model's page of micro-sam (CC-BY-4.0 unless it says otherwise)"

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "mobile_sam",
            "vit_t",
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            "sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            "Apache-2.0",
            "MobileSAM: photographs, small and fast",
            "mobile_sam.pt",
            bundled=True,
        ),
        ModelSpec(
            "sam_vit_b",
            "vit_b",
            f"{_META}/sam_vit_b_01ec64.pth",
            "xxh128:6923c33df3637b6a922d7682bfc9a86b",
            "Apache-2.0",
            "Segment Anything, base: photographs",
            "sam_vit_b_01ec64.pth",
        ),
        ModelSpec(
            "sam_vit_l",
            "vit_l",
            f"{_META}/sam_vit_l_0b3195.pth",
            "xxh128:a82beb3c660661e3dd38d999cc860e9a",
            "Apache-2.0",
            "Segment Anything, large: photographs",
            "sam_vit_l_0b3195.pth",
        ),
        ModelSpec(
            "sam_vit_h",
            "vit_h",
            f"{_META}/sam_vit_h_4b8939.pth",
            "xxh128:97698fac30bd929c2e6d8d8cc15933c2",
            "Apache-2.0",
            "Segment Anything, huge: photographs",
            "sam_vit_h_4b8939.pth",
        ),
        ModelSpec(
            "microscopy_vit_t",
            "vit_t",
            f"{_ZOO}/faithful-chicken/1.1/files/vit_t.pt",
            "xxh128:72ec5074774761a6e5c05a08942f981e",
            _SEE_PAGE,
            "micro-sam: light microscopy, small and fast",
            "microscopy_vit_t.pt",
        ),
        ModelSpec(
            "microscopy_vit_b",
            "vit_b",
            f"{_ZOO}/diplomatic-bug/1.2/files/vit_b.pt",
            "xxh128:fe9252a29f3f4ea53c15a06de471e186",
            _SEE_PAGE,
            "micro-sam: light microscopy, base",
            "microscopy_vit_b.pt",
        ),
        ModelSpec(
            "microscopy_vit_l",
            "vit_l",
            f"{_ZOO}/idealistic-rat/1.2/files/vit_l.pt",
            "xxh128:017f20677997d628426dec80a8018f9d",
            _SEE_PAGE,
            "micro-sam: light microscopy, large",
            "microscopy_vit_l.pt",
        ),
        ModelSpec(
            "em_organelles_vit_t",
            "vit_t",
            f"{_ZOO}/greedy-whale/1/files/vit_t.pt",
            "xxh128:253474720c497cce605e57c9b1d18fd9",
            _SEE_PAGE,
            "micro-sam: organelles in electron microscopy, small and fast",
            "em_organelles_vit_t.pt",
        ),
        ModelSpec(
            "em_organelles_vit_b",
            "vit_b",
            f"{_ZOO}/noisy-ox/1.2/files/vit_b.pt",
            "xxh128:f3bf2ed83d691456bae2c3f9a05fb438",
            _SEE_PAGE,
            "micro-sam: organelles in electron microscopy, base",
            "em_organelles_vit_b.pt",
        ),
        ModelSpec(
            "em_organelles_vit_l",
            "vit_l",
            f"{_ZOO}/humorous-crab/1.2/files/vit_l.pt",
            "xxh128:810b084b6e51acdbf760a993d8619f2d",
            _SEE_PAGE,
            "micro-sam: organelles in electron microscopy, large",
            "em_organelles_vit_l.pt",
        ),
        ModelSpec(
            "histopathology_vit_b",
            "vit_b",
            f"{_GWDG}/sBB4H8CTmIoBZsQ/download",
            "xxh128:ffd1a2cd84570458b257bd95fdd8f974",
            _SEE_PAGE,
            "micro-sam: stained tissue, base",
            "histopathology_vit_b.pt",
        ),
        ModelSpec(
            "medical_vit_b",
            "vit_b",
            f"{_GWDG}/f5Ol4FrjPQWfjUF/download",
            "xxh128:40169f1e3c03a4b67bff58249c176d92",
            _SEE_PAGE,
            "micro-sam: medical images, base",
            "medical_vit_b.pt",
        ),
    )
}

# Keys under which training code wraps a state dict, and prefixes it puts before names.
_WRAPPERS = ("model_state", "model_state_dict", "state_dict", "model")
_PREFIXES = ("module.", "sam.", "sam_model.", "model.")
_VIT_BY_WIDTH: dict[int, EncoderType] = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


def list_models() -> tuple[ModelSpec, ...]:
    """Return the models `load_model` knows by name, the default first."""
    return tuple(MODELS.values())


def cache_directory() -> Path:
    """Directory of downloaded checkpoints; it is not created here.

    The user's cache directory, or ``NAPARI_SAM_CACHE`` if that is set.
    """
    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("napari-sam"))


def get_spec(name: str) -> ModelSpec:
    """Return the model of this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {name!r}.")
    return MODELS[name]


def checkpoint_path(spec: ModelSpec) -> Path:
    """Where a model's checkpoint is, or will be once it is downloaded."""
    if spec.bundled:
        return Path(str(resources.files("napari_sam"))) / "weights" / spec.file_name
    return cache_directory() / spec.file_name


def is_available(spec: ModelSpec) -> bool:
    """Whether a model's checkpoint is on this machine (not whether it is intact)."""
    return checkpoint_path(spec).is_file()


def download(spec: ModelSpec, progressbar: Any = False) -> Path:
    """Fetch a model's checkpoint unless it is there, and check it.

    Parameters
    ----------
    spec : ModelSpec
    progressbar : bool, or what pooch takes as a progress bar
        Show progress on the standard error stream (needs tqdm), or tell it to an
        object; what that raises ends the download.

    Returns
    -------
    Path
        The file, its checksum verified.

    Raises
    ------
    OSError
        If it cannot be fetched, with what to put where instead; or if the file that
        comes with the package is damaged.
    """
    path = checkpoint_path(spec)
    if spec.bundled:
        if not path.is_file() or not pooch.hashes.hash_matches(path, spec.checksum):
            raise OSError(
                f"{path} is missing or damaged; install napari-sam-stacks again."
            )
        return path
    try:
        fetched = pooch.retrieve(
            spec.url,
            known_hash=spec.checksum,
            fname=path.name,
            path=path.parent,
            progressbar=progressbar,
        )
    except (OSError, ValueError) as error:
        raise OSError(
            f"could not download {spec.name} ({error}); fetch {spec.url} by other "
            f"means and save it as {path}, where it is found and checked."
        ) from error
    return Path(fetched)


def load_model(
    name: str = "mobile_sam",
    checkpoint: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Predictor:
    """Load a model by name, or from a checkpoint of your own.

    Parameters
    ----------
    name : str
        One of `list_models`; downloaded on first use, except ``"mobile_sam"``, which
        comes with the package. Only a label if ``checkpoint`` is given.
    checkpoint : path, optional
        A file in the format of SAM, MobileSAM, MedSAM or micro-sam; which encoder it
        holds is recognised.
    device : str
        ``"auto"`` (an accelerator if there is one) or a torch device.
    precision : {"auto", "float32", "bfloat16", "float16"}
        ``"auto"`` is bfloat16 where the hardware has it, float32 elsewhere.

    Returns
    -------
    Predictor

    Raises
    ------
    ValueError
        If there is no such model, device or precision, or the file is no checkpoint
        of a known kind.
    OSError
        If the file is missing or cannot be downloaded.

    Examples
    --------
    >>> import napari_sam as ns
    >>> ns.load_model("mobile_sam", precision="float32")
    Predictor('mobile_sam', device='cpu', torch.float32)
    """
    choose_dtype(choose_device(device), precision)  # refused before a download
    if checkpoint is None:
        spec = get_spec(name)
        path, checksum = download(spec), spec.checksum
    else:
        if not isinstance(checkpoint, (str, os.PathLike)):
            raise ValueError(f"checkpoint must be a path, got {checkpoint!r}.")
        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"there is no checkpoint file {path}.")
        checksum = f"xxh128:{pooch.file_hash(str(path), alg='xxh128')}"
        name = path.stem
    model = build_from_state(read_state(path), str(path))
    return Predictor(model, checksum, name, device, precision)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a checkpoint, unwrapped, without running its code.

    Raises
    ------
    ValueError
        If the file is truncated, not a PyTorch file, or holds no named tensors.
    """
    try:
        with warnings.catch_warnings():
            # Old files of torch name storage classes that are deprecated.
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:  # what torch raises depends on where the file goes wrong
        raise ValueError(
            f"{path} is not a PyTorch checkpoint of tensors, or it is truncated."
        ) from None
    state = _unwrap(loaded)
    if not state:
        raise ValueError(f"{path} holds no named tensors.")
    return state


def _unwrap(loaded: Any) -> dict[str, Tensor]:
    """Find the tensors in what training code saved, and their official names."""
    if not isinstance(loaded, dict):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
            break
    state = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def recognise_encoder(state: dict[str, Tensor]) -> EncoderType | None:
    """Which image encoder a state dict belongs to, or None if to none of SAM's."""
    if "image_encoder.patch_embed.seq.0.c.weight" in state:
        return "vit_t"
    positions = state.get("image_encoder.pos_embed")
    if positions is None or positions.ndim != 4:
        return None
    return _VIT_BY_WIDTH.get(positions.shape[-1])


def build_from_state(state: dict[str, Tensor], source: str = "the checkpoint") -> Sam:
    """Make a model of a state dict; every tensor must be there and fit.

    Parameters
    ----------
    state : dict of str to Tensor
        Official names, as `read_state` returns them.
    source : str
        Named in errors.

    Returns
    -------
    Sam
        In float32 on the CPU.

    Raises
    ------
    ValueError
        If it is no SAM, or tensors are missing, unknown or of another shape.
    """
    encoder = recognise_encoder(state)
    if encoder is None:
        raise ValueError(
            f"{source} is not a SAM checkpoint: allowed are SAM (ViT-B, ViT-L, ViT-H) "
            "and MobileSAM, also as MedSAM and micro-sam save them."
        )
    with _EmptyWeights():
        model = build_sam(encoder)
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        first = textwrap.shorten(str(error).splitlines()[1], 200).rstrip(".")
        raise ValueError(
            f"{source} looks like a {encoder} checkpoint but does not fit: {first}."
        ) from None
    # Tensors read from a file do not ask for gradients until they are parameters.
    return model.requires_grad_(True)


class _EmptyWeights(TorchFunctionMode):
    """Leaves tensors empty that layers would fill at random, and that are replaced.

    The device "meta" would do as well, but using it imports hundreds of modules, which
    takes seconds and has Python collect garbage for as long as a window is frozen.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in (Tensor.uniform_, Tensor.normal_):
            return args[0]
        return func(*args, **(kwargs or {}))
