"""The documentation site: Sphinx over the Markdown files of this folder, see ``.ci/docs``."""

import sys
from pathlib import Path

import rsscale

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "rsscale"
copyright = "the authors of rsscale; Apache-2.0"  # noqa: A001 -- Sphinx's name
version = release = rsscale.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "generated_reference",
]
source_suffix = {".md": "markdown"}
root_doc = "index"
smartquotes = False  # quotes in code and in JSON are what they are
exclude_patterns = ["_extensions"]

myst_heading_anchors = 4  # links to headings, as code hosts make them
myst_enable_extensions = ["html_image"]  # pictures with a width, as code hosts take them

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say shapes and units beside the type
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "rsscale"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp"
