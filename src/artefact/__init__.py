"""How the functions' package is made. Nothing of it is in the package."""
