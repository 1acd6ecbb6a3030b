"""Exponential moving average of the weights, which is evaluated and saved beside them."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from maskrcnn.checkpoint.format import AVERAGE_PREFIX

WARMUP = 10.0  # steps after which the decay may reach about 0.9; for 0.999 it takes 10,000


class WeightAverage(nn.Cell):
    """Average of the weights over the last steps, about ``1 / (1 - decay)`` of them.

    ``e = decay_t e + (1 - decay_t) w`` after step t (Polyak & Juditsky 1992; Tarvainen & Valpola 2017, section 2), with
    ``decay_t = min(decay, (1 + t) / (10 + t))``, so that the random weights of the start are soon forgotten, as in
    TensorFlow's ``ExponentialMovingAverage``. The decay follows from the step and the averages are saved like weights,
    so a resumed run goes on exactly. Statistics of batch normalisation are averaged as well.

    Args:
        network: What is trained; what training leaves as it is has no average.
        decay: Share of the old average that stays, below 1.
    """

    def __init__(self, network: nn.Cell, decay: float) -> None:
        super().__init__(auto_prefix=False)
        self.decay = decay
        self.weights = ParameterTuple(changing_parameters(network))
        self.averages = self.weights.clone(prefix=AVERAGE_PREFIX.rstrip("."), init="same")
        for average in self.averages:
            average.requires_grad = False

    def start(self) -> None:
        """Sets the averages to the weights as they are."""
        for weight, average in zip(self.weights, self.averages):
            average.set_data(Tensor(weight.asnumpy()))

    def update(self, step: int) -> None:
        """Takes the weights after the 0-based ``step`` into the averages."""
        self(Tensor(1.0 - min(self.decay, (1.0 + step) / (WARMUP + step)), ms.float32))

    def construct(self, rate: Tensor) -> tuple[Tensor, ...]:
        """Moves the averages towards the weights by the share ``rate``, float32 scalar."""
        done = ()
        for i in range(len(self.weights)):
            # In this form a weight that does not change leaves its average at the same bits.
            moved = self.averages[i] + rate * (self.weights[i] - self.averages[i])
            done += (ops.assign(self.averages[i], moved),)
        return done


def changing_parameters(network: nn.Cell) -> list[Parameter]:
    """Returns what training changes: the trained parameters and the statistics of trained batch normalisation."""
    changing = {parameter.name for parameter in (*network.trainable_params(), *batch_norm_statistics(network))}
    return [parameter for parameter in network.get_parameters() if parameter.name in changing]


def batch_norm_statistics(network: nn.Cell) -> list[Parameter]:
    """Returns the statistics that trained batch normalisation moves while it trains."""
    found = []
    for _, cell in network.cells_and_names():
        statistics = [getattr(cell, name, None) for name in ("moving_mean", "moving_variance")]
        if None not in statistics and cell.gamma.requires_grad:
            found += statistics
    return found
