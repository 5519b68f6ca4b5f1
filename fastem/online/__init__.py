"""Online EM: parameters that follow rows as they come, a mini-batch at a time."""

from fastem.online.fitting import OnlineResult, fit_online
from fastem.online.learning import Learned, Learner
from fastem.online.memory import Memory, StepSize
from fastem.online.monitor import HeldOut

__all__ = ["HeldOut", "Learned", "Learner", "Memory", "OnlineResult", "StepSize", "fit_online"]
