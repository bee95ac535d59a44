"""A sky with known truth: exposures and their catalogues."""
