"""Everything of ShapePipe 1.x, and of its 2020 tutorial, that has another name here, or none.

The tables are what `shapepipe convert` applies and what the page "From ShapePipe 1.x" shows; old
names that are still understood as they are stand in the declarations of the runners as well.
"""

from __future__ import annotations

RUNNERS = {
    "get_image_runner": "get_images_runner",
    "uncompress_fits_image_runner": "uncompress_fits_runner",
    "uncompress_fits_images_runner": "uncompress_fits_runner",
    "split_exp_hdu_runner": "split_exp_runner",
    "merge_header_runner": "merge_headers_runner",
    "mask_runner_exp": "mask_runner",
    "sextractor_runner_exp": "sextractor_runner",
    "psfex_interp_runner": "psf_interp_runner",
    "psfexinterp_runner": "psf_interp_runner",
    "psfexinterp_runner_me": "psf_interp_runner",
    "psfinterp_runner": "psf_interp_runner",
    "merge_star_cat_runner": "merge_starcat_runner",
    "meanshapes_runner": "mean_shapes_runner",
    "mccd_plots_runner": "mean_shapes_runner",
    "vignetmaker_runner2": "vignetmaker_runner",
    "make_catalog_runner": "make_cat_runner",
    "paste_cat_runner": "pastecat_runner",
    "swarp_runner": "stack_runner",
}
"""Old name of a runner -> its name here; sections bear the same names in capitals."""

GONE_RUNNERS = {
    "galsim_shapes_runner": "ngmix_runner measures the shapes",
    "erase_output_runner": "KEEP = final in [EXECUTION], or shapepipe clean RUN",
    "combine_mexp_runner": "psf_interp_runner and vignetmaker_runner gather the exposures",
    "tileobj_as_exp_runner": "psf_interp_runner and vignetmaker_runner gather the exposures",
    "mccd_preprocessing_runner": "psfex_runner models the PSF, CCD by CCD",
    "mccd_fit_runner": "psfex_runner models the PSF, CCD by CCD",
    "mccd_val_runner": "psf_interp_runner with MODE = VALIDATION",
    "mccd_fit_val_runner": "psfex_runner, then psf_interp_runner with MODE = VALIDATION",
    "mccd_interp_runner": "psf_interp_runner",
}
"""Runners that are not here -> what to do instead."""

OPTIONS = {
    "get_images_runner": {"COPY": "RETRIEVE", "COPY_OPTIONS": "RETRIEVE_OPTIONS"},
    "mask_runner": {"SUFFIX": "PREFIX"},
    "sextractor_runner": {"SUFFIX": "PREFIX"},
    "vignetmaker_runner": {"SUFFIX": "PREFIX"},
    "spread_model_runner": {"SUFFIX": "PREFIX"},
    "mean_shapes_runner": {"MAX_DE": "MAX_D"},
    "make_cat_runner": {"SM_STAR_STRESH": "SM_STAR_THRESH"},
}
"""Runner -> old name of an option -> its name here."""

DEAD_OPTIONS = {
    "*": {"RUN_METHOD": "a runner declares itself whether it takes one number or all at a time"},
    "ngmix_runner": {
        "N_OBJ_MAX": "the whole catalogue is measured; chunks are CHUNKS",
        "RUN_METACAL": "the response to shear is always measured",
        "DO_GALSIMFIT": "was never used",
        "DO_GALSIMFIT0": "was never used",
        "NTRY": "was never used",
    },
    "spread_model_runner": {"PIXEL_SCALE": "all sizes are in pixels"},
    "mean_shapes_runner": {
        "PSF": "the star catalogue tells",
        "PLOT_MEANSHAPES": "the maps are always drawn",
        "PLOT_HISTOGRAMS": "the summary has means and scatters",
        "PLOT_RHO_STATS": "they are always computed",
        "RHO_STATS_STYLE": "there is one style",
        "RHO_STATS_YLIM_L": "the axis follows from the data",
        "RHO_STATS_YLIM_R": "the axis follows from the data",
        "REMOVE_OUTLIERS": "flagged stars are left out",
        "HDU": "the table is found by its name",
        "MIN_R2": "the colours follow from the data",
        "MAX_R2": "the colours follow from the data",
    },
}
"""Runner (`*`: any) -> option that no longer does anything -> why."""

VALUES = (
    (r"\$(\{?)SP_Run\b", r"$\1SP_RUN", "case of the variable $SP_RUN"),
    (r"log_exp_headers\.npy\b", "log_exp_headers.sqlite", "the headers are in an SQLite file"),
    (r",\s*s excat_background", ", sexcat_background", "misprint of the tutorial"),
)
"""Text in a value (regular expression), what becomes of it, and why."""

BARE_RUNNER_NAMES = ("me_dot_psf_dir", "me_image_dir")
"""Options in which 1.x took the name of a runner for its last run: here `last:name`."""
