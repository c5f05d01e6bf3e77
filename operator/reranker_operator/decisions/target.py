"""What a model's fleet should be, put together from the rollout's decisions and the builders. No I/O."""

from reranker_operator.decisions import blue_green, gate, prefetch, rejection, rollout, templates
from reranker_operator.objects import autoscaling, manifests, routing
from reranker_operator.settings import Settings
from reranker_operator.world import names
from reranker_operator.world.names import Document
from reranker_operator.world.state import DEPLOYMENTS, Kind, Target, World


def target(world: World, settings: Settings) -> Target:
    """Decide what is wanted now, given what pods live and how far they are."""
    model = world.model
    rejections = rejection.rejections(world)
    replacement = rejection.replacement(world, rejections)
    asked = rollout.wanted_model(model)
    held = prefetch.meanwhile(world, asked, settings) if replacement is None else None
    wanted = replacement or held or asked
    template = templates.template(world, wanted, settings)
    home = blue_green.home(world, wanted, template)
    flip = blue_green.flip(world, home, template)
    copied = gate.shadow_percent(world) if replacement is None else 0
    parked = blue_green.parked(world, home)
    ahead = asked if held is not None else None
    manifest = rollout.manifest(world, wanted, template.key, parked=parked, shadow_percent=copied, ahead=ahead)
    children = {
        Kind.CONFIG_MAP: manifests.config_map(model, manifest),
        DEPLOYMENTS[home]: manifests.deployment(
            model,
            template,
            settings,
            revision=manifest.serve[template.key],
            inputs=templates.inputs_in_use(world, template),
            fleet=home,
            reached=home is flip.active,
        ),
        Kind.SERVICE: manifests.service(model, flip),
        Kind.POD_DISRUPTION_BUDGET: manifests.pod_disruption_budget(model, flip),
        **autoscaling.children(world, flip),
        **routing.children(world, flip, manifest.served_name),
    }
    return Target(
        revision=wanted.revision,
        template=template.key,
        manifest=manifest,
        children={kind: _signed(body) for kind, body in children.items()},
        home=home,
        flip=flip,
        kept=blue_green.kept(world, home),
        rejections=rejections,
        rejected=next((each for each in rejections if replacement and each.name == asked.revision), None),
        judgement=world.judgement if replacement is None else None,
        prefetched=asked.revision if held is not None else "",
    )


def _signed(body: Document) -> Document:
    """The object with its hash as an annotation: a member that is no longer written shows as another hash."""
    annotations = {**body["metadata"].get("annotations", {}), names.APPLIED_ANNOTATION: names.hash8(body)}
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}
