"""Our own commands of manage.py, and how each of them ends."""

import sys

from market.config.supervisor import market_command, progress, refusal, stopping, throwaway

EXIT_REFUSED = 2
# What a shell reports of a program that Ctrl-C ended.
EXIT_STOPPED = 130


def run(*, command: str, arguments: list[str]) -> int:
    """Run one of `market.config.install.EXTRAS`; return the exit code."""
    try:
        match command:
            case "market":
                return market_command.run(arguments=arguments)
            case "tests":
                return throwaway.run_tests(arguments=arguments)
            case "services":
                is_durable = arguments[:1] == ["--durable"]
                command_line = arguments[1:] if is_durable else arguments
                return throwaway.run_beside_services(command=command_line, said=progress.Progress(), is_durable=is_durable)
            case _:
                return 0
    except refusal.Refused as refused:
        print(refused, file=sys.stderr, flush=True)
        return EXIT_REFUSED
    except stopping.Stopped:
        return EXIT_STOPPED
