"""Write the golden files anew from the templates as they are: run it, then read the difference."""

from test_library import GOLDEN, golden_text, rendered

for template_id in ("actor", "checker"):
    for locale in ("zh", "en"):
        prompt = rendered(locale, template_id)
        (GOLDEN / f"{prompt.version}.txt").write_text(golden_text(prompt), "utf-8")
