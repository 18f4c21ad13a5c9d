"""`felloe render`: what a cluster would get, as YAML."""

from __future__ import annotations

import typer

from felloe.k8syaml import dump
from hub.cli.client import HubClient
from hub.cli.view import objects, text


async def render(client: HubClient, cluster: str, workload: str) -> None:
    """Print the manifests of a cluster, each after a comment that names its workload and revision."""
    answer = await client.get(f"clusters/{cluster}/render", {"workload": workload})
    for rendered in objects(answer, "items"):
        revision = text(rendered, "revision")
        name = f"{text(rendered, 'kind')}/{text(rendered, 'namespace')}/{text(rendered, 'name')}"
        for manifest in objects(rendered, "manifests"):
            typer.echo(f"---\n# {name} {revision}".rstrip())
            typer.echo(dump(dict(manifest)), nl=False)
