"""The measure: metacalibration, Gaussian fits, moments, responses; arrays in, arrays out."""
