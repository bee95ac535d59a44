"""What can be chosen about a shape measurement; no option is read anywhere else."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

SHEAR_TYPES = ("noshear", "1p", "1m", "2p", "2m")


@dataclass(frozen=True)
class Settings:
    """Choices of the native engine, with the conventions of ShapePipe 1.x as defaults.

    Parameters
    ----------
    estimator : {"fit", "wmom", "admom"}
        Gaussian fit (the default), moments under a fixed Gaussian weight, adaptive moments.
    step : float
        Artificial shear of the types 1p, 1m, 2p, 2m.
    fixnoise : bool
        Add a sheared, counter-rotated noise field, which cancels the shear of the correlated noise.
    pair : bool
        Measure with the noise field and with its negative, and average (K = 2); False is K = 1.
    target : "epoch", "object" or float
        The round Gaussian that replaces the PSF: dilated from the PSF of each epoch, the widest
        of these for all epochs of the object, or a fixed FWHM in arcsec for the whole survey.
    precision : {"single", "double"}
        Floating-point type of the transforms and of the pixel passes.
    fill : {"mirror", "noise"}
        Masked pixels take the value of their counterpart through the object's centre, or noise.
    max_masked : float
        An epoch with a larger share of masked pixels is left out.
    weight_fwhm : float
        FWHM of the weight of `wmom`, arcsec.
    centre_sigma : float or None
        Width of the Gaussian prior on the centre, arcsec; None is the object's mean pixel scale.
    shape_sigma : float
        Width of the shape prior of Bernstein & Armstrong (2014); 0 switches it off.
    T_range, flux_range : tuple of float
        Limits of the flat priors on the area T = 2 sigma^2 (arcsec^2) and on the flux.
    tolerance : float
        The fit ends with a Newton step that is predicted to lower chi^2 by less than this.
    max_passes : int
        Limit of evaluations of one fit.
    chunk : int
        Objects that are held in memory at once; no result depends on it.
    """

    estimator: Literal["fit", "wmom", "admom"] = "fit"
    step: float = 0.01
    fixnoise: bool = True
    pair: bool = True
    target: float | Literal["epoch", "object"] = "epoch"
    precision: Literal["single", "double"] = "single"
    fill: Literal["mirror", "noise"] = "mirror"
    max_masked: float = 1 / 3
    weight_fwhm: float = 1.2
    centre_sigma: float | None = None
    shape_sigma: float = 0.4
    T_range: tuple[float, float] = (-10.0, 1e6)
    flux_range: tuple[float, float] = (-1e4, 1e9)
    tolerance: float = 1e-6
    max_passes: int = 60
    chunk: int = 32

    def __post_init__(self):
        allowed = {
            "estimator": ("fit", "wmom", "admom"),
            "precision": ("single", "double"),
            "fill": ("mirror", "noise"),
        }
        for name, choices in allowed.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} = {getattr(self, name)!r}; allowed: {', '.join(choices)}")
        if isinstance(self.target, str) and self.target not in ("epoch", "object"):
            raise ValueError(
                f"target = {self.target!r}; allowed: epoch, object or a FWHM in arcsec"
            )
        for name in ("step", "max_passes", "chunk", "tolerance", "weight_fwhm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)!r}; must be above 0")

    @property
    def signs(self) -> tuple[float, ...]:
        """Signs with which the noise field is added: none, one, or the antithetic pair."""
        if not self.fixnoise:
            return (0.0,)
        return (1.0, -1.0) if self.pair else (1.0,)

    @property
    def results(self) -> int:
        """How many catalogues a measurement with its halves has: one, or average and halves."""
        return 3 if len(self.signs) == 2 else 1

    def as_dict(self) -> dict:
        """Plain values, for records and table headers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
