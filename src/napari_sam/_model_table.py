"""The models there are: where each comes from, and what it is."""

from __future__ import annotations

from napari_sam.model_folders import SPECS
from napari_sam.types import ModelSpec

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
        *SPECS,
    )
}
