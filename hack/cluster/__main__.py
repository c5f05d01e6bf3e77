"""`python3 -m hack.cluster`: bring the local cluster up and down, and look at it."""

import argparse
import sys

from . import golang, lifecycle
from .cluster import Cluster, existing
from .progress import StepError

TOOLS = {program.name: program for program in (golang.HELM, golang.KUBECONFORM, golang.KUBECTL)}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m hack.cluster", description=__doc__)
    parser.add_argument("--name", help="the cluster's name (local, or apiserver for a control plane alone)")
    parser.add_argument("--control-plane-only", action="store_true", help="etcd and the API server, without a node")
    parser.add_argument("--controllers", action="store_true", help="with --control-plane-only: controllers, too")
    parser.add_argument("--image-volumes", action="store_true", help="a node that mounts images, with containerd 2")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, about in (
        ("up", _up, "bring the cluster up, or what is missing of it; print its kubeconfig's path"),
        ("down", _down, "end it and undo what it changed; caches stay"),
        ("status", _status, "show its components; exit status 1 unless all are ready"),
        ("kubeconfig", _kubeconfig, "print its kubeconfig's path"),
    ):
        commands.add_parser(name, help=about).set_defaults(run=run)
    for name, act in (("start", lifecycle.start), ("stop", lifecycle.stop)):
        command = commands.add_parser(name, help=f"{name} one component, such as kube-apiserver")
        command.add_argument("component")
        command.set_defaults(run=_one_component, act=act)
    tool = commands.add_parser("tool", help="build a tool where it is missing; print its path")
    tool.add_argument("tool", choices=sorted(TOOLS))
    tool.set_defaults(run=_tool)
    return parser


def _wanted(arguments: argparse.Namespace) -> Cluster:
    alone = arguments.control_plane_only
    name = arguments.name or ("apiserver" if alone else "local")
    return Cluster(name, alone, arguments.controllers or not alone, arguments.image_volumes)


def _existing(arguments: argparse.Namespace) -> Cluster:
    name = _wanted(arguments).name
    cluster = existing(name)
    if cluster is None:
        raise StepError(f"cluster {name} is not up")
    return cluster


def _up(arguments: argparse.Namespace) -> int:
    print(lifecycle.up(_wanted(arguments)))
    return 0


def _down(arguments: argparse.Namespace) -> int:
    wanted = _wanted(arguments)
    lifecycle.down(existing(wanted.name) or wanted)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    components = lifecycle.status(_existing(arguments))
    for component in components:
        state = "ready" if component.ready else "not ready" if component.pid else "not running"
        print(f"{component.name:<24} {component.pid or '-':>8}  {state:<12} {component.log}")
    return 0 if all(component.ready for component in components) else 1


def _kubeconfig(arguments: argparse.Namespace) -> int:
    print(_existing(arguments).layout.kubeconfig)
    return 0


def _one_component(arguments: argparse.Namespace) -> int:
    arguments.act(_existing(arguments), arguments.component)
    return 0


def _tool(arguments: argparse.Namespace) -> int:
    print(golang.find_or_build(TOOLS[arguments.tool]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
