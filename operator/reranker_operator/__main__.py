"""The command `reranker-operator`: reads the settings and runs the operator until a signal."""

import asyncio
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from reranker_operator.errors import NoCluster
from reranker_operator.settings import Settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT; ends with 2 when a setting is wrong."""
    settings = _settings(list(sys.argv[1:] if arguments is None else arguments))
    # Imported here so that --help and a wrong flag answer at once, without kopf and the Kubernetes client.
    from reranker_operator import logs  # noqa: PLC0415
    from reranker_operator.operate import operate  # noqa: PLC0415

    logs.configure(settings.log_format, settings.log_level)
    try:
        asyncio.run(operate(settings))
    except NoCluster as error:
        sys.exit(f"reranker-operator: {error}")


def _settings(arguments: list[str]) -> Settings:
    try:
        return Settings(_cli_parse_args=arguments)
    except ValidationError as error:
        for wrong in error.errors(include_url=False):
            name = "-".join(str(step) for step in wrong["loc"]).replace("_", "-")
            print(f"reranker-operator: --{name}: {wrong['msg']}, not {wrong['input']!r}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


if __name__ == "__main__":
    main()
