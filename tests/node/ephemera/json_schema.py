"""As much of JSON Schema as our OpenAPI document uses: does this value fit?"""

from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
    "array": (list, tuple),
}


def problems(
    value: Any, schema: dict[str, Any], document: dict[str, Any], at: str = "$"
) -> list[str]:
    """Return what does not fit; unknown keywords are a problem, too, so that nothing is passed over."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return problems(value, document["components"]["schemas"][name], document, at)
    if "anyOf" in schema:
        found = [problems(value, option, document, at) for option in schema["anyOf"]]
        return [] if any(not items for items in found) else found[0]
    unknown = schema.keys() - {
        *("title", "description", "type", "properties", "required", "additionalProperties"),
        *(
            "items",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "pattern",
            "maxItems",
            "minItems",
        ),
        *("default",),
    }
    if unknown:
        return [f"{at}: unknown keywords {unknown}"]
    wanted = schema["type"]
    kinds = tuple(
        kind for name in ([wanted] if isinstance(wanted, str) else wanted) for kind in TYPES[name]
    )
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return [f"{at}: {value!r} is no {wanted}"]
    found: list[str] = []
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [
            f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value
        ]
        if schema.get("additionalProperties") is False:
            found += [f"{at}: {name} is unknown" for name in value if name not in properties]
        for name, item in value.items():
            if name in properties:
                found += problems(item, properties[name], document, f"{at}.{name}")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for i, item in enumerate(value):
            found += problems(item, schema["items"], document, f"{at}[{i}]")
    return found
