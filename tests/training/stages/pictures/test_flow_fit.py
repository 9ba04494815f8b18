import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from upath import UPath

from models.portrait_warp import CoarseFlow
from preprocessing.faces.shape.landmark_groups import IMAGE_LEFT_EYEBROW, IMAGE_RIGHT_EYEBROW
from tests.training.stages.pictures.test_composite_landmarks import make_face
from training.data.index import open_current
from training.losses.pictures.flow import landmark_flow_loss
from training.stages.pictures.flow_fit import ExpressionFit, FlowFitSettings, FlowRows, fit_flow, flow_rows

LOWER_LIP, BELOW_LIP, BROW, SIDE_PX = 14, 17, 105, 32
SETTINGS = FlowFitSettings(steps=200, batch_size=16)


def make_rows(motion: dict[str, Tensor], driving_px: Tensor) -> FlowRows:
    """One person, whose face at rest is the portrait."""
    rows = len(driving_px)
    return FlowRows(
        motion,
        driving_px,
        torch.zeros(rows, dtype=torch.long),
        torch.zeros(1, 3),
        make_face().float(),
        torch.zeros(1, dtype=torch.long),
    )


def make_flow(width: int) -> CoarseFlow:
    torch.manual_seed(0)
    return CoarseFlow(width, 3, SIDE_PX)


def flow_at(flow: CoarseFlow, motion: list[float], point: int, down_px: float) -> float:
    """Vertical flow below a landmark of the face at rest, in px of the crop."""
    place_px = make_face().float()[:, None, [point], :2] + torch.tensor([0.0, down_px])
    place = (place_px * 2 + 1) / 224 - 1
    field = flow(torch.tensor([motion]), torch.zeros(1, 3))
    return 112 * functional.grid_sample(field, place, align_corners=False)[0, 1].item()


def test_fit_flow_moves_the_portrait_to_the_driving_landmarks() -> None:
    shift = torch.linspace(-10.0, 10.0, 32)
    driving_px = make_face().float() + shift[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    rows = make_rows({"feature": shift[:, None] / 10}, driving_px)
    flow = make_flow(1)
    # Mean of |x| over -10 to 10 px is 5; one of two axes, in units of 112 px.
    before = landmark_flow_loss(
        flow(rows.motion["feature"], torch.zeros(32, 3)), rows.portrait_px.expand(32, -1, -1), driving_px, 224
    )
    assert before.item() == pytest.approx(5.16 / 2 / 112, rel=0.01)
    with torch.no_grad():
        fit_flow(flow, rows, SETTINGS)
    after = landmark_flow_loss(
        flow(rows.motion["feature"], torch.zeros(32, 3)), rows.portrait_px.expand(32, -1, -1), driving_px, 224
    )
    assert after.item() < 0.2 * before.item()


def test_fit_flow_learns_the_mouth_from_the_lip_code_alone() -> None:
    """The pose code tells the mouth of its own frame, as a code that was read from a picture may."""
    opening = torch.linspace(0.0, 1.0, 32)[:, None]
    driving_px = make_face().float().repeat(32, 1, 1)
    jaw = driving_px[0, :, 1] >= driving_px[0, LOWER_LIP, 1]
    driving_px[:, jaw, 1] += 12 * opening
    still = torch.zeros(32, 1)
    rows = make_rows({"lip": opening, "expression": opening, "eye": still, "pose": opening}, driving_px)
    flow = make_flow(4)
    with torch.no_grad():
        flow.from_motion.weight[:, 1] = 0.0  # as in stage 3
    before = flow.from_motion.weight.detach().clone()
    # On a coarse grid, the gap between the lips would otherwise overshoot below.
    fit_flow(flow, rows, SETTINGS.replace(local_weight=0.0))
    assert (flow.from_motion.weight != before).any(dim=0).tolist() == [True, False, False, True]
    rest, by_lip, by_pose = (
        flow_at(flow, motion, BELOW_LIP, down_px=12.0)
        for motion in ([0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0])
    )
    # With the lip code of the widest frame, the lip that is 12 px lower comes from where it is at rest.
    assert by_lip == pytest.approx(-12.0, rel=0.2)
    assert [rest, by_pose] == pytest.approx([0.0, 0.0], abs=1.0)


def test_fit_flow_learns_brows_from_the_expression_head() -> None:
    """Of two features of a window, the brows follow the one that tells them; so would they the pose code."""
    raised = torch.linspace(0.0, 1.0, 32)[:, None]
    driving_px = make_face().float().repeat(32, 1, 1)
    brows = [*IMAGE_LEFT_EYEBROW, *IMAGE_RIGHT_EYEBROW]
    driving_px[:, brows, 1] -= 12 * raised
    still = torch.zeros(32, 1)
    rows = make_rows({"lip": still, "expression": still, "eye": still, "pose": raised}, driving_px)
    noise = torch.rand(32, 3, 1, generator=torch.Generator().manual_seed(0))
    windows = torch.cat([raised[:, None].expand(-1, 3, -1), noise], dim=2)
    torch.manual_seed(0)
    head, flow = nn.Linear(2, 1), make_flow(4)
    fit = ExpressionFit(head, head, windows, driving_px)
    fit_flow(flow, rows, SETTINGS.replace(local_weight=0.0, steps=400), fit)
    with torch.no_grad():
        low, high = (head(torch.tensor([value, 0.5])).item() for value in (0.0, 1.0))
    rest, by_head, by_pose = (
        flow_at(flow, motion, BROW, down_px=-12.0)
        for motion in ([0.0, low, 0.0, 0.0], [0.0, high, 0.0, 0.0], [0.0, low, 0.0, 1.0])
    )
    # Lids and forehead beside them stay, and the grid is coarse.
    assert 3.0 < by_head - rest < 13.0
    assert by_pose - rest == pytest.approx(0.0, abs=0.5)


def test_fit_flow_without_steps_changes_nothing() -> None:
    flow = make_flow(1)
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    fit_flow(flow, make_rows({"feature": torch.ones(2, 1)}, make_face().repeat(2, 1, 1)), FlowFitSettings())
    torch.testing.assert_close(flow.state_dict(), before, rtol=0, atol=0)


def test_flow_rows_know_whose_clips_they_are(toy_root: UPath) -> None:
    index = open_current(toy_root, "train")
    clips = [2, 0, 2, 1]
    landmarks_px = torch.zeros(4, 478, 3), torch.ones(4, 478, 3)
    motion = {"feature": torch.zeros(4, 5)}
    rows = flow_rows(index, [index.key(clip) for clip in clips], landmarks_px, motion, torch.zeros(8, 3))
    same = [[index.identity(one) == index.identity(other) for other in clips] for one in clips]
    assert (rows.identity[:, None] == rows.identity).tolist() == same
    assert torch.equal(rows.portrait_identity, torch.cat([rows.identity, rows.identity]))
    assert rows.portrait_px[[0, 4], 0, 0].tolist() == [0.0, 1.0]
