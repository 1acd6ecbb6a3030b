"""Errors a user can act on: each message is one line that names the cause, the value or file, and what to do."""

EXIT_USER_ERROR = 2  # exit code of a process that ends with such an error: of settings, of data, of a loss


class MaskRCNNError(Exception):
    """Base of every error that is reported to the user as one line, without a traceback."""

    exit_code = EXIT_USER_ERROR


class ConfigError(MaskRCNNError):
    """Configuration keys, values or combinations that cannot work: one line for each of them."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        text = lines[0] if len(lines) == 1 else "\n  ".join((f"{len(lines)} problems:", *lines))
        super().__init__(text)


class DataError(MaskRCNNError):
    """An image, annotation or record that is missing, damaged or does not fit the run."""


class CheckpointError(MaskRCNNError):
    """A checkpoint that is missing, damaged or belongs to another model."""


class TrainingError(MaskRCNNError):
    """Training cannot go on, for instance because the loss is not finite."""


class EvaluationError(MaskRCNNError):
    """Evaluation cannot start or its results do not fit the annotations."""


class ExportError(MaskRCNNError):
    """A network that cannot be exported as asked, or an exported model that cannot be used."""


class DistributedError(MaskRCNNError):
    """The processes of a job cannot be started, do not come together or do not fit each other."""


class PeersLost(DistributedError):
    """The other processes of a job are gone: no mistake of the user's, and the job may well start again."""

    exit_code = 3
