"""The error of a process whose definition of a subscription differs from the stored one, with the differences."""

from fait._errors import DefinitionChanged, ReadModelChanged
from fait._store.ports.registrations import Registrations
from fait._subscriptions.subscription import SubscriptionDefinition

__all__ = ["definition_changed", "differences_of", "order_keys", "parts_of"]


def parts_of(definition: SubscriptionDefinition) -> str:
    """Return the parts of a definition, as they are stored."""
    from fait._decisions.definition_parts import parts_to_json  # slow to import

    return parts_to_json(definition.parts())


async def differences_of(registrations: Registrations, definition: SubscriptionDefinition) -> tuple[str, ...]:
    """Return what differs between a definition and the stored one, whose hash is another; () if it is unknown."""
    from fait._decisions.definition_parts import find_differences, parts_from_json  # slow to import

    # fault: stored-parts-not-compared
    stored = parts_from_json(await registrations.definition(definition.name))
    return () if stored is None else find_differences(stored, definition.parts())


async def order_keys(registrations: Registrations, definition: SubscriptionDefinition) -> tuple[str, str]:
    """Return the stored order key and the declared one of a definition, in words; "" for one that is unknown."""
    from fait._decisions.definition_parts import parts_from_json  # slow to import

    stored = parts_from_json(await registrations.definition(definition.name))
    return "" if stored is None else stored.settings.get("order key", ""), definition.parts().settings.get(
        "order key", ""
    )


async def definition_changed(registrations: Registrations, definition: SubscriptionDefinition) -> DefinitionChanged:
    """Return the error of a subscription whose definition is not the stored one."""
    differences = await differences_of(registrations, definition)
    if definition.kind == "read_model":
        return ReadModelChanged(definition.name, differences)
    return DefinitionChanged(definition.name, definition.kind, differences)
