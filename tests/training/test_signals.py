"""Signals are noted whatever MindSpore does to their handlers, and everything is put back afterwards."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import pytest

from maskrcnn.training.signals import StopSignals


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python's handlers run between its instructions


@pytest.fixture(params=StopSignals.SIGNALS)
def number(request):
    before = signal.getsignal(request.param)
    yield request.param
    assert signal.getsignal(request.param) is before


def test_the_first_is_noted_and_the_second_acts(number, capsys):
    with StopSignals() as stop:
        assert (stop.received, stop.exit_code) == (None, 0)
        send(number)
        assert (stop.received, stop.exit_code) == (number, 128 + number)
        with pytest.raises(SystemExit) as caught:
            send(number)
        assert caught.value.code == 128 + number
    assert capsys.readouterr().out.startswith(f"{number.name} received: finishing the step")


def test_at_once_means_at_once(number):
    with StopSignals() as stop:
        with pytest.raises(SystemExit), stop.at_once():
            send(number)
        assert stop.received is None
        send(number)
        assert stop.received == number


def test_a_handler_that_is_replaced_in_c_comes_back(number):
    """As MindSpore does, but with one that ignores the signal."""
    with StopSignals() as stop:
        ctypes.CDLL(None).signal(number, ctypes.c_void_p(1))
        send(number)
        assert stop.received is None, "the replacement was not there"
        time.sleep(0.5)
        send(number)
        assert stop.received == number
