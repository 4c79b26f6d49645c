"""The command line, `scoreregs-offline-rl`."""

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

import torch
import tyro

from scoreregs.arguments import nearest
from scoreregs.errors import ArgumentError, ScoreRegsError
from scoreregs_offline_rl.commands import tools
from scoreregs_offline_rl.commands.errors import one_line_errors
from scoreregs_offline_rl.commands.sweep import sweep_command
from scoreregs_offline_rl.commands.train import (
    TRAINING_COMMANDS,
    todays_words,
    training_commands,
)
from scoreregs_offline_rl.training.interruption import InterruptedRun

__all__ = ["main"]

_DESCRIPTION = """\
Offline reinforcement learning with score-regularized policies (SRPO).

Look at data with `inspect`, train with `train`, see `diagnose` for how it went without a simulator
and `evaluate` with one. Every command explains itself with --help. A mistake is answered with one
line; --traceback, or SCOREREGS_TRACEBACK=1, shows where it was noticed.
"""
_TRACEBACK = "--traceback"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    It is 0; 2 after an error of the user's; 128 and the signal's number after an interruption.

    Args:
        arguments: in place of those of the process.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("scoreregs_offline_rl").setLevel(logging.INFO)
    given = list(sys.argv[1:] if arguments is None else arguments)
    traceback = _TRACEBACK in given or os.environ.get("SCOREREGS_TRACEBACK", "0") != "0"
    given = todays_words([argument for argument in given if argument != _TRACEBACK])
    try:
        _run(given)
    except InterruptedRun as interruption:
        print(interruption, file=sys.stderr)
        return 128 + interruption.signal_number
    except KeyboardInterrupt:
        trains = given and given[0] in TRAINING_COMMANDS
        more = ": the same command goes on from the newest checkpoint" if trains else ""
        print(f"interrupted{more}", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (ScoreRegsError, OSError, torch.OutOfMemoryError) as error:
        if traceback:
            raise
        message = " ".join(str(error).split())
        if isinstance(error, OSError):
            message = f"got {message}, expected a file or folder to read or write: name another"
        print(f"error: {message}", file=sys.stderr)
        return 2
    return 0


def _run(arguments: list[str]) -> None:
    commands: dict[str, Callable[..., None]] = {
        "inspect": tools.inspect,
        **training_commands(arguments),
        "sweep": sweep_command(arguments),
        "diagnose": tools.diagnose,
        "evaluate": tools.evaluate,
        "report": tools.report,
        "export": tools.export,
    }
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        raise ArgumentError(
            f"got the command {arguments[0]!r}, expected one of {', '.join(commands)}"
            + nearest(arguments[0], commands)
        )
    with one_line_errors("scoreregs-offline-rl", arguments):
        chosen = tyro.extras.subcommand_cli_from_dict(
            {name: _deferred(command) for name, command in commands.items()},
            prog="scoreregs-offline-rl",
            description=_DESCRIPTION,
            args=arguments,
            use_underscores=False,
        )
    chosen()


def _deferred(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """Returns a command, put off: its arguments are checked first, and by themselves."""

    @functools.wraps(command)
    def put_off(*positional: object, **named: object) -> Callable[[], None]:
        return functools.partial(command, *positional, **named)

    return put_off
