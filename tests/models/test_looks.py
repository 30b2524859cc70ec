"""Several looks: each at the box of what those before found, the answer a mean by how sure each is."""

import pytest
import torch

from snellen import create_model
from snellen.layers.zoom_grid import box_grid
from snellen.models import KeypointOutput, UnknownChoiceError
from snellen.models.zoomed import decode_output
from zooms import awake, keypoint_model


def test_a_second_look_is_at_the_box_of_the_first_answer():
    torch.manual_seed(0)
    twice = awake(keypoint_model("separable", looks=2)).eval()
    once = awake(keypoint_model("separable")).eval()
    once.load_state_dict(twice.state_dict())
    canvas = torch.rand(2, 3, 70, 90) * 255
    with torch.no_grad():
        first, answer = once(canvas), twice(canvas)
        assert first.earlier == ()
        torch.testing.assert_close(answer.earlier[0].logits, first.logits)
        xy = decode_output(first, "local", canvas=(70, 90), stride=1).xy
        box = torch.cat((xy.amin(1), xy.amax(1)), -1)[:, None]
        seen = once.zoomer.around(canvas, box)
    assert (first.grid.nodes - answer.grid.nodes).abs().max() > 0.01
    torch.testing.assert_close(answer.grid.nodes, seen.grid.nodes)
    torch.testing.assert_close(answer.logits, once.net(seen.image).logits)
    told = once(canvas, boxes=box).grid.nodes
    torch.testing.assert_close(told, seen.grid.nodes)  # as training zooms on boxes that it is told
    torch.testing.assert_close(twice(canvas, boxes=box).grid.nodes, told)
    assert torch.equal(twice.train()(canvas).grid.nodes, once.train()(canvas).grid.nodes)


def test_a_third_look_is_at_the_box_of_what_both_before_found():
    torch.manual_seed(0)
    thrice, twice = (awake(keypoint_model("separable", looks=n)).eval() for n in (3, 2))
    twice.load_state_dict(thrice.state_dict())
    canvas = torch.rand(2, 3, 70, 90) * 255
    with torch.no_grad():
        answer, before = thrice(canvas), twice(canvas)
        xy = read_off(before).xy
        seen = thrice.zoomer.around(canvas, torch.cat((xy.amin(1), xy.amax(1)), -1)[:, None])
    torch.testing.assert_close(answer.grid.nodes, seen.grid.nodes)
    assert answer.first is answer.earlier[0]
    assert [look.earlier for look in answer.earlier] == [(), ()]
    for look, expected in zip(answer.earlier, (before.first, before), strict=True):
        torch.testing.assert_close(look.logits, expected.logits)


def looks_of(*logits):
    """An answer of several looks, all through one grid."""
    grid = box_grid(torch.tensor([[0.1, 0.2, 0.8, 0.7]]).expand(2, 4), (32, 40))
    *before, last = (KeypointOutput(maps, grid) for maps in logits)
    return KeypointOutput(last.logits, grid, earlier=tuple(before))


def read_off(output):
    return decode_output(output, "local", canvas=(70, 90), stride=1)


def test_looks_are_averaged_by_how_sure_they_are():
    torch.manual_seed(0)
    sure, other = (4 * torch.randn(2, 5, 32, 40) for _ in range(2))
    alone, beside = read_off(looks_of(sure)), read_off(looks_of(other))
    for found, expected in zip(read_off(looks_of(sure, sure)), alone, strict=True):
        torch.testing.assert_close(found, expected)  # the same twice is the same
    # Maps in another order are as sure: such looks count alike.
    as_sure = sure[:, [1, 2, 3, 4, 0]]
    middle = (alone.xy + read_off(looks_of(as_sure)).xy) / 2
    # The confidence is that of the place between, of which each look by itself thinks little.
    assert read_off(looks_of(sure, as_sure)).confidence.mean() < alone.confidence.mean() / 2
    torch.testing.assert_close(read_off(looks_of(sure, as_sure)).xy, middle)
    torch.testing.assert_close(read_off(looks_of(as_sure, sure)).xy, middle)
    # A look that knows nothing hardly counts, before or after one that does.
    for looks in ((sure, 0 * other), (0 * other, sure)):
        for found, expected in zip(read_off(looks_of(*looks)), alone, strict=True):
            torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    # Of each image by itself: one image's looks do not weigh another's.
    mixed = read_off(looks_of(torch.stack((sure[0], other[1])), torch.stack((0 * other[0], other[1]))))
    torch.testing.assert_close(mixed.xy[1], beside.xy[1])
    torch.testing.assert_close(mixed.xy[0], alone.xy[0], atol=0.01, rtol=0)


def test_only_points_say_where_to_look_again():
    with pytest.raises(UnknownChoiceError, match="only points say where"):
        create_model("gaze-small", zoom="separable", zoom_options={"size": [64, 64], "looks": 2})


@pytest.mark.parametrize("looks", [1, 3])
def test_an_answer_that_is_no_number_stays_none_and_leaves_the_other_images_alone(looks):
    torch.manual_seed(0)
    model = awake(keypoint_model("saliency", looks=looks)).eval()
    canvas = torch.rand(2, 3, 70, 90) * 255
    with torch.no_grad():
        wanted = read_off(model(canvas)).xy
        canvas[0] = torch.nan
        found = read_off(model(canvas)).xy
    assert found[0].isnan().all()
    torch.testing.assert_close(found[1], wanted[1])
