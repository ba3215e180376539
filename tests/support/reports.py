"""What reports contain."""

import json
import re


def data_of(page):
    """What a page shows, as data."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )
