"""Seeds by temperatures as one vectorised job."""
