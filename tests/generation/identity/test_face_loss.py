"""The differentiable face loss: which samples count, what it says of them, what it keeps, where gradients go."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from generation.alignment import box_matrices, crop, similarity_matrices, square_boxes
from generation.detection import PrecomputedFinder
from generation.identity.face_loss import DifferentiableFaceLoss
from generation.identity.gate import NO_FACE, NO_REFERENCE_FACE, NOT_FINITE, OTHER_DATA_TYPE, WEIGHTLESS
from recognition.errors import InputError
from recognition.faces.alignment import template_points
from tests.generation.identity.linear_faces import ByMark, LinearFaces, face, marked

GOOD, BAD, BOX_ONLY = face(), face(points="bad"), face(points=None)
# Mark of a picture -> what is found in it; 3: nothing.
FACES = (GOOD, BAD, BOX_ONLY, None)


def loss_of(*, faces=FACES, dtype=torch.float32, **options):
    return DifferentiableFaceLoss(device="cpu", backbone=LinearFaces(dtype), finder=ByMark(*faces), **options)


def by_hand(loss, ref, gen, found_ref, found_gen, mode):
    """1 - cosine of one pair of pictures (3, H, W), with torch's own cosine."""
    emb = []
    for picture, found in ((ref, found_ref), (gen, found_gen)):
        if mode == "kps":
            matrix = similarity_matrices(found.points_52[None].to(picture), torch.from_numpy(template_points(16)))
        else:
            matrix = box_matrices(square_boxes(found.box_4[None], 1.2), 16)
        emb.append(loss.backbone(crop(picture[None], matrix.to(picture), 16)))
    return 1 - F.cosine_similarity(*emb)[0]


@pytest.mark.parametrize("align_mode", ["bbox", "kps"])
def test_every_combination_of_data_type_face_and_points(align_mode):
    loss = loss_of(align_mode=align_mode)
    kinds = ["person", "person_head", "person_hair", "scenery"]
    cases = list(itertools.product(kinds, range(4), range(4)))
    ref, gen = (marked([case[place] for case in cases], seed=place) for place in (1, 2))
    gen.requires_grad_()
    total, details = loss(ref_images=ref, gen_images=gen, data_type=[case[0] for case in cases], return_details=True)
    total.backward()
    valid = []
    for index, (kind, in_ref, in_gen) in enumerate(cases):
        counts = kind in ("person", "person_head")
        why = OTHER_DATA_TYPE if not counts else NO_REFERENCE_FACE if in_ref == 3 else NO_FACE if in_gen == 3 else ""
        assert details.why[index] == why
        assert details.valid_B[index] == (why == "")
        if why:
            assert (details.aligned[index], details.found[index], details.per_sample_B[index]) == ("", "", 0)
            assert gen.grad[index].abs().max() == 0
            continue
        mode = "kps" if align_mode == "kps" and in_ref == in_gen == 0 else "bbox"
        assert (details.aligned[index], details.found[index]) == (mode, "detect")
        expected = by_hand(loss, ref[index], gen[index].detach(), FACES[in_ref], FACES[in_gen], mode)
        assert torch.allclose(details.per_sample_B[index], expected, atol=1e-6)
        assert gen.grad[index].abs().max() > 0
        valid.append(expected)
    assert len(valid) == 2 * 3 * 3
    assert torch.allclose(total, torch.stack(valid).mean(), atol=1e-6)


def test_all_invalid_gives_zero_on_the_graph_even_with_what_is_not_finite():
    loss = loss_of()
    gen = marked([3, 0])
    gen[1, :, 5] = float("nan")
    gen.requires_grad_()
    total, details = loss(marked([0, 0]), gen, return_details=True)
    assert details.why == (NO_FACE, NOT_FINITE)
    assert total == 0
    total.backward()
    assert torch.equal(gen.grad, torch.zeros_like(gen))


def test_an_empty_batch_is_zero_on_the_graph():
    gen = marked([]).requires_grad_()
    total = loss_of()(marked([]), gen)
    total.backward()
    assert total == 0


@pytest.mark.parametrize("align_mode", ["bbox", "kps"])
def test_gradcheck_to_the_pixels(align_mode):
    loss = loss_of(dtype=torch.float64, faces=(face((2.3, 3.1, 12.2, 12.9)),), align_mode=align_mode)
    ref, gen = marked(0, side=16, seed=1, dtype=torch.float64), marked(0, side=16, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda gen: loss(ref, gen), gen.requires_grad_(), fast_mode=True)


def test_identical_and_opposite_pictures_are_at_the_ends_of_the_range():
    loss = loss_of()
    picture = marked(0)
    assert loss(picture, picture) < 1e-12
    inverted = 1 - picture
    inverted[:, 0, 0, 0] = 0
    assert torch.allclose(loss(picture, inverted), torch.tensor(2.0), atol=1e-5)


def test_weights_scale_each_sample_and_zero_leaves_it_out():
    loss = loss_of()
    ref, gen, weight_B = marked([0, 0, 0], seed=1), marked([0, 0, 0]), torch.tensor([0.5, 0.0, 1.0])
    total, details = loss(ref, gen, weight_B=weight_B, return_details=True)
    assert details.why == ("", WEIGHTLESS, "")
    assert torch.allclose(total, (0.5 * details.per_sample_B[0] + details.per_sample_B[2]) / 2)
    assert loss.comparison.finder.calls == [2, 2]


def test_references_are_found_and_embedded_once_for_each_key():
    loss = loss_of(align_mode="kps")
    ref = marked([0, 3, 0, 0], seed=1)
    ref[2] = ref[0]
    keys = ["a", "b", "a", "c"]
    losses = [loss(ref, marked([0, 0, 0, 0], seed=step), ref_keys=keys) for step in (2, 3)]
    # Three references are looked at once; then three pictures in each step, since nobody is in "b".
    assert loss.comparison.finder.calls == [3, 3, 3]
    assert loss.backbone.calls == [1, 1, 3, 3]
    without = loss_of(align_mode="kps")
    for found, step in zip(losses, (2, 3)):
        assert torch.allclose(found, without(ref, marked([0, 0, 0, 0], seed=step)), atol=1e-6)
    assert without.backbone.calls == [3, 3, 3, 3]
    # Points that fail need the reference by its box as well: once.
    for step in (4, 5):
        loss(ref[:1], marked([1], seed=step), ref_keys=["a"])
    assert loss.backbone.calls[4:] == [1, 1, 1]


def test_detection_never_sees_a_graph():
    loss = loss_of()
    loss(marked([0]).requires_grad_(), marked([0]).requires_grad_())
    assert loss.comparison.finder.graphs == 0


@pytest.mark.parametrize("align_mode", ["bbox", "kps"])
def test_the_place_of_the_reference_serves_where_nothing_is_found(align_mode):
    loss = loss_of(gen_face_source="reference", align_mode=align_mode)
    ref = marked([0, 3, 0], side=24, seed=1)
    gen = marked([3, 3, 1], side=48)
    total, details = loss(ref, gen, return_details=True)
    assert details.why == ("", NO_REFERENCE_FACE, "")
    assert details.found == ("reference", "", "detect")
    # Twice as large: the pixel x covers 2 x and 2 x + 1, the middle of which is 2 x + 0.5.
    placed = face((8.5, 8.5, 38.5, 38.5))
    expected = by_hand(loss, ref[0], gen[0], GOOD, placed, align_mode)
    assert torch.allclose(details.per_sample_B[0], expected, atol=1e-5)


def test_known_places_of_references_serve_pictures_without_names():
    known = PrecomputedFinder({"a": GOOD, "b": None})
    loss = DifferentiableFaceLoss(device="cpu", backbone=LinearFaces(), finder=known, gen_face_source="reference")
    ref, gen = marked([0, 0], seed=1), marked([0, 0])
    _, details = loss(ref, gen, ref_keys=["a", "b"], return_details=True)
    assert details.found == ("reference", "")
    assert torch.allclose(details.per_sample_B[0], by_hand(loss, ref[0], gen[0], GOOD, GOOD, "bbox"), atol=1e-6)
    _, details = loss(ref, gen, ref_keys=["a", "a"], gen_keys=["a", "b"], return_details=True)
    assert details.found == ("detect", "reference")
    with pytest.raises(InputError, match="known by name"):
        DifferentiableFaceLoss(device="cpu", backbone=LinearFaces(), finder=known)(ref, gen, ref_keys=["a", "a"])


def test_a_box_without_a_pixel_is_no_face():
    nothing = [
        face((5.0, 5.0, 5.0, 9.0)),
        face((float("nan"), 1.0, 9.0, 9.0)),
        face((1.0, 1.0, 9.0, float("nan"))),
        face((1.0, 1.0, 9.0, float("inf"))),
        face((30.0, 1.0, 40.0, 9.0)),  # beside the picture
    ]
    loss = loss_of(faces=(GOOD, *nothing))
    _, details = loss(marked([0] * 5), marked([1, 2, 3, 4, 5]), return_details=True)
    assert details.why == (NO_FACE,) * 5
    _, details = loss(marked([1, 2, 3, 4, 5]), marked([0] * 5), return_details=True)
    assert details.why == (NO_REFERENCE_FACE,) * 5


@pytest.mark.parametrize(
    ("ref", "gen", "message"),
    [
        (marked(0) * 2 - 1, marked(0), r"ref_images have values from -1 to .*: x / 2 \+ 0.5 if they are in \[-1"),
        (marked(0), marked(0) * 2 - 1, r"gen_images have values from -.*: x / 2 \+ 0.5"),
        (marked(0) * 255, marked(0), r"ref_images have values .*: x / 255 if they are pixel values"),
        (marked(0) / 0, marked(0), r"ref_images are not finite in 1728 values"),
        (marked(0), marked(0)[:, :1], r"gen_images are torch.float32 \(1, 1, 24, 24\); give RGB pictures"),
        ((marked(0) * 255).byte(), marked(0), r"ref_images are torch.uint8"),
    ],
)
def test_pictures_in_another_range_are_one_clear_error(ref, gen, message):
    with pytest.raises(InputError, match=message):
        loss_of()(ref, gen)


def test_single_pixels_of_a_decode_may_overshoot():
    gen = marked(0)
    gen[0, :, 10, 10] = torch.tensor([-0.7, 1.8, 2.5])
    gen.requires_grad_()
    loss_of()(marked(0, seed=1), gen).backward()
    assert gen.grad[0, :, 10, 10].abs().min() > 0


def test_batches_and_keys_have_one_length():
    for name in ("ref_keys", "gen_keys"):
        with pytest.raises(InputError, match=f"{name} has 1 keys; give one for each of the 2"):
            loss_of()(marked([0, 0]), marked([0, 0]), **{name: ["a"]})
    with pytest.raises(InputError, match="2 ref_images and 1 pictures; give each"):
        loss_of()(marked([0, 0]), marked([0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"align_mode": "box"}, "align_mode='box' is not known; use one of bbox, kps"),
        ({"gen_face_source": "guess"}, "gen_face_source='guess' is not known"),
        ({"margin": 0}, "margin=0 must be above 0"),
        ({"layer_weights": [1, 1]}, r"layer_weights=\[1, 1\]: give five"),
        ({"layer_weights": [0, 0, 0, 0, 0]}, "not all 0"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        loss_of(**options)


def test_a_recogniser_without_weights_or_name_is_refused():
    with pytest.raises(InputError, match="needs a trained recogniser: give pretrained_path"):
        DifferentiableFaceLoss("r50", device="cpu", finder=ByMark())
    with pytest.raises(InputError, match="'r5' is not known; did you mean 'r50'"):
        DifferentiableFaceLoss("r5", "weights.pth", device="cpu", finder=ByMark())
