"""The architecture against recorded outputs and against plain references."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_sam._tests.golden import CHECKPOINTS, DATA, checkpoint_shapes
from napari_sam.modeling import image_encoder_tinyvit as tinyvit
from napari_sam.modeling import image_encoder_vit as vit
from napari_sam.modeling.common import LayerNorm2d
from napari_sam.modeling.image_encoder_tinyvit import ConvNorm, TinyViT
from napari_sam.modeling.image_encoder_vit import ImageEncoderViT, ViTConfig
from napari_sam.modeling.mask_decoder import MaskDecoder
from napari_sam.modeling.precision import choose_device, choose_dtype, set_precision
from napari_sam.modeling.prompt_encoder import PromptEncoder
from napari_sam.modeling.sam import Sam, build_sam
from napari_sam.modeling.transformer import Attention, TwoWayTransformer


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomise(module: nn.Module) -> nn.Module:
    """Fill every parameter and statistic, zeros and ones included, with noise."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer)
        elif name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 2)
    return module


def randomise_norms(module: nn.Module) -> nn.Module:
    """Give batch normalisations statistics and biases that are not trivial."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.bias, 0, 0.3)
    return module


def small_model(encoder: str) -> Sam:
    """Make a whole model for frames of 128 pixels: 8 x 8 cells, masks of 32 x 32."""
    if encoder == "vit_t":
        image_encoder: nn.Module = TinyViT(32)
    else:
        config = ViTConfig(32, 2, 2, (1,), 5, img_size=128, out_channels=32)
        image_encoder = ImageEncoderViT(config)
    prompts = PromptEncoder(32, grid=8, image_size=128)
    model = Sam(image_encoder, prompts, MaskDecoder(32))
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "attention_biases" in name or "pos_embed" in name:
            nn.init.normal_(parameter, 0, 0.1)
    return model


# Names, shapes and recorded outputs


@pytest.mark.parametrize("encoder", CHECKPOINTS)
def test_names_and_shapes_are_those_of_the_official_checkpoint(encoder):
    """Every official tensor has its place, and there is no other."""
    with torch.device("meta"):
        state = build_sam(encoder).state_dict()
    found = {name: tuple(value.shape) for name, value in state.items()}
    assert found == checkpoint_shapes(encoder)


def test_there_is_no_other_encoder():
    """Names are checked."""
    with pytest.raises(ValueError, match="encoder must be one of vit_t, vit_b"):
        build_sam("vit_x")


def test_small_vit_equals_the_recorded_output():
    """Windows, global attention, relative positions and neck, end to end."""
    with np.load(DATA / "vit_small_random.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    asked = json.loads(str(arrays["config"]))
    config = ViTConfig(
        asked["embed_dim"],
        asked["depth"],
        asked["num_heads"],
        tuple(asked["global_attn_indexes"]),
        window_size=asked["window_size"],
        mlp_ratio=asked["mlp_ratio"],
        out_channels=asked["out_chans"],
    )
    model = ImageEncoderViT(config).eval()
    weights = {
        name[2:]: torch.from_numpy(value)
        for name, value in arrays.items()
        if name.startswith("w/")
    }
    model.load_state_dict(weights, strict=True)
    torch.manual_seed(int(arrays["input_seed"]))
    with torch.inference_mode():
        output = model(torch.randn(1, 3, 1024, 1024))
    sample = output[0, ::16, ::4, ::4].numpy()
    error = np.linalg.norm(sample - arrays["output_sample"])
    assert error / np.linalg.norm(arrays["output_sample"]) < 1e-4
    assert float(output.norm()) == pytest.approx(float(arrays["output_l2"]), rel=1e-4)


# The mask decoder's attention


def plain_attention(layer: Attention, q, k, v):
    """Project everything, softmax(q k^T / sqrt(d)) v, project back."""
    q, k, v = layer.q_proj(q), layer.k_proj(k), layer.v_proj(v)
    d = q.shape[-1] // layer.num_heads
    heads = []
    for h in range(layer.num_heads):
        part = slice(h * d, (h + 1) * d)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / d**0.5
        heads.append(scores.softmax(-1) @ v[..., part])
    return layer.out_proj(torch.cat(heads, dim=-1))


@pytest.fixture
def cross_attention():
    """Make a layer, tokens, and an image with and without positions."""
    layer = randomise(Attention(32, 4, downsample=2)).double()
    tokens = torch.randn(3, 6, 32, dtype=torch.float64)
    image = torch.randn(3, 25, 32, dtype=torch.float64)
    placed = image + torch.randn(25, 32, dtype=torch.float64)
    return layer, tokens, image, placed


def test_attention_as_written_equals_the_reference(cross_attention):
    """The plain forward, too, is checked."""
    layer, tokens, image, placed = cross_attention
    torch.testing.assert_close(
        layer(tokens, placed, image), plain_attention(layer, tokens, placed, image)
    )


@pytest.mark.parametrize("shared", [False, True])
def test_tokens_to_image_equals_the_reference(cross_attention, shared):
    """Re-associated products give the same, for one image each and one for all."""
    layer, tokens, image, placed = cross_attention
    if shared:
        image, placed = image[:1], placed[:1]
    expected = plain_attention(
        layer, tokens, placed.expand(3, -1, -1), image.expand(3, -1, -1)
    )
    found = layer.tokens_to_image(tokens, placed, image)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shared", [False, True])
def test_image_to_tokens_equals_the_reference(cross_attention, shared):
    """The same for the image's queries, whose result is added to the image."""
    layer, tokens, image, placed = cross_attention
    if shared:
        image, placed = image[:1], placed[:1]
    keys = tokens + torch.randn_like(tokens)
    expected = image + plain_attention(layer, placed.expand(3, -1, -1), keys, tokens)
    found = layer.image_to_tokens((placed, image), keys, tokens)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def plain_two_way(model: TwoWayTransformer, image, positions, prompts):
    """Follow the official order of steps, written with plain attention."""
    tokens = prompts
    for i, layer in enumerate(model.layers):
        if i == 0:
            tokens = plain_attention(layer.self_attn, tokens, tokens, tokens)
        else:
            q = tokens + prompts
            tokens = tokens + plain_attention(layer.self_attn, q, q, tokens)
        tokens = layer.norm1(tokens)
        tokens = tokens + plain_attention(
            layer.cross_attn_token_to_image, tokens + prompts, image + positions, image
        )
        tokens = layer.norm2(tokens)
        hidden = F.relu(layer.mlp.lin1(tokens))
        tokens = layer.norm3(tokens + layer.mlp.lin2(hidden))
        image = image + plain_attention(
            layer.cross_attn_image_to_token, image + positions, tokens + prompts, tokens
        )
        image = layer.norm4(image)
    tokens = tokens + plain_attention(
        model.final_attn_token_to_image, tokens + prompts, image + positions, image
    )
    return model.norm_final_attn(tokens), image


@pytest.mark.parametrize("images", [1, 3])
def test_two_way_transformer_equals_the_reference(images):
    """All steps in the official order, on one image for all prompts or one each."""
    model = randomise(TwoWayTransformer(32, 4, 64)).double()
    image = torch.randn(images, 16, 32, dtype=torch.float64)
    positions = torch.randn(16, 32, dtype=torch.float64)
    prompts = torch.randn(3, 7, 32, dtype=torch.float64)
    expected = plain_two_way(model, image.expand(3, -1, -1), positions, prompts)
    found = model(image, positions, prompts)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-9)


def test_upscaling_equals_the_transposed_convolutions():
    """Matrix products and one permutation for two ConvTranspose2d."""
    decoder = randomise(MaskDecoder(32)).double()
    image = torch.randn(2, 64, 32, dtype=torch.float64)
    tokens = torch.randn(2, 4, 32, dtype=torch.float64)
    grid = image.transpose(1, 2).reshape(2, 32, 8, 8)
    large = decoder.output_upscaling(grid)  # (2, 4, 32, 32)
    weights = torch.stack(
        [m(tokens[:, i]) for i, m in enumerate(decoder.output_hypernetworks_mlps)], 1
    )
    expected = torch.einsum("bmc,bchw->bmhw", weights, large)
    for masks in (slice(0, 1), slice(1, None)):
        cells = decoder.upscale(image, tokens, masks).unflatten(1, (8, 8))
        # (B, row, column, M, half row, half column, quarter row, quarter column)
        found = cells.permute(0, 3, 1, 4, 6, 2, 5, 7).reshape(2, -1, 32, 32)
        torch.testing.assert_close(found, expected[:, masks], rtol=1e-9, atol=1e-9)


def decode_arguments(count: int):
    """Make features, points with a padding point, and masks for `small_model`."""
    features = torch.randn(count, 32, 8, 8, dtype=torch.float64)
    xy = torch.rand(count, 3, 2, dtype=torch.float64) * 127
    labels = torch.tensor([[1, 0, -1]]).expand(count, -1)
    return features, xy, labels, torch.randn(count, 1, 32, 32, dtype=torch.float64)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("with_masks", [True, False])
def test_batches_of_prompts_and_images_equal_one_by_one(multimask, with_masks):
    """Neither prompts nor images of a batch know of each other."""
    model = small_model("vit").double().eval()
    features, xy, labels, masks = decode_arguments(3)
    for image in (features, features[:1]):
        together = model.decode(
            image, (xy, labels), masks if with_masks else None, multimask
        )
        for i in range(3):
            alone = model.decode(
                image[i : i + 1] if len(image) > 1 else image,
                (xy[i : i + 1], labels[i : i + 1]),
                masks[i : i + 1] if with_masks else None,
                multimask,
            )
            torch.testing.assert_close(together[0][i : i + 1], alone[0])
            torch.testing.assert_close(together[1][i : i + 1], alone[1])


def test_masks_without_any_point_are_decoded():
    """A mask alone is a prompt; there are no sparse tokens then."""
    model = small_model("vit").double().eval()
    features, xy, labels, masks = decode_arguments(2)
    logits, scores = model.decode(features, (xy[:, :0], labels[:, :0]), masks, False)
    assert logits.shape == (2, 1, 32, 32)
    assert scores.shape == (2, 1)


@pytest.mark.parametrize("multimask", [True, False])
def test_a_prepared_image_decodes_the_same(multimask):
    """Projecting an image beforehand saves work and changes nothing."""
    model = small_model("vit").double().eval()
    features, xy, labels, _ = decode_arguments(3)
    for image in features.split(1):
        expected = model.decode(image, (xy, labels), None, multimask)
        found = model.decode(model.image_side(image), (xy, labels), None, multimask)
        torch.testing.assert_close(found[0], expected[0])
        torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize("part_bytes", [50_000, 300_000])
@torch.no_grad()
def test_working_in_parts_changes_nothing(monkeypatch, part_bytes):
    """Encoders and decoder, whatever the size of a part."""
    for encoder in ("vit_t", "vit"):
        model = randomise_norms(small_model(encoder)).double().eval()
        images = torch.randn(2, 3, 128, 128, dtype=torch.float64)
        _, xy, labels, _ = decode_arguments(2)
        results = []
        for size in (1 << 40, part_bytes):
            monkeypatch.setattr("napari_sam.modeling.common.PART_BYTES", size)
            features = model.image_encoder(images)
            results.append(
                (features, *model.decode(features, (xy, labels), None, True))
            )
        for whole, parts in zip(*results, strict=True):
            torch.testing.assert_close(parts, whole)


# The prompt encoder


def test_points_are_encoded_as_officially():
    """Half a pixel is added, padding has no place, labels choose the embedding."""
    encoder = randomise(PromptEncoder(8)).double()
    xy = torch.tensor([[[100.0, 20], [0, 0], [5, 6], [7, 8], [9, 10]]]).double()
    labels = torch.tensor([[1, -1, 0, 2, 3]])
    found = encoder.embed_points(xy, labels)[0]
    matrix = encoder.pe_layer.positional_encoding_gaussian_matrix
    for i, label in enumerate(labels[0].tolist()):
        angle = 2 * np.pi * ((2 * (xy[0, i] + 0.5) / 1024 - 1) @ matrix)
        place = torch.cat([angle.sin(), angle.cos()])
        if label == -1:
            expected = encoder.not_a_point_embed.weight[0]
        else:
            expected = place + encoder.point_embeddings[label].weight[0]
        torch.testing.assert_close(found[i], expected)


def test_cells_have_the_position_of_their_centre():
    """Row by row, x along the row."""
    encoder = PromptEncoder(8, grid=4)
    positions = encoder.dense_positions()
    centre = torch.tensor([[(2 + 0.5) / 4, (1 + 0.5) / 4]])  # x, y of row 1, column 2
    torch.testing.assert_close(positions[1 * 4 + 2], encoder.pe_layer(centre)[0])


def test_kept_positions_are_those_of_the_weights_of_now():
    """Made once in inference, again with other weights; training never sees them."""
    encoder = PromptEncoder()
    expected = encoder.dense_positions()
    with torch.inference_mode():
        first = encoder.dense_positions()
        assert encoder.dense_positions() is first
    torch.testing.assert_close(first, expected, rtol=0, atol=0)
    assert not encoder.dense_positions().is_inference()
    assert not copy.deepcopy(encoder).dense_positions().is_inference()
    encoder.load_state_dict(PromptEncoder().state_dict())
    with torch.inference_mode():
        assert not torch.equal(encoder.dense_positions(), first)


def test_layer_norm_over_channels():
    """Biased variance and an eps of 1e-6."""
    norm = randomise(LayerNorm2d(5)).double()
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    centred = x - x.mean(1, keepdim=True)
    expected = centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)


# ViT


def plain_vit_attention(layer: vit.Attention, x, size: tuple[int, int]):
    """Official attention over (B, h, w, C), decomposed relative positions included."""
    batch, (h, w), heads = x.shape[0], size, layer.num_heads
    d = x.shape[-1] // heads
    qkv = layer.qkv(x).reshape(batch, h * w, 3, heads, d).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.reshape(3, batch * heads, h * w, d)
    scores = (q * d**-0.5) @ k.transpose(1, 2)
    for i in range(h * w):
        for j in range(h * w):
            (qy, qx), (ky, kx) = divmod(i, w), divmod(j, w)
            relative = (
                layer.rel_pos_h[qy - ky + h - 1] + layer.rel_pos_w[qx - kx + w - 1]
            )
            scores[:, i, j] += q[:, i] @ relative
    out = (scores.softmax(-1) @ v).reshape(batch, heads, h, w, d)
    return layer.proj(out.permute(0, 2, 3, 1, 4).reshape(batch, h, w, -1))


@pytest.fixture
def plain_numbers():
    """Let references index and add in place, which gradients forbid."""
    with torch.no_grad():
        yield


@pytest.mark.usefixtures("plain_numbers")
def test_decomposed_relative_positions_equal_the_naive_sum():
    """Each pair of tokens gets the vector of its row and of its column distance."""
    layer = randomise(vit.Attention(8, 2, 4)).double()
    x = torch.randn(2, 4, 4, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x, 0), plain_vit_attention(layer, x, (4, 4)))


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (3, 8), (2, 2)])
@pytest.mark.usefixtures("plain_numbers")
def test_windows_with_padding_equal_the_naive_reference(size):
    """Zero padding after the norm takes part in attention and is then cut off."""
    window = 4
    layer = randomise(vit.Attention(8, 2, window)).double()
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    bottom, right = -size[0] % window, -size[1] % window
    padded = F.pad(x, (0, 0, 0, right, 0, bottom))
    expected = torch.empty_like(padded)
    for r in range(0, padded.shape[1], window):
        for c in range(0, padded.shape[2], window):
            part = padded[:, r : r + window, c : c + window]
            expected[:, r : r + window, c : c + window] = plain_vit_attention(
                layer, part, (window, window)
            )
    found = layer(x, window)
    torch.testing.assert_close(found, expected[:, : size[0], : size[1]])


@pytest.mark.parametrize("scores", [1, 40, 64, 300, 512, 1000])
@pytest.mark.usefixtures("plain_numbers")
def test_chunked_attention_equals_unchunked(monkeypatch, scores):
    """Whether chunks cut queries, heads or nothing."""
    layer = randomise(vit.Attention(8, 2, 8)).double()
    x = torch.randn(2, 8, 8, 8, dtype=torch.float64)
    monkeypatch.setattr(vit, "CHUNK_SCORES", 1 << 40)
    expected = layer(x, 0)
    monkeypatch.setattr(vit, "CHUNK_SCORES", scores)
    torch.testing.assert_close(layer(x, 0), expected)


@pytest.mark.parametrize("size", [3, 5, 9])
def test_tables_of_another_length_are_interpolated(size):
    """Linearly, as the official code does for other image sizes."""
    table = torch.randn(9, 4)
    full = F.interpolate(table.T[None], size=2 * size - 1, mode="linear")[0].T
    found = vit.relative_positions(size, table)
    for q in range(size):
        for k in range(size):
            torch.testing.assert_close(found[q, k], full[q - k + size - 1])


# TinyViT


def plain_tinyvit_attention(layer: tinyvit.WindowAttention, window):
    """Official attention over one (B, N, C) window: norm inside, q k v per head."""
    batch, tokens, channels = window.shape
    side, heads, d = layer.window, layer.num_heads, channels // layer.num_heads
    qkv = layer.qkv(layer.norm(window)).view(batch, tokens, heads, 3 * d)
    q, k, v = (t.permute(0, 2, 1, 3) for t in qkv.split([d, d, d], dim=3))
    scores = q @ k.transpose(2, 3) * d**-0.5
    numbers: dict[tuple[int, int], int] = {}
    for i in range(tokens):
        for j in range(tokens):
            (ay, ax), (by, bx) = divmod(i, side), divmod(j, side)
            offset = (abs(ay - by), abs(ax - bx))
            number = numbers.setdefault(offset, len(numbers))
            scores[:, :, i, j] += layer.attention_biases[:, number]
    out = scores.softmax(-1) @ v
    return layer.proj(out.transpose(1, 2).reshape(batch, tokens, channels))


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (2, 7)])
@pytest.mark.usefixtures("plain_numbers")
def test_tinyvit_windows_equal_the_naive_reference(size):
    """Zero padding before the norm; the learned bias by distance."""
    side = 3
    layer = randomise(tinyvit.WindowAttention(8, 2, side)).double()
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    padded = F.pad(x, (0, 0, 0, -size[1] % side, 0, -size[0] % side))
    expected = torch.empty_like(padded)
    for r in range(0, padded.shape[1], side):
        for c in range(0, padded.shape[2], side):
            part = padded[:, r : r + side, c : c + side].reshape(2, side * side, 8)
            part = plain_tinyvit_attention(layer, part)
            expected[:, r : r + side, c : c + side] = part.view(2, side, side, 8)
    torch.testing.assert_close(layer(x), expected[:, : size[0], : size[1]])


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_folded_normalisation_equals_both_steps(kernel, stride):
    """In evaluation; in training the batch's own statistics count."""
    layer = randomise(ConvNorm((4, 6), kernel, stride)).double()
    x = torch.randn(2, 8, 9, 4, dtype=torch.float64)
    for training in (False, True):
        layer.train(training)
        apart = copy.deepcopy(layer)
        expected = apart.bn(apart.c(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        torch.testing.assert_close(layer(x), expected)


@pytest.fixture(scope="module")
def small_image():
    """Make a frame of 128 pixels: the encoder takes any multiple of 16."""
    return torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_weights_loaded_after_eval_leave_nothing_stale(small_image):
    """The trap of the official code: biases gathered by eval() outlive a load."""
    trained = randomise(TinyViT()).eval()
    expected = trained(small_image)
    model = TinyViT().eval()
    model(small_image)  # whatever a call might keep
    model.load_state_dict(trained.state_dict())
    torch.testing.assert_close(model(small_image), expected)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("attention_biases"):
            parameter.add_(torch.randn_like(parameter))
    assert not torch.allclose(model(small_image), expected, rtol=1e-2)


@torch.no_grad()
def test_training_mode_and_back_changes_nothing_by_itself(small_image):
    """Switching modes leaves evaluation as it was; in training, batches count."""
    model = randomise(TinyViT()).eval()
    expected = model(small_image)
    torch.testing.assert_close(model.train().eval()(small_image), expected)
    model.train()(small_image)  # moves the running statistics
    assert not torch.allclose(model.eval()(small_image), expected, rtol=1e-2)


@pytest.mark.parametrize("encoder", ["vit_t", "vit"])
@torch.no_grad()
def test_a_batch_of_images_equals_one_by_one(encoder):
    """Images of a batch do not know of each other."""
    model = small_model(encoder).image_encoder.eval()
    images = torch.randn(2, 3, 128, 128)
    together = model(images)
    for i in range(2):
        torch.testing.assert_close(
            together[i : i + 1], model(images[i : i + 1]), rtol=1e-3, atol=1e-4
        )


# Gradients


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("encoder", ["vit_t", "vit"])
def test_gradients_reach_every_parameter(monkeypatch, small_image, encoder, training):
    """All kinds of prompts together use every weight but TinyViT's classifier."""
    monkeypatch.setattr(vit, "CHUNK_SCORES", 1000)  # the chunked path, too
    model = small_model(encoder).train(training)
    features = model.image_encoder(torch.cat([small_image, small_image.flip(-1)]))
    xy = torch.rand(2, 3, 2) * 127
    point_labels = torch.tensor([[1, 0, -1]]).expand(2, -1)
    box_labels = torch.tensor([[1, 2, 3]]).expand(2, -1)
    mask = torch.randn(2, 1, 32, 32)
    loss = torch.zeros(())
    for labels, masks in ((point_labels, None), (box_labels, mask)):
        for multimask in (True, False):
            logits, scores = model.decode(features, (xy, labels), masks, multimask)
            loss = loss + logits.square().mean() + scores.square().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        if ".norm_head." in name or ".head." in name:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # A constant added to all keys drops out of the softmax.
        if not name.endswith("k_proj.bias"):
            assert parameter.grad.any(), name


# Devices and precision


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta", "", None, 7])
def test_devices_that_are_not_there_are_refused(device):
    """A ValueError, not whatever torch raises."""
    with pytest.raises(ValueError, match="device must be"):
        choose_device(device)


def test_auto_device_is_one_that_is_there():
    """And a device may be given as such."""
    assert choose_device("auto").type in {"cuda", "mps", "cpu"}
    assert choose_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("precision", ["float64", "half", "", None, 32, ["float32"]])
def test_there_is_no_other_precision(precision):
    """Names are checked."""
    with pytest.raises(ValueError, match="precision must be one of"):
        choose_dtype(torch.device("cpu"), precision)


def test_half_precision_is_not_for_cpus():
    """It is hundreds of times slower there."""
    with pytest.raises(ValueError, match="float16 is for GPUs"):
        choose_dtype(torch.device("cpu"), "float16")


@pytest.mark.parametrize(("is_fast", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_follows_the_hardware(monkeypatch, is_fast, dtype):
    """Short numbers only where they are fast."""
    monkeypatch.setattr(
        "napari_sam.modeling.precision.has_fast_bfloat16", lambda: is_fast
    )
    assert choose_dtype(torch.device("cpu"), "auto") == getattr(torch, dtype)


def test_what_needs_float32_keeps_it():
    """Prompts, predicted IoU and folded normalisations."""
    model = Sam(TinyViT(), PromptEncoder(), MaskDecoder())
    set_precision(model, torch.bfloat16)
    assert model.mask_decoder.transformer.norm_final_attn.weight.dtype == torch.bfloat16
    kept = [
        *model.prompt_encoder.parameters(),
        *model.mask_decoder.iou_prediction_head.parameters(),
        *model.image_encoder.patch_embed.parameters(),
    ]
    assert {parameter.dtype for parameter in kept} == {torch.float32}
