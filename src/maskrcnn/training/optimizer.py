"""Stochastic gradient descent with momentum, AdamW, and the loss scale that fp16 needs."""

from __future__ import annotations

from dataclasses import dataclass

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from maskrcnn.errors import TrainingError


def is_norm_or_bias(parameter: Parameter) -> bool:
    """Returns whether a parameter is the scale or shift of a norm, or a bias, which often have no weight decay.

    They are the parameters with one dimension; weights of convolutions and dense layers have at least two.
    """
    return parameter.ndim <= 1


def trained(parameters: list[Parameter]) -> ParameterTuple:
    """Returns the parameters as the optimizers keep them.

    Raises:
        TrainingError: There are none.
    """
    if not parameters:
        raise TrainingError("nothing to train: every parameter of the network is frozen, lower freeze_at")
    return ParameterTuple(parameters)


def where_finite(finite: Tensor | None, value: Tensor, neutral: Tensor) -> Tensor:
    """Returns ``value``, or ``neutral`` in a skipped step: a select costs less than a branch in a static graph."""
    return value if finite is None else ops.select(finite, value, neutral)


class MomentumSGD(nn.Cell):
    """``g += decay * w``, ``v = momentum * v + g``, ``w -= lr * v``: PyTorch's SGD, in place.

    The rate is an input of every call, so a schedule costs no recompilation and the state is the ``moments.*``
    parameters alone.

    Args:
        parameters: What is trained.
        momentum: Share of the last update that goes on.
        weight_decay: Factor on the weights in the gradient.
        decay_norm_bias: Whether norms and biases decay too.
    """

    def __init__(
        self, parameters: list[Parameter], momentum: float, weight_decay: float, decay_norm_bias: bool = True
    ) -> None:
        super().__init__()
        self.parameters = trained(parameters)
        self.moments = self.parameters.clone(prefix="moments", init="zeros")
        self.momentum = Tensor(momentum, ms.float32)
        self.decays = tuple(weight_decay if decay_norm_bias or not is_norm_or_bias(p) else 0.0 for p in parameters)
        self.count = len(parameters)
        self.apply_momentum = ops.ApplyMomentum()

    def construct(self, gradients: tuple[Tensor, ...], lr: Tensor, finite: Tensor | None = None) -> Tensor:
        """Updates every parameter with its gradient.

        Args:
            gradients: In the order of the parameters.
            lr: Learning rate, float32 scalar.
            finite: Bool scalar; if it is False, weights and moments keep every bit (``v = 1 * v + 0``, ``w -= 0 * v``).

        Returns:
            What the updates return, for ``ops.depend``.
        """
        momentum = where_finite(finite, self.momentum, ops.ones_like(self.momentum))
        lr = where_finite(finite, lr, ops.zeros_like(lr))
        done = ()
        for i in range(self.count):
            gradient = gradients[i]
            if self.decays[i] > 0.0:
                gradient = gradient + self.decays[i] * self.parameters[i]
            gradient = where_finite(finite, gradient, ops.zeros_like(gradient))
            updated = self.apply_momentum(self.parameters[i], self.moments[i], lr, gradient, momentum)
            done += (updated,)
        return done


class AdamW(nn.Cell):
    """``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``, ``w -= lr (m / (sqrt(v) + 1e-8) + decay w)``, in place.

    Loshchilov & Hutter 2019, algorithm 2, without the bias correction, whose place a warm-up takes. It trains small
    networks from scratch in a fraction of the steps of SGD: their heads see features of very unequal scales.

    Args:
        parameters: What is trained.
        beta1: Decay of the first moment; that of the second is 0.999.
        weight_decay: Factor on the weights, applied beside the gradient.
        decay_norm_bias: Whether norms and biases decay too.
    """

    BETA2 = 0.999
    EPSILON = 1e-8

    def __init__(
        self, parameters: list[Parameter], beta1: float, weight_decay: float, decay_norm_bias: bool = True
    ) -> None:
        super().__init__()
        self.parameters = trained(parameters)
        self.first = self.parameters.clone(prefix="moment1", init="zeros")
        self.second = self.parameters.clone(prefix="moment2", init="zeros")
        self.moments = ParameterTuple((*self.first, *self.second))
        self.beta1 = Tensor(beta1, ms.float32)
        self.beta2 = Tensor(self.BETA2, ms.float32)
        self.epsilon = Tensor(self.EPSILON, ms.float32)
        self.decays = tuple(
            Tensor(weight_decay if decay_norm_bias or not is_norm_or_bias(p) else 0.0, ms.float32) for p in parameters
        )
        self.count = len(parameters)
        self.adam = ops.AdamWeightDecay()

    def construct(self, gradients: tuple[Tensor, ...], lr: Tensor, finite: Tensor | None = None) -> Tensor:
        """Updates every parameter with its gradient; see ``MomentumSGD.construct``."""
        beta1, beta2 = self.beta1, self.beta2
        beta1 = where_finite(finite, beta1, ops.ones_like(beta1))
        beta2 = where_finite(finite, beta2, ops.ones_like(beta2))
        lr = where_finite(finite, lr, ops.zeros_like(lr))
        done = ()
        for i in range(self.count):
            gradient = where_finite(finite, gradients[i], ops.zeros_like(gradients[i]))
            updated = self.adam(
                self.parameters[i],
                self.first[i],
                self.second[i],
                lr,
                beta1,
                beta2,
                self.epsilon,
                self.decays[i],
                gradient,
            )
            done += (updated,)
        return done


@dataclass
class LossScale:
    """Factor on the loss that keeps small fp16 gradients from vanishing; divided out again before the update.

    It lives on the host and is fed to each step (Micikevicius et al. 2018, section 3.2).

    Attributes:
        value: The factor.
        fixed: Keep ``value``. Otherwise it halves at an overflow, whose step is skipped, and doubles after ``window``
            good steps.
        window: Good steps in a row before it doubles.
        good_steps: Good steps since the last change.
        skipped: Steps skipped so far.
    """

    value: float = 1.0
    fixed: bool = True
    window: int = 1000
    good_steps: int = 0
    skipped: int = 0

    INITIAL_DYNAMIC = 2.0**16
    LARGEST = 2.0**24

    @classmethod
    def from_setting(cls, loss_scale: float) -> LossScale:
        """Returns the meaning of the ``loss_scale`` setting: a fixed factor, or 0 for a dynamic one."""
        return cls(value=loss_scale) if loss_scale > 0 else cls(value=cls.INITIAL_DYNAMIC, fixed=False)

    def update(self, finite: bool) -> None:
        """Takes note whether the gradients of the last step were finite."""
        if self.fixed:
            return
        if finite:
            self.good_steps += 1
            if self.good_steps >= self.window:
                self.value, self.good_steps = min(self.value * 2.0, self.LARGEST), 0
            return
        self.skipped += 1
        self.value, self.good_steps = self.value / 2.0, 0
        if self.value < 1.0:
            raise TrainingError(
                "gradients overflow even with a loss scale of 1: lower base_lr, set clip_grad_norm, or use O0"
            )

    def state(self) -> dict:
        """Returns what a checkpoint keeps."""
        return {"value": self.value, "good_steps": self.good_steps, "skipped": self.skipped}

    def restore(self, state: dict) -> None:
        """Continues from ``state``; a fixed scale keeps the value that this run was configured with."""
        if not self.fixed:
            self.value, self.good_steps = state["value"], state["good_steps"]
        self.skipped = state["skipped"]
