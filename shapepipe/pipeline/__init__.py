"""The framework: options, matching, planning, dispatch, records. Knows nothing of the sky."""
