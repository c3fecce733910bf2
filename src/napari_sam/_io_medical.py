"""NIfTI, NRRD, MetaImage and DICOM through SimpleITK, geometry kept.

SimpleITK counts axes as (x, y, z) and arrays are (z, y, x): every spacing, origin
and direction is turned round once, here.
"""

from __future__ import annotations

import gzip
import warnings
from itertools import islice
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from napari_sam._io_image import ImageFile, converted, explained, unit_name

if TYPE_CHECKING:
    from io import BufferedIOBase

    import SimpleITK as sitk

_AXES = {2: "YX", 3: "ZYX", 4: "TZYX"}


def read_medical(path: Path) -> ImageFile:
    """Read a NIfTI, NRRD, MetaImage or DICOM file; lengths in millimetres.

    Raises
    ------
    ValueError
        If the file is damaged or incomplete.
    """
    import SimpleITK as sitk

    if not path.name.lower().endswith((".nii", ".nii.gz")):
        with explained(path, "a medical image"):
            return _from_sitk(sitk.ReadImage(str(path)))
    with explained(path, "NIfTI"):
        check_nifti_complete(path)
        return _from_sitk(_read_nifti(path), digits=np.float32)


def _read_nifti(path: Path) -> sitk.Image:
    import SimpleITK as sitk

    twin = path.with_name(path.name[:-3])
    if not path.name.lower().endswith(".gz") or not twin.exists():
        return sitk.ReadImage(str(path))
    # Asked for a.nii.gz, SimpleITK 2.5 takes the header from it, but the pixels
    # from an a.nii lying beside it. Alone in a directory the file is read right.
    with TemporaryDirectory() as folder:
        return sitk.ReadImage(str(copyfile(path, Path(folder) / path.name)))


def check_nifti_complete(path: Path) -> None:
    """Raise EOFError, or what gzip raises, if a NIfTI file ends too early.

    SimpleITK fills what is missing of such a file with zeros, without an error.
    """
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as stream:
        expected = _nifti_bytes(stream.read(352))
        size = _length(stream)
    if size < expected:
        raise EOFError(f"{size} bytes where its header promises {expected}")


def _nifti_bytes(header: bytes) -> int:
    """Length of the uncompressed file according to its NIfTI-1 header."""
    sizes = {order: np.frombuffer(header, f"{order}i4", 1)[0] for order in "<>"}
    if 540 in sizes.values():
        raise ValueError("it is NIfTI-2, which SimpleITK does not read")
    if 348 not in sizes.values():
        raise ValueError("it has no NIfTI header")
    order = "<" if sizes["<"] == 348 else ">"
    dims = np.frombuffer(header, f"{order}i2", 8, offset=40).astype(np.int64)
    bits = int(np.frombuffer(header, f"{order}i2", 1, offset=72)[0])
    start = int(np.frombuffer(header, f"{order}f4", 1, offset=108)[0])
    return start + int(np.prod(dims[1 : dims[0] + 1])) * bits // 8


def _length(stream: BufferedIOBase) -> int:
    # Reading to the end also makes gzip compare its checksum.
    while stream.read(2**22):
        pass
    return stream.tell()


def read_dicom_folder(folder: Path) -> ImageFile:
    """Read the DICOM series of a directory, the longest one if there are several.

    Raises
    ------
    ValueError
        If there is no DICOM image in the directory itself, or it is unreadable.

    Warns
    -----
    UserWarning
        If the directory holds several series.
    """
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    series = {
        name: reader.GetGDCMSeriesFileNames(str(folder), name)
        for name in reader.GetGDCMSeriesIDs(str(folder))
    }
    if not series:
        raise ValueError(f"{folder} must be a directory with DICOM files, has none.")
    longest = max(series, key=lambda name: len(series[name]))
    if len(series) > 1:
        counts = ", ".join(f"{name} ({len(series[name])})" for name in series)
        warnings.warn(
            f"{folder} holds {len(series)} DICOM series, {counts} files; "
            f"the longest, {longest}, was read.",
            stacklevel=3,
        )
    with explained(folder, "a DICOM series"):
        reader.SetFileNames(series[longest])
        return _from_sitk(reader.Execute())


def has_dicom(folder: Path) -> bool:
    """Whether one of the first files of a directory is DICOM, told by its preamble."""
    files = (entry for entry in sorted(folder.iterdir()) if entry.is_file())
    try:
        return any(_is_dicom(file) for file in islice(files, 20))
    except OSError:  # no right to read it: it is for other readers to say so
        return False


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _from_sitk(image: sitk.Image, digits: type = float) -> ImageFile:
    import SimpleITK as sitk

    ndim = image.GetDimension()
    axes = _AXES.get(ndim, "Q" * (ndim - 3) + "ZYX")
    if image.GetNumberOfComponentsPerPixel() > 1:
        axes += "C"
    length = "millimeter"
    if image.HasMetaDataKey("NRRD_space units"):
        length = unit_name(image.GetMetaData("NRRD_space units").split('"')[1])
    # NIfTI keeps float32: its shortest decimal is what was meant (0.3, not 0.30000001).
    spacing, origin = (
        tuple(float(str(digits(x))) for x in reversed(values))
        for values in (image.GetSpacing(), image.GetOrigin())
    )
    return ImageFile(
        sitk.GetArrayFromImage(image),
        axes,
        spacing,
        origin,
        np.reshape(image.GetDirection(), (ndim, ndim))[::-1, ::-1],
        tuple(
            length if axis in "ZYX" else "second" if axis == "T" else "pixel"
            for axis in axes[:ndim]
        ),
    )


def write_medical(path: Path, image: ImageFile) -> None:
    """Write labels with spacing, origin and direction, lengths in millimetres.

    Raises
    ------
    OSError
        If the file could not be written completely.
    ValueError
        If the labels have more than 4 axes.
    """
    import SimpleITK as sitk

    if image.ndim not in _AXES:
        raise ValueError(
            f"labels must have 2 to 4 axes in {path.suffix} files, got {image.ndim}."
        )
    units = image.units or ()
    spacing, origin = (
        [converted(x, unit, "millimeter") for x, unit in zip(v, units, strict=True)]
        for v in (image.spacing, image.origin or ())
    )
    volume = sitk.GetImageFromArray(image.data, isVector=False)
    volume.SetSpacing(spacing[::-1])
    volume.SetOrigin(origin[::-1])
    volume.SetDirection(np.asarray(image.direction)[::-1, ::-1].ravel().tolist())
    try:
        sitk.WriteImage(volume, str(path), useCompression=True)
        if path.name.lower().endswith((".nii", ".nii.gz")):
            # On a full disk the NIfTI writer stops short without an error.
            check_nifti_complete(path)
    except (RuntimeError, EOFError, ValueError) as error:
        reason = (str(error).strip().splitlines() or ["?"])[-1]
        raise OSError(f"{reason}; is the disk full?") from error
