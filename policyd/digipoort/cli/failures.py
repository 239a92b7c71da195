"""How the program ends when something is wrong: a sentence on standard error and a fixed exit code, no traceback."""

from __future__ import annotations

import errno
import os
import sys
from typing import IO, Any, Final

import click

from digipoort.cli.commands import Commands
from digipoort.directory.bulk import ImportRefusedError
from digipoort.directory.description import DescriptionError
from digipoort.directory.migrate import MigrationError
from digipoort.directory.names import UnknownObjectError
from digipoort.directory.plan import DescribedTwiceError
from digipoort.directory.session import DirectoryFaultError
from digipoort.directory.snapshot import AmbiguousNameError
from digipoort.directory.storable import NotStorableError
from digipoort.mailstore import DoveadmError
from digipoort.mapcontents import PublishError
from digipoort.mapfiles import PostfixCommandError
from digipoort.maps import PublishBusyError
from digipoort.settings import SettingsError

EXIT_REFUSED: Final = 1
_REFUSALS: Final = (
    MigrationError,
    DescriptionError,
    DescribedTwiceError,
    ImportRefusedError,
    UnknownObjectError,
    AmbiguousNameError,
    NotStorableError,
    PublishError,
    PostfixCommandError,
)


class Failure(click.ClickException):
    """The end of the program: one or more sentences, a line each, and the exit code."""

    def __init__(self, sentences: str, exit_code: int = EXIT_REFUSED) -> None:
        """Keep what to say and how to exit."""
        super().__init__(sentences)
        self.exit_code = exit_code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the sentences, each on a line that names the program."""
        for line in self.message.splitlines():
            click.echo(f"digipoort: {line}", file=file or sys.stderr)


class Program(Commands):
    """The command group that turns the faults of the parts into a Failure."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click.Group.invoke
        """Run the command; a fault that is not listed here is a fault of the program and keeps its traceback."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise Failure(str(error), os.EX_CONFIG) from error
        except DirectoryFaultError as error:
            raise Failure(str(error), os.EX_TEMPFAIL if error.temporary else EXIT_REFUSED) from error
        except (PublishBusyError, DoveadmError) as error:
            raise Failure(str(error), os.EX_TEMPFAIL) from error
        except _REFUSALS as error:
            raise Failure(str(error)) from error
        except UnicodeEncodeError as error:
            raise Failure("An argument is not UTF-8 text.", click.UsageError.exit_code) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click ends quietly when the reader of our output went away
            raise Failure(f"{error.filename or 'The system'}: {error.strerror or error}.") from error
