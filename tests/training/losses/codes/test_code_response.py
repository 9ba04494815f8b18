import torch

from training.losses.codes.code_response import code_response_loss


def test_code_response_hand_values() -> None:
    read = torch.tensor([[1.0, 0.0], [0.5, -1.0]])
    said = torch.tensor([[1.0, 1.0], [0.5, -3.0]])
    assert code_response_loss(read, said).item() == 0.75
    assert code_response_loss(said, said).item() == 0


def test_code_response_trains_the_pictures_alone() -> None:
    read, said = torch.ones(2, 4, requires_grad=True), torch.zeros(2, 4, requires_grad=True)
    code_response_loss(read, said).backward()
    assert read.grad is not None
    assert read.grad.any()
    assert said.grad is None
